//! Following activations: `triplane activation poll`, and what `triplane dev` tails.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::activation::{ACTIVATIONS, failure, filter, lines};
use super::cli::Since;
use super::failure::{Failure, While};
use super::shell::{Shell, print, print_json, text};
use crate::client::percent_encode;

/// How often a platform is asked, as `wsk` does.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long after its start an activation may still get a record: the longest time limit, twice.
const WINDOW_MS: u64 = 10 * 60 * 1_000;
/// The most that a list has.
const PAGE: usize = 200;
/// How many lists are read at a time. Of what is older than the thousand newest nothing is shown.
const PAGES_MAX: usize = 5;

/// Shows logs until it is interrupted, or the time is over.
pub(crate) async fn run(
    name: Option<&str>,
    exit: Option<u64>,
    since: Since,
    shell: &Shell,
) -> Result<(), Failure> {
    let end = exit.map(|seconds| tokio::time::Instant::now() + Duration::from_secs(seconds));
    shell.title("Enter Ctrl-c to exit.\nPolling for activation logs");
    let mut follower = Follower::new(name, now_ms().saturating_sub(since.ms()))?;
    loop {
        for activation in follower.news(shell).await.during(|| "follow activations".to_owned())? {
            match shell.json {
                true => print_json(&activation),
                false => print(&shown(&activation)),
            }
        }
        let next = tokio::time::Instant::now() + ASK_EVERY;
        if end.is_some_and(|end| next > end) {
            return Ok(());
        }
        tokio::time::sleep_until(next).await;
    }
}

impl Since {
    fn ms(&self) -> u64 {
        let minutes = self.since_minutes.saturating_add(self.since_hours.saturating_mul(60));
        let minutes = minutes.saturating_add(self.since_days.saturating_mul(24 * 60));
        self.since_seconds.saturating_add(minutes.saturating_mul(60)).saturating_mul(1_000)
    }
}

/// The time, in epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn shown(activation: &Value) -> String {
    let head =
        format!("\nActivation: '{}' ({})\n", text(activation, "name"), text(activation, "activationId"));
    let failure = failure(activation).map(|text| format!("{text}\n")).unwrap_or_default();
    format!("{head}{}{failure}", lines(&activation["logs"], false))
}

/// Asks for activations and answers each once.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Of this action only, as a part of a query.
    name: String,
    seen: Seen,
}

impl Follower {
    /// From a time on.
    pub(crate) fn new(name: Option<&str>, since_ms: u64) -> Result<Self, Failure> {
        let name = name.map(filter).transpose()?;
        let name = name.map(|name| format!("&name={}", percent_encode(&name))).unwrap_or_default();
        Ok(Self { name, seen: Seen { since_ms, ids: BTreeSet::new() } })
    }

    /// The records of activations that were not answered yet, oldest first.
    pub(crate) async fn news(&mut self, shell: &Shell) -> Result<Vec<Value>, Failure> {
        let mut news = Vec::new();
        for page in 0..PAGES_MAX {
            let (since, skip, name) = (self.seen.since_ms, page * PAGE, &self.name);
            let path = format!("{ACTIVATIONS}?limit={PAGE}&skip={skip}&since={since}{name}");
            let list = shell.api.get(&path).await?;
            let items = list.as_array().map_or(&[][..], Vec::as_slice);
            news.extend(self.seen.news(items));
            if items.len() < PAGE {
                break;
            }
        }
        self.seen.forget(now_ms());
        let mut records = Vec::with_capacity(news.len());
        for (_, id) in news.iter().rev() {
            match shell.api.get(&format!("{ACTIVATIONS}/{id}")).await {
                Ok(record) => records.push(record),
                // Removed meanwhile.
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => {
                    self.seen.take_back(&news);
                    return Err(failure);
                }
            }
        }
        Ok(records)
    }
}

/// Which activations were answered. Records come in the order in which activations end, so the start of the newest says
/// nothing about those that are still to come.
#[derive(Debug)]
struct Seen {
    since_ms: u64,
    ids: BTreeSet<Started>,
}

/// The start of an activation, and its id.
type Started = (u64, String);

impl Seen {
    /// Those in a list that are new.
    fn news(&mut self, items: &[Value]) -> Vec<Started> {
        let known = items
            .iter()
            .map(|item| (item["start"].as_u64().unwrap_or_default(), text(item, "activationId").to_owned()));
        known.filter(|known| self.ids.insert(known.clone())).collect()
    }

    /// They could not be answered, and are new the next time as well.
    fn take_back(&mut self, news: &[Started]) {
        for started in news {
            self.ids.remove(started);
        }
    }

    /// Looks no further back than records can come late, and keeps no more than that.
    fn forget(&mut self, now_ms: u64) {
        self.since_ms = self.since_ms.max(now_ms.saturating_sub(WINDOW_MS));
        self.ids = self.ids.split_off(&(self.since_ms, String::new()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen() -> Seen {
        Seen { since_ms: 0, ids: BTreeSet::new() }
    }

    fn item(start: u64, id: &str) -> Value {
        json!({"start": start, "activationId": id})
    }

    fn news(seen: &mut Seen, items: &[Value]) -> Vec<String> {
        seen.news(items).into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn an_activation_is_new_once() {
        let mut seen = seen();
        assert_eq!(news(&mut seen, &[item(2, "b"), item(1, "a")]), ["b", "a"]);
        assert_eq!(news(&mut seen, &[item(3, "c"), item(2, "b"), item(1, "a")]), ["c"]);
    }

    #[test]
    fn what_could_not_be_answered_is_new_again() {
        let mut seen = seen();
        seen.news(&[item(1, "a")]);
        let unread = seen.news(&[item(2, "b"), item(1, "a")]);
        seen.take_back(&unread);
        assert_eq!(news(&mut seen, &[item(3, "c"), item(2, "b"), item(1, "a")]), ["c", "b"]);
    }

    #[test]
    fn what_began_earlier_and_ended_later_is_new_all_the_same() {
        let mut seen = seen();
        assert_eq!(news(&mut seen, &[item(50, "short")]), ["short"]);
        seen.forget(60);
        assert_eq!(news(&mut seen, &[item(50, "short"), item(10, "long")]), ["long"]);
    }

    #[test]
    fn what_is_too_old_to_come_again_is_forgotten() {
        let mut seen = seen();
        seen.news(&[item(5, "old"), item(WINDOW_MS, "new")]);
        seen.forget(WINDOW_MS + 6);
        assert_eq!((seen.since_ms, seen.ids.len()), (6, 1));
    }

    #[test]
    fn how_far_back_is_a_sum() {
        let since = Since { since_seconds: 1, since_minutes: 1, since_hours: 1, since_days: 1 };
        assert_eq!(since.ms(), (1 + 60 + 3_600 + 86_400) * 1_000);
    }

    #[test]
    fn logs_stand_below_the_name_and_failures_below_the_logs() {
        let activation = json!({
            "name": "hello", "activationId": "1", "logs": ["t stdout: hi"],
            "response": {"success": false, "status": "application error", "result": {"error": "mine"}},
        });
        let expected = "\nActivation: 'hello' (1)\nt stdout: hi\napplication error: \"mine\"\n";
        assert_eq!(shown(&activation), expected);
    }
}
