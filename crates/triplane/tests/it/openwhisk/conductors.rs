//! Conductors: actions that say what is run next (section 4.2).

use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, array, scenario, sh};

const CONDUCTOR: &str = "Action with truthy `conductor` annotation (ignored on sequences). Loop: run conductor with payload \
                ⊕ state → result:";
const ERROR: &str = "has `error` → composition ends with that response.";
const END: &str =
    "`action` absent → ends; result = `params` if present else whole result (status of the conductor run).";
const NEXT: &str = "`action` present → resolve name (string; 1–3 segments, `_`, default caller ns), run component with \
                `params` (non-object boxed `{\"value\":x}`; absent → empty object), then re-run conductor with component \
                result overlaid with `state` (non-object state boxed `{\"state\":x}`).";
const FED_BACK: &str = "Failures fed back to the conductor as `{\"error\":...}`+state: `Failed to parse action name from json \
                value <json> during composition.` · `Failed to resolve action with name '<ns/a>' during composition.` · \
                `Failed entitlement check for action with name '<ns/a>' during composition.` · `Too many actions in the \
                composition.` (component count ≥ max). Conductor runs > 2n+1 → ends, application error with the last text.";
const GLOBAL: &str =
    "Limits are global across nested compositions (shared counters); a sequence component counts once.";
const RECORD: &str = "Primary activation like a sequence's: kind \"sequence\", conductor true, topmost, logs = ids of \
                conductor and component runs alternating (odd count normally), memory = max. Secondary runs: cause = \
                primary id, causedBy sequence.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [told_apart(), ends(), steps(), names(), fed_back(), counted(), recorded()]
        .into_iter()
        .flatten()
        .collect()
}

/// Creates a conductor: it says the first of these whose state it is in, `0` at first, and at last what it was given in `params`.
///
/// What it says is JSON; `"state":{"s":N}` leads to the Nth.
async fn conductor(me: &Guest, name: &str, said: &[&str]) -> Reply {
    conductor_with(me, name, said, json!({"conductor": true})).await
}

async fn conductor_with(me: &Guest, name: &str, said: &[&str], annotations: Value) -> Reply {
    let mut script = String::from("case \"$1\" in\n");
    for (number, said) in said.iter().enumerate().skip(1).rev() {
        script += &format!("*'\"s\":{number}'[,}}]*) echo '{said}';;\n");
    }
    script += &format!("*'\"s\":{}'[,}}]*) echo \"{{\\\"params\\\": $1}}\";;\n", said.len());
    script += &format!("*) echo '{}';;\nesac", said.first().copied().unwrap_or("{}"));
    me.put(
        &format!("actions/{name}?overwrite=true"),
        json!({"exec": sh(&script), "annotations": array(annotations)}),
    )
    .await
    .is(200)
}

/// The number of logs.
fn runs(reply: &Reply) -> usize {
    reply.at("logs").as_array().map_or(0, Vec::len)
}

fn told_apart() -> Vec<Scenario> {
    const STEP: &str = r#"{"action":"a","state":{"s":1}}"#;
    vec![
        scenario("4.2", CONDUCTOR, "any truthy annotation makes a conductor", async |me| {
            me.create_echo("a").await;
            for truthy in [json!(true), json!(1), json!("yes"), json!({"type": "action"}), json!([])] {
                conductor_with(&me, "c", &[STEP], json!({"conductor": truthy})).await;
                me.invoke("c", json!({})).await.is(200).annotated("conductor", true);
            }
        }),
        scenario("4.2", CONDUCTOR, "an annotation that is not truthy makes none", async |me| {
            me.create_echo("a").await;
            for untruthy in [json!(false), json!(0), json!(""), Value::Null] {
                conductor_with(&me, "c", &[STEP], json!({"conductor": untruthy})).await;
                let reply = me.invoke("c", json!({})).await.is(200).annotated("conductor", Value::Null);
                reply.has("response/result", json!({"action": "a", "state": {"s": 1}}));
            }
        }),
        scenario("4.2", CONDUCTOR, "a sequence with the annotation is a sequence", async |me| {
            me.create_sh("a", "echo '{\"action\": \"none\"}'").await;
            let exec = json!({"kind": "sequence", "components": ["/_/a"]});
            let body = json!({"exec": exec, "annotations": array(json!({"conductor": true}))});
            me.put("actions/s", body).await.is(200);
            let reply = me.invoke("s", json!({})).await.is(200).annotated("conductor", Value::Null);
            reply.has("response/result", json!({"action": "none"}));
        }),
        scenario(
            "4.2",
            CONDUCTOR,
            "a conductor is first run with the payload and its own parameters",
            async |me| {
                conductor(&me, "c", &[]).await;
                me.put("actions/c?overwrite=true", json!({"exec": sh("echo \"{\\\"params\\\": $1}\""), "parameters": array(json!({"p": 1, "q": 2}))}))
                .await
                .is(200);
                me.result("c", json!({"q": 3})).await.is(200).is_json(json!({"p": 1, "q": 3}));
            },
        ),
    ]
}

fn ends() -> Vec<Scenario> {
    vec![
        scenario("4.2", ERROR, "an error of the conductor is the answer", async |me| {
            conductor(&me, "c", &[r#"{"error":"no","action":"a","params":{}}"#]).await;
            let reply =
                me.invoke("c", json!({})).await.is(502).has("response/result", json!({"error": "no"}));
            let once = runs(&reply) == 1;
            reply.has("response/status", "application error").holds(once, || "one run".to_owned());
        }),
        scenario("4.2", END, "a conductor that names no action answers its params", async |me| {
            conductor(&me, "c", &[r#"{"params":{"k":1},"other":2}"#]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"k": 1}));
        }),
        scenario("4.2", END, "params that are no object are answered in a box", async |me| {
            for (params, answered) in
                [("7", json!({"value": 7})), ("[1]", json!({"value": [1]})), ("null", json!({"value": null}))]
            {
                conductor(&me, "c", &[&format!(r#"{{"params":{params}}}"#)]).await;
                me.result("c", json!({})).await.is(200).is_json(answered);
            }
        }),
        scenario("4.2", END, "a conductor without params answers all that it said", async |me| {
            conductor(&me, "c", &[r#"{"k":1,"state":{"x":2}}"#]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"k": 1, "state": {"x": 2}}));
        }),
        scenario("4.2", END, "a conductor that crashes ends the composition with its status", async |me| {
            me.put(
                "actions/c",
                json!({"exec": sh("exit 1"), "annotations": array(json!({"conductor": true}))}),
            )
            .await
            .is(200);
            me.put("actions/plain", json!({"exec": sh("exit 1")})).await.is(200);
            let status = me.invoke("plain", json!({})).await.is(502).at("response/status");
            me.invoke("c", json!({}))
                .await
                .is(502)
                .has("response/status", status)
                .annotated("conductor", true);
        }),
    ]
}

fn steps() -> Vec<Scenario> {
    vec![
        scenario(
            "4.2",
            NEXT,
            "an action gets the params and its result comes back with the state",
            async |me| {
                me.create_sh("a", "echo \"{\\\"got\\\": $1}\"").await;
                conductor(&me, "c", &[r#"{"action":"a","params":{"k":1},"state":{"s":1,"kept":true}}"#])
                    .await;
                me.result("c", json!({}))
                    .await
                    .is(200)
                    .is_json(json!({"got": {"k": 1}, "s": 1, "kept": true}));
            },
        ),
        scenario("4.2", NEXT, "the state wins over the result", async |me| {
            me.create_sh("a", "echo '{\"kept\": \"result\", \"mine\": 1}'").await;
            conductor(&me, "c", &[r#"{"action":"a","state":{"s":1,"kept":"state"}}"#]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"kept": "state", "mine": 1, "s": 1}));
        }),
        scenario("4.2", NEXT, "params that are no object are boxed", async |me| {
            me.create_echo("a").await;
            conductor(&me, "c", &[r#"{"action":"a","params":[1,2],"state":{"s":1}}"#]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"value": [1, 2], "s": 1}));
        }),
        scenario("4.2", NEXT, "without params an action gets an empty object", async |me| {
            me.create_sh("a", "echo \"{\\\"got\\\": $1}\"").await;
            conductor(&me, "c", &[r#"{"action":"a","state":{"s":1}}"#]).await;
            me.result("c", json!({"ignored": 1})).await.is(200).is_json(json!({"got": {}, "s": 1}));
        }),
        scenario("4.2", NEXT, "a state that is no object is boxed", async |me| {
            me.create_echo("a").await;
            let script = "case \"$1\" in *'\"state\":7'*) echo \"{\\\"params\\\": $1}\";; *) echo '{\"action\":\"a\",\"state\":7}';; esac";
            me.put("actions/c", json!({"exec": sh(script), "annotations": array(json!({"conductor": 1}))}))
                .await
                .is(200);
            me.result("c", json!({})).await.is(200).is_json(json!({"state": 7}));
        }),
        scenario("4.2", NEXT, "a state is for the next run only", async |me| {
            me.create_echo("a").await;
            let first = r#"{"action":"a","state":{"s":1,"once":true}}"#;
            conductor(&me, "c", &[first, r#"{"action":"a","params":{"s":2}}"#]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"s": 2}));
        }),
        scenario("4.2", NEXT, "an error of a component is fed back with the state", async |me| {
            me.create_sh("no", "echo '{\"error\": \"no\"}'").await;
            conductor(&me, "c", &[r#"{"action":"no","state":{"s":1}}"#]).await;
            me.invoke("c", json!({}))
                .await
                .is(200)
                .has("response/result/error", "no")
                .has("response/result/s", 1);
        }),
        scenario("4.2", NEXT, "an action may be a sequence", async |me| {
            me.create_echo("a").await;
            let exec = json!({"kind": "sequence", "components": ["/_/a", "/_/a"]});
            me.put("actions/seq", json!({ "exec": exec })).await.is(200);
            conductor(&me, "c", &[r#"{"action":"seq","params":{"k":1},"state":{"s":1}}"#]).await;
            let reply =
                me.invoke("c", json!({})).await.is(200).has("response/result", json!({"k": 1, "s": 1}));
            let logs = reply.at("logs");
            let inner = me.record(logs[1].as_str().unwrap()).await.has("name", "seq");
            inner.has("cause", reply.at("activationId")).annotated("topmost", false);
        }),
        scenario("4.2", NEXT, "an action may be a conductor", async |me| {
            me.create_echo("a").await;
            conductor(&me, "inner", &[r#"{"action":"a","params":{"s":1}}"#]).await;
            conductor(&me, "c", &[r#"{"action":"inner","state":{"s":1}}"#]).await;
            let reply = me.invoke("c", json!({})).await.is(200);
            let inner = me.record(reply.word("logs/1").as_str()).await.has("name", "inner");
            let inner = inner.annotated("conductor", true).annotated("topmost", false);
            inner.annotated("causedBy", "sequence").has("cause", reply.at("activationId"));
        }),
        scenario("4.2", NEXT, "a conductor may be a component of a sequence", async |me| {
            me.create_echo("a").await;
            conductor(&me, "c", &[r#"{"action":"a","params":{"k":1},"state":{"s":1}}"#]).await;
            let exec = json!({"kind": "sequence", "components": ["/_/a", "/_/c", "/_/a"]});
            me.put("actions/seq", json!({ "exec": exec })).await.is(200);
            let reply =
                me.invoke("seq", json!({})).await.is(200).has("response/result", json!({"k": 1, "s": 1}));
            let three = runs(&reply) == 3;
            reply.annotated("conductor", Value::Null).holds(three, || "three components".to_owned());
        }),
        scenario("4.2", CONDUCTOR, "a composition that is not waited for runs", async |me| {
            me.create_echo("a").await;
            conductor(&me, "c", &[r#"{"action":"a","params":{"k":1},"state":{"s":1}}"#]).await;
            let id = me.post("actions/c", json!({})).await.is(202).word("activationId");
            let record = me.record(&id).await.has("response/result", json!({"k": 1, "s": 1}));
            record.annotated("conductor", true).annotated("topmost", true);
        }),
    ]
}

fn names() -> Vec<Scenario> {
    let told = |name: &'static str, written: fn(&str) -> String| {
        scenario("4.2", NEXT, name, async move |me: Guest| {
            me.create_echo("a").await;
            let step =
                format!(r#"{{"action":"{}","params":{{"k":1}},"state":{{"s":1}}}}"#, written(&me.namespace));
            conductor(&me, "c", &[&step]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"k": 1, "s": 1}));
        })
    };
    vec![
        told("a name alone is of the caller's namespace", |_| "a".to_owned()),
        told("a name with its namespace has a slash before it", |namespace| format!("/{namespace}/a")),
        told("an underscore in the name of an action is the namespace of the caller", |_| "/_/a".to_owned()),
        scenario("4.2", NEXT, "a name of two or three parts is of an action in a package", async |me| {
            me.put("packages/p", json!({"parameters": array(json!({"p": 1}))})).await.is(200);
            me.create_echo("p/a").await;
            for written in
                ["p/a".to_owned(), format!("{}/p/a", me.namespace), format!("/{}/p/a", me.namespace)]
            {
                conductor(&me, "c", &[&format!(r#"{{"action":"{written}","state":{{"s":1}}}}"#)]).await;
                me.result("c", json!({})).await.is(200).is_json(json!({"p": 1, "s": 1}));
            }
        }),
        scenario("4.2", NEXT, "a conductor calls what is in a public package of somebody else", async |me| {
            let provider = me.other().await;
            provider.put("packages/p", json!({"publish": true})).await.is(200);
            provider.create_echo("p/a").await;
            let step =
                format!(r#"{{"action":"/{}/p/a","params":{{"k":1}},"state":{{"s":1}}}}"#, provider.namespace);
            conductor(&me, "c", &[&step]).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"k": 1, "s": 1}));
        }),
        scenario(
            "4.2",
            CONDUCTOR,
            "a conductor behind a binding has the parameters of that in each run",
            async |me| {
                me.put("packages/p", json!({})).await.is(200);
                conductor(&me, "p/c", &[r#"{"action":"none","state":{"s":1}}"#]).await;
                let binding = json!({"namespace": "_", "name": "p"});
                me.put("packages/b", json!({"binding": binding, "parameters": array(json!({"q": 2}))}))
                    .await
                    .is(200);
                let reply = me.invoke("b/c", json!({})).await.is(200).has("response/result/q", 2);
                reply.annotated("binding", format!("{}/b", me.namespace));
            },
        ),
    ]
}

fn fed_back() -> Vec<Scenario> {
    async fn told(me: &Guest, action: &str, text: &str) {
        conductor(me, "c", &[&format!(r#"{{"action":{action},"state":{{"s":1}}}}"#)]).await;
        let reply = me.invoke("c", json!({})).await.is(200).has("response/result/error", text);
        let twice = runs(&reply) == 2;
        reply.has("response/result/s", 1).holds(twice, || "two runs of the conductor".to_owned());
    }
    vec![
        scenario("4.2", FED_BACK, "a name that is none is told to the conductor", async |me| {
            for json in ["\"/a\"", "\"a/b/c/d\"", "\"$\"", "null", "1", "{}", "[\"a\"]"] {
                let text = format!("Failed to parse action name from json value {json} during composition.");
                told(&me, json, &text).await;
            }
        }),
        scenario("4.2", FED_BACK, "a name of nothing is told to the conductor", async |me| {
            let text =
                format!("Failed to resolve action with name '{}/none' during composition.", me.namespace);
            told(&me, "\"none\"", &text).await;
        }),
        scenario(
            "4.2",
            FED_BACK,
            "an action that the caller may not call is told to the conductor",
            async |me| {
                let other = me.other().await;
                other.create_echo("a").await;
                let name = format!("{}/a", other.namespace);
                let text =
                    format!("Failed entitlement check for action with name '{name}' during composition.");
                told(&me, &format!("\"/{name}\""), &text).await;
            },
        ),
        scenario("4.2", FED_BACK, "a conductor that heard of an error may go on", async |me| {
            me.create_echo("a").await;
            let steps = [
                r#"{"action":"none","state":{"s":1}}"#,
                r#"{"action":"a","params":{"ok":1},"state":{"s":2}}"#,
            ];
            conductor(&me, "c", &steps).await;
            me.result("c", json!({})).await.is(200).is_json(json!({"ok": 1, "s": 2}));
        }),
        scenario(
            "4.2",
            FED_BACK,
            "a composition of more than fifty actions is told so, and ended at last",
            async |me| {
                me.create_echo("a").await;
                let exec = sh("echo '{\"action\": \"a\"}'");
                me.put("actions/c", json!({"exec": exec, "annotations": array(json!({"conductor": true}))}))
                    .await
                    .is(200);
                let id = me.post("actions/c", json!({})).await.is(202).word("activationId");
                let record = me.record(&id).await.has("response/status", "application error");
                let record =
                    record.has("response/result", json!({"error": "Too many actions in the composition."}));
                let count = runs(&record);
                record
                    .holds(count == 101 + 50, || "101 runs of the conductor and 50 of its action".to_owned());
            },
        ),
    ]
}

fn counted() -> Vec<Scenario> {
    vec![
        scenario("4.2", GLOBAL, "a conductor that calls itself is ended", async |me| {
            let exec = sh("echo '{\"action\": \"c\"}'");
            me.put("actions/c", json!({"exec": exec, "annotations": array(json!({"conductor": true}))}))
                .await
                .is(200);
            let id = me.post("actions/c", json!({})).await.is(202).word("activationId");
            let record = me.record(&id).await.has("response/status", "application error");
            record.has("response/result", json!({"error": "Too many actions in the composition."}));
        }),
        scenario("4.2", GLOBAL, "a sequence in a composition counts as one action", async |me| {
            me.create_echo("a").await;
            let exec = json!({"kind": "sequence", "components": vec!["/_/a"; 30]});
            me.put("actions/seq", json!({ "exec": exec })).await.is(200);
            conductor(
                &me,
                "c",
                &[r#"{"action":"seq","state":{"s":1}}"#, r#"{"action":"seq","state":{"s":2}}"#],
            )
            .await;
            me.invoke("c", json!({})).await.is(200).has("response/result/s", 2);
        }),
        scenario(
            "4.1",
            "Counts one toward rate/concurrency at the door; components are not throttled.",
            "a composition counts once",
            async |me| {
                me.create_echo("a").await;
                let step = |n: usize| format!(r#"{{"action":"a","state":{{"s":{n}}}}}"#);
                let steps: Vec<_> = (1..=10).map(step).collect();
                conductor(&me, "c", &steps.iter().map(String::as_str).collect::<Vec<_>>()).await;
                // 60 calls in a minute are allowed
                for _ in 0..4 {
                    me.invoke("c", json!({})).await.is(200);
                }
            },
        ),
    ]
}

fn recorded() -> Vec<Scenario> {
    vec![
        scenario(
            "4.2",
            RECORD,
            "the record of a composition lists the runs of conductor and actions in turn",
            async |me| {
                me.create_echo("a").await;
                me.create_echo("b").await;
                conductor(
                    &me,
                    "c",
                    &[r#"{"action":"a","state":{"s":1}}"#, r#"{"action":"b","state":{"s":2}}"#],
                )
                .await;
                let reply = me.invoke("c", json!({})).await.is(200);
                let (id, logs) = (reply.at("activationId"), reply.at("logs"));
                let (logs, mut sum) = (logs.as_array().unwrap().clone(), 0);
                assert_eq!(logs.len(), 5);
                for (log, name) in logs.iter().zip(["c", "a", "c", "b", "c"]) {
                    let run =
                        me.record(log.as_str().unwrap()).await.has("name", name).has("cause", id.clone());
                    let run = run.annotated("causedBy", "sequence").annotated("topmost", Value::Null);
                    sum += run.at("duration").as_u64().unwrap();
                }
                me.record(id.as_str().unwrap()).await.has("duration", sum).has("logs", logs);
            },
        ),
        scenario("4.2", RECORD, "the record of a composition has its annotations", async |me| {
            conductor(&me, "c", &[]).await;
            let reply = me.invoke("c", json!({})).await.is(200).annotated("topmost", true);
            let reply = reply.annotated("kind", "sequence").annotated("conductor", true).lacks("cause");
            let reply =
                reply.annotated("path", format!("{}/c", me.namespace)).annotated("causedBy", Value::Null);
            reply.annotated("initTime", Value::Null).annotated("timeout", Value::Null);
        }),
        scenario(
            "4.2",
            RECORD,
            "the limits of a composition have the memory of its largest run",
            async |me| {
                me.create_echo("large").await;
                me.put("actions/large?overwrite=true", json!({"limits": {"memory": 512}})).await.is(200);
                conductor(&me, "c", &[r#"{"action":"large","state":{"s":1}}"#]).await;
                let limits = json!({"limits": {"memory": 128, "timeout": 12345, "logs": 2}});
                me.put("actions/c?overwrite=true", limits).await.is(200);
                let reply = me.invoke("c", json!({})).await.is(200);
                reply.annotated(
                    "limits",
                    json!({"timeout": 12345, "memory": 512, "logs": 2, "concurrency": 1}),
                );
            },
        ),
    ]
}
