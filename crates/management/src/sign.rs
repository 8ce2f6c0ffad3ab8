//! The key of a namespace's callbacks (`docs/async.md`): made of its credential, but of no use for calls.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use triplane_model::Credential;

/// What makes it a key of its own.
const PURPOSE: &[u8] = b"triplane callback v1";

/// A key that signs callbacks. Its `Debug` hides it.
#[derive(Clone)]
pub struct CallbackKey([u8; 32]);

/// The key of who has this credential.
pub(crate) fn callback_key(credential: &Credential) -> CallbackKey {
    CallbackKey(hmac_sha256(credential.key.as_bytes(), PURPOSE))
}

impl CallbackKey {
    /// The signature of a message, as the header `webhook-signature` has it.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(hmac_sha256(&self.0, message)))
    }

    /// As the libraries of Standard Webhooks take it: `whsec_` and base64.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key may be of any length, so that there is always a code.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standards_example() {
        // Standard Webhooks, specification, "Symmetric": the secret and the message of its example.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let code = hmac_sha256(&key, message);
        assert_eq!(STANDARD.encode(code), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_is_not_printed_and_changes_with_the_credential() {
        let key = |key: &str| callback_key(&Credential { uuid: "u".to_owned(), key: key.to_owned() });
        assert_ne!(key("a").shown(), key("b").shown());
        assert_eq!(format!("{:?}", key("a")), "***");
        assert!(key("a").shown().starts_with("whsec_"));
    }
}
