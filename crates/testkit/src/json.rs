//! Reading JSON values in tests.

use serde_json::Value;

/// The value at a dotted path, such as `response.result.items.0`; numbers index arrays.
///
/// # Panics
/// When there is nothing; the message shows the whole value.
#[must_use]
#[track_caller]
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    find(value, path).unwrap_or_else(|| panic!("nothing at {path:?} in {value}"))
}

/// The value at a dotted path, if there is one.
#[must_use]
pub fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |inner, step| match inner {
        Value::Object(map) => map.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The text at a dotted path.
///
/// # Panics
/// When there is no text.
#[must_use]
#[track_caller]
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("no text at {path:?} in {value}"))
}

/// The whole number at a dotted path.
///
/// # Panics
/// When there is no whole number.
#[must_use]
#[track_caller]
pub fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_u64().unwrap_or_else(|| panic!("no whole number at {path:?} in {value}"))
}

/// The value of an annotation or parameter in OpenWhisk's form, a list of `{"key", "value"}`.
#[must_use]
pub fn keyed<'a>(list: &'a Value, key: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["key"] == key)?.get("value")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_goes_through_objects_and_arrays() {
        let value = json!({"response": {"logs": ["first", "second"], "n": 2}});
        assert_eq!(text(&value, "response.logs.1"), "second");
        assert_eq!(number(&value, "response.n"), 2);
        assert!(find(&value, "response.logs.2").is_none());
    }

    #[test]
    #[should_panic(expected = "nothing at \"a.b\" in {\"a\":1}")]
    fn a_missing_path_shows_the_value() {
        let _ = at(&json!({"a": 1}), "a.b");
    }

    #[test]
    fn an_annotation_is_found_by_its_key() {
        let list = json!([{"key": "timeout", "value": true}]);
        assert_eq!(keyed(&list, "timeout"), Some(&json!(true)));
        assert_eq!(keyed(&list, "limits"), None);
    }
}
