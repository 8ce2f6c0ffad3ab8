//! Actions: created, read, updated and deleted; their annotations and kinds (section 2).

use serde_json::{Value, json};

use super::{Guest, Scenario, array, node, scenario};

const BINARY: &str = "`binary` is **computed**: true iff trimmed code is non-empty, length %4==0 and matches \
                the base64 regex (so a short plain string such as `abcd` counts as binary).";
const MERGED: &str = "annotations: **merged** (old overlaid by new) after removing `delAnnotations`; then \
                `exec` refreshed.";
const PARAMETERS: &str = "parameters: given → replaces all; absent → kept.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [create(), kinds(), blackbox(), binary(), annotations(), updates()].into_iter().flatten().collect()
}

/// Creates an action with further fields.
async fn create_with(me: &Guest, fields: Value) -> super::Reply {
    let mut body = json!({"exec": node("function main(args) { return args }")});
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    me.put("actions/a", body).await
}

fn malformed(detail: &str) -> String {
    format!("The request content was malformed:\n{detail}")
}

fn create() -> Vec<Scenario> {
    const SHAPE: &str = "PUT action → 200 (also GET with code)";
    vec![
        scenario("A", SHAPE, "a created action has the shape of OpenWhisk's", async |me| {
            let reply = me
                .put("actions/hello", json!({"exec": {"kind": "nodejs:20", "code": "function main(){}"}, "parameters": array(json!({"a": 1}))}))
                .await
                .is(200);
            let body = reply.json();
            let expected = json!({
                "annotations": body["annotations"],
                "exec": {"binary": false, "code": "function main(){}", "kind": "nodejs:20"},
                "limits": {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000},
                "name": "hello", "namespace": me.namespace, "parameters": [{"key": "a", "value": 1}],
                "publish": false, "updated": body["updated"], "version": "0.0.1",
            });
            let reply = reply.is_json(expected);
            reply.annotated("provide-api-key", false).annotated("exec", "nodejs:20");
            me.get("actions/hello").await.is(200).is_json(body);
        }),
        scenario(
            "2.1",
            "`exec` required on create, else 400 `exec undefined`",
            "an action needs something to run",
            async |me| {
                me.put("actions/a", json!({})).await.is(400).says("exec undefined");
                me.put("actions/a", json!({"parameters": []})).await.is(400).says("exec undefined");
                me.call("PUT", "actions/a").await.is(400).says("exec undefined");
            },
        ),
        scenario("B", "PUT with array body 400", "a PUT of an array is 400", async |me| {
            me.put("actions/a", json!([])).await.is(400).mentions("The request content was malformed:\n");
            me.put("actions/a", json!("x")).await.is(400);
        }),
        scenario("2.1", "all optional on update", "an update may be empty", async |me| {
            me.create("a").await;
            me.put("actions/a?overwrite=true", json!({})).await.is(200).has("version", "0.0.2");
            me.call("PUT", "actions/a?overwrite=true").await.is(200).has("version", "0.0.3");
        }),
        scenario("2", "GET `/actions/[{pkg}/]{a}`", "code=false leaves the code out", async |me| {
            me.create("a").await;
            me.get("actions/a?code=false")
                .await
                .is(200)
                .lacks("exec/code")
                .has("exec/kind", "nodejs:20")
                .has("exec/binary", false);
            me.get("actions/a?code=true")
                .await
                .is(200)
                .has("exec/code", "function main(args) { return args }");
            me.get("actions/a?code=x").await.is(400);
        })
        .and("2.1", "`?code=false` omits `exec.code`"),
        scenario(
            "2.1",
            "Stored code: attachment; text/plain or octet-stream; returned inline (`exec.code` \
                string) on GET with code.",
            "code is returned as it was sent, however it looks",
            async |me| {
                for code in ["// ü \u{1f600} \"quoted\" \\ \t\n", " ", "", "\u{7}\u{0}"] {
                    me.put("actions/a?overwrite=true", json!({"exec": node(code)}))
                        .await
                        .is(200)
                        .has("exec/code", code);
                    me.get("actions/a").await.is(200).has("exec/code", code);
                }
            },
        ),
        scenario(
            "2",
            "| DELETE | | 200 entity |",
            "a deleted action is answered whole and is gone",
            async |me| {
                let created = me.create("a").await.json();
                me.delete("actions/a").await.is(200).is_json(created);
                me.delete("actions/a").await.is(404);
                me.get("actions").await.is_json(json!([]));
                me.invoke("a", json!({})).await.is(404);
            },
        ),
        scenario(
            "2",
            "PUT into a package that does not exist: 404 (package lookup)",
            "an action cannot be put into a package that is not there",
            async |me| {
                let reply = me.put("actions/nopkg/a", json!({"exec": node("1")})).await.is(404);
                reply.says("The requested resource does not exist.");
                me.get("actions/nopkg/a").await.is(404);
                me.delete("actions/nopkg/a").await.is(404);
                me.post("actions/nopkg/a", json!({})).await.is(404);
            },
        ),
        scenario(
            "16",
            "`/actions/{pkg}/` trailing slash is significant.",
            "a name with a slash behind it is a package to list",
            async |me| {
                me.create("a").await;
                me.get("actions/a").await.is(200).has("name", "a");
                let reply = me.get("actions/nopkg/").await;
                let is_missing = reply.status() == 404 || reply.status() == 403;
                reply.holds(is_missing, || "no list of a package that is not there".to_owned());
            },
        ),
    ]
}

fn kinds() -> Vec<Scenario> {
    vec![
        scenario(
            "2.1",
            "`'main' must be a string defined in 'exec' for '<kind>' actions`",
            "main has to be a text",
            async |me| {
                let exec = json!({"kind": "nodejs:20", "code": "1", "main": 1});
                let text = malformed("'main' must be a string defined in 'exec' for 'nodejs:20' actions");
                me.put("actions/a", json!({"exec": exec})).await.is(400).says(&text);
            },
        ),
        scenario(
            "2.4",
            "Exactly one default per family (single version is implicitly default).",
            "the runtimes that the server names have one default in each family",
            async |me| {
                let runtimes = me.get("/").await.is(200).at("runtimes");
                for (family, kinds) in runtimes.as_object().unwrap() {
                    let defaults =
                        kinds.as_array().unwrap().iter().filter(|kind| kind["default"] == true).count();
                    assert_eq!(defaults, 1, "{family}: {kinds}");
                }
            },
        ),
        scenario(
            "2.1",
            "| managed (`nodejs:20`, `python:3.11`, ...) | `kind`, `code` string, optional `main`, \
                `binary` |",
            "every kind that the server names can be created",
            async |me| {
                let runtimes = me.get("/").await.is(200).at("runtimes");
                for runtime in
                    runtimes.as_object().unwrap().values().flat_map(|kinds| kinds.as_array().unwrap())
                {
                    let kind = runtime["kind"].as_str().unwrap();
                    let exec = json!({"kind": kind, "code": "x", "main": "main"});
                    me.put("actions/a?overwrite=true", json!({"exec": exec}))
                        .await
                        .is(200)
                        .has("exec/kind", kind)
                        .annotated("exec", kind);
                }
            },
        ),
        scenario(
            "2.1",
            "`family:default` is resolved to the family's default kind and stored resolved.",
            "a default kind is stored resolved",
            async |me| {
                let body = json!({"exec": {"kind": "nodejs:default", "code": "1"}});
                me.put("actions/a", body)
                    .await
                    .is(200)
                    .has("exec/kind", "nodejs:20")
                    .annotated("exec", "nodejs:20");
            },
        ),
        scenario(
            "2.1",
            "Kind is trimmed and lower-cased.",
            "a kind may be written with spaces and capitals",
            async |me| {
                let body = json!({"exec": {"kind": "  NodeJS:20 ", "code": "1"}});
                me.put("actions/a", body).await.is(200).has("exec/kind", "nodejs:20");
            },
        ),
        scenario(
            "2.1",
            "`...The specified runtime '<k>' is not supported by this platform. Valid values are: \
                'a', 'b', ...` (includes 'sequence','blackbox')",
            "an unknown kind is 400 and told which there are",
            async |me| {
                for kind in ["cobol:1", "nodejs:99", "nodejs", ""] {
                    let body = json!({"exec": {"kind": kind, "code": "1"}});
                    let reply = me.put("actions/a", body).await.is(400);
                    let reply = reply.mentions(&format!(
                        "The specified runtime '{kind}' is not supported by this platform. Valid values are: "
                    ));
                    reply.mentions("'nodejs:20'").mentions("'sequence'").mentions("'blackbox'");
                }
            },
        )
        .and("B", "unknown kind 400"),
        scenario(
            "2.1",
            "`'code' must be a string or attachment object defined in 'exec' for '<kind>' actions`",
            "a managed kind needs code",
            async |me| {
                let text = malformed(
                    "'code' must be a string or attachment object defined in 'exec' for 'nodejs:20' actions",
                );
                for exec in [
                    json!({"kind": "nodejs:20"}),
                    json!({"kind": "nodejs:20", "code": 1}),
                    json!({"kind": "nodejs:20", "code": null}),
                ] {
                    me.put("actions/a", json!({"exec": exec})).await.is(400).says(&text);
                }
            },
        ),
        scenario(
            "2.1",
            "| managed (`nodejs:20`, `python:3.11`, ...) | `kind`, `code` string, optional `main`, \
                `binary` |",
            "exec has to be an object with a kind",
            async |me| {
                for exec in
                    [json!("x"), json!([]), json!({}), json!({"code": "1"}), json!({"kind": 1, "code": "1"})]
                {
                    me.put("actions/a", json!({"exec": exec}))
                        .await
                        .is(400)
                        .mentions("The request content was malformed:\n");
                }
            },
        ),
        scenario(
            "2.1",
            "managed `{kind,code,binary[,main]}`",
            "main is returned when it was given",
            async |me| {
                let exec = json!({"kind": "nodejs:20", "code": "1", "main": "start"});
                me.put("actions/a", json!({"exec": exec})).await.is(200).has("exec/main", "start");
                me.put("actions/b", json!({"exec": node("1")})).await.is(200).lacks("exec/main");
            },
        ),
        scenario("2.1", "Managed kinds never return `image`.", "a managed kind has no image", async |me| {
            let exec = json!({"kind": "nodejs:20", "code": "1", "image": "mine/image"});
            me.put("actions/a", json!({"exec": exec})).await.is(200).lacks("exec/image");
            me.get("actions/a").await.is(200).lacks("exec/image");
        }),
    ]
}

fn blackbox() -> Vec<Scenario> {
    const SKELETON: &str = "openwhisk/dockerskeleton";
    vec![
        scenario(
            "2.4",
            "`blackboxes` lists images treated as native (no pull, sentinels expected) e.g. \
                openwhisk/dockerskeleton.",
            "an executable runs as a blackbox of the skeleton image",
            async |me| {
                let exec =
                    json!({"kind": "blackbox", "image": SKELETON, "code": "#!/bin/sh\necho '{\"a\": 1}'\n"});
                me.put("actions/a", json!({"exec": exec}))
                    .await
                    .is(200)
                    .has("exec/image", SKELETON)
                    .has("exec/kind", "blackbox");
                me.result("a", json!({})).await.is(200).is_json(json!({"a": 1}));
            },
        )
        .and("10.2", "`--native` → blackbox openwhisk/dockerskeleton"),
        scenario(
            "2.1",
            "blackbox `{kind,image,binary[,code][,main]}`",
            "a blackbox without code has none to show",
            async |me| {
                let exec = json!({"kind": "blackbox", "image": SKELETON, "code": "   "});
                let reply = me.put("actions/a", json!({"exec": exec})).await.is(200);
                reply.lacks("exec/code").has("exec/binary", false).annotated("exec", "blackbox");
            },
        )
        .and("2.1", "empty/blank code = none."),
        scenario(
            "2.1",
            "Bad image: `could not parse image name`; missing: `'image' must be a string defined in 'exec' for \
                'blackbox' actions`",
            "a blackbox names its image",
            async |me| {
                let put = async |image: Value| {
                    me.put("actions/a", json!({"exec": {"kind": "blackbox", "image": image}})).await.is(400)
                };
                put(json!("No Image")).await.mentions("could not parse image name");
                let missing = "'image' must be a string defined in 'exec' for 'blackbox' actions";
                for image in [Value::Null, json!(5)] {
                    put(image).await.mentions(missing);
                }
            },
        ),
    ]
}

fn binary() -> Vec<Scenario> {
    vec![
        scenario("2.1", BINARY, "code that looks like base64 is binary", async |me| {
            for (code, is_binary) in [
                ("abcd", true),
                ("YWJjZA==", true),
                ("  YWJj\n", true),
                ("abc", false),
                ("function main(){}", false),
                ("ab=d", false),
                ("abc$", false),
                ("", false),
            ] {
                me.put("actions/a?overwrite=true", json!({"exec": node(code)}))
                    .await
                    .is(200)
                    .has("exec/binary", is_binary);
            }
        }),
        scenario(
            "16",
            "`binary` derived from content, client flag ignored for string code.",
            "what the client says about binary is ignored",
            async |me| {
                let exec = |code: &str, binary| json!({"exec": {"kind": "nodejs:20", "code": code, "binary": binary}});
                me.put("actions/a", exec("function main(){}", true)).await.is(200).has("exec/binary", false);
                me.put("actions/b", exec("YWJjZA==", false)).await.is(200).has("exec/binary", true);
            },
        ),
    ]
}

fn annotations() -> Vec<Scenario> {
    vec![
        scenario(
            "2.2",
            "server, always overwritten on create and update",
            "the exec annotation is the server's",
            async |me| {
                create_with(&me, json!({"annotations": array(json!({"exec": "mine"}))}))
                    .await
                    .is(200)
                    .annotated("exec", "nodejs:20");
                let body = json!({"annotations": array(json!({"exec": "mine"}))});
                me.put("actions/a?overwrite=true", body).await.is(200).annotated("exec", "nodejs:20");
            },
        ),
        scenario(
            "2.2",
            "server adds `false` on **create** if absent",
            "provide-api-key is false on create unless it is given",
            async |me| {
                me.create("a").await.annotated("provide-api-key", false);
                let body = json!({"exec": node("1"), "annotations": array(json!({"provide-api-key": true}))});
                me.put("actions/b", body).await.is(200).annotated("provide-api-key", true);
            },
        )
        .and("16", "`exec` annotation and `provide-api-key:false` on create; not added on update."),
        scenario("16", "not added on update", "provide-api-key is not added on update", async |me| {
            me.create("a").await;
            me.put("actions/a?overwrite=true", json!({"delAnnotations": ["provide-api-key"]}))
                .await
                .is(200)
                .annotated("provide-api-key", Value::Null);
            me.put("actions/a?overwrite=true", json!({"exec": node("2")}))
                .await
                .is(200)
                .annotated("provide-api-key", Value::Null);
        }),
        scenario(
            "2.2",
            "truthy or *absent* → `__OW_API_KEY`/`api_key` given to the container",
            "an action gets its caller's key only when it asks for it",
            async |me| {
                let code = "function main() { return {key: process.env.__OW_API_KEY || null} }";
                for (name, annotations, key) in [
                    ("no", json!({}), Value::Null),
                    ("yes", json!({"provide-api-key": true}), json!(me.credential)),
                    ("word", json!({"provide-api-key": "x"}), json!(me.credential)),
                    ("zero", json!({"provide-api-key": 0}), Value::Null),
                ] {
                    let body = json!({"exec": node(code), "annotations": array(annotations)});
                    me.put(&format!("actions/{name}"), body).await.is(200);
                    me.result(name, json!({})).await.is(200).has("key", key);
                }
                me.put("actions/no?overwrite=true", json!({"delAnnotations": ["provide-api-key"]}))
                    .await
                    .is(200);
                me.result("no", json!({})).await.is(200).has("key", me.credential.as_str());
            },
        )
        .and("2.2", "Truthiness: bool itself; number ≠0; string non-empty; null false; other true."),
        scenario(
            "2.2",
            "parameters with non-null values (action+package+binding merged) cannot be overridden at \
                invoke time",
            "a final parameter cannot be overridden",
            async |me| {
                const TEXT: &str =
                    "Request defines parameters that are not allowed (e.g., reserved properties).";
                let body = json!({
                    "exec": super::sh("echo \"$1\""),
                    "parameters": array(json!({"set": 1, "open": null})),
                    "annotations": array(json!({"final": true})),
                });
                me.put("actions/a", body).await.is(200);
                me.result("a", json!({"set": 2})).await.is(400).says(TEXT);
                me.post("actions/a", json!({"set": 1})).await.is(400).says(TEXT);
                me.result("a", json!({"open": 2, "new": 3}))
                    .await
                    .is(200)
                    .is_json(json!({"set": 1, "open": 2, "new": 3}));
            },
        )
        .and("3", "`Request defines parameters that are not allowed (e.g., reserved properties).`")
        .and("B", "`final` override 400"),
        scenario(
            "2.2",
            "| `description`, `parameters`, `sampleInput`, `sampleOutput` | convention |",
            "annotations of any kind are kept",
            async |me| {
                let annotations = json!({"description": "says hello", "parameters": [{"name": "n"}], "sampleInput": {"n": 1}});
                let reply = create_with(&me, json!({"annotations": array(annotations)})).await.is(200);
                reply
                    .annotated("description", "says hello")
                    .annotated("parameters", json!([{"name": "n"}]))
                    .annotated("sampleInput", json!({"n": 1}));
            },
        ),
    ]
}

fn updates() -> Vec<Scenario> {
    vec![
        scenario(
            "2.3",
            "exec absent → keep. limits: field-wise merge (each absent sub-field keeps stored value).",
            "an update merges the limits field by field",
            async |me| {
                create_with(&me, json!({"limits": {"memory": 128, "timeout": 1000}})).await.is(200);
                let reply = me.put("actions/a?overwrite=true", json!({"limits": {"logs": 1}})).await.is(200);
                let reply =
                    reply.has("limits", json!({"memory": 128, "timeout": 1000, "logs": 1, "concurrency": 1}));
                reply.has("exec/code", "function main(args) { return args }");
            },
        ),
        scenario("2.3", PARAMETERS, "given parameters replace all", async |me| {
            create_with(&me, json!({"parameters": array(json!({"a": 1, "b": 2}))})).await.is(200);
            me.put("actions/a?overwrite=true", json!({})).await.is(200).keyed("parameters", "a", 1).keyed(
                "parameters",
                "b",
                2,
            );
            let body = json!({"parameters": array(json!({"b": 3}))});
            me.put("actions/a?overwrite=true", body)
                .await
                .is(200)
                .has("parameters", json!([{"key": "b", "value": 3}]));
            me.put("actions/a?overwrite=true", json!({"parameters": []}))
                .await
                .is(200)
                .has("parameters", json!([]));
        }),
        scenario("2.3", MERGED, "annotations of an action are merged", async |me| {
            create_with(&me, json!({"annotations": array(json!({"a": 1, "b": 2}))})).await.is(200);
            let body = json!({"annotations": array(json!({"b": 3, "c": 4}))});
            let reply = me.put("actions/a?overwrite=true", body).await.is(200);
            reply.annotated("a", 1).annotated("b", 3).annotated("c", 4).annotated("exec", "nodejs:20");
        })
        .and("16", "Action annotations merge; other entities replace."),
        scenario("2.3", MERGED, "annotations are removed by name", async |me| {
            create_with(&me, json!({"annotations": array(json!({"a": 1, "b": 2}))})).await.is(200);
            let body = json!({"delAnnotations": ["a", "none"]});
            me.put("actions/a?overwrite=true", body)
                .await
                .is(200)
                .annotated("a", Value::Null)
                .annotated("b", 2);
        }),
        scenario("2.3", MERGED, "an annotation that is removed and given anew is there", async |me| {
            create_with(&me, json!({"annotations": array(json!({"a": 1}))})).await.is(200);
            let body = json!({"delAnnotations": ["a", "exec"], "annotations": array(json!({"a": 2}))});
            me.put("actions/a?overwrite=true", body)
                .await
                .is(200)
                .annotated("a", 2)
                .annotated("exec", "nodejs:20");
        }),
        scenario(
            "2.3",
            "version: given or patch+1.",
            "an update counts the version up or takes the given one",
            async |me| {
                me.create("a").await;
                me.put("actions/a?overwrite=true", json!({})).await.is(200).has("version", "0.0.2");
                me.put("actions/a?overwrite=true", json!({"version": "3.0.0"}))
                    .await
                    .is(200)
                    .has("version", "3.0.0");
            },
        ),
        scenario("2.3", "exec absent → keep.", "an update of the code runs at once", async |me| {
            me.create_sh("a", "echo '{\"v\": 1}'").await;
            me.result("a", json!({})).await.is(200).is_json(json!({"v": 1}));
            me.put("actions/a?overwrite=true", json!({"exec": super::sh("echo '{\"v\": 2}'")})).await.is(200);
            me.result("a", json!({})).await.is(200).is_json(json!({"v": 2}));
        })
        .and("11.4", "Updating an action makes old containers unusable."),
        scenario("2.3", PARAMETERS, "an update of the parameters holds at once", async |me| {
            me.put(
                "actions/a",
                json!({"exec": super::sh("echo \"$1\""), "parameters": array(json!({"k": 1}))}),
            )
            .await
            .is(200);
            me.result("a", json!({})).await.is(200).is_json(json!({"k": 1}));
            me.put("actions/a?overwrite=true", json!({"parameters": array(json!({"k": 2}))})).await.is(200);
            me.result("a", json!({})).await.is(200).is_json(json!({"k": 2}));
        }),
        scenario(
            "2.3",
            "annotations: **merged**",
            "an update to another kind changes the exec annotation",
            async |me| {
                me.create("a").await;
                let reply =
                    me.put("actions/a?overwrite=true", json!({"exec": super::sh("true")})).await.is(200);
                let kind = reply.word("exec/kind");
                reply.annotated("exec", kind.as_str());
            },
        ),
    ]
}
