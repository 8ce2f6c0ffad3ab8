//! When an alarm fires: by a cron pattern, at an interval, or once.

use croner::parser::{CronParser, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The longest cron pattern, characters.
const PATTERN_CHARACTERS_MAX: usize = 256;

/// When an alarm fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// By a cron pattern.
    Cron(Cron),
    /// Every so many minutes, counted from the start.
    Interval {
        /// How many.
        minutes: u32,
        /// The first time, epoch milliseconds.
        from_ms: u64,
    },
    /// At one moment.
    Once {
        /// When, epoch milliseconds.
        at_ms: u64,
        /// What goes with it.
        delete: DeleteAfterFire,
    },
}

/// What is deleted when an alarm that fires once has fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeleteAfterFire {
    /// Nothing.
    #[default]
    False,
    /// The trigger.
    True,
    /// The trigger and its rules.
    Rules,
}

/// A cron pattern of five fields, or six of which the first are seconds, in a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CronText", into = "CronText")]
pub struct Cron {
    text: CronText,
    pattern: Box<croner::Cron>,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CronText {
    pattern: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timezone: Option<String>,
}

impl Cron {
    /// Reads a pattern, and the name of a time zone in the IANA database; UTC when there is none.
    ///
    /// # Errors
    /// The text for the user.
    pub fn parse(pattern: &str, timezone: Option<&str>) -> Result<Self, String> {
        let invalid = || format!("cron pattern '{pattern}' is not valid");
        if pattern.chars().count() > PATTERN_CHARACTERS_MAX {
            return Err(format!("the cron pattern is longer than {PATTERN_CHARACTERS_MAX} characters"));
        }
        // Years are the seventh field, which nobody's clients know; `0/10` is what other libraries take too.
        let parser = CronParser::builder().year(Year::Disallowed).sloppy_ranges(true).build();
        let parsed = parser.parse(pattern).map_err(|_| invalid())?;
        let zone = match timezone {
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("timezone '{name}' is not in the time zone database"))?,
            None => TimeZone::UTC,
        };
        let text = CronText { pattern: pattern.to_owned(), timezone: timezone.map(str::to_owned) };
        Ok(Self { text, pattern: Box::new(parsed), zone })
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.text.pattern
    }

    /// The name of the time zone, if one was given.
    #[must_use]
    pub fn timezone(&self) -> Option<&str> {
        self.text.timezone.as_deref()
    }

    fn next_after(&self, after_ms: u64) -> Option<u64> {
        let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?;
        let next = self.pattern.find_next_occurrence(&after.to_zoned(self.zone.clone()), false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok()
    }
}

impl TryFrom<CronText> for Cron {
    type Error = String;

    fn try_from(text: CronText) -> Result<Self, String> {
        Self::parse(&text.pattern, text.timezone.as_deref())
    }
}

impl From<Cron> for CronText {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl Schedule {
    /// The first due time after a moment; nothing when there is none any more. Epoch milliseconds.
    #[must_use]
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        match self {
            Self::Cron(cron) => cron.next_after(after_ms),
            Self::Interval { from_ms, .. } if *from_ms > after_ms => Some(*from_ms),
            Self::Interval { minutes, from_ms } => {
                let period_ms = u64::from((*minutes).max(1)) * 60_000;
                let passed = (after_ms - from_ms) / period_ms + 1;
                passed.checked_mul(period_ms)?.checked_add(*from_ms)
            }
            Self::Once { at_ms, .. } => (*at_ms > after_ms).then_some(*at_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
    }

    fn next(pattern: &str, zone: Option<&str>, after: &str) -> Option<String> {
        let cron = Schedule::Cron(Cron::parse(pattern, zone).unwrap());
        let next = cron.next_after(ms(after))?;
        Some(Timestamp::from_millisecond(next.try_into().unwrap()).unwrap().to_string())
    }

    #[test]
    fn five_fields_are_minutes_and_six_begin_with_seconds() {
        let after = "2026-11-26T10:00:00Z";
        assert_eq!(next("*/5 * * * *", None, after).as_deref(), Some("2026-11-26T10:05:00Z"));
        assert_eq!(next("*/2 * * * * *", None, after).as_deref(), Some("2026-11-26T10:00:02Z"));
        assert_eq!(next("0 0 9 8 * *", None, after).as_deref(), Some("2026-12-08T09:00:00Z"));
        assert_eq!(next("0 12 * * MON-FRI", None, after).as_deref(), Some("2026-11-26T12:00:00Z"));
    }

    #[test]
    fn a_time_zone_moves_the_hour_also_over_the_change_of_summer_time() {
        let daily = |after| next("0 9 * * *", Some("Europe/Berlin"), after);
        assert_eq!(daily("2026-10-24T12:00:00Z").as_deref(), Some("2026-10-25T08:00:00Z"));
        assert_eq!(daily("2026-03-28T12:00:00Z").as_deref(), Some("2026-03-29T07:00:00Z"));
    }

    #[test]
    fn a_pattern_that_never_comes_has_no_next_time() {
        assert_eq!(next("0 0 30 2 *", None, "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn patterns_and_zones_that_are_none_are_told_so() {
        assert_eq!(Cron::parse("x", None), Err("cron pattern 'x' is not valid".to_owned()));
        assert_eq!(
            Cron::parse("* * * * * * *", None).map(drop),
            Err("cron pattern '* * * * * * *' is not valid".to_owned())
        );
        let nowhere = Cron::parse("* * * * *", Some("Mars/Base"));
        assert_eq!(nowhere, Err("timezone 'Mars/Base' is not in the time zone database".to_owned()));
    }

    #[test]
    fn an_interval_is_counted_from_its_start_whenever_it_is_asked() {
        let interval = Schedule::Interval { minutes: 5, from_ms: 1_000 };
        assert_eq!(interval.next_after(0), Some(1_000));
        assert_eq!(interval.next_after(1_000), Some(301_000));
        assert_eq!(interval.next_after(300_999), Some(301_000));
        assert_eq!(interval.next_after(301_000), Some(601_000));
    }

    #[test]
    fn once_is_once() {
        let once = Schedule::Once { at_ms: 5, delete: DeleteAfterFire::False };
        assert_eq!((once.next_after(4), once.next_after(5)), (Some(5), None));
    }

    #[test]
    fn a_schedule_is_written_and_read() {
        for schedule in [
            Schedule::Cron(Cron::parse("*/2 * * * * *", Some("Asia/Tokyo")).unwrap()),
            Schedule::Interval { minutes: 1, from_ms: 7 },
            Schedule::Once { at_ms: 5, delete: DeleteAfterFire::Rules },
        ] {
            let text = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule, "{text}");
        }
    }
}
