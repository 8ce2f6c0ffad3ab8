//! Activations: lists, filters, records, results and logs (section 7).

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Guest, Scenario, node, scenario};

const ITEM: &str = "Summary item: namespace, name, version, publish, annotations, activationId, start, and \
                if ended: end, duration, `statusCode` (int); `cause` if any.";
const INSTANTS: &str = "`since`, `upto` (epoch **ms**, inclusive on `start`; bad → `Parameter is not a valid \
                value for epoch seconds: <v>`)";
const NAME: &str = "`name` (`action` or `pkg/action`, more segments → `Parameter may be a 'simple' name or \
                'package-name/simple' name: <v>`; empty ignored)";
const LOGS: &str = "Log line format: timestamp padded to 30 chars, space, `stdout:` or `stderr:`, space, \
                text";
const ONLY_GET: &str = "## 7. Activations `/namespaces/{ns}/activations` (GET only; others 405)";

pub(super) fn scenarios() -> Vec<Scenario> {
    [lists(), filters(), single(), logs(), refused()].into_iter().flatten().collect()
}

/// Creates an echo and calls it with each of these numbers, one after another; answers the ids.
async fn ran(me: &Guest, name: &str, numbers: &[u32]) -> Vec<String> {
    me.create_echo(name).await;
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(me.invoke(name, json!({"n": number})).await.is(200).word("activationId"));
    }
    ids
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["activationId"].as_str().unwrap()).collect()
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
}

fn lists() -> Vec<Scenario> {
    vec![
        scenario("7", "Newest `start` first.", "the newest activation comes first", async |me| {
            let mut expected = ran(&me, "a", &[1, 2, 3]).await;
            expected.reverse();
            let list = me.activations("", 3).await;
            assert_eq!(ids(&list), expected);
        }),
        scenario("7", ITEM, "an activation in a list is a summary", async |me| {
            let id = ran(&me, "a", &[1]).await.remove(0);
            let list = me.activations("", 1).await;
            let item = list[0].as_object().unwrap();
            let mut keys: Vec<&str> = item.keys().map(String::as_str).collect();
            keys.sort_unstable();
            let expected = [
                "activationId",
                "annotations",
                "duration",
                "end",
                "name",
                "namespace",
                "publish",
                "start",
                "statusCode",
                "version",
            ];
            assert_eq!(keys, expected, "{list}");
            assert_eq!((&item["activationId"], &item["statusCode"]), (&json!(id), &json!(0)));
        })
        .and("A", "Activation list item"),
        scenario(
            "7",
            "docs=true → full records (logs included).",
            "whole records may be listed",
            async |me| {
                me.create_sh("a", "echo line; echo '{\"k\": 1}'").await;
                let id = me.invoke("a", json!({})).await.word("activationId");
                let record = me.record(&id).await.json();
                let list = me.activations("docs=true", 1).await;
                assert_eq!(list[0]["response"], record["response"]);
                assert_eq!(list[0]["subject"], me.namespace.as_str());
                assert_eq!(list[0]["logs"].as_array().map(Vec::len), Some(1), "{list}");
            },
        )
        .and("B", "since/upto/name/count/docs combinations"),
        scenario(
            "7",
            "List query: limit, skip, count",
            "activations are counted and read in pages",
            async |me| {
                let ran = ran(&me, "a", &[1, 2, 3]).await;
                me.activations("", 3).await;
                me.get("activations?count=true").await.is(200).is_json(json!({"activations": 3}));
                me.get("activations?count=true&skip=1").await.is(200).is_json(json!({"activations": 2}));
                let page = me.get("activations?limit=1&skip=1").await.is(200).json();
                assert_eq!(ids(&page), [ran[1].as_str()]);
            },
        ),
        scenario(
            "7",
            "`count=true&docs=true` → 400 `The parameter 'docs' is not permitted with 'count'.`",
            "documents cannot be counted",
            async |me| {
                let reply = me.get("activations?count=true&docs=true").await.is(400);
                reply.says("The parameter 'docs' is not permitted with 'count'.");
                me.get("activations?count=false&docs=true").await.is(200);
            },
        ),
        scenario("7", "`docs` (bool)", "docs has to be a boolean", async |me| {
            me.get("activations?docs=x")
                .await
                .is(400)
                .mentions("The query parameter 'docs' was malformed:\n");
        }),
        scenario("7", "(GET only; others 405)", "another's activations are not seen", async |me| {
            let id = ran(&me, "a", &[1]).await.remove(0);
            me.record(&id).await;
            let other = me.other().await;
            other.get("activations").await.is(200).is_json(json!([]));
            other.get(&format!("activations/{id}")).await.is(404);
            other.get(&format!("/api/v1/namespaces/{}/activations/{id}", me.namespace)).await.is(403);
        }),
    ]
}

fn filters() -> Vec<Scenario> {
    vec![
        scenario("7", NAME, "activations are found by the name of their action", async |me| {
            let (a, b) = (ran(&me, "a", &[1]).await, ran(&me, "b", &[1, 2]).await);
            me.activations("", 3).await;
            assert_eq!(ids(&me.get("activations?name=a").await.json()), a);
            assert_eq!(ids(&me.get("activations?name=b").await.json()), [b[1].as_str(), b[0].as_str()]);
            me.get("activations?name=b&count=true").await.is_json(json!({"activations": 2}));
            me.get("activations?name=none").await.is(200).is_json(json!([]));
            me.get("activations?name=pkg/a").await.is(200).is_json(json!([]));
        }),
        scenario("7", "empty ignored", "an empty name is ignored", async |me| {
            ran(&me, "a", &[1]).await;
            me.activations("name=", 1).await;
            me.get("activations?name=%20").await.is(200).has("0/name", "a");
        }),
        scenario("7", NAME, "a name of more than two segments is 400", async |me| {
            for name in ["a/b/c", "/a", "a/", "ns/pkg/a/b"] {
                let text = format!("Parameter may be a 'simple' name or 'package-name/simple' name: {name}");
                me.get(&format!("activations?name={name}")).await.is(400).mentions(&text);
            }
        }),
        scenario("7", INSTANTS, "activations are found by when they began, both ends included", async |me| {
            let ids_of_all = ran(&me, "a", &[1]).await;
            let start = me.record(&ids_of_all[0]).await.at("start").as_u64().unwrap();
            for (query, count) in [
                (format!("since={start}"), 1),
                (format!("upto={start}"), 1),
                (format!("since={start}&upto={start}"), 1),
                (format!("since={}", start + 1), 0),
                (format!("upto={}", start - 1), 0),
                (format!("since={start}&name=a"), 1),
                (format!("since={start}&name=b"), 0),
            ] {
                let list = me.get(&format!("activations?{query}")).await.is(200).json();
                assert_eq!(list.as_array().unwrap().len(), count, "{query}: {list}");
                me.get(&format!("activations?{query}&count=true"))
                    .await
                    .is_json(json!({"activations": count}));
            }
        })
        .and("B", "since/upto/name/count/docs combinations"),
        scenario("7", INSTANTS, "nothing began in the future", async |me| {
            ran(&me, "a", &[1]).await;
            me.get(&format!("activations?since={}", now_ms() + 3_600_000)).await.is(200).is_json(json!([]));
        }),
        scenario("7", INSTANTS, "a point in time that is no number is 400", async |me| {
            for key in ["since", "upto"] {
                for bad in ["now", "1.5", "2024-01-01"] {
                    let text = format!(
                        "The query parameter '{key}' was malformed:\nParameter is not a valid value for epoch \
                seconds: {bad}"
                    );
                    me.get(&format!("activations?{key}={bad}")).await.is(400).says(&text);
                }
            }
        }),
    ]
}

fn single() -> Vec<Scenario> {
    vec![
        scenario("7", "`GET /activations/{id}` 200 record.", "a record is found by its id", async |me| {
            let id = ran(&me, "a", &[1]).await.remove(0);
            me.record(&id)
                .await
                .has("activationId", id.as_str())
                .has("name", "a")
                .has("response/result/n", 1);
        }),
        scenario(
            "7",
            "`/{id}/result` → `{\"result\":...,\"success\":bool,\"status\":\"...\",\"size\"?}`.",
            "a result is found by its id",
            async |me| {
                let id = ran(&me, "a", &[1]).await.remove(0);
                let response = me.record(&id).await.at("response");
                let reply = me.get(&format!("activations/{id}/result")).await.is(200).is_json(response);
                reply.has("result", json!({"n": 1})).has("success", true).has("status", "success");
            },
        ),
        scenario(
            "7",
            "`/{id}/result` → `{\"result\":...,\"success\":bool,\"status\":\"...\",\"size\"?}`.",
            "the result of a failure is its error",
            async |me| {
                me.create_echo("a").await;
                let id = me.invoke("a", json!({"error": "x"})).await.word("activationId");
                me.record(&id).await;
                let reply = me
                    .get(&format!("activations/{id}/result"))
                    .await
                    .is(200)
                    .has("result", json!({"error": "x"}));
                reply.has("success", false).has("status", "application error");
            },
        ),
        scenario(
            "7",
            "`Activation id length is 5 but must be 32.`",
            "an id of another length is 400",
            async |me| {
                me.get("activations/short").await.is(400).says("Activation id length is 5 but must be 32.");
                me.get(&format!("activations/{}", "0".repeat(33)))
                    .await
                    .is(400)
                    .says("Activation id length is 33 but must be 32.");
                me.get("activations/short/logs")
                    .await
                    .is(400)
                    .says("Activation id length is 5 but must be 32.");
                me.get("activations/short/result")
                    .await
                    .is(400)
                    .says("Activation id length is 5 but must be 32.");
            },
        )
        .and("B", "wrong id length/charset"),
        scenario(
            "7",
            "(`The activation id is not valid.`)",
            "an id of other characters is 400",
            async |me| {
                for id in ["g".repeat(32), "A".repeat(32), format!("{}-", "0".repeat(31))] {
                    let reply = me.get(&format!("activations/{id}")).await;
                    reply.is(400).says("The activation id is not valid.");
                }
            },
        ),
        scenario("7", "Missing → 404.", "an id that nothing has is 404", async |me| {
            for rest in ["", "/", "/logs", "/result"] {
                let path = format!("activations/{}{rest}", "0123456789abcdef".repeat(2));
                me.get(&path).await.is(404).says("The requested resource does not exist.");
            }
        }),
    ]
}

fn logs() -> Vec<Scenario> {
    vec![
        scenario("7", "`/{id}/logs` → `{\"logs\":[...]}`.", "logs are found by the id", async |me| {
            me.create_sh("a", "echo out; echo err >&2; echo '{}'").await;
            let id = me.invoke("a", json!({})).await.word("activationId");
            let logs = me.record(&id).await.at("logs");
            me.get(&format!("activations/{id}/logs")).await.is(200).is_json(json!({"logs": logs}));
            assert_eq!(logs.as_array().map(Vec::len), Some(2), "{logs}");
        })
        .and("16", "logs appear in the stored record later"),
        scenario("7", LOGS, "a line of logs has a time, a stream and its text", async |me| {
            let code = "function main() { console.log('to out'); console.error('to err'); return {} }";
            me.put("actions/a", json!({"exec": node(code)})).await.is(200);
            let id = me.invoke("a", json!({})).await.is(200).word("activationId");
            let logs = me.record(&id).await.at("logs");
            for (line, ending) in [(&logs[0], " stdout: to out"), (&logs[1], " stderr: to err")] {
                let line = line.as_str().unwrap();
                assert!(line.ends_with(ending) && line.find(" std") == Some(30), "{logs}");
                assert!(line.as_bytes()[10] == b'T' && line[..30].trim_end().ends_with('Z'), "{logs}");
            }
        }),
        scenario("7", LOGS, "an action that says nothing has no logs", async |me| {
            let id = ran(&me, "a", &[1]).await.remove(0);
            me.record(&id).await.has("logs", json!([]));
            me.get(&format!("activations/{id}/logs")).await.is(200).is_json(json!({"logs": []}));
        }),
        scenario(
            "11.5",
            "logs limit 0 → no collection.",
            "an action with no room for logs has none",
            async |me| {
                let code = "function main() { console.log('lost'); return {} }";
                me.put("actions/a", json!({"exec": node(code), "limits": {"logs": 0}})).await.is(200);
                let id = me.invoke("a", json!({})).await.is(200).word("activationId");
                me.record(&id).await.has("logs", json!([]));
            },
        ),
        scenario(
            "11.5",
            "truncated, last line `Logs were truncated because the total bytes size exceeds the limit \
                of N bytes.`",
            "logs beyond the limit are cut and say so",
            async |me| {
                let code = "function main() { for (let i = 0; i < 1200; i++) console.log('x'.repeat(1000)); return \
                {} }";
                me.put("actions/a", json!({"exec": node(code), "limits": {"logs": 1}})).await.is(200);
                let id = me.invoke("a", json!({})).await.is(200).word("activationId");
                let logs = me.record(&id).await.at("logs");
                let last = logs.as_array().unwrap().last().unwrap().as_str().unwrap();
                assert!(
                    last.contains(
                        "Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."
                    ),
                    "{last}"
                );
            },
        ),
    ]
}

fn refused() -> Vec<Scenario> {
    vec![
        scenario("7", ONLY_GET, "activations can be neither made nor changed nor removed", async |me| {
            let id = "0123456789abcdef".repeat(2);
            for path in [
                "activations".to_owned(),
                format!("activations/{id}"),
                format!("activations/{id}/logs"),
                format!("activations/{id}/result"),
            ] {
                for method in ["POST", "PUT", "DELETE"] {
                    me.call(method, &path).text("application/json", "{}").await.is(405);
                }
            }
        })
        .and("B", "POST/PUT/DELETE 405"),
        scenario(
            "7",
            "New activations can lag: clients poll.",
            "the activation of an accepted call appears when it has ended",
            async |me| {
                me.create_echo("a").await;
                let id = me.post("actions/a", json!({"k": 1})).await.is(202).word("activationId");
                me.record(&id).await.has("response/result", json!({"k": 1})).has("activationId", id.as_str());
            },
        ),
    ]
}
