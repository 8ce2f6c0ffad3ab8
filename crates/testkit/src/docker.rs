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
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// What holds the engine: when its input ends, so does the engine. Images and containers are in memory, so that the disk
/// is left to what is tested. `unshare` and `sh` become the engine, so that its
/// process id is known.
const KEEPER: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
dir=$1
unshare --net --mount sh -c 'ip link set lo up && mkdir "$0/data" && mount -t tmpfs -o size=2g engine "$0/data" && echo $$ >"$0/starting" && mv "$0/starting" "$0/pid" && exec dockerd \
  --data-root "$0/data" --exec-root "$0/exec" --pidfile "$0/dockerd.pid" -H "unix://$0/sock" \
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

/// OpenWhisk's published image for Node.js, as far as a server of our own can be it; made by [`Engine::make_published`].
pub const NODEJS: &str = "local/action-nodejs:1";
/// The same of `dockerskeleton`.
pub const SKELETON: &str = "local/dockerskeleton:1";
/// The same of the actionloop, with a Python to write actions in.
pub const ACTION_LOOP: &str = "local/actionloop:1";

/// Where a shell in an image looks for programs.
const SEARCHED: &str = "ENV PATH=/usr/bin:/bin";

const NODEJS_SERVER: &str = include_str!("../images/nodejs.js");

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    dir: PathBuf,
    /// The program `triplane-test-runtime`.
    runtime: PathBuf,
    published: OnceLock<()>,
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
        let (runtime, published) = (runtime.to_owned(), OnceLock::new());
        let engine = Self { dir, runtime, published, _keeper: Mutex::new(keeper) };
        engine.wait_until_up();
        engine.make_images();
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

    fn make_images(&self) {
        let root = self.dir.join("root");
        copy_with_libraries(&self.runtime, &root, "runtime");
        for (image, command) in [
            (IMAGE, r#"CMD ["/runtime"]"#),
            (LATE, r#"CMD ["/runtime","late"]"#),
            (DEAF, r#"CMD ["/runtime","deaf"]"#),
            (EXITS, r#"CMD ["/runtime","exits"]"#),
        ] {
            self.import(&root, image, &[command, SEARCHED]);
        }
        self.import(&root, EMPTY, &[]);
        self.ask(&["tag", IMAGE, LATEST]);
    }

    /// Makes [`NODEJS`], [`SKELETON`] and [`ACTION_LOOP`] of this machine's programs.
    ///
    /// # Panics
    /// When the machine has no Node.js, Python or shell.
    pub fn make_published(&self) {
        self.published.get_or_init(|| {
            let root = self.dir.join("nodejs");
            copy_with_libraries(&found("node"), &root, "usr/bin/node");
            copy_with_libraries(&found("sh"), &root, "bin/sh");
            std::fs::create_dir_all(root.join("nodejsAction")).unwrap();
            std::fs::write(root.join("nodejsAction/app.js"), NODEJS_SERVER).unwrap();
            let command = r#"CMD ["node","--expose-gc","app.js"]"#;
            self.import(&root, NODEJS, &["WORKDIR /nodejsAction", command, SEARCHED]);

            let root = self.dir.join("executables");
            copy_with_libraries(&self.runtime, &root, "runtime");
            for program in ["sh", "cat", "sleep"] {
                copy_with_libraries(&found(program), &root, &format!("bin/{program}"));
            }
            copy_python(&root);
            self.import(&root, SKELETON, &[r#"CMD ["/runtime","skeleton"]"#, SEARCHED]);
            self.import(&root, ACTION_LOOP, &[r#"CMD ["/runtime","loop"]"#, SEARCHED]);
        });
    }

    fn import(&self, root: &Path, image: &str, changes: &[&str]) {
        let mut tar = Command::new("tar");
        let mut tar = tar.arg("-C").arg(root).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = self.docker();
        import.arg("import").args(changes.iter().flat_map(|change| ["--change", change]));
        let imported = import.args(["-", image]).stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        tar.wait().unwrap();
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

/// A way to an engine that can be cut: for whoever comes by it, the engine is gone then.
#[derive(Debug)]
pub struct Cable {
    path: PathBuf,
    engine: PathBuf,
    carrying: Option<AbortHandle>,
}

impl Cable {
    /// Lays one to an engine, in a directory.
    ///
    /// # Panics
    /// When there can be no socket in the directory.
    #[must_use]
    pub fn lay(engine: &Engine, directory: &Path) -> Self {
        let (path, engine) = (directory.join("cable"), engine.dir.join("sock"));
        let mut cable = Self { path, engine, carrying: None };
        cable.mend();
        cable
    }

    /// The engine's address by this way.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Ends what goes by it, and refuses what comes.
    pub fn cut(&mut self) {
        if let Some(carrying) = self.carrying.take() {
            carrying.abort();
            std::fs::remove_file(&self.path).ok();
        }
    }

    /// Undoes [`Cable::cut`].
    ///
    /// # Panics
    /// When there can be no socket.
    pub fn mend(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let engine = self.engine.clone();
        let carrying = async move {
            // they end with this task
            let mut carried = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let engine = engine.clone();
                carried.spawn(async move {
                    let mut far = UnixStream::connect(engine).await.ok()?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok()
                });
            }
        };
        self.carrying = Some(tokio::spawn(carrying).abort_handle());
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
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

/// Puts a program into a root directory, under this name, and the libraries that it is linked with.
fn copy_with_libraries(program: &Path, root: &Path, name: &str) {
    let copy = |from: &Path, to: &str| {
        let to = root.join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    copy(program, name);
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), library);
    }
}

/// Debian's Python with as much of its library as small actions import.
fn copy_python(root: &Path) {
    const ASK: &str =
        "import os, sys, sysconfig; print(os.path.realpath(sys.executable), sysconfig.get_path('stdlib'))";
    const PACKAGES: [&str; 6] = ["collections", "encodings", "importlib", "json", "re", "lib-dynload"];
    let asked = Command::new("/usr/bin/python3").args(["-c", ASK]).output().unwrap();
    let asked = String::from_utf8(asked.stdout).unwrap();
    let (program, library) = asked.trim().split_once(' ').unwrap();
    copy_with_libraries(Path::new(program), root, "usr/bin/python3");
    let target = root.join(library.trim_start_matches('/'));
    std::fs::create_dir_all(&target).unwrap();
    for entry in std::fs::read_dir(library).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".py") || PACKAGES.contains(&name.as_str()) {
            let copied = Command::new("cp").arg("-rL").arg(entry.path()).arg(&target).status().unwrap();
            assert!(copied.success(), "{name}");
        }
    }
}

/// The first program of this name on `PATH`.
fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name} on PATH")).canonicalize().unwrap()
}
