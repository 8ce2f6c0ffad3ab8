//! The accept loop, the life of one connection, and the drain.

use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::MissedTickBehavior;

use crate::body::BodyError;
use crate::link::{Entered, Link, Links, Order, Watched};
use crate::shutdown::Shutdown;

/// The longest URI that is served, in bytes; a handler answers 414 beyond it.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// What a connection that is one too many gets.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The limits of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections that are open at once; one more gets 503 and is closed.
    pub connections_max: usize,
    /// The bytes of a request's head; more is answered 431.
    pub head_bytes_max: usize,
    /// The time that a client has for the head of a request.
    pub head_time_max: Duration,
    /// How long a connection may be idle, or an answer go unread.
    pub idle_time_max: Duration,
    /// How long requests in flight may take after the shutdown began.
    pub drain_time_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_bytes_max: 64 * 1024,
            head_time_max: Duration::from_secs(30),
            idle_time_max: Duration::from_secs(70),
            drain_time_max: Duration::from_secs(30),
        }
    }
}

/// Serves HTTP/1.1 until the shutdown, then lets requests in flight end, up to a deadline.
///
/// A handler is an async function from a request to a response. It is dropped when its client goes away.
pub async fn serve<H, F, B>(listener: TcpListener, shutdown: Shutdown, handler: H, options: Options)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let links = Links::new(options.connections_max);
    let mut http = http1::Builder::new();
    // Our own sweep tells slow heads from idle connections, without a timer for each request.
    http.header_read_timeout(None).max_buf_size(options.head_bytes_max.max(8192));
    accept(listener, &shutdown, &links, &options, |stream, entered| {
        tokio::spawn(connection(http.clone(), stream, entered, handler.clone()));
    })
    .await;
    drain(&links, options.drain_time_max).await;
}

/// Accepts connections until the shutdown.
async fn accept(
    listener: TcpListener,
    shutdown: &Shutdown,
    links: &Arc<Links>,
    options: &Options,
    start: impl Fn(TcpStream, Entered),
) {
    let mut ended = pin!(shutdown.wait());
    let mut sweep = tokio::time::interval(sweep_period(options));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            () = &mut ended => return,
            _ = sweep.tick() => {
                links.sweep(options.head_time_max, options.idle_time_max);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match links.enter() {
                Some(entered) => start(stream, entered),
                None => refuse(&stream),
            },
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Often enough that no limit is overrun by more than a quarter.
fn sweep_period(options: &Options) -> Duration {
    let shortest = options.head_time_max.min(options.idle_time_max);
    (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
}

/// Tells a client that there are too many; best effort, so that nobody waits for it.
fn refuse(stream: &TcpStream) {
    tracing::warn!("too many connections");
    if let Err(error) = stream.try_write(TOO_MANY) {
        tracing::debug!(%error, "connection refused without an answer");
    }
}

/// A client that left already costs nothing; when files or memory ran out, a pause keeps the loop from spinning.
async fn pause_after(error: &io::Error) {
    if let Some(pause) = pause(error) {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(pause).await;
    }
}

fn pause(error: &io::Error) -> Option<Duration> {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    let of_the_client =
        matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock);
    (!of_the_client).then_some(Duration::from_millis(50))
}

/// Serves one connection until it ends, or is told to.
async fn connection<H, F, B>(http: http1::Builder, stream: TcpStream, entered: Entered, handler: H)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: http_body::Body<Data = Bytes> + 'static,
    B::Error: Into<BodyError>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let link: &Link = &entered.link;
    let service = service_fn(move |request| {
        link.busy();
        let answer = handler(request);
        async move {
            let response = answer.await;
            link.answered();
            Ok::<_, Infallible>(response)
        }
    });
    let io = Watched { io: TokioIo::new(stream), link: Arc::clone(&entered.link) };
    let mut connection = pin!(http.serve_connection(io, service));
    let mut draining = false;
    let served = poll_fn(|context: &mut Context<'_>| {
        match link.order(context) {
            Order::Serve => {}
            Order::Drain if draining => {}
            Order::Drain => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Close => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(context)
    });
    if let Err(error) = served.await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Lets requests in flight end, up to a deadline.
async fn drain(links: &Links, time_max: Duration) {
    links.tell(Order::Drain);
    if tokio::time::timeout(time_max, links.empty()).await.is_err() {
        tracing::warn!("requests in flight were cut off by the end of the drain");
        links.tell(Order::Close);
        links.empty().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_files_pauses_and_a_client_that_left_does_not() {
        let (emfile, econnaborted) = (24, 103);
        assert!(pause(&io::Error::from_raw_os_error(emfile)).is_some());
        assert!(pause(&io::Error::from_raw_os_error(econnaborted)).is_none());
    }

    #[test]
    fn the_sweep_is_fast_enough_for_short_limits_and_rare_for_long_ones() {
        assert_eq!(sweep_period(&Options::default()), Duration::from_secs(1));
        let short = Options { head_time_max: Duration::from_millis(40), ..Options::default() };
        assert_eq!(sweep_period(&short), Duration::from_millis(10));
    }
}
