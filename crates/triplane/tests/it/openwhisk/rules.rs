//! Triggers, their fires, and rules (sections 5.2 and 5.3).

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
const STATUS: &str = "`POST` body `{\"status\":\"active\"|\"inactive\"}` (CLI also sends `trigger:null,action:null` [W]) → 200, \
                      text body `OK`; same state again → 200.";
const UPDATE: &str = "Update keeps the previous status; moving to another trigger unlinks the old one.";
const MISSING: &str =
    "400 `trigger /ns/t does not exist` / `action /ns/a does not exist`. New rules are **active**.";
const NOT_FOUND: &str = "The requested resource does not exist.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [triggers(), fires(), records(), rules(), statuses(), changes(), foreign()]
        .into_iter()
        .flatten()
        .collect()
}

async fn trigger(me: &Guest, name: &str, fields: Value) -> Reply {
    me.put(&format!("triggers/{name}"), fields).await
}

/// Puts a rule from a trigger to an action of the own namespace.
async fn rule(me: &Guest, name: &str, trigger: &str, action: &str) -> Reply {
    let fields = json!({"trigger": format!("/_/{trigger}"), "action": format!("/_/{action}")});
    me.put(&format!("rules/{name}"), fields).await
}

async fn set(me: &Guest, name: &str, status: &str) -> Reply {
    me.post(&format!("rules/{name}"), json!({ "status": status })).await
}

/// A trigger `t` with a rule `r` to an action `a` that answers its arguments.
async fn listening(me: &Guest) {
    trigger(me, "t", json!({})).await.is(200);
    me.create_echo("a").await;
    rule(me, "r", "t", "a").await.is(200);
}

async fn fire(me: &Guest, payload: Value) -> Reply {
    me.post("triggers/t", payload).await
}

/// What the record of a fire says of its rules.
async fn lines(me: &Guest, fired: &Reply) -> Vec<Value> {
    let record = me.record(&fired.word("activationId")).await.json();
    let lines = record["logs"].as_array().unwrap();
    lines.iter().map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap()).collect()
}

/// The record of what the only rule of a fire called.
async fn called(me: &Guest, fired: &Reply) -> Reply {
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

fn rules() -> Vec<Scenario> {
    vec![
        scenario("A", "GET rule:", "a rule has the shape of OpenWhisk's", async |me| {
            listening(&me).await;
            let reply = me.get("rules/r").await.is(200);
            let updated = reply.at("updated");
            reply.is_json(json!({
                "action": {"name": "a", "path": me.namespace}, "annotations": [], "name": "r",
                "namespace": me.namespace, "publish": false, "status": "active",
                "trigger": {"name": "t", "path": me.namespace}, "updated": updated, "version": "0.0.1",
            }));
        }),
        scenario(
            "5.3",
            "PUT body: `trigger`, `action` (fqn strings or objects), annotations, publish, version; extra `status:\"\"` from the CLI is ignored.",
            "a rule is created by names in any form",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                me.create("a").await;
                let ns = &me.namespace;
                for (number, (trigger, action)) in [
                    (json!("/_/t"), json!(format!("{ns}/a"))),
                    (json!({"path": ns, "name": "t"}), json!({"path": "_", "name": "a"})),
                ]
                .into_iter()
                .enumerate()
                {
                    let fields = json!({"name": "x", "status": "", "trigger": trigger, "action": action});
                    let reply = me.put(&format!("rules/r{number}"), fields).await.is(200);
                    reply.has("action", json!({"path": ns, "name": "a"})).has("trigger/name", "t");
                }
            },
        ),
        scenario(
            "5.3",
            "Create needs both: 400 `rule requires a valid trigger and a valid action`",
            "a rule needs a trigger and an action",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                for fields in [json!({}), json!({"trigger": "/_/t"}), json!({"action": "/_/a"})] {
                    let reply = me.put("rules/r", fields).await.is(400);
                    reply.says("rule requires a valid trigger and a valid action");
                }
            },
        )
        .and("B", "without body fields 400"),
        scenario("5.3", MISSING, "a rule needs a trigger and an action that exist", async |me| {
            trigger(&me, "t", json!({})).await.is(200);
            me.create("a").await;
            let ns = &me.namespace;
            rule(&me, "r", "none", "a").await.is(400).says(&format!("trigger /{ns}/none does not exist"));
            rule(&me, "r", "t", "none").await.is(400).says(&format!("action /{ns}/none does not exist"));
            rule(&me, "r", "t", "a").await.is(200).has("status", "active");
        })
        .and("B", "create with missing trigger/action 400"),
        scenario(
            "1.5",
            "One segment → 400 `...requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity.`",
            "a rule names things by their whole names",
            async |me| {
                let reply = me.put("rules/r", json!({"trigger": "t", "action": "/_/a"})).await.is(400);
                reply.says(
                    "The request content was malformed:\nrequirement failed: The fully qualified name of the entity must \
                     contain at least the namespace and the name of the entity.",
                );
            },
        ),
        scenario(
            "1.9",
            "rules | full rule docs **without `status`**",
            "a list of rules does not tell their status",
            async |me| {
                listening(&me).await;
                let reply = me.get("rules").await.is(200).lacks("0/status");
                let reply = reply.has("0/trigger", json!({"path": me.namespace, "name": "t"}));
                reply
                    .has("0/action", json!({"path": me.namespace, "name": "a"}))
                    .has("0/annotations", json!([]));
                me.get("rules?count=true").await.is(200).is_json(json!({"rules": 1}));
            },
        )
        .and("16", "rules list lacks status"),
        scenario(
            "B",
            "action in package and binding",
            "a rule calls an action in a package and through a binding",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                me.put("packages/p", json!({"parameters": array(json!({"from": "p"}))})).await.is(200);
                me.create_echo("p/a").await;
                let fields = json!({
                    "binding": {"namespace": "_", "name": "p"}, "parameters": array(json!({"from": "b"})),
                });
                me.put("packages/b", fields).await.is(200);
                let path = format!("{}/p", me.namespace);
                rule(&me, "r1", "t", "p/a").await.is(200).has("action", json!({"path": path, "name": "a"}));
                rule(&me, "r2", "t", "b/a").await.is(200);
                let fired = fire(&me, json!({})).await.is(202);
                for (line, package) in lines(&me, &fired).await.iter().zip(["p", "b"]) {
                    let record = me.record(line["activationId"].as_str().unwrap()).await;
                    let record = record.has("response/result/from", package);
                    record.annotated("path", format!("{}/p/a", me.namespace));
                }
            },
        )
        .and("5.3", "`action`:{\"path\":\"ns[/pkg]\",\"name\":\"a\"}"),
        scenario(
            "5.3",
            "DELETE → 200 with status `inactive`, allowed while active.",
            "an active rule is deleted",
            async |me| {
                listening(&me).await;
                me.delete("rules/r").await.is(200).has("status", "inactive").has("name", "r");
                me.get("rules/r").await.is(404).says(NOT_FOUND);
                me.get("triggers/t").await.is(200).has("rules", json!({}));
                fire(&me, json!({})).await.is(204);
            },
        )
        .and("B", "delete active"),
    ]
}

fn statuses() -> Vec<Scenario> {
    vec![
        scenario("5.3", STATUS, "a rule is switched off and on", async |me| {
            listening(&me).await;
            for status in ["inactive", "inactive", "active", "active"] {
                set(&me, "r", status).await.is(200).is_text("OK");
                me.get("rules/r").await.is(200).has("status", status);
            }
            let sent_by_wsk = json!({"name": "", "status": "inactive", "trigger": null, "action": null});
            me.post("rules/r", sent_by_wsk).await.is(200).is_text("OK");
        })
        .and("16", "Rule POST returns text OK.")
        .and("B", "status POST idempotent"),
        scenario("5.3", "Bad state → 400.", "a rule is active or inactive and nothing else", async |me| {
            listening(&me).await;
            for body in [json!({"status": "asleep"}), json!({"status": 1}), json!({})] {
                me.post("rules/r", body).await.is(400).mentions("The request content was malformed:\n");
            }
            me.get("rules/r").await.is(200).has("status", "active");
        }),
        scenario(
            "5.3",
            "Trigger gone → 404 `Only rules with existing triggers can be activated`.",
            "a rule without its trigger cannot be activated",
            async |me| {
                listening(&me).await;
                me.delete("triggers/t").await.is(200);
                let text = "Only rules with existing triggers can be activated";
                set(&me, "r", "active").await.is(404).says(text);
                set(&me, "none", "active").await.is(404).says(NOT_FOUND);
            },
        ),
        scenario(
            "5.2",
            "DELETE trigger leaves its rules (they then read as inactive).",
            "a rule outlives its trigger",
            async |me| {
                listening(&me).await;
                me.delete("triggers/t").await.is(200);
                me.get("rules/r").await.is(200).has("status", "inactive").has("trigger/name", "t");
                me.delete("rules/r").await.is(200);
            },
        )
        .and("5.3", "Status lives in the trigger doc; missing trigger → `inactive`."),
    ]
}

fn changes() -> Vec<Scenario> {
    vec![
        scenario("5.3", UPDATE, "an update keeps the status", async |me| {
            listening(&me).await;
            for status in ["inactive", "active"] {
                set(&me, "r", status).await.is(200);
                let fields = json!({"annotations": array(json!({"b": 1}))});
                let reply = me.put("rules/r?overwrite=true", fields).await.is(200);
                reply.has("status", status).annotated("b", 1);
            }
            rule(&me, "r", "t", "a").await.is(409).says("resource already exists");
        })
        .and("B", "overwrite keeps status"),
        scenario(
            "5.3",
            "moving to another trigger unlinks the old one.",
            "a rule moves to another trigger",
            async |me| {
                listening(&me).await;
                trigger(&me, "t2", json!({})).await.is(200);
                rule(&me, "r?overwrite=true", "t2", "a")
                    .await
                    .is(200)
                    .has("status", "active")
                    .has("trigger/name", "t2");
                fire(&me, json!({})).await.is(204);
                me.post("triggers/t2", json!({})).await.is(202);
            },
        )
        .and("B", "change trigger moves link"),
        scenario(
            "5.3",
            "Update keeps the previous status",
            "an update gives a rule another action",
            async |me| {
                listening(&me).await;
                me.create_echo("b").await;
                let fields = json!({"action": "/_/b"});
                me.put("rules/r?overwrite=true", fields).await.is(200).has("action/name", "b");
                let fired = fire(&me, json!({})).await.is(202);
                called(&me, &fired).await.has("name", "b");
            },
        ),
    ]
}

fn foreign() -> Vec<Scenario> {
    let refused =
        |resource: String| format!("The supplied authentication is not authorized to access '{resource}'.");
    vec![
        scenario("9.3", "Everything else 403.", "triggers and rules of others are 403", async move |me| {
            listening(&me).await;
            let (other, ns) = (me.other().await, me.namespace.clone());
            for (method, path) in [
                ("GET", "triggers/t"),
                ("PUT", "triggers/t"),
                ("DELETE", "triggers/t"),
                ("POST", "triggers/t"),
                ("GET", "rules/r"),
                ("PUT", "rules/r"),
                ("DELETE", "rules/r"),
                ("POST", "rules/r"),
            ] {
                let name = path.split('/').next_back().unwrap();
                let call = other.call(method, &format!("/api/v1/namespaces/{ns}/{path}"));
                let call = if method == "PUT" || method == "POST" { call.json(&json!({})) } else { call };
                call.await.is(403).says(&refused(format!("{ns}/{name}")));
            }
            for list in ["triggers", "rules"] {
                other
                    .get(&format!("/api/v1/namespaces/{ns}/{list}"))
                    .await
                    .is(403)
                    .says(&refused(ns.clone()));
            }
        }),
        scenario(
            "9.3",
            "rule trigger must be own",
            "a rule does not listen to a trigger of others",
            async move |me| {
                let other = me.other().await;
                trigger(&other, "t", json!({})).await.is(200);
                me.create("a").await;
                let fields = json!({"trigger": format!("/{}/t", other.namespace), "action": "/_/a"});
                let reply = me.put("rules/r", fields).await.is(403);
                reply.says(&refused(format!("{}/t", other.namespace)));
            },
        )
        .and("B", "foreign trigger 403"),
        scenario(
            "9.3",
            "Sequence components and rule targets are checked likewise",
            "a rule calls what its owner may call and nothing else",
            async move |me| {
                let other = me.other().await;
                other.put("packages/p", json!({"publish": true})).await.is(200);
                other.create_echo("p/a").await;
                other.create("private").await;
                trigger(&me, "t", json!({})).await.is(200);
                let to = |action: String| json!({"trigger": "/_/t", "action": action});
                let ns = &other.namespace;
                let reply = me.put("rules/r", to(format!("/{ns}/private"))).await.is(403);
                reply.says(&refused(format!("{ns}/private")));
                me.put("rules/r", to(format!("/{ns}/p/a"))).await.is(200);
                let fired = fire(&me, json!({})).await.is(202);
                called(&me, &fired)
                    .await
                    .annotated("path", format!("{ns}/p/a"))
                    .has("namespace", &*me.namespace);
            },
        ),
        scenario(
            "5.2",
            "`{\"statusCode\":1|3,\"success\":false,\"rule\",\"action\",\"error\":\"<text>\"}`",
            "a rule whose action became private says so in the record",
            async move |me| {
                let other = me.other().await;
                other.put("packages/p", json!({"publish": true})).await.is(200);
                other.create_echo("p/a").await;
                trigger(&me, "t", json!({})).await.is(200);
                let action = format!("{}/p/a", other.namespace);
                let fields = json!({"trigger": "/_/t", "action": format!("/{action}")});
                me.put("rules/r", fields).await.is(200);
                other.put("packages/p?overwrite=true", json!({"publish": false})).await.is(200);
                let fired = fire(&me, json!({})).await.is(202);
                let line = lines(&me, &fired).await.remove(0);
                assert_eq!((&line["statusCode"], &line["error"]), (&json!(1), &json!(refused(action))));
            },
        ),
    ]
}
