//! Sequences: how they are written, how they run, what their records hold (section 4.1).

use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, array, scenario};

pub(super) const CHECKS: &str = "PUT checks (400): `Too many actions in the sequence.` (direct or inlined atomic count > max 50), `No \
                component specified for the sequence.`, `Sequence may not refer to itself.` (cycle, also through nesting), \
                `Sequence component does not exist.`, `'components' must be an array` / `'components' must be defined for \
                sequence kind`.";
pub(super) const RUN: &str = "Run: components one after another, each fully awaited (component timeout + 1 min), output object/array \
                becomes next input; each component gets its own parameters merged under the input.";
pub(super) const PARAMETERS: &str = "Parameters of the sequence itself or of the package/binding that holds the sequence are never \
                passed on (they only feed the `final` check); the request payload goes to the first component and beats \
                that component's own parameters.";
const STOPS: &str = "A result object containing `error` stops the sequence; an `error` key in the *initial* payload does \
                not. Result/status = last activation's response. Component missing at run → application error `Sequence \
                component does not exist.` Too long at run → application error `Too many actions in the sequence.`";
pub(super) const RECORD: &str = "Sequence activation: `logs` = ids of component activations in order (nested sequence = one id), \
                duration = sum of components, annotations topmost, path, kind \"sequence\", causedBy (inner), waitTime, \
                binding?, limits (timeout/logs of the sequence, memory = max over components). Components: cause = \
                enclosing id, annotation causedBy. No `timeout`/`initTime`.";
const COUNTS: &str = "Counts one toward rate/concurrency at the door; components are not throttled.";
const STORED: &str = "For sequences `parameters` are forced to `[{\"key\":\"_actions\",\"value\":[\"/ns/a\",...]}]` and \
                user parameters are discarded.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [written(), refused(), updated(), run(), stopped(), recorded(), counted()].into_iter().flatten().collect()
}

/// `exec` of a sequence of actions of the caller.
pub(super) fn components(names: &[&str]) -> Value {
    let names: Vec<_> = names.iter().map(|name| format!("/_/{name}")).collect();
    json!({"kind": "sequence", "components": names})
}

/// Creates or replaces a sequence.
pub(super) async fn sequence(me: &Guest, name: &str, names: &[&str]) -> Reply {
    me.put(&format!("actions/{name}?overwrite=true"), json!({"exec": components(names)})).await
}

/// Creates an action that adds a letter to `t`.
async fn letter(me: &Guest, letter: &str) {
    let script = format!(
        "t=$(echo \"$1\" | sed -n 's/.*\"t\": *\"\\([a-z]*\\)\".*/\\1/p'); echo \"{{\\\"t\\\": \\\"${{t}}{letter}\\\"}}\""
    );
    me.create_sh(letter, &script).await;
}

/// Creates an action that fails with an application error.
async fn failing(me: &Guest, name: &str) {
    me.create_sh(name, "echo '{\"error\": \"no\", \"other\": 1}'").await;
}

fn written() -> Vec<Scenario> {
    const SHAPE: &str = "PUT sequence → `exec` is `{\"components\":[\"/guest/a\",\"/whisk.system/utils/echo\"],\"kind\":\"sequence\"}`";
    vec![
        scenario("A", SHAPE, "a sequence is read as it was written, with its components", async |me| {
            me.create_echo("a").await;
            let reply = sequence(&me, "s", &["a", "a"]).await.is(200);
            let name = format!("/{}/a", me.namespace);
            let reply = reply.has("exec", json!({"kind": "sequence", "components": [name, name]}));
            let reply = reply.has("parameters", json!([{"key": "_actions", "value": [name, name]}]));
            let body = reply.annotated("exec", "sequence").annotated("provide-api-key", false).json();
            me.get("actions/s").await.is(200).is_json(body);
        }),
        scenario("2.3", STORED, "a sequence takes no parameters of its own", async |me| {
            me.create_echo("a").await;
            let body = json!({"exec": components(&["a"]), "parameters": array(json!({"p": 1}))});
            let reply = me.put("actions/s", body).await.is(200);
            reply.keyed("parameters", "p", Value::Null).keyed(
                "parameters",
                "_actions",
                json!([format!("/{}/a", me.namespace)]),
            );
        })
        .and("16", "Sequence parameters stored as `_actions`; `delAnnotations` lost for sequences."),
        scenario(
            "B",
            "component in default namespace `_`",
            "an underscore in a component is the caller's namespace",
            async |me| {
                me.create_echo("a").await;
                let name = format!("/{}/a", me.namespace);
                for written in [json!("/_/a"), json!("_/a"), json!(name), json!({"path": "_", "name": "a"})] {
                    let exec = json!({"kind": "sequence", "components": [written]});
                    let reply = me.put("actions/s?overwrite=true", json!({"exec": exec})).await.is(200);
                    reply.has("exec/components/0", name.as_str());
                }
            },
        )
        .and("1.4", "Also resolved inside bodies: sequence components"),
        scenario(
            "1.9",
            "`exec: {\"binary\": bool}`",
            "a list shows a sequence like other actions",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "s", &["a"]).await.is(200);
                let list = me.get("actions").await.is(200);
                list.has("0/name", "s").has("0/exec", json!({"binary": false})).lacks("0/parameters");
            },
        ),
        scenario(
            "2.1",
            "sequence `{kind,components:[\"/ns/a\",...]}`",
            "a sequence has no code",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "s", &["a"]).await.is(200).lacks("exec/code").lacks("exec/binary");
                me.get("actions/s?code=false").await.is(200).lacks("exec/code").has("exec/kind", "sequence");
                me.delete("actions/s").await.is(200).has("exec/kind", "sequence");
            },
        ),
    ]
}

fn refused() -> Vec<Scenario> {
    const NAME: &str = "One segment → 400 `...requirement failed: The fully qualified name of the entity must contain at \
                least the namespace and the name of the entity.`";
    const CYCLIC: &str = "Sequence may not refer to itself.";
    vec![
        scenario("4.1", CHECKS, "a sequence may have fifty components and no more", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"; 50]).await.is(200);
            sequence(&me, "s", &["a"; 51]).await.is(400).says("Too many actions in the sequence.");
        }),
        scenario("4.1", CHECKS, "the actions of sequences in a sequence are counted", async |me| {
            me.create_echo("a").await;
            sequence(&me, "half", &["a"; 25]).await.is(200);
            sequence(&me, "s", &["half", "half"]).await.is(200);
            sequence(&me, "s", &["half", "a", "half"])
                .await
                .is(400)
                .says("Too many actions in the sequence.");
        })
        .and("B", "length counted after inlining"),
        scenario("4.1", CHECKS, "a sequence needs a component", async |me| {
            sequence(&me, "s", &[]).await.is(400).says("No component specified for the sequence.");
        }),
        scenario("4.1", CHECKS, "components must be there", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a", "none"]).await.is(400).says("Sequence component does not exist.");
            me.get("actions/s").await.is(404);
        }),
        scenario("4.1", CHECKS, "components must be a list of names", async |me| {
            let exec = |exec| me.put("actions/s", json!({ "exec": exec }));
            let malformed = "The request content was malformed:\n";
            exec(json!({"kind": "sequence", "components": "/_/a"}))
                .await
                .is(400)
                .says(&format!("{malformed}'components' must be an array"));
            exec(json!({"kind": "sequence"}))
                .await
                .is(400)
                .says(&format!("{malformed}'components' must be defined for sequence kind"));
            exec(json!({"kind": "sequence", "components": [1]})).await.is(400);
        }),
        scenario("1.5", NAME, "a component without its namespace is no name", async |me| {
            let exec = json!({"kind": "sequence", "components": ["a"]});
            me.put("actions/s", json!({ "exec": exec })).await.is(400).says(
                "The request content was malformed:\nrequirement failed: The fully qualified name of the entity must \
                 contain at least the namespace and the name of the entity.",
            );
        }),
        scenario("4.1", CHECKS, "a new sequence may not be in itself", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a", "s"]).await.is(400).says(CYCLIC);
        }),
        scenario(
            "B",
            "cycles via update of an atomic action",
            "an action may not become a sequence that has it",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "s", &["a"]).await.is(200);
                sequence(&me, "a", &["s"]).await.is(400).says(CYCLIC);
                sequence(&me, "a", &["a"]).await.is(400).says(CYCLIC);
            },
        )
        .and("4.1", CHECKS),
        scenario("B", "via nested sequences", "a sequence may not be in itself through others", async |me| {
            me.create_echo("a").await;
            sequence(&me, "one", &["a"]).await.is(200);
            sequence(&me, "two", &["one"]).await.is(200);
            sequence(&me, "three", &["a", "two"]).await.is(200);
            sequence(&me, "one", &["a", "three"]).await.is(400).says(CYCLIC);
            me.get("actions/one")
                .await
                .has("exec", json!({"kind": "sequence", "components": [format!("/{}/a", me.namespace)]}));
        })
        .and("4.1", CHECKS),
        scenario(
            "4.1",
            "READ entitlement is needed on every component at PUT; ACTIVATE at invoke.",
            "a sequence of somebody else's actions is 403",
            async |me| {
                let other = me.other().await;
                other.create_echo("a").await;
                let name = format!("/{}/a", other.namespace);
                let exec = json!({"kind": "sequence", "components": [name]});
                me.put("actions/s", json!({ "exec": exec })).await.is(403).says(&format!(
                    "The supplied authentication is not authorized to access '{}/a'.",
                    other.namespace
                ));
            },
        ),
        scenario(
            "1.7",
            "Exists and false → 409.",
            "a sequence does not replace an action unasked",
            async |me| {
                me.create_echo("a").await;
                me.create_echo("b").await;
                me.put("actions/a", json!({"exec": components(&["b"])}))
                    .await
                    .is(409)
                    .says("resource already exists");
            },
        ),
    ]
}

fn updated() -> Vec<Scenario> {
    vec![
        scenario(
            "2.3",
            "Changing a sequence into code drops old parameters.",
            "what was a sequence has no parameters",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "s", &["a"]).await.is(200);
                let exec = super::node("function main(p) { return p }");
                let reply = me.put("actions/s?overwrite=true", json!({ "exec": exec })).await.is(200);
                reply
                    .has("parameters", json!([]))
                    .has("exec/kind", "nodejs:20")
                    .annotated("exec", "nodejs:20");
                me.result("s", json!({"k": 1})).await.is(200).is_json(json!({"k": 1}));
            },
        ),
        scenario("2.3", STORED, "an action that becomes a sequence loses its parameters", async |me| {
            me.create_echo("a").await;
            me.create_echo("s").await;
            let parameters = json!({"parameters": array(json!({"p": 1}))});
            me.put("actions/s?overwrite=true", parameters).await.is(200).keyed("parameters", "p", 1);
            let reply = sequence(&me, "s", &["a"]).await.is(200);
            reply.keyed("parameters", "p", Value::Null).lacks("exec/code").has("version", "0.0.3");
        }),
        scenario(
            "2.3",
            STORED,
            "an update without exec does not change the parameters of a sequence",
            async |me| {
                me.create_echo("a").await;
                let before = sequence(&me, "s", &["a"]).await.is(200).at("parameters");
                let body = json!({"parameters": array(json!({"p": 1}))});
                me.put("actions/s?overwrite=true", body).await.is(200).has("parameters", before);
            },
        ),
        scenario(
            "2.3",
            "For sequences `delAnnotations` is dropped (quirk).",
            "annotations are not deleted by a PUT of a sequence",
            async |me| {
                me.create_echo("a").await;
                let body = json!({"exec": components(&["a"]), "annotations": array(json!({"x": 1}))});
                me.put("actions/s", body).await.is(200);
                let body = json!({"exec": components(&["a"]), "delAnnotations": ["x"]});
                me.put("actions/s?overwrite=true", body).await.is(200).annotated("x", 1);
                let body = json!({"delAnnotations": ["x"]});
                me.put("actions/s?overwrite=true", body).await.is(200).annotated("x", Value::Null);
            },
        )
        .and("16", "Sequence parameters stored as `_actions`; `delAnnotations` lost for sequences."),
    ]
}

fn run() -> Vec<Scenario> {
    vec![
        scenario("4.1", RUN, "components run in their order on what the one before answered", async |me| {
            for name in ["a", "b", "c"] {
                letter(&me, name).await;
            }
            sequence(&me, "s", &["a", "b", "c", "a"]).await.is(200);
            me.result("s", json!({"t": "x"})).await.is(200).is_json(json!({"t": "xabca"}));
        }),
        scenario("4.1", RUN, "an array is handed on as it is", async |me| {
            me.create_sh("list", "echo '[3, 1, 2]'").await;
            me.create_echo("echo").await;
            sequence(&me, "s", &["list", "echo"]).await.is(200);
            me.result("s", json!({})).await.is(200).is_json(json!([3, 1, 2]));
            me.invoke("s", json!({})).await.is(200).is_json(json!([3, 1, 2]));
        }),
        scenario("4.1", RUN, "each component has its own parameters under the input", async |me| {
            me.create_echo("a").await;
            me.create_sh("b", "echo '{\"p\": 5}'").await;
            let parameters = json!({"parameters": array(json!({"p": 1, "q": 2}))});
            me.put("actions/a?overwrite=true", parameters).await.is(200);
            sequence(&me, "s", &["b", "a"]).await.is(200);
            me.result("s", json!({})).await.is(200).is_json(json!({"p": 5, "q": 2}));
        }),
        scenario("4.1", PARAMETERS, "the payload goes to the first component and nowhere else", async |me| {
            me.create_echo("a").await;
            me.create_sh("b", "echo '{\"b\": true}'").await;
            let parameters = json!({"parameters": array(json!({"p": 1, "q": 2}))});
            me.put("actions/a?overwrite=true", parameters).await.is(200);
            sequence(&me, "s", &["a"]).await.is(200);
            me.result("s", json!({"p": 9})).await.is(200).is_json(json!({"p": 9, "q": 2}));
            sequence(&me, "s", &["b", "a"]).await.is(200);
            me.result("s", json!({"k": 9})).await.is(200).is_json(json!({"b": true, "p": 1, "q": 2}));
        }),
        scenario("4.1", PARAMETERS, "a component does not see it in a web request either", async |me| {
            me.create_echo("a").await;
            let annotations = array(json!({"web-export": true}));
            me.put("actions/s", json!({"exec": components(&["a"]), "annotations": annotations}))
                .await
                .is(200);
            let path = format!("/api/v1/web/{}/default/s.json?k=1", me.namespace);
            me.get(&path).await.is(200).has("k", "1").has("__ow_method", "get").lacks("_actions");
        }),
        scenario("4.1", PARAMETERS, "a component does not see the parameter of the sequence", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"]).await.is(200);
            me.result("s", json!({"k": 1})).await.is(200).is_json(json!({"k": 1}));
            me.call("POST", "actions/s?blocking=true&result=true").await.is(200).is_json(json!({}));
        }),
        scenario("4.1", PARAMETERS, "final parameters of a sequence may not be overridden", async |me| {
            me.create_echo("a").await;
            let body = json!({"exec": components(&["a"]), "annotations": array(json!({"final": true}))});
            me.put("actions/s", body).await.is(200);
            me.invoke("s", json!({"_actions": []}))
                .await
                .is(400)
                .says("Request defines parameters that are not allowed (e.g., reserved properties).");
            me.result("s", json!({"k": 1})).await.is(200).is_json(json!({"k": 1}));
        }),
        scenario(
            "4.1",
            PARAMETERS,
            "final parameters of a component are its defaults in a sequence",
            async |me| {
                me.create_echo("a").await;
                let body = json!({"parameters": array(json!({"p": 1})), "annotations": array(json!({"final": true}))});
                me.put("actions/a?overwrite=true", body).await.is(200);
                sequence(&me, "s", &["a"]).await.is(200);
                me.result("s", json!({"p": 2})).await.is(200).is_json(json!({"p": 2}));
            },
        ),
        scenario(
            "3",
            "Body: JSON object or nothing.",
            "a sequence takes no array as its payload",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "s", &["a"]).await.is(200);
                me.invoke("s", json!([1])).await.is(400);
            },
        ),
        scenario(
            "4.1",
            "Blocking >60 s: 202 and continues.",
            "a sequence goes on without its client",
            async |me| {
                me.create_sh("slow", "sleep 1; echo \"$1\"").await;
                sequence(&me, "s", &["slow", "slow"]).await.is(200);
                let reply = me.post("actions/s?blocking=true&timeout=50", json!({"k": 1})).await.is(202);
                let record = me.record(&reply.word("activationId")).await;
                let both = record.at("logs").as_array().map(Vec::len) == Some(2);
                record.has("response/result", json!({"k": 1})).holds(both, || "two components".to_owned());
            },
        ),
        scenario("3", "| non-blocking | 202 |", "a sequence that is not waited for runs", async |me| {
            letter(&me, "a").await;
            letter(&me, "b").await;
            sequence(&me, "s", &["a", "b"]).await.is(200);
            let id = me.post("actions/s", json!({"t": "x"})).await.is(202).word("activationId");
            let record = me.record(&id).await.has("response/result", json!({"t": "xab"}));
            record.annotated("kind", "sequence").annotated("topmost", true).has("activationId", id);
        }),
        scenario("4.1", RUN, "a sequence of sequences runs all of them", async |me| {
            letter(&me, "a").await;
            letter(&me, "b").await;
            sequence(&me, "ab", &["a", "b"]).await.is(200);
            sequence(&me, "abab", &["ab", "ab"]).await.is(200);
            sequence(&me, "s", &["b", "abab", "a"]).await.is(200);
            me.result("s", json!({"t": ""})).await.is(200).is_json(json!({"t": "bababa"}));
        }),
        scenario("4.1", RUN, "a changed component is run as it is now", async |me| {
            me.create_sh("a", "echo '{\"v\": 1}'").await;
            sequence(&me, "s", &["a"]).await.is(200);
            me.result("s", json!({})).await.is(200).is_json(json!({"v": 1}));
            let exec = json!({"exec": super::sh("echo '{\"v\": 2}'")});
            me.put("actions/a?overwrite=true", exec).await.is(200);
            me.result("s", json!({})).await.is(200).is_json(json!({"v": 2}));
        }),
    ]
}

fn stopped() -> Vec<Scenario> {
    vec![
        scenario("4.1", STOPS, "a component that answers an error is the last", async |me| {
            failing(&me, "no").await;
            me.create_echo("a").await;
            sequence(&me, "s", &["a", "no", "a"]).await.is(200);
            let reply = me.invoke("s", json!({"k": 1})).await.is(502);
            let reply = reply.has("response/result", json!({"error": "no"}));
            let two = reply.at("logs").as_array().map(Vec::len) == Some(2);
            reply.has("response/status", "application error").holds(two, || "two components".to_owned());
            me.result("s", json!({})).await.is(502).is_json(json!({"error": "no"}));
        })
        .and("16", "`{error:..., other:...}` keeps only error."),
        scenario("4.1", STOPS, "an error in the payload does not stop a sequence", async |me| {
            me.create_sh("a", "echo '{\"ran\": true}'").await;
            me.create_echo("b").await;
            sequence(&me, "s", &["a", "b"]).await.is(200);
            me.result("s", json!({"error": "payload"})).await.is(200).is_json(json!({"ran": true}));
        }),
        scenario("4.1", STOPS, "a component that fails gives the sequence its status", async |me| {
            me.create_sh("crash", "exit 1").await;
            me.create_echo("a").await;
            sequence(&me, "s", &["crash", "a"]).await.is(200);
            let crashed = me.invoke("crash", json!({})).await.is(502).at("response/status");
            me.invoke("s", json!({})).await.is(502).has("response/status", crashed);
        }),
        scenario("4.1", STOPS, "a component that was deleted ends the sequence", async |me| {
            me.create_echo("a").await;
            me.create_echo("b").await;
            sequence(&me, "s", &["a", "b"]).await.is(200);
            me.delete("actions/b").await.is(200);
            let reply = me.invoke("s", json!({})).await.is(502).has("response/status", "application error");
            reply.has("response/result", json!({"error": "Sequence component does not exist."}));
        }),
        scenario(
            "4.1",
            STOPS,
            "a sequence that grew too long after it was written stops there",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "inner", &["a"]).await.is(200);
                sequence(&me, "s", &["inner", "inner"]).await.is(200);
                sequence(&me, "inner", &["a"; 26]).await.is(200);
                let reply =
                    me.invoke("s", json!({})).await.is(502).has("response/status", "application error");
                reply.has("response/result", json!({"error": "Too many actions in the sequence."}));
            },
        ),
    ]
}

fn recorded() -> Vec<Scenario> {
    vec![
        scenario("4.1", RECORD, "the record of a sequence lists its components", async |me| {
            me.create_echo("a").await;
            me.create_echo("b").await;
            sequence(&me, "s", &["a", "b"]).await.is(200);
            let reply = me.invoke("s", json!({})).await.is(200);
            let (id, logs) = (reply.at("activationId"), reply.at("logs"));
            let mut sum = 0;
            for (log, name) in logs.as_array().unwrap().iter().zip(["a", "b"]) {
                let run = me.record(log.as_str().unwrap()).await;
                let run = run.has("name", name).has("cause", id.clone()).annotated("causedBy", "sequence");
                sum += run.at("duration").as_u64().unwrap();
            }
            me.record(reply.word("activationId").as_str()).await.has("logs", logs).has("duration", sum);
        }),
        scenario("4.1", RECORD, "the record of a sequence has its annotations", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"]).await.is(200);
            let reply = me.invoke("s", json!({})).await.is(200).lacks("cause");
            let reply = reply.annotated("topmost", true).annotated("kind", "sequence");
            let reply =
                reply.annotated("path", format!("{}/s", me.namespace)).annotated("causedBy", Value::Null);
            let reply = reply.annotated("timeout", Value::Null).annotated("initTime", Value::Null);
            let annotations = reply.at("annotations");
            let waits = triplane_testkit::json::keyed(&annotations, "waitTime").is_some_and(Value::is_u64);
            reply.holds(waits, || "a waitTime".to_owned()).has("name", "s").has("version", "0.0.1");
        }),
        scenario(
            "4.1",
            RECORD,
            "the limits of a sequence have the memory of its largest component",
            async |me| {
                for (name, memory) in [("small", 128), ("large", 384)] {
                    me.create_echo(name).await;
                    let limits = json!({"limits": {"memory": memory}});
                    me.put(&format!("actions/{name}?overwrite=true"), limits).await.is(200);
                }
                let limits = json!({"timeout": 12345, "memory": 512, "logs": 3});
                me.put(
                    "actions/s",
                    json!({"exec": components(&["small", "large", "small"]), "limits": limits}),
                )
                .await
                .is(200);
                let reply = me.invoke("s", json!({})).await.is(200);
                reply.annotated(
                    "limits",
                    json!({"timeout": 12345, "memory": 384, "logs": 3, "concurrency": 1}),
                );
            },
        ),
        scenario(
            "4.1",
            RECORD,
            "a sequence in a sequence is one log and has a record of its own",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "inner", &["a", "a"]).await.is(200);
                sequence(&me, "s", &["inner", "a"]).await.is(200);
                let reply = me.invoke("s", json!({})).await.is(200);
                let (id, logs) = (reply.at("activationId"), reply.at("logs"));
                let logs = logs.as_array().unwrap();
                let reply = reply.holds(logs.len() == 2, || "two logs".to_owned());
                let inner = me.record(logs[0].as_str().unwrap()).await.has("name", "inner").has("cause", id);
                let inner = inner.annotated("topmost", false).annotated("causedBy", "sequence");
                let inner_id = inner.at("activationId");
                for run in inner.at("logs").as_array().unwrap() {
                    me.record(run.as_str().unwrap()).await.has("name", "a").has("cause", inner_id.clone());
                }
                let durations = inner.at("duration").as_u64().unwrap()
                    + me.record(logs[1].as_str().unwrap()).await.at("duration").as_u64().unwrap();
                reply.has("duration", durations);
            },
        ),
        scenario("4.1", RECORD, "components have records like other actions", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"]).await.is(200);
            let id = me.invoke("s", json!({"k": 1})).await.is(200).word("logs/0");
            let run = me.record(&id).await.has("response/result", json!({"k": 1}));
            let run = run.annotated("path", format!("{}/a", me.namespace)).annotated("timeout", false);
            run.annotated("topmost", Value::Null);
        }),
        scenario("7", "`cause` if any", "the list of activations shows causes", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"]).await.is(200);
            let id = me.invoke("s", json!({})).await.is(200).at("activationId");
            let list = me.activations("", 2).await;
            let cause = |name: &str| {
                list.as_array().unwrap().iter().find(|item| item["name"] == name).unwrap()["cause"].clone()
            };
            assert_eq!((cause("a"), cause("s")), (id, Value::Null), "{list}");
        }),
        scenario(
            "7",
            "GET `/activations/{id}` 200 record.",
            "logs and result of a sequence can be asked for",
            async |me| {
                me.create_echo("a").await;
                sequence(&me, "s", &["a"]).await.is(200);
                let reply = me.invoke("s", json!({"k": 1})).await.is(200);
                let (id, logs) = (reply.word("activationId"), reply.at("logs"));
                me.record(&id).await;
                me.get(&format!("activations/{id}/logs")).await.is(200).is_json(json!({ "logs": logs }));
                me.get(&format!("activations/{id}/result")).await.is(200).has("result", json!({"k": 1}));
            },
        ),
    ]
}

fn counted() -> Vec<Scenario> {
    vec![
        scenario("4.1", COUNTS, "components do not count toward the rate", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"; 50]).await.is(200);
            // 60 calls in a minute are allowed
            for _ in 0..2 {
                me.invoke("s", json!({})).await.is(200);
            }
        }),
        scenario("4.1", COUNTS, "a sequence counts toward the rate", async |me| {
            me.create_echo("a").await;
            sequence(&me, "s", &["a"]).await.is(200);
            let mut throttled = None;
            // over the end of a minute, if need be
            for _ in 0..125 {
                let reply = me.post("actions/s", json!({})).await.is_one_of(&[202, 429]);
                if reply.status() == 429 {
                    throttled = Some(reply);
                    break;
                }
            }
            let text = throttled.expect("a call is refused").word("error");
            assert!(text.starts_with("Too many "), "{text}");
        }),
    ]
}
