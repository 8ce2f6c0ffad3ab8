//! A server on a free port, and a client that writes and reads bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use triplane_net::{Body, Options, Shutdown, full, serve};

/// No wait in these tests takes that long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose `/slow` waits until it is let go; anything else echoes its path.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    /// Lets requests to `/slow` go on.
    pub(crate) gate: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, gate, inside) =
            (Shutdown::new(), Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let handler = {
            let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
            move |request: Request<Incoming>| answer(request, Arc::clone(&gate), Inside::enter(&inside))
        };
        let task = tokio::spawn(serve(listener, shutdown.clone(), handler, options));
        Self { address, shutdown, gate, inside, task }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Waits until so many requests are in the handler.
    pub(crate) async fn until_inside(&self, count: usize) {
        until(|| self.inside.load(Ordering::SeqCst) == count).await;
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server ends").unwrap();
    }
}

struct Inside(Arc<AtomicUsize>);

impl Inside {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(request: Request<Incoming>, gate: Arc<Semaphore>, _inside: Inside) -> Response<Body> {
    if request.uri().path() == "/slow" {
        gate.acquire().await.unwrap().forget();
    }
    Response::new(full(request.uri().path().to_owned()))
}

/// Waits for a state, with a deadline.
pub(crate) async fn until(reached: impl Fn() -> bool) {
    let reach = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reach).await.expect("the state is reached");
}

pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    }

    /// Reads until what was read ends with `end`.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(end.as_bytes()) {
                let byte = self.0.read_u8().await.expect("more bytes");
                read.push(byte);
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time");
        String::from_utf8(read).unwrap()
    }

    /// Reads until the server closes, and says what it sent.
    pub(crate) async fn read_to_close(&mut self) -> String {
        let mut read = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut read)).await;
        // A reset is a close as well.
        let _ = closed.expect("the server closes");
        String::from_utf8_lossy(&read).into_owned()
    }
}
