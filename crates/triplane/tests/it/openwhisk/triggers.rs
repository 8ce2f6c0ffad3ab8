//! Triggers and their fires (section 5.2).

use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, array, node, scenario};

const TRIGGER: &str = "PUT body: parameters, annotations, `limits` {} , publish, version. GET adds `parameters`, `limits:{}`, and \
                       `rules` (absent until a rule exists)";
const FEED: &str =
    "Annotation `feed` must be a string that parses as a path else 400 `Feed name is not valid`.";
const FIRED: &str =
    "≥1 active rule → 202 `{\"activationId\"}` + header; otherwise **204** no body, no activation stored.";
const ARGUMENTS: &str = "Args given to actions = trigger parameters ⊕ `{\"__ow_headers\": {lowercased request headers}}` ⊕ payload.";
const RECORD: &str = "The trigger activation's result = posted payload only (`{}` if none), status success, annotations [], no \
                      end/duration, stored after all rules were posted";
const INACTIVE: &str =
    "inactive rule: statusCode 1, `Rule 'ns/r' is inactive, action 'ns/a' was not activated.`";
const GONE: &str = "deleted action: statusCode 1, `The requested resource does not exist.`";
pub(super) const NOT_FOUND: &str = "The requested resource does not exist.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [triggers(), fires(), records()].into_iter().flatten().collect()
}

pub(super) async fn trigger(me: &Guest, name: &str, fields: Value) -> Reply {
    me.put(&format!("triggers/{name}"), fields).await
}

/// Puts a rule from a trigger to an action of the own namespace.
pub(super) async fn rule(me: &Guest, name: &str, trigger: &str, action: &str) -> Reply {
    let fields = json!({"trigger": format!("/_/{trigger}"), "action": format!("/_/{action}")});
    me.put(&format!("rules/{name}"), fields).await
}

pub(super) async fn set(me: &Guest, name: &str, status: &str) -> Reply {
    me.post(&format!("rules/{name}"), json!({ "status": status })).await
}

/// A trigger `t` with a rule `r` to an action `a` that answers its arguments.
pub(super) async fn listening(me: &Guest) {
    trigger(me, "t", json!({})).await.is(200);
    me.create_echo("a").await;
    rule(me, "r", "t", "a").await.is(200);
}

pub(super) async fn fire(me: &Guest, payload: Value) -> Reply {
    me.post("triggers/t", payload).await
}

/// What the record of a fire says of its rules.
pub(super) async fn lines(me: &Guest, fired: &Reply) -> Vec<Value> {
    let record = me.record(&fired.word("activationId")).await.json();
    let lines = record["logs"].as_array().unwrap();
    lines.iter().map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap()).collect()
}

/// The record of what the only rule of a fire called.
pub(super) async fn called(me: &Guest, fired: &Reply) -> Reply {
    let lines = lines(me, fired).await;
    me.record(lines[0]["activationId"].as_str().unwrap()).await
}

fn triggers() -> Vec<Scenario> {
    vec![
        scenario("5.2", TRIGGER, "a trigger is created with its fields", async |me| {
            let fields = json!({
                "parameters": array(json!({"a": 1})), "annotations": array(json!({"b": 2})), "limits": {},
                "version": "1.0.0", "publish": true,
            });
            let reply = trigger(&me, "t", fields).await.is(200);
            let updated = reply.at("updated");
            let expected = json!({
                "namespace": me.namespace, "name": "t", "version": "1.0.0", "publish": true, "limits": {},
                "parameters": [{"key": "a", "value": 1}], "annotations": [{"key": "b", "value": 2}],
                "updated": updated,
            });
            reply.is_json(expected.clone());
            me.get("triggers/t").await.is(200).is_json(expected);
        }),
        scenario(
            "A",
            "GET trigger with a rule:",
            "a trigger with a rule has the shape of OpenWhisk's",
            async |me| {
                listening(&me).await;
                let reply = me.get("triggers/t").await.is(200);
                let updated = reply.at("updated");
                let name = format!("{}/r", me.namespace);
                reply.is_json(json!({
                    "annotations": [], "limits": {}, "name": "t", "namespace": me.namespace, "parameters": [],
                    "publish": false, "updated": updated, "version": "0.0.1",
                    "rules": {name: {"action": {"name": "a", "path": me.namespace}, "status": "active"}},
                }));
            },
        ),
        scenario(
            "A",
            "(The trigger's version does not change when rules link to it; only PUTs of the trigger bump it.)",
            "a rule does not count the version of its trigger up",
            async |me| {
                listening(&me).await;
                me.get("triggers/t").await.is(200).has("version", "0.0.1");
                trigger(&me, "t?overwrite=true", json!({})).await.is(200).has("version", "0.0.2");
                set(&me, "r", "inactive").await.is(200);
                me.get("triggers/t").await.is(200).has("version", "0.0.2");
            },
        ),
        scenario(
            "5.2",
            "`rules` (absent until a rule exists)",
            "an update of a trigger keeps its rules",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200).lacks("rules");
                listening_to_it(&me).await;
                let reply = trigger(&me, "t?overwrite=true", json!({"annotations": []})).await.is(200);
                let status = reply.at("rules")[format!("{}/r", me.namespace)]["status"].clone();
                reply.holds(status == "active", || "its rule, active".to_owned());
            },
        ),
        scenario("5.2", FEED, "a feed has to be a path", async |me| {
            for feed in [json!(1), json!({}), json!(""), json!("a b/$")] {
                let fields = json!({"annotations": array(json!({ "feed": feed }))});
                trigger(&me, "t", fields).await.is(400).says("Feed name is not valid");
            }
            let fields = json!({"annotations": array(json!({"feed": "/whisk.system/alarms/alarm"}))});
            trigger(&me, "t", fields).await.is(200);
        })
        .and("B", "feed annotation non-string 400"),
        scenario(
            "1.9",
            "triggers | namespace, name, version, publish, annotations, updated (no parameters, rules)",
            "a list of triggers shows summaries",
            async |me| {
                listening(&me).await;
                let list = me.get("triggers").await.is(200);
                let updated = list.at("0/updated");
                list.is_json(json!([{
                    "namespace": me.namespace, "name": "t", "version": "0.0.1", "publish": false, "annotations": [],
                    "updated": updated,
                }]));
                me.get("triggers?count=true").await.is(200).is_json(json!({"triggers": 1}));
            },
        ),
        scenario(
            "1.7",
            "Exists and false → 409.",
            "a trigger is not written over by accident",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                trigger(&me, "t", json!({})).await.is(409).says("resource already exists");
                let fields = json!({"parameters": array(json!({"a": 1}))});
                trigger(&me, "t?overwrite=true", fields).await.is(200).keyed("parameters", "a", 1);
            },
        ),
        scenario(
            "1.7",
            "DELETE → 200 with the deleted entity.",
            "a deleted trigger is answered",
            async |me| {
                let created = trigger(&me, "t", json!({})).await.is(200).json();
                me.delete("triggers/t").await.is(200).is_json(created);
                me.get("triggers/t").await.is(404).says(NOT_FOUND);
                me.delete("triggers/t").await.is(404).says(NOT_FOUND);
            },
        ),
        scenario(
            "1.5",
            "(an action and a trigger cannot share a name)",
            "an action and a trigger do not share a name",
            async |me| {
                let conformance = "Resource by this name exists but is not in this collection.";
                trigger(&me, "x", json!({})).await.is(200);
                me.put("actions/x", json!({"exec": node("1")})).await.is(409).says(conformance);
                me.get("actions/x").await.is(409).says(conformance);
                me.get("rules/x").await.is(409).says(conformance);
                me.post("actions/x", json!({})).await.is(409).says(conformance);
                me.post("actions/x/y", json!({})).await.is(409).says(conformance);
                me.create("a").await;
                me.post("triggers/a", json!({})).await.is(409).says(conformance);
            },
        ),
    ]
}

/// An action `a` and a rule `r` to it from the trigger `t` that is there.
async fn listening_to_it(me: &Guest) {
    me.create("a").await;
    rule(me, "r", "t", "a").await.is(200);
}

fn fires() -> Vec<Scenario> {
    vec![
        scenario("5.2", FIRED, "a fire with an active rule is 202 and runs its action", async |me| {
            listening(&me).await;
            let fired = fire(&me, json!({"x": 1})).await.is(202);
            let id = fired.word("activationId");
            let fired = fired.has_header("x-openwhisk-activation-id", &id);
            called(&me, &fired).await.has("response/result/x", 1).has("name", "a");
        })
        .and("B", "fire with/without rules 202/204"),
        scenario(
            "5.2",
            "otherwise **204** no body, no activation stored.",
            "a fire without rules is 204",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                fire(&me, json!({})).await.is(204).is_text("").lacks_header("x-openwhisk-activation-id");
                me.get("activations").await.is(200).is_json(json!([]));
            },
        )
        .and("16", "Trigger with no active rule: 204, no record."),
        scenario(
            "5.2",
            "otherwise **204** no body",
            "a fire with rules that are all off is 204",
            async |me| {
                listening(&me).await;
                set(&me, "r", "inactive").await.is(200);
                fire(&me, json!({})).await.is(204);
                set(&me, "r", "active").await.is(200);
                fire(&me, json!({})).await.is(202);
            },
        ),
        scenario("5.2", ARGUMENTS, "what is posted wins over the trigger's parameters", async |me| {
            let fields = json!({"parameters": array(json!({"a": "trigger", "b": "trigger"}))});
            trigger(&me, "t", fields).await.is(200);
            me.create_echo("a").await;
            rule(&me, "r", "t", "a").await.is(200);
            let fired = fire(&me, json!({"b": "posted"})).await.is(202);
            let record = called(&me, &fired).await.has("response/result/a", "trigger");
            record.has("response/result/b", "posted");
        }),
        scenario(
            "5.2",
            "`{\"__ow_headers\": {lowercased request headers}}`",
            "the action gets the headers of the fire",
            async |me| {
                listening(&me).await;
                let fired = me.post("triggers/t", json!({})).header("X-Mine", "Yes").await.is(202);
                called(&me, &fired).await.has("response/result/__ow_headers/x-mine", "Yes");
            },
        ),
        scenario(
            "3",
            "Merge: package < binding < action < payload.",
            "what a trigger gives wins over the action's parameters",
            async |me| {
                let fields = json!({"parameters": array(json!({"a": "trigger"}))});
                trigger(&me, "t", fields).await.is(200);
                me.create_echo("act").await;
                let parameters = array(json!({"a": "action", "b": "action"}));
                me.put("actions/act?overwrite=true", json!({ "parameters": parameters })).await.is(200);
                rule(&me, "r", "t", "act").await.is(200);
                let fired = fire(&me, json!({})).await.is(202);
                let record = called(&me, &fired).await.has("response/result/a", "trigger");
                record.has("response/result/b", "action");
            },
        ),
        scenario(
            "5.2",
            "Fire `POST`: payload object ≤ 1 MB.",
            "a payload is an object of a megabyte at most",
            async |me| {
                listening(&me).await;
                for payload in [json!([1]), json!(1), json!("x")] {
                    fire(&me, payload).await.is(400).mentions("The request content was malformed:\n");
                }
                let large = json!({"x": "x".repeat(1024 * 1024)});
                let text = "Request larger than allowed: 1048584 > 1048576 bytes.";
                fire(&me, large).await.is(413).says(text);
                me.call("POST", "triggers/t").await.is(202);
            },
        )
        .and("B", "payload 413"),
        scenario("1.3", "404 | missing entity", "a trigger that is not there cannot be fired", async |me| {
            me.post("triggers/none", json!({})).await.is(404).says(NOT_FOUND);
        }),
        scenario(
            "5.2",
            "one compact JSON string per rule",
            "all rules of a trigger are called, each with an activation of its own",
            async |me| {
                listening(&me).await;
                me.create_echo("b").await;
                rule(&me, "r2", "t", "b").await.is(200);
                let fired = fire(&me, json!({"x": 1})).await.is(202);
                for (line, action) in lines(&me, &fired).await.iter().zip(["a", "b"]) {
                    let record = me.record(line["activationId"].as_str().unwrap()).await.has("name", action);
                    record.has("response/result/x", 1);
                }
            },
        ),
        scenario(
            "5.2",
            "Rule actions are invoked non-blocking as the firing user, each counts toward the invocation throttle; their \
             activations have no `cause`.",
            "the activation of a rule's action belongs to who fired and has no cause",
            async |me| {
                listening(&me).await;
                let fired = fire(&me, json!({})).await.is(202);
                let record = called(&me, &fired).await.lacks("cause").has("namespace", &*me.namespace);
                record.has("subject", &*me.namespace);
            },
        ),
        scenario(
            "9.2",
            "trigger POST (fire counter only)",
            "more fires than the minute allows are 429",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                let mut refused = None;
                // A minute may end in between, and a new one allows as many again.
                for _ in 0..130 {
                    let fired = fire(&me, json!({})).await.is_one_of(&[204, 429]);
                    if fired.status() == 429 {
                        refused = Some(fired);
                        break;
                    }
                }
                let refused = refused.expect("more fires than allowed are refused");
                refused.says("Too many requests in the last minute (count: 61, allowed: 60).");
                me.create_echo("a").await;
                me.invoke("a", json!({})).await.is(200);
            },
        )
        .and("9.1", "trigger fires/min per ns | 60"),
    ]
}

fn records() -> Vec<Scenario> {
    vec![
        scenario("5.2", RECORD, "the record of a fire has what was posted and no end", async |me| {
            let fields = json!({"parameters": array(json!({"secret": 1}))});
            trigger(&me, "t", fields).await.is(200);
            listening_to_it(&me).await;
            let fired = fire(&me, json!({"x": 1})).await.is(202);
            let id = fired.word("activationId");
            let record = me.record(&id).await;
            let (start, logs) = (record.at("start"), record.at("logs"));
            record.is_json(json!({
                "namespace": me.namespace, "name": "t", "version": "0.0.1", "subject": me.namespace,
                "activationId": id, "start": start, "logs": logs, "annotations": [], "publish": false,
                "response": {"status": "success", "success": true, "result": {"x": 1}, "size": 7},
            }));
        })
        .and("16", "Trigger record: no end, no duration, annotations [].")
        .and("3.1", "`end`/`duration` omitted for trigger activations."),
        scenario("5.2", "(`{}` if none)", "a fire without a payload has an empty result", async |me| {
            listening(&me).await;
            let fired = me.call("POST", "triggers/t").await.is(202);
            me.record(&fired.word("activationId")).await.has("response/result", json!({}));
        }),
        scenario(
            "5.2",
            "`logs` = one compact JSON string per rule: `{\"statusCode\":0,\"success\":true,\"rule\":\"ns/r\",\"action\":\"ns/a\",\"activationId\":\"...\"}`",
            "the line of a rule names its activation",
            async |me| {
                listening(&me).await;
                let fired = fire(&me, json!({})).await.is(202);
                let text = me.record(&fired.word("activationId")).await.word("logs/0");
                let line: Value = serde_json::from_str(&text).unwrap();
                let (ns, id) = (&me.namespace, line["activationId"].as_str().unwrap());
                assert_eq!(
                    text,
                    format!(
                        r#"{{"statusCode":0,"success":true,"rule":"{ns}/r","action":"{ns}/a","activationId":"{id}"}}"#
                    )
                );
            },
        ),
        scenario("5.2", INACTIVE, "the line of a rule that is off says so", async |me| {
            listening(&me).await;
            rule(&me, "off", "t", "a").await.is(200);
            set(&me, "off", "inactive").await.is(200);
            let fired = fire(&me, json!({})).await.is(202);
            let ns = &me.namespace;
            assert_eq!(
                lines(&me, &fired).await[0],
                json!({
                    "statusCode": 1, "success": false, "rule": format!("{ns}/off"), "action": format!("{ns}/a"),
                    "error": format!("Rule '{ns}/off' is inactive, action '{ns}/a' was not activated."),
                })
            );
        })
        .and("B", "inactive rule log entry"),
        scenario("5.2", GONE, "the line of a rule whose action was deleted says so", async |me| {
            listening(&me).await;
            me.delete("actions/a").await.is(200);
            let fired = fire(&me, json!({})).await.is(202);
            let line = lines(&me, &fired).await.remove(0);
            assert_eq!((&line["statusCode"], &line["error"]), (&json!(1), &json!(NOT_FOUND)), "{line}");
            assert_eq!(line["success"], false);
        }),
        scenario("7", "Summary item:", "a list shows a fire without end and status", async |me| {
            listening(&me).await;
            fire(&me, json!({})).await.is(202);
            let list = me.activations("name=t", 1).await;
            assert_eq!(list[0]["name"], "t");
            for absent in ["end", "duration", "statusCode"] {
                assert!(list[0].get(absent).is_none(), "{list}");
            }
        }),
    ]
}
