//! Web actions that take longer than a client waits (section 6.4), on a platform where that is a moment.

use serde_json::json;

use super::web::{each, export, visit};
use super::{Scenario, scenario};

const TIMEOUT: &str = "Timeout → 202 `{\"error\":\"Response not yet ready.\",\"code\"}`.";

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all =
        each("6.4", TIMEOUT, "an action that takes too long is 202, and goes on", async |me, visitor| {
            export(&me, "sleep 2; echo '{\"k\": 1}'", json!({"web-custom-options": true})).await;
            let reply = visitor.visit("a.json").await;
            let reply = visitor.refused(reply, 202, "Response not yet ready.");
            let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
            me.record(&id).await.has("response/result", json!({"k": 1}));
        });
    all.push(scenario("6.4", TIMEOUT, "a visit that takes too long counts until it is over", async |me| {
        export(&me, "sleep 2; echo '{}'", json!({})).await;
        let reply = visit(&me, "a").await.is(202).has_header("access-control-allow-origin", "*");
        let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
        me.record(&id).await.has("response/status", "success");
        visit(&me, "a").await.is(202);
    }));
    all
}
