//! Laying a call's payload over an action's parameters, without looking inside any value.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::error::ApiError;
use crate::parameters::{Parameters, parameters_not_allowed};

/// An action's parameters, made ready for merging: the same for every call.
#[derive(Clone, Debug)]
pub struct Merge {
    /// `"key":value` of each parameter that goes into the call.
    defaults: Vec<Vec<u8>>,
    /// What the action says about a key.
    keys: HashMap<String, Key>,
    /// The object of all defaults: what a call without payload gets.
    without_payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Key {
    default: Option<usize>,
    is_final: bool,
}

/// What a call's parameters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The defaults, as [`Merge::without_payload`] has them.
    Defaults,
    /// The payload as it is.
    Payload,
    /// This object.
    Both(Vec<u8>),
}

impl Merge {
    /// Prepares an action's parameters; those for `/init` do not reach the call. A call may not name a parameter for
    /// which `is_final` holds.
    pub fn new(parameters: &Parameters, is_final: impl Fn(&str) -> bool) -> Self {
        let mut merge = Self { defaults: Vec::new(), keys: HashMap::new(), without_payload: Vec::new() };
        for parameter in parameters.iter() {
            let mut key = Key { default: None, is_final: is_final(&parameter.key) };
            if !parameter.init {
                key.default = Some(merge.defaults.len());
                let mut text = serde_json::to_vec(&parameter.key).unwrap_or_default();
                text.push(b':');
                text.extend_from_slice(parameter.value.get().as_bytes());
                merge.defaults.push(text);
            }
            if key.is_final || key.default.is_some() {
                merge.keys.insert(parameter.key.clone(), key);
            }
        }
        merge.without_payload = object(merge.defaults.iter().map(Vec::as_slice));
        merge
    }

    /// What a call without payload gets: a JSON object.
    #[must_use]
    pub fn without_payload(&self) -> &[u8] {
        &self.without_payload
    }

    /// Merges a payload, which is a JSON object or nothing; its keys win. Checks its syntax on the way.
    ///
    /// # Errors
    /// 400 when the payload is not a JSON object, or names a final parameter or one for which `is_reserved` holds.
    pub fn apply(&self, payload: &[u8], is_reserved: impl Fn(&str) -> bool) -> Result<Merged, ApiError> {
        if payload.iter().all(u8::is_ascii_whitespace) {
            return Ok(Merged::Defaults);
        }
        let payload = std::str::from_utf8(payload).map_err(ApiError::malformed_content)?;
        let overridden = vec![false; self.defaults.len()];
        let mut seen = Seen { merge: self, is_reserved, overridden, names_final: false };
        let mut input = serde_json::Deserializer::from_str(payload);
        input.deserialize_map(&mut seen).and_then(|()| input.end()).map_err(ApiError::malformed_content)?;
        if seen.names_final {
            return Err(parameters_not_allowed());
        }
        if self.defaults.is_empty() {
            return Ok(Merged::Payload);
        }
        let kept = self.defaults.iter().zip(&seen.overridden).filter(|(_, overridden)| !**overridden);
        let inner = Some(inner_of_object(payload.as_bytes())).filter(|inner| !inner.is_empty());
        Ok(Merged::Both(object(kept.map(|(text, _)| text.as_slice()).chain(inner))))
    }
}

/// Members, joined to an object.
fn object<'a>(members: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut object = vec![b'{'];
    for member in members {
        if object.len() > 1 {
            object.push(b',');
        }
        object.extend_from_slice(member);
    }
    object.push(b'}');
    object
}

/// What is between the braces of a JSON object that was checked before.
fn inner_of_object(object: &[u8]) -> &[u8] {
    match object.trim_ascii() {
        [b'{', inner @ .., b'}'] => inner.trim_ascii(),
        _ => b"",
    }
}

/// Walks over the keys of a payload; allocates nothing for a key without escapes.
struct Seen<'a, R> {
    merge: &'a Merge,
    is_reserved: R,
    overridden: Vec<bool>,
    names_final: bool,
}

impl<R: Fn(&str) -> bool> Seen<'_, R> {
    fn key(&mut self, name: &str) {
        self.names_final |= (self.is_reserved)(name);
        let Some(key) = self.merge.keys.get(name) else { return };
        self.names_final |= key.is_final;
        if let Some(overridden) = key.default.and_then(|place| self.overridden.get_mut(place)) {
            *overridden = true;
        }
    }
}

impl<'de, R: Fn(&str) -> bool> Visitor<'de> for &mut Seen<'_, R> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while map.next_key_seed(OneKey(self))?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct OneKey<'a, 'b, R>(&'a mut Seen<'b, R>);

impl<'de, R: Fn(&str) -> bool> DeserializeSeed<'de> for OneKey<'_, '_, R> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_str(self)
    }
}

impl<R: Fn(&str) -> bool> Visitor<'_> for OneKey<'_, '_, R> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        self.0.key(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(defaults: &str) -> Merge {
        Merge::new(&serde_json::from_str(defaults).unwrap(), |key| key == "fixed")
    }

    fn apply(merge: &Merge, payload: &[u8]) -> Result<Merged, ApiError> {
        merge.apply(payload, |key| key == "reserved")
    }

    #[test]
    fn without_defaults_the_payload_stays_as_it_is() {
        let none = merge("[]");
        assert_eq!(apply(&none, br#" {"a": 1.50} "#), Ok(Merged::Payload));
        assert_eq!(apply(&none, b" "), Ok(Merged::Defaults));
        assert_eq!(none.without_payload(), b"{}");
    }

    #[test]
    fn an_overridden_default_is_left_out_also_when_its_key_is_escaped() {
        let two = merge(r#"[{"key":"a","value":1},{"key":"b","value":[2]}]"#);
        let expected = br#"{"b":[2],"\u0061":7}"#.to_vec();
        assert_eq!(apply(&two, br#"{"\u0061":7}"#), Ok(Merged::Both(expected)));
        assert_eq!(apply(&two, b"{}"), Ok(Merged::Both(br#"{"a":1,"b":[2]}"#.to_vec())));
    }

    #[test]
    fn final_parameters_cannot_be_named_not_even_those_for_init() {
        for init in ["true", "false"] {
            let fixed = merge(&format!(r#"[{{"key":"fixed","value":1,"init":{init}}}]"#));
            assert_eq!(apply(&fixed, br#"{"fixed":2}"#), Err(parameters_not_allowed()));
            assert_eq!(apply(&fixed, br#"{"reserved":2}"#), Err(parameters_not_allowed()));
            assert!(apply(&fixed, br#"{"other":2}"#).is_ok());
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        assert_eq!(apply(&merge("[]"), b"{\"a\":\"\xff\"}").unwrap_err().status, 400);
    }

    #[test]
    fn many_keys_over_many_defaults_are_not_compared_pair_by_pair() {
        let list: Vec<_> = (0..20_000).map(|key| format!(r#"{{"key":"k{key}","value":0}}"#)).collect();
        let members: Vec<_> = (0..20_000).map(|key| format!(r#""k{key}":1"#)).collect();
        let payload = format!("{{{}}}", members.join(","));
        let merged = apply(&merge(&format!("[{}]", list.join(","))), payload.as_bytes());
        assert_eq!(merged, Ok(Merged::Both(payload.into_bytes())));
    }
}
