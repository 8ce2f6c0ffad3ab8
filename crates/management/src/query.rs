//! Query parameters and OpenWhisk's texts for bad ones (openwhisk-api.md 1.3, 1.9).

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query as Pairs};
use http::request::Parts;
use triplane_model::{ApiError, SystemLimits};

/// The query of a request; of equal keys the first one counts.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many to leave out.
    pub(crate) skip: u64,
    /// How many at most; never more than the limit of the system.
    pub(crate) limit: u64,
    /// Whether only their number is asked for.
    pub(crate) count: bool,
}

impl Page {
    /// What `count=true` answers: the total less what is skipped, whatever the limit.
    pub(crate) fn counted(&self, total: u64) -> u64 {
        total.saturating_sub(self.skip)
    }
}

impl Query {
    /// A parameter; an empty one counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(name, _)| name == key);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A boolean, with the words that OpenWhisk's framework takes.
    pub(crate) fn flag(&self, key: &str, absent: bool) -> Result<bool, ApiError> {
        let Some(value) = self.get(key) else { return Ok(absent) };
        match value.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            word => {
                Err(ApiError::malformed_query(key, format_args!("'{word}' is not a valid Boolean value")))
            }
        }
    }

    /// `limit`, `skip` and `count` of a list of `collection`.
    pub(crate) fn page(&self, collection: &str, system: &SystemLimits) -> Result<Page, ApiError> {
        let limit = match self.integer("limit", collection)? {
            None => system.list_default,
            Some(0) => system.list_max,
            Some(value) => {
                u64::try_from(value).ok().filter(|value| *value <= system.list_max).ok_or_else(|| {
                    let max = system.list_max;
                    let text =
                        format!("The value '{value}' is not in the range of 0 to {max} for {collection}.");
                    ApiError::malformed_query("limit", text)
                })?
            }
        };
        let skip = match self.integer("skip", collection)? {
            None => 0,
            Some(value) => u64::try_from(value).map_err(|_| {
                let text = format!("The value '{value}' is not greater than or equal to 0 for {collection}.");
                ApiError::malformed_query("skip", text)
            })?,
        };
        Ok(Page { skip, limit, count: self.flag("count", false)? })
    }

    /// A point in time in epoch milliseconds; before 1970 there was nothing.
    pub(crate) fn instant_ms(&self, key: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let instant = value.parse::<i64>().map_err(|_| {
            let text = format!("Parameter is not a valid value for epoch seconds: {value}");
            ApiError::malformed_query(key, text)
        })?;
        Ok(Some(u64::try_from(instant).unwrap_or(0)))
    }

    fn integer(&self, key: &str, collection: &str) -> Result<Option<i32>, ApiError> {
        let parse = |value: &str| {
            value.parse::<i32>().map_err(|_| {
                let text = format!("The value '{value}' is not an integer for {collection}.");
                ApiError::malformed_query(key, text)
            })
        };
        self.get(key).map(parse).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Any text is a list of pairs, so that this never fails.
        let pairs = Pairs::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        Ok(Self(pairs.map(|Pairs(pairs)| pairs).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(pairs: &[(&str, &str)]) -> Result<Page, ApiError> {
        query(pairs).page("actions", &SystemLimits::default())
    }

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_list_has_30_by_default_and_200_for_0() {
        assert_eq!(page(&[]), Ok(Page { skip: 0, limit: 30, count: false }));
        assert_eq!(page(&[("limit", "0")]).unwrap().limit, 200);
        assert_eq!(page(&[("limit", "200"), ("skip", "7")]), Ok(Page { skip: 7, limit: 200, count: false }));
        assert_eq!(page(&[("limit", ""), ("skip", ""), ("count", "")]), page(&[]));
    }

    #[test]
    fn bad_limits_and_skips_are_refused_with_openwhisks_texts() {
        for (key, value, text) in [
            ("limit", "201", "The value '201' is not in the range of 0 to 200 for actions."),
            ("limit", "-1", "The value '-1' is not in the range of 0 to 200 for actions."),
            ("limit", "x", "The value 'x' is not an integer for actions."),
            ("limit", "99999999999", "The value '99999999999' is not an integer for actions."),
            ("skip", "-1", "The value '-1' is not greater than or equal to 0 for actions."),
            ("skip", "1.5", "The value '1.5' is not an integer for actions."),
            ("count", "maybe", "'maybe' is not a valid Boolean value"),
        ] {
            let refused = page(&[(key, value)]).unwrap_err();
            assert_eq!(refused.status, 400);
            assert_eq!(refused.message, format!("The query parameter '{key}' was malformed:\n{text}"));
        }
    }

    #[test]
    fn a_count_is_the_total_less_what_is_skipped() {
        let page = page(&[("skip", "3"), ("limit", "1"), ("count", "true")]).unwrap();
        assert_eq!((page.count, page.counted(5), page.counted(2)), (true, 2, 0));
    }

    #[test]
    fn instants_are_milliseconds_and_may_lie_before_1970() {
        assert_eq!(query(&[("since", "1700000000000")]).instant_ms("since"), Ok(Some(1_700_000_000_000)));
        assert_eq!(query(&[("since", "-5")]).instant_ms("since"), Ok(Some(0)));
        assert_eq!(query(&[]).instant_ms("since"), Ok(None));
        let refused = query(&[("upto", "now")]).instant_ms("upto").unwrap_err();
        assert_eq!(
            refused.message,
            "The query parameter 'upto' was malformed:\nParameter is not a valid value for epoch seconds: now"
        );
    }
}
