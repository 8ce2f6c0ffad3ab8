//! Load by wrk, with a script that tells its results as JSON.

use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;
use triplane_testkit::TempDir;

/// Sends POST requests to the paths in `paths.txt` in turn and prints one line of JSON.
const SCRIPT: &str = r#"
local requests, next = {}, 0
function init(args)
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = args[2] }
  for path in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", path, headers, '{"n":1}')
  end
end
function request()
  next = next % #requests + 1
  return requests[next]
end
function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"requests":%d,"seconds":%f,"failed":%d,"p50_us":%f,"p99_us":%f}\n', summary.requests,
    summary.duration / 1e6, failed, latency:percentile(50), latency:percentile(99)))
end
"#;

/// What one run of wrk saw.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    /// Answers.
    pub(crate) requests: f64,
    /// How long it took.
    pub(crate) seconds: f64,
    failed: u64,
    /// Median latency, microseconds.
    pub(crate) p50_us: f64,
    /// The latency that 99 % stay below, microseconds.
    pub(crate) p99_us: f64,
}

/// Sends requests to these paths in turn over `connections` connections for some seconds.
pub(crate) fn load(
    port: u16,
    paths: &[String],
    authorization: &str,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Load> {
    let directory = TempDir::new("wrk");
    let (script, list) = (directory.join("post.lua"), directory.join("paths.txt"));
    std::fs::write(&script, SCRIPT)?;
    std::fs::write(&list, paths.join("\n") + "\n")?;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "30s", "-s"]);
    command.arg(&script).arg(format!("http://127.0.0.1:{port}")).arg("--").arg(&list).arg(authorization);
    let output = command.output().context("cannot run wrk; ./dev bench installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let load = read(&text)
        .with_context(|| format!("wrk said {text} {}", String::from_utf8_lossy(&output.stderr)))?;
    anyhow::ensure!(load.failed == 0, "{} of {} requests to port {port} failed", load.failed, load.requests);
    Ok(load)
}

fn read(text: &str) -> Option<Load> {
    text.lines().find(|line| line.starts_with('{')).and_then(|line| serde_json::from_str(line).ok())
}

impl Load {
    /// Requests per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.requests / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_json_is_found() {
        let text = "Running 3s test\n  1 threads\n{\"requests\":30,\"seconds\":3.0,\"failed\":1,\"p50_us\":40.0,\"p99_us\":80.0}\n";
        let load = read(text).unwrap();
        assert!((load.per_second() - 10.0).abs() < 1e-9);
        assert_eq!(load.failed, 1);
    }
}
