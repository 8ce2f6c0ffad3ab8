//! The names of container images: Docker's reference grammar, as OpenWhisk checks it (openwhisk-api.md 2.1, 2.4).

use crate::error::ApiError;

/// The registry of names that say none.
const DOCKER_HUB: &str = "docker.io";
/// The longest name that Docker takes, without tag and digest.
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
/// The shortest digest, in hexadecimal digits.
const DIGEST_DIGITS_MIN: usize = 32;

/// A name that was parsed; parts of the text that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageName<'a> {
    /// The registry, `docker.io` when the name says none.
    pub registry: &'a str,
    /// The whole name without tag and digest.
    pub name: &'a str,
    /// What follows the colon.
    pub tag: Option<&'a str>,
    /// What follows the `@`.
    pub digest: Option<&'a str>,
}

impl<'a> ImageName<'a> {
    /// Parses `[registry/][prefix/]name[:tag][@digest]`.
    ///
    /// # Errors
    /// 400 with OpenWhisk's text.
    pub fn parse(text: &'a str) -> Result<Self, ApiError> {
        let bad = || ApiError::malformed_content("could not parse image name");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // a colon before the last slash belongs to the registry's port
        let last_at = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_at..].find(':') {
            Some(at) => (&rest[..last_at + at], Some(&rest[last_at + at + 1..])),
            None => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path),
            _ => (DOCKER_HUB, name),
        };
        let is_good = name.len() <= NAME_BYTES_MAX
            && path.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if is_good { Ok(Self { registry, name, tag, digest }) } else { Err(bad()) }
    }

    /// Whether the name may mean another image tomorrow, so that only a fresh pull will do: no tag, or `latest`.
    #[must_use]
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.is_none_or(|tag| tag == "latest")
    }
}

/// Whether the first component is a host: Docker's rule, so that `a/b` is in the Docker Hub.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_host = !host.is_empty() && host.split('.').all(is_host_component);
    let is_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_meant = port.is_some() || host.contains('.') || host == "localhost";
    is_meant && is_host && is_port
}

fn is_host_component(text: &str) -> bool {
    let is_inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

/// Lower-case letters and digits, between them `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_in_words =
        bytes.first().is_some_and(|&byte| is_word(byte)) && bytes.last().is_some_and(|&byte| is_word(byte));
    let mut separators = bytes.split(|&byte| is_word(byte)).filter(|separator| !separator.is_empty());
    ends_in_words
        && separators.all(|separator| {
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&byte| is_word(byte))
        && bytes.len() <= TAG_BYTES_MAX
        && bytes.iter().all(|&byte| is_word(byte) || byte == b'.' || byte == b'-')
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    let mut parts = algorithm.split(['+', '.', '-', '_']);
    let is_algorithm = parts.all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    is_algorithm && digits.len() >= DIGEST_DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let with_digest = format!("localhost:5000/a/b__c--d.e_f:1.0@{digest}");
        let cases = [
            ("busybox", "docker.io", "busybox", None, None),
            (
                "openwhisk/action-nodejs-v20:nightly",
                "docker.io",
                "openwhisk/action-nodejs-v20",
                Some("nightly"),
                None,
            ),
            ("quay.io/a/b", "quay.io", "quay.io/a/b", None, None),
            ("Registry:80/x:L_1", "Registry:80", "Registry:80/x", Some("L_1"), None),
            (&with_digest, "localhost:5000", "localhost:5000/a/b__c--d.e_f", Some("1.0"), Some(&*digest)),
        ];
        for (text, registry, name, tag, digest) in cases {
            assert_eq!(ImageName::parse(text).unwrap(), ImageName { registry, name, tag, digest }, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_openwhisks_text() {
        let long = "a".repeat(256);
        let bad = [
            "",
            " ",
            "A",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:-x",
            "a b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "a:b:c",
            "x.y/",
            "a@sha256:12",
            "ü",
            "a@b",
            "Upper/case",
            "host:port/a",
            &long,
        ];
        for text in bad {
            let error = ImageName::parse(text).unwrap_err();
            assert!(error.message.ends_with("could not parse image name"), "{text}: {}", error.message);
        }
    }

    #[test]
    fn only_latest_may_change() {
        let is_latest = |text| ImageName::parse(text).unwrap().is_latest();
        assert!(is_latest("a") && is_latest("localhost:5000/a") && is_latest("a:latest"));
        assert!(!is_latest("a:1") && !is_latest(&format!("a@sha256:{}", "0".repeat(64))));
    }
}
