//! The query of an invocation: `blocking`, `result` and `timeout` (openwhisk-api.md 3).

use std::time::Duration;

use triplane_model::ApiError;

/// How a call is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) is_blocking: bool,
    pub(crate) wants_result: bool,
    /// How long the client waits.
    pub(crate) timeout: Duration,
}

impl Query {
    /// Reads a query; of equal keys the first one counts, unknown ones are ignored.
    pub(crate) fn parse(query: Option<&str>, timeout_ms_max: u64) -> Result<Self, ApiError> {
        let (mut blocking, mut result, mut timeout) = (None, None, None);
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let field = match &*key {
                "blocking" => &mut blocking,
                "result" => &mut result,
                "timeout" => &mut timeout,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        Ok(Self {
            is_blocking: boolean("blocking", blocking.as_deref())?,
            wants_result: boolean("result", result.as_deref())?,
            timeout: duration(timeout.as_deref(), timeout_ms_max)?,
        })
    }
}

/// OpenWhisk's framework takes these words, in any case; an empty value is as good as none.
fn boolean(key: &str, value: Option<&str>) -> Result<bool, ApiError> {
    let Some(value) = value else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        other => Err(ApiError::malformed_query(key, format_args!("'{other}' is not a valid Boolean value"))),
    }
}

fn duration(value: Option<&str>, max_ms: u64) -> Result<Duration, ApiError> {
    let value_ms = match value {
        None | Some("") => Some(max_ms),
        Some(text) => text.parse().ok().filter(|value_ms| (1..=max_ms).contains(value_ms)),
    };
    value_ms.map(Duration::from_millis).ok_or_else(|| {
        ApiError::malformed_query(
            "timeout",
            format_args!("Timeout must be number of milliseconds up to {max_ms}."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<(bool, bool, u128), ApiError> {
        let query = Query::parse(Some(query), 60_000)?;
        Ok((query.is_blocking, query.wants_result, query.timeout.as_millis()))
    }

    #[test]
    fn absent_and_empty_fields_have_their_defaults() {
        assert_eq!(Query::parse(None, 60_000).unwrap().timeout.as_millis(), 60_000);
        for query in ["", "&", "blocking=", "blocking=&timeout=", "other=1"] {
            assert_eq!(parse(query), Ok((false, false, 60_000)), "{query}");
        }
        assert_eq!(parse("blocking=true&result=TRUE&timeout=1"), Ok((true, true, 1)));
        assert_eq!(parse("blocking=true&blocking=false"), Ok((true, false, 60_000)));
        assert_eq!(
            parse("%62locking=%74rue&timeout=1%30"),
            Ok((true, false, 10)),
            "escapes mean what they stand for"
        );
    }

    #[test]
    fn bad_fields_are_refused_with_openwhisks_texts() {
        for timeout in ["0", "60001", "-1", "x", "1.5"] {
            let refused = parse(&format!("timeout={timeout}")).unwrap_err();
            assert_eq!(
                (refused.status, refused.message.as_str()),
                (
                    400,
                    "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."
                )
            );
        }
        let refused = parse("blocking=m%61ybe").unwrap_err();
        assert_eq!(
            refused.message,
            "The query parameter 'blocking' was malformed:\n'maybe' is not a valid Boolean value"
        );
    }
}
