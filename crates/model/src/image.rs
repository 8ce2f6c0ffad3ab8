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

    /// The whole name without tag and digest, with all that Docker leaves out: `docker.io/library/busybox`.
    #[must_use]
    pub fn canonical(&self) -> String {
        let named = self.name.strip_prefix(self.registry).and_then(|rest| rest.strip_prefix('/'));
        let path = named.unwrap_or(self.name);
        let library = if self.registry == DOCKER_HUB && !path.contains('/') { "library/" } else { "" };
        format!("{}/{library}{path}", self.registry)
    }

    /// Whether the name may mean another image tomorrow, so that only a fresh pull will do: no tag, or `latest`.
    #[must_use]
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.is_none_or(|tag| tag == "latest")
    }
}

/// Which images of users a platform runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRules {
    /// Those that the operator vouches for, OpenWhisk's `blackboxes` (openwhisk-api.md 2.4): canonical, with a tag if
    /// only that one is meant.
    vouched_for: Vec<(String, Option<String>)>,
    /// What the canonical names of others begin with; everything when there is nothing.
    allowed: Vec<String>,
}

impl ImageRules {
    /// Rules of images that are vouched for, and of registries and the paths in them that are allowed: `docker.io/me`,
    /// `registry.example.org:5000`.
    ///
    /// # Errors
    /// The entry that is neither.
    pub fn new(vouched_for: &[String], allowed: &[String]) -> Result<Self, String> {
        let image = |text: &String| {
            let name = ImageName::parse(text).map_err(|_| format!("'{text}' is not the name of an image"))?;
            Ok((name.canonical(), name.tag.map(str::to_owned)))
        };
        Ok(Self {
            vouched_for: vouched_for.iter().map(image).collect::<Result<_, String>>()?,
            allowed: allowed.iter().map(|text| prefix(text)).collect::<Result<_, String>>()?,
        })
    }

    /// Whether the operator vouches for an image: it is used as it is here, and marks the end of its output.
    #[must_use]
    pub fn vouches_for(&self, image: &ImageName<'_>) -> bool {
        let canonical = image.canonical();
        self.vouched_for.iter().any(|(name, tag)| {
            *name == canonical && tag.as_deref().is_none_or(|tag| tag == image.tag.unwrap_or("latest"))
        })
    }

    /// Whether an image may be run.
    ///
    /// # Errors
    /// 403 with what is allowed instead.
    pub fn check(&self, image: &ImageName<'_>) -> Result<(), ApiError> {
        let canonical = image.canonical();
        let begins = |allowed: &String| {
            canonical.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if self.allowed.is_empty() || self.allowed.iter().any(begins) || self.vouches_for(image) {
            return Ok(());
        }
        let allowed = self.allowed.join(", ");
        Err(ApiError::new(
            403,
            format!(
                "the image {canonical} is not allowed on this platform: use one from {allowed}, or ask its operator \
                 to allow more by docker.allowed"
            ),
        ))
    }
}

/// A registry, or a path in one, as canonical names begin.
fn prefix(text: &str) -> Result<String, String> {
    let bad = || format!("'{text}' is neither a registry nor a path in one");
    let trimmed = text.trim_end_matches('/');
    let (first, path) = trimmed.split_once('/').map_or((trimmed, None), |(first, path)| (first, Some(path)));
    let (registry, path) = match is_registry(first) {
        true => (first, path),
        false => (DOCKER_HUB, Some(trimmed)),
    };
    match path {
        None => Ok(registry.to_owned()),
        Some(path) if path.split('/').all(is_path_component) => Ok(format!("{registry}/{path}")),
        Some(_) => Err(bad()),
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
    fn every_name_of_an_image_has_one_canonical_form() {
        let canonical = |text| ImageName::parse(text).unwrap().canonical();
        assert_eq!(canonical("busybox"), "docker.io/library/busybox");
        assert_eq!(canonical("docker.io/busybox:1"), "docker.io/library/busybox");
        assert_eq!(canonical("me/mine"), "docker.io/me/mine");
        assert_eq!(canonical("registry:5000/mine:2"), "registry:5000/mine");
    }

    #[test]
    fn images_are_allowed_by_whole_components_of_their_names() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let rules =
            |vouched_for: &[&str], allowed: &[&str]| ImageRules::new(&texts(vouched_for), &texts(allowed));
        let some = rules(&["known/one", "known/two:1"], &["me", "registry.example.org:5000/team/"]).unwrap();
        let is_allowed = |rules: &ImageRules, text| rules.check(&ImageName::parse(text).unwrap()).is_ok();
        for text in [
            "me/mine",
            "docker.io/me/mine:1",
            "registry.example.org:5000/team/a/b",
            "known/one:7",
            "known/two:1",
        ] {
            assert!(is_allowed(&some, text), "{text}");
        }
        for text in ["you/yours", "mean/image", "me2/mine", "registry.example.org:5000/teams/a", "known/two"]
        {
            assert!(!is_allowed(&some, text), "{text}");
        }
        assert!(is_allowed(&ImageRules::default(), "anything"));
        let refused = some.check(&ImageName::parse("busybox").unwrap()).unwrap_err();
        assert_eq!(refused.status, 403);
        assert_eq!(
            refused.message,
            "the image docker.io/library/busybox is not allowed on this platform: use one from docker.io/me, \
             registry.example.org:5000/team, or ask its operator to allow more by docker.allowed"
        );
        assert_eq!(
            rules(&[], &["No Path"]).unwrap_err(),
            "'No Path' is neither a registry nor a path in one"
        );
        assert_eq!(rules(&["No Image"], &[]).unwrap_err(), "'No Image' is not the name of an image");
    }

    #[test]
    fn only_latest_may_change() {
        let is_latest = |text| ImageName::parse(text).unwrap().is_latest();
        assert!(is_latest("a") && is_latest("localhost:5000/a") && is_latest("a:latest"));
        assert!(!is_latest("a:1") && !is_latest(&format!("a@sha256:{}", "0".repeat(64))));
    }
}
