//! Limits of a namespace on its web actions and on its fires (section 9.2), with what an operator sets for the namespace.

use serde_json::json;

use super::limits::{set, within_a_minute};
use super::triggers::{fire, lines, listening, rule};
use super::web::{export, visit};
use super::{Reply, Scenario, scenario};

const COUNTED: &str = "Counted: action POST, web action, trigger POST (fire counter only), rule-driven invocations (action counter).";
const RATE: &str = "`Too many requests in the last minute (count: C, allowed: A).`";
const CONCURRENCY: &str = "Concurrency allowed iff inflight < limit.";
const ZERO: &str = "Limit 0 → every call 429 with allowed: 0.";
const KINDS: &str = "Kinds: union of system whitelist and ns `allowedKinds`; empty union = all.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [web_actions(), fires()].into_iter().flatten().collect()
}

/// That it is 429, with a hint when to come again.
fn is_throttled(refused: Reply, text: &str) {
    let refused = refused.is(429).says(text);
    let has_hint = refused.header("retry-after").is_some();
    refused.holds(has_hint, || "a hint when to come again".to_owned());
}

fn web_actions() -> Vec<Scenario> {
    vec![
        scenario("9.2", COUNTED, "calls of web actions and of actions count together", async |me| {
            let third = within_a_minute(me, async |me| {
                export(me, "echo '{}'", json!({})).await;
                set(me, json!({"invocationsPerMinute": 2})).await;
                me.result("a", json!({})).await;
                visit(me, "a.json").await;
                visit(me, "a.json").await
            });
            is_throttled(third.await, "Too many requests in the last minute (count: 3, allowed: 2).");
        })
        .and("9.2", RATE),
        scenario("9.2", CONCURRENCY, "calls of web actions are in flight as those of actions", async |me| {
            export(&me, "sleep 30; echo '{}'", json!({})).await;
            set(&me, json!({"concurrentInvocations": 1})).await;
            me.post("actions/a", json!({})).await.is(202);
            let text = "Too many concurrent requests in flight (count: 1, allowed: 1).";
            is_throttled(visit(&me, "a.json").await, text);
        }),
        scenario("9.2", ZERO, "with no calls in flight every call of a web action is 429", async |me| {
            export(&me, "echo '{}'", json!({})).await;
            set(&me, json!({"concurrentInvocations": 0})).await;
            let text = "Too many concurrent requests in flight (count: 0, allowed: 0).";
            visit(&me, "a.json").await.is(429).says(text);
        }),
        scenario(
            "9.2",
            KINDS,
            "a web action of a kind that is allowed no more cannot be called",
            async |me| {
                export(&me, "echo '{}'", json!({})).await;
                set(&me, json!({"allowedKinds": ["python:3.11"]})).await;
                let kinds =
                    "The supplied authentication is not authorized to access actions of kind 'native:1'.";
                visit(&me, "a.json").await.is(403).says(kinds);
            },
        ),
    ]
}

fn fires() -> Vec<Scenario> {
    vec![
        scenario("9.2", RATE, "fires beyond the rate are 429 and say when to come again", async |me| {
            let second = within_a_minute(me, async |me| {
                listening(me).await;
                set(me, json!({"firesPerMinute": 1})).await;
                fire(me, json!({})).await;
                fire(me, json!({})).await
            });
            is_throttled(second.await, "Too many requests in the last minute (count: 2, allowed: 1).");
        }),
        scenario("9.2", ZERO, "with no fires a minute every fire is 429, and calls are not", async |me| {
            listening(&me).await;
            set(&me, json!({"firesPerMinute": 0})).await;
            fire(&me, json!({})).await.is(429);
            me.result("a", json!({})).await.is(200);
        }),
        scenario("9.2", COUNTED, "a fire counts as a fire only", async |me| {
            listening(&me).await;
            me.delete("rules/r").await.is(200);
            set(&me, json!({"invocationsPerMinute": 0})).await;
            fire(&me, json!({})).await.is(204);
        }),
        scenario(
            "9.2",
            "rule-driven invocations (action counter)",
            "what rules call counts as calls: one past the limit is told in the record of the fire",
            async |me| {
                let (me, fired) = within_a_minute(me, async |me| {
                    listening(me).await;
                    rule(me, "s", "t", "a").await.is(200);
                    set(me, json!({"invocationsPerMinute": 1})).await;
                    (me.clone(), fire(me, json!({})).await.is(202))
                })
                .await;
                let lines = lines(&me, &fired).await;
                let errors: Vec<_> = lines.iter().filter_map(|line| line["error"].as_str()).collect();
                assert_eq!(errors, ["Too many requests in the last minute (count: 2, allowed: 1)."]);
            },
        ),
        scenario(
            "9.2",
            "rule-driven invocations (action counter)",
            "what rules call is in flight like other calls",
            async |me| {
                listening(&me).await;
                set(&me, json!({"concurrentInvocations": 0})).await;
                let fired = fire(&me, json!({})).await.is(202);
                let text = "Too many concurrent requests in flight (count: 0, allowed: 0).";
                assert_eq!(lines(&me, &fired).await[0]["error"], text);
            },
        ),
    ]
}
