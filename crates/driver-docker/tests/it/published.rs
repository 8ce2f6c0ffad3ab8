//! The proxies that OpenWhisk publishes for executables (openwhisk-api.md 11.6): `dockerskeleton`, which starts a process for
//! each call, and the actionloop, which starts one and feeds it line by line. Answers, texts and the order of answer and
//! markers are theirs.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

const MARKER: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";
const EXEC: &str = "/action/exec";
const NO_BINARY: &str = "The action failed to generate or locate a binary. See logs for details.";
const NO_DICTIONARY: &str = "The action did not return a dictionary or array.";
const TWICE: &str = "Cannot initialize the action more than once.";
/// The longest argument that the kernel takes.
const ARGUMENT_BYTES_MAX: usize = 131_071;

/// A status and a body.
pub(crate) type Answer = (u64, String);

/// What a proxy does with `/init` and `/run`.
pub(crate) trait Proxy {
    fn init(&mut self, value: &Value) -> Answer;
    fn run(&mut self, body: &Value) -> Answer;
}

/// Ends the output of an activation.
fn mark() {
    println!("{MARKER}");
    eprintln!("{MARKER}");
}

/// Both end their bodies with a line feed.
fn error(status: u64, text: &str) -> Answer {
    (status, format!("{}\n", json!({ "error": text })))
}

/// Writes the code where it is executed.
fn write(value: &Value) -> io::Result<()> {
    let code = value["code"].as_str().unwrap_or_default();
    std::fs::create_dir_all("/action")?;
    std::fs::write(EXEC, code)?;
    std::fs::set_permissions(EXEC, std::fs::Permissions::from_mode(0o755))
}

/// The environment of an action: what a call says beside its value.
fn environment(body: &Value) -> Vec<(String, String)> {
    let fields = body.as_object().into_iter().flatten().filter(|(key, _)| *key != "value");
    fields
        .map(|(key, text)| (format!("__OW_{}", key.to_uppercase()), text.as_str().unwrap_or("").into()))
        .collect()
}

fn init_environment(value: &Value) -> Vec<(String, String)> {
    let fields = value["env"].as_object().into_iter().flatten();
    fields.map(|(key, text)| (key.clone(), text.as_str().unwrap_or("").into())).collect()
}

/// `dockerskeleton`.
#[derive(Default)]
pub(crate) struct Skeleton {
    is_initialised: bool,
    environment: Vec<(String, String)>,
}

impl Proxy for Skeleton {
    fn init(&mut self, value: &Value) -> Answer {
        if self.is_initialised {
            eprintln!("{TWICE}");
            return error(403, TWICE);
        }
        // an archive is taken by the real one; nothing else may be binary
        if value["binary"] == json!(true) || write(value).is_err() {
            mark();
            return error(502, NO_BINARY);
        }
        (self.is_initialised, self.environment) = (true, init_environment(value));
        (200, "OK".to_owned())
    }

    fn run(&mut self, body: &Value) -> Answer {
        let answer = match self.execute(body) {
            Ok(last) if last.is_object() || last.is_array() => (200, format!("{last}\n")),
            Ok(last) => {
                println!("{last}");
                error(502, NO_DICTIONARY)
            }
            Err(text) => {
                println!("{text}");
                error(502, NO_DICTIONARY)
            }
        };
        mark();
        answer
    }
}

impl Skeleton {
    /// The last line of what the process wrote; the rest is its log.
    fn execute(&self, body: &Value) -> Result<Value, String> {
        let input = body["value"].to_string();
        let mut command = Command::new(EXEC);
        if input.len() <= ARGUMENT_BYTES_MAX {
            command.arg(&input);
        }
        command.envs(self.environment.clone()).envs(environment(body));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take().unwrap();
        std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (log, last) = text.trim_end_matches('\n').rsplit_once('\n').unwrap_or(("", text.trim()));
        if !log.is_empty() {
            println!("{log}");
        }
        io::stderr().write_all(&output.stderr).ok();
        serde_json::from_str(last.trim()).map_err(|_| last.trim().to_owned())
    }
}

/// The actionloop, for programs that acknowledge their start.
#[derive(Default)]
pub(crate) struct ActionLoop {
    child: Option<Running>,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Proxy for ActionLoop {
    fn init(&mut self, value: &Value) -> Answer {
        if self.child.is_some() {
            return error(403, TWICE);
        }
        if value["code"].as_str().unwrap_or_default().is_empty() || value["main"].as_str().is_none() {
            return error(403, "Missing main/no code to execute.");
        }
        match write(value).and_then(|()| self.start(value)) {
            Ok(()) => (200, "{\"ok\":true}\n".to_owned()),
            Err(_) => {
                mark();
                error(502, NO_BINARY)
            }
        }
    }

    fn run(&mut self, body: &Value) -> Answer {
        let Some(Running { child, stdin, results }) = &mut self.child else {
            return error(500, "no action defined yet");
        };
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return error(500, "command exited");
        }
        let mut line = String::new();
        let told = writeln!(stdin, "{body}").and_then(|()| results.read_line(&mut line));
        mark();
        if told.is_err() || line.is_empty() {
            return error(400, "command exited");
        }
        match serde_json::from_str(&line) {
            Ok(Value::Object(_) | Value::Array(_)) => (200, line),
            _ => error(502, NO_DICTIONARY),
        }
    }
}

impl ActionLoop {
    fn start(&mut self, value: &Value) -> io::Result<()> {
        let mut command = Command::new("/bin/sh");
        // results come from descriptor 3, which the pipe of its output is made to be; its output goes where ours does
        command.args(["-c", "exec \"$0\" 3>&1 1>/proc/$PPID/fd/1", EXEC]);
        command.envs(init_environment(value)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().unwrap();
        let mut results = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledgement = String::new();
        results.read_line(&mut acknowledgement)?;
        if acknowledgement.trim() != r#"{"ok":true}"# {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.child = Some(Running { child, stdin, results });
        Ok(())
    }
}
