//! Gates on what decisions cost, in instructions: a count does not depend on how busy the machine is.
//!
//! Each measured program fills a pool, says that it is ready, waits for a line on its input, and calls [`counted`]. It is this
//! binary again, under Valgrind, whose instrumentation is switched on only for that call; which functions of the allocator were
//! in it is read from its profile.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use triplane_core::id::{ActionKey, ContainerId, Epoch, NodeId, RouterId, Secret, Sequence};
use triplane_core::placement::{Offer, StrategyName};
use triplane_core::pool::message::{
    Action, ContainerSpec, Delta, Demand, Endpoint, Event, Lease, Numbered, Snapshot, Up,
};
use triplane_core::pool::{Pool, Settings};
use triplane_core::route::{Applied, Table};
use triplane_model::action::{Action as ModelAction, Exec};
use triplane_model::{ActionLimits, CodeHash, EntityName, FullName, Parameters, Revision, Version};

/// Repetitions of what is counted.
const TIMES: u64 = 100;
const READY: &str = "ready";
/// What functions are called that give memory, or whose names begin so.
const ALLOCATORS: [&str; 6] =
    ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "__rust_alloc"];
/// What the first program may take, MB.
const RESIDENT_MB_MAX: u64 = 500;

type Program = fn() -> Box<dyn FnMut()>;

/// What is measured: a name, a program that repeats it [`TIMES`] times, and the most instructions for one.
/// The last one must not allocate; a placement does, which shows that it would be seen.
const PROGRAMS: [(&str, Program, u64); 5] = [
    ("placement (pack) with 1,000 nodes and 100,000 containers", placement_in_large_pool, 25_000),
    ("placement (pack) with 10,000 nodes and 1,000,000 containers", placement_in_huge_pool, 50_000),
    ("placement (spread) with 1,000 nodes and 100,000 containers", spread_in_large_pool, 25_000),
    ("placement (spread) with 10,000 nodes and 1,000,000 containers", spread_in_huge_pool, 50_000),
    ("route choice with 1,000 actions", route_choice, 500),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--measured", name] => return measured(name),
        ["--resident", name] => return resident(name),
        _ => {}
    }
    if cfg!(debug_assertions) {
        println!("instructions are counted in release builds only: ./dev test");
        return ExitCode::SUCCESS;
    }
    let (mut counts, mut allocators) = (BTreeMap::new(), BTreeMap::new());
    let mut code = ExitCode::SUCCESS;
    for (name, _, most) in PROGRAMS {
        let counted = count(name);
        let count = counted.instructions / TIMES;
        counts.insert(name, count);
        allocators.insert(name, counted.allocators);
        let verdict = if count <= most { "ok" } else { "TOO MANY" };
        println!("{name}: {count} instructions, at most {most}: {verdict}");
        if count > most {
            code = ExitCode::FAILURE;
        }
    }
    assert!(!allocators[PROGRAMS[0].0].is_empty(), "a placement allocates, and nobody has seen it");
    let (route, used) = (PROGRAMS[4].0, &allocators[PROGRAMS[4].0]);
    match used.is_empty() {
        true => println!("{route}: no allocation: ok"),
        false => {
            println!("{route}: it must not allocate and calls {used:?}: TOO MANY");
            code = ExitCode::FAILURE;
        }
    }
    let resident_mb = resident_mb(PROGRAMS[0].0);
    println!("{}: {resident_mb} MB resident, at most {RESIDENT_MB_MAX}", PROGRAMS[0].0);
    if resident_mb > RESIDENT_MB_MAX {
        code = ExitCode::FAILURE;
    }
    for [large, huge] in [[0, 1], [2, 3]].map(|of| of.map(|program: usize| counts[PROGRAMS[program].0])) {
        if huge > 2 * large {
            println!(
                "a placement in a pool ten times as large costs {huge}, more than twice {large}: TOO MANY"
            );
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// The program under Valgrind.
fn measured(name: &str) -> ExitCode {
    let Some((_, program, _)) = PROGRAMS.iter().find(|(known, ..)| known == &name) else {
        return ExitCode::FAILURE;
    };
    let mut run = program();
    println!("{READY}");
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).is_err() {
        return ExitCode::FAILURE;
    }
    counted(&mut run);
    ExitCode::SUCCESS
}

/// The program without Valgrind: it fills its pool, and says how much memory that takes.
fn resident(name: &str) -> ExitCode {
    let Some((_, program, _)) = PROGRAMS.iter().find(|(known, ..)| known == &name) else {
        return ExitCode::FAILURE;
    };
    let run = program();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.unwrap_or_default().trim().trim_end_matches("kB").trim());
    drop(run);
    ExitCode::SUCCESS
}

/// The most memory that a program had resident, in MB.
fn resident_mb(name: &str) -> u64 {
    let own = std::env::current_exe().expect("this binary has a path");
    let output = Command::new(own).args(["--resident", name]).output().expect("it runs");
    let kilobytes: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("it is a number");
    kilobytes / 1024
}

/// What Valgrind collects.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
    // so that the call above is not the last one, which would be left by a jump
    black_box(());
}

/// What Valgrind saw of the counted part.
struct Counted {
    instructions: u64,
    /// The functions of the allocator that were in it.
    allocators: BTreeSet<String>,
}

/// Runs a program under Valgrind.
fn count(name: &str) -> Counted {
    let profile = std::env::temp_dir().join(format!("triplane-instructions-{}", std::process::id()));
    let own = std::env::current_exe().expect("this binary has a path");
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg("--toggle-collect=*instructions*counted*")
        .arg(own)
        .args(["--measured", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind is installed");
    let summary = drive(&mut child);
    assert!(child.wait().expect("it ends").success(), "{name}: {summary}");
    let collected = summary.lines().find_map(|line| line.split_once("Collected : "));
    let collected = collected.and_then(|(_, count)| count.trim().parse().ok());
    let instructions =
        collected.unwrap_or_else(|| panic!("valgrind has not said what it collected: {summary}"));
    Counted { instructions, allocators: allocators(&profile) }
}

/// The functions of the allocator in a profile, which is removed.
fn allocators(profile: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(profile).expect("valgrind has written a profile");
    std::fs::remove_file(profile).expect("it is ours");
    let functions = text.lines().filter_map(|line| line.strip_prefix("fn=").or(line.strip_prefix("cfn=")));
    let names = functions.filter_map(|function| Some(function.split_once(") ")?.1));
    let giving = names.filter(|name| ALLOCATORS.iter().any(|known| name.starts_with(known)));
    giving.map(str::to_owned).collect()
}

/// Switches the instrumentation on when the program is ready, and lets it go on; says what Valgrind said.
fn drive(child: &mut Child) -> String {
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it is read");
    assert_eq!(line.trim(), READY);
    let switched = Command::new("callgrind_control")
        .args(["--instr=on", &child.id().to_string()])
        .output()
        .expect("callgrind_control comes with valgrind");
    assert!(switched.status.success(), "{}", String::from_utf8_lossy(&switched.stderr));
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(b"go\n").expect("it listens");
    let mut summary = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut summary).expect("it is text");
    summary
}

// --- programs -------------------------------------------------------------------------------------------------------

fn placement_in_large_pool() -> Box<dyn FnMut()> {
    placement(1_000, StrategyName::Pack)
}

fn spread_in_large_pool() -> Box<dyn FnMut()> {
    placement(1_000, StrategyName::Spread)
}

fn placement_in_huge_pool() -> Box<dyn FnMut()> {
    placement(10_000, StrategyName::Pack)
}

fn spread_in_huge_pool() -> Box<dyn FnMut()> {
    placement(10_000, StrategyName::Spread)
}

/// Says demands of actions that have containers already, each of which starts one more: with 100 containers for each node and
/// a tenth as many actions.
fn placement(nodes: u32, strategy: StrategyName) -> Box<dyn FnMut()> {
    const CONTAINERS_OF_NODE: u32 = 100;
    const CONTAINERS_OF_ACTION: u32 = 10;
    let mut settings = Settings { starts_max: u32::MAX, pending_starts_max: u32::MAX, ..Settings::default() };
    settings.policy.placement.strategy = strategy;
    let mut pool = Pool::new(Epoch(1), settings);
    let mut actions = Vec::new();
    let mut step = move |event| {
        actions.clear();
        pool.step(1_000, event, &mut actions);
        actions.iter().filter(|action| matches!(action, Action::Start { .. })).count()
    };
    for node in (0..nodes).map(NodeId) {
        let offer = Offer::of_memory(128 * u64::from(CONTAINERS_OF_NODE + 8));
        step(Event::NodeJoined { node, offer });
    }
    step(Event::RouterJoined(RouterId(0)));
    let specs: Vec<_> = (0..nodes * CONTAINERS_OF_NODE / CONTAINERS_OF_ACTION).map(spec).collect();
    let mut started = 0;
    for spec in &specs {
        let starts = step(demand(spec, CONTAINERS_OF_ACTION));
        assert_eq!(starts, CONTAINERS_OF_ACTION as usize);
        for number in started + 1..=started + u64::from(CONTAINERS_OF_ACTION) {
            step(Event::Started(id(number), endpoint()));
        }
        started += u64::from(CONTAINERS_OF_ACTION);
        step(demand(spec, 0));
    }
    Box::new(move || {
        for spec in specs.iter().step_by(7).take(usize::try_from(TIMES).unwrap_or(usize::MAX)) {
            assert_eq!(step(demand(spec, 1)), 1);
        }
    })
}

/// Chooses a container of some of 1,000 actions, each of which has four.
fn route_choice() -> Box<dyn FnMut()> {
    let leases = (0..4_000).map(|number| Lease {
        container: id(u64::from(number) + 1),
        key: Arc::clone(&spec(number / 4).key),
        concurrency: 1,
        endpoint: endpoint(),
    });
    let delta = Delta::Snapshot(Snapshot { leases: leases.collect(), marked: BTreeSet::new() });
    let message = Numbered { epoch: Epoch(1), sequence: Sequence(1), delta };
    let Applied::Next(table) = Table::default().apply(&message) else { panic!("a snapshot is taken in") };
    let keys: Vec<Arc<ActionKey>> = (0..1_000).step_by(7).map(|number| spec(number).key.clone()).collect();
    Box::new(move || {
        for key in keys.iter().take(usize::try_from(TIMES).unwrap_or(usize::MAX)) {
            let slot = table.group(key).and_then(|group| group.choose(5));
            assert!(black_box(slot).is_some());
        }
    })
}

fn id(number: u64) -> ContainerId {
    ContainerId { epoch: Epoch(1), number }
}

fn endpoint() -> Endpoint {
    Endpoint { address: "".into(), secret: Secret(1) }
}

/// A router's demand for long calls: it wants as many containers as calls wait.
fn demand(spec: &Arc<ContainerSpec>, waiting: u32) -> Event {
    let spec = Arc::clone(spec);
    Event::Said(RouterId(0), Up::Demand(Demand { spec, waiting, service_us: Some(10_000_000), ended: 0 }))
}

fn spec(number: u32) -> Arc<ContainerSpec> {
    let name = |text: &str| EntityName::entity(text).expect("the names are legal");
    let name = FullName::new(name(&format!("namespace{}", number % 100)), name(&format!("action{number}")));
    let limits =
        ActionLimits { timeout_ms: 60_000, memory_mb: 128, logs_mb: 10, concurrency: 1, instances: None };
    let action = ModelAction {
        name: name.clone(),
        revision: Revision(1),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        parameters: Parameters::default(),
        limits,
        exec: Exec {
            kind: "nodejs:20".into(),
            main: None,
            binary: false,
            code: CodeHash("0".repeat(64).into()),
            code_bytes: 1,
            image: None,
            components: Vec::new(),
        },
        updated_ms: 0,
    };
    let namespace = name.namespace.clone();
    let key = ActionKey { namespace, action: name, revision: Revision(1), binding: None };
    Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::new(action) })
}
