//! The management plane: what people create.
//!
//! [`Management`] answers every request of the public API that is no invocation, the admin API, and the look-ups of the
//! other planes; it takes activation records in and removes old ones. It reaches the store through traits, and tells the
//! routers of every change before it answers the client that made it.
//!
//! A request goes through: route and method, authentication, names, access, size and type of the body, its syntax, the
//! store (openwhisk-api.md 1.3). Handlers return errors as values; the transaction id is added in one place.
//!
//! It never invokes an action, and knows neither containers nor routers. Nothing here blocks an async thread: large texts
//! are parsed, hashed and printed on threads for blocking work.

mod actions;
mod activations;
mod admin;
mod alarms;
mod answer;
mod app;
mod asynchronous;
mod audit;
mod body;
mod caller;
mod calls;
mod code;
mod documents;
pub mod import;
mod info;
pub mod limits;
mod lists;
pub mod openapi;
mod packages;
mod pool;
mod ports;
mod query;
mod reach;
mod retention;
mod routes;
mod rules;
mod sequences;
mod settings;
mod sign;
pub mod subjects;
mod table;
mod triggers;
mod turns;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use http::Method;
use tower::ServiceExt;
use tracing::Instrument;
use triplane_model::activation::ActivationEntry;
use triplane_model::package::{Reached, Resolved};
use triplane_model::{
    Action, CodeHash, Collection, Credential, EntityName, FullName, Identity, TransactionId, Trigger,
};
use triplane_net::Body;
use triplane_store::StoreError;

use crate::app::{App, Shared};
pub use crate::audit::{Audit, AuditEntry, AuditedChange, NoAudit};
pub use crate::ports::{Dispatch, Flush, Pool, Ports, Propagation};
pub use crate::settings::{AdminToken, Bodies, Retention, Settings};
pub use crate::sign::CallbackKey;

/// The management plane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Management {
    app: App,
    public: Router,
    admin: Router,
}

impl Management {
    /// The management plane over these ports.
    #[must_use]
    pub fn new(settings: Settings, ports: Ports) -> Self {
        let (public, admin) = (routes::public(), routes::admin());
        let listener = [settings.pages.clone(), admin.described()].concat();
        let document = openapi::document(&public.described(), &listener).to_string();
        let app = Arc::new(Shared::new(settings, ports, document));
        Self { public: public.serve(App::clone(&app)), admin: admin.serve(App::clone(&app)), app }
    }

    /// Answers a request of the public API. The transaction id is taken from the extensions; the caller adds it to the
    /// headers of the answer, and the headers of CORS.
    pub async fn handle(&self, request: http::Request<Body>) -> http::Response<Body> {
        if request.method() == Method::OPTIONS && is_api(request.uri().path()) {
            return answer::finish(answer::text("OK"), &TransactionId::new(""));
        }
        let transaction = self.transaction_of(&request);
        self.answer(&self.public, request, &transaction).await
    }

    /// Answers a request of the admin API, `/admin/v1/...`, to be served on the admin listener only.
    pub async fn admin(&self, request: http::Request<Body>) -> http::Response<Body> {
        let transaction = self.transaction_of(&request);
        let mut response = self.answer(&self.admin, request, &transaction).await;
        // On the public listener the router does that.
        if let Ok(id) = http::HeaderValue::from_str(transaction.as_str()) {
            response.headers_mut().insert(&self.app.settings.transaction_header, id);
        }
        response
    }

    /// Answers a request; a write leaves an entry in the audit trail.
    async fn answer(
        &self,
        router: &Router,
        request: http::Request<Body>,
        transaction: &TransactionId,
    ) -> http::Response<Body> {
        if !audit::is_write(request.method()) {
            return answer_by(router, request, transaction).await;
        }
        let what = (request.method().clone(), request.uri().path().to_owned());
        let answer = answer_by(router, request, transaction);
        let status = |answer: &http::Response<Body>| answer.status().as_u16();
        audit::watch(&*self.app.ports.audit, what, transaction, answer, status).await
    }

    /// The router's id of the request; without a router before us the client's, or a new one.
    fn transaction_of(&self, request: &http::Request<Body>) -> TransactionId {
        let given = request.extensions().get::<TransactionId>().cloned();
        let header = request.headers().get(&self.app.settings.transaction_header);
        let client = || header?.to_str().ok().and_then(TransactionId::from_client);
        given.or_else(client).unwrap_or_else(|| TransactionId::from_random(rand::random()))
    }

    /// Who a credential stands for; nothing when it is unknown or its subject blocked.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn identity(&self, credential: Credential) -> Result<Option<Identity>, StoreError> {
        self.app.ports.entities.identity(credential).await
    }

    /// The owner of a namespace, for calls that are made in its name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn owner(&self, namespace: EntityName) -> Result<Option<Identity>, StoreError> {
        self.app.ports.entities.owner(namespace).await
    }

    /// What signs the callbacks of a namespace.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn callback_key(&self, namespace: EntityName) -> Result<Option<CallbackKey>, StoreError> {
        let owner = self.app.ports.entities.owner(namespace).await?;
        Ok(owner.map(|owner| sign::callback_key(&owner.credential)))
    }

    /// What the name of an action leads to, whoever may call it, with the parameters that it runs with opened.
    ///
    /// # Errors
    /// When the store does not answer, or a parameter does not open.
    pub async fn action(&self, name: FullName) -> Result<Option<Resolved>, StoreError> {
        let resolved = reach::action(&*self.app.ports.entities, name).await?;
        resolved.map(|resolved| self.opened(resolved)).transpose()
    }

    fn opened(&self, resolved: Resolved) -> Result<Resolved, StoreError> {
        let Resolved { action, .. } = &resolved;
        let parameters = self.app.settings.parameter_keys.unlock(&action.parameters);
        let parameters = parameters
            .map_err(|error| StoreError::Corrupt(format!("parameters of {}: {error}", action.name)))?;
        Ok(Resolved { action: Action { parameters, ..resolved.action }, ..resolved })
    }

    /// What the name of a package leads to, whoever may use it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn package(&self, name: FullName) -> Result<Option<Reached>, StoreError> {
        reach::unless_other(reach::package(&*self.app.ports.entities, name).await)
    }

    /// A trigger.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn trigger(&self, name: FullName) -> Result<Option<Trigger>, StoreError> {
        reach::unless_other(self.app.ports.entities.entity(name).await)
    }

    /// Whether a name belongs to an entity of another collection than this one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_of_another(&self, collection: Collection, name: FullName) -> Result<bool, StoreError> {
        match self.app.ports.entities.document(collection, name).await {
            Err(StoreError::OtherType) => Ok(true),
            found => found.map(|_| false),
        }
    }

    /// Deletes a trigger with its alarm, and its rules if asked to, as its owner would: what goes with an alarm that fires once.
    ///
    /// # Errors
    /// When the store does not answer, or somebody wrote in between: a retry is safe.
    pub async fn remove_trigger(&self, name: FullName, with_rules: bool) -> Result<(), StoreError> {
        triggers::remove(&self.app, name, with_rules).await
    }

    /// The code text with this hash.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn code(&self, hash: CodeHash) -> Result<Option<Arc<str>>, StoreError> {
        self.app.ports.entities.code(hash).await
    }

    /// Takes activation records in. Doing so twice changes nothing, so that a batch that failed is sent again.
    ///
    /// # Errors
    /// When the store does not answer; some of the records may have been written.
    pub async fn ingest(&self, entries: Vec<ActivationEntry>) -> Result<(), StoreError> {
        self.app.ports.activations.insert(entries).await
    }

    /// Removes activations that are too old or too many, every period, until `shutdown` ends.
    pub async fn retention(&self, shutdown: impl Future<Output = ()> + Send) {
        let activations = Arc::clone(&self.app.ports.activations);
        retention::run(activations, self.app.settings.retention, shutdown).await;
    }
}

/// Whether a path is under `/api/v1`, where OPTIONS is answered for everything.
fn is_api(path: &str) -> bool {
    path.strip_prefix("/api/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn answer_by(
    router: &Router,
    request: http::Request<Body>,
    transaction: &TransactionId,
) -> http::Response<Body> {
    let span = tracing::info_span!("management", transaction = transaction.as_str());
    if request.uri().path().contains("//") {
        // axum would match an empty segment with a parameter; a name of no characters is no path here.
        return answer::finish(answer::no_route(), transaction);
    }
    let request: Request = request.map(axum::body::Body::new);
    match router.clone().oneshot(request).instrument(span).await {
        Ok(response) => answer::finish(response, transaction),
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The callers run these on any thread.
    #[allow(dead_code, reason = "compiling it is the test")]
    fn futures_are_send(management: &Management, request: http::Request<Body>) {
        fn is_send(_: impl Send) {}
        is_send(management.handle(request));
        is_send(management.retention(std::future::pending()));
    }

    #[test]
    fn options_are_answered_under_the_api_only() {
        for path in ["/api/v1", "/api/v1/", "/api/v1/namespaces/_/actions", "/api/v1/nothing"] {
            assert!(is_api(path), "{path}");
        }
        for path in ["/", "/ping", "/api/v11", "/api"] {
            assert!(!is_api(path), "{path}");
        }
    }
}
