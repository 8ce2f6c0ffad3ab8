//! Credentials, names, versions and the fields that all entities have (sections 1.3 to 1.7).

use serde_json::json;
use triplane_testkit::client::{GUEST, WHISK_SYSTEM};

use super::{Scenario, array, node, scenario};

const ILLEGAL_NAME: &str = "The name of the entity contains illegal characters.";

/// `n` times the letter `a`.
fn letters(n: usize) -> String {
    "a".repeat(n)
}

pub(super) fn scenarios() -> Vec<Scenario> {
    [credentials(), names(), versions(), bodies()].into_iter().flatten().collect()
}

fn credentials() -> Vec<Scenario> {
    const NONE: &str = "The resource requires authentication, which was not supplied with the request";
    const WRONG: &str = "The supplied authentication is invalid";
    const SPLIT: &str = "Split at the first colon only; extra parts ignored.";
    vec![
        scenario(
            "1.3",
            "`The resource requires authentication, which was not supplied with the request` [F] + \
                `WWW-Authenticate: Basic realm=\"OpenWhisk secure realm\"`",
            "no credential is 401 with a challenge",
            async |me| {
                let me = me.anonymous();
                for reply in [
                    me.get("actions").await,
                    me.get("/api/v1/namespaces").await,
                    me.put("actions/a", json!({"exec": node("1")})).await,
                    me.post("actions/a", json!({})).await,
                    me.delete("rules/r").await,
                    me.get("limits").await,
                ] {
                    let reply = reply.is(401).says(NONE);
                    let challenge = reply.header("www-authenticate").unwrap_or_default().to_owned();
                    reply.holds(challenge.starts_with("Basic realm=\"OpenWhisk secure realm\""), || {
                        "a challenge".to_owned()
                    });
                }
            },
        )
        .and("1.2", "required for everything under `/namespaces`"),
        scenario("1.3", "`The supplied authentication is invalid`", "a wrong key is 401", async |me| {
            let (uuid, key) = me.credential.split_once(':').unwrap();
            let wrong = format!("{uuid}:{}", key.chars().rev().collect::<String>());
            me.get("actions").credential(&wrong).await.is(401).says(WRONG);
            me.post("actions/a", json!({})).credential(&wrong).await.is(401).says(WRONG);
        }),
        scenario(
            "1.3",
            "`The supplied authentication is invalid`",
            "a credential that cannot be read is 401",
            async |me| {
                for header in ["Basic", "Basic !!!", "Bearer token", "Basic Og==", "Basic YQ=="] {
                    me.get("actions").authorization(header).await.is(401).says(WRONG);
                }
            },
        ),
        scenario(
            "1.3",
            "`The supplied authentication is invalid`",
            "a uuid that is none, and a key that is too short, are 401",
            async |me| {
                let key = me.credential.split_once(':').unwrap().1.to_owned();
                for credential in [format!("guest:{key}"), me.credential[..60].to_owned()] {
                    me.get("actions").credential(&credential).await.is(401).says(WRONG);
                }
            },
        )
        .and("1.4", "uuid is a v4 UUID; key is exactly 64 characters."),
        scenario("1.4", SPLIT, "what follows a second colon is ignored", async |me| {
            let credential = format!("{}:more:parts", me.credential);
            me.get("/api/v1/namespaces").credential(&credential).await.is(200).is_json(json!([me.namespace]));
        }),
        scenario(
            "1.4",
            "The presented key selects both subject and namespace. Namespace name by default = \
                subject.",
            "a key selects its namespace",
            async |me| {
                let other = me.other().await;
                me.get("/api/v1/namespaces").await.is(200).is_json(json!([me.namespace]));
                other.get("/api/v1/namespaces").await.is(200).is_json(json!([other.namespace]));
            },
        )
        .and("1.4", "(exactly one)"),
        scenario(
            "1.4",
            "`_` in the path = the caller's namespace.",
            "an underscore is the caller's namespace",
            async |me| {
                me.create("a").await.has("namespace", me.namespace.as_str());
                let by_name =
                    me.get(&format!("/api/v1/namespaces/{}/actions/a", me.namespace)).await.is(200).json();
                me.get("actions/a").await.is(200).is_json(by_name);
                me.other().await.get("actions/a").await.is(404);
            },
        ),
        scenario(
            "1.4",
            "Well-known dev credentials",
            "the well-known credentials are those of guest and whisk.system",
            async |me| {
                for (credential, namespace) in [(GUEST, "guest"), (WHISK_SYSTEM, "whisk.system")] {
                    let call = me.get("/api/v1/namespaces").credential(credential);
                    call.await.is(200).is_json(json!([namespace]));
                }
            },
        ),
    ]
}

fn names() -> Vec<Scenario> {
    const REGEX: &str =
        "1..256 chars; first char word char; inner may also be `@ space . & -`; last not a space.";
    vec![
        scenario("1.5", REGEX, "names may hold word characters and some signs within", async |me| {
            for name in ["a", "_", "9", "a b", "a@b", "a.b", "a&b", "a-b", "a-", "a@", "a.", "a&", "A_b-9 c"]
            {
                let path = format!("actions/{}", name.replace(' ', "%20"));
                me.put(&path, json!({"exec": node("1")})).await.is(200).has("name", name);
                me.get(&path).await.is(200).has("name", name);
            }
        })
        .and("16", "Names with spaces must be URL-decoded"),
        scenario(
            "1.3",
            "`The name of the entity contains illegal characters.`",
            "names may not begin with signs, nor hold others",
            async |me| {
                for name in [
                    "-a", ".a", "@a", "&a", "%20a", "a%20", "$x", "hi+there", "dora%3F", "a%2Fb", "%C3%A4",
                    "a%0A", "a%22",
                ] {
                    let path = format!("actions/{name}");
                    me.put(&path, json!({"exec": node("1")})).await.is(400).says(ILLEGAL_NAME);
                    me.get(&path).await.is(400).says(ILLEGAL_NAME);
                    me.delete(&path).await.is(400).says(ILLEGAL_NAME);
                    me.post(&path, json!({})).await.is(400).says(ILLEGAL_NAME);
                }
            },
        )
        .and("B", "space/`hi+there`/`$x`/`dora?` → 400"),
        scenario(
            "1.3",
            "`Name segement longer than allowed: 257 > 256.`",
            "a name may have 256 characters and no more",
            async |me| {
                me.put(&format!("actions/{}", letters(256)), json!({"exec": node("1")})).await.is(200);
                let path = format!("actions/{}", letters(257));
                me.put(&path, json!({"exec": node("1")}))
                    .await
                    .is(400)
                    .says("Name segement longer than allowed: 257 > 256.");
                me.post(&path, json!({})).await.is(400).says("Name segement longer than allowed: 257 > 256.");
            },
        ),
        scenario(
            "1.3",
            "`The namespace contains illegal characters.`",
            "a namespace that is no name is 400",
            async |me| {
                for namespace in ["$x", "%20", "a%2Fb"] {
                    let path = format!("/api/v1/namespaces/{namespace}/actions");
                    me.get(&path).await.is(400).says("The namespace contains illegal characters.");
                    me.post(&format!("{path}/a"), json!({}))
                        .await
                        .is(400)
                        .says("The namespace contains illegal characters.");
                }
            },
        ),
        scenario(
            "1.3",
            "`Namespace longer than allowed: N > 256.`",
            "a namespace that is too long is 400",
            async |me| {
                let path = format!("/api/v1/namespaces/{}/actions", letters(300));
                me.get(&path).await.is(400).says("Namespace longer than allowed: 300 > 256.");
            },
        ),
        scenario("1.5", "Case-sensitive.", "names that differ in case are two actions", async |me| {
            me.put("actions/Abc", json!({"exec": node("upper")})).await.is(200);
            me.put("actions/abc", json!({"exec": node("lower")})).await.is(200);
            me.get("actions/Abc").await.has("exec/code", "upper");
            me.get("actions/abc").await.has("exec/code", "lower");
        })
        .and("B", "create same name different case = two actions"),
        scenario(
            "B",
            "create with bad names (empty → 404",
            "an action without a name is 404 or 405",
            async |me| {
                me.put("actions/", json!({"exec": node("1")})).await.is_one_of(&[404, 405]);
            },
        ),
        scenario(
            "16",
            "`%2F` never used by clients except inside query",
            "an escaped slash is no separator",
            async |me| {
                me.get("actions/a%2Fb").await.is(400).says(ILLEGAL_NAME);
                me.get("activations?name=a%2Fb").await.is(200).is_json(json!([]));
            },
        ),
    ]
}

fn versions() -> Vec<Scenario> {
    const VERSION: &str = "semver `x.y.z` string, default `0.0.1`, patch +1 on each update unless the PUT gives \
                `version`.";
    vec![
        scenario("1.5", VERSION, "versions begin at 0.0.1 and grow with each update", async |me| {
            me.create("a").await.has("version", "0.0.1");
            me.put("actions/a?overwrite=true", json!({})).await.is(200).has("version", "0.0.2");
            me.put("actions/a?overwrite=true", json!({"exec": node("2")})).await.has("version", "0.0.3");
        }),
        scenario("1.5", VERSION, "a PUT may give the version", async |me| {
            me.put("actions/a", json!({"exec": node("1"), "version": "1.2.3"}))
                .await
                .is(200)
                .has("version", "1.2.3");
            me.put("actions/a?overwrite=true", json!({})).await.has("version", "1.2.4");
            me.put("actions/a?overwrite=true", json!({"version": "0.1.0"})).await.has("version", "0.1.0");
        }),
        scenario("1.5", "`0.0.0` and negatives rejected.", "versions that are none are 400", async |me| {
            for version in ["0.0.0", "-1.0.0", "1.-1.0", "x", "", "1.2.3.4"] {
                me.put("actions/a", json!({"exec": node("1"), "version": version})).await.is(400);
            }
            me.put("actions/a", json!({"exec": node("1"), "version": 1})).await.is(400);
            me.get("actions/a").await.is(404);
        }),
    ]
}

fn bodies() -> Vec<Scenario> {
    const PAIRS: &str = "JSON array of `{\"key\":string,\"value\":any \
                JSON[,\"init\":bool][,\"encryption\":string|null]}`.";
    vec![
        scenario(
            "1.6",
            "Unknown JSON fields in PUT bodies are ignored (the CLI sends `name`, `namespace`).",
            "fields that nobody knows are ignored",
            async |me| {
                let body = json!({"name": "other", "namespace": "_", "nonsense": [1], "exec": node("1")});
                me.put("actions/a", body).await.is(200).has("name", "a").lacks("nonsense");
                me.get("actions/other").await.is(404);
            },
        ),
        scenario(
            "1.6",
            "`updated` (epoch ms, number; rewritten on every put)",
            "updated is the time of the last write in milliseconds",
            async |me| {
                let first = me.create("a").await.at("updated").as_u64().unwrap();
                let second =
                    me.put("actions/a?overwrite=true", json!({})).await.at("updated").as_u64().unwrap();
                assert!(first > 1_700_000_000_000 && second >= first, "{first} then {second}");
            },
        ),
        scenario(
            "1.6",
            "`publish` (bool, default false; only meaningful on packages)",
            "publish is false unless it is given",
            async |me| {
                me.create("a").await.has("publish", false);
                me.put("actions/b", json!({"exec": node("1"), "publish": true})).await.has("publish", true);
            },
        ),
        scenario("1.6", PAIRS, "values may be any JSON", async |me| {
            let parameters = array(
                json!({"null": null, "number": 1.5, "text": "ü", "list": [1, [2]], "object": {"a": {}}, "bool": true}),
            );
            let reply =
                me.put("actions/a", json!({"exec": node("1"), "parameters": parameters})).await.is(200);
            let reply = reply.keyed("parameters", "number", 1.5).keyed("parameters", "text", "ü");
            reply.keyed("parameters", "list", json!([1, [2]])).keyed(
                "parameters",
                "object",
                json!({"a": {}}),
            );
        }),
        scenario(
            "1.6",
            "Missing `value` is malformed (`parameters malformed!`).",
            "a parameter without a value is 400",
            async |me| {
                let reply = me
                    .put("actions/a", json!({"exec": node("1"), "parameters": [{"key": "k"}]}))
                    .await
                    .is(400);
                reply.mentions("parameters malformed!");
            },
        ),
        scenario("1.6", PAIRS, "parameters and annotations that are no array of pairs are 400", async |me| {
            for bad in [
                json!({"a": 1}),
                json!("x"),
                json!([1]),
                json!([{"value": 1}]),
                json!([{"key": 1, "value": 1}]),
            ] {
                me.put("actions/a", json!({"exec": node("1"), "parameters": bad})).await.is(400);
                me.put("actions/a", json!({"exec": node("1"), "annotations": bad})).await.is(400);
            }
        }),
        scenario(
            "1.6",
            "Duplicate keys: last wins.",
            "the last of two parameters with one key counts",
            async |me| {
                let parameters = json!([{"key": "k", "value": 1}, {"key": "k", "value": 2}]);
                let reply =
                    me.put("actions/a", json!({"exec": node("1"), "parameters": parameters})).await.is(200);
                let count = reply.at("parameters").as_array().unwrap().len();
                reply.keyed("parameters", "k", 2).holds(count == 1, || "one parameter".to_owned());
            },
        ),
        scenario(
            "1.6",
            "`init:true` parameters go to the container environment at /init and not into /run's \
                `value` (11.2).",
            "an init parameter is in the environment and not among the arguments",
            async |me| {
                let parameters =
                    json!([{"key": "PLACE", "value": "env", "init": true}, {"key": "arg", "value": 1}]);
                let code =
                    "function main(args) { return {args: Object.keys(args), place: process.env.PLACE} }";
                me.put("actions/a", json!({"exec": node(code), "parameters": parameters})).await.is(200);
                me.result("a", json!({})).await.is(200).is_json(json!({"args": ["arg"], "place": "env"}));
            },
        ),
        scenario("1.7", "Exists and false → 409.", "overwrite is false unless it is given", async |me| {
            me.create("a").await;
            me.put("actions/a?overwrite=false", json!({"exec": node("2")})).await.is(409);
            me.put("actions/a?overwrite=maybe", json!({"exec": node("2")})).await.is(400);
            me.put("actions/a?overwrite=true", json!({"exec": node("2")}))
                .await
                .is(200)
                .has("exec/code", "2");
        }),
        scenario(
            "1.7",
            "Exists and true → merge: a field absent in the body keeps the stored value.",
            "an update keeps what it does not name",
            async |me| {
                let body = json!({"exec": node("1"), "parameters": array(json!({"k": 1})), "limits": {"memory": 128}, "publish": true});
                me.put("actions/a", body).await.is(200);
                let reply =
                    me.put("actions/a?overwrite=true", json!({"limits": {"timeout": 1000}})).await.is(200);
                let reply = reply.has("exec/code", "1").keyed("parameters", "k", 1).has("limits/memory", 128);
                reply.has("limits/timeout", 1000).has("publish", true);
            },
        ),
        scenario(
            "1.7",
            "Result 200 with the full entity (including code). DELETE → 200 with the deleted entity.",
            "PUT and DELETE answer the whole entity",
            async |me| {
                let put = me
                    .put("actions/a", json!({"exec": node("code")}))
                    .await
                    .is(200)
                    .has("exec/code", "code")
                    .json();
                me.get("actions/a").await.is(200).is_json(put.clone());
                me.delete("actions/a").await.is(200).is_json(put);
                me.get("actions/a").await.is(404);
            },
        ),
        scenario("1.7", "(default false)", "overwrite creates what does not exist", async |me| {
            me.put("actions/a?overwrite=true", json!({"exec": node("1")}))
                .await
                .is(200)
                .has("version", "0.0.1");
        }),
    ]
}
