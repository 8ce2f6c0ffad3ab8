//! Packages and bindings, and the actions in them (sections 5.1, 2 and 2.3).

use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, array, node, scenario, sh};

const FIELDS: &str = "PUT body: `binding` `{\"namespace\",\"name\"}` or `{}`/absent, `parameters`, `annotations`, `publish`, `version`.";
const GET: &str = "GET: common fields + `parameters`, `binding` (`{}` when none, else object), `actions` and `feeds`: arrays of \
                   `{name, version, annotations}` (feeds = those with a `feed` annotation).";
const GET_BINDING: &str = "GET on a binding returns the binding's own doc with parameters = provider's overlaid by the binding's, and \
                           the provider's actions.";
const ANNOTATED: &str =
    "Server adds annotation `binding` = {namespace,name} to bindings (user-supplied one removed).";
const NOT_EMPTY: &str = "DELETE: `?force=true` deletes contained actions; else non-empty → 409 `Package not empty (contains N \
                         entities). Set force param or delete package contents.` (`1 entity`).";
const MERGED: &str = "GET and invoke of a packaged action return/use parameters merged in order package < binding < action (right wins).";
const THROUGH: &str = "PUT/DELETE through a binding: 400 `Operation not permitted on package binding.`";
const UNIQUE: &str =
    "Entity ids are unique per `ns/name` across *all* types (an action and a trigger cannot share a name)";
const CONFORMANCE: &str = "Resource by this name exists but is not in this collection.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [life(), contents(), bindings(), refused_bindings(), deletion(), parameters(), calls(), names()]
        .into_iter()
        .flatten()
        .collect()
}

/// Puts a package.
async fn package(me: &Guest, name: &str, fields: Value) -> Reply {
    me.put(&format!("packages/{name}"), fields).await
}

/// Puts a binding to a package of a namespace.
async fn bind(me: &Guest, name: &str, namespace: &str, to: &str) -> Reply {
    package(me, name, json!({"binding": {"namespace": namespace, "name": to}})).await
}

/// An action that answers its arguments, with parameters of its own.
fn echo(parameters: Value) -> Value {
    json!({"exec": sh("echo \"$1\""), "parameters": array(parameters)})
}

fn life() -> Vec<Scenario> {
    vec![
        scenario("5.1", FIELDS, "a package is created with its fields", async |me| {
            let fields = json!({
                "parameters": array(json!({"a": 1})), "annotations": array(json!({"b": 2})), "publish": true,
                "version": "1.2.3",
            });
            let reply = package(&me, "p", fields).await.is(200);
            let updated = reply.at("updated");
            reply.is_json(json!({
                "namespace": me.namespace, "name": "p", "version": "1.2.3", "publish": true, "binding": {},
                "parameters": [{"key": "a", "value": 1}], "annotations": [{"key": "b", "value": 2}],
                "updated": updated,
            }));
        }),
        scenario("5.1", "absent", "a package may be created of nothing", async |me| {
            package(&me, "p", json!({})).await.is(200).has("publish", false).has("version", "0.0.1");
            me.call("PUT", "packages/q").await.is(200).has("parameters", json!([]));
        }),
        scenario("A", "GET package:", "an empty package has the shape of OpenWhisk's", async |me| {
            package(&me, "pkg", json!({})).await.is(200);
            let reply = me.get("packages/pkg").await.is(200);
            let updated = reply.at("updated");
            reply.is_json(json!({
                "actions": [], "annotations": [], "binding": {}, "feeds": [], "name": "pkg",
                "namespace": me.namespace, "parameters": [], "publish": false, "updated": updated,
                "version": "0.0.1",
            }));
        }),
        scenario("5.1", "(POST → 405)", "a package is not posted to", async |me| {
            package(&me, "p", json!({})).await.is(200);
            me.post("packages/p", json!({})).await.is(405).has_header("allow", "GET, PUT, DELETE");
        }),
        scenario(
            "1.7",
            "Exists and false → 409.",
            "a package is not written over by accident",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                package(&me, "p", json!({})).await.is(409).says("resource already exists");
                package(&me, "p?overwrite=true", json!({})).await.is(200).has("version", "0.0.2");
            },
        ),
        scenario(
            "1.7",
            "a field absent in the body keeps the stored value",
            "an update of a package keeps what it does not name",
            async |me| {
                let fields = json!({
                    "parameters": array(json!({"a": 1})), "annotations": array(json!({"b": 2})), "publish": true,
                });
                package(&me, "p", fields).await.is(200);
                let reply = package(&me, "p?overwrite=true", json!({})).await.is(200);
                reply.keyed("parameters", "a", 1).annotated("b", 2).has("publish", true);
            },
        ),
        scenario(
            "16",
            "Action annotations merge; other entities replace.",
            "annotations of a package are replaced",
            async |me| {
                package(&me, "p", json!({"annotations": array(json!({"a": 1, "b": 2}))})).await.is(200);
                let fields = json!({"annotations": array(json!({"b": 3}))});
                let reply = package(&me, "p?overwrite=true", fields).await.is(200);
                reply.has("annotations", json!([{"key": "b", "value": 3}]));
            },
        ),
        scenario(
            "1.5",
            "Package name `default` reserved: 400 `Package name 'default' is reserved.`",
            "no package is called default",
            async |me| {
                let reply = package(&me, "default", json!({})).await.is(400);
                reply.says("Package name 'default' is reserved.");
            },
        )
        .and("B", "reserved `default`"),
        scenario(
            "1.9",
            "packages | namespace, name, version, publish, annotations, updated, `binding`: `false` or `{\"namespace\",\"name\"}`",
            "a list of packages shows summaries",
            async |me| {
                let fields = json!({"parameters": array(json!({"a": 1})), "annotations": array(json!({"b": 2}))});
                package(&me, "p", fields).await.is(200);
                bind(&me, "b", "_", "p").await.is(200);
                let list = me.get("packages").await.is(200);
                let updated = list.at("1/updated");
                list.has("0/binding", json!({"namespace": me.namespace, "name": "p"})).has(
                    "1",
                    json!({
                        "namespace": me.namespace, "name": "p", "version": "0.0.1", "publish": false,
                        "annotations": [{"key": "b", "value": 2}], "updated": updated, "binding": false,
                    }),
                );
            },
        )
        .and("16", "package list `binding:false`"),
        scenario(
            "1.9",
            "`count=true` → object `{\"actions\": N}` (key = collection name), N = total minus skip, limit ignored.",
            "packages are counted",
            async |me| {
                for name in ["a", "b", "c"] {
                    package(&me, name, json!({})).await.is(200);
                }
                me.get("packages?count=true").await.is(200).is_json(json!({"packages": 3}));
                me.get("packages?count=true&skip=1&limit=1").await.is(200).is_json(json!({"packages": 2}));
                me.get("packages?limit=1&skip=1").await.is(200).has("0/name", "b").lacks("1");
                me.get("packages/?limit=201").await.is(400);
            },
        ),
        scenario(
            "5.1",
            "`?public=true` is accepted and ignored.",
            "public=true shows private packages too",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.get("packages?public=true").await.is(200).has("0/name", "p");
            },
        ),
    ]
}

fn contents() -> Vec<Scenario> {
    vec![
        scenario("5.1", GET, "a package shows its actions", async |me| {
            package(&me, "p", json!({})).await.is(200);
            me.create("p/a").await;
            let annotations = me.get("actions/p/a").await.is(200).at("annotations");
            let reply = me.get("packages/p").await.is(200);
            let expected = json!([{"name": "a", "version": "0.0.1", "annotations": annotations}]);
            reply.has("actions", expected).has("feeds", json!([]));
        }),
        scenario(
            "5.1",
            "(feeds = those with a `feed` annotation)",
            "a package shows its feeds apart",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                let fields = json!({"exec": node("1"), "annotations": array(json!({"feed": true}))});
                me.put("actions/p/f", fields).await.is(200);
                me.create("p/a").await;
                me.get("packages/p")
                    .await
                    .is(200)
                    .has("feeds/0/name", "f")
                    .has("actions/0/name", "a")
                    .lacks("actions/1");
            },
        )
        .and("2.2", "action is listed under `feeds` in the package doc"),
        scenario("2", "GET `/actions/{pkg}/`", "the actions of a package are listed", async |me| {
            package(&me, "p", json!({})).await.is(200);
            for name in ["p/a", "p/b", "c"] {
                me.create(name).await;
            }
            let list = me.get("actions/p/").await.is(200);
            list.has("0/name", "b")
                .has("1/name", "a")
                .has("1/namespace", format!("{}/p", me.namespace))
                .lacks("2");
            me.get("actions/p/?count=true").await.is(200).is_json(json!({"actions": 2}));
            me.get("actions/p/?limit=1&skip=1").await.is(200).has("0/name", "a").lacks("1");
        }),
        scenario(
            "16",
            "`/actions/{pkg}/` trailing slash is significant.",
            "without a slash it is an action",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.get("actions/p/").await.is(200).is_json(json!([]));
                me.get("actions/p").await.is(409).says(CONFORMANCE);
            },
        ),
        scenario(
            "1.9",
            "the namespace list includes packaged actions",
            "the list of a namespace has what is in packages",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.create("p/a").await;
                let list = me.get("actions").await.is(200);
                list.has("0/name", "a").has("0/namespace", format!("{}/p", me.namespace));
            },
        ),
        scenario(
            "1.6",
            "`namespace` (string; `ns/pkg` for packaged actions)",
            "an action in a package has it in its namespace",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                let namespace = format!("{}/p", me.namespace);
                me.create("p/a").await.has("namespace", namespace.clone()).has("name", "a");
                me.delete("actions/p/a").await.is(200).has("namespace", namespace);
                me.get("actions/p/a").await.is(404).says("The requested resource does not exist.");
            },
        ),
        scenario(
            "2",
            "PUT into a package that does not exist: 404 (package lookup) ; own ns: `The requested resource does not exist.`",
            "nothing is put into a package that is not there",
            async |me| {
                let reply = me.put("actions/none/a", json!({"exec": node("1")})).await.is(404);
                reply.says("The requested resource does not exist.");
            },
        ),
        scenario(
            "1.3",
            "(from entitlement stage: `The requested resource '<ns/name>' does not exist.`)",
            "what is read in an own package that is not there names the package",
            async |me| {
                let text = format!("The requested resource '{}/none' does not exist.", me.namespace);
                me.get("packages/none").await.is(404).says(&text);
                me.get("actions/none/a").await.is(404).says(&text);
                me.get("actions/none/").await.is(404).says(&text);
                me.invoke("none/a", json!({})).await.is(404).says(&text);
            },
        ),
    ]
}

fn bindings() -> Vec<Scenario> {
    vec![
        scenario("5.1", ANNOTATED, "a binding is annotated with what it is bound to", async |me| {
            package(&me, "p", json!({})).await.is(200);
            let binding = json!({"namespace": me.namespace, "name": "p"});
            let fields = json!({
                "binding": {"namespace": "_", "name": "p"}, "annotations": array(json!({"binding": "mine", "a": 1})),
            });
            let reply = package(&me, "b", fields).await.is(200);
            reply.has("binding", binding.clone()).annotated("binding", binding).annotated("a", 1);
        }),
        scenario("5.1", "(user-supplied one removed)", "no package is annotated as if it were a binding", async |me| {
            let fields = json!({"annotations": array(json!({"binding": "mine"}))});
            package(&me, "p", fields).await.is(200).has("annotations", json!([]));
        }),
        scenario("5.1", GET_BINDING, "a binding shows what it makes of its package", async |me| {
            let fields = json!({"parameters": array(json!({"a": "package", "b": "package"}))});
            package(&me, "p", fields).await.is(200);
            me.create("p/act").await;
            let fields = json!({
                "binding": {"namespace": "_", "name": "p"}, "parameters": array(json!({"b": "binding", "c": "binding"})),
            });
            package(&me, "b", fields).await.is(200).lacks("actions");
            let reply = me.get("packages/b").await.is(200).has("name", "b").has("actions/0/name", "act");
            let reply = reply.keyed("parameters", "a", "package").keyed("parameters", "b", "binding");
            reply.keyed("parameters", "c", "binding");
        })
        .and("B", "GET binding merges"),
        scenario("5.1", "`{}`", "an empty binding is none", async |me| {
            package(&me, "p", json!({"binding": {}})).await.is(200).has("binding", json!({}));
        }),
        scenario(
            "1.4",
            "Also resolved inside bodies: sequence components, rule trigger/action, package binding namespace",
            "an underscore in a binding is the caller's namespace",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                bind(&me, "b", "_", "p").await.is(200).has("binding/namespace", &*me.namespace);
            },
        ),
        scenario(
            "2",
            "(through a binding: the provider's actions, provider namespace)",
            "a list through a binding has the provider's actions",
            async |me| {
                let other = me.other().await;
                package(&other, "p", json!({"publish": true})).await.is(200);
                other.create("p/a").await;
                bind(&me, "b", &other.namespace, "p").await.is(200);
                let list = me.get("actions/b/").await.is(200);
                list.has("0/name", "a").has("0/namespace", format!("{}/p", other.namespace));
                me.get("actions").await.is(200).is_json(json!([]));
            },
        )
        .and("16", "Action in list/GET through a binding shows the provider namespace"),
        scenario(
            "2.1",
            "`?code=false` omits `exec.code` and adds `binding` if reached via a binding.",
            "an action without its code tells of the binding",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.create("p/a").await;
                bind(&me, "b", "_", "p").await.is(200);
                let binding = format!("{}/b", me.namespace);
                me.get("actions/b/a?code=false").await.is(200).has("binding", binding).lacks("exec/code");
                me.get("actions/b/a").await.is(200).lacks("binding");
                me.get("actions/p/a?code=false").await.is(200).lacks("binding");
            },
        ),
        scenario("2", THROUGH, "nothing is written through a binding", async |me| {
            package(&me, "p", json!({})).await.is(200);
            me.create("p/a").await;
            bind(&me, "b", "_", "p").await.is(200);
            let text = "Operation not permitted on package binding.";
            me.put("actions/b/a?overwrite=true", json!({"exec": node("2")})).await.is(400).says(text);
            me.put("actions/b/new", json!({"exec": node("2")})).await.is(400).says(text);
            me.delete("actions/b/a").await.is(400).says(text);
            me.get("actions/p/a").await.is(200).has("version", "0.0.1");
        })
        .and("B", "PUT/DELETE through binding 400"),
        scenario("5.1", "`version`", "a binding may be bound anew", async |me| {
            package(&me, "p", json!({})).await.is(200);
            package(&me, "q", json!({})).await.is(200);
            bind(&me, "b", "_", "p").await.is(200);
            let reply = bind(&me, "b?overwrite=true", "_", "q").await.is(200).has("version", "0.0.2");
            reply.annotated("binding", json!({"namespace": me.namespace, "name": "q"}));
        }),
    ]
}

fn refused_bindings() -> Vec<Scenario> {
    vec![
        scenario(
            "5.1",
            "400 `Binding references a package that does not exist.`",
            "what is not there cannot be bound",
            async |me| {
                let text = "Binding references a package that does not exist.";
                bind(&me, "b", "_", "none").await.is(400).says(text);
                me.get("packages").await.is(200).is_json(json!([]));
            },
        )
        .and("B", "bind to missing (400)"),
        scenario(
            "5.1",
            "400 `Cannot bind to another package binding.`",
            "a binding cannot be bound",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                bind(&me, "b", "_", "p").await.is(200);
                bind(&me, "c", "_", "b").await.is(400).says("Cannot bind to another package binding.");
                bind(&me, "b?overwrite=true", "_", "b").await.is(400);
            },
        )
        .and("B", "to binding (400)"),
        scenario(
            "5.1",
            "409 `Cannot bind to a resource that is not a package.`",
            "an action cannot be bound",
            async |me| {
                me.create("a").await;
                bind(&me, "b", "_", "a")
                    .await
                    .is(409)
                    .says("Cannot bind to a resource that is not a package.");
            },
        )
        .and("B", "to action (409)"),
        scenario(
            "5.1",
            "409 `Resource is a package and cannot be converted into a binding.`",
            "a package stays a package",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                package(&me, "q", json!({})).await.is(200);
                let reply = bind(&me, "q?overwrite=true", "_", "p").await.is(409);
                reply.says("Resource is a package and cannot be converted into a binding.");
            },
        )
        .and("B", "turn package into binding 409"),
        scenario("B", "own private and foreign public", "what may be read may be bound", async |me| {
            let other = me.other().await;
            package(&other, "p", json!({"publish": true})).await.is(200);
            package(&me, "private", json!({})).await.is(200);
            bind(&me, "b", &other.namespace, "p").await.is(200);
            bind(&me, "c", "_", "private").await.is(200);
        }),
        scenario(
            "9.3",
            "Through a binding both binding (owner only) and provider (public or own) must be readable.",
            "a private package of others cannot be bound, nor can one that is missing",
            async |me| {
                let other = me.other().await;
                package(&other, "private", json!({})).await.is(200);
                for name in ["private", "missing"] {
                    let resource = format!("{}/{name}", other.namespace);
                    let text =
                        format!("The supplied authentication is not authorized to access '{resource}'.");
                    bind(&me, "b", &other.namespace, name).await.is(403).says(&text);
                }
            },
        ),
        scenario("5.1", "`{\"namespace\",\"name\"}`", "half a binding is malformed", async |me| {
            for binding in [json!({"namespace": "_"}), json!({"name": "p"}), json!("p"), json!(1)] {
                let reply = package(&me, "b", json!({ "binding": binding })).await.is(400);
                reply.mentions("The request content was malformed:\n");
            }
        }),
    ]
}

fn deletion() -> Vec<Scenario> {
    vec![
        scenario(
            "1.7",
            "DELETE → 200 with the deleted entity.",
            "a deleted package is answered",
            async |me| {
                let created = package(&me, "p", json!({})).await.is(200).json();
                me.delete("packages/p").await.is(200).is_json(created);
                me.delete("packages/p").await.is(404).says("The requested resource does not exist.");
            },
        ),
        scenario("5.1", NOT_EMPTY, "a package that is not empty stays", async |me| {
            package(&me, "p", json!({})).await.is(200);
            me.create("p/a").await;
            let text = |entities: &str| {
                format!(
                    "Package not empty (contains {entities}). Set force param or delete package contents."
                )
            };
            me.delete("packages/p").await.is(409).says(&text("1 entity"));
            me.create("p/b").await;
            me.delete("packages/p?force=false").await.is(409).says(&text("2 entities"));
            me.get("packages/p").await.is(200).has("actions/1/name", "a");
        })
        .and("B", "delete non-empty 409, force"),
        scenario(
            "5.1",
            "`?force=true` deletes contained actions",
            "by force a package goes with its actions",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.create("p/a").await;
                me.create("b").await;
                me.delete("packages/p?force=true").await.is(200).has("name", "p");
                me.get("actions").await.is(200).has("0/name", "b").lacks("1");
                me.invoke("p/a", json!({})).await.is(404);
            },
        ),
        scenario(
            "5.1",
            "Deleting a binding is always fine.",
            "a binding goes and its package stays",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.create("p/a").await;
                bind(&me, "b", "_", "p").await.is(200);
                me.delete("packages/b").await.is(200).has("name", "b");
                me.get("actions/p/a").await.is(200);
                me.get("actions/b/a").await.is(404);
            },
        ),
    ]
}

fn parameters() -> Vec<Scenario> {
    vec![
        scenario(
            "2.3",
            MERGED,
            "an action shows the parameters of package and binding under its own",
            async |me| {
                package(&me, "p", json!({"parameters": array(json!({"a": 1, "b": 1, "c": 1}))}))
                    .await
                    .is(200);
                let fields = json!({
                    "binding": {"namespace": "_", "name": "p"}, "parameters": array(json!({"b": 2, "c": 2})),
                });
                package(&me, "b", fields).await.is(200);
                me.put("actions/p/act", echo(json!({"c": 3})))
                    .await
                    .is(200)
                    .has("parameters", array(json!({"c": 3})));
                let reply = me.get("actions/b/act").await.is(200);
                reply.keyed("parameters", "a", 1).keyed("parameters", "b", 2).keyed("parameters", "c", 3);
                me.get("actions/p/act").await.is(200).keyed("parameters", "b", 1);
            },
        ),
        scenario(
            "3",
            "Merge: package < binding < action < payload.",
            "a call gets the parameters of all",
            async |me| {
                package(&me, "p", json!({"parameters": array(json!({"a": 1, "b": 1, "c": 1, "d": 1}))}))
                    .await
                    .is(200);
                let fields = json!({
                    "binding": {"namespace": "_", "name": "p"},
                    "parameters": array(json!({"b": 2, "c": 2, "d": 2})),
                });
                package(&me, "b", fields).await.is(200);
                me.put("actions/p/act", echo(json!({"c": 3, "d": 3}))).await.is(200);
                let reply = me.result("b/act", json!({"d": 4})).await.is(200);
                reply.is_json(json!({"a": 1, "b": 2, "c": 3, "d": 4}));
                let reply = me.result("p/act", json!({})).await.is(200);
                reply.is_json(json!({"a": 1, "b": 1, "c": 3, "d": 3}));
            },
        ),
        scenario(
            "2.3",
            "GET and invoke of a packaged action return/use parameters merged",
            "a changed parameter of a package reaches the next call",
            async |me| {
                package(&me, "p", json!({"parameters": array(json!({"a": 1}))})).await.is(200);
                me.put("actions/p/act", echo(json!({}))).await.is(200);
                me.result("p/act", json!({})).await.is(200).is_json(json!({"a": 1}));
                let fields = json!({"parameters": array(json!({"a": 2}))});
                package(&me, "p?overwrite=true", fields).await.is(200);
                me.result("p/act", json!({})).await.is(200).is_json(json!({"a": 2}));
            },
        ),
        scenario(
            "2.2",
            "parameters with non-null values (action+package+binding merged) cannot be overridden at invoke time",
            "a final action keeps the parameters of its package",
            async |me| {
                package(&me, "p", json!({"parameters": array(json!({"a": 1}))})).await.is(200);
                let mut fields = echo(json!({}));
                fields["annotations"] = array(json!({"final": true}));
                me.put("actions/p/act", fields).await.is(200);
                let text = "Request defines parameters that are not allowed (e.g., reserved properties).";
                me.result("p/act", json!({"a": 2})).await.is(400).says(text);
                me.result("p/act", json!({"b": 2})).await.is(200).is_json(json!({"a": 1, "b": 2}));
            },
        ),
    ]
}

fn calls() -> Vec<Scenario> {
    vec![
        scenario(
            "3.1",
            "`path` (\"ns/[pkg/]action\", provider's path)",
            "the record of a packaged action has its path",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.create_echo("p/a").await;
                let reply = me.invoke("p/a", json!({})).await.is(200);
                reply.annotated("path", format!("{}/p/a", me.namespace)).annotated("binding", Value::Null);
            },
        ),
        scenario(
            "16",
            "activation path = provider, `binding` annotation = binding.",
            "the record of a call through a binding names provider and binding",
            async |me| {
                let other = me.other().await;
                package(&other, "p", json!({"publish": true})).await.is(200);
                other.create_echo("p/a").await;
                bind(&me, "b", &other.namespace, "p").await.is(200);
                let reply = me.invoke("b/a", json!({"x": 1})).await.is(200).has("namespace", &*me.namespace);
                let reply = reply.annotated("path", format!("{}/p/a", other.namespace));
                reply.annotated("binding", format!("{}/b", me.namespace)).has("response/result/x", 1);
            },
        )
        .and("3.1", "`binding` (\"ns/bindingName\" only via a binding)")
        .and("B", "annotation `binding` on activations"),
        scenario(
            "3",
            "The activation belongs to the **caller's** namespace, whoever owns the action.",
            "a call of a public action is recorded with the caller",
            async |me| {
                let other = me.other().await;
                package(&other, "p", json!({"publish": true})).await.is(200);
                other.create_echo("p/a").await;
                let path = format!("/api/v1/namespaces/{}/actions/p/a?blocking=true", other.namespace);
                let reply = me.post(&path, json!({})).await.is(200).has("namespace", &*me.namespace);
                me.record(&reply.word("activationId")).await.has("subject", &*me.namespace);
                other.get("activations").await.is(200).is_json(json!([]));
            },
        ),
        scenario(
            "7",
            "Name filter matches the action name, prefixed by package name (or binding name when via binding).",
            "calls are found by the name of the package or of the binding",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                me.create_echo("p/a").await;
                bind(&me, "b", "_", "p").await.is(200);
                let direct = me.invoke("p/a", json!({})).await.is(200).word("activationId");
                let bound = me.invoke("b/a", json!({})).await.is(200).word("activationId");
                me.activations("", 2).await;
                me.get("activations?name=p/a").await.is(200).has("0/activationId", direct).lacks("1");
                me.get("activations?name=b/a").await.is(200).has("0/activationId", bound).lacks("1");
            },
        ),
        scenario(
            "3",
            "non-blocking | 202",
            "a call through a binding that is not waited for runs with its parameters",
            async |me| {
                package(&me, "p", json!({"parameters": array(json!({"a": 1}))})).await.is(200);
                me.create_echo("p/act").await;
                bind(&me, "b", "_", "p").await.is(200);
                let id = me.post("actions/b/act", json!({"x": 2})).await.is(202).word("activationId");
                let record = me.record(&id).await.has("response/result", json!({"a": 1, "x": 2}));
                record.annotated("binding", format!("{}/b", me.namespace));
            },
        ),
        scenario(
            "2.3",
            "version: given or patch+1.",
            "a new version of a packaged action is called at once, through a binding too",
            async |me| {
                package(&me, "p", json!({})).await.is(200);
                bind(&me, "b", "_", "p").await.is(200);
                me.create_sh("p/a", "echo '{\"version\": 1}'").await;
                me.result("b/a", json!({})).await.is(200).is_json(json!({"version": 1}));
                me.put("actions/p/a?overwrite=true", json!({"exec": sh("echo '{\"version\": 2}'")}))
                    .await
                    .is(200);
                me.result("b/a", json!({})).await.is(200).is_json(json!({"version": 2}));
            },
        ),
    ]
}

fn names() -> Vec<Scenario> {
    vec![
        scenario("1.5", UNIQUE, "a package and an action do not share a name", async |me| {
            package(&me, "x", json!({})).await.is(200);
            me.put("actions/x", json!({"exec": node("1")})).await.is(409).says(CONFORMANCE);
            me.create("y").await;
            package(&me, "y", json!({})).await.is(409).says(CONFORMANCE);
            me.get("packages/y").await.is(409).says(CONFORMANCE);
            me.delete("packages/y").await.is(409).says(CONFORMANCE);
            me.get("actions/y").await.is(200);
        })
        .and("1.3", "`Resource by this name exists but is not in this collection.`"),
        scenario(
            "16",
            "Names with spaces must be URL-decoded",
            "packages and what is in them may have spaces in their names",
            async |me| {
                package(&me, "my%20package", json!({})).await.is(200).has("name", "my package");
                me.create_echo("my%20package/my%20action").await;
                me.result("my%20package/my%20action", json!({"a": 1})).await.is(200).is_json(json!({"a": 1}));
                me.get("packages/my%20package").await.is(200).has("actions/0/name", "my action");
            },
        ),
        scenario(
            "1.3",
            "`The name of the entity contains illegal characters.`",
            "names of packages have the characters of all names",
            async |me| {
                for name in ["$x", "a+b", "%20"] {
                    let reply = package(&me, name, json!({})).await.is(400);
                    reply.says("The name of the entity contains illegal characters.");
                    me.get(&format!("actions/{name}/a")).await.is(400);
                }
            },
        ),
    ]
}
