//! The router's end of the pool stream: messages in order, a new stream when one ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use triplane_control::Handle;
use triplane_core::id::RouterId;
use triplane_core::pool::message::Up;
use triplane_net::Shutdown;
use triplane_router::{Followed, Router};

/// How long to wait before connecting again after a stream ended.
const RECONNECT: Duration = Duration::from_millis(100);

/// Applies what the control plane says, until shutdown. When the stream ends the table stays as it is (ROUTE-2) and a new
/// stream begins with a snapshot.
pub(crate) async fn pool(router: Arc<Router>, id: RouterId, control: Handle, shutdown: Shutdown) {
    loop {
        let mut stream = control.connect(id).await;
        loop {
            tokio::select! {
                message = stream.down.recv() => {
                    // After a gap, as after a stream that ended, a new one brings a snapshot.
                    let Some(message) = message else { break };
                    if router.apply(message) == Followed::Gap {
                        break;
                    }
                }
                () = shutdown.wait() => return,
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Passes on what the router says.
pub(crate) async fn said(mut said: mpsc::Receiver<(RouterId, Up)>, control: Handle) {
    while let Some((id, up)) = said.recv().await {
        control.say(id, up).await;
    }
}
