//! Packages that others share where they may be executed only (section 5.1): they are called and bound, and not read.

use serde_json::json;

use super::sharing::{bind, of, owner};
use super::{Guest, Scenario, scenario};

const EXECUTE_ONLY: &str = "Optional `shared-packages-execute-only=true`: foreign GETs become 403 (`GET not permitted for '<x>' since it's \
                            a shared package` and variants).";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("5.1", EXECUTE_ONLY, "a shared package is called and bound, and not read", async |me| {
            let owner = owner(&me).await;
            let package = format!("{}/public", owner.namespace);
            let text = format!("GET not permitted for '{package}' since it's a shared package");
            me.get(&of(&owner, "packages/public")).await.is(403).says(&text);
            let text = format!("GET not permitted for '{package}' since it's an action in a shared package");
            for action in ["a", "a?code=false", "none"] {
                me.get(&of(&owner, &format!("actions/public/{action}"))).await.is(403).says(&text);
            }
            let call = of(&owner, "actions/public/a?blocking=true&result=true");
            me.post(&call, json!({"x": 1})).await.is(200).is_json(json!({"from": "public", "x": 1}));
        }),
        scenario("5.1", EXECUTE_ONLY, "nor by a binding, which calls it all the same", async |me| {
            let owner = owner(&me).await;
            bind(&me, &owner, "public").await;
            let text = "GET not permitted since b is a binding of a shared package";
            me.get("packages/b").await.is(403).says(text);
            for action in ["a", "none"] {
                let text = format!(
                    "GET not permitted for '{}/b/{action}'. Resource does not exist or is an action in a shared package binding.",
                    me.namespace
                );
                me.get(&format!("actions/b/{action}")).await.is(403).says(&text);
            }
            me.result("b/a", json!({})).await.is(200).is_json(json!({"from": "public"}));
        }),
        scenario("5.1", EXECUTE_ONLY, "what is one's own is read, by bindings too", async |me: Guest| {
            let owner = owner(&me).await;
            bind(&owner, &owner, "private").await;
            owner.get("packages/public").await.is(200);
            owner.get("packages/b").await.is(200);
            owner.get("actions/b/a").await.is(200);
        }),
    ]
}
