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
