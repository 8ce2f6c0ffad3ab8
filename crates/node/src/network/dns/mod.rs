//! The resolver in the sandboxes' gateway: forwards questions to the host's name servers, as far as the policy allows.

pub(crate) mod message;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use triplane_core::egress::Egress;

use super::firewall::Firewall;
use super::layout::Layout;
use super::rules::Opening;
use message::{AAAA, FORMAT_ERROR, NO_ERROR, NO_SUCH_NAME, Question, SERVER_FAILURE};

/// The longest message over UDP that is passed on; askers announce 1,232 or 4,096 at most.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Questions of all sandboxes, and of one, that wait for an answer at once; more are dropped, and asked again by the asker.
const WAITING_MAX: u32 = 2048;
const WAITING_OF_ONE_MAX: u32 = 64;
/// How long a name server may take, and how many are tried: less than the 5 seconds that askers wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const SERVERS_MAX: usize = 2;
/// How long a connection may be idle.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// An address is open for its time to live within these bounds: long enough to connect, short enough to follow the name.
const OPEN_SECONDS_MIN: u32 = 5;
const OPEN_SECONDS_MAX: u32 = 3600;
/// The most addresses of an answer that are opened.
const ADDRESSES_MAX: usize = 64;
/// How old the list of the host's name servers may be.
const SERVERS_AGE_MAX: Duration = Duration::from_secs(5);

/// The resolver.
#[derive(Debug)]
pub(crate) struct Resolver {
    layout: Layout,
    policies: Arc<[Egress]>,
    firewall: Arc<Firewall>,
    servers: Servers,
    waiting: Mutex<HashMap<Ipv4Addr, u32>>,
}

impl Resolver {
    /// A resolver that asks these name servers, or the host's when there are none.
    pub(crate) fn new(
        layout: Layout,
        policies: Arc<[Egress]>,
        firewall: Arc<Firewall>,
        servers: Vec<SocketAddr>,
    ) -> Self {
        Self { layout, policies, firewall, servers: Servers::new(servers), waiting: Mutex::default() }
    }

    /// Answers datagrams for as long as it is polled.
    pub(crate) async fn serve_datagrams(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "the resolver cannot receive");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let Some(guard) = Waiting::enter(&self, from.ip()) else { continue };
            let (socket, query) = (socket.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                let answer = guard.resolver.answer(guard.sandbox, &query, false).await;
                // the asker may be gone
                let _ = socket.send_to(&answer, from).await;
            });
        }
    }

    /// Answers connections for as long as it is polled.
    pub(crate) async fn serve_connections(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    // the connection takes the place of a question
                    let Some(guard) = Waiting::enter(&self, from.ip()) else { continue };
                    tokio::spawn(async move { guard.resolver.clone().converse(guard.sandbox, stream).await });
                }
                Err(error) => {
                    tracing::debug!(%error, "the resolver cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn converse(self: Arc<Self>, sandbox: Ipv4Addr, mut stream: TcpStream) {
        while let Ok(Ok(query)) = timeout(IDLE_MAX, read_framed(&mut stream)).await {
            let answer = self.answer(sandbox, &query, true).await;
            if !matches!(timeout(IDLE_MAX, write_framed(&mut stream, &answer)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn answer(&self, sandbox: Ipv4Addr, query: &[u8], connection: bool) -> Vec<u8> {
        let Some(question) = message::question(query, false) else {
            return message::reply(query, None, FORMAT_ERROR);
        };
        let policy =
            self.layout.policy_of(sandbox).and_then(|number| Some((number, self.policies.get(number)?)));
        let Some((number, policy)) = policy.filter(|(_, policy)| policy.allows_name(&question.name)) else {
            return message::reply(query, Some(&question), NO_SUCH_NAME);
        };
        // there is no IPv6 in a sandbox; an address that cannot be reached would only be tried
        if question.kind == AAAA {
            return message::reply(query, Some(&question), NO_ERROR);
        }
        let Some(mut answer) = self.ask(query, &question, connection).await else {
            return message::reply(query, Some(&question), SERVER_FAILURE);
        };
        if let Egress::List(_) = policy {
            message::shorten(&mut answer, OPEN_SECONDS_MAX);
            if !self.open(sandbox, number, policy, &question, &answer).await {
                return message::reply(query, Some(&question), SERVER_FAILURE);
            }
        }
        answer
    }

    /// Opens what the answer names to the asker; before the answer is sent, so that it can be used at once.
    async fn open(
        &self,
        sandbox: Ipv4Addr,
        policy: usize,
        egress: &Egress,
        question: &Question,
        answer: &[u8],
    ) -> bool {
        let positions = egress.ports_of(&question.name);
        let mut openings = Vec::new();
        for (address, seconds) in message::addresses(answer, &question.name).into_iter().take(ADDRESSES_MAX) {
            let seconds = seconds.clamp(OPEN_SECONDS_MIN, OPEN_SECONDS_MAX);
            for &position in &positions {
                openings.push((Opening { policy, position, sandbox, address }, seconds));
            }
        }
        self.firewall.open(sandbox, openings).await
    }

    /// Asks one name server after the other.
    async fn ask(&self, query: &[u8], question: &Question, connection: bool) -> Option<Vec<u8>> {
        let asked_as = message::id(query)?;
        let mut query = query.to_vec();
        let id = rand::random();
        message::set_id(&mut query, id);
        for server in self.servers.list().await.into_iter().take(SERVERS_MAX) {
            let exchange = async {
                if connection {
                    let mut stream = TcpStream::connect(server).await?;
                    write_framed(&mut stream, &query).await?;
                    read_framed(&mut stream).await
                } else {
                    ask_by_datagram(server, &query, id, question).await
                }
            };
            match timeout(ANSWER_WITHIN, exchange).await {
                Ok(Ok(mut answer)) if is_answer(&answer, id, question) => {
                    message::set_id(&mut answer, asked_as);
                    return Some(answer);
                }
                Ok(Ok(_)) => tracing::debug!(%server, "a name server answers another question"),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a name server cannot be asked"),
                Err(_) => tracing::debug!(%server, "a name server does not answer"),
            }
        }
        None
    }
}

fn is_answer(answer: &[u8], id: u16, question: &Question) -> bool {
    message::id(answer) == Some(id) && message::question(answer, true).is_some_and(|other| other.is(question))
}

/// From a port of its own, and with a number of its own, so that nobody else can well answer.
async fn ask_by_datagram(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    question: &Question,
) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer(&buffer[..length], id, question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let framed: Vec<u8> = length.to_be_bytes().into_iter().chain(bytes.iter().copied()).collect();
    stream.write_all(&framed).await
}

/// A question that waits; counted for its sandbox until this is dropped.
struct Waiting {
    resolver: Arc<Resolver>,
    sandbox: Ipv4Addr,
}

impl Waiting {
    /// `None` when too many wait already.
    fn enter(resolver: &Arc<Resolver>, from: IpAddr) -> Option<Self> {
        let IpAddr::V4(sandbox) = from else { return None };
        let mut waiting = resolver.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u32 = waiting.values().sum();
        let own = waiting.get(&sandbox).copied().unwrap_or(0);
        if all >= WAITING_MAX || own >= WAITING_OF_ONE_MAX {
            return None;
        }
        waiting.insert(sandbox, own + 1);
        Some(Self { resolver: resolver.clone(), sandbox })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.resolver.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(&self.sandbox) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(waiting.remove(&self.sandbox)),
        }
    }
}

/// The name servers to ask: those that were set, or the host's, which may change.
#[derive(Debug)]
struct Servers {
    set: Vec<SocketAddr>,
    read: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Servers {
    fn new(set: Vec<SocketAddr>) -> Self {
        Self { set, read: Mutex::default() }
    }

    async fn list(&self) -> Vec<SocketAddr> {
        if !self.set.is_empty() {
            return self.set.clone();
        }
        if let Some((when, servers)) = &*self.read.lock().unwrap_or_else(PoisonError::into_inner)
            && when.elapsed() < SERVERS_AGE_MAX
        {
            return servers.clone();
        }
        let text = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
        let servers = name_servers(&text);
        let read = Some((Instant::now(), servers.clone()));
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = read;
        servers
    }
}

/// The name servers of a `resolv.conf`; the host itself when there are none, as in resolv.conf(5).
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let servers = lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    let mut servers: Vec<SocketAddr> = servers.map(|address| (address, 53).into()).collect();
    if servers.is_empty() {
        servers.push(([127, 0, 0, 1], 53).into());
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_c_library_does() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 127.0.0.53\n nameserver\t::1 # x\nnameserver fe80::1%eth0\n";
        let servers: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[::1]:53"]);
        assert_eq!(name_servers("")[0].to_string(), "127.0.0.1:53");
    }
}
