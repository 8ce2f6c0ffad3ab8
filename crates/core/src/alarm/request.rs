//! What a feed of alarms was asked for: the parameters of OpenWhisk's `alarms` package, its rules and its texts.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::machine::{Alarm, Bounds};
use super::schedule::{Cron, DeleteAfterFire, Schedule};

/// When an interval begins that was given no start, milliseconds from now.
const INTERVAL_BEGINS_MS: u64 = 30_000;
/// The parameters that make a schedule; `trigger_payload` is kept apart.
const SCHEDULE_KEYS: [&str; 8] =
    ["cron", "timezone", "minutes", "date", "deleteAfterFire", "startDate", "stopDate", "maxTriggers"];

/// Which feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// By a cron pattern.
    Alarm,
    /// Every so many minutes.
    Interval,
    /// At one moment.
    Once,
}

/// Why a request is refused; the fault of who made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongRequest(pub String);

/// An alarm as it was asked for, which is what its owner gets to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// By which feed.
    pub feed: Feed,
    /// The parameters of its schedule, as they were given.
    given: Map<String, Value>,
    /// What the trigger is fired with.
    payload: Value,
}

impl Request {
    /// Reads the parameters of a new alarm, and makes it.
    ///
    /// # Errors
    /// The text for the user.
    pub fn create(
        feed: Feed,
        parameters: &Map<String, Value>,
        now_ms: u64,
    ) -> Result<(Self, Alarm), WrongRequest> {
        let mut given = chosen(parameters);
        let begins = feed == Feed::Interval && !given.contains_key("startDate");
        if begins {
            given.insert("startDate".into(), json!(now_ms + INTERVAL_BEGINS_MS));
        }
        check_future(&given, &given, now_ms)?;
        let payload = payload_of(parameters.get("trigger_payload"));
        let request = Self { feed, given, payload };
        let (schedule, bounds) = request.schedule()?;
        let alarm = Alarm::new(schedule, request.payload_text(), bounds, now_ms);
        if alarm.next_ms.is_none() {
            return wrong(match bounds.stop_ms {
                Some(_) => "the first scheduled trigger fire is not until after the stop date",
                None => "the trigger would never fire: no date matches the cron pattern",
            });
        }
        Ok((request, alarm))
    }

    /// The same alarm with some parameters changed; what is not given stays as it was.
    ///
    /// # Errors
    /// The text for the user.
    pub fn update(
        &self,
        alarm: &Alarm,
        parameters: &Map<String, Value>,
        now_ms: u64,
    ) -> Result<(Self, Alarm), WrongRequest> {
        let changed = chosen(parameters);
        let payload = parameters.get("trigger_payload").filter(|payload| is_given(payload));
        if changed.is_empty() && payload.is_none() {
            return wrong("no updatable parameters were specified");
        }
        let mut given = self.given.clone();
        given.extend(changed.clone());
        check_future(&changed, &given, now_ms)?;
        let payload = payload.map_or_else(|| self.payload.clone(), |payload| payload_of(Some(payload)));
        let request = Self { feed: self.feed, given, payload };
        let (schedule, bounds) = request.schedule()?;
        let alarm =
            Alarm { fired: alarm.fired, ..Alarm::new(schedule, request.payload_text(), bounds, now_ms) };
        Ok((request, alarm.rescheduled(now_ms)))
    }

    /// The parameters as their owner reads them.
    #[must_use]
    pub fn shown(&self) -> Map<String, Value> {
        let mut shown = self.given.clone();
        shown.insert("payload".into(), self.payload.clone());
        shown
    }

    fn payload_text(&self) -> Box<RawValue> {
        // A `Value` always prints as JSON.
        RawValue::from_string(self.payload.to_string()).unwrap_or_default()
    }

    fn schedule(&self) -> Result<(Schedule, Bounds), WrongRequest> {
        let date = |key: &str| self.given.get(key).map(|value| date(key, value)).transpose();
        let bounds =
            Bounds { start_ms: date("startDate")?, stop_ms: date("stopDate")?, fires_max: self.fires_max()? };
        let schedule = match self.feed {
            Feed::Alarm => {
                let Some(pattern) = self.given.get("cron") else {
                    return wrong("alarms trigger feed is missing the cron parameter");
                };
                let (pattern, zone) = (text_of(pattern), self.given.get("timezone").map(text_of));
                Schedule::Cron(Cron::parse(&pattern, zone.as_deref()).map_err(WrongRequest)?)
            }
            Feed::Interval => {
                let minutes = self.minutes()?;
                Schedule::Interval { minutes, from_ms: bounds.start_ms.unwrap_or_default() }
            }
            Feed::Once => {
                let Some(at_ms) = date("date")? else {
                    return wrong("alarms once trigger feed is missing the date parameter");
                };
                Schedule::Once { at_ms, delete: self.deletes()? }
            }
        };
        Ok((schedule, bounds))
    }

    fn minutes(&self) -> Result<u32, WrongRequest> {
        let Some(given) = self.given.get("minutes") else {
            return wrong("interval trigger feed is missing the minutes parameter");
        };
        let number = given.as_i64().or_else(|| text_of(given).trim().parse().ok());
        let Some(number) = number else { return wrong("the minutes parameter must be an integer") };
        match u32::try_from(number) {
            Ok(minutes) if minutes > 0 => Ok(minutes),
            _ if number > 0 => wrong("the minutes parameter must be at most 4294967295"),
            _ => wrong("the minutes parameter must be an integer greater than zero"),
        }
    }

    fn deletes(&self) -> Result<DeleteAfterFire, WrongRequest> {
        let given = self.given.get("deleteAfterFire").map(|given| text_of(given).trim().to_ascii_lowercase());
        match given.as_deref() {
            None | Some("false") => Ok(DeleteAfterFire::False),
            Some("true") => Ok(DeleteAfterFire::True),
            Some("rules") => Ok(DeleteAfterFire::Rules),
            Some(_) => wrong("deleteAfterFire parameter must be one of [false, true, rules]."),
        }
    }

    /// `-1` stands for as often as it comes.
    fn fires_max(&self) -> Result<Option<u64>, WrongRequest> {
        let Some(given) = self.given.get("maxTriggers") else { return Ok(None) };
        if self.given.contains_key("stopDate") {
            return wrong(match self.feed {
                Feed::Interval => "maxTriggers is not supported for the interval trigger feed",
                _ => "maxTriggers is not allowed when the stopDate parameter is specified",
            });
        }
        match given.as_i64().or_else(|| text_of(given).trim().parse().ok()) {
            Some(-1) => Ok(None),
            Some(number) if number > 0 => Ok(u64::try_from(number).ok()),
            _ => wrong("the maxTriggers parameter must be an integer greater than zero, or -1"),
        }
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, WrongRequest> {
    Err(WrongRequest(text.into()))
}

/// Clients send what they were not given as `null`, and forms as empty texts.
fn is_given(value: &Value) -> bool {
    !value.is_null() && value != ""
}

fn chosen(parameters: &Map<String, Value>) -> Map<String, Value> {
    let chosen = SCHEDULE_KEYS
        .iter()
        .filter_map(|key| Some((*key, parameters.get(*key).filter(|value| is_given(value))?)));
    chosen.map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

/// Dates that are new must be to come, and in order.
fn check_future(
    changed: &Map<String, Value>,
    all: &Map<String, Value>,
    now_ms: u64,
) -> Result<(), WrongRequest> {
    for key in ["date", "startDate", "stopDate"] {
        let Some(value) = changed.get(key) else { continue };
        if date(key, value)? <= now_ms {
            return wrong(format!("{key} parameter '{}' must be in the future", text_of(value)));
        }
    }
    let (Some(start), Some(stop)) = (all.get("startDate"), all.get("stopDate")) else { return Ok(()) };
    if date("stopDate", stop)? > date("startDate", start)? {
        return Ok(());
    }
    let (shown_start, shown_stop) = (text_of(start), text_of(stop));
    match changed.contains_key("stopDate") {
        true => wrong(format!(
            "stopDate parameter '{shown_stop}' must be greater than the startDate parameter '{shown_start}'"
        )),
        false => wrong(format!(
            "startDate parameter '{shown_start}' must be less than the stopDate parameter '{shown_stop}'"
        )),
    }
}

/// A text is fired as `{"payload": text}`.
fn payload_of(given: Option<&Value>) -> Value {
    match given {
        Some(Value::Object(object)) => Value::Object(object.clone()),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => json!({ "payload": text }),
        },
        Some(other) if is_given(other) => json!({ "payload": other }),
        _ => json!({}),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A moment as JavaScript's `Date` reads it: epoch milliseconds, or ISO 8601, in UTC unless it says otherwise.
fn date(key: &str, value: &Value) -> Result<u64, WrongRequest> {
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    let moment = match value {
        Value::Number(number) => number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        Value::String(text) => {
            let text = text.trim();
            let timestamp = text.parse::<Timestamp>().ok();
            let local = || text.parse::<DateTime>().ok().and_then(utc);
            let day = || text.parse::<Date>().ok().and_then(|day| utc(day.at(0, 0, 0, 0)));
            timestamp.or_else(local).or_else(day)
        }
        _ => None,
    };
    let ms = moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    ms.ok_or_else(|| WrongRequest(format!("{key} parameter '{}' is not a valid Date", text_of(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15T08:00:00Z
    const NOW: u64 = 1_800_000_000_000;

    fn asked(feed: Feed, parameters: Value) -> Result<(Request, Alarm), WrongRequest> {
        Request::create(feed, parameters.as_object().unwrap(), NOW)
    }

    fn refused(feed: Feed, parameters: Value) -> String {
        asked(feed, parameters).map(|(request, _)| request.shown()).unwrap_err().0
    }

    #[test]
    fn each_feed_wants_its_own_parameter() {
        assert_eq!(refused(Feed::Alarm, json!({})), "alarms trigger feed is missing the cron parameter");
        assert_eq!(
            refused(Feed::Interval, json!({})),
            "interval trigger feed is missing the minutes parameter"
        );
        assert_eq!(refused(Feed::Once, json!({})), "alarms once trigger feed is missing the date parameter");
    }

    #[test]
    fn minutes_are_whole_and_more_than_none() {
        for (given, text) in [
            (json!(1.5), "the minutes parameter must be an integer"),
            (json!("x"), "the minutes parameter must be an integer"),
            (json!(0), "the minutes parameter must be an integer greater than zero"),
            (json!(-3), "the minutes parameter must be an integer greater than zero"),
            (json!(1_u64 << 32), "the minutes parameter must be at most 4294967295"),
        ] {
            assert_eq!(refused(Feed::Interval, json!({"minutes": given})), text);
        }
        let (_, alarm) = asked(Feed::Interval, json!({"minutes": "2"})).unwrap();
        assert_eq!(alarm.next_ms, Some(NOW + INTERVAL_BEGINS_MS));
    }

    #[test]
    fn dates_are_numbers_or_texts_to_come_and_in_order() {
        let once = |date| asked(Feed::Once, json!({"date": date})).map(|(_, alarm)| alarm.next_ms);
        for date in
            [json!(1_800_003_600_000_u64), json!("2027-01-15T09:00:00.000Z"), json!("2027-01-15T09:00:00")]
        {
            assert_eq!(once(date).unwrap(), Some(NOW + 3_600_000));
        }
        assert_eq!(once(json!("2027-01-16")).unwrap(), Some(NOW + 16 * 3_600_000));
        assert_eq!(once(json!("soon")).unwrap_err().0, "date parameter 'soon' is not a valid Date");
        assert_eq!(
            once(json!("2020-01-01")).unwrap_err().0,
            "date parameter '2020-01-01' must be in the future"
        );
        let bounds = json!({"minutes": 1, "startDate": "2027-02-02", "stopDate": "2027-02-01"});
        assert_eq!(
            refused(Feed::Interval, bounds),
            "stopDate parameter '2027-02-01' must be greater than the startDate parameter '2027-02-02'"
        );
    }

    #[test]
    fn an_alarm_that_would_never_fire_is_refused() {
        let never = json!({"cron": "0 0 1 1 *", "stopDate": "2027-02-01"});
        assert_eq!(
            refused(Feed::Alarm, never),
            "the first scheduled trigger fire is not until after the stop date"
        );
        assert_eq!(
            refused(Feed::Alarm, json!({"cron": "0 0 30 2 *"})),
            "the trigger would never fire: no date matches the cron pattern"
        );
    }

    #[test]
    fn a_number_of_fires_and_a_stop_exclude_each_other() {
        let both = json!({"cron": "* * * * *", "stopDate": "2027-02-01", "maxTriggers": 5});
        assert_eq!(
            refused(Feed::Alarm, both),
            "maxTriggers is not allowed when the stopDate parameter is specified"
        );
        let (_, endless) = asked(Feed::Alarm, json!({"cron": "* * * * *", "maxTriggers": -1})).unwrap();
        assert_eq!(endless.fires_max, None);
    }

    #[test]
    fn what_is_deleted_after_the_fire_is_one_of_three() {
        let once = |delete| asked(Feed::Once, json!({"date": "2027-02-01", "deleteAfterFire": delete}));
        assert!(matches!(
            once(json!(" Rules")).unwrap().1.schedule,
            Schedule::Once { delete: DeleteAfterFire::Rules, .. }
        ));
        assert_eq!(
            once(json!("all")).map(drop).unwrap_err().0,
            "deleteAfterFire parameter must be one of [false, true, rules]."
        );
    }

    #[test]
    fn a_payload_becomes_an_object() {
        for (given, made) in [
            (json!({"a": 1}), json!({"a": 1})),
            (json!("{\"a\":1}"), json!({"a": 1})),
            (json!("hi"), json!({"payload": "hi"})),
            (json!(7), json!({"payload": 7})),
            (Value::Null, json!({})),
        ] {
            assert_eq!(payload_of(Some(&given)), made);
        }
    }

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        let (request, alarm) =
            asked(Feed::Alarm, json!({"cron": "0 0 * * *", "trigger_payload": {"a": 1}})).unwrap();
        let fired = Alarm { fired: 3, ..alarm };
        let change = json!({"cron": "* * * * *"});
        let (request, alarm) = request.update(&fired, change.as_object().unwrap(), NOW).unwrap();
        assert_eq!((alarm.fired, alarm.next_ms), (3, Some(NOW + 60_000)));
        assert_eq!(Value::Object(request.shown()), json!({"cron": "* * * * *", "payload": {"a": 1}}));
        let nothing = request.update(&alarm, &Map::new(), NOW).map(drop);
        assert_eq!(nothing.unwrap_err().0, "no updatable parameters were specified");
    }
}
