//! A Docker engine for the tests of one binary: its files in a temporary directory, its bridges in a network namespace
//! that the threads of the tests join. It ends with this process, however that ends.
#![allow(clippy::unwrap_used, reason = "an engine that cannot be made is to fail its tests")]

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What holds the engine: when its input ends, so does the engine. `unshare` and `sh` become the engine, so that its
/// process id is known.
const KEEPER: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
dir=$1
unshare --net --mount sh -c 'ip link set lo up && echo $$ >"$0/starting" && mv "$0/starting" "$0/pid" && exec dockerd \
  --data-root "$0/data" --exec-root "$0/exec" --pidfile "$0/dockerd.pid" -H "unix://$0/sock" --bridge none \
  --shutdown-timeout 2 --log-level warn' "$dir" </dev/null >"$dir/log" 2>&1 &
engine=$!
cat >/dev/null
kill "$engine"
wait "$engine"
rm -rf "$dir"
"#;

/// The runtime in an image.
pub const IMAGE: &str = "local/runtime:1";
/// [`IMAGE`], but it listens late.
pub const LATE: &str = "local/late:1";
/// [`IMAGE`], but it never listens.
pub const DEAF: &str = "local/deaf:1";
/// [`IMAGE`], but it ends at once.
pub const EXITS: &str = "local/exits:1";
/// An image with nothing to start.
pub const EMPTY: &str = "local/empty:1";
/// The same as [`IMAGE`], by a name that means the newest one.
pub const LATEST: &str = "local/runtime";

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    dir: PathBuf,
    /// Kept, so that its input stays open.
    _keeper: Mutex<Child>,
}

/// Runs a test in the engine's network, if there can be an engine; else says why it is skipped. The images are made of
/// `runtime`, the program `triplane-test-runtime`.
///
/// # Panics
/// When an engine that should come up does not.
pub fn with_engine<F: Future<Output = ()>>(runtime: &Path, test: impl FnOnce(&'static Engine) -> F) {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    match ENGINE.get_or_init(|| Engine::start(runtime)) {
        Ok(engine) => {
            engine.join_network();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test(engine));
        }
        Err(reason) => say(&format!("skipped, there is no docker engine: {reason}")),
    }
}

impl Engine {
    fn start(runtime: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a docker engine is started by root only".to_owned());
        }
        if !runtime.is_file() {
            return Err(format!("{} is not built", runtime.display()));
        }
        for program in ["dockerd", "ip", "iptables", "tar", "unshare"] {
            let found = Command::new("sh")
                .args(["-c", "PATH=$PATH:/usr/sbin:/sbin; command -v \"$0\"", program])
                .output()
                .unwrap();
            if !found.status.success() {
                return Err(format!("there is no {program} (Debian's docker.io, iproute2, iptables)"));
            }
        }
        let unshared = Command::new("unshare").args(["--net", "--mount", "true"]).output().unwrap();
        if !unshared.status.success() {
            return Err(String::from_utf8_lossy(&unshared.stderr).into_owned());
        }
        let dir = std::env::temp_dir().join(format!("triplane-docker-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&dir).stdin(Stdio::piped());
        // of its own, so that an interrupt of the terminal leaves it to the end of its input
        let keeper = keeper.process_group(0).spawn().unwrap();
        let engine = Self { dir, _keeper: Mutex::new(keeper) };
        engine.wait_until_up();
        engine.make_images(runtime);
        Ok(engine)
    }

    fn wait_until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.docker().arg("version").output().unwrap().status.success() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                panic!("the docker engine does not come up: {log}");
            }
            pause();
        }
    }

    fn make_images(&self, runtime: &Path) {
        let root = self.dir.join("root");
        copy_with_libraries(runtime, &root);
        for (image, command) in [
            (IMAGE, Some(r#"CMD ["/runtime"]"#)),
            (LATE, Some(r#"CMD ["/runtime","late"]"#)),
            (DEAF, Some(r#"CMD ["/runtime","deaf"]"#)),
            (EXITS, Some(r#"CMD ["/runtime","exits"]"#)),
            (EMPTY, None),
        ] {
            let mut tar = Command::new("tar")
                .arg("-C")
                .arg(&root)
                .args(["-c", "."])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut import = self.docker();
            import.arg("import");
            if let Some(command) = command {
                import.args(["--change", command]);
            }
            let imported = import.args(["-", image]).stdin(tar.stdout.take().unwrap()).output().unwrap();
            assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
            tar.wait().unwrap();
        }
        self.ask(&["tag", IMAGE, LATEST]);
    }

    /// The sockets of this thread are the engine's network's from now on.
    fn join_network(&self) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap();
        let network = File::open(format!("/proc/{}/ns/net", pid.trim())).unwrap();
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network))
            .unwrap();
    }

    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("-H").arg(self.host()).env("DOCKER_CONFIG", &self.dir);
        docker
    }

    /// Where it listens.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    /// What the engine's own client answers.
    ///
    /// # Panics
    /// When it refuses.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.docker().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Past the captured output of a test, which nobody sees of one that passes.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

#[expect(clippy::disallowed_methods, reason = "no async thread waits here")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// A root directory with a program at `/runtime` and the libraries that it is linked with.
fn copy_with_libraries(program: &Path, root: &Path) {
    std::fs::create_dir_all(root).unwrap();
    std::fs::copy(program, root.join("runtime")).unwrap();
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(library, target).unwrap();
    }
}
