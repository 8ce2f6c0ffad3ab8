//! What a route says of itself.

use http::Method;

/// A route that is in the document, with what each of its methods does.
#[derive(Clone, Debug)]
pub struct Described {
    /// The path, with its parameters in braces.
    pub path: String,
    /// What each method does.
    pub operations: Vec<(Method, Doc)>,
}

/// What a method of a route does, takes and answers.
#[derive(Clone, Debug)]
pub struct Doc {
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Shown>,
    pub(super) answers: Vec<(u16, Shown)>,
}

/// Whose credential is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None.
    Anyone,
    /// That of a namespace, `uuid:key`.
    Namespace,
    /// The token of the admin API.
    Operator,
    /// The user name and password of the configuration.
    Controller,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of one of two schemas.
    Either(&'static str, &'static str),
    /// JSON: an array of this schema.
    List(&'static str),
    /// JSON: an array of the first schema, or the second.
    ListOr(&'static str, &'static str),
    /// Text of this type.
    Text(&'static str),
    /// There is none.
    Nothing,
}

/// A parameter of the query, or a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// The values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Whole { min: u64, max: u64 },
    Text,
}

impl Doc {
    /// An operation with a key of a namespace, which answers nothing yet.
    #[must_use]
    pub fn new(summary: &'static str) -> Self {
        Self { summary, access: Access::Namespace, parameters: Vec::new(), body: None, answers: Vec::new() }
    }

    /// Whose credential is needed instead.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Further parameters.
    #[must_use]
    pub fn takes(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend_from_slice(parameters);
        self
    }

    /// The JSON that is sent.
    #[must_use]
    pub fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(Shown::Json(schema));
        self
    }

    /// A further answer.
    #[must_use]
    pub fn answers(mut self, status: u16, shown: Shown) -> Self {
        self.answers.push((status, shown));
        self
    }

    /// 200 with JSON of this schema.
    #[must_use]
    pub fn shows(self, schema: &'static str) -> Self {
        self.answers(200, Shown::Json(schema))
    }

    /// 200 with a list of this schema.
    #[must_use]
    pub fn lists(self, schema: &'static str) -> Self {
        self.answers(200, Shown::List(schema))
    }
}

impl Parameter {
    /// A boolean in the query.
    #[must_use]
    pub const fn flag(name: &'static str, about: &'static str) -> Self {
        Self { name, place: "query", kind: Kind::Flag, about }
    }

    /// A whole number in the query.
    #[must_use]
    pub const fn whole(name: &'static str, min: u64, max: u64, about: &'static str) -> Self {
        Self { name, place: "query", kind: Kind::Whole { min, max }, about }
    }

    /// A text in the query.
    #[must_use]
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self { name, place: "query", kind: Kind::Text, about }
    }

    /// A header.
    #[must_use]
    pub const fn header(name: &'static str, about: &'static str) -> Self {
        Self { name, place: "header", kind: Kind::Text, about }
    }
}
