//! What becomes of a web action's result (openwhisk-api.md 6.4), by the extension of its path. `.http` is in [`message`].
//!
//! [`message`]: super::message

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::value::RawValue;
use triplane_model::ApiError;

use super::accept::accepts;
use super::media::MediaType;
use super::path::Extension;
use super::{json, message};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=UTF-8");
const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");

/// A response that an action made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Page {
    /// The response that a result is, for a client that accepts it.
    ///
    /// # Errors
    /// 400 when the result is not what the extension asks for, 404 when a property is missing, 406 when the client
    /// accepts no such thing.
    pub(crate) fn of(result: &str, extension: Extension, request: &HeaderMap) -> Result<Self, ApiError> {
        let page = match extension {
            Extension::Http => message::page(result),
            Extension::Json => of_json(result),
            Extension::Html => of_text(result, "html", &HTML),
            Extension::Svg => of_text(result, "svg", &SVG),
            Extension::Text => of_anything(result),
        }?;
        page.negotiated(request)
    }

    fn ok(content_type: &HeaderValue, body: impl Into<Bytes>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.clone())]);
        Self { status: StatusCode::OK, headers, body: body.into() }
    }

    /// What says that something failed is answered in any case: an error of the action must not become ours.
    fn negotiated(self, request: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = content_type.filter(|_| self.status.is_success()).and_then(MediaType::parse);
        match media.filter(|media| !accepts(request, media.essence())) {
            Some(media) => Err(not_acceptable(media.essence())),
            None => Ok(self),
        }
    }
}

fn of_json(result: &str) -> Result<Page, ApiError> {
    match result.trim_start().starts_with(['{', '[']) {
        true => Ok(Page::ok(&JSON, json::pretty(result))),
        false => Err(invalid("application/json")),
    }
}

/// A string: the result itself, or its field `body`, or the one of the extension's name.
fn of_text(result: &str, field: &str, content_type: &HeaderValue) -> Result<Page, ApiError> {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let text = property(result, field).and_then(|value| Some(json::string(value)?.into_owned()));
    text.map(|text| Page::ok(content_type, text)).ok_or_else(|| invalid(essence))
}

/// Any JSON: a string as its text, all else as it is written.
fn of_anything(result: &str) -> Result<Page, ApiError> {
    let value = property(result, "text").ok_or_else(missing)?;
    let text = match json::string(value) {
        Some(text) => text,
        None if value.get().starts_with(['{', '[']) => Cow::Owned(json::pretty(value.get())),
        None => Cow::Borrowed(value.get()),
    };
    Ok(Page::ok(&TEXT, text.into_owned()))
}

/// Of an object a field, any other result itself.
fn property<'a>(result: &'a str, field: &str) -> Option<&'a RawValue> {
    match json::members(result) {
        Some(members) => json::value(&members, "body").or_else(|| json::value(&members, field)),
        None => serde_json::from_str(result).ok(),
    }
}

/// 400: the result is not what was asked for.
pub(super) fn invalid(essence: &str) -> ApiError {
    ApiError::new(400, format!("Response is not valid '{essence}'."))
}

/// 404: the result lacks what was asked for.
pub(super) fn missing() -> ApiError {
    ApiError::new(404, "Response does not include requested property.")
}

fn not_acceptable(essence: &str) -> ApiError {
    ApiError::new(406, format!("Resource representation is only available with these types:\n{essence}"))
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::web::json::arbitrary::any_json;

    /// Content type and body.
    fn page(result: Value, extension: Extension) -> Result<(String, String), (u16, String)> {
        let page = Page::of(&result.to_string(), extension, &HeaderMap::new());
        let page = page.map_err(|error| (error.status, error.message))?;
        assert_eq!(page.status, 200);
        let content_type = page.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        Ok((content_type, String::from_utf8(page.body.to_vec()).unwrap()))
    }

    fn refused(status: u16, text: &str) -> Result<(String, String), (u16, String)> {
        Err((status, text.to_owned()))
    }

    #[test]
    fn json_is_an_object_or_an_array_laid_out() {
        let answered = |text: &str| Ok(("application/json".to_owned(), text.to_owned()));
        assert_eq!(page(json!({"a": 1}), Extension::Json), answered("{\n  \"a\": 1\n}"));
        assert_eq!(page(json!([1, "x"]), Extension::Json), answered("[1, \"x\"]"));
        for result in [json!("x"), json!(1), json!(null), json!(true)] {
            let text = "Response is not valid 'application/json'.";
            assert_eq!(page(result, Extension::Json), refused(400, text));
        }
    }

    #[test]
    fn html_and_svg_are_strings_in_body_or_in_a_field_of_their_name() {
        for (extension, field, content_type) in
            [(Extension::Html, "html", "text/html; charset=UTF-8"), (Extension::Svg, "svg", "image/svg+xml")]
        {
            let answered = |text: &str| Ok((content_type.to_owned(), text.to_owned()));
            assert_eq!(page(json!({field: "<a>\n"}), extension), answered("<a>\n"));
            assert_eq!(page(json!({"body": "<b>", field: "<a>"}), extension), answered("<b>"));
            assert_eq!(page(json!("<error>"), extension), answered("<error>"));
            let essence = content_type.split(';').next().unwrap();
            for result in
                [json!({}), json!({field: 1}), json!({"body": null, field: "<a>"}), json!([]), json!(1)]
            {
                let text = format!("Response is not valid '{essence}'.");
                assert_eq!(page(result, extension), refused(400, &text));
            }
        }
    }

    #[test]
    fn text_is_any_value() {
        let answered = |text: &str| Ok(("text/plain; charset=UTF-8".to_owned(), text.to_owned()));
        for (value, text) in [
            (json!("a \"b\""), "a \"b\""),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!({"a": 1}), "{\n  \"a\": 1\n}"),
            (json!(["a"]), "[\"a\"]"),
        ] {
            assert_eq!(page(json!({"text": value}), Extension::Text), answered(text));
            assert_eq!(page(json!({"body": value, "text": "other"}), Extension::Text), answered(text));
        }
        assert_eq!(page(json!("error"), Extension::Text), answered("error"));
        let text = "Response does not include requested property.";
        assert_eq!(page(json!({"other": 1}), Extension::Text), refused(404, text));
    }

    #[test]
    fn a_client_that_accepts_no_such_thing_is_told_what_there_is() {
        let accept = |value: &str| HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())]);
        let page = |value| Page::of(r#"{"body":"x"}"#, Extension::Html, &accept(value));
        assert!(page("text/*").is_ok());
        let refused = page("application/json").unwrap_err();
        let text = "Resource representation is only available with these types:\ntext/html";
        assert_eq!((refused.status, refused.message.as_str()), (406, text));
        let error = r#"{"statusCode":404,"body":"no"}"#;
        let answered = Page::of(error, Extension::Http, &accept("application/json"));
        assert_eq!(answered.unwrap().status, 404, "an error is answered as the action made it");
        assert!(Page::of("{}", Extension::Http, &accept("application/json")).is_ok(), "there is no body");
    }

    proptest! {
        #[test]
        fn every_result_is_a_page_or_an_error_with_a_text(result in any_json()) {
            let text = result.to_string();
            for extension in
                [Extension::Http, Extension::Json, Extension::Html, Extension::Svg, Extension::Text]
            {
                match Page::of(&text, extension, &HeaderMap::new()) {
                    Ok(page) => prop_assert!(page.body.is_empty() || page.headers.contains_key(CONTENT_TYPE)),
                    Err(error) => prop_assert!(matches!(error.status, 400 | 404) && !error.message.is_empty()),
                }
            }
        }

        #[test]
        fn what_is_projected_is_what_the_action_put_there(value in any_json(), html in ".{0,20}") {
            let json_page = Page::of(&json!({"v": value}).to_string(), Extension::Json, &HeaderMap::new()).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&json_page.body).unwrap(), json!({"v": value}));
            let html_page = Page::of(&json!({"html": html}).to_string(), Extension::Html, &HeaderMap::new()).unwrap();
            prop_assert_eq!(html_page.body, html.into_bytes());
        }
    }
}
