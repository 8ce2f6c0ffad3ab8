//! Carries connections to a listener from where it cannot be reached: from a gateway of actions to the public listener, which
//! may be on the host's loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The most connections of all actions behind a gateway at once; as many as an ordinary limit of descriptors leaves room for.
const CONNECTIONS_MAX: usize = 4096;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// After so long without a word from an action its connection is probed, and given up when nothing answers.
const IDLE_BEFORE_PROBE: Duration = Duration::from_secs(30);

/// Carries for as long as it is polled what the listener accepts. A target that listens on every address is reached on
/// loopback.
pub async fn forward(listener: TcpListener, mut to: SocketAddr) {
    match to.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => to.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => to.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    carry(stream, to).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the gateway cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn carry(mut near: TcpStream, to: SocketAddr) {
    // only a matter of speed and of tidiness
    let _ = near.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&near, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&near, IDLE_BEFORE_PROBE);
    let Ok(Ok(mut far)) = timeout(CONNECT_WITHIN, TcpStream::connect(to)).await else { return };
    let _ = far.set_nodelay(true);
    // either end may break; then both are closed
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_one_end_says_the_other_hears_until_it_closes() {
        let (near, far) = (bind().await, TcpListener::bind("0.0.0.0:0").await.unwrap());
        let address = near.local_addr().unwrap();
        tokio::spawn(forward(near, far.local_addr().unwrap()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = far.accept().await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        assert_eq!((&*heard, &*told), ("question", "answer"));
    }

    #[tokio::test]
    async fn a_target_that_is_not_there_ends_the_connection() {
        let (near, gone) = (bind().await, bind().await.local_addr().unwrap());
        let address = near.local_addr().unwrap();
        tokio::spawn(forward(near, gone));
        let mut client = TcpStream::connect(address).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }

    async fn bind() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }
}
