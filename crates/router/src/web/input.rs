//! What a web action gets of a request (openwhisk-api.md 6.3): its parameters, and over them `__ow_...`, the query, the body.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method};
use serde_json::value::RawValue;
use triplane_model::parameters::parameters_not_allowed;
use triplane_model::{ApiError, EntityName, Member, Merge};

use super::json;
use super::media::MediaType;

const METHOD: &str = "__ow_method";
const HEADERS: &str = "__ow_headers";
const PATH: &str = "__ow_path";
const USER: &str = "__ow_user";
const QUERY: &str = "__ow_query";
const BODY: &str = "__ow_body";

/// What is about the connection or the platform, and not about the request.
const OF_THE_CONNECTION: [HeaderName; 3] =
    [CONTENT_LENGTH, TRANSFER_ENCODING, HeaderName::from_static("x-ow-extra-logging")];

/// A request to a web action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WebRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The path after the action, as it was sent.
    pub(crate) rest: &'a str,
    pub(crate) query: Option<&'a str>,
    /// The namespace of the caller, if it has valid credentials.
    pub(crate) user: Option<&'a EntityName>,
    pub(crate) body: &'a [u8],
}

impl WebRequest<'_> {
    /// The input of an action that wants a request taken apart: the body wins over the query, which wins over the
    /// action's parameters.
    ///
    /// # Errors
    /// 400 when query or body name what the platform or the action sets for good, or the body is not what it says.
    pub(crate) fn input(&self, merge: &Merge) -> Result<Bytes, ApiError> {
        let mut members = self.metadata();
        let query = form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        let (form, payload) = match self.content() {
            Content::Nothing => (&[][..], &[][..]),
            Content::Form => (self.body, &[][..]),
            Content::Json if self.body.trim_ascii_start().starts_with(b"{") => (&[][..], self.body),
            Content::Json => {
                members.push(member(BODY, any_json(self.body)?));
                (&[][..], &[][..])
            }
            Content::Text => {
                members.push(member(BODY, text(self.body)));
                (&[][..], &[][..])
            }
            Content::Bytes => {
                members.push(member(BODY, base64(self.body)));
                (&[][..], &[][..])
            }
        };
        for (key, value) in last_of_each(query.chain(form_urlencoded::parse(form)).collect()) {
            if is_reserved(&key) || merge.is_final(&key) {
                return Err(parameters_not_allowed());
            }
            members.push(Member { key, value: json::quoted(&value).into() });
        }
        merge.apply_over(&members, payload, is_reserved).map(Bytes::from)
    }

    /// The input of an action that wants a request as it came (`raw-http`).
    ///
    /// # Errors
    /// None that a request can cause.
    pub(crate) fn raw_input(&self, merge: &Merge) -> Result<Bytes, ApiError> {
        let mut members = self.metadata();
        members.push(member(QUERY, json::quoted(self.query.unwrap_or_default())));
        let body = match self.content() {
            Content::Nothing => "\"\"".to_owned(),
            // Its family is text, JSON itself is not: so it is in OpenWhisk.
            Content::Json if self.media_type().is_some_and(|media| media.essence() != "application/json") => {
                text(self.body)
            }
            Content::Text | Content::Form => text(self.body),
            Content::Json | Content::Bytes => base64(self.body),
        };
        members.push(member(BODY, body));
        merge.apply_over(&members, b"", |_| false).map(Bytes::from)
    }

    fn metadata(&self) -> Vec<Member<'_>> {
        let mut members = vec![
            member(METHOD, json::quoted(&self.method.as_str().to_ascii_lowercase())),
            member(HEADERS, headers(self.headers)),
            member(PATH, json::quoted(self.rest)),
        ];
        members.extend(self.user.map(|user| member(USER, json::quoted(user.as_str()))));
        members
    }

    fn content(&self) -> Content {
        if self.body.is_empty() {
            return Content::Nothing;
        }
        match self.media_type() {
            Some(media) if media.is_json() && self.body.trim_ascii().is_empty() => Content::Nothing,
            Some(media) if media.is_json() => Content::Json,
            Some(media) if media.is_form() => Content::Form,
            Some(media) if media.is_text() => Content::Text,
            _ => Content::Bytes,
        }
    }

    fn media_type(&self) -> Option<MediaType<'_>> {
        MediaType::parse(self.headers.get(CONTENT_TYPE)?.to_str().ok()?)
    }
}

/// What a body is, by its type. One without a type, or with one that cannot be read, is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Json,
    Form,
    Text,
    Bytes,
}

fn member<'a>(key: &'static str, json: impl Into<Cow<'a, str>>) -> Member<'a> {
    Member { key: key.into(), value: json.into() }
}

/// Whether a key is set by the platform only.
fn is_reserved(key: &str) -> bool {
    key.starts_with("__ow_") && [METHOD, HEADERS, PATH, USER, QUERY, BODY].contains(&key)
}

/// The headers as an object: names in lower case, one string for each. Lines of the same name are joined as HTTP does.
fn headers(headers: &HeaderMap) -> String {
    let mut object = String::from("{");
    for name in headers.keys().filter(|name| !OF_THE_CONNECTION.contains(name)) {
        let separator = if *name == COOKIE { "; " } else { ", " };
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&json::quoted(name.as_str()));
        object.push(':');
        object.push_str(&json::quoted(&values.collect::<Vec<_>>().join(separator)));
    }
    object.push('}');
    object
}

fn any_json(body: &[u8]) -> Result<&str, ApiError> {
    let value: &RawValue = serde_json::from_slice(body).map_err(ApiError::malformed_content)?;
    Ok(value.get())
}

fn text(body: &[u8]) -> String {
    json::quoted(&String::from_utf8_lossy(body))
}

fn base64(body: &[u8]) -> String {
    json::quoted(&STANDARD.encode(body))
}

/// Of pairs with equal keys the last, in the order of these.
fn last_of_each<'a>(mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let is_last: Vec<bool> = {
        let mut seen = HashSet::with_capacity(pairs.len());
        let is_new: Vec<bool> = pairs.iter().rev().map(|(key, _)| seen.insert(&**key)).collect();
        is_new.into_iter().rev().collect()
    };
    let mut is_last = is_last.into_iter();
    pairs.retain(|_| is_last.next().unwrap_or(false));
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::web::json::arbitrary::any_json;

    /// A request, with what the tests change of it.
    struct Sent {
        method: Method,
        headers: HeaderMap,
        rest: &'static str,
        query: Option<String>,
        user: Option<EntityName>,
        body: Vec<u8>,
    }

    impl Sent {
        fn get(query: &str) -> Self {
            let query = (!query.is_empty()).then(|| query.to_owned());
            Self {
                method: Method::GET,
                headers: HeaderMap::new(),
                rest: "",
                query,
                user: None,
                body: Vec::new(),
            }
        }

        fn post(query: &str, media_type: &str, body: impl AsRef<[u8]>) -> Self {
            let mut sent = Self { method: Method::POST, ..Self::get(query) };
            if !media_type.is_empty() {
                sent.headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
            }
            sent.body = body.as_ref().to_vec();
            sent
        }

        fn request(&self) -> WebRequest<'_> {
            let Self { method, headers, rest, query, user, body } = self;
            WebRequest { method, headers, rest, query: query.as_deref(), user: user.as_ref(), body }
        }

        fn input(&self) -> Result<Value, ApiError> {
            self.request().input(&merge()).map(|bytes| serde_json::from_slice(&bytes).unwrap())
        }

        /// Without what every input has.
        fn fields(&self) -> Value {
            without_metadata(self.input().unwrap())
        }

        fn raw_fields(&self) -> Value {
            let bytes = self.request().raw_input(&merge()).unwrap();
            without_metadata(serde_json::from_slice(&bytes).unwrap())
        }
    }

    fn without_metadata(mut input: Value) -> Value {
        let fields = input.as_object_mut().unwrap();
        for key in [METHOD, HEADERS, PATH] {
            assert!(fields.remove(key).is_some(), "{key}");
        }
        input
    }

    /// An action with the parameter `default`, and `fixed` that is final.
    fn merge() -> Merge {
        let parameters = r#"[{"key":"default","value":1},{"key":"fixed","value":2}]"#;
        Merge::new(&serde_json::from_str(parameters).unwrap(), |key| key == "fixed")
    }

    /// `default` and `fixed` with further fields.
    fn with(fields: Value) -> Value {
        let mut all = json!({"default": 1, "fixed": 2});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    }

    #[test]
    fn an_action_is_told_method_headers_path_and_user() {
        let mut sent = Sent { method: Method::PATCH, rest: "/b%20c", ..Sent::get("") };
        for (name, value) in [
            ("X-Own", "a \"b\""),
            ("x-own", "c"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("authorization", "Basic x"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("x-ow-extra-logging", "on"),
        ] {
            sent.headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let headers = json!({"x-own": "a \"b\", c", "cookie": "a=1; b=2", "authorization": "Basic x"});
        let told = json!({"__ow_method": "patch", "__ow_headers": headers, "__ow_path": "/b%20c"});
        assert_eq!(sent.input().unwrap(), with(told.clone()));
        sent.user = Some(EntityName::namespace("guest").unwrap());
        assert_eq!(sent.input().unwrap()["__ow_user"], "guest");
    }

    #[test]
    fn a_query_is_strings() {
        assert_eq!(
            Sent::get("a=1&b=x+y%21&c&=e&d=%C3%A4").fields(),
            with(json!({"a": "1", "b": "x y!", "c": "", "": "e", "d": "ä"}))
        );
        assert_eq!(Sent::get("a=1&a=2&default=3").fields(), with(json!({"a": "2", "default": "3"})));
        assert_eq!(Sent::get("a=%zz%").fields(), with(json!({"a": "%zz%"})));
    }

    #[test]
    fn a_body_is_what_its_type_says() {
        for (media_type, body, fields) in [
            ("application/json", r#"{"a":{"b":1.5}}"#, json!({"a": {"b": 1.5}})),
            ("application/cloudevents+json; charset=utf-8", r#" {"a":1}"#, json!({"a": 1})),
            ("application/json", "[1,\"x\"]", json!({"__ow_body": [1, "x"]})),
            ("application/json", "\"text\"", json!({"__ow_body": "text"})),
            ("application/json", "null", json!({"__ow_body": null})),
            ("application/json", "", json!({})),
            ("application/json", " \n", json!({})),
            ("application/x-www-form-urlencoded", "a=1&b=x+y&a=2", json!({"b": "x y", "a": "2"})),
            ("text/plain", "x \"y\"", json!({"__ow_body": "x \"y\""})),
            ("application/xml", "<a/>", json!({"__ow_body": "<a/>"})),
            ("application/octet-stream", "\u{0}abc", json!({"__ow_body": "AGFiYw=="})),
            ("image/png", "abc", json!({"__ow_body": "YWJj"})),
            ("multipart/form-data; boundary=x", "abc", json!({"__ow_body": "YWJj"})),
            ("", "abc", json!({"__ow_body": "YWJj"})),
            ("nonsense", "abc", json!({"__ow_body": "YWJj"})),
            ("text/plain", "", json!({})),
        ] {
            assert_eq!(Sent::post("", media_type, body).fields(), with(fields), "{media_type} {body}");
        }
        let latin = Sent::post("", "text/plain", b"a\xff").fields();
        assert_eq!(latin["__ow_body"], "a\u{fffd}");
    }

    #[test]
    fn the_body_wins_over_the_query_and_the_query_over_the_parameters() {
        let sent = Sent::post("a=query&default=query&b=query", "application/json", r#"{"a":"body","c":3}"#);
        assert_eq!(sent.fields(), with(json!({"a": "body", "b": "query", "c": 3, "default": "query"})));
        let sent = Sent::post("a=query&b=query", "application/x-www-form-urlencoded", "a=form&default=form");
        assert_eq!(sent.fields(), with(json!({"a": "form", "b": "query", "default": "form"})));
        let sent = Sent::post("a=query", "text/plain", "text");
        assert_eq!(sent.fields(), with(json!({"a": "query", "__ow_body": "text"})));
    }

    #[test]
    fn nobody_names_what_the_platform_or_the_action_sets_for_good() {
        for key in [METHOD, HEADERS, PATH, USER, QUERY, BODY, "fixed"] {
            for sent in [
                Sent::get(&format!("{key}=x")),
                Sent::get(&format!("%{:02x}{}=x", key.as_bytes()[0], &key[1..])),
                Sent::post("", "application/json", format!(r#"{{"{key}":1}}"#)),
                Sent::post("", "application/x-www-form-urlencoded", format!("{key}=1")),
            ] {
                assert_eq!(sent.input(), Err(parameters_not_allowed()), "{key}");
            }
        }
        let deeper = Sent::post("__ow_own=1", "application/json", r#"{"a":{"__ow_body":1}}"#);
        assert_eq!(deeper.fields(), with(json!({"__ow_own": "1", "a": {"__ow_body": 1}})));
    }

    #[test]
    fn json_that_is_none_is_malformed() {
        for body in ["{", "[1", "x", "{} {}", "{\"a\":\u{0}}"] {
            let refused = Sent::post("", "application/json", body).input().unwrap_err();
            assert_eq!(refused.status, 400, "{body}");
            assert!(refused.message.starts_with("The request content was malformed:\n"), "{refused}");
        }
    }

    #[test]
    fn a_raw_action_gets_query_and_body_as_they_came() {
        assert_eq!(Sent::get("").raw_fields(), with(json!({"__ow_query": "", "__ow_body": ""})));
        for (media_type, body, shown) in [
            ("application/json", r#"{"fixed":1}"#, "eyJmaXhlZCI6MX0="),
            ("application/hal+json", "{}", "{}"),
            ("application/x-www-form-urlencoded", "fixed=1", "fixed=1"),
            ("text/plain", "text", "text"),
            ("image/png", "abc", "YWJj"),
            ("", "abc", "YWJj"),
        ] {
            let sent = Sent::post("fixed=1&b=%20+", media_type, body);
            let fields = json!({"__ow_query": "fixed=1&b=%20+", "__ow_body": shown});
            assert_eq!(sent.raw_fields(), with(fields), "{media_type} {body}");
        }
    }

    #[test]
    fn many_fields_of_a_form_are_not_compared_pair_by_pair() {
        let fields: Vec<_> = (0..50_000).map(|number| format!("k{number}=1")).collect();
        let sent = Sent::post("", "application/x-www-form-urlencoded", fields.join("&"));
        assert_eq!(sent.fields().as_object().unwrap().len(), 50_002);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_input_is_what_the_rules_say(
            query in prop::collection::btree_map("[a-e]{1,2}", ".{0,6}", 0..4),
            body in prop::collection::btree_map("[a-e]{1,2}", any_json(), 0..4),
        ) {
            let query_text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
            let sent = Sent::post(&query_text, "application/json", serde_json::to_vec(&body).unwrap());
            let mut expected = with(json!({}));
            let fields = expected.as_object_mut().unwrap();
            fields.extend(query.into_iter().map(|(key, value)| (key, Value::from(value))));
            fields.extend(body);
            prop_assert_eq!(sent.fields(), expected);
        }

        #[test]
        fn any_bytes_make_an_input_or_a_refusal(
            query in "[ -~]{0,20}",
            body in prop::collection::vec(any::<u8>(), 0..40),
            media_type in prop_oneof![
                Just("application/json"), Just("text/plain"), Just("application/x-www-form-urlencoded"), Just(""),
            ],
        ) {
            let sent = Sent::post(&query, media_type, &body);
            match sent.input() {
                Ok(input) => prop_assert_eq!(&input["__ow_method"], "post"),
                Err(refused) => prop_assert_eq!(refused.status, 400),
            }
            let raw = sent.raw_fields();
            prop_assert_eq!(&raw["__ow_query"], &query);
            let shown = raw["__ow_body"].as_str().unwrap();
            if media_type.is_empty() || media_type == "application/json" {
                prop_assert_eq!(STANDARD.decode(shown).unwrap(), body);
            }
        }
    }
}
