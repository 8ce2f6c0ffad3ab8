//! `.http`: an action says status, headers and body itself (openwhisk-api.md 6.4).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::value::RawValue;
use triplane_model::ApiError;
use triplane_model::action::is_binary;

use super::json;
use super::media::MediaType;
use super::output::{Page, invalid};

/// How deeply lists of values of a header may be nested.
const NESTED_MAX: u32 = 16;

/// What is about the connection, which is the server's: an action that sets it would break the response.
const OF_THE_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// As Java's decoder, which OpenWhisk uses: what is missing at the end is not needed.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The response that a result describes.
///
/// # Errors
/// 400 when it describes none.
pub(super) fn page(result: &str) -> Result<Page, ApiError> {
    let members = json::members(result).ok_or_else(no_message)?;
    let status = json::value(&members, "statusCode").map(status).transpose()?;
    let mut headers = json::value(&members, "headers").map_or_else(|| Ok(HeaderMap::new()), headers)?;
    let content_type = headers.remove(CONTENT_TYPE);
    let body = json::value(&members, "body").filter(|body| !matches!(body.get(), "null" | "\"\""));
    let Some(body) = body.filter(|_| status.is_none_or(has_body)) else {
        let status = status.unwrap_or(StatusCode::NO_CONTENT);
        return Ok(Page { status, headers, body: Bytes::new() });
    };
    let (content_type, body) = match json::string(body) {
        Some(text) => of_string(&text, content_type.as_ref())?,
        None => of_json(body.get(), content_type.as_ref())?,
    };
    headers.insert(CONTENT_TYPE, content_type);
    Ok(Page { status: status.unwrap_or(StatusCode::OK), headers, body })
}

/// A string is what its type says: text, or bytes in base64. JSON may be either, as it was in earlier days of OpenWhisk.
fn of_string(text: &str, content_type: Option<&HeaderValue>) -> Result<(HeaderValue, Bytes), ApiError> {
    let value = content_type.map_or(Ok("text/html"), HeaderValue::to_str).map_err(|_| unknown_type())?;
    let media = MediaType::parse(value).ok_or_else(unknown_type)?;
    let is_encoded = if media.is_json() { is_binary(text) } else { !media.is_text() };
    let body = match is_encoded {
        true => BASE64.decode(text).map_err(|_| other_type())?.into(),
        false => Bytes::copy_from_slice(text.as_bytes()),
    };
    Ok((header(&media)?, body))
}

/// Any other value is JSON, and its type is to say so.
fn of_json(value: &str, content_type: Option<&HeaderValue>) -> Result<(HeaderValue, Bytes), ApiError> {
    let named =
        content_type.map_or(Ok("application/json"), HeaderValue::to_str).map_err(|_| unknown_type())?;
    let media = MediaType::parse(named).ok_or_else(unknown_type)?;
    match media.is_json() {
        true => Ok((header(&media)?, json::pretty(value).into())),
        false => Err(other_type()),
    }
}

fn header(media: &MediaType<'_>) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(media.in_utf_8()).map_err(|_| unknown_type())
}

/// A whole number, or a string of one. A status below 200 ends no response.
fn status(value: &RawValue) -> Result<StatusCode, ApiError> {
    let number = match json::string(value) {
        Some(text) => text.parse().ok(),
        None => value.get().parse::<f64>().ok().and_then(whole),
    };
    let status = number.filter(|number| *number >= 200).and_then(|number| StatusCode::from_u16(number).ok());
    status.ok_or_else(no_message)
}

/// A number without a fraction, of three digits at most.
fn whole(number: f64) -> Option<u16> {
    (0..=999).find(|whole| f64::from(*whole) == number)
}

/// Whether HTTP lets a response of this status have a body.
fn has_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The headers that an object describes, without those of the connection.
fn headers(object: &RawValue) -> Result<HeaderMap, ApiError> {
    let mut headers = HeaderMap::new();
    for (name, value) in json::members(object.get()).ok_or_else(no_message)? {
        let name = HeaderName::try_from(&*name).map_err(|_| no_message())?;
        let mut values = Vec::new();
        flatten(value, NESTED_MAX, &mut values)?;
        if OF_THE_CONNECTION.contains(&name) {
            continue;
        }
        for value in values {
            headers.try_append(&name, value).map_err(|_| no_message())?;
        }
    }
    Ok(headers)
}

/// A string, a number, a boolean, or a list of those.
fn flatten(value: &RawValue, nested_max: u32, values: &mut Vec<HeaderValue>) -> Result<(), ApiError> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let text = json::string(value).ok_or_else(no_message)?;
            values.push(HeaderValue::from_bytes(text.as_bytes()).map_err(|_| no_message())?);
        }
        Some(b'[') if nested_max > 0 => {
            for element in json::elements(value).ok_or_else(no_message)? {
                flatten(element, nested_max - 1, values)?;
            }
        }
        Some(b't' | b'f' | b'-' | b'0'..=b'9') => {
            values.push(HeaderValue::from_str(text).map_err(|_| no_message())?);
        }
        _ => return Err(no_message()),
    }
    Ok(())
}

fn no_message() -> ApiError {
    invalid("message/http")
}

fn unknown_type() -> ApiError {
    ApiError::new(400, "Response did not specify a known content-type.")
}

fn other_type() -> ApiError {
    ApiError::new(400, "Response type in header did not match generated content type.")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(result: Value) -> Result<Page, ApiError> {
        page(&result.to_string())
    }

    /// Status, content type and body.
    fn shown(result: Value) -> (u16, String, Vec<u8>) {
        let page = of(result).unwrap();
        let content_type = page.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
        (page.status.as_u16(), content_type.to_owned(), page.body.to_vec())
    }

    fn error(result: Value) -> String {
        let error = of(result).unwrap_err();
        assert_eq!(error.status, 400);
        error.message
    }

    #[test]
    fn a_status_is_a_whole_number_or_a_string_of_one() {
        for (status, expected) in [
            (json!(201), 201),
            (json!("404"), 404),
            (json!(444), 444),
            (json!(200.0), 200),
            (json!(999), 999),
        ] {
            assert_eq!(shown(json!({"statusCode": status, "body": "x"})).0, expected);
        }
        for status in [
            json!("xyz"),
            json!(200.5),
            json!(null),
            json!(true),
            json!({}),
            json!(-200),
            json!(1e9),
            json!(""),
            json!(100),
            json!(101),
            json!(99),
            json!(1000),
            json!(" 200"),
        ] {
            let text = "Response is not valid 'message/http'.";
            assert_eq!(error(json!({"statusCode": status})), text, "{status}");
        }
    }

    #[test]
    fn without_a_body_the_status_is_204_and_there_is_no_type() {
        let headers = json!({"Content-Type": "application/json"});
        for body in [json!(null), json!("")] {
            assert_eq!(shown(json!({"body": body, "headers": headers})), (204, String::new(), vec![]));
        }
        assert_eq!(shown(json!({"headers": headers})), (204, String::new(), vec![]));
        assert_eq!(shown(json!({"statusCode": 200})).0, 200);
    }

    #[test]
    fn a_status_that_has_no_body_gets_none() {
        for status in [204, 205, 304] {
            let result = json!({"statusCode": status, "body": "x", "headers": {"x-own": "1"}});
            assert_eq!(shown(result), (status, String::new(), vec![]));
        }
    }

    #[test]
    fn a_string_is_html_unless_its_header_says_otherwise() {
        let body = b"x".to_vec();
        let html = "text/html; charset=UTF-8".to_owned();
        assert_eq!(shown(json!({"body": "x"})), (200, html, body.clone()));
        for (content_type, answered) in [
            ("text/plain", "text/plain; charset=UTF-8"),
            ("application/xml; charset=utf-8", "application/xml; charset=UTF-8"),
            ("application/json", "application/json"),
        ] {
            let result = json!({"body": "x", "headers": {"content-type": content_type}});
            assert_eq!(shown(result), (200, answered.to_owned(), body.clone()));
        }
    }

    #[test]
    fn bytes_are_in_base64() {
        let typed = |content_type, body| json!({"body": body, "headers": {"Content-type": content_type}});
        assert_eq!(shown(typed("image/png", "AAEC/w==")), (200, "image/png".into(), vec![0, 1, 2, 255]));
        assert_eq!(shown(typed("image/png", "AAEC/w")).2, [0, 1, 2, 255], "padding is not needed");
        let text = "Response type in header did not match generated content type.";
        for body in ["<svg/>", "AAE C", "a"] {
            assert_eq!(error(typed("image/svg+xml", body)), text, "{body}");
        }
    }

    #[test]
    fn a_string_of_the_json_family_is_decoded_when_it_looks_like_base64() {
        for content_type in ["application/json", "application/json-patch+json"] {
            let typed = |body: &str| json!({"body": body, "headers": {"content-type": content_type}});
            assert_eq!(shown(typed("eyJhIjoxfQ==")).2, br#"{"a":1}"#);
            assert_eq!(shown(typed(r#"{"a":1}"#)).2, br#"{"a":1}"#);
            assert_eq!(shown(typed("hello world")).2, b"hello world");
        }
    }

    #[test]
    fn any_other_value_is_json_and_laid_out() {
        let answered =
            |content_type: &str, text: &str| (200, content_type.to_owned(), text.as_bytes().to_vec());
        assert_eq!(shown(json!({"body": {"a": 1}})), answered("application/json", "{\n  \"a\": 1\n}"));
        assert_eq!(shown(json!({"body": 3})), answered("application/json", "3"));
        let typed = |content_type| json!({"body": [1, 2], "headers": {"content-type": content_type}});
        assert_eq!(shown(typed("application/hal+json")), answered("application/hal+json", "[1, 2]"));
        let text = "Response type in header did not match generated content type.";
        assert_eq!(error(typed("text/html")), text);
    }

    #[test]
    fn a_type_that_cannot_be_read_is_no_type() {
        for body in [json!("x"), json!({"a": 1})] {
            let result = json!({"body": body, "headers": {"content-type": "xyzbar"}});
            assert_eq!(error(result), "Response did not specify a known content-type.");
        }
    }

    #[test]
    fn headers_are_strings_numbers_booleans_and_lists_of_those() {
        let page = of(json!({"headers": {
            "Set-Cookie": ["a=b", "c=d; Path = /", ["e=f"]], "X-Number": 1.5, "X-Yes": true, "X-Text": "ä",
        }}));
        let headers = page.unwrap().headers;
        let all =
            |name| headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(all("set-cookie"), [b"a=b".to_vec(), b"c=d; Path = /".to_vec(), b"e=f".to_vec()]);
        assert_eq!((all("x-number"), all("x-yes")), (vec![b"1.5".to_vec()], vec![b"true".to_vec()]));
        assert_eq!(all("x-text"), ["ä".as_bytes().to_vec()]);
    }

    #[test]
    fn headers_that_are_none_make_no_message() {
        let deep = format!("{}1{}", "[".repeat(20), "]".repeat(20));
        for headers in [
            json!([]),
            json!(null),
            json!("x"),
            json!({"a": {}}),
            json!({"a": null}),
            json!({"a": [null]}),
            json!({"": "x"}),
            json!({"a b": "x"}),
            json!({"a": "x\r\nb: y"}),
            json!({"a": "\u{0}"}),
            json!({"a": serde_json::from_str::<Value>(&deep).unwrap()}),
        ] {
            let text = "Response is not valid 'message/http'.";
            assert_eq!(error(json!({"headers": headers, "body": "x"})), text, "{headers}");
        }
        for result in [json!([]), json!("x"), json!(null), json!(1)] {
            assert_eq!(error(result), "Response is not valid 'message/http'.");
        }
    }

    #[test]
    fn an_action_does_not_set_what_belongs_to_the_connection() {
        let page = of(json!({"body": "x", "headers": {
            "Content-Length": 7, "transfer-encoding": "chunked", "connection": "close", "x-own": "1",
        }}));
        let headers = page.unwrap().headers;
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-own", "content-type"]);
    }
}
