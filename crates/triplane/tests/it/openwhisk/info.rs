//! Info documents, limits of a namespace, and lists (sections 1.8 and 1.9).

use serde_json::{Value, json};

use super::{Guest, Scenario, node, scenario};

const LISTS: &str = "Query `limit` (default 30, max 200, `0` means max 200), `skip` (default 0), `count` \
                (bool, default false).";
const ACTION_ITEMS: &str = "namespace, name, version, publish, annotations, updated, `limits`, `exec: {\"binary\": \
                bool}`";

pub(super) fn scenarios() -> Vec<Scenario> {
    [documents(), limits(), lists(), items()].into_iter().flatten().collect()
}

/// Creates so many actions, `a00` first.
async fn create_many(me: &Guest, count: usize) {
    for number in 0..count {
        me.put(&format!("actions/a{number:02}"), json!({"exec": node("1")})).await.is(200);
    }
}

/// The names in a list.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn documents() -> Vec<Scenario> {
    vec![
        scenario(
            "1.8",
            "{\"description\":\"OpenWhisk API\",\"api_version\":\"1.0.0\",\"api_version_path\":\"v1\"",
            "the info document of the API names version and documentation",
            async |me| {
                let reply = me.anonymous().get("/api/v1").await.is(200);
                let reply = reply
                    .has("description", "OpenWhisk API")
                    .has("api_version", "1.0.0")
                    .has("api_version_path", "v1");
                let reply = reply.has("swagger_paths", json!({"ui": "/docs", "api-docs": "/api-docs"}));
                let has_build = reply.at("build").is_string() && reply.at("buildno").is_string();
                reply.holds(has_build, || "build and buildno as texts".to_owned());
            },
        ),
        scenario(
            "1.8",
            "\"limits\":{\"actions_per_minute\":60,\"triggers_per_minute\":60,\"concurrent_actions\":30,\"sequence_length\":50",
            "the info document of the controller names the limits",
            async |me| {
                let limits = me.anonymous().get("/").await.is(200).at("limits");
                for (key, value) in [
                    ("actions_per_minute", 60),
                    ("triggers_per_minute", 60),
                    ("concurrent_actions", 30),
                    ("sequence_length", 50),
                    ("min_action_duration", 100),
                    ("max_action_duration", 300_000),
                    ("min_action_memory", 134_217_728),
                    ("max_action_memory", 536_870_912),
                    ("min_action_logs", 0),
                    ("max_action_logs", 10_485_760),
                    ("default_min_action_duration", 100),
                    ("default_max_action_duration", 300_000),
                    ("default_min_action_memory", 134_217_728),
                    ("default_max_action_memory", 536_870_912),
                    ("default_min_action_logs", 0),
                    ("default_max_action_logs", 10_485_760),
                ] {
                    assert_eq!(limits[key], value, "{key} of {limits}");
                }
            },
        ),
        scenario(
            "1.8",
            "\"runtimes\":{\"nodejs\":[{\"kind\":\"nodejs:20\",\"image\":\"openwhisk/action-nodejs-v20:nightly\",\"deprecated\":false,\"default\":true,\"attached\":true,\"requireMain\":false}]",
            "the info document of the controller names the runtimes",
            async |me| {
                let nodejs = me.anonymous().get("/").await.is(200).at("runtimes/nodejs");
                let kinds = nodejs.as_array().unwrap();
                let node20 = kinds.iter().find(|runtime| runtime["kind"] == "nodejs:20").unwrap();
                for (key, value) in
                    [("deprecated", false), ("default", true), ("attached", true), ("requireMain", false)]
                {
                    assert_eq!(node20[key], value, "{key} of {node20}");
                }
                assert!(node20["image"].as_str().unwrap().contains("action-nodejs-v20"), "{node20}");
                assert_eq!(kinds.iter().filter(|runtime| runtime["default"] == true).count(), 1, "{nodejs}");
            },
        ),
        scenario(
            "1.8",
            "\"api_paths\":[\"/api/v1\"]",
            "the info document of the controller names the paths and the support",
            async |me| {
                let reply = me.anonymous().get("/").await.is(200).has("api_paths", json!(["/api/v1"]));
                let support = reply.at("support");
                assert!(support["github"].is_string() && support["slack"].is_string(), "{support}");
            },
        ),
    ]
}

fn limits() -> Vec<Scenario> {
    const FLAT: &str = "flat object; keys `invocationsPerMinute`, `concurrentInvocations`, `firesPerMinute` \
                (ints)";
    vec![
        scenario("1.8", FLAT, "a new namespace has OpenWhisk's limits", async |me| {
            let reply = me.get("limits").await.is(200);
            reply.has("invocationsPerMinute", 60).has("concurrentInvocations", 30).has("firesPerMinute", 60);
        })
        .and(
            "9.1",
            "(The reference doc says 120/min and 100 concurrent; the shipped config says 60 and 30.)",
        ),
        scenario(
            "1.8",
            "`minActionMemory`/`maxActionMemory` (MB int), `minActionLogs`/`maxActionLogs` (MB int), \
                `minActionTimeout`/`maxActionTimeout` (ms int)",
            "the limits of actions are whole numbers",
            async |me| {
                let reply = me.get("limits").await.is(200);
                let reply = reply.has("minActionMemory", 128).has("maxActionMemory", 512);
                let reply = reply.has("minActionLogs", 0).has("maxActionLogs", 10);
                reply.has("minActionTimeout", 100).has("maxActionTimeout", 300_000);
            },
        ),
        scenario("1.8", "`maxParameterSize` (string like `\"1 MB\"`)", "the sizes are texts", async |me| {
            let reply = me.get("limits").await.is(200).has("maxParameterSize", "1 MB");
            reply.has("maxPayloadSize", "1 MB").has("truncationSize", "1 MB");
        }),
        scenario(
            "1.8",
            "`minActionConcurrency`/`maxActionConcurrency` (int)",
            "the limits say how many activations a container may take",
            async |me| {
                let reply = me.get("limits").await.is(200).has("minActionConcurrency", 1);
                let max = reply.at("maxActionConcurrency").as_u64();
                reply.holds(max >= Some(1), || "a whole number for maxActionConcurrency".to_owned());
            },
        ),
        scenario(
            "1.8",
            "`storeActivations` bool",
            "activations are stored unless somebody says otherwise",
            async |me| {
                me.get("limits").await.is(200).has("storeActivations", true);
            },
        ),
        scenario("1.8", "(own ns only)", "the limits of another are 403", async |me| {
            let other = me.other().await;
            me.get(&format!("/api/v1/namespaces/{}/limits", other.namespace)).await.is(403);
            me.get(&format!("/api/v1/namespaces/{}/limits", me.namespace)).await.is(200);
        }),
        scenario(
            "1.8",
            "PUT/POST/DELETE → 405.",
            "the limits cannot be changed by their owner",
            async |me| {
                me.put("limits", json!({})).await.is(405);
                me.post("limits", json!({})).await.is(405);
                me.delete("limits").await.is(405);
            },
        ),
    ]
}

fn lists() -> Vec<Scenario> {
    vec![
        scenario("1.9", LISTS, "a list has thirty items unless it is told otherwise", async |me| {
            create_many(&me, 32).await;
            let list = me.get("actions").await.is(200).json();
            assert_eq!(list.as_array().unwrap().len(), 30);
            let all = me.get("actions?limit=0").await.is(200).json();
            assert_eq!(all.as_array().unwrap().len(), 32);
        })
        .and("16", "limit=0 means 200"),
        scenario("1.9", LISTS, "a list can be read in pages", async |me| {
            create_many(&me, 5).await;
            let all = me.get("actions").await.json();
            let (first, second) =
                (me.get("actions?limit=2").await.json(), me.get("actions?limit=2&skip=2").await.json());
            let pages = [
                names(&first),
                names(&second),
                names(&me.get("actions?skip=4").await.json()).iter().map(|_| names(&all)[4]).collect(),
            ]
            .concat();
            assert_eq!(pages, names(&all));
            me.get("actions?skip=99").await.is(200).is_json(json!([]));
        }),
        scenario("1.9", "Order: newest `updated` first.", "what was written last comes first", async |me| {
            create_many(&me, 3).await;
            assert_eq!(names(&me.get("actions").await.json()), ["a02", "a01", "a00"]);
            me.put("actions/a00?overwrite=true", json!({})).await.is(200);
            assert_eq!(names(&me.get("actions").await.json()), ["a00", "a02", "a01"]);
        })
        .and("16", "Lists: newest first"),
        scenario(
            "1.9",
            "`count=true` → object `{\"actions\": N}` (key = collection name), N = total minus skip, \
                limit ignored.",
            "a list can be counted",
            async |me| {
                create_many(&me, 3).await;
                me.get("actions?count=true").await.is(200).is_json(json!({"actions": 3}));
                me.get("actions?count=true&skip=1&limit=1").await.is(200).is_json(json!({"actions": 2}));
                me.get("actions?count=true&skip=9").await.is(200).is_json(json!({"actions": 0}));
                me.get("actions?count=false").await.is(200).has("2/name", "a00");
            },
        ),
        scenario(
            "1.9",
            "(key = collection name)",
            "every collection counts under its own name",
            async |me| {
                for collection in ["packages", "triggers", "rules", "activations"] {
                    me.get(&format!("{collection}?count=true")).await.is(200).is_json(json!({collection: 0}));
                }
            },
        ),
        scenario(
            "1.9",
            "`The value '201' is not in the range of 0 to 200 for actions.`",
            "a limit beyond 200 is 400",
            async |me| {
                for collection in ["actions", "packages", "triggers", "rules", "activations"] {
                    for limit in [201, -1] {
                        me.get(&format!("{collection}?limit={limit}")).await.is(400).says(&format!(
                        "The query parameter 'limit' was malformed:\nThe value '{limit}' is not in the range of 0 \
                to 200 for {collection}."
                    ));
                    }
                    me.get(&format!("{collection}?limit=200")).await.is(200);
                }
            },
        ),
        scenario(
            "1.9",
            "`The value '-1' is not greater than or equal to 0 for actions.`",
            "a negative skip is 400",
            async |me| {
                for collection in ["actions", "packages", "triggers", "rules", "activations"] {
                    me.get(&format!("{collection}?skip=-1")).await.is(400).says(&format!(
                    "The query parameter 'skip' was malformed:\nThe value '-1' is not greater than or equal \
                to 0 for {collection}."
                ));
                }
            },
        ),
        scenario(
            "1.9",
            "`The value 'x' is not an integer for actions.`",
            "a limit that is no number is 400",
            async |me| {
                for collection in ["actions", "packages", "triggers", "rules", "activations"] {
                    for bad in ["x", "1.5", "99999999999"] {
                        me.get(&format!("{collection}?limit={bad}")).await.is(400).says(&format!(
                        "The query parameter 'limit' was malformed:\nThe value '{bad}' is not an integer for \
                {collection}."
                    ));
                    }
                }
            },
        ),
    ]
}

fn items() -> Vec<Scenario> {
    vec![
        scenario("1.9", ACTION_ITEMS, "an action in a list is a summary", async |me| {
            me.put("actions/a", json!({"exec": node("1"), "parameters": super::array(json!({"k": 1}))}))
                .await
                .is(200);
            let reply =
                me.get("actions").await.is(200).has("0/name", "a").has("0/namespace", me.namespace.as_str());
            let reply = reply.has("0/exec", json!({"binary": false})).lacks("0/parameters");
            let reply = reply.has("0/limits/memory", 256).has("0/version", "0.0.1").has("0/publish", false);
            let keys = reply.at("0").as_object().unwrap().len();
            reply.holds(keys == 8, || "eight fields".to_owned());
        }),
        scenario("1.9", ACTION_ITEMS, "a list tells binary code from text", async |me| {
            me.put("actions/a", json!({"exec": node("YWJjZA==")})).await.is(200);
            me.get("actions").await.is(200).has("0/exec", json!({"binary": true}));
        }),
        scenario("1.9", ACTION_ITEMS, "a list shows the annotations, and the kind among them", async |me| {
            me.put(
                "actions/a",
                json!({"exec": node("1"), "annotations": super::array(json!({"mine": "x"}))}),
            )
            .await
            .is(200);
            let item = me.get("actions").await.is(200).at("0/annotations");
            let find = |key| triplane_testkit::json::keyed(&item, key).cloned();
            assert_eq!((find("exec"), find("mine")), (Some(json!("nodejs:20")), Some(json!("x"))), "{item}");
        }),
    ]
}
