//! Warm calls of each language at the runtime's socket, beside a bare loop in the same interpreter over the same kind of
//! socket that reads and answers the same frames (`bench/loops`).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use triplane_node::runtimes::{Interpreters, usual_places};
use triplane_testkit::TempDir;

use crate::context::{Context, NOOP};
use crate::launcher::{Launcher, run_body};
use crate::report::{Measurement, Target, median};

/// Where the loops are, from the root of the checkout, where `./dev bench` starts this.
const LOOPS: &str = "bench/loops";
/// Calls ahead of the first round, after which compilers have compiled.
const WARM_UP: u32 = 20_000;
/// In a round the two take turns so often, so that a slow moment of the machine is in both.
const TURNS: u32 = 20;
const CALLS_IN_A_TURN: u32 = 250;
const MEMORY_MB: u64 = 256;

/// A language: its action, and how its bare loop is started.
struct Language {
    family: &'static str,
    main: &'static str,
    /// What the file with the action is called; Java wants to know.
    file: &'static str,
    code: &'static str,
    bare: &'static [&'static str],
}

const LANGUAGES: [Language; 7] = [
    Language { family: "nodejs", main: "main", file: "action.js", code: NOOP, bare: &["loop.cjs"] },
    Language {
        family: "python",
        main: "main",
        file: "action.py",
        code: "def main(args):\n    return {'ok': True}\n",
        bare: &["-I", "-S", "loop.py"],
    },
    Language {
        family: "ruby",
        main: "main",
        file: "action.rb",
        code: "def main(_args)\n  { ok: true }\nend\n",
        bare: &["--disable=gems", "loop.rb"],
    },
    Language {
        family: "php",
        main: "main",
        file: "action.php",
        code: "<?php function main(array $args): array { return ['ok' => true]; }\n",
        bare: &["-n", "loop.php"],
    },
    Language {
        family: "java",
        main: "Action",
        file: "Action.java",
        code: "import java.util.*; public class Action { public static Map<String, Object> main(Map<String, Object> args) \
               { return Map.of(\"ok\", true); } }\n",
        bare: &[
            "-XX:+UseSerialGC",
            "--add-opens=java.base/java.io=ALL-UNNAMED",
            "-cp",
            "/usr/share/java/gson.jar",
            "Loop.java",
        ],
    },
    Language {
        family: "deno",
        main: "main",
        file: "action.js",
        code: NOOP,
        bare: &["run", "--quiet", "--allow-all", "--no-config", "--no-lock", "loop.cjs"],
    },
    Language { family: "bun", main: "main", file: "action.js", code: NOOP, bare: &["loop.cjs"] },
];

/// A process that answers frames, and what it reached in each round.
struct Contender {
    launcher: Launcher,
    calls: u32,
    spent: Duration,
    per_second: Vec<f64>,
}

impl Contender {
    fn start(context: &Context, command: &mut Command, code: &Path, main: &str) -> anyhow::Result<Self> {
        let mut launcher = Launcher::spawn(command, &context.slot)?;
        launcher.initialise(code, main, 1)?;
        Ok(Self { launcher, calls: 0, spent: Duration::ZERO, per_second: Vec::new() })
    }

    fn run(&mut self, calls: u32) -> anyhow::Result<()> {
        let bodies: Vec<Vec<u8>> = (0..calls).map(|call| run_body(self.calls + call)).collect();
        let started = Instant::now();
        for body in bodies {
            self.calls += 1;
            self.launcher.run(self.calls, &body)?;
        }
        self.spent += started.elapsed();
        Ok(())
    }

    fn begin_round(&mut self) {
        self.spent = Duration::ZERO;
    }

    fn end_round(&mut self) {
        self.per_second.push(f64::from(TURNS * CALLS_IN_A_TURN) / self.spent.as_secs_f64());
    }
}

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let data = TempDir::new("languages");
    let places = usual_places(std::env::var_os("PATH").as_deref());
    let found = context.block_on(Interpreters::find(data.path(), &places, context.binary.clone()))?;
    let _one = OneProcessor::enter()?;
    let measured = |language: &Language| {
        measure(context, &found, language).with_context(|| format!("measuring {}", language.family))
    };
    LANGUAGES.iter().map(measured).collect()
}

/// While it lives, this thread and what it starts run on one processor. A call passes between two processes that never work at
/// once, and whether the kernel has them side by side or on one processor makes three times the difference of what is measured.
struct OneProcessor {
    before: CpuSet,
}

impl OneProcessor {
    fn enter() -> anyhow::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one).context("cannot stay on one processor")?;
        Ok(Self { before })
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.before) {
            eprintln!("what follows stays on one processor: {error}");
        }
    }
}

fn measure(context: &Context, found: &Interpreters, language: &Language) -> anyhow::Result<Measurement> {
    let family = language.family;
    let manifest = found.manifest();
    let kind = manifest.resolve(&format!("{family}:default")).ok().map(|runtime| runtime.kind.clone());
    let command = kind.and_then(|kind| found.outside(&kind, MEMORY_MB));
    let mut command = command.with_context(|| format!("this machine has no interpreter for {family}"))?;
    let directory = TempDir::new(family);
    let code = directory.join(language.file);
    std::fs::write(&code, language.code)?;
    let mut bare = Contender::start(context, &mut loop_of(language, &command), &code, language.main)?;
    let mut launcher = Contender::start(context, &mut command, &code, language.main)?;
    for contender in [&mut bare, &mut launcher] {
        contender.run(WARM_UP)?;
    }
    for _ in 0..context.rounds {
        round(&mut bare, &mut launcher)?;
    }
    let name = format!("{family}: warm calls of a no-op, beside a bare loop's");
    let measured = Measurement::new(name, median(&launcher.per_second), "1/s");
    Ok(measured.beside(median(&bare.per_second)).promised(Target::RatioMin(0.8)))
}

fn round(bare: &mut Contender, launcher: &mut Contender) -> anyhow::Result<()> {
    bare.begin_round();
    launcher.begin_round();
    for _ in 0..TURNS {
        bare.run(CALLS_IN_A_TURN)?;
        launcher.run(CALLS_IN_A_TURN)?;
    }
    bare.end_round();
    launcher.end_round();
    Ok(())
}

/// The bare loop of a language, in the interpreter and with the variables of its launcher.
fn loop_of(language: &Language, launcher: &Command) -> Command {
    let mut command = Command::new(launcher.get_program());
    let variables = launcher.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(variables).args(language.bare).current_dir(LOOPS);
    command
}
