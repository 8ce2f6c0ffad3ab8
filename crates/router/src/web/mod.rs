//! Web actions: actions that answer HTTP as it comes (openwhisk-api.md 6).
//!
//! [`path`] says which action a request is about, [`annotations`] what the action wants of its callers, [`input`] makes the
//! action's parameters of the request, [`output`] and [`message`] make a response of its result, [`cors`] says what browsers may
//! do, [`vanity`] gives each namespace a host name. All of these are pure; [`call`] is the life of a request.

mod accept;
mod annotations;
mod call;
mod cors;
mod input;
mod json;
mod media;
mod message;
#[cfg(test)]
mod mutations;
mod output;
mod path;
pub(crate) mod vanity;

pub(crate) use annotations::WebAction;
pub(crate) use path::WebPath;
