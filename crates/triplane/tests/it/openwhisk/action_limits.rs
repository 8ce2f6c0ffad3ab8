//! The limits of actions and the sizes of what they consist of (section 2.1).

use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, array, node, scenario};

const LIMITS: &str = "Defaults 60000/256/10/1/absent. Out: all but `instances` always present.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [limits(), sizes()].into_iter().flatten().collect()
}

/// Creates an action with further fields.
async fn create_with(me: &Guest, fields: Value) -> Reply {
    let mut body = json!({"exec": node("function main(args) { return args }")});
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    me.put("actions/a", body).await
}

fn limits() -> Vec<Scenario> {
    async fn refused(me: &Guest, limits: Value, text: &str) {
        create_with(me, json!({"limits": limits})).await.is(400).mentions(text);
        me.get("actions/a").await.is(404);
    }
    const MEMORY: &str = "`memory size 600 MB exceeds allowed threshold of 512 MB`";
    const TIME: &str = "`duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds`";
    const WHOLE: &str = "non-integers: `time limit must be whole number` etc.";
    vec![
        scenario("2.1", LIMITS, "an action has OpenWhisk's default limits", async |me| {
            me.create("a")
                .await
                .has("limits", json!({"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}));
        }),
        scenario("2.1", LIMITS, "each limit may be given alone", async |me| {
            for (key, value) in
                [("timeout", 1000), ("memory", 128), ("logs", 1), ("concurrency", 1), ("instances", 5)]
            {
                let path = format!("actions/{key}");
                let reply = me.put(&path, json!({"exec": node("1"), "limits": {key: value}})).await.is(200);
                reply.has(&format!("limits/{key}"), value);
            }
        }),
        scenario("2.1", LIMITS, "instances are shown only where they were given", async |me| {
            me.create("a").await.lacks("limits/instances");
            me.put("actions/b", json!({"exec": node("1"), "limits": {"instances": 2}}))
                .await
                .is(200)
                .has("limits/instances", 2);
        }),
        scenario("2.1", MEMORY, "too much memory is 400", async |me| {
            refused(&me, json!({"memory": 600}), "memory size 600 MB exceeds allowed threshold of 512 MB")
                .await;
            refused(&me, json!({"memory": 513}), "memory size 513 MB exceeds allowed threshold of 512 MB")
                .await;
            create_with(&me, json!({"limits": {"memory": 512}})).await.is(200).has("limits/memory", 512);
        })
        .and("B", "limits at and beyond each bound"),
        scenario("2.1", "`... below allowed threshold of 128 MB`", "too little memory is 400", async |me| {
            refused(&me, json!({"memory": 127}), "memory size 127 MB below allowed threshold of 128 MB")
                .await;
            refused(&me, json!({"memory": 0}), "memory size 0 MB below allowed threshold of 128 MB").await;
            create_with(&me, json!({"limits": {"memory": 128}})).await.is(200).has("limits/memory", 128);
        }),
        scenario("2.1", TIME, "too long a time is 400", async |me| {
            let text = "duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds";
            refused(&me, json!({"timeout": 300_001}), text).await;
            create_with(&me, json!({"limits": {"timeout": 300_000}}))
                .await
                .is(200)
                .has("limits/timeout", 300_000);
        }),
        scenario(
            "2.1",
            "`duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds` / `... \
                below ...`",
            "too short a time is 400",
            async |me| {
                refused(
                    &me,
                    json!({"timeout": 99}),
                    "duration 99 milliseconds below allowed threshold of 100 milliseconds",
                )
                .await;
                create_with(&me, json!({"limits": {"timeout": 100}}))
                    .await
                    .is(200)
                    .has("limits/timeout", 100);
            },
        ),
        scenario("2.1", "logs use field `log`", "too many logs are 400", async |me| {
            refused(&me, json!({"logs": 11}), "log size 11 MB exceeds allowed threshold of 10 MB").await;
            create_with(&me, json!({"limits": {"logs": 10}})).await.is(200).has("limits/logs", 10);
            me.put("actions/none", json!({"exec": node("1"), "limits": {"logs": 0}}))
                .await
                .is(200)
                .has("limits/logs", 0);
        }),
        scenario(
            "2.1",
            "`concurrency 5 exceeds allowed threshold of 1` / `... below ...`",
            "concurrency has its bounds",
            async |me| {
                let max = me.get("limits").await.at("maxActionConcurrency").as_u64().unwrap();
                let beyond = max + 1;
                refused(
                    &me,
                    json!({"concurrency": beyond}),
                    &format!("concurrency {beyond} exceeds allowed threshold of {max}"),
                )
                .await;
                refused(&me, json!({"concurrency": 0}), "concurrency 0 below allowed threshold of 1").await;
                create_with(&me, json!({"limits": {"concurrency": max}}))
                    .await
                    .is(200)
                    .has("limits/concurrency", max);
            },
        ),
        scenario(
            "2.1",
            "`Max action instance concurrency must not exceed your namespace concurrency of N.`",
            "instances beyond the namespace's concurrency are 400",
            async |me| {
                refused(
                    &me,
                    json!({"instances": 31}),
                    "Max action instance concurrency must not exceed your namespace concurrency of 30.",
                )
                .await;
                create_with(&me, json!({"limits": {"instances": 30}}))
                    .await
                    .is(200)
                    .has("limits/instances", 30);
            },
        )
        .and("B", "`instances` > ns concurrency 400"),
        scenario(
            "2.1",
            "`Action container concurrency must be greater than or equal to 0.`",
            "no instances and fewer are 400",
            async |me| {
                for instances in [0, -1] {
                    refused(
                        &me,
                        json!({"instances": instances}),
                        "Action container concurrency must be greater than or equal to 0.",
                    )
                    .await;
                }
            },
        )
        .and("1.3", "detail of a Scala `require` is prefixed `requirement failed: `"),
        scenario("2.1", WHOLE, "instances that are no whole number are 400", async |me| {
            refused(&me, json!({"instances": 1.5}), "must be whole number").await;
        }),
        scenario("2.1", WHOLE, "a time that is no whole number is 400", async |me| {
            refused(&me, json!({"timeout": 1.5}), "time limit must be whole number").await;
            refused(&me, json!({"timeout": "x"}), "time limit must be whole number").await;
        }),
        scenario(
            "2.1",
            WHOLE,
            "memory, logs and concurrency that are no whole numbers are 400",
            async |me| {
                for key in ["memory", "logs", "concurrency"] {
                    refused(&me, json!({key: 1.5}), "must be whole number").await;
                    refused(&me, json!({key: "x"}), "must be whole number").await;
                }
            },
        ),
        scenario(
            "2.1",
            "`limits`: `timeout` ms, `memory` MB, `logs` MB, `concurrency` (activations per \
                container)",
            "limits have to be an object",
            async |me| {
                for bad in [json!([]), json!("x"), json!(1)] {
                    refused(&me, bad, "The request content was malformed:\n").await;
                }
            },
        ),
    ]
}

fn sizes() -> Vec<Scenario> {
    const SIZES: &str = "Size: code+main ≤ 48 MB (`exec`), parameters ≤ 1 MB, annotations ≤ 1 MB → 413.";
    const TEXT: &str = "`<field> larger than allowed: <n> > <max> bytes.` with field `Request`, `exec`, \
                `parameters` or `annotations`";
    vec![
        scenario("2.1", SIZES, "parameters of more than 1 MB are 413", async |me| {
            let reply = create_with(&me, json!({"parameters": array(json!({"k": "x".repeat(1024 * 1024)}))}))
                .await
                .is(413);
            reply.mentions("parameters larger than allowed: ").mentions(" > 1048576 bytes.");
        })
        .and("1.3", TEXT)
        .and("B", "oversize exec/params/annotations 413"),
        scenario("2.1", SIZES, "annotations of more than 1 MB are 413", async |me| {
            let reply =
                create_with(&me, json!({"annotations": array(json!({"k": "x".repeat(1024 * 1024)}))}))
                    .await
                    .is(413);
            reply.mentions("annotations larger than allowed: ").mentions(" > 1048576 bytes.");
        }),
        scenario("2.1", SIZES, "parameters of nearly 1 MB are kept", async |me| {
            let value = "x".repeat(1000 * 1000);
            create_with(&me, json!({"parameters": array(json!({"k": value}))})).await.is(200).keyed(
                "parameters",
                "k",
                value,
            );
        }),
        scenario("2.1", SIZES, "code of more than 48 MB is 413", async |me| {
            let reply =
                me.put("actions/a", json!({"exec": node(&"/".repeat(48 * 1024 * 1024 + 1))})).await.is(413);
            reply.says(&format!(
                "exec larger than allowed: {} > {} bytes.",
                48 * 1024 * 1024 + 1,
                48 * 1024 * 1024
            ));
        }),
    ]
}
