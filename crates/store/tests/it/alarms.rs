//! Alarms: found by their trigger and by when they are due, written by compare and set, bounded.

use serde_json::{Map, Value, json};
use triplane_core::alarm::{Feed, Request};
use triplane_store::{AlarmOf, Expected, KeptAlarm, Options, Sqlite, StoreError, Stores};

use crate::support::{TempDir, named, ns, open};

const NOW: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

fn once_at(ms: u64) -> KeptAlarm {
    let parameters = json!({"date": ms, "trigger_payload": {"a": 1}});
    let parameters: &Map<String, Value> = parameters.as_object().unwrap();
    let (request, alarm) = Request::create(Feed::Once, parameters, NOW).unwrap();
    KeptAlarm { request, alarm }
}

async fn create(stores: &Stores, trigger: &str, due_ms: u64) {
    stores.alarms.put_alarm(named(trigger), once_at(due_ms), Expected::Absent).await.unwrap();
}

async fn due(stores: &Stores, now_ms: u64) -> Vec<String> {
    let due = stores.alarms.due(now_ms, 0, 10).await.unwrap();
    due.into_iter().map(|alarm| alarm.trigger.name.to_string()).collect()
}

#[tokio::test]
async fn the_alarm_that_is_due_longest_is_first_and_none_is_early() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    assert_eq!(stores.alarms.next_due().await.unwrap(), None);
    create(&stores, "late", NOW + 2 * MINUTE).await;
    create(&stores, "early", NOW + MINUTE).await;
    assert_eq!(stores.alarms.next_due().await.unwrap(), Some(NOW + MINUTE));
    assert!(due(&stores, NOW + MINUTE - 1).await.is_empty());
    assert_eq!(due(&stores, NOW + 5 * MINUTE).await, ["early", "late"]);
    let behind = stores.alarms.due(NOW + 5 * MINUTE, 1, 10).await.unwrap();
    assert_eq!(behind[0].trigger, named("late"));
    stores.close().await;
}

#[tokio::test]
async fn an_alarm_survives_a_restart_as_it_was_and_one_that_fired_is_not_due() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "t", NOW + MINUTE).await;
    stores.close().await;

    let stores = open(dir.path()).await;
    let AlarmOf { trigger, revision, kept } = stores.alarms.alarm(named("t")).await.unwrap().unwrap();
    assert_eq!(kept.request.shown()["payload"], json!({"a": 1}));
    let (_, alarm) = kept.alarm.due(NOW + MINUTE);
    let fired = KeptAlarm { alarm, ..kept };
    stores.alarms.put_alarm(trigger, fired.clone(), Expected::Revision(revision)).await.unwrap();
    assert!(due(&stores, NOW + 9 * MINUTE).await.is_empty());
    let stale = stores.alarms.put_alarm(named("t"), fired, Expected::Revision(revision)).await;
    assert!(matches!(stale, Err(StoreError::Conflict)), "whoever fired it first has fired it");
    stores.close().await;
}

#[tokio::test]
async fn a_paused_alarm_is_not_due() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let kept = once_at(NOW + MINUTE);
    let paused = KeptAlarm { alarm: kept.alarm.set_active(false, None, NOW), ..kept };
    stores.alarms.put_alarm(named("t"), paused, Expected::Absent).await.unwrap();
    assert_eq!(stores.alarms.next_due().await.unwrap(), None);
    stores.close().await;
}

#[tokio::test]
async fn alarms_are_listed_by_namespace_deleted_and_bounded() {
    let dir = TempDir::new();
    let options = Options { alarms_per_namespace_max: 2, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    create(&stores, "b", NOW + MINUTE).await;
    create(&stores, "a", NOW + MINUTE).await;
    let more = stores.alarms.put_alarm(named("c"), once_at(NOW + MINUTE), Expected::Absent).await;
    assert!(matches!(more, Err(StoreError::Full(_))));
    stores.alarms.delete_alarm(named("b")).await.unwrap();
    stores.alarms.delete_alarm(named("b")).await.unwrap();
    let listed = stores.alarms.alarms(ns("guest"), 0, 10).await.unwrap();
    assert_eq!(listed.iter().map(|alarm| alarm.trigger.name.as_str()).collect::<Vec<_>>(), ["a"]);
    stores.close().await;
}
