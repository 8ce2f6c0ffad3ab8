//! Non-blocking calls: 202 means that the call is stored.

use std::sync::Arc;

use http::Response;
use triplane_core::asynchronous::Destination;
use triplane_core::limits::InFlightGuard;
use triplane_model::ApiError;
use triplane_net::Body;

use super::wish::{Wish, partition};
use crate::detached::Detached;
use crate::ports::{Accepted, NotAccepted, QueuedCall};
use crate::reply;
use crate::router::Router;
use crate::run::Call;

/// When a client may ask again whose call the queue could not take, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

impl Router {
    /// Stores a call and answers for it.
    pub(crate) async fn enqueue(
        self: &Arc<Self>,
        call: Call,
        guard: InFlightGuard,
        wish: Wish,
    ) -> Result<Response<Body>, ApiError> {
        let Wish { is_preferred, is_readable, .. } = wish;
        let (id, namespace) = (call.id, call.caller.namespace.clone());
        let transaction_id = call.transaction_id.clone();
        let queued = queued(call, wish)?;
        let stored = Detached::new(Arc::clone(self).store(queued, guard));
        let (id, is_replayed) = match stored.await {
            Ok(Accepted::Stored) => (id, false),
            Ok(Accepted::Before(earlier)) => (earlier, true),
            Err(error @ NotAccepted::KeyReused) => return Err(ApiError::new(422, error.to_string())),
            Err(error) => {
                let transaction = transaction_id.as_str();
                tracing::error!(activation = %id, transaction, %error, "call could not be stored");
                return Err(ApiError::unavailable().retry_after_ms(RETRY_AFTER_MS));
            }
        };
        let response = reply::accepted(id);
        let response = if is_preferred { reply::preferred(response) } else { response };
        let response =
            if is_preferred && is_readable { reply::located(response, &namespace, id) } else { response };
        Ok(if is_replayed { reply::replayed(response) } else { response })
    }

    async fn store(self: Arc<Self>, call: QueuedCall, guard: InFlightGuard) -> Result<Accepted, NotAccepted> {
        let (lane, delay_until_ms) = (call.lane(), call.delay_until_ms());
        // Before it is stored: a dispatcher may lease it at once.
        self.waiting.keep(&lane.0, guard);
        let accepted = self.ports.queue.accept(call).await;
        match &accepted {
            Ok(Accepted::Stored) => match delay_until_ms {
                None => self.board.accepted(lane),
                Some(due_ms) => self.board.due(due_ms),
            },
            Ok(Accepted::Before(_)) | Err(_) => drop(self.waiting.take(&lane.0)),
        }
        accepted
    }
}

fn queued(call: Call, wish: Wish) -> Result<QueuedCall, ApiError> {
    let namespace = call.caller.namespace.clone();
    let policy = wish.policy(&call.target.policy, &namespace)?;
    Ok(QueuedCall {
        id: call.id,
        partition: partition(&policy, &call.parameters)?,
        policy,
        namespace,
        target: Destination::Action(call.target.name.clone()),
        payload: call.parameters,
        transaction_id: call.transaction_id,
        traceparent: call.traceparent,
        accepted_ms: call.arrived_ms,
        idempotency: wish.idempotency,
        cause: None,
        hops: 0,
    })
}
