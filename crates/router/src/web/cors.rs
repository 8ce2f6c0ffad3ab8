//! What browsers of other origins may do with a web action (openwhisk-api.md 6.1).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS,
};
use http::{HeaderMap, HeaderValue, Method};

/// The methods that reach a web action.
pub(crate) const METHODS: [Method; 7] =
    [Method::OPTIONS, Method::GET, Method::DELETE, Method::POST, Method::PUT, Method::HEAD, Method::PATCH];
/// The same as text.
pub(crate) const METHODS_TEXT: &str = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH";
const HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent");

/// Allows everything, in a response to a request with these headers. What the action said of it is replaced.
pub(crate) fn allow(response: &mut HeaderMap, request: &HeaderMap) {
    let wanted = request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(HEADERS);
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS_TEXT));
    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_method() {
        let names: Vec<_> = METHODS.iter().map(Method::as_str).collect();
        assert_eq!(names.join(", "), METHODS_TEXT);
    }

    #[test]
    fn the_headers_that_a_browser_asks_for_are_allowed() {
        let mut response = HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, "mine".parse().unwrap())]);
        allow(&mut response, &HeaderMap::new());
        assert_eq!(response[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(response[ACCESS_CONTROL_ALLOW_HEADERS], HEADERS);
        let asked = HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, "x-own".parse().unwrap())]);
        allow(&mut response, &asked);
        assert_eq!(response[ACCESS_CONTROL_ALLOW_HEADERS], "x-own");
    }
}
