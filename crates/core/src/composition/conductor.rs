//! What conductors say: a JSON object with `action`, `params` and `state`.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use triplane_model::{EntityName, FullName};

/// The most segments of a name: namespace, package, action.
const SEGMENTS_MAX: usize = 3;

/// What a conductor wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is next.
    pub then: Then,
    /// What the next action gets, or the composition answers: an object.
    pub params: Option<String>,
    /// What is laid over the parameters of its next run: an object.
    pub state: Option<String>,
}

/// What a conductor wants to be next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The composition is over.
    End,
    /// An action is to be run.
    Run(FullName),
    /// An action is to be run whose name is none; this JSON.
    Invalid(String),
}

impl Instruction {
    /// Reads the result of a conductor's run; names without a namespace are of the caller's.
    #[must_use]
    pub fn read(result: &str, caller: &EntityName) -> Self {
        let mut instruction = Self { then: Then::End, params: None, state: None };
        for (key, value) in &members(result).0 {
            match key.as_str() {
                "action" => {
                    let name = resolve(value, caller);
                    instruction.then = name.map_or_else(|| Then::Invalid(value.get().to_owned()), Then::Run);
                }
                "params" => instruction.params = Some(boxed("value", value.get())),
                "state" => instruction.state = Some(boxed("state", value.get())),
                _ => {}
            }
        }
        instruction
    }
}

/// A value as an object: itself if it is one, else under a key.
#[must_use]
pub fn boxed(key: &str, json: &str) -> String {
    match json.trim_ascii_start().starts_with('{') {
        true => json.to_owned(),
        false => format!("{{\"{key}\":{json}}}"),
    }
}

/// Lays the members of an object over those of another.
#[must_use]
pub fn overlay(base: &str, over: &str) -> String {
    let (base, over) = (members(base), members(over));
    let keys: HashSet<&str> = over.0.iter().map(|(key, _)| key.as_str()).collect();
    let kept = base.0.iter().filter(|(key, _)| !keys.contains(key.as_str()));
    let mut object = String::from("{");
    for (key, value) in kept.chain(&over.0) {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&quoted(key));
        object.push(':');
        object.push_str(value.get());
    }
    object.push('}');
    object
}

/// `{"error": text}`.
#[must_use]
pub fn error_object(text: &str) -> String {
    format!("{{\"error\":{}}}", quoted(text))
}

/// A name as conductors write it: of one to three segments. With a slash before it, or with three segments, the first is the namespace.
fn resolve(json: &RawValue, caller: &EntityName) -> Option<FullName> {
    let text: String = serde_json::from_str(json.get()).ok()?;
    let segments: Vec<&str> = text.trim().split('/').filter(|segment| !segment.is_empty()).collect();
    let has_slash = text.starts_with('/');
    if segments.is_empty() || segments.len() > SEGMENTS_MAX || (has_slash && segments.len() == 1) {
        return None;
    }
    let (namespace, rest) = match has_slash || segments.len() == SEGMENTS_MAX {
        true => (segments[0], &segments[1..]),
        false => ("_", &segments[..]),
    };
    let namespace = match namespace {
        "_" => caller.clone(),
        other => EntityName::namespace(other).ok()?,
    };
    let (name, package) = rest.split_last()?;
    let package = package.first().map(|package| EntityName::entity(package)).transpose().ok()?;
    Some(FullName { namespace, package, name: EntityName::entity(name).ok()? })
}

fn quoted(text: &str) -> String {
    // A text can always be printed.
    serde_json::to_string(text).unwrap_or_default()
}

/// The members of an object in their order; of equal keys the last counts, as everywhere.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// None of what is no object.
fn members(json: &str) -> Members<'_> {
    match json.trim_ascii_start().starts_with('{') {
        true => serde_json::from_str(json).unwrap_or(Members(Vec::new())),
        false => Members(Vec::new()),
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &RawValue>()? {
            members.push(member);
        }
        Ok(Members(last_of_each(members)))
    }
}

/// Keeps the last of equal keys.
fn last_of_each(mut members: Vec<(String, &RawValue)>) -> Vec<(String, &RawValue)> {
    let mut seen = HashSet::new();
    let is_last: Vec<bool> = members.iter().rev().map(|(key, _)| seen.insert(key.as_str())).collect();
    let mut is_last = is_last.into_iter().rev();
    members.retain(|_| is_last.next().unwrap_or(true));
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &str) -> Instruction {
        Instruction::read(result, &EntityName::namespace("guest").unwrap())
    }

    fn then(action: &str) -> Then {
        read(&format!(r#"{{"action":{action}}}"#)).then
    }

    #[test]
    fn a_name_has_one_to_three_segments_and_the_callers_namespace_by_default() {
        for (written, meant) in [
            ("a", "guest/a"),
            ("p/a", "guest/p/a"),
            ("ns/p/a", "ns/p/a"),
            ("/ns/a", "ns/a"),
            ("/ns/p/a", "ns/p/a"),
            ("/_/a", "guest/a"),
            ("_/p/a", "guest/p/a"),
            (" a ", "guest/a"),
        ] {
            let Then::Run(name) = then(&format!("\"{written}\"")) else { panic!("{written}") };
            assert_eq!(name.to_string(), meant, "{written}");
        }
    }

    #[test]
    fn what_is_no_name_is_given_back_as_it_was_written() {
        for json in
            ["\"/a\"", "\"\"", "\"a/b/c/d\"", "\"/a/b/c/d\"", "\"$x\"", "null", "42", "{\"a\": 1}", "[]"]
        {
            assert_eq!(then(json), Then::Invalid(json.to_owned()), "{json}");
        }
    }

    #[test]
    fn parameters_and_states_that_are_no_objects_are_boxed() {
        let said = read(r#"{"params": 1, "state": [2], "action": "a"}"#);
        assert_eq!(
            (said.params.as_deref(), said.state.as_deref()),
            (Some(r#"{"value":1}"#), Some(r#"{"state":[2]}"#))
        );
        let said = read(r#"{"params": {"a": 1}, "state": {"b": 1.50}}"#);
        assert_eq!(
            (said.params.as_deref(), said.state.as_deref()),
            (Some(r#"{"a": 1}"#), Some(r#"{"b": 1.50}"#))
        );
    }

    #[test]
    fn whatever_says_no_next_action_ends_the_composition() {
        for result in
            ["{}", "[]", r#"["action"]"#, r#"{"error":"action"}"#, "", "not json", r#"{"Action":"a"}"#]
        {
            assert_eq!(read(result).then, Then::End, "{result}");
        }
    }

    #[test]
    fn members_are_laid_over_others_with_the_text_of_their_values() {
        for (base, over, expected) in [
            (r#"{"a":1,"b":2}"#, r#"{"b":3,"c":1.50}"#, r#"{"a":1,"b":3,"c":1.50}"#),
            ("{}", "{}", "{}"),
            (r#"{"a":1,"a":2}"#, r#"{"\n":[1, 2]}"#, r#"{"a":2,"\n":[1, 2]}"#),
            ("[1]", r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(overlay(base, over), expected);
        }
    }
}
