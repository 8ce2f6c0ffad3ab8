//! Parameters and annotations: arrays of keys and values (openwhisk-api.md 1.6), and how they are merged.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::merge::{Merge, Merged};

/// One parameter or annotation. Values stay text: the data path never builds a tree of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// The name.
    pub key: String,
    /// Any JSON value, as it was written.
    pub value: Box<RawValue>,
    /// Whether it goes to the environment at `/init` instead of into the call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// The cipher that the value is locked with; see [`crate::encryption`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

/// An ordered set of parameters; of equal keys the last one wins.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    /// The parameters in the order in which they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|parameter| parameter.key == key).map(|parameter| &*parameter.value)
    }

    /// Sets a key, in place when it exists.
    pub fn set(&mut self, key: &str, value: Box<RawValue>) {
        self.put(Parameter { key: key.to_owned(), value, init: false, encryption: None });
    }

    /// Sets a key to a string.
    pub fn set_text(&mut self, key: &str, text: &str) {
        if let Ok(value) = serde_json::value::to_raw_value(text) {
            self.set(key, value);
        }
    }

    /// Sets a key to a boolean.
    pub fn set_bool(&mut self, key: &str, value: bool) {
        if let Ok(value) = serde_json::value::to_raw_value(&value) {
            self.set(key, value);
        }
    }

    /// Makes another parameter of each, with the same key.
    #[must_use]
    pub(crate) fn map(self, change: impl FnMut(Parameter) -> Parameter) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|parameter| parameter.key != key);
    }

    /// Removes many keys.
    pub fn remove_all(&mut self, keys: &[String]) {
        let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
        self.0.retain(|parameter| !keys.contains(parameter.key.as_str()));
    }

    /// Those whose keys start with a text.
    #[must_use]
    pub fn starting_with(&self, prefix: &str) -> Self {
        Self(self.0.iter().filter(|parameter| parameter.key.starts_with(prefix)).cloned().collect())
    }

    /// The same, of which none goes into a call.
    #[must_use]
    pub fn withheld(&self) -> Self {
        Self(self.0.iter().map(|parameter| Parameter { init: true, ..parameter.clone() }).collect())
    }

    /// The same, of which all go into a call: there is no `/init` that some could wait for.
    #[must_use]
    pub fn as_arguments(&self) -> Self {
        Self(self.0.iter().map(|parameter| Parameter { init: false, ..parameter.clone() }).collect())
    }

    /// Lays `over` over these: its keys win.
    pub fn merge(&mut self, over: &Self) {
        // By an index: 1 MB of short keys over 1 MB of short keys must not cost a quadratic search.
        let mut places: HashMap<String, usize> =
            self.0.iter().enumerate().map(|(place, known)| (known.key.clone(), place)).collect();
        for parameter in &over.0 {
            match places.get(&parameter.key) {
                Some(&place) => self.0[place] = parameter.clone(),
                None => {
                    places.insert(parameter.key.clone(), self.0.len());
                    self.0.push(parameter.clone());
                }
            }
        }
    }

    /// Whether the value of `key` counts as true (openwhisk-api.md 2.2); absent counts as `absent`.
    #[must_use]
    pub fn is_truthy(&self, key: &str, absent: bool) -> bool {
        self.get(key).map_or(absent, |value| truthy(value.get()))
    }

    /// The size that the limit of 1 MB is held against: the bytes of the JSON.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.iter().map(|parameter| (parameter.key.len() + parameter.value.get().len()) as u64).sum()
    }

    fn put(&mut self, parameter: Parameter) {
        match self.0.iter_mut().find(|known| known.key == parameter.key) {
            Some(known) => *known = parameter,
            None => self.0.push(parameter),
        }
    }
}

/// Parameters whose keys differ.
impl FromIterator<Parameter> for Parameters {
    fn from_iter<I: IntoIterator<Item = Parameter>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let entries = Vec::<Parameter>::deserialize(input)
            .map_err(|_| serde::de::Error::custom("parameters malformed!"))?;
        // Two maps' worth of keys: a list of 1 MB of one-letter keys must not cost a quadratic search.
        let mut last = BTreeMap::new();
        for (position, entry) in entries.iter().enumerate() {
            last.insert(entry.key.clone(), position);
        }
        let keep = entries
            .into_iter()
            .enumerate()
            .filter(|(position, entry)| last.get(&entry.key) == Some(position))
            .map(|(_, entry)| entry)
            .collect();
        Ok(Self(keep))
    }
}

/// Lays a call's payload over an action's parameters, without looking inside any value; see [`Merge`], which a caller
/// with many calls of one action keeps.
///
/// `defaults` are the action's parameters; `payload` is the body of the call, a JSON object or nothing. The answer is a
/// JSON object.
///
/// # Errors
/// 400 when the payload is not a JSON object, or names a parameter for which `is_final` holds.
pub fn merge_payload(
    defaults: &Parameters,
    payload: &[u8],
    is_final: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, ApiError> {
    let merge = Merge::new(defaults, &is_final);
    Ok(match merge.apply(payload, is_final)? {
        Merged::Defaults => merge.without_payload().to_vec(),
        Merged::Payload => payload.to_vec(),
        Merged::Both(object) => object,
    })
}

/// 400: a call that overrides a `final` or reserved parameter.
#[must_use]
pub fn parameters_not_allowed() -> ApiError {
    ApiError::new(400, "Request defines parameters that are not allowed (e.g., reserved properties).")
}

/// Booleans are themselves, numbers true unless 0, strings true unless empty, null false, all else true.
fn truthy(json: &str) -> bool {
    match json {
        "true" => true,
        "false" | "null" | "\"\"" => false,
        _ => json.parse::<f64>() != Ok(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(json: &str) -> Parameters {
        serde_json::from_str(json).unwrap()
    }

    fn merged(defaults: &str, payload: &str) -> String {
        let merged = merge_payload(&parameters(defaults), payload.as_bytes(), |_| false).unwrap();
        String::from_utf8(merged).unwrap()
    }

    #[test]
    fn of_equal_keys_the_last_one_wins() {
        let read = parameters(r#"[{"key":"a","value":1},{"key":"b","value":2},{"key":"a","value":3}]"#);
        assert_eq!(read.get("a").unwrap().get(), "3");
        assert_eq!(read.iter().count(), 2);
    }

    #[test]
    fn a_parameter_without_a_value_is_malformed() {
        let refused = serde_json::from_str::<Parameters>(r#"[{"key":"a"}]"#).unwrap_err();
        assert!(refused.to_string().starts_with("parameters malformed!"), "{refused}");
    }

    #[test]
    fn the_payload_wins_over_the_defaults_and_keeps_its_text() {
        assert_eq!(
            merged(r#"[{"key":"a","value":1},{"key":"b","value":2}]"#, r#" {"a": 1.50 } "#),
            r#"{"b":2,"a": 1.50}"#
        );
        assert_eq!(merged(r#"[{"key":"a","value":1}]"#, ""), r#"{"a":1}"#);
        assert_eq!(merged("[]", "{}"), "{}");
    }

    #[test]
    fn as_arguments_those_for_init_reach_the_call_too() {
        let parameters: Parameters =
            serde_json::from_str(r#"[{"key":"a","value":1,"init":true},{"key":"b","value":2}]"#).unwrap();
        assert!(parameters.as_arguments().iter().all(|parameter| !parameter.init));
        assert_eq!(parameters.as_arguments().get("a").unwrap().get(), "1");
    }

    #[test]
    fn parameters_for_init_do_not_reach_the_call() {
        assert_eq!(merged(r#"[{"key":"a","value":1,"init":true}]"#, r#"{"b":2}"#), r#"{"b":2}"#);
    }

    #[test]
    fn a_payload_that_is_not_an_object_is_refused() {
        for payload in ["[1]", "1", "\"a\"", "{", "{} x", r#"{"a":}"#] {
            let refused = merge_payload(&Parameters::default(), payload.as_bytes(), |_| false).unwrap_err();
            assert_eq!(refused.status, 400, "{payload}");
        }
    }

    #[test]
    fn a_payload_that_names_a_final_parameter_is_refused() {
        let refused = merge_payload(&Parameters::default(), br#"{"a":1}"#, |key| key == "a").unwrap_err();
        assert_eq!(refused, parameters_not_allowed());
    }

    #[test]
    fn truth_follows_openwhisk() {
        for json in ["true", "1", "\"x\"", "{}", "[]", "-0.5"] {
            assert!(truthy(json), "{json}");
        }
        for json in ["false", "0", "0.0", "\"\"", "null"] {
            assert!(!truthy(json), "{json}");
        }
    }
}
