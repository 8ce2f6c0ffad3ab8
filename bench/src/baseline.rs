//! The servers that Triplane is compared with.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use triplane_testkit::{Process, TempDir, free_port, wait_until};

use crate::blocking::{Connection, get};
use crate::context::Context;
use crate::hyper_server::workers;
use crate::usage::descendants;

/// How long a baseline may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// What an action does, as a bare server: reads a JSON body, answers JSON.
const BARE_NODE: &str = r#"
require('http').createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    JSON.parse(pieces.length ? Buffer.concat(pieces).toString() : '{}');
    const body = JSON.stringify({ ok: true });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    response.end(body);
  });
}).listen({ port: Number(process.argv[1]), host: '127.0.0.1', backlog: 1024 });
"#;

/// A server on 127.0.0.1, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Baseline {
    /// Where it listens.
    pub(crate) port: u16,
    processes: Vec<Process>,
    _directory: Option<TempDir>,
}

impl Baseline {
    /// The process ids to account for.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// The minimal hyper server.
    pub(crate) fn hyper(context: &Context) -> anyhow::Result<Self> {
        let port = free_port();
        let process =
            Process::start(Command::new(std::env::current_exe()?).args(["serve-hyper", &port.to_string()]));
        Ok(Self { port, processes: vec![process], _directory: None }.ready(context))
    }

    /// The least platform whose containers run one call at a time, with so many of them.
    pub(crate) fn bare_platform(context: &Context, launchers: usize) -> anyhow::Result<Self> {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve-bare-platform", &port.to_string()]).arg(&context.node).arg(&context.launcher);
        command.arg(launchers.to_string());
        let process = Process::start(&mut command);
        Ok(Self { port, processes: vec![process], _directory: None }.ready(context))
    }

    /// nginx with one worker for each core and kept-alive connections, proxying to `count` bare Node.js servers in turn.
    pub(crate) fn nginx(context: &Context, count: usize) -> anyhow::Result<Self> {
        let port = free_port();
        let upstreams: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let directory = TempDir::new("nginx");
        let file = directory.join("nginx.conf");
        std::fs::write(
            &file,
            nginx_configuration(&directory.path().display().to_string(), port, &upstreams),
        )?;
        let node = |upstream: &u16| {
            Process::start(Command::new(&context.node).args(["-e", BARE_NODE, &upstream.to_string()]))
        };
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(directory.path()).arg("-c").arg(&file).env("PATH", path_with_sbin());
        let mut processes = vec![Process::start(&mut nginx)];
        processes.extend(upstreams.iter().map(node));
        for &upstream in &upstreams {
            answers(context, upstream, &processes);
        }
        Ok(Self { port, processes, _directory: Some(directory) }.ready(context))
    }

    fn ready(self, context: &Context) -> Self {
        answers(context, self.port, &self.processes);
        self
    }
}

/// nginx's workers outlive a killed master and would take their share of every later run.
impl Drop for Baseline {
    fn drop(&mut self) {
        let workers = descendants(&self.pids());
        self.processes.iter_mut().for_each(Process::kill);
        for pid in workers.into_iter().filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            // one that ended with its master is as good as killed
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Waits until a server answers.
fn answers(context: &Context, port: u16, processes: &[Process]) {
    let output = || processes.iter().map(Process::output).collect::<String>();
    context.block_on(wait_until(START_MAX, "a baseline answers", async || {
        let status = Connection::open(port).and_then(|mut connection| connection.exchange(&get("/")));
        if status.is_err() && !output().is_empty() {
            eprintln!("{}", output());
        }
        matches!(status, Ok(200))
    }));
}

/// Debian's nginx is not on the `PATH` of ordinary users.
fn path_with_sbin() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

fn nginx_configuration(directory: &str, port: u16, upstreams: &[u16]) -> String {
    let workers = workers();
    let servers: String = upstreams.iter().map(|upstream| format!("server 127.0.0.1:{upstream}; ")).collect();
    let keepalive = 64.max(2 * upstreams.len());
    format!(
        "daemon off;
worker_processes {workers};
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 1000000000;
  upstream node {{ {servers}keepalive {keepalive}; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
  }}
}}
"
    )
}
