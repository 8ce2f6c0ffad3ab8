//! Sequences of what is in packages, and sequences in packages, directly and through bindings (section 4.1).

use serde_json::{Value, json};

use super::sequences::{CHECKS, PARAMETERS, RECORD, RUN, sequence};
use super::{Guest, Scenario, array, scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("4.1", RUN, "components may be in packages, whose parameters they have", async |me| {
            package(&me, "p", json!({"parameters": array(json!({"p": 1, "q": 2}))})).await;
            me.create_echo("p/a").await;
            me.create_echo("b").await;
            sequence(&me, "s", &["b", "p/a"]).await.is(200);
            me.result("s", json!({"q": 3})).await.is(200).is_json(json!({"p": 1, "q": 3}));
        }),
        scenario(
            "4.1",
            RUN,
            "components may be reached through a binding of the caller's to a public package",
            async |me| {
                let provider = me.other().await;
                package(
                    &provider,
                    "p",
                    json!({"publish": true, "parameters": array(json!({"p": 1, "q": 2}))}),
                )
                .await;
                provider.create_echo("p/a").await;
                bind(&me, "b", &provider, "p", json!({"q": 3})).await;
                sequence(&me, "s", &["b/a", "b/a"]).await.is(200);
                let reply = me.invoke("s", json!({"k": 1})).await.is(200);
                let reply = reply.has("response/result", json!({"k": 1, "p": 1, "q": 3}));
                let run = me.record(&reply.word("logs/0")).await.has("namespace", me.namespace.as_str());
                let run = run.annotated("path", format!("{}/p/a", provider.namespace));
                run.annotated("binding", format!("{}/b", me.namespace));
            },
        ),
        scenario(
            "4.1",
            PARAMETERS,
            "the parameters of a package are not for the components of a sequence in it",
            async |me| {
                package(&me, "p", json!({"parameters": array(json!({"p": 1}))})).await;
                me.create_echo("a").await;
                sequence(&me, "p/s", &["a"]).await.is(200);
                me.result("p/s", json!({"k": 1})).await.is(200).is_json(json!({"k": 1}));
            },
        ),
        scenario(
            "4.1",
            PARAMETERS,
            "the parameters of a binding are not for the components of a sequence behind it",
            async |me| {
                package(&me, "p", json!({})).await;
                me.create_echo("a").await;
                sequence(&me, "p/s", &["a"]).await.is(200);
                bind(&me, "b", &me, "p", json!({"p": 1})).await;
                me.result("b/s", json!({"k": 1})).await.is(200).is_json(json!({"k": 1}));
            },
        ),
        scenario(
            "4.1",
            RECORD,
            "the record of a sequence that was called through a binding names it",
            async |me| {
                package(&me, "p", json!({})).await;
                me.create_echo("a").await;
                sequence(&me, "p/s", &["a"]).await.is(200);
                bind(&me, "b", &me, "p", json!({})).await;
                let reply = me.invoke("b/s", json!({})).await.is(200);
                let reply = reply.annotated("binding", format!("{}/b", me.namespace));
                reply.annotated("path", format!("{}/p/s", me.namespace));
            },
        ),
        scenario(
            "B",
            "via nested sequences and via bindings",
            "a sequence may not be in itself through a binding",
            async |me| {
                package(&me, "p", json!({})).await;
                me.create_echo("p/s").await;
                bind(&me, "b", &me, "p", json!({})).await;
                sequence(&me, "p/s", &["b/s"]).await.is(400).says("Sequence may not refer to itself.");
                sequence(&me, "t", &["b/s"]).await.is(200);
                sequence(&me, "p/s", &["t"]).await.is(400).says("Sequence may not refer to itself.");
            },
        )
        .and("4.1", CHECKS),
        scenario("4.1", CHECKS, "a component in a package that is not there is missing", async |me| {
            sequence(&me, "s", &["none/a"]).await.is(400).says("Sequence component does not exist.");
            package(&me, "p", json!({})).await;
            sequence(&me, "s", &["p/a"]).await.is(400).says("Sequence component does not exist.");
        }),
        scenario(
            "4.1",
            "READ entitlement is needed on every component at PUT; ACTIVATE at invoke.",
            "components of a private package of somebody else are 403",
            async |me| {
                let provider = me.other().await;
                package(&provider, "p", json!({"publish": true})).await;
                provider.create_echo("p/a").await;
                let name = format!("{}/p/a", provider.namespace);
                let exec = json!({"kind": "sequence", "components": [format!("/{name}")]});
                me.put("actions/s", json!({ "exec": exec })).await.is(200);
                me.invoke("s", json!({})).await.is(200);
                provider.put("packages/p?overwrite=true", json!({"publish": false})).await.is(200);
                let text = format!("The supplied authentication is not authorized to access '{name}'.");
                me.invoke("s", json!({})).await.is(403).says(&text);
                me.put("actions/s?overwrite=true", json!({ "exec": exec })).await.is(403).says(&text);
            },
        ),
        scenario("4.1", RUN, "a sequence of a public package runs for others", async |me| {
            let provider = me.other().await;
            package(&provider, "p", json!({"publish": true})).await;
            provider.create_echo("p/a").await;
            sequence(&provider, "p/s", &["p/a"]).await.is(200);
            let path = format!("/api/v1/namespaces/{}/actions/p/s?blocking=true", provider.namespace);
            let reply = me.post(&path, json!({"k": 1})).await.is(200).has("namespace", me.namespace.as_str());
            me.record(&reply.word("logs/0")).await.has("response/result", json!({"k": 1}));
        }),
    ]
}

/// Creates a package with parameters.
async fn package(me: &Guest, name: &str, fields: Value) {
    me.put(&format!("packages/{name}"), fields).await.is(200);
}

/// Creates a binding to a package of somebody.
async fn bind(me: &Guest, name: &str, provider: &Guest, package: &str, parameters: Value) {
    let binding = json!({"namespace": provider.namespace, "name": package});
    let body = json!({"binding": binding, "parameters": array(parameters)});
    me.put(&format!("packages/{name}"), body).await.is(200);
}
