//! Feeds, and the packages of `whisk.system` (section 5.4). That alarms fire when they are due is shown in `alarms.rs`.

use serde_json::{Value, json};

use super::triggers::{NOT_FOUND, trigger};
use super::{Guest, Reply, Scenario, scenario};

const LIFE_CYCLE: &str = "A feed is an ordinary action taking `lifecycleEvent` ∈ CREATE, READ, UPDATE, DELETE, PAUSE, UNPAUSE; \
                          `triggerName` = `/ns/t` (CLI sends `/_/t` when ns is default [W]); `authKey` = `uuid:key`; plus feed params.";
const ALARMS: &str = "/whisk.system/alarms has feeds `alarm` (cron 5–6 fields, timezone?, trigger_payload, startDate, stopDate), \
                      `interval` (minutes,...), `once` (date, deleteAfterFire false|true|\"rules\").";
const CATALOG: &str = "Catalog packages expected in `/whisk.system`: utils (cat, date, echo, head, hosturl, namespace, smash, sort, split)";
const CLIENTS: &str = "Orchestration is entirely client-side (CLI, npm): create trigger with annotation feed=`<fqn>`, then \
                       blocking-invoke the feed action; on failure delete the trigger.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [life_cycle(), alarms(), catalog()].into_iter().flatten().collect()
}

/// Asks a feed of alarms for something about the trigger `t`.
async fn feed(me: &Guest, name: &str, event: &str, mut parameters: Value) -> Reply {
    parameters["lifecycleEvent"] = json!(event);
    parameters["triggerName"] = json!("/_/t");
    parameters["authKey"] = json!(me.credential);
    let path = format!("/api/v1/namespaces/whisk.system/actions/alarms/{name}?blocking=true&result=true");
    me.post(&path, parameters).await
}

/// A trigger `t` that fires every New Year.
async fn yearly(me: &Guest) {
    trigger(me, "t", json!({})).await.is(200);
    feed(me, "alarm", "CREATE", json!({"cron": "0 0 1 1 *"})).await.is(200).has("status", "success");
}

/// What a feed says of wrong parameters, and that it made nothing.
fn refused(name: &'static str, feed_name: &'static str, parameters: Value, says: &'static str) -> Scenario {
    scenario("5.4", ALARMS, name, async move |me: Guest| {
        trigger(&me, "t", json!({})).await.is(200);
        feed(&me, feed_name, "CREATE", parameters).await.is(502).has("error", says);
        feed(&me, feed_name, "READ", json!({})).await.is(502).has("error", NOT_FOUND);
    })
}

fn life_cycle() -> Vec<Scenario> {
    vec![
        scenario("5.4", LIFE_CYCLE, "a feed is created, read, updated and deleted", async |me| {
            yearly(&me).await;
            let read = feed(&me, "alarm", "READ", json!({})).await.is(200);
            read.has("config/cron", "0 0 1 1 *").has("config/name", "t").has("status/active", true);
            let change = json!({"cron": "0 12 * * MON", "trigger_payload": {"a": 1}});
            feed(&me, "alarm", "UPDATE", change).await.is(200).has("status", "success");
            let read = feed(&me, "alarm", "READ", json!({})).await.is(200);
            read.has("config/cron", "0 12 * * MON").has("config/payload", json!({"a": 1}));
            feed(&me, "alarm", "DELETE", json!({})).await.is(200).has("status", "success");
            feed(&me, "alarm", "READ", json!({})).await.is(502).has("error", NOT_FOUND);
            me.get("triggers/t").await.is(200);
        }),
        scenario("5.4", LIFE_CYCLE, "a feed is paused and goes on", async |me| {
            yearly(&me).await;
            feed(&me, "alarm", "PAUSE", json!({})).await.is(200);
            feed(&me, "alarm", "READ", json!({})).await.is(200).has("status/active", false);
            feed(&me, "alarm", "UNPAUSE", json!({})).await.is(200);
            feed(&me, "alarm", "READ", json!({})).await.is(200).has("status/active", true);
        }),
        scenario("5.4", LIFE_CYCLE, "a feed does not know other events", async |me| {
            yearly(&me).await;
            feed(&me, "alarm", "FIRE", json!({})).await.is(502).has("error", "unsupported lifecycleEvent");
        }),
        scenario("5.4", LIFE_CYCLE, "a feed wants the key of the trigger's owner", async |me| {
            let stranger = me.other().await;
            trigger(&me, "t", json!({})).await.is(200);
            let asked = json!({
                "lifecycleEvent": "CREATE", "triggerName": format!("/{}/t", me.namespace),
                "authKey": stranger.credential, "cron": "* * * * *",
            });
            let path = "/api/v1/namespaces/whisk.system/actions/alarms/alarm?blocking=true&result=true";
            let text =
                format!("The supplied authentication is not authorized to access '{}/t'.", me.namespace);
            stranger.post(path, asked).await.is(502).has("error", text);
        }),
        scenario("5.4", CLIENTS, "a feed of a trigger that is not there is refused", async |me| {
            feed(&me, "alarm", "CREATE", json!({"cron": "* * * * *"})).await.is(502).has("error", NOT_FOUND);
        }),
        scenario("5.4", CLIENTS, "the alarm of a trigger that is deleted goes with it", async |me| {
            yearly(&me).await;
            me.delete("triggers/t").await.is(200);
            trigger(&me, "t", json!({})).await.is(200);
            feed(&me, "alarm", "READ", json!({})).await.is(502).has("error", NOT_FOUND);
        }),
    ]
}

fn alarms() -> Vec<Scenario> {
    vec![
        refused(
            "cron wants a pattern",
            "alarm",
            json!({}),
            "alarms trigger feed is missing the cron parameter",
        ),
        refused("a pattern has to be one", "alarm", json!({"cron": "x"}), "cron pattern 'x' is not valid"),
        refused(
            "a time zone has to be one",
            "alarm",
            json!({"cron": "* * * * *", "timezone": "Mars"}),
            "timezone 'Mars' is not in the time zone database",
        ),
        refused(
            "interval wants minutes",
            "interval",
            json!({}),
            "interval trigger feed is missing the minutes parameter",
        ),
        refused(
            "minutes are whole",
            "interval",
            json!({"minutes": 1.5}),
            "the minutes parameter must be an integer",
        ),
        refused(
            "once wants a date",
            "once",
            json!({}),
            "alarms once trigger feed is missing the date parameter",
        ),
        refused(
            "once is in the future",
            "once",
            json!({"date": "2020-01-01"}),
            "date parameter '2020-01-01' must be in the future",
        ),
        refused(
            "what goes after a fire is one of three",
            "once",
            json!({"date": "2999-01-01", "deleteAfterFire": "all"}),
            "deleteAfterFire parameter must be one of [false, true, rules].",
        ),
    ]
}

fn catalog() -> Vec<Scenario> {
    vec![
        scenario(
            "5.4",
            CATALOG,
            "everyone sees the packages of the system, and what is in them",
            async |me| {
                let utils = me
                    .get("/api/v1/namespaces/whisk.system/packages/utils")
                    .await
                    .is(200)
                    .has("publish", true);
                let Value::Array(actions) = utils.at("actions") else { panic!("actions is a list") };
                let mut names: Vec<_> = actions.iter().filter_map(|action| action["name"].as_str()).collect();
                names.sort_unstable();
                assert_eq!(
                    names,
                    ["cat", "date", "echo", "head", "hosturl", "namespace", "smash", "sort", "split"]
                );
            },
        ),
        scenario("5.4", CATALOG, "the feeds of alarms are listed as feeds", async |me| {
            let alarms = me.get("/api/v1/namespaces/whisk.system/packages/alarms").await.is(200);
            let Value::Array(feeds) = alarms.at("feeds") else { panic!("feeds is a list") };
            let mut names: Vec<_> = feeds.iter().filter_map(|feed| feed["name"].as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, ["alarm", "interval", "once"]);
        }),
    ]
}
