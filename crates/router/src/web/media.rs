//! Media types: what a body is, and whether it is text (RFC 9110, 8.3.1).

/// A media type with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    /// `type/subtype` in lower case.
    essence: String,
    /// `name=value`, as they were written.
    parameters: Vec<&'a str>,
}

/// What has no letters, whatever its parameters say.
const BINARY: [&str; 5] = ["image/", "audio/", "video/", "font/", "multipart/"];
/// What is text although nothing in its name says so.
const TEXT: [&str; 5] = [
    "application/json",
    "application/xml",
    "application/xml-dtd",
    "application/javascript",
    "application/x-www-form-urlencoded",
];

impl<'a> MediaType<'a> {
    /// Reads the value of a header `Content-Type`.
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let mut parts = split_unquoted(value, ';');
        let essence = parts.next()?.trim();
        let (main, sub) = essence.split_once('/')?;
        if !is_token(main) || !is_token(sub) {
            return None;
        }
        let parameters = parts.map(str::trim).filter(|parameter| !parameter.is_empty()).collect::<Vec<_>>();
        let is_parameter =
            |text: &&str| text.split_once('=').is_some_and(|(name, value)| is_token(name) && is_value(value));
        parameters
            .iter()
            .all(is_parameter)
            .then(|| Self { essence: essence.to_ascii_lowercase(), parameters })
    }

    /// `type/subtype` in lower case.
    pub(crate) fn essence(&self) -> &str {
        &self.essence
    }

    /// JSON, or one of its family.
    pub(crate) fn is_json(&self) -> bool {
        self.essence == "application/json" || self.essence.ends_with("+json")
    }

    /// A form of a browser.
    pub(crate) fn is_form(&self) -> bool {
        self.essence == "application/x-www-form-urlencoded"
    }

    /// Text in some charset; all else is bytes.
    pub(crate) fn is_text(&self) -> bool {
        let essence = self.essence.as_str();
        if BINARY.iter().any(|main| essence.starts_with(main)) {
            return false;
        }
        essence.starts_with("text/")
            || essence.ends_with("+json")
            || essence.ends_with("+xml")
            || TEXT.contains(&essence)
            || self.parameters.iter().any(|parameter| is_charset(parameter))
    }

    /// The same type as a header; text is in UTF-8, and says so where the type does not.
    pub(crate) fn in_utf_8(&self) -> String {
        let mut value = self.essence.clone();
        for parameter in self.parameters.iter().filter(|parameter| !is_charset(parameter)) {
            value.push_str("; ");
            value.push_str(parameter);
        }
        if self.is_text() && !self.is_json() {
            value.push_str("; charset=UTF-8");
        }
        value
    }
}

fn is_charset(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, _)| name.eq_ignore_ascii_case("charset"))
}

/// The parts between separators, of which those in quotes are none.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        character == separator && !is_quoted
    })
}

/// A word of HTTP (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// The value of a parameter: a word, or anything in quotes.
fn is_value(text: &str) -> bool {
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    is_token(text) || (is_quoted && !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_two_words_and_parameters() {
        for (value, essence) in [
            ("text/html", "text/html"),
            (" Application/JSON ; charset=utf-8", "application/json"),
            (r#"multipart/form-data; boundary="a;b\"c""#, "multipart/form-data"),
            ("text/plain;", "text/plain"),
        ] {
            assert_eq!(MediaType::parse(value).unwrap().essence(), essence, "{value}");
        }
        for bad in [
            "",
            "xyzbar",
            "text/",
            "/html",
            "text/ht ml",
            "text/html; charset",
            "text/html; a=\n",
            "a/b/c",
            "ä/b",
        ] {
            assert_eq!(MediaType::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_text_is_told_by_the_type_or_a_charset() {
        for (value, is_text) in [
            ("text/anything", true),
            ("application/json", true),
            ("application/cloudevents+json", true),
            ("application/xml", true),
            ("application/atom+xml", true),
            ("application/javascript", true),
            ("application/x-www-form-urlencoded", true),
            ("application/x-own; charset=utf-8", true),
            ("application/x-own", false),
            ("application/octet-stream", false),
            ("image/png", false),
            ("image/svg+xml", false),
            ("image/png; charset=utf-8", false),
            ("multipart/form-data; boundary=x", false),
        ] {
            assert_eq!(MediaType::parse(value).unwrap().is_text(), is_text, "{value}");
        }
    }

    #[test]
    fn json_has_a_family() {
        for (value, is_json) in [
            ("application/json", true),
            ("application/hal+json", true),
            ("application/json-seq", false),
            ("text/json", false),
        ] {
            assert_eq!(MediaType::parse(value).unwrap().is_json(), is_json, "{value}");
        }
    }

    #[test]
    fn text_is_in_utf_8_whatever_its_type_said() {
        for (value, expected) in [
            ("text/html", "text/html; charset=UTF-8"),
            ("text/html; charset=latin1; a=b", "text/html; a=b; charset=UTF-8"),
            ("application/json; charset=utf-8", "application/json"),
            ("application/problem+json", "application/problem+json"),
            ("image/png", "image/png"),
        ] {
            assert_eq!(MediaType::parse(value).unwrap().in_utf_8(), expected, "{value}");
        }
    }
}
