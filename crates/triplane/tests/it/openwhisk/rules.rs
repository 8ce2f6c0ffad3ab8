//! Rules (section 5.3).

use serde_json::json;

use super::triggers::{NOT_FOUND, called, fire, lines, listening, rule, set, trigger};
use super::{Scenario, array, scenario};

const STATUS: &str = "`POST` body `{\"status\":\"active\"|\"inactive\"}` (CLI also sends `trigger:null,action:null` [W]) → 200, \
                      text body `OK`; same state again → 200.";
const UPDATE: &str = "Update keeps the previous status; moving to another trigger unlinks the old one.";
const MISSING: &str =
    "400 `trigger /ns/t does not exist` / `action /ns/a does not exist`. New rules are **active**.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [rules(), statuses(), changes(), foreign()].into_iter().flatten().collect()
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
            "5.2",
            "Rule actions are invoked non-blocking as the firing user",
            "a rule calls a sequence",
            async |me| {
                trigger(&me, "t", json!({})).await.is(200);
                me.create_echo("a").await;
                let components = json!([format!("/{}/a", me.namespace), "/_/a"]);
                let exec = json!({"kind": "sequence", "components": components});
                me.put("actions/s", json!({ "exec": exec })).await.is(200);
                rule(&me, "r", "t", "s").await.is(200);
                let fired = fire(&me, json!({"x": 1})).await.is(202);
                let record = called(&me, &fired).await.annotated("kind", "sequence").lacks("cause");
                record.has("response/result/x", 1).lacks("response/result/_actions");
            },
        ),
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
