//! Parameters at rest: OpenWhisk's storage formats `aes-128` and `aes-256` (openwhisk-api.md 1.6).
//!
//! A locked value is the base64 of the length of the initialisation vector (4 bytes, big end first), the vector, and the
//! compact JSON of the value sealed with AES-GCM, its tag of 128 bits at the end. The vector has 12 bytes for `aes-128` and
//! 128 for `aes-256`; GHASH makes one block of the latter.

use std::fmt;

use aes_gcm::aead::consts::{U12, U128};
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::{Aes128, Aes256};
use aes_gcm::{AesGcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::parameters::{Parameter, Parameters};

type Gcm128 = AesGcm<Aes128, U12>;
type Gcm256 = AesGcm<Aes256, U128>;

/// The first byte of a sealed payload: no JSON begins so.
const SEALED: u8 = 1;

/// How a value is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-GCM with a key of 16 bytes.
    Aes128,
    /// AES-GCM with a key of 32 bytes.
    Aes256,
}

impl Cipher {
    /// What `encryption` of a locked parameter says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes-128",
            Self::Aes256 => "aes-256",
        }
    }

    /// The cipher with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Aes128, Self::Aes256].into_iter().find(|cipher| cipher.name() == name)
    }

    fn vector_bytes(self) -> usize {
        match self {
            Self::Aes128 => 12,
            Self::Aes256 => 128,
        }
    }
}

/// The keys of a platform, and with which of them values are locked from now on. Its `Debug` hides them.
#[derive(Clone, Default)]
pub struct ParameterKeys {
    current: Option<Cipher>,
    aes128: Option<Box<Gcm128>>,
    aes256: Option<Box<Gcm256>>,
}

/// A key that cannot be used: the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It is no base64 of as many bytes as its cipher needs.
    #[error("the key of {0} is not the base64 of {1} bytes")]
    Unfit(&'static str, usize),
    /// Values are to be locked with a cipher that has no key.
    #[error("values are to be locked with {0}, which has no key")]
    Missing(&'static str),
}

/// A locked value that does not open: its cipher has no key here, or it was locked with another key, or is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is encrypted and cannot be opened")]
pub struct Unopenable(pub String);

impl ParameterKeys {
    /// Keys in base64, as they are configured.
    ///
    /// # Errors
    /// A key has the wrong length, or the current cipher has none.
    pub fn new(current: Option<Cipher>, aes128: Option<&str>, aes256: Option<&str>) -> Result<Self, BadKey> {
        let key = |text: Option<&str>, cipher: Cipher, bytes: usize| {
            let decoded = text.map(|text| STANDARD.decode(text.trim()).ok().filter(|key| key.len() == bytes));
            decoded.map(|key| key.ok_or(BadKey::Unfit(cipher.name(), bytes))).transpose()
        };
        let aes128 = key(aes128, Cipher::Aes128, 16)?;
        let aes256 = key(aes256, Cipher::Aes256, 32)?;
        let keys = Self {
            current,
            aes128: aes128.and_then(|key| Gcm128::new_from_slice(&key).ok()).map(Box::new),
            aes256: aes256.and_then(|key| Gcm256::new_from_slice(&key).ok()).map(Box::new),
        };
        match current {
            Some(Cipher::Aes128) if keys.aes128.is_none() => Err(BadKey::Missing("aes-128")),
            Some(Cipher::Aes256) if keys.aes256.is_none() => Err(BadKey::Missing("aes-256")),
            _ => Ok(keys),
        }
    }

    /// Locks what is not locked yet, if values are to be locked. `random` fills a buffer with bytes that nobody can guess.
    #[must_use]
    pub fn lock(&self, parameters: Parameters, mut random: impl FnMut(&mut [u8])) -> Parameters {
        let Some(cipher) = self.current else { return parameters };
        parameters.map(|parameter| match parameter.encryption {
            Some(_) => parameter,
            None => {
                let sealed = self.seal_with(cipher, compact(&parameter.value).as_bytes(), &mut random);
                let value = serde_json::value::to_raw_value(&STANDARD.encode(sealed));
                match value {
                    Ok(value) => Parameter { value, encryption: Some(cipher.name().to_owned()), ..parameter },
                    Err(_) => parameter,
                }
            }
        })
    }

    /// Opens what is locked.
    ///
    /// # Errors
    /// A value does not open.
    pub fn unlock(&self, parameters: &Parameters) -> Result<Parameters, Unopenable> {
        let opened = parameters.iter().map(|parameter| match &parameter.encryption {
            None => Ok(parameter.clone()),
            Some(name) => {
                let opened = Cipher::named(name).and_then(|cipher| self.open(cipher, &parameter.value));
                let value = opened.ok_or_else(|| Unopenable(parameter.key.clone()))?;
                Ok(Parameter { value, encryption: None, ..parameter.clone() })
            }
        });
        opened.collect()
    }

    /// Seals the merged parameters of a call that is to be stored, if values are to be locked: they have opened ones in them.
    #[must_use]
    pub fn seal(&self, payload: &[u8], mut random: impl FnMut(&mut [u8])) -> Option<Vec<u8>> {
        let cipher = self.current?;
        let sealed = self.seal_with(cipher, payload, &mut random);
        let kind = if cipher == Cipher::Aes128 { 0 } else { 1 };
        Some([&[SEALED, kind], sealed.as_slice()].concat())
    }

    /// Opens what [`Self::seal`] made; nothing for a payload that is not sealed.
    ///
    /// # Errors
    /// It does not open.
    pub fn unseal(&self, payload: &[u8]) -> Result<Option<Vec<u8>>, Unopenable> {
        let refused = || Unopenable("payload".to_owned());
        match payload {
            [SEALED, kind, sealed @ ..] => {
                let cipher = if *kind == 0 { Cipher::Aes128 } else { Cipher::Aes256 };
                self.open_with(cipher, sealed).map(Some).ok_or_else(refused)
            }
            _ => Ok(None),
        }
    }

    fn seal_with(&self, cipher: Cipher, text: &[u8], random: &mut impl FnMut(&mut [u8])) -> Vec<u8> {
        let mut vector = vec![0; cipher.vector_bytes()];
        random(&mut vector);
        let sealed = match cipher {
            Cipher::Aes128 => self.aes128.as_deref().and_then(|key| seal(key, &vector, text)),
            Cipher::Aes256 => self.aes256.as_deref().and_then(|key| seal(key, &vector, text)),
        };
        let length = u32::try_from(vector.len()).unwrap_or(0).to_be_bytes();
        // `new` has seen to it that the current cipher has a key, and only texts of 64 GiB cannot be sealed.
        [length.as_slice(), &vector, &sealed.unwrap_or_default()].concat()
    }

    fn open(&self, cipher: Cipher, value: &RawValue) -> Option<Box<RawValue>> {
        let text: String = serde_json::from_str(value.get()).ok()?;
        let plain = self.open_with(cipher, &STANDARD.decode(text).ok()?)?;
        RawValue::from_string(String::from_utf8(plain).ok()?).ok()
    }

    fn open_with(&self, cipher: Cipher, sealed: &[u8]) -> Option<Vec<u8>> {
        let (length, rest) = sealed.split_first_chunk::<4>()?;
        let expected = cipher.vector_bytes();
        if usize::try_from(u32::from_be_bytes(*length)) != Ok(expected) {
            return None;
        }
        let (vector, text) = rest.split_at_checked(expected)?;
        match cipher {
            Cipher::Aes128 => self.aes128.as_ref()?.decrypt(&Nonce::try_from(vector).ok()?, text).ok(),
            Cipher::Aes256 => self.aes256.as_ref()?.decrypt(&Nonce::try_from(vector).ok()?, text).ok(),
        }
    }
}

impl fmt::Debug for ParameterKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ParameterKeys({})", self.current.map_or("off", Cipher::name))
    }
}

fn seal<A: Aead>(key: &A, vector: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    key.encrypt(&aes_gcm::aead::Nonce::<A>::try_from(vector).ok()?, text).ok()
}

/// JSON without the spaces between its parts.
fn compact(value: &RawValue) -> String {
    let (mut out, mut in_text, mut is_escaped) = (String::with_capacity(value.get().len()), false, false);
    for character in value.get().chars() {
        if in_text || !character.is_ascii_whitespace() {
            out.push(character);
        }
        match (character, in_text, is_escaped) {
            ('"', _, false) => in_text = !in_text,
            ('\\', true, false) => {
                is_escaped = true;
                continue;
            }
            _ => {}
        }
        is_escaped = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_128: &str = "AAECAwQFBgcICQoLDA0ODw==";
    const KEY_256: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn keys(current: Option<Cipher>) -> ParameterKeys {
        ParameterKeys::new(current, Some(KEY_128), Some(KEY_256)).unwrap()
    }

    fn parameters(json: &str) -> Parameters {
        serde_json::from_str(json).unwrap()
    }

    /// Counts instead of drawing, so that a test knows what comes out.
    fn counting() -> impl FnMut(&mut [u8]) {
        |buffer| buffer.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number)
    }

    fn locked(cipher: Cipher, json: &str) -> serde_json::Value {
        let locked = keys(Some(cipher)).lock(parameters(json), counting());
        serde_json::to_value(locked).unwrap()
    }

    #[test]
    fn a_locked_value_has_openwhisks_form() {
        for (cipher, vector_bytes) in [(Cipher::Aes128, 12), (Cipher::Aes256, 128)] {
            let locked = locked(cipher, r#"[{"key":"a","value":"secret","init":true}]"#);
            assert_eq!((&locked[0]["encryption"], &locked[0]["init"]), (&cipher.name().into(), &true.into()));
            let bytes = STANDARD.decode(locked[0]["value"].as_str().unwrap()).unwrap();
            assert_eq!(bytes[..4], [0, 0, 0, vector_bytes]);
            let tag_bytes = 16;
            assert_eq!(bytes.len(), 4 + usize::from(vector_bytes) + "\"secret\"".len() + tag_bytes);
        }
    }

    /// Made with Python's `cryptography`, which is OpenSSL: the vectors are the bytes from 0 on.
    #[test]
    fn other_implementations_make_and_open_the_same() {
        for (cipher, expected) in [
            (Cipher::Aes128, include_str!("encryption_aes128.txt")),
            (Cipher::Aes256, include_str!("encryption_aes256.txt")),
        ] {
            let locked = locked(cipher, r#"[{"key":"a","value":{ "b": [1, "c d"] }}]"#);
            assert_eq!(locked[0]["value"], expected.trim(), "{cipher:?}");
        }
    }

    #[test]
    fn what_is_locked_opens_whatever_is_current_and_what_is_locked_already_stays() {
        let plain = r#"[{"key":"a","value":{"b":[1,"c d","\""]}},{"key":"c","value":null}]"#;
        for cipher in [Cipher::Aes128, Cipher::Aes256] {
            let locked = keys(Some(cipher)).lock(parameters(plain), counting());
            let again = keys(Some(Cipher::Aes128)).lock(locked.clone(), counting());
            assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&locked).unwrap());
            let opened = keys(None).unlock(&locked).unwrap();
            assert_eq!(serde_json::to_string(&opened).unwrap(), plain);
        }
    }

    #[test]
    fn what_was_locked_with_another_key_or_is_damaged_does_not_open() {
        let locked = keys(Some(Cipher::Aes128)).lock(parameters(r#"[{"key":"a","value":1}]"#), counting());
        let other = ParameterKeys::new(None, Some("/////////////////////w=="), None).unwrap();
        assert_eq!(other.unlock(&locked).unwrap_err(), Unopenable("a".into()));
        assert!(ParameterKeys::default().unlock(&locked).is_err());
        for json in [
            r#"[{"key":"a","value":1,"encryption":"aes-128"}]"#,
            r#"[{"key":"a","value":"AAAA","encryption":"aes-128"}]"#,
            r#"[{"key":"a","value":"AAAA","encryption":"rot13"}]"#,
        ] {
            assert!(keys(None).unlock(&parameters(json)).is_err(), "{json}");
        }
    }

    #[test]
    fn without_a_current_cipher_nothing_is_locked() {
        let plain = r#"[{"key":"a","value":1}]"#;
        let kept = keys(None).lock(parameters(plain), counting());
        assert_eq!(serde_json::to_string(&kept).unwrap(), plain);
        assert_eq!(keys(None).seal(b"{}", counting()), None);
    }

    #[test]
    fn a_sealed_payload_opens_and_a_plain_one_is_none() {
        for cipher in [Cipher::Aes128, Cipher::Aes256] {
            let sealed = keys(Some(cipher)).seal(br#"{"a":1}"#, counting()).unwrap();
            assert!(!sealed.windows(3).any(|part| part == b"\"a\""));
            assert_eq!(keys(None).unseal(&sealed).unwrap().unwrap(), br#"{"a":1}"#);
            assert!(ParameterKeys::default().unseal(&sealed).is_err());
        }
        assert_eq!(keys(None).unseal(br#"{"a":1}"#), Ok(None));
    }

    #[test]
    fn keys_of_the_wrong_length_and_ciphers_without_a_key_are_refused() {
        let refused = |current, aes128, aes256| ParameterKeys::new(current, aes128, aes256).unwrap_err();
        assert_eq!(refused(None, Some(KEY_256), None), BadKey::Unfit("aes-128", 16));
        assert_eq!(refused(None, None, Some("!")), BadKey::Unfit("aes-256", 32));
        assert_eq!(refused(Some(Cipher::Aes256), Some(KEY_128), None), BadKey::Missing("aes-256"));
        assert!(!format!("{:?}", keys(Some(Cipher::Aes128))).contains("AAEC"));
    }
}
