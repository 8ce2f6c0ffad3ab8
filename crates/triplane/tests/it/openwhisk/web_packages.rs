//! Web actions in packages and through bindings (section 6).

use serde_json::{Value, json};

use super::web::{ECHO, each, is_error};
use super::{Call, Guest, Scenario, array, scenario, sh};

const BINDING: &str = "A binding in that ns works; annotations of the binding are not inherited.";
const PRECEDENCE: &str = "Precedence: package < binding < action < query < body.";
const LOOKUP: &str = "action lookup incl. binding merge (404)";

pub(super) fn scenarios() -> Vec<Scenario> {
    [packages(), bindings(), parameters()].into_iter().flatten().collect()
}

/// Makes a package `p` with the web action `a`, which answers what it gets.
async fn package(me: &Guest, publish: bool, parameters: Value) {
    let body = json!({"publish": publish, "parameters": array(parameters)});
    me.put("packages/p?overwrite=true", body).await.is(200);
    action(me, json!({}), json!({})).await;
}

async fn action(me: &Guest, parameters: Value, annotations: Value) {
    let mut all = json!({"web-export": true, "web-custom-options": true});
    all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
    let body = json!({"exec": sh(ECHO), "parameters": array(parameters), "annotations": array(all)});
    me.put("actions/p/a?overwrite=true", body).await.is(200);
}

/// Binds `b` to the package `p` of a namespace.
async fn bind(me: &Guest, provider: &Guest, fields: Value) {
    let mut body = json!({"binding": {"namespace": provider.namespace, "name": "p"}});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    me.put("packages/b?overwrite=true", body).await.is(200);
}

/// A GET without credentials.
fn visit(me: &Guest, path: &str) -> Call {
    me.anonymous().get(&format!("/api/v1/web/{}/{path}", me.namespace))
}

fn packages() -> Vec<Scenario> {
    let packaged = each("6", LOOKUP, "an action in a package is on the web", async |me, visitor| {
        package(&me, false, json!({"of": "package"})).await;
        let reply = visitor.call(&format!("/api/v1/web/{}/p/a.json", me.namespace)).await.is(200);
        let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
        let record = me.record(&id).await.has("response/result/of", "package");
        record.annotated("path", format!("{}/p/a", me.namespace));
    });
    let others = vec![
        scenario("6", LOOKUP, "an action in a package is not in another, nor in none", async |me| {
            package(&me, false, json!({})).await;
            for path in ["default/a.json", "q/a.json", "p/b.json", "a/p.json"] {
                is_error(visit(&me, path).await.is(404), "The requested resource does not exist.");
            }
        }),
        scenario(
            "2.2",
            "| `web-export` true | user | reachable under /web |",
            "a sequence may be on the web",
            async |me| {
                package(&me, false, json!({"of": "package"})).await;
                let exec = json!({"kind": "sequence", "components": ["/_/p/a", "/_/p/a"]});
                let annotations = array(json!({"web-export": true}));
                me.put("actions/s", json!({"exec": exec, "annotations": annotations})).await.is(200);
                let reply = visit(&me, "default/s.json?x=1").await.is(200).has("x", "1").has("of", "package");
                let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
                me.record(&id).await.annotated("kind", "sequence");
            },
        ),
        scenario("6", LOOKUP, "a private package keeps nobody off its web actions", async |me| {
            package(&me, false, json!({})).await;
            let other = me.other().await;
            let path = format!("/api/v1/web/{}/p/a.json", me.namespace);
            other.get(&path).await.is(200).has("__ow_user", other.namespace.as_str());
            visit(&me, "p/a.json").await.is(200);
        }),
    ];
    [packaged, others].into_iter().flatten().collect()
}

fn bindings() -> Vec<Scenario> {
    let own = each("6", BINDING, "a binding of an own package works", async |me, visitor| {
        package(&me, false, json!({})).await;
        bind(&me, &me, json!({})).await;
        visitor.call(&format!("/api/v1/web/{}/b/a.json", me.namespace)).await.is(200);
    });
    let public = each("6", BINDING, "a binding of another's public package works", async |me, visitor| {
        let provider = me.other().await;
        package(&provider, true, json!({})).await;
        bind(&me, &provider, json!({})).await;
        let reply = visitor.call(&format!("/api/v1/web/{}/b/a.json", me.namespace)).await.is(200);
        let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
        let record = me.record(&id).await.has("namespace", me.namespace.as_str());
        let record = record.annotated("path", format!("{}/p/a", provider.namespace));
        record.annotated("binding", format!("{}/b", me.namespace));
    });
    let missing = each("6", BINDING, "what a binding does not lead to is 404", async |me, visitor| {
        let provider = me.other().await;
        package(&provider, true, json!({})).await;
        bind(&me, &provider, json!({})).await;
        for path in ["b/missing.json", "c/a.json"] {
            let reply = visitor.call(&format!("/api/v1/web/{}/{path}", me.namespace)).await;
            visitor.refused(reply, 404, "The requested resource does not exist.");
        }
    });
    let others = vec![
        scenario("6", BINDING, "annotations of a binding say nothing of its actions", async |me| {
            let provider = me.other().await;
            package(&provider, true, json!({})).await;
            bind(
                &me,
                &provider,
                json!({"annotations": array(json!({"web-export": false, "raw-http": true}))}),
            )
            .await;
            visit(&me, "b/a.json?x=1").await.is(200).has("x", "1");
        }),
        scenario(
            "9.3",
            "Web actions: entitlement of the path ns owner.",
            "a binding whose provider went private is 403, whoever calls",
            async |me| {
                let provider = me.other().await;
                package(&provider, true, json!({})).await;
                bind(&me, &provider, json!({})).await;
                visit(&me, "b/a.json").await.is(200);
                provider.put("packages/p?overwrite=true", json!({"publish": false})).await.is(200);
                let path = format!("/api/v1/web/{}/b/a.json", me.namespace);
                for who in [&me.anonymous(), &me, &provider] {
                    who.get(&path).await.is(403);
                }
                visit(&provider, "p/a.json").await.is(200);
            },
        ),
    ];
    [own, public, missing, others].into_iter().flatten().collect()
}

fn parameters() -> Vec<Scenario> {
    vec![
        scenario("6.3", PRECEDENCE, "parameters are laid over each other from the package to the body", async |me| {
            let provider = me.other().await;
            package(&provider, true, json!({"a": "package", "b": "package", "c": "package", "d": "package", "e": "package"}))
                .await;
            action(&provider, json!({"c": "action", "d": "action", "e": "action"}), json!({})).await;
            let over = array(json!({"b": "binding", "c": "binding", "d": "binding", "e": "binding"}));
            bind(&me, &provider, json!({"parameters": over})).await;
            let path = format!("/api/v1/web/{}/b/a.json?d=query&e=query", me.namespace);
            let reply = me.call("POST", &path).json(&json!({"e": "body"})).await.is(200);
            for (key, value) in
                [("a", "package"), ("b", "binding"), ("c", "action"), ("d", "query"), ("e", "body")]
            {
                let _ = reply.clone().has(key, value);
            }
        }),
        scenario(
            "2.2",
            "`final` true | user | parameters with non-null values (action+package+binding merged) cannot be overridden at invoke time",
            "parameters of a package and a binding are final, too",
            async |me| {
                let provider = me.other().await;
                package(&provider, true, json!({"x": 1, "empty": null})).await;
                action(&provider, json!({}), json!({"final": true})).await;
                bind(&me, &provider, json!({"parameters": array(json!({"y": 2}))})).await;
                let text = "Request defines parameters that are not allowed (e.g., reserved properties).";
                for query in ["x=overriden", "y=overriden"] {
                    is_error(visit(&me, &format!("b/a.json?{query}")).await.is(400), text);
                }
                visit(&me, "b/a.json?empty=overriden").await.is(200).has("empty", "overriden").has("x", 1).has("y", 2);
            },
        )
        .and("6.3", "Query/body keys equal to ... or to a `final` parameter → 400 parametersNotAllowed text."),
    ]
}
