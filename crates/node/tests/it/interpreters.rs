//! The interpreters that runtimes are made of work in a sandbox: they find no call refused that they need.

use std::path::Path;

use triplane_proxy::runtime::Exit;

use crate::support::{Spawner, spec};

/// Runs a program of the host with a script, and expects `fine`; skipped where there is no such program.
async fn works(program: &str, arguments: &[&str]) {
    if !Path::new(program).exists() {
        println!("SKIPPED: there is no {program}");
        return;
    }
    let mut spec = spec("");
    spec.arguments = std::iter::once(&program).chain(arguments).map(ToString::to_string).collect();
    (spec.memory_mb, spec.processes_max) = (512, 256);
    let spawner = Spawner::start().await;
    let (exit, stdout, stderr) = spawner.run(spec).await.finish().await;
    assert_eq!((exit, stdout.trim()), (Exit::Code(0), "fine"), "{program}: {stderr}");
}

/// The same for the first program of that name on `PATH`, which is shown alone, with the least memory that an action may have.
async fn works_alone(name: &str, arguments: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    let Some(found) = found else {
        println!("SKIPPED: there is no {name} on PATH");
        return;
    };
    let inside = format!("/runtime/{name}");
    let bind = (found.to_str().unwrap().to_owned(), inside.clone());
    let spawner = Spawner::with(|config| config.binds.push(bind)).await;
    let mut spec = spec("");
    spec.arguments = std::iter::once(&*inside).chain(arguments.iter().copied()).map(str::to_owned).collect();
    spec.environment.push("HOME=/tmp".to_owned());
    let (exit, stdout, stderr) = spawner.run(spec).await.finish().await;
    assert_eq!((exit, stdout.trim()), (Exit::Code(0), "fine"), "{name}: {stderr}");
}

/// Threads, programs, files and sockets; a loop that is compiled while it runs.
const JAVASCRIPT: &str = "
    const { Worker } = require('worker_threads'), net = require('net'), fs = require('fs');
    const child = require('child_process').execFileSync('/bin/echo', ['child']).toString().trim();
    fs.writeFileSync('/tmp/worker.cjs', 'let n = 0; for (let i = 0; i < 1e7; i++) n += i % 7; require(`worker_threads`).parentPort.postMessage(n)');
    new Worker('/tmp/worker.cjs').on('message', (n) => {
      const server = net.createServer((socket) => socket.end('x')).listen('/tmp/socket', () =>
        net.connect('/tmp/socket').on('data', () => { console.log(child === 'child' && n > 0 ? 'fine' : child); process.exit(0); }));
    });";

#[tokio::test]
async fn deno_works_with_threads_processes_and_sockets() {
    let script = format!(
        "import {{ createRequire }} from 'node:module'; import process from 'node:process'; const require = createRequire('/tmp/x'); {JAVASCRIPT}"
    );
    works_alone("deno", &["eval", "--no-config", "--no-lock", &script]).await;
}

#[tokio::test]
async fn bun_works_with_threads_processes_and_sockets() {
    works_alone("bun", &["-e", JAVASCRIPT]).await;
}

#[tokio::test]
async fn nodejs_works_with_threads_processes_and_sockets() {
    let script = "
        const { Worker } = require('worker_threads'), net = require('net'), fs = require('fs');
        const child = require('child_process').execFileSync('/bin/echo', ['child']).toString().trim();
        os = require('os'); os.cpus(); os.totalmem(); os.networkInterfaces(); fs.writeFileSync('/tmp/x', 'x');
        fs.promises.readFile('/tmp/x').then(() => new Worker('require(`worker_threads`).parentPort.postMessage(1)', { eval: true })
          .on('message', () => {
            const server = net.createServer((socket) => socket.end('x')).listen('/tmp/socket', () =>
              net.connect('/tmp/socket').on('data', () => { server.close(); console.log(child === 'child' ? 'fine' : child); }));
          }));";
    works("/usr/bin/node", &["-e", script]).await;
}

#[tokio::test]
async fn python_works_with_threads_processes_and_sockets() {
    let script = "
import multiprocessing, os, shutil, socket, subprocess, tempfile, threading
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
assert subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout == b'child\\n'
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
with tempfile.TemporaryDirectory() as d: open(d + '/a', 'w').close(); os.rename(d + '/a', '/tmp/b')
print('fine')";
    works("/usr/bin/python3", &["-I", "-c", script]).await;
}

#[tokio::test]
async fn ruby_works_with_threads_and_processes() {
    let script = "t = Thread.new { Thread.current.name = 'x'; 1 }; s = `/bin/echo child`; Process.wait(fork { exit 0 }); puts t.value == 1 && s == \"child\\n\" ? 'fine' : s";
    works("/usr/bin/ruby", &["-e", script]).await;
}

#[tokio::test]
async fn php_works_with_processes() {
    works("/usr/bin/php", &["-r", "echo trim(shell_exec('/bin/echo fine'));"]).await;
}

#[tokio::test]
async fn java_starts() {
    if !Path::new("/usr/bin/java").exists() {
        println!("SKIPPED: there is no Java");
        return;
    }
    let spawner = Spawner::start().await;
    let mut java = spec("java -Xmx64m -version 2>&1 | grep -c -i openjdk > /dev/null && echo fine");
    (java.memory_mb, java.processes_max) = (512, 256);
    let (exit, stdout, stderr) = spawner.run(java).await.finish().await;
    assert_eq!((exit, stdout.trim()), (Exit::Code(0), "fine"), "{stderr}");
}
