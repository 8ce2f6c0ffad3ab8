//! What an action's annotations say about its calls from the web (openwhisk-api.md 2.2, 6.2).

use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use triplane_model::Parameters;

const REQUIRE_WHISK_AUTH: HeaderName = HeaderName::from_static("x-require-whisk-auth");

/// An action that is exported to the web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebAction {
    /// Query and body reach it as they come (`raw-http`).
    pub(crate) is_raw: bool,
    /// It answers OPTIONS, and says itself what browsers may do (`web-custom-options`).
    pub(crate) has_custom_options: bool,
    auth: Auth,
}

/// Who may call it (`require-whisk-auth`).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Auth {
    Everybody,
    /// Those with credentials of this platform, whoever they are.
    Users,
    /// Those who know a secret.
    Secret(String),
    /// The annotation means nothing, so nobody: that is the mistake that can be noticed.
    Nobody,
}

impl WebAction {
    /// What the annotations say; nothing when the action is not exported.
    pub(crate) fn of(annotations: &Parameters) -> Option<Self> {
        let is_true = |key| annotations.get(key).is_some_and(|value| value.get() == "true");
        is_true("web-export").then(|| Self {
            is_raw: is_true("raw-http"),
            has_custom_options: is_true("web-custom-options"),
            auth: annotations.get("require-whisk-auth").map_or(Auth::Everybody, Auth::of),
        })
    }

    /// Whether a request may call it; `is_user` when it has valid credentials.
    pub(crate) fn admits(&self, headers: &HeaderMap, is_user: bool) -> bool {
        match &self.auth {
            Auth::Everybody => true,
            Auth::Users => is_user,
            Auth::Nobody => false,
            Auth::Secret(secret) => {
                // Digests, so that the time of the comparison tells nothing of the secret.
                let digest = |bytes: &[u8]| Sha256::digest(bytes);
                let sent = headers.get(REQUIRE_WHISK_AUTH);
                sent.is_some_and(|sent| digest(sent.as_bytes()) == digest(secret.as_bytes()))
            }
        }
    }
}

impl Auth {
    fn of(value: &RawValue) -> Self {
        match value.get() {
            "true" => Self::Users,
            "false" => Self::Everybody,
            number if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                Self::Secret(number.to_owned())
            }
            text => serde_json::from_str(text).map_or(Self::Nobody, Self::Secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(pairs: &[(&str, &str)]) -> Option<WebAction> {
        let list: Vec<_> =
            pairs.iter().map(|(key, value)| format!(r#"{{"key":"{key}","value":{value}}}"#)).collect();
        WebAction::of(&serde_json::from_str(&format!("[{}]", list.join(","))).unwrap())
    }

    #[test]
    fn only_true_exports_an_action() {
        assert!(annotated(&[("web-export", "true")]).is_some());
        for value in ["false", "null", "1", "\"true\"", "{}"] {
            assert_eq!(annotated(&[("web-export", value)]), None, "{value}");
        }
        assert_eq!(annotated(&[("raw-http", "true")]), None);
    }

    #[test]
    fn raw_and_custom_options_are_true_or_not() {
        let web = |key, value| annotated(&[("web-export", "true"), (key, value)]).unwrap();
        assert!(web("raw-http", "true").is_raw && web("web-custom-options", "true").has_custom_options);
        assert!(!web("raw-http", "\"true\"").is_raw && !web("web-custom-options", "1").has_custom_options);
    }

    #[test]
    fn an_action_admits_everybody_users_or_those_who_know_its_secret() {
        let sent =
            |secret: &'static str| HeaderMap::from_iter([(REQUIRE_WHISK_AUTH, secret.parse().unwrap())]);
        let admits = |annotation: &str, headers: &HeaderMap, is_user| {
            let web = annotated(&[("web-export", "true"), ("require-whisk-auth", annotation)]).unwrap();
            web.admits(headers, is_user)
        };
        let nothing = HeaderMap::new();
        assert!(annotated(&[("web-export", "true")]).unwrap().admits(&nothing, false));
        assert!(admits("false", &nothing, false));
        assert!(admits("true", &nothing, true) && !admits("true", &sent("true"), false));
        assert!(admits("\"s \\\"\"", &sent("s \""), false) && !admits("\"s\"", &nothing, true));
        assert!(!admits("\"s\"", &sent("S"), false));
        assert!(admits("1234", &sent("1234"), false) && !admits("1234", &sent("12345"), false));
        for odd in ["null", "{}", "[\"s\"]"] {
            assert!(!admits(odd, &sent("s"), true), "{odd}");
        }
    }
}
