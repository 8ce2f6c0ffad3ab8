//! Phases "route" and "name check": what a request is about, from its method and path alone.

use std::borrow::Cow;

use http::Method;
use triplane_model::{ApiError, EntityName, FullName, Identity};

use crate::web::WebPath;

const API: &str = "/api/v1";
const NAMESPACES: &str = "/api/v1/namespaces/";

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// A call of an action.
    Invoke(ActionPath<'a>),
    /// A fire of a trigger.
    Fire(TriggerPath<'a>),
    /// A web action, by any method.
    Web,
    /// A browser asks what it may do.
    Preflight,
    /// Anything else: the management plane answers.
    Management,
}

/// The path of an action, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActionPath<'a> {
    namespace: &'a str,
    package: Option<&'a str>,
    name: &'a str,
}

/// The path of a trigger, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TriggerPath<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, path: &'a str) -> Self {
        match *method {
            _ if WebPath::is_below(path) => Self::Web,
            Method::POST => {
                let invoke = ActionPath::of(path).map(Self::Invoke);
                invoke.or_else(|| TriggerPath::of(path).map(Self::Fire)).unwrap_or(Self::Management)
            }
            Method::OPTIONS if is_rest(path) => Self::Preflight,
            _ => Self::Management,
        }
    }
}

impl<'a> ActionPath<'a> {
    /// `/api/v1/namespaces/{ns}/actions/[{pkg}/]{name}`
    fn of(path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix(NAMESPACES)?.split('/');
        let namespace = segments.next()?;
        if segments.next()? != "actions" {
            return None;
        }
        let first = segments.next().filter(|segment| !segment.is_empty())?;
        match (segments.next(), segments.next()) {
            (None, _) => Some(Self { namespace, package: None, name: first }),
            (Some(second), None) if !second.is_empty() => {
                Some(Self { namespace, package: Some(first), name: second })
            }
            _ => None,
        }
    }

    /// Checks the names; `_` is the caller's namespace.
    pub(crate) fn check(&self, caller: &Identity) -> Result<FullName, ApiError> {
        let namespace = namespace(self.namespace, caller)?;
        Ok(FullName { namespace, package: self.package.map(entity).transpose()?, name: entity(self.name)? })
    }
}

impl<'a> TriggerPath<'a> {
    /// `/api/v1/namespaces/{ns}/triggers/{name}`
    fn of(path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix(NAMESPACES)?.split('/');
        match [segments.next(), segments.next(), segments.next(), segments.next()] {
            [Some(namespace), Some("triggers"), Some(name), None] if !name.is_empty() => {
                Some(Self { namespace, name })
            }
            _ => None,
        }
    }

    /// Checks the names; `_` is the caller's namespace.
    pub(crate) fn check(&self, caller: &Identity) -> Result<FullName, ApiError> {
        Ok(FullName::new(namespace(self.namespace, caller)?, entity(self.name)?))
    }
}

fn namespace(segment: &str, caller: &Identity) -> Result<EntityName, ApiError> {
    let namespace = decoded(segment).ok_or_else(ApiError::namespace_illegal)?;
    match &*namespace {
        "_" => Ok(caller.namespace.clone()),
        own if own == caller.namespace.as_str() => Ok(caller.namespace.clone()),
        other => EntityName::namespace(other),
    }
}

fn entity(segment: &str) -> Result<EntityName, ApiError> {
    EntityName::entity(&decoded(segment).ok_or_else(ApiError::name_illegal)?)
}

/// Whether answers carry the CORS headers of the REST API: all of it and the info documents, but no web actions.
pub(crate) fn is_rest(path: &str) -> bool {
    let Some(rest) = path.strip_prefix(API) else { return path == "/" };
    rest.is_empty() || (rest.starts_with('/') && rest != "/web" && !rest.starts_with("/web/"))
}

/// A segment without percent signs; nothing when it is no UTF-8.
pub(crate) fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = segment.bytes();
    let mut plain = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        plain.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(plain).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoked(path: &str) -> Option<(&str, Option<&str>, &str)> {
        match Route::of(&Method::POST, path) {
            Route::Invoke(path) => Some((path.namespace, path.package, path.name)),
            _ => None,
        }
    }

    #[test]
    fn a_post_to_an_action_is_an_invocation_and_nothing_else_is() {
        assert_eq!(invoked("/api/v1/namespaces/_/actions/a"), Some(("_", None, "a")));
        assert_eq!(invoked("/api/v1/namespaces/ns/actions/p/a"), Some(("ns", Some("p"), "a")));
        for path in [
            "/api/v1/namespaces/_/actions",
            "/api/v1/namespaces/_/actions/",
            "/api/v1/namespaces/_/actions/a/",
            "/api/v1/namespaces/_/actions/p/a/",
            "/api/v1/namespaces/_/actions/p/a/b",
            "/api/v1/namespaces/_/triggers",
            "/api/v1/namespaces/_/triggers/",
            "/api/v1/namespaces/_/triggers/a/",
            "/api/v1/namespaces/_/rules/a",
            "/api/v1/namespacesx/_/actions/a",
            "/",
        ] {
            assert_eq!(Route::of(&Method::POST, path), Route::Management, "{path}");
        }
        let get = Route::of(&Method::GET, "/api/v1/namespaces/_/actions/a");
        assert_eq!(get, Route::Management);
    }

    #[test]
    fn a_post_to_a_trigger_is_a_fire() {
        let fire = Route::of(&Method::POST, "/api/v1/namespaces/_/triggers/t");
        assert_eq!(fire, Route::Fire(TriggerPath { namespace: "_", name: "t" }));
        assert_eq!(Route::of(&Method::PUT, "/api/v1/namespaces/_/triggers/t"), Route::Management);
    }

    #[test]
    fn whatever_is_below_the_path_of_web_actions_is_theirs() {
        for method in [Method::GET, Method::POST, Method::OPTIONS, Method::TRACE] {
            assert_eq!(Route::of(&method, "/api/v1/web/ns/default/a"), Route::Web);
            assert_eq!(Route::of(&method, "/api/v1/web/"), Route::Web);
        }
        assert_eq!(Route::of(&Method::GET, "/api/v1/web"), Route::Management);
    }

    #[test]
    fn browsers_are_answered_everywhere_but_on_web_actions() {
        for (path, answered) in [
            ("/api/v1", true),
            ("/api/v1/", true),
            ("/api/v1/nowhere", true),
            ("/api/v1/web/guest/default/a", false),
            ("/api/v1x", false),
            ("/ping", false),
        ] {
            let route = Route::of(&Method::OPTIONS, path);
            assert_eq!(route == Route::Preflight, answered, "{path}");
        }
    }

    #[test]
    fn segments_are_decoded_once_and_must_be_utf_8() {
        assert_eq!(decoded("a%20b%2Fc").as_deref(), Some("a b/c"));
        assert_eq!(decoded("%2541").as_deref(), Some("%41"));
        for bad in ["%", "%4", "%zz", "%ff", "%-1", "%+1"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }
}
