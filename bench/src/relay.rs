//! The least that a hop between an HTTP client and a launcher costs: a thread that blocks, reads a request, hands it to
//! the launcher's socket, and writes the answer. No platform can be quicker on the same three-party path.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::launcher::{Launcher, run_body};

/// As long as the head and the record that the platform answers.
const ANSWER_BYTES: usize = 700;

/// A relay to one launcher, for one connection.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) port: u16,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Relay {
    /// Serves the next connection until its client closes it.
    pub(crate) fn start(launcher: Launcher) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let thread = std::thread::spawn(move || {
            let (client, _) = listener.accept()?;
            serve(client, launcher)
        });
        Ok(Self { port, thread })
    }

    /// Waits for its end, after the client's.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the relay panicked"))?
    }
}

fn serve(mut client: TcpStream, mut launcher: Launcher) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER_BYTES}\r\n\r\n{}", " ".repeat(ANSWER_BYTES));
    let mut request = [0; 4096];
    for number in 1.. {
        // The request is far smaller than a segment: it comes in one piece.
        if client.read(&mut request)? == 0 {
            return Ok(());
        }
        launcher.run(number, &run_body(number))?;
        client.write_all(answer.as_bytes())?;
    }
    Ok(())
}
