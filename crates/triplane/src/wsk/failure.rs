//! What went wrong, for people and for scripts.

use std::process::ExitCode;

use http::StatusCode;
use serde_json::Value;

use crate::transport::TransportError;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// There is no answer; whether the platform did it is not known.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The platform said no.
    #[error("{}", refusal(.text, .transaction, *.status))]
    Refused { status: StatusCode, text: String, transaction: Option<String> },
    /// The platform's answer is none of OpenWhisk's.
    #[error("the platform answered {status} with what is no JSON: does an OpenWhisk API answer there?")]
    NotOpenWhisk { status: StatusCode },
    /// The activation failed; its record or result has been shown.
    #[error("the action failed")]
    Activation { status: StatusCode },
    /// The call was taken and goes on.
    #[error("it has not finished yet")]
    NotFinished,
    /// What should have been done, and why it was not.
    #[error("cannot {what}: {failure}")]
    Doing { what: String, failure: Box<Failure> },
    /// Something on this machine.
    #[error("{0:#}")]
    Local(#[from] anyhow::Error),
}

impl Failure {
    /// What a platform says by a status and a body without success.
    pub(crate) fn refused(status: StatusCode, body: &Value) -> Self {
        let text = match &body["error"] {
            Value::String(text) => text.clone(),
            Value::Null => status.canonical_reason().unwrap_or("refused without a reason").to_owned(),
            other => other.to_string(),
        };
        let transaction = match &body["code"] {
            Value::Null => None,
            Value::String(code) => Some(code.clone()),
            other => Some(other.to_string()),
        };
        Self::Refused { status, text, transaction }
    }

    /// The status that a platform answered, if that is what went wrong.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::Activation { status } | Self::NotOpenWhisk { status } => {
                Some(*status)
            }
            Self::Doing { failure, .. } => failure.status(),
            _ => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether all that there is to say was said.
    pub(crate) fn is_said(&self) -> bool {
        match self {
            Self::Activation { .. } | Self::NotFinished => true,
            Self::Doing { failure, .. } => failure.is_said(),
            _ => false,
        }
    }

    /// `wsk`'s codes (openwhisk-api.md 10.1): the status less 256, 202 for what goes on, 3 for the network, 2 for the line.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Transport(_) => 3,
            Self::NotFinished => 202,
            Self::Local(_) => 1,
            Self::Refused { status, .. } | Self::NotOpenWhisk { status } | Self::Activation { status } => {
                (status.as_u16() % 256).to_le_bytes()[0]
            }
            Self::Doing { failure, .. } => failure.code(),
        }
    }

    /// What to do about it, where that can be known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Doing { failure, .. } => failure.advice(),
            Self::Transport(TransportError::Tls { .. }) => {
                Some("write http:// before a host that speaks plain HTTP; -i accepts any certificate")
            }
            Self::Transport(TransportError::Connect { .. }) => {
                Some("is it running there? `triplane property get --apihost` shows the address")
            }
            Self::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
                Some("name your key with `triplane property set --auth KEY`, --auth or WHISK_AUTH")
            }
            Self::Refused { status: StatusCode::CONFLICT, text, .. } if text == "resource already exists" => {
                Some("`update` changes what exists")
            }
            Self::Refused { status: StatusCode::TOO_MANY_REQUESTS, .. } => Some("try again in a minute"),
            _ => None,
        }
    }
}

fn refusal(text: &str, transaction: &Option<String>, status: StatusCode) -> String {
    match transaction {
        Some(transaction) => format!("{text} (code {transaction})"),
        None => format!("{text} (status {})", status.as_u16()),
    }
}

/// Says what was tried when it fails.
pub(crate) trait While<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> While<T> for Result<T, Failure> {
    fn during(self, what: impl FnOnce() -> String) -> Self {
        self.map_err(|failure| Failure::Doing { what: what(), failure: Box::new(failure) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_wsk() {
        for (status, code) in [
            (400, 144),
            (401, 145),
            (403, 147),
            (404, 148),
            (405, 149),
            (409, 153),
            (413, 157),
            (429, 173),
            (500, 244),
            (502, 246),
            (503, 247),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Failure::refused(status, &Value::Null).code(), code, "{status}");
            assert_eq!(Failure::Activation { status }.code(), code, "{status}");
        }
        assert_eq!(Failure::NotFinished.code(), 202);
        assert_eq!(Failure::Usage(String::new()).code(), 2);
    }

    #[test]
    fn a_refusal_shows_what_was_tried_the_text_and_the_transaction() {
        let body = json!({"error": "resource already exists", "code": "abc"});
        let refused: Result<(), _> = Err(Failure::refused(StatusCode::CONFLICT, &body));
        let failure = refused.during(|| "create action 'hello'".to_owned()).unwrap_err();
        assert_eq!(failure.to_string(), "cannot create action 'hello': resource already exists (code abc)");
        assert_eq!(failure.code(), 153);
        assert_eq!(failure.advice(), Some("`update` changes what exists"));
    }

    #[test]
    fn a_refusal_without_a_text_shows_its_status() {
        let failure = Failure::refused(StatusCode::BAD_GATEWAY, &json!({}));
        assert_eq!(failure.to_string(), "Bad Gateway (status 502)");
    }
}
