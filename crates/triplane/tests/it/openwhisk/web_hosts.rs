//! Host names of namespaces (section 6.5), on a platform whose API is at `localhost`.

use serde_json::json;

use super::web::{ECHO, each, export};
use super::{Scenario, array, scenario, sh};

const REWRITES: &str = "Edge rewrites `https://{ns}.{apihost}/x` → `/api/v1/web/{ns}/x`, `/` → \
                `/api/v1/web/{ns}/public/index.html`; ns label [0-9a-zA-Z-]+.";

pub(super) fn scenarios() -> Vec<Scenario> {
    let visits = each("6.5", REWRITES, "a namespace has a host name", async |me, visitor| {
        export(&me, ECHO, json!({"web-custom-options": true})).await;
        let host = format!("{}.localhost", me.namespace);
        let reply = visitor.call("/default/a.json/rest?q=1").header("host", &host).await.is(200);
        let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
        let input = me.record(&id).await.at("response/result");
        assert_eq!((&input["__ow_path"], &input["q"]), (&json!("/rest"), &json!("1")), "{input}");
        assert_eq!(input["__ow_headers"]["host"], host);
    });
    let others = vec![
        scenario(
            "6.5",
            REWRITES,
            "the root of a host name is the page index of the package public",
            async |me| {
                me.put("packages/public", json!({})).await.is(200);
                let annotations = array(json!({"web-export": true}));
                let exec = sh(r#"echo '{"html": "welcome"}'"#);
                me.put("actions/public/index", json!({"exec": exec, "annotations": annotations}))
                    .await
                    .is(200);
                let host = format!("{}.localhost", me.namespace);
                let reply = me.anonymous().get("/").header("host", &host).await.is(200).is_text("welcome");
                reply.has_header("content-type", "text/html; charset=UTF-8");
            },
        ),
        scenario("6.5", REWRITES, "a host name may have a port and capitals", async |me| {
            export(&me, ECHO, json!({})).await;
            for host in ["NS.localhost:3233", "NS.LocalHost", "NS.api.example.org"] {
                let host = host.replace("NS", &me.namespace);
                me.anonymous().get("/default/a.json").header("host", &host).await.is(200);
            }
        }),
        scenario("6.5", REWRITES, "nothing but web actions is at a host name of a namespace", async |me| {
            let host = format!("{}.localhost", me.namespace);
            for path in ["/api/v1", "/api/v1/namespaces/_/actions", "/ping", "/api/v1/web/x/default/a"] {
                me.get(path).header("host", &host).await.is(404);
            }
        }),
        scenario("6.5", REWRITES, "other host names are those of the API", async |me| {
            export(&me, ECHO, json!({})).await;
            for host in ["localhost", "a.NS.localhost", "NS.example.com", "n_s.localhost", "127.0.0.1:3233"] {
                let host = host.replace("NS", &me.namespace);
                me.get("/default/a.json").header("host", &host).await.is(404);
                me.get("/ping").header("host", &host).await.is(200).is_text("pong");
            }
        }),
    ];
    [visits, others].into_iter().flatten().collect()
}
