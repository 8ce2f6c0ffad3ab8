//! Which path and method is answered by whom. A path that exists answers other methods with 405, HEAD included.

use axum::Router;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use crate::answer::{self, Failure};
use crate::app::App;
use crate::{actions, activations, admin, asynchronous, info, packages, rules, triggers};

const GET: &str = "GET";
const ENTITY: &str = "GET, PUT, DELETE, POST";

/// The public API.
pub(crate) fn public(app: App) -> Router {
    let router = Router::new()
        .route("/", only(GET, get(info::controller)))
        .route("/ping", only(GET, get(info::ping)))
        .route("/api/v1", only(GET, get(info::api)))
        .route("/api/v1/", only(GET, get(info::api)))
        .route("/api/v1/namespaces", only(GET, get(info::namespaces)))
        .route("/api/v1/namespaces/", only(GET, get(info::namespaces)));
    let router = list(router, "limits", || get(info::limits));
    let router = list(router, "actions", || get(actions::list));
    let router = list(router, "activations", || get(activations::list));
    let router = list(router, "packages", || get(packages::list));
    let router = list(router, "triggers", || get(triggers::list));
    let router = list(router, "rules", || get(rules::list));
    let router = calls(router, &under("async"));
    let action = || get(actions::get).put(actions::put).delete(actions::delete).post(actions::post);
    let package = || get(packages::get).put(packages::put).delete(packages::delete);
    let trigger = || get(triggers::get).put(triggers::put).delete(triggers::delete).post(triggers::post);
    let rule = || get(rules::get).put(rules::put).delete(rules::delete).post(rules::set_status);
    router
        .route(&under("actions/{name}"), only(ENTITY, action()))
        .route(&under("actions/{name}/"), only(GET, get(actions::list_package)))
        .route(&under("actions/{package}/{name}"), only(ENTITY, action()))
        .route(&under("activations/{id}"), only(GET, get(activations::get)))
        .route(&under("activations/{id}/"), only(GET, get(activations::get)))
        .route(&under("activations/{id}/result"), only(GET, get(activations::result)))
        .route(&under("activations/{id}/logs"), only(GET, get(activations::logs)))
        .route(&under("packages/{name}"), only("GET, PUT, DELETE", package()))
        .route(&under("triggers/{name}"), only(ENTITY, trigger()))
        .route(&under("rules/{name}"), only(ENTITY, rule()))
        .fallback(no_route)
        .with_state(app)
}

/// The admin API.
pub(crate) fn admin(app: App) -> Router {
    let user = || get(admin::get).delete(admin::delete);
    calls(Router::new(), "/admin/async")
        .route("/admin/v1/users", only("POST", post(admin::create)))
        .route("/admin/v1/users/{subject}", only("GET, DELETE", user()))
        .route("/admin/v1/users/{subject}/block", only("POST", post(admin::block)))
        .route("/admin/v1/users/{subject}/unblock", only("POST", post(admin::unblock)))
        .fallback(no_route)
        .with_state(app)
}

/// Asynchronous calls, for their owner or for the operator.
fn calls(router: Router<App>, path: &str) -> Router<App> {
    let below = |rest: &str| format!("{path}/{rest}");
    let one = || get(asynchronous::get).delete(asynchronous::cancel);
    router
        .route(path, only("GET, DELETE", get(asynchronous::list).delete(asynchronous::purge)))
        .route(&below("summary"), only(GET, get(asynchronous::summary)))
        .route(&below("callback-key"), only(GET, get(asynchronous::callback_key)))
        .route(&below("redrive"), only("POST", post(asynchronous::redrive_all)))
        .route(&below("{id}"), only("GET, DELETE", one()))
        .route(&below("{id}/retry"), only("POST", post(asynchronous::retry)))
        .route(&below("{id}/redrive"), only("POST", post(asynchronous::redrive)))
}

fn under(path: &str) -> String {
    format!("/api/v1/namespaces/{{ns}}/{path}")
}

/// A collection, with and without a slash at its end.
fn list(router: Router<App>, collection: &str, handler: fn() -> MethodRouter<App>) -> Router<App> {
    let path = under(collection);
    router.route(&path, only(GET, handler())).route(&format!("{path}/"), only(GET, handler()))
}

/// Refuses all methods but those that are there. HEAD is one of them, though axum would answer it like GET.
fn only(allow: &'static str, methods: MethodRouter<App>) -> MethodRouter<App> {
    let refuse = async move || -> Failure { Failure::method(allow) };
    let methods = match allow.contains(GET) {
        true => methods.head(refuse),
        false => methods,
    };
    methods.fallback(refuse)
}

async fn no_route() -> Response {
    answer::no_route()
}
