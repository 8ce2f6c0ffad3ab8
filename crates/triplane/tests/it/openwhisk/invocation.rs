//! Invocations: how they are asked for, what they answer, what their records hold (section 3).

use serde_json::{Value, json};

use super::{Guest, Scenario, array, node, scenario, sh};

const MERGE: &str = "Merge: package < binding < action < payload.";
const NOT_BLOCKING: &str = "| non-blocking | 202 | `{\"activationId\":\"<32 hex>\"}` |";
const SHAPE: &str = "### 3.1 Activation record (GET activation, blocking invoke, list with docs)";
const STATUSES: &str = "`response.status` texts and codes: 0 `success`; 1 `application error`; 2 `action \
                developer error`; 3 `whisk internal error`.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [outcomes(), queries(), payloads(), records(), results(), deliveries()].into_iter().flatten().collect()
}

fn outcomes() -> Vec<Scenario> {
    const NOT_IN_TIME: &str = "| blocking, not done in time | 202 | same (activation continues) |";
    const FAILED: &str = "| application error or developer error | 502 | record, or with result=true the result \
                object `{\"error\":...}` |";
    const ARRAY: &str = "| result is a JSON **array** | 200 (or per status) | always the bare array, even with \
                result=false |";
    vec![
        scenario("3", NOT_BLOCKING, "a call that is not waited for is answered by an id", async |me| {
            me.create_echo("a").await;
            let reply = me.post("actions/a", json!({"k": 1})).await.is(202);
            let id = reply.word("activationId");
            let is_hex = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let reply = reply.holds(is_hex, || "an id of 32 hexadecimal digits".to_owned());
            reply.is_json(json!({"activationId": id}));
            me.record(&id).await.has("response/result", json!({"k": 1}));
        }),
        scenario("3", NOT_BLOCKING, "blocking=false is the default", async |me| {
            me.create_echo("a").await;
            me.post("actions/a?blocking=false", json!({})).await.is(202);
            me.post("actions/a?blocking=false&result=false", json!({})).await.is(202);
        }),
        scenario(
            "3",
            "`result=true` without `blocking=true` behaves as non-blocking.",
            "result=true alone does not wait",
            async |me| {
                me.create_echo("a").await;
                let reply = me.post("actions/a?result=true", json!({"k": 1})).await.is(202);
                let id = reply.word("activationId");
                reply.is_json(json!({"activationId": id}));
            },
        ),
        scenario("3", NOT_IN_TIME, "a call that takes longer than the client waits continues", async |me| {
            me.create_sh("a", "sleep 1; echo '{\"slept\": true}'").await;
            let reply = me.post("actions/a?blocking=true&timeout=50", json!({})).await.is(202);
            let id = reply.word("activationId");
            let reply = reply.is_json(json!({"activationId": id}));
            reply.has_header("x-openwhisk-activation-id", &id);
            me.record(&id).await.has("response/result", json!({"slept": true}));
        }),
        scenario(
            "3",
            "| blocking success | 200 | activation record (3.1, `logs` normally `[]`) |",
            "a call that is waited for is answered by its record",
            async |me| {
                me.create_sh("a", "echo line; echo '{\"k\": 1}'").await;
                let reply = me.invoke("a", json!({})).await.is(200).has("response/result", json!({"k": 1}));
                reply.has("response/success", true).has("response/status", "success").has("logs", json!([]));
            },
        )
        .and(
            "16",
            "Blocking response `logs` are empty; logs appear in the stored record later, tests poll \
                up to minutes.",
        ),
        scenario(
            "3",
            "| blocking&result success | 200 | the result object only |",
            "a call whose result is asked for is answered by nothing else",
            async |me| {
                me.create_echo("a").await;
                me.result("a", json!({"k": [1, {"b": null}]}))
                    .await
                    .is(200)
                    .is_json(json!({"k": [1, {"b": null}]}));
            },
        )
        .and("16", "`result=true` returns bare result with 502 on error; record otherwise."),
        scenario("3", FAILED, "a call that fails is 502 with its record", async |me| {
            me.create_echo("a").await;
            let reply = me.invoke("a", json!({"error": "broken"})).await.is(502);
            let reply = reply.has("response/status", "application error").has("response/success", false);
            reply.has("response/result", json!({"error": "broken"})).lacks("code");
        })
        .and("16", "502 action errors must **not** have a top-level `code`."),
        scenario("3", FAILED, "a call that fails is 502 with its result", async |me| {
            me.create_echo("a").await;
            me.result("a", json!({"error": {"reason": 7}}))
                .await
                .is(502)
                .is_json(json!({"error": {"reason": 7}}));
        }),
        scenario("3", FAILED, "a developer's error is 502 as well", async |me| {
            me.create_sh("a", "echo 42").await;
            let reply =
                me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
            reply.has("response/success", false).lacks("code");
            let reply = me.result("a", json!({})).await.is(502).lacks("code");
            let text = reply.word("error");
            reply.holds(!text.is_empty(), || "an error".to_owned());
        }),
        scenario(
            "3",
            ARRAY,
            "an array is answered bare, whether the result was asked for or not",
            async |me| {
                me.create_sh("a", "echo '[1, \"two\", {\"three\": 3}]'").await;
                let array = json!([1, "two", {"three": 3}]);
                me.invoke("a", json!({})).await.is(200).is_json(array.clone());
                me.result("a", json!({})).await.is(200).is_json(array);
            },
        )
        .and("16", "Array results bypass the record."),
        scenario(
            "3",
            "If the fast path fails, the controller polls the store",
            "the record of a blocking call is in the store when it is answered",
            async |me| {
                me.create_echo("a").await;
                let reply = me.invoke("a", json!({"k": 1})).await.is(200);
                let id = reply.word("activationId");
                let stored = me.get(&format!("activations/{id}")).await.is(200);
                assert_eq!(stored.at("response"), reply.at("response"));
            },
        ),
    ]
}

fn queries() -> Vec<Scenario> {
    const TIMEOUT: &str = "bad: `Timeout must be number of milliseconds up to 60000.`";
    vec![
        scenario(
            "3",
            TIMEOUT,
            "a wait that is no number of milliseconds up to a minute is 400",
            async |me| {
                me.create_echo("a").await;
                for bad in ["0", "-1", "60001", "x", "1.5", "1e3"] {
                    let reply =
                        me.post(&format!("actions/a?blocking=true&timeout={bad}"), json!({})).await.is(400);
                    reply.mentions("Timeout must be number of milliseconds up to 60000.");
                }
            },
        ),
        scenario(
            "3",
            "`timeout` ms, 1..60000 (default 60000)",
            "a wait of one to 60000 milliseconds is taken",
            async |me| {
                me.create_echo("a").await;
                me.post("actions/a?blocking=true&timeout=60000", json!({})).await.is(200);
                me.post("actions/a?blocking=true&timeout=1", json!({})).await.is_one_of(&[200, 202]);
            },
        ),
        scenario(
            "3",
            "Query: `blocking` (default false), `result` (default false)",
            "blocking and result have to be booleans",
            async |me| {
                me.create_echo("a").await;
                me.post("actions/a?blocking=x", json!({}))
                    .await
                    .is(400)
                    .mentions("The query parameter 'blocking' was malformed:\n");
                me.post("actions/a?blocking=true&result=x", json!({}))
                    .await
                    .is(400)
                    .mentions("The query parameter 'result' was malformed:\n");
            },
        ),
    ]
}

fn payloads() -> Vec<Scenario> {
    vec![
        scenario("3", "Body: JSON object or nothing.", "a call needs no payload", async |me| {
            me.create_echo("a").await;
            me.call("POST", "actions/a?blocking=true&result=true").await.is(200).is_json(json!({}));
        }),
        scenario(
            "3",
            "A JSON array body is rejected 400",
            "a payload that is no object is 400",
            async |me| {
                me.create_echo("a").await;
                for body in [json!([]), json!([{"k": 1}]), json!("x"), json!(1), json!(true)] {
                    me.result("a", body).await.is(400);
                }
                me.get("activations").await.is(200).is_json(json!([]));
            },
        ),
        scenario(
            "3",
            "413 `Request larger than allowed: N > 1048576 bytes.`",
            "a payload of more than 1 MB is 413",
            async |me| {
                me.create_echo("a").await;
                let payload = json!({"k": "x".repeat(1024 * 1024)});
                let text =
                    format!("Request larger than allowed: {} > 1048576 bytes.", payload.to_string().len());
                me.result("a", payload).await.is(413).says(&text);
            },
        )
        .and("9.1", "| payload / result | 1 MB, truncation 1 MB"),
        scenario("3", MERGE, "the payload overrides parameters of the action", async |me| {
            let body =
                json!({"exec": sh("echo \"$1\""), "parameters": array(json!({"a": 1, "b": {"x": 1}}))});
            me.put("actions/a", body).await.is(200);
            me.result("a", json!({})).await.is(200).is_json(json!({"a": 1, "b": {"x": 1}}));
            me.result("a", json!({"b": {"y": 2}, "c": 3}))
                .await
                .is(200)
                .is_json(json!({"a": 1, "b": {"y": 2}, "c": 3}));
            me.result("a", json!({"a": null})).await.is(200).has("a", Value::Null);
        }),
        scenario("3", MERGE, "arguments of every form of JSON arrive as they were sent", async |me| {
            me.create("a").await;
            let payload = json!({"text": "ü\u{1f600}\"\\\n", "empty": "", "number": -1.5e-7, "large": 9_007_199_254_740_991_u64, "deep": [[[{"a": [null, true]}]]], "": 1, "a b": 2});
            me.result("a", payload.clone()).await.is(200).is_json(payload);
        }),
        scenario(
            "3",
            "The activation belongs to the **caller's** namespace, whoever owns the action.",
            "the record names the caller's namespace and subject",
            async |me| {
                me.create_echo("a").await;
                let reply = me.invoke("a", json!({})).await.is(200);
                reply.has("namespace", me.namespace.as_str()).has("subject", me.namespace.as_str());
            },
        ),
    ]
}

fn records() -> Vec<Scenario> {
    async fn ran(me: &Guest) -> super::Reply {
        me.create_echo("a").await;
        let id = me.invoke("a", json!({"k": 1})).await.is(200).word("activationId");
        me.record(&id).await
    }
    vec![
        scenario("3.1", SHAPE, "a record has the fields of OpenWhisk's", async |me| {
            let record = ran(&me).await.json();
            let mut keys: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            let expected = [
                "activationId",
                "annotations",
                "duration",
                "end",
                "logs",
                "name",
                "namespace",
                "publish",
                "response",
                "start",
                "subject",
                "version",
            ];
            assert_eq!(keys, expected, "{record}");
            assert_eq!(
                (&record["name"], &record["version"], &record["publish"]),
                (&json!("a"), &json!("0.0.1"), &json!(false))
            );
        })
        .and("3.1", "`statusCode` is absent from this form (it is in the list summary)."),
        scenario(
            "3.1",
            "\"response\":{\"status\":\"success\",\"success\":true,\"result\":{...}?,\"size\":<bytes>?}",
            "a response has status, success, result and size",
            async |me| {
                let response = ran(&me).await.at("response");
                assert_eq!(
                    (&response["status"], &response["success"], &response["result"]),
                    (&json!("success"), &json!(true), &json!({"k": 1}))
                );
                assert_eq!(response["size"], json!({"k": 1}).to_string().len(), "{response}");
            },
        ),
        scenario(
            "3.1",
            "`duration` = init+run time for actions",
            "a record tells when the call began, ended, and how long it took",
            async |me| {
                let record = ran(&me).await.json();
                let field =
                    |name: &str| record[name].as_u64().unwrap_or_else(|| panic!("no {name} in {record}"));
                assert!(field("start") > 1_700_000_000_000 && field("end") >= field("start"), "{record}");
                assert!(field("end") - field("start") <= field("duration") + 1, "{record}");
            },
        )
        .and("3.1", "`start` = run start minus init time."),
        scenario(
            "3.1",
            "`path` (\"ns/[pkg/]action\", provider's path), `kind` (kind, or `sequence`), `limits` \
                (object as in the action)",
            "a record has the annotations of its action",
            async |me| {
                let record = ran(&me).await.annotated("path", format!("{}/a", me.namespace).as_str());
                let kind = me.get("actions/a").await.word("exec/kind");
                let record = record.annotated("kind", kind.as_str()).annotated("timeout", false);
                record.annotated(
                    "limits",
                    json!({"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}),
                );
            },
        )
        .and("3.1", "`timeout` bool (always on primitive actions)"),
        scenario(
            "3.1",
            "`waitTime` ms (request arrival → container ready to init/run)",
            "a record tells how long the call waited",
            async |me| {
                let annotations = ran(&me).await.at("annotations");
                let wait = triplane_testkit::json::keyed(&annotations, "waitTime").and_then(Value::as_u64);
                assert!(wait.is_some(), "{annotations}");
            },
        ),
        scenario(
            "3.1",
            "`initTime` ms (only if /init ran: cold)",
            "only a cold call has an initTime",
            async |me| {
                me.create("a").await;
                let cold = me.invoke("a", json!({})).await.is(200);
                let warm = me.invoke("a", json!({})).await.is(200).annotated("initTime", Value::Null);
                let time = triplane_testkit::json::keyed(&cold.at("annotations"), "initTime")
                    .and_then(Value::as_u64);
                cold.holds(time.is_some(), || "an initTime".to_owned());
                warm.annotated("timeout", false);
            },
        )
        .and("11.4", "Reuse only for the same (invocation namespace, action name+revision)."),
        scenario(
            "3.1",
            "`causedBy`:\"sequence\" (component of sequence or composition)",
            "a plain call has no cause",
            async |me| {
                let record = ran(&me).await.lacks("cause");
                record
                    .annotated("causedBy", Value::Null)
                    .annotated("topmost", Value::Null)
                    .annotated("binding", Value::Null);
            },
        ),
        scenario(
            "3.1",
            STATUSES,
            "the statuses of records are words, those of the list are numbers",
            async |me| {
                me.create_sh("good", "echo '{}'").await;
                me.create_sh("app", "echo '{\"error\": 1}'").await;
                me.create_sh("dev", "echo x").await;
                for (name, words, code) in [
                    ("good", "success", 0),
                    ("app", "application error", 1),
                    ("dev", "action developer error", 2),
                ] {
                    let id = me.invoke(name, json!({})).await.word("activationId");
                    me.record(&id)
                        .await
                        .has("response/status", words)
                        .has("response/success", code == 0)
                        .lacks("statusCode");
                    let list = me.activations(&format!("name={name}"), 1).await;
                    assert_eq!(list[0]["statusCode"], code, "{list}");
                }
            },
        ),
    ]
}

fn results() -> Vec<Scenario> {
    const ONLY_ERROR: &str = "Any 200 object with an `error` key → application error with `result:{\"error\":<value>}` \
                **only the error value is kept, sibling keys are dropped**.";
    const TRUNCATED: &str = "The action produced a response that exceeded the allowed length: <len> > 1048576 bytes. \
                The truncated response was: <first truncation bytes>";
    vec![
        scenario("3.2", ONLY_ERROR, "of a result with an error only the error is kept", async |me| {
            me.create_echo("a").await;
            me.result("a", json!({"error": "x", "other": 1})).await.is(502).is_json(json!({"error": "x"}));
            me.invoke("a", json!({"error": [1], "other": 1}))
                .await
                .is(502)
                .has("response/result", json!({"error": [1]}));
        })
        .and("16", "`{error:..., other:...}` keeps only error."),
        scenario("3.2", ONLY_ERROR, "an error may be any JSON, null and false too", async |me| {
            me.create("a").await;
            for value in [json!(null), json!(false), json!({}), json!(0), json!("")] {
                let reply = me
                    .invoke("a", json!({"error": value}))
                    .await
                    .is(502)
                    .has("response/status", "application error");
                reply.has("response/result", json!({"error": value}));
            }
        }),
        scenario(
            "3.2",
            "200 object otherwise → success. 200 array → success.",
            "objects and arrays are successes",
            async |me| {
                me.create("a").await;
                me.invoke("a", json!({"errors": 1, "Error": 2})).await.is(200).has("response/success", true);
                me.put("actions/b", json!({"exec": node("function main() { return [] }")})).await.is(200);
                me.invoke("b", json!({})).await.is(200).is_json(json!([]));
            },
        ),
        scenario(
            "3.2",
            TRUNCATED,
            "a result of more than 1 MB is an application error that shows its beginning",
            async |me| {
                let code = "function main() { return {text: 'x'.repeat(1024 * 1024)} }";
                me.put("actions/a", json!({"exec": node(code)})).await.is(200);
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "application error");
                let text = reply.word("response/result/error");
                let begins = "The action produced a response that exceeded the allowed length: 1048587 > 1048576 \
                bytes. The truncated response was: {\"text\":\"xxx";
                reply.holds(text.starts_with(begins), || format!("an error that begins with {begins:?}"));
            },
        ),
        scenario(
            "3.2",
            "`The action exceeded its time limits of N milliseconds.`",
            "a call that exceeds its time is a developer's error",
            async |me| {
                me.put("actions/a", json!({"exec": node("function main() { return new Promise(() => {}) }"), "limits": {"timeout": 300}})).await.is(200);
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
                let reply = reply
                    .has("response/result/error", "The action exceeded its time limits of 300 milliseconds.");
                reply.annotated("timeout", true);
            },
        ),
        scenario(
            "3.2",
            "`The action exceeded its time limits of N milliseconds during initialization.`",
            "an initialization that exceeds its time is a developer's error",
            async |me| {
                me.put("actions/a", json!({"exec": node("while (true) {}"), "limits": {"timeout": 300}}))
                    .await
                    .is(200);
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
                let reply = reply.has(
                    "response/result/error",
                    "The action exceeded its time limits of 300 milliseconds during initialization.",
                );
                reply.annotated("timeout", true);
            },
        )
        .and("11.2", "annotation timeout true"),
        scenario(
            "3.2",
            "`The action did not produce a valid response and exited unexpectedly.`",
            "an action that ends its process is a developer's error",
            async |me| {
                me.put("actions/a", json!({"exec": node("function main() { process.exit(1) }")}))
                    .await
                    .is(200);
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
                reply
                    .has(
                        "response/result/error",
                        "The action did not produce a valid response and exited unexpectedly.",
                    )
                    .annotated("timeout", false);
            },
        ),
        scenario(
            "3.2",
            "`The action did not initialize and exited unexpectedly.`",
            "an action that ends its process while it is initialized is a developer's error",
            async |me| {
                me.put("actions/a", json!({"exec": node("process.exit(1)")})).await.is(200);
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
                reply.has("response/result/error", "The action did not initialize and exited unexpectedly.");
            },
        ),
        scenario(
            "3.2",
            "`The action exhausted its memory and was aborted.`",
            "an action that takes more memory than it may is a developer's error",
            async |me| {
                let code =
                    "function main() { const kept = []; while (true) kept.push(Buffer.alloc(16 << 20, 1)) }";
                me.put("actions/a", json!({"exec": node(code), "limits": {"memory": 128}})).await.is(200);
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
                let text = reply.word("response/result/error");
                // where the machine has no cgroups to enforce the limit, Node.js gives up by itself
                let is_told = [
                    "The action exhausted its memory and was aborted.",
                    "The action did not produce a valid response and exited unexpectedly.",
                ];
                reply.holds(is_told.contains(&text.as_str()) || text.contains("memory"), || {
                    "an error about memory".to_owned()
                });
            },
        ),
    ]
}

fn deliveries() -> Vec<Scenario> {
    vec![
        scenario(
            "3",
            NOT_BLOCKING,
            "many calls that are not waited for all have a record of their own",
            async |me| {
                me.create_echo("a").await;
                let mut ids = Vec::new();
                for n in 0..10 {
                    ids.push((n, me.post("actions/a", json!({"n": n})).await.is(202).word("activationId")));
                }
                for (n, id) in ids {
                    me.record(&id).await.has("response/result/n", n);
                }
            },
        ),
        scenario(
            "3",
            "Delivery guarantee: at most once; no automatic retry after /run was sent.",
            "a call that breaks its container is not run again",
            async |me| {
                // the second run of a container would answer; the first ends it
                let code =
                    "let runs = 0; function main() { if (++runs === 1) process.exit(1); return {runs} }";
                me.put("actions/a", json!({"exec": node(code)})).await.is(200);
                for _ in 0..2 {
                    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error");
                }
                me.activations("name=a", 2).await;
            },
        )
        .and("11.3", "Never retried once sent"),
        scenario(
            "3",
            "`Request defines parameters that are not allowed (e.g., reserved properties).`",
            "a call that is refused leaves no record",
            async |me| {
                let body = json!({"exec": sh("echo '{}'"), "parameters": array(json!({"k": 1})), "annotations": array(json!({"final": true}))});
                me.put("actions/a", body).await.is(200);
                me.post("actions/a", json!({"k": 2})).await.is(400);
                me.get("activations").await.is(200).is_json(json!([]));
            },
        ),
    ]
}
