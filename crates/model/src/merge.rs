//! Laying a call's payload over an action's parameters, without looking inside any value.

use std::borrow::Cow;
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

/// A member that a call gets beside its payload: it wins over the defaults, and the payload wins over it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The key, unescaped.
    pub key: Cow<'a, str>,
    /// JSON.
    pub value: Cow<'a, str>,
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
                merge.defaults.push(text(&parameter.key, parameter.value.get()));
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
        if is_blank(payload) {
            return Ok(Merged::Defaults);
        }
        let mut seen = Seen::new(self, is_reserved);
        let inner = seen.walk(payload)?;
        match self.defaults.is_empty() {
            true => Ok(Merged::Payload),
            false => Ok(Merged::Both(object(seen.kept_defaults().chain(inner)))),
        }
    }

    /// Merges a payload as [`Merge::apply`] does, with members between it and the defaults. Of these no two have the
    /// same key; whether a call may name their keys is for the caller to ask: [`Merge::is_final`].
    ///
    /// # Errors
    /// As [`Merge::apply`].
    pub fn apply_over(
        &self,
        members: &[Member<'_>],
        payload: &[u8],
        is_reserved: impl Fn(&str) -> bool,
    ) -> Result<Vec<u8>, ApiError> {
        let mut seen = Seen::new(self, is_reserved);
        seen.enter(members);
        let inner = if is_blank(payload) { None } else { seen.walk(payload)? };
        let kept = members.iter().zip(&seen.overridden_members).filter(|(_, overridden)| !**overridden);
        let texts: Vec<Vec<u8>> = kept.map(|(member, _)| text(&member.key, &member.value)).collect();
        Ok(object(seen.kept_defaults().chain(texts.iter().map(Vec::as_slice)).chain(inner)))
    }

    /// Whether a call may not name the parameter.
    #[must_use]
    pub fn is_final(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|key| key.is_final)
    }
}

fn is_blank(payload: &[u8]) -> bool {
    payload.iter().all(u8::is_ascii_whitespace)
}

/// `"key":value`
fn text(key: &str, value: &str) -> Vec<u8> {
    let mut text = serde_json::to_vec(key).unwrap_or_default();
    text.push(b':');
    text.extend_from_slice(value.as_bytes());
    text
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
    /// The places of members by their keys.
    members: HashMap<&'a str, usize>,
    overridden: Vec<bool>,
    overridden_members: Vec<bool>,
    names_final: bool,
}

impl<'a, R: Fn(&str) -> bool> Seen<'a, R> {
    fn new(merge: &'a Merge, is_reserved: R) -> Self {
        Self {
            merge,
            is_reserved,
            members: HashMap::new(),
            overridden: vec![false; merge.defaults.len()],
            overridden_members: Vec::new(),
            names_final: false,
        }
    }

    /// Lays members over the defaults.
    fn enter(&mut self, members: &'a [Member<'_>]) {
        self.overridden_members = vec![false; members.len()];
        for (place, member) in members.iter().enumerate() {
            self.override_default(self.merge.keys.get(&*member.key));
            self.members.insert(&member.key, place);
        }
    }

    /// Checks a payload, notes what it overrides, and answers what is between its braces.
    fn walk<'p>(&mut self, payload: &'p [u8]) -> Result<Option<&'p [u8]>, ApiError> {
        let payload = std::str::from_utf8(payload).map_err(ApiError::malformed_content)?;
        let mut input = serde_json::Deserializer::from_str(payload);
        let walked = input.deserialize_map(&mut *self);
        walked.and_then(|()| input.end()).map_err(ApiError::malformed_content)?;
        match self.names_final {
            true => Err(parameters_not_allowed()),
            false => Ok(Some(inner_of_object(payload.as_bytes())).filter(|inner| !inner.is_empty())),
        }
    }

    fn kept_defaults(&self) -> impl Iterator<Item = &'a [u8]> {
        let kept = self.merge.defaults.iter().zip(&self.overridden).filter(|(_, overridden)| !**overridden);
        kept.map(|(text, _)| text.as_slice())
    }

    fn key(&mut self, name: &str) {
        let known = self.merge.keys.get(name);
        self.names_final |= (self.is_reserved)(name) || known.is_some_and(|key| key.is_final);
        self.override_default(known);
        if let Some(&place) = self.members.get(name) {
            self.overridden_members[place] = true;
        }
    }

    fn override_default(&mut self, key: Option<&Key>) {
        let default = key.and_then(|key| key.default);
        if let Some(overridden) = default.and_then(|place| self.overridden.get_mut(place)) {
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
    fn members_win_over_the_defaults_and_the_payload_over_the_members() {
        let three = merge(r#"[{"key":"a","value":1},{"key":"b","value":2},{"key":"c","value":3}]"#);
        let member = |key: &'static str, value: &'static str| Member { key: key.into(), value: value.into() };
        let members = [member("b", "20"), member("c", "30"), member("d \"", "40")];
        let over = |payload: &str| {
            let merged = three.apply_over(&members, payload.as_bytes(), |_| false);
            String::from_utf8(merged.unwrap()).unwrap()
        };
        assert_eq!(over(""), r#"{"a":1,"b":20,"c":30,"d \"":40}"#);
        assert_eq!(over(r#"{"c":300}"#), r#"{"a":1,"b":20,"d \"":40,"c":300}"#);
        assert_eq!(
            over(r#" {"a":100,"d \"":400,"e":500} "#),
            r#"{"b":20,"c":30,"a":100,"d \"":400,"e":500}"#
        );
    }

    #[test]
    fn a_payload_under_members_is_checked_like_any_other() {
        let fixed = merge(r#"[{"key":"fixed","value":1}]"#);
        let over = |payload: &str| fixed.apply_over(&[], payload.as_bytes(), |key| key == "reserved");
        assert_eq!(over(r#"{"fixed":2}"#), Err(parameters_not_allowed()));
        assert_eq!(over(r#"{"reserved":2}"#), Err(parameters_not_allowed()));
        assert_eq!(over("[1]").unwrap_err().status, 400);
        assert!(fixed.is_final("fixed") && !fixed.is_final("other"));
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
