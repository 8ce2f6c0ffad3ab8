//! Carries connections from the gateway's address to the public listener, which may be on the host's loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The most connections of all sandboxes to the API at once; as many as an ordinary limit of descriptors leaves room for.
const CONNECTIONS_MAX: usize = 4096;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// After so long without a word from a sandbox its connection is probed, and given up when nothing answers.
const IDLE_BEFORE_PROBE: Duration = Duration::from_secs(30);

/// Carries for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, to: SocketAddr) {
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
