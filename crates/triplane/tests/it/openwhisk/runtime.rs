//! What an action sees of the platform and the platform of an action: `/init` and `/run`, the environment, warm containers,
//! logs, and what the Node.js runtime says (section 11).

use serde_json::{Value, json};
use triplane_testkit::zip::base64_of_zip;

use super::{Guest, Reply, Scenario, node, scenario, sh};

const INIT: &str = "### 11.2 POST /init (once per container)";
const ENV: &str = "`main` default \"main\"; `code` absent for blackbox without code; env values are strings \
                (null→\"\", bool/number→text, object/array→compact JSON).";
const RUN: &str = "Keys other than value become env `__OW_<UPPER>` for the call.";
const NODEJS: &str = "| nodejs (express) |";
const STAYS_WARM: &str = "After success or application error the container stays warm; after developer error, \
                whisk error or log-collection failure it is destroyed.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [init(), run(), warm(), logs(), nodejs(), scripts()].into_iter().flatten().collect()
}

/// Creates an action in JavaScript.
async fn create(me: &Guest, code: &str) {
    me.put("actions/a", json!({"exec": node(code)})).await.is(200);
}

/// Calls `a` and expects a developer's error.
async fn developer_error(me: &Guest) -> Reply {
    me.invoke("a", json!({})).await.is(502).has("response/status", "action developer error")
}

/// Whether a record is of a cold call.
fn is_cold(record: &Reply) -> bool {
    triplane_testkit::json::keyed(&record.at("annotations"), "initTime").is_some()
}

fn init() -> Vec<Scenario> {
    vec![
        scenario("11.2", INIT, "an action is told who it is and who calls", async |me| {
            create(&me, "function main() { return process.env }").await;
            let reply = me.invoke("a", json!({})).header("X-Request-ID", "tx-1").await.is(200);
            let reply = reply.has("response/result/__OW_NAMESPACE", me.namespace.as_str());
            let reply =
                reply.has("response/result/__OW_ACTION_NAME", format!("/{}/a", me.namespace).as_str());
            let reply = reply
                .has("response/result/__OW_ACTION_VERSION", "0.0.1")
                .has("response/result/__OW_TRANSACTION_ID", "tx-1");
            let id = reply.word("activationId");
            let reply = reply
                .has("response/result/__OW_ACTIVATION_ID", id.as_str())
                .lacks("response/result/__OW_API_KEY");
            let host = reply.word("response/result/__OW_API_HOST");
            reply.holds(host.starts_with("http"), || "an address in __OW_API_HOST".to_owned());
        })
        .and("11.1", "Env at creation: `__OW_API_HOST` (scheme://host[:port] given to users)"),
        scenario(
            "16",
            "`deadline` is a string of ms.",
            "the deadline is the time limit from now, in milliseconds",
            async |me| {
                let code =
                    "function main() { return {left: Number(process.env.__OW_DEADLINE) - Date.now()} }";
                me.put("actions/a", json!({"exec": node(code), "limits": {"timeout": 20_000}})).await.is(200);
                let reply = me.result("a", json!({})).await.is(200);
                let left = reply.at("left").as_i64().unwrap();
                reply.holds((1..=20_000).contains(&left), || "at most twenty seconds".to_owned());
            },
        ),
        scenario("11.2", ENV, "init parameters of every kind are texts in the environment", async |me| {
            let parameters = json!([
                {"key": "NOTHING", "value": null, "init": true}, {"key": "YES", "value": true, "init": true},
                {"key": "NUMBER", "value": 1.5, "init": true}, {"key": "TEXT", "value": "a b", "init": true},
                {"key": "OBJECT", "value": {"a": [1, 2]}, "init": true},
            ]);
            let code = "function main() { const {NOTHING, YES, NUMBER, TEXT, OBJECT} = process.env; return \
                {NOTHING, YES, NUMBER, TEXT, OBJECT} }";
            me.put("actions/a", json!({"exec": node(code), "parameters": parameters})).await.is(200);
            let expected = json!({"NOTHING": "", "YES": "true", "NUMBER": "1.5", "TEXT": "a b", "OBJECT": "{\"a\":[1,2]}"});
            me.result("a", json!({})).await.is(200).is_json(expected);
        }),
        scenario("11.2", ENV, "main is the function's name unless another is given", async |me| {
            let code = "function main() { return {f: 'main'} } function other() { return {f: 'other'} }";
            create(&me, code).await;
            me.result("a", json!({})).await.is(200).is_json(json!({"f": "main"}));
            let exec = json!({"kind": "nodejs:20", "code": code, "main": "other"});
            me.put("actions/b", json!({"exec": exec})).await.is(200);
            me.result("b", json!({})).await.is(200).is_json(json!({"f": "other"}));
        }),
        scenario(
            "11.2",
            "Init failure → run skipped; record has initTime and duration = init time; container \
                destroyed.",
            "code that cannot be loaded is a developer's error with an initTime",
            async |me| {
                create(&me, "function main( {").await;
                let reply = developer_error(&me).await;
                let text = reply.word("response/result/error");
                let reply = reply.holds(text.starts_with("Initialization has failed due to: "), || {
                    "a failed initialization".to_owned()
                });
                let annotations = reply.at("annotations");
                let time = triplane_testkit::json::keyed(&annotations, "initTime").and_then(Value::as_u64);
                let duration = reply.at("duration").as_u64();
                reply.holds(time.is_some() && time == duration, || "a duration of the initTime".to_owned());
                assert!(is_cold(&developer_error(&me).await), "the container was kept");
            },
        ),
        scenario(
            "11.2",
            "non-200, JSON object | developer error = its `error` or `The action failed during \
                initialization: <raw>`",
            "a main that is not there is a developer's error",
            async |me| {
                let exec = json!({"kind": "nodejs:20", "code": "function main() {}", "main": "nothing"});
                me.put("actions/a", json!({"exec": exec})).await.is(200);
                let reply = developer_error(&me).await;
                let text = reply.word("response/result/error");
                reply.holds(text.contains("nothing"), || "an error about the missing function".to_owned());
            },
        ),
    ]
}

fn run() -> Vec<Scenario> {
    vec![
        scenario("11.3", RUN, "each call of a warm container sees its own identity", async |me| {
            create(
                &me,
                "function main() { return {id: process.env.__OW_ACTIVATION_ID, tx: \
                process.env.__OW_TRANSACTION_ID} }",
            )
            .await;
            for transaction in ["tx-1", "tx-2"] {
                let reply = me.invoke("a", json!({})).header("X-Request-ID", transaction).await.is(200);
                let id = reply.word("activationId");
                reply.has("response/result", json!({"id": id, "tx": transaction}));
            }
        }),
        scenario(
            "11.3",
            "200 scalar / non-JSON | developer error `The action did not produce a valid JSON or JSON \
                Array response: <raw>`",
            "a result that is no object or array is a developer's error",
            async |me| {
                for value in ["42", "'text'", "true"] {
                    let body = json!({"exec": node(&format!("function main() {{ return {value} }}"))});
                    me.put("actions/a?overwrite=true", body).await.is(200);
                    developer_error(&me)
                        .await
                        .has("response/result/error", "The action did not return a dictionary.");
                }
            },
        )
        .and("11.6", "502 `The action did not return a dictionary.`"),
        scenario(
            "11.3",
            "200 object with `error` | application error, result = {error: value}",
            "an error that the action returns is an application's",
            async |me| {
                create(&me, "function main() { return {error: {code: 7}, more: 1} }").await;
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "application error");
                reply.has("response/result", json!({"error": {"code": 7}}));
            },
        ),
        scenario(
            "11.3",
            "duration ≥ timeout | developer error time limit text, timeout true, container destroyed",
            "a container whose call exceeded its time is not used again",
            async |me| {
                let code = "function main({wait}) { return wait ? new Promise(() => {}) : {} }";
                me.put("actions/a", json!({"exec": node(code), "limits": {"timeout": 500}})).await.is(200);
                me.invoke("a", json!({})).await.is(200);
                me.invoke("a", json!({"wait": true})).await.is(502).annotated("timeout", true);
                assert!(is_cold(&me.invoke("a", json!({})).await.is(200)), "the container was used again");
            },
        ),
        scenario(
            "16",
            "Time limit applies separately to init and run",
            "initialization has a time limit of its own",
            async |me| {
                let wait = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);";
                let code = format!("{wait} function main() {{ {wait} return {{}} }}");
                me.put("actions/a", json!({"exec": node(&code), "limits": {"timeout": 4_000}})).await.is(200);
                // both take less than the limit, together more
                me.invoke("a", json!({})).await.is(200).annotated("timeout", false);
            },
        ),
    ]
}

fn warm() -> Vec<Scenario> {
    const COUNTS: &str = "let runs = 0; function main(args) { runs++; if (args.throw) throw new Error('x'); return \
                args.error ? args : {runs} }";
    vec![
        scenario(
            "11.4",
            "Reuse only for the same (invocation namespace, action name+revision).",
            "a warm container keeps what the action kept",
            async |me| {
                create(&me, COUNTS).await;
                me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
                me.result("a", json!({})).await.is(200).is_json(json!({"runs": 2}));
            },
        ),
        scenario("11.3", STAYS_WARM, "a container stays warm after an application error", async |me| {
            create(&me, COUNTS).await;
            me.invoke("a", json!({"error": "x"})).await.is(502);
            me.result("a", json!({})).await.is(200).is_json(json!({"runs": 2}));
        }),
        scenario("11.3", STAYS_WARM, "a container is gone after a developer error", async |me| {
            create(&me, COUNTS).await;
            me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
            me.invoke("a", json!({"throw": true})).await.is(502);
            me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
        }),
        scenario(
            "11.4",
            "Updating an action makes old containers unusable.",
            "an update ends what the action kept",
            async |me| {
                create(&me, COUNTS).await;
                me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
                me.put("actions/a?overwrite=true", json!({})).await.is(200);
                me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
            },
        ),
        scenario(
            "11.4",
            "Reuse only for the same (invocation namespace, action name+revision).",
            "an action that was deleted and created anew starts anew",
            async |me| {
                create(&me, COUNTS).await;
                me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
                me.delete("actions/a").await.is(200);
                create(&me, COUNTS).await;
                me.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
            },
        ),
        scenario(
            "11.4",
            "Reuse only for the same (invocation namespace, action name+revision).",
            "two subjects do not share a container",
            async |me| {
                let other = me.other().await;
                for subject in [&me, &other] {
                    create(subject, COUNTS).await;
                    subject.result("a", json!({})).await.is(200).is_json(json!({"runs": 1}));
                }
            },
        ),
        scenario(
            "11.4",
            "Concurrency: `limits.concurrency`>1 sends overlapping /run to one container",
            "calls overlap in a container that may take several",
            async |me| {
                // each waits until both are there, so that they end only if they overlap
                let code = "let wake; const both = new Promise((done) => wake = done); let here = 0; \
                        async function main({warm}) { if (warm) return {}; if (++here === 2) wake(); await both; return {here} }";
                let body = json!({"exec": node(code), "limits": {"concurrency": 2, "timeout": 60_000}});
                me.put("actions/a", body).await.is(200);
                me.invoke("a", json!({"warm": true})).await.is(200);
                let (first, second) = tokio::join!(
                    me.result("a", json!({})).into_future(),
                    me.result("a", json!({})).into_future()
                );
                for reply in [first, second] {
                    reply.is(200).has("here", 2);
                }
            },
        ),
    ]
}

fn logs() -> Vec<Scenario> {
    const SENTINELS: &str = "the platform reads until two sentinels, drops them, prefixes timestamp+stream.";
    const MISSING: &str = "a last stderr line is added: `The action did not initialize or run as expected. Log data \
                might be missing.`";
    vec![
        scenario("11.5", SENTINELS, "logs hold nothing but what the action wrote", async |me| {
            create(&me, "function main() { console.log('one'); console.log('two'); return {} }").await;
            for _ in 0..2 {
                let id = me.invoke("a", json!({})).await.is(200).word("activationId");
                let logs = me.record(&id).await.at("logs");
                let texts: Vec<&str> =
                    logs.as_array().unwrap().iter().map(|line| &line.as_str().unwrap()[31..]).collect();
                assert_eq!(texts, ["stdout: one", "stdout: two"], "{logs}");
            }
        }),
        scenario(
            "11.5",
            MISSING,
            "the logs of a developer's error say that they may lack something",
            async |me| {
                create(&me, "function main() { console.log('one'); throw new Error('x') }").await;
                let id = developer_error(&me).await.word("activationId");
                let logs = me.record(&id).await.at("logs");
                let last = logs.as_array().unwrap().last().unwrap().as_str().unwrap();
                assert!(
                    last.ends_with(
                        "stderr: The action did not initialize or run as expected. Log data might be missing."
                    ),
                    "{logs}"
                );
                assert!(logs.to_string().contains("stdout: one"), "{logs}");
            },
        ),
        scenario(
            "11.5",
            "After each activation (and failing init) runtimes print",
            "what is written while the code is loaded is logged",
            async |me| {
                create(&me, "console.log('loaded'); function main() { console.log('ran'); return {} }").await;
                let id = me.invoke("a", json!({})).await.is(200).word("activationId");
                let logs = me.record(&id).await.at("logs").to_string();
                assert!(logs.contains("stdout: loaded") && logs.contains("stdout: ran"), "{logs}");
            },
        ),
    ]
}

fn nodejs() -> Vec<Scenario> {
    vec![
        scenario("11.6", NODEJS, "a module of ECMAScript may be an action", async |me| {
            create(&me, "export const main = async (args) => ({module: true, ...args})").await;
            me.result("a", json!({"k": 1})).await.is(200).is_json(json!({"module": true, "k": 1}));
        }),
        scenario("11.6", NODEJS, "a function may be exported", async |me| {
            create(&me, "exports.main = () => ({exported: true})").await;
            me.result("a", json!({})).await.is(200).is_json(json!({"exported": true}));
        }),
        scenario(
            "11.6",
            "502 `The action did not return a dictionary.` or `An error has occurred: <e>` (then \
                stopped).",
            "an exception is a developer's error with its text",
            async |me| {
                create(&me, "function main() { throw new Error('broken') }").await;
                let text = developer_error(&me).await.word("response/result/error");
                assert!(text.starts_with("An error has occurred: Error: broken"), "{text}");
            },
        ),
        scenario(
            "11.6",
            "Rejected promise → 200 {error: serialized}; undefined → {}.",
            "a promise that is rejected is an application's error",
            async |me| {
                create(
                    &me,
                    "function main({how}) { return Promise.reject(how === 'text' ? 'text' : {reason: 7}) }",
                )
                .await;
                me.result("a", json!({"how": "text"})).await.is(502).is_json(json!({"error": "text"}));
                me.result("a", json!({})).await.is(502).is_json(json!({"error": {"reason": 7}}));
            },
        ),
        scenario(
            "11.6",
            "Rejected promise → 200 {error: serialized}; undefined → {}.",
            "an error object that a promise is rejected with keeps its message",
            async |me| {
                create(&me, "function main() { return Promise.reject(new Error('broken')) }").await;
                let reply =
                    me.invoke("a", json!({})).await.is(502).has("response/status", "application error");
                let error = reply.at("response/result/error").to_string();
                reply.holds(error.contains("broken"), || "the message in the error".to_owned());
            },
        ),
        scenario(
            "11.6",
            "Rejected promise → 200 {error: serialized}; undefined → {}.",
            "nothing is an empty object",
            async |me| {
                create(&me, "function main() {}").await;
                me.result("a", json!({})).await.is(200).is_json(json!({}));
            },
        ),
        scenario("11.6", NODEJS, "a promise is waited for", async |me| {
            create(
                &me,
                "async function main() { await new Promise((done) => setTimeout(done, 5)); return {done: \
                true} }",
            )
            .await;
            me.result("a", json!({})).await.is(200).is_json(json!({"done": true}));
        }),
        scenario(
            "11.6",
            "zip or tar.gz by magic; needs package.json or index.js",
            "an archive runs by its package.json",
            async |me| {
                let zip = base64_of_zip(&[
                    ("package.json", "{\"main\": \"start.js\"}"),
                    ("start.js", "exports.main = () => ({part: require('./part')})"),
                    ("part.js", "module.exports = 'whole'"),
                ]);
                me.put("actions/a", json!({"exec": node(&zip)})).await.is(200).has("exec/binary", true);
                me.result("a", json!({})).await.is(200).is_json(json!({"part": "whole"}));
            },
        ),
        scenario(
            "11.6",
            "zip or tar.gz by magic; needs package.json or index.js",
            "an archive runs by its index.js",
            async |me| {
                let zip = base64_of_zip(&[("index.js", "exports.main = () => ({index: true})")]);
                me.put("actions/a", json!({"exec": node(&zip)})).await.is(200);
                me.result("a", json!({})).await.is(200).is_json(json!({"index": true}));
            },
        ),
        scenario(
            "11.6",
            "zip or tar.gz by magic; needs package.json or index.js",
            "an archive without either is a developer's error",
            async |me| {
                let zip = base64_of_zip(&[("readme.txt", "nothing")]);
                me.put("actions/a", json!({"exec": node(&zip)})).await.is(200);
                developer_error(&me).await.annotated("timeout", false);
            },
        ),
        scenario("11.6", "main may be `module.func`", "main may be a function of an object", async |me| {
            let exec = json!({"kind": "nodejs:20", "code": "const api = {get: () => ({got: true})}", "main": "api.get"});
            me.put("actions/a", json!({"exec": exec})).await.is(200);
            me.result("a", json!({})).await.is(200).is_json(json!({"got": true}));
        }),
        scenario(
            "11.6",
            "403 `Cannot initialize the action more than once.` / `Missing main/no code to execute.`",
            "an action without code is a developer's error",
            async |me| {
                create(&me, "").await;
                developer_error(&me).await.has("response/result/error", "Missing main/no code to execute.");
            },
        ),
    ]
}

fn scripts() -> Vec<Scenario> {
    const SKELETON: &str = "runs /action/exec per call with JSON as argv[1] (≤131071 bytes) and on stdin; last \
                stdout line is the result, rest is log";
    vec![
        scenario(
            "11.6",
            SKELETON,
            "a script gets its arguments as its first argument and on its input",
            async |me| {
                me.put("actions/a", json!({"exec": sh("echo \"$1\"")})).await.is(200);
                me.put("actions/b", json!({"exec": sh("cat")})).await.is(200);
                for name in ["a", "b"] {
                    me.result(name, json!({"k": "v w"})).await.is(200).is_json(json!({"k": "v w"}));
                }
            },
        ),
        scenario("11.6", SKELETON, "what a script prints before its last line is its log", async |me| {
            me.create_sh("a", "echo first; echo second; echo '{\"k\": 1}'").await;
            let reply = me.invoke("a", json!({})).await.is(200).has("response/result", json!({"k": 1}));
            let logs = me.record(&reply.word("activationId")).await.at("logs").to_string();
            assert!(
                logs.contains("stdout: first")
                    && logs.contains("stdout: second")
                    && !logs.contains("\\\"k\\\""),
                "{logs}"
            );
        }),
        scenario(
            "11.6",
            "502 `The action failed to generate or locate a binary. See logs for details.`",
            "code that is no program is a developer's error",
            async |me| {
                let exec = json!({"kind": "native:default", "code": "not a program"});
                me.put("actions/a", json!({"exec": exec})).await.is(200);
                let text = "The action failed to generate or locate a binary. See logs for details.";
                developer_error(&me).await.has("response/result/error", text);
            },
        ),
        scenario(
            "11.6",
            "502 `The action did not return a dictionary or array.`",
            "a script whose last line is no object is a developer's error",
            async |me| {
                for last in ["42", "text", "'\"x\"'"] {
                    me.put("actions/a?overwrite=true", json!({"exec": sh(&format!("echo {last}"))}))
                        .await
                        .is(200);
                    developer_error(&me)
                        .await
                        .has("response/result/error", "The action did not return a dictionary or array.");
                }
            },
        ),
        scenario(
            "11.2",
            INIT,
            "a script sees who it is and init parameters in its environment",
            async |me| {
                let parameters = json!([{"key": "PLACE", "value": "here", "init": true}]);
                let script = "printf '{\"name\":\"%s\",\"place\":\"%s\"}' \"$__OW_ACTION_NAME\" \"$PLACE\"";
                me.put("actions/a", json!({"exec": sh(script), "parameters": parameters})).await.is(200);
                me.result("a", json!({}))
                    .await
                    .is(200)
                    .is_json(json!({"name": format!("/{}/a", me.namespace), "place": "here"}));
            },
        ),
    ]
}
