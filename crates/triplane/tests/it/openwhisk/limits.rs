//! Limits of namespaces, throttling and kinds (section 9), with the document that an operator writes (section 12.1).

use http::Method;
use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, array, node, scenario};

const OVERRIDES: &str =
    "per-namespace overrides live in doc `<ns>/limits` (12.1) and are clamped to the system range.";
const DOCUMENT: &str = "Limits doc: `{\"_id\":\"guest/limits\", invocationsPerMinute, concurrentInvocations, \
                firesPerMinute, allowedKinds, storeActivations, minActionMemory,...,maxParameterSize,\
                \"maxPayloadSize\",\"truncationSize\", warmedContainerKeepingCount, \
                warmedContainerKeepingTimeout}`.";
const RATE: &str = "`Too many requests in the last minute (count: C, allowed: A).`";
const CONCURRENCY: &str = "`Too many concurrent requests in flight (count: C, allowed: A).`";
const ZERO: &str = "Limit 0 → every call 429 with allowed: 0.";
const KINDS: &str = "Kinds: union of system whitelist and ns `allowedKinds`; empty union = all.";
const EDGE: &str = "owner vs other, 429 before 403, namespace override of each limit, kind whitelist union.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [system(), overrides(), actions(), sizes(), throttles(), order(), kinds(), stored(), blocked()]
        .into_iter()
        .flatten()
        .collect()
}

/// What an operator does about the subject's namespace.
async fn operator(me: &Guest, method: Method, body: Value) -> Reply {
    let path = format!("/admin/v1/namespaces/{}/limits", me.namespace);
    me.stage.admin(method, &path, &body).await
}

/// Sets limits of the subject's namespace.
pub(super) async fn set(me: &Guest, limits: Value) -> Reply {
    operator(me, Method::PATCH, limits).await.is(200)
}

async fn put(me: &Guest, limits: Value) -> Reply {
    me.put("actions/a?overwrite=true", json!({"exec": node("1"), "limits": limits})).await
}

fn minute() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs() / 60
}

/// Tells a story that holds within a minute of the wall clock, by a fresh subject again when a minute began meanwhile.
pub(super) async fn within_a_minute<T>(me: Guest, story: impl AsyncFn(&Guest) -> T) -> T {
    let mut who = me;
    loop {
        let began = minute();
        let told = story(&who).await;
        if minute() == began {
            return told;
        }
        who = who.other().await;
    }
}

fn system() -> Vec<Scenario> {
    let shows = |sentence: &'static str, name: &'static str, key: &'static str, value: Value| {
        scenario("9.1", sentence, name, async move |me| {
            me.get("limits").await.is(200).has(key, value);
        })
    };
    vec![
        shows(
            "| invocations/min per ns | 60 | limits-actions-invokes-perMinute |",
            "a namespace makes 60 calls a minute",
            "invocationsPerMinute",
            json!(60),
        ),
        shows(
            "| concurrent invocations per ns (executing+queued; with FPC: containers) | 30 | \
                limits-actions-invokes-concurrent |",
            "a namespace has 30 calls in flight",
            "concurrentInvocations",
            json!(30),
        ),
        shows(
            "| trigger fires/min per ns | 60 | limits-triggers-fires-perMinute |",
            "a namespace fires 60 times a minute",
            "firesPerMinute",
            json!(60),
        ),
        shows(
            "| timeout min/std/max | 100 ms / 60 s / 300 s | time-limit |",
            "an action may take 300 s",
            "maxActionTimeout",
            json!(300_000),
        ),
        shows(
            "| memory min/std/max | 128/256/512 MB | memory |",
            "an action may have 512 MB",
            "maxActionMemory",
            json!(512),
        ),
        shows(
            "| logs min/std/max | 0/10/10 MB | log-limit |",
            "an action may log 10 MB",
            "maxActionLogs",
            json!(10),
        ),
        shows(
            "| parameters, annotations | 1 MB | parameter-size-limit |",
            "parameters may have 1 MB",
            "maxParameterSize",
            json!("1 MB"),
        ),
        shows(
            "| payload / result | 1 MB, truncation 1 MB, +6068 B bus overhead | activation.payload.{max,truncation}, \
                serdes-overhead |",
            "a payload may have 1 MB",
            "maxPayloadSize",
            json!("1 MB"),
        ),
        scenario(
            "9.1",
            "| container concurrency min/std/max | 1/1/1 | concurrency-limit |",
            "a container runs one call at a time unless the action says otherwise",
            async |me| {
                me.create("a").await.has("limits/concurrency", 1);
                me.get("limits").await.is(200).has("minActionConcurrency", 1);
            },
        ),
    ]
}

fn overrides() -> Vec<Scenario> {
    let each = |key: &'static str, value: Value, name: &'static str| {
        scenario("12.1", DOCUMENT, name, async move |me| {
            set(&me, json!({key: value})).await;
            me.get("limits").await.is(200).has(key, value.clone());
            operator(&me, Method::GET, Value::Null).await.is(200).is_json(json!({key: value}));
        })
        .and("B", EDGE)
    };
    let clamped = |key: &'static str, value: Value, shown: Value, name: &'static str| {
        scenario("9.1", OVERRIDES, name, async move |me| {
            set(&me, json!({key: value})).await;
            me.get("limits").await.is(200).has(key, shown);
        })
    };
    vec![
        each("invocationsPerMinute", json!(7), "the calls of a minute are a namespace's own"),
        each("concurrentInvocations", json!(7), "the calls in flight are a namespace's own"),
        each("firesPerMinute", json!(7), "the fires of a minute are a namespace's own"),
        each("allowedKinds", json!(["nodejs:20", "python:3.11"]), "the kinds are a namespace's own"),
        each("storeActivations", json!(false), "whether activations are stored is a namespace's own"),
        each("minActionMemory", json!(200), "the smallest memory is a namespace's own"),
        each("maxActionMemory", json!(300), "the largest memory is a namespace's own"),
        each("minActionLogs", json!(2), "the smallest logs are a namespace's own"),
        each("maxActionLogs", json!(3), "the largest logs are a namespace's own"),
        each("minActionTimeout", json!(500), "the shortest time is a namespace's own"),
        each("maxActionTimeout", json!(1000), "the longest time is a namespace's own"),
        each("minActionConcurrency", json!(2), "the smallest concurrency is a namespace's own"),
        each("maxActionConcurrency", json!(3), "the largest concurrency is a namespace's own"),
        each("maxParameterSize", json!("2 KB"), "the size of parameters is a namespace's own"),
        each("maxPayloadSize", json!("2 KB"), "the size of payloads is a namespace's own"),
        each("truncationSize", json!("2 KB"), "what is kept of a long result is a namespace's own"),
        each("warmedContainerKeepingCount", json!(2), "the number of kept containers is kept and shown"),
        each("warmedContainerKeepingTimeout", json!("5 minutes"), "their time is kept and shown"),
        clamped("maxActionMemory", json!(4096), json!(512), "no namespace has more memory than the system"),
        clamped("minActionMemory", json!(1), json!(128), "no namespace has less memory than the system"),
        clamped(
            "maxActionTimeout",
            json!(900_000),
            json!(300_000),
            "no namespace has more time than the system",
        ),
        clamped("maxActionLogs", json!(99), json!(10), "no namespace has more logs than the system"),
        clamped("maxPayloadSize", json!("9 GB"), json!("1 MB"), "no payload is larger than the system's"),
        clamped(
            "maxParameterSize",
            json!("9 GB"),
            json!("1 MB"),
            "no parameters are larger than the system's",
        ),
        scenario("9.1", OVERRIDES, "limits that are taken back are the system's again", async |me| {
            set(&me, json!({"invocationsPerMinute": 7, "maxActionMemory": 128})).await;
            operator(&me, Method::DELETE, Value::Null).await.is(200).has("message", "Limits deleted");
            me.get("limits").await.is(200).has("invocationsPerMinute", 60).has("maxActionMemory", 512);
        }),
        scenario("9.1", OVERRIDES, "what is set for one namespace is not for another", async |me| {
            set(&me, json!({"invocationsPerMinute": 7})).await;
            me.other().await.get("limits").await.is(200).has("invocationsPerMinute", 60);
        }),
    ]
}

fn actions() -> Vec<Scenario> {
    let held = |limits: Value, wanted: Value, text: &'static str, name: &'static str| {
        scenario("9.1", OVERRIDES, name, async move |me| {
            set(&me, limits).await;
            put(&me, wanted).await.is(400).mentions(text);
            me.get("actions/a").await.is(404);
        })
        .and("B", EDGE)
    };
    vec![
        held(
            json!({"maxActionMemory": 200}),
            json!({"memory": 201}),
            "memory size 201 MB exceeds allowed threshold of 200 MB",
            "an action may not have more memory than its namespace allows",
        ),
        held(
            json!({"minActionMemory": 200}),
            json!({"memory": 199}),
            "memory size 199 MB below allowed threshold of 200 MB",
            "an action may not have less memory than its namespace allows",
        ),
        held(
            json!({"maxActionTimeout": 1000}),
            json!({"timeout": 1001}),
            "duration 1001 milliseconds exceeds allowed threshold of 1000 milliseconds",
            "an action may not take longer than its namespace allows",
        ),
        held(
            json!({"minActionTimeout": 1000}),
            json!({"timeout": 999}),
            "duration 999 milliseconds below allowed threshold of 1000 milliseconds",
            "an action may not be cut off earlier than its namespace allows",
        ),
        held(
            json!({"maxActionLogs": 1}),
            json!({"logs": 2}),
            "log size 2 MB exceeds allowed threshold of 1 MB",
            "an action may not log more than its namespace allows",
        ),
        held(
            json!({"maxActionConcurrency": 4}),
            json!({"concurrency": 5}),
            "concurrency 5 exceeds allowed threshold of 4",
            "a container may not run more calls at once than its namespace allows",
        ),
        held(
            json!({"concurrentInvocations": 4}),
            json!({"instances": 5}),
            "Max action instance concurrency must not exceed your namespace concurrency of 4.",
            "an action may not have more containers than its namespace has calls in flight",
        ),
        scenario("9.1", OVERRIDES, "what an action does not name stays within its namespace", async |me| {
            set(&me, json!({"maxActionMemory": 200, "maxActionTimeout": 1000, "maxActionLogs": 1})).await;
            put(&me, json!({}))
                .await
                .is(200)
                .has("limits", json!({"memory": 200, "timeout": 1000, "logs": 1, "concurrency": 1}));
        }),
    ]
}

fn sizes() -> Vec<Scenario> {
    vec![
        scenario("9.1", OVERRIDES, "parameters larger than the namespace allows are 413", async |me| {
            set(&me, json!({"maxParameterSize": "10 B"})).await;
            let body = json!({"exec": node("1"), "parameters": array(json!({"name": "long value"}))});
            me.put("actions/a", body).await.is(413).says("parameters larger than allowed: 16 > 10 bytes.");
        })
        .and("B", EDGE),
        scenario("9.1", OVERRIDES, "a payload larger than the namespace allows is 413", async |me| {
            me.create_echo("a").await;
            set(&me, json!({"maxPayloadSize": "100 B"})).await;
            let long = json!({"text": "x".repeat(100)});
            let bytes = long.to_string().len();
            let refusal = format!("Request larger than allowed: {bytes} > 100 bytes.");
            me.invoke("a", long).await.is(413).says(&refusal);
            me.result("a", json!({"text": "x"})).await.is(200).is_json(json!({"text": "x"}));
        })
        .and("B", EDGE),
        scenario("9.1", OVERRIDES, "a result larger than the namespace allows is cut", async |me| {
            me.create_sh("a", "echo '{\"text\":\"0123456789012345678901234567890123456789\"}'").await;
            set(&me, json!({"maxPayloadSize": "20 B", "truncationSize": "5 B"})).await;
            let text = "The action produced a response that exceeded the allowed length: 51 > 20 bytes. The truncated \
                response was: {\"tex";
            me.result("a", json!({})).await.is(502).has("error", text);
        })
        .and("B", EDGE),
    ]
}

fn throttles() -> Vec<Scenario> {
    vec![
        scenario("9.2", RATE, "calls beyond the rate are 429 and say when to come again", async |me| {
            let refused = within_a_minute(me, async |me| {
                me.create_echo("a").await;
                set(me, json!({"invocationsPerMinute": 2})).await;
                for _ in 0..2 {
                    me.result("a", json!({})).await;
                }
                me.result("a", json!({})).await
            });
            let refused = refused.await.is(429);
            let refused = refused.says("Too many requests in the last minute (count: 3, allowed: 2).");
            let seconds = refused.header("retry-after").and_then(|value| value.parse::<u64>().ok());
            let is_within = seconds.is_some_and(|seconds| (1..=60).contains(&seconds));
            refused.holds(is_within, || "the seconds that are left of the minute".to_owned());
        }),
        scenario(
            "9.2",
            "count includes rejected calls, allowed iff count ≤ limit",
            "refused calls count too",
            async |me| {
                let third = within_a_minute(me, async |me| {
                    set(me, json!({"invocationsPerMinute": 1})).await;
                    for _ in 0..2 {
                        me.result("none", json!({})).await;
                    }
                    me.result("none", json!({})).await
                });
                third.await.is(429).says("Too many requests in the last minute (count: 3, allowed: 1).");
            },
        ),
        scenario("9.2", ZERO, "with no calls a minute every call is 429", async |me| {
            me.create_echo("a").await;
            set(&me, json!({"invocationsPerMinute": 0})).await;
            let refused = me.result("a", json!({})).await.is(429);
            refused.says("Too many requests in the last minute (count: 1, allowed: 0).");
        }),
        scenario("9.2", ZERO, "with no calls in flight every call is 429", async |me| {
            me.create_echo("a").await;
            set(&me, json!({"concurrentInvocations": 0})).await;
            let refused = me.result("a", json!({})).await.is(429);
            refused.says("Too many concurrent requests in flight (count: 0, allowed: 0).");
        })
        .and("9.2", CONCURRENCY),
        scenario(
            "9.2",
            CONCURRENCY,
            "calls beyond those in flight are 429 and say when to come again",
            async |me| {
                me.create_sh("slow", "sleep 30; echo '{}'").await;
                set(&me, json!({"concurrentInvocations": 1})).await;
                me.post("actions/slow", json!({})).await.is(202);
                let refused = me.post("actions/slow", json!({})).await.is(429);
                let refused = refused.says("Too many concurrent requests in flight (count: 1, allowed: 1).");
                let has_hint = refused.header("retry-after").is_some();
                refused.holds(has_hint, || "a hint when to come again".to_owned());
            },
        ),
        scenario(
            "9.2",
            "Concurrency allowed iff inflight < limit.",
            "a call that ended makes room",
            async |me| {
                me.create_echo("a").await;
                set(&me, json!({"concurrentInvocations": 1})).await;
                for _ in 0..3 {
                    me.result("a", json!({})).await.is(200);
                }
            },
        ),
        scenario("9.2", "Order: rate then concurrency.", "beyond both limits the rate is told", async |me| {
            set(&me, json!({"invocationsPerMinute": 0, "concurrentInvocations": 0})).await;
            me.result("a", json!({})).await.is(429).mentions("Too many requests in the last minute");
        }),
        scenario(
            "9.2",
            "Counted: action POST, web action, trigger POST (fire counter only), rule-driven invocations (action \
                counter).",
            "what is no invocation is not counted",
            async |me| {
                me.create("a").await;
                set(&me, json!({"invocationsPerMinute": 0, "concurrentInvocations": 0})).await;
                me.get("actions/a").await.is(200);
                me.get("actions").await.is(200);
                me.get("activations").await.is(200);
                me.put("actions/a?overwrite=true", json!({})).await.is(200);
                me.delete("actions/a").await.is(200);
            },
        ),
        scenario(
            "9.2",
            "Rate windows are wall-clock minutes (counter resets when epoch-minute changes), keyed by namespace uuid",
            "the calls of one namespace do not count for another",
            async |me| {
                let other = me.other().await;
                other.create_echo("a").await;
                set(&me, json!({"invocationsPerMinute": 0})).await;
                me.result("a", json!({})).await.is(429);
                other.result("a", json!({})).await.is(200);
            },
        ),
        scenario("9.2", RATE, "a limit that is raised holds at once", async |me| {
            me.create_echo("a").await;
            set(&me, json!({"invocationsPerMinute": 0})).await;
            me.result("a", json!({})).await.is(429);
            set(&me, json!({"invocationsPerMinute": 100})).await;
            me.result("a", json!({})).await.is(200);
        }),
    ]
}

fn order() -> Vec<Scenario> {
    let first = |name: &'static str, path: fn(&Guest) -> String, body: Value| {
        scenario("9.2", RATE, name, async move |me| {
            let other = me.other().await;
            other.create("private").await;
            set(&me, json!({"invocationsPerMinute": 0})).await;
            me.post(&path(&other), body).await.is(429);
        })
        .and("B", EDGE)
    };
    vec![
        first(
            "429 comes before 403",
            |other| format!("/api/v1/namespaces/{}/actions/private", other.namespace),
            json!({}),
        ),
        first("429 comes before 404", |_| "actions/none".to_owned(), json!({})),
        first("429 comes before a bad payload", |_| "actions/none".to_owned(), json!([])),
        first("429 comes before a bad query", |_| "actions/none?timeout=x".to_owned(), json!({})),
        scenario("9.2", RATE, "a bad name comes before 429", async |me| {
            set(&me, json!({"invocationsPerMinute": 0})).await;
            me.post("actions/$x", json!({})).await.is(400);
        }),
        scenario("9.2", RATE, "bad credentials come before 429", async |me| {
            set(&me, json!({"invocationsPerMinute": 0})).await;
            me.post("actions/a", json!({})).credential("a:b").await.is(401);
        }),
    ]
}

fn kinds() -> Vec<Scenario> {
    const TEXT: &str = "The supplied authentication is not authorized to access actions of kind 'nodejs:20'.";
    vec![
        scenario("9.2", KINDS, "an action of a kind that is not allowed cannot be created", async |me| {
            set(&me, json!({"allowedKinds": ["python:3.11"]})).await;
            me.put("actions/a", json!({"exec": node("1")})).await.is(403).says(TEXT);
            me.get("actions/a").await.is(404);
        })
        .and("1.3", "`The supplied authentication is not authorized to access actions of kind '<kind>'.`")
        .and("B", EDGE),
        scenario("9.2", KINDS, "an action of a kind that is allowed no more cannot be called", async |me| {
            me.create("a").await;
            set(&me, json!({"allowedKinds": ["python:3.11"]})).await;
            me.invoke("a", json!({})).await.is(403).says(TEXT);
            me.get("actions/a").await.is(200);
            me.delete("actions/a").await.is(200);
        }),
        scenario("9.2", KINDS, "a list of kinds that is empty allows all", async |me| {
            set(&me, json!({"allowedKinds": []})).await;
            me.create("a").await;
        }),
        scenario("9.2", KINDS, "an action of a kind that is listed can be created and called", async |me| {
            set(&me, json!({"allowedKinds": ["native:1"]})).await;
            me.create_echo("a").await;
            me.result("a", json!({"a": 1})).await.is(200).is_json(json!({"a": 1}));
        }),
    ]
}

fn stored() -> Vec<Scenario> {
    vec![
        scenario("12.1", DOCUMENT, "a namespace that stores no activations has no records", async |me| {
            me.create_echo("a").await;
            set(&me, json!({"storeActivations": false})).await;
            let id = me.invoke("a", json!({})).await.is(200).word("activationId");
            me.get(&format!("activations/{id}")).await.is(404);
            me.get("activations").await.is(200).is_json(json!([]));
            set(&me, json!({"storeActivations": true})).await;
            let id = me.invoke("a", json!({})).await.is(200).word("activationId");
            me.record(&id).await;
        }),
        scenario(
            "12.1",
            DOCUMENT,
            "extra logging does not store what the namespace does not store",
            async |me| {
                me.create_echo("a").await;
                set(&me, json!({"storeActivations": false})).await;
                let answer = me.invoke("a", json!({})).header("X-OW-EXTRA-LOGGING", "on").await.is(200);
                me.get(&format!("activations/{}", answer.word("activationId"))).await.is(404);
            },
        ),
    ]
}

fn blocked() -> Vec<Scenario> {
    const BLOCKED: &str = "A blocked subject's key stops authenticating (401).";
    vec![scenario(
        "9.2",
        BLOCKED,
        "the key of a blocked subject is refused at once, and taken again",
        async |me| {
            me.create_echo("a").await;
            me.result("a", json!({})).await.is(200);
            let user = format!("/admin/v1/users/{}", me.namespace);
            me.stage.admin(Method::POST, &format!("{user}/block"), &json!({})).await.is(200);
            me.result("a", json!({})).await.is(401).says("The supplied authentication is invalid");
            me.get("actions").await.is(401);
            me.stage.admin(Method::POST, &format!("{user}/unblock"), &json!({})).await.is(200);
            me.result("a", json!({})).await.is(200);
        },
    )]
}
