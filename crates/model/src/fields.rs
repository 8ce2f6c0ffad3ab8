//! The body of a PUT: an object whose fields are read one by one, unknown ones are ignored (openwhisk-api.md 1.6, 1.7).

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::limits::SystemLimits;
use crate::parameters::Parameters;

/// The fields of a body that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Fields<'a>(HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// Reads a body; an empty one has no fields.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, ApiError> {
        let fields = match body.trim_ascii() {
            b"" => HashMap::new(),
            body => serde_json::from_slice(body).map_err(ApiError::malformed_content)?,
        };
        if depth(body) > DEPTH_MAX {
            return Err(ApiError::malformed_content("nested too deeply"));
        }
        Ok(Self(fields))
    }

    /// Takes the text of a field; `null` is as good as absent.
    pub(crate) fn text(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name).filter(|value| value.get() != "null")
    }

    /// Takes a field.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let read = |json: &RawValue| serde_json::from_str(json.get());
        self.text(name).map(read).transpose().map_err(ApiError::malformed_content)
    }

    /// Takes a field by a conversion with texts of its own.
    pub(crate) fn with<T: DeserializeOwned, R>(
        &mut self,
        name: &str,
        read: impl FnOnce(T) -> Result<R, ApiError>,
    ) -> Result<Option<R>, ApiError> {
        self.take(name)?.map(read).transpose()
    }

    /// Takes `parameters` or `annotations`, which may have a limited size.
    pub(crate) fn parameters(
        &mut self,
        name: &str,
        system: &SystemLimits,
    ) -> Result<Option<Parameters>, ApiError> {
        let parameters: Option<Parameters> = self.take(name)?;
        if let Some(parameters) = &parameters {
            check_size(name, parameters.size_bytes(), system.parameters_bytes_max)?;
        }
        Ok(parameters)
    }
}

/// Refuses what is larger than allowed.
pub(crate) fn check_size(field: &str, bytes: u64, max: u64) -> Result<(), ApiError> {
    if bytes > max { Err(ApiError::too_large(field, bytes, max)) } else { Ok(()) }
}

/// How deeply the JSON of a PUT may be nested: what readers of JSON take by default.
const DEPTH_MAX: usize = 127;

/// How deeply a well-formed JSON text is nested.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string) = (0_usize, 0, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match (byte, in_string) {
            (b'\\', true) => drop(bytes.next()),
            (b'"', _) => in_string = !in_string,
            (b'[' | b'{', false) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (b']' | b'}', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_nested_too_deeply_is_refused() {
        let nested =
            |levels| format!(r#"{{"x":{}"[[\"[["{}}}"#, "[".repeat(levels), "]".repeat(levels)).into_bytes();
        let status = |body: Vec<u8>| Fields::parse(&body).err().map(|error| error.status);
        assert_eq!(status(nested(DEPTH_MAX - 1)), None);
        assert_eq!(status(nested(DEPTH_MAX)), Some(400));
        assert_eq!(status(nested(1_000_000)), Some(400));
    }

    #[test]
    fn a_field_that_is_null_is_as_good_as_absent() {
        let mut fields = Fields::parse(br#"{"a":null,"b":1}"#).unwrap();
        assert_eq!(fields.take::<u64>("a"), Ok(None));
        assert_eq!(fields.take("b"), Ok(Some(1)));
        assert_eq!(fields.take::<u64>("b"), Ok(None), "it is taken");
    }
}
