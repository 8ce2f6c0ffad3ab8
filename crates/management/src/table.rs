//! A table of routes: what answers each path and method, and what the OpenAPI document says of it.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{self, MethodRouter};
use http::Method;

use crate::answer::{self, Failure};
use crate::app::App;
use crate::openapi::{Described, Doc};

/// The routes of an API. A path that exists answers other methods with 405, HEAD included.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    router: Router<App>,
    described: Vec<Described>,
}

/// A method of a path.
pub(crate) struct Operation {
    method: Method,
    handler: MethodRouter<App>,
    doc: Doc,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        pub(crate) fn $name<H, T>(handler: H, doc: Doc) -> Operation
        where
            H: Handler<T, App>,
            T: 'static,
        {
            Operation { method: Method::$method, handler: routing::$name(handler), doc }
        }
    )*};
}

methods! { get GET put PUT delete DELETE post POST patch PATCH }

impl Routes {
    /// Adds a path.
    pub(crate) fn at(mut self, path: &str, operations: impl IntoIterator<Item = Operation>) -> Self {
        let (mut methods, mut described) = (MethodRouter::new(), Vec::new());
        for Operation { method, handler, doc } in operations {
            methods = methods.merge(handler);
            described.push((method, doc));
        }
        let allow: Vec<&str> = described.iter().map(|(method, _)| method.as_str()).collect();
        self.router = self.router.route(path, only(&allow.join(", "), methods));
        self.described.push(Described { path: path.to_owned(), operations: described });
        self
    }

    /// Adds a path that may end with a slash as well.
    pub(crate) fn at_both<const N: usize>(self, path: &str, operations: impl Fn() -> [Operation; N]) -> Self {
        self.at(path, operations()).at(&format!("{path}/"), operations())
    }

    /// Describes a path that the router answers before a request gets here.
    pub(crate) fn elsewhere(
        mut self,
        path: &str,
        operations: impl IntoIterator<Item = (Method, Doc)>,
    ) -> Self {
        self.described
            .push(Described { path: path.to_owned(), operations: operations.into_iter().collect() });
        self
    }

    /// Adds a group of paths.
    pub(crate) fn with(self, add: impl FnOnce(Self) -> Self) -> Self {
        add(self)
    }

    /// What the document says.
    pub(crate) fn described(&self) -> Vec<Described> {
        self.described.clone()
    }

    /// What answers requests.
    pub(crate) fn serve(self, app: App) -> Router {
        self.router.fallback(no_route).with_state(app)
    }
}

/// Refuses all methods but those that are there. HEAD is one of them, though axum would answer it like GET.
fn only(allow: &str, methods: MethodRouter<App>) -> MethodRouter<App> {
    let has_get = allow.split(", ").any(|method| method == "GET");
    let allow: Arc<str> = allow.into();
    let refuse = async move || -> Failure { Failure::method(&allow) };
    let methods = match has_get {
        true => methods.head(refuse.clone()),
        false => methods,
    };
    methods.fallback(refuse)
}

async fn no_route() -> Response {
    answer::no_route()
}
