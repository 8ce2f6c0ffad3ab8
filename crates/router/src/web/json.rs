//! JSON text that is looked into and laid out without being made a tree: values keep the text that they were written with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deeper objects are not indented further: what a client can make an action answer must not grow by its depth squared.
const INDENTED_MAX: usize = 32;

/// The members of an object, in their order; nothing when the text is no object.
pub(crate) fn members(object: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    let mut input = serde_json::Deserializer::from_str(object);
    let members = input.deserialize_map(Members).ok()?;
    input.end().ok().map(|()| members)
}

/// The value of a key; of equal keys the last one counts.
pub(crate) fn value<'a>(members: &[(Cow<'a, str>, &'a RawValue)], key: &str) -> Option<&'a RawValue> {
    members.iter().rev().find(|(known, _)| known == key).map(|(_, value)| *value)
}

/// The elements of an array; nothing when the value is no array.
pub(crate) fn elements(array: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array.get()).ok()
}

/// The text of a string; nothing when the value is no string.
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get();
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(text).ok().map(Cow::Owned),
    }
}

/// A string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Lays JSON out as OpenWhisk does: the members of an object on lines of their own, indented by two spaces, the elements of
/// an array on one. The text is to be well-formed.
pub(crate) fn pretty(json: &str) -> String {
    let mut layout = Layout { out: String::with_capacity(json.len() * 2), open: Vec::new(), objects: 0 };
    let mut rest = json.trim_start();
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => string_length(rest),
            b'{' | b'[' if closes_at_once(rest) => rest.find(['}', ']']).map_or(rest.len(), |end| end + 1),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => rest.find(['{', '}', '[', ']', ',', ':', '"', ' ', '\n', '\r', '\t']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length.max(1));
        layout.put(token);
        rest = after.trim_start();
    }
    layout.out
}

/// The length of the string that a text starts with, quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let ends = text.bytes().skip(1).position(|byte| match byte {
        _ if is_escaped => {
            is_escaped = false;
            false
        }
        b'\\' => {
            is_escaped = true;
            false
        }
        byte => byte == b'"',
    });
    ends.map_or(text.len(), |end| end + 2)
}

fn closes_at_once(text: &str) -> bool {
    text[1..].trim_start().starts_with(['}', ']'])
}

struct Layout {
    out: String,
    /// What is open: whether it is an object.
    open: Vec<bool>,
    objects: usize,
}

impl Layout {
    fn put(&mut self, token: &str) {
        match token {
            "{" => {
                self.out.push('{');
                self.open.push(true);
                self.objects += 1;
                self.line();
            }
            "[" => {
                self.out.push('[');
                self.open.push(false);
            }
            "}" | "]" => {
                if self.open.pop() == Some(true) {
                    self.objects -= 1;
                    self.line();
                }
                self.out.push_str(token);
            }
            "," if self.open.last() == Some(&true) => {
                self.out.push(',');
                self.line();
            }
            "," => self.out.push_str(", "),
            ":" => self.out.push_str(": "),
            token if token.starts_with('{') => self.out.push_str("{}"),
            token if token.starts_with('[') => self.out.push_str("[]"),
            token => self.out.push_str(token),
        }
    }

    fn line(&mut self) {
        self.out.push('\n');
        (0..self.objects.min(INDENTED_MAX)).for_each(|_| self.out.push_str("  "));
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            members.push((key.0, map.next_value()?));
        }
        Ok(members)
    }
}

/// A key that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
pub(in crate::web) mod arbitrary {
    use proptest::prelude::*;
    use serde_json::Value;

    /// Any JSON, not too deep.
    pub(in crate::web) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::arbitrary::any_json;
    use super::*;

    #[test]
    fn objects_have_lines_and_arrays_have_one() {
        assert_eq!(
            pretty(r#" {"a":1.50,"b" : [1,{"c":"x,\"y"}, []],"d":{} , "e":{"f":null}}"#),
            "{\n  \"a\": 1.50,\n  \"b\": [1, {\n    \"c\": \"x,\\\"y\"\n  }, []],\n  \"d\": {},\n  \"e\": {\n    \"f\": null\n  }\n}"
        );
        assert_eq!(pretty("[ ]"), "[]");
        assert_eq!(pretty(r#""a\\""#), r#""a\\""#);
    }

    #[test]
    fn depth_does_not_blow_an_object_up() {
        let depth = 50_000;
        let deep = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(pretty(&deep).len() < deep.len() * 2 * (2 * INDENTED_MAX + 4));
    }

    #[test]
    fn members_keep_their_order_and_the_last_of_equal_ones_counts() {
        let found = members(r#"{"a":1,"b":[2],"\u0061":{"c":3}}"#).unwrap();
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(keys, ["a", "b", "a"]);
        assert_eq!(value(&found, "a").unwrap().get(), r#"{"c":3}"#);
        assert!(value(&found, "c").is_none());
        for other in ["[]", "1", "", "{", "{} 1"] {
            assert!(members(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_string_is_its_text() {
        let text = |json: &str| {
            let value = RawValue::from_string(json.to_owned()).unwrap();
            string(&value).map(Cow::into_owned)
        };
        assert_eq!(text(r#""plain""#).as_deref(), Some("plain"));
        assert_eq!(text(r#""a\n\"\u00e4""#).as_deref(), Some("a\n\"ä"));
        assert_eq!(text("\"\"").as_deref(), Some(""));
        assert_eq!((text("1"), text("null"), text("[\"a\"]")), (None, None, None));
    }

    proptest! {
        #[test]
        fn layout_changes_nothing_but_the_space_between(value in any_json()) {
            for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                let laid_out = pretty(&text);
                prop_assert_eq!(serde_json::from_str::<Value>(&laid_out).unwrap(), value.clone());
                prop_assert_eq!(pretty(&laid_out), laid_out);
            }
        }
    }
}
