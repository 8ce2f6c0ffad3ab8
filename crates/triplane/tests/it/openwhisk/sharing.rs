//! What others may do with the packages of a namespace (sections 5.1 and 9.3).

use serde_json::{Value, json};

use super::{Guest, Scenario, array, node, scenario};

const PUBLIC: &str =
    "`publish:true` = anyone authenticated may GET the package, list/GET/invoke its actions, bind it.";
const LISTED: &str =
    "Listing packages of a foreign ns returns only public non-binding packages (200, possibly empty).";
const HIDDEN: &str = "Private or missing foreign package → 403 (existence is hidden).";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("5.1", PUBLIC, "everyone reads a public package", async |me| {
            let owner = owner(&me).await;
            me.get(&of(&owner, "packages/public")).await.is(200).has("actions/0/name", "a");
            let list = me.get(&of(&owner, "actions/public/")).await.is(200);
            list.has("0/namespace", format!("{}/public", owner.namespace));
            me.get(&of(&owner, "actions/public/a")).await.is(200).has("exec/kind", "native:1");
            me.get(&of(&owner, "actions/public/none")).await.is(404);
        })
        .and("9.3", "READ of public packages, and READ/ACTIVATE of actions in them"),
        scenario(
            "5.1",
            "list/GET/invoke its actions",
            "everyone calls what is in a public package",
            async |me| {
                let owner = owner(&me).await;
                let reply =
                    me.post(&of(&owner, "actions/public/a?blocking=true&result=true"), json!({"x": 1})).await;
                reply.is(200).is_json(json!({"from": "public", "x": 1}));
                me.post(&of(&owner, "actions/public/a"), json!({})).await.is(202);
                me.post(&of(&owner, "actions/public/none"), json!({})).await.is(404);
            },
        ),
        scenario(
            "5.1",
            LISTED,
            "of others only public packages that are no bindings are listed",
            async |me| {
                let owner = owner(&me).await;
                let binding = json!({"binding": {"namespace": "_", "name": "public"}, "publish": true});
                owner.put("packages/binding", binding).await.is(200);
                me.get(&of(&owner, "packages")).await.is(200).has("0/name", "public").lacks("1");
                me.get(&of(&owner, "packages?count=true")).await.is(200).is_json(json!({"packages": 1}));
                me.get("/api/v1/namespaces/nobody-here/packages").await.is(200).is_json(json!([]));
            },
        )
        .and("B", "list of foreign ns shows only public")
        .and("9.3", "packages collection list (filtered)"),
        scenario("5.1", HIDDEN, "a private package of others looks as if it were missing", async |me| {
            let owner = owner(&me).await;
            for package in ["private", "missing"] {
                for (method, path) in [
                    ("GET", format!("packages/{package}")),
                    ("GET", format!("actions/{package}/a")),
                    ("POST", format!("actions/{package}/a?blocking=true")),
                ] {
                    let name = path.split_once('/').unwrap().1.split('?').next().unwrap().to_owned();
                    let reply = me.call(method, &of(&owner, &path)).await.is(403);
                    reply.says(&refused(&format!("{}/{name}", owner.namespace)));
                }
                me.get(&of(&owner, &format!("actions/{package}/"))).await.is(403);
            }
        })
        .and("16", "Existing foreign private package and missing foreign package are both 403."),
        scenario("9.3", "Owner: everything.", "the owner of a private package may do all", async |me| {
            let owner = owner(&me).await;
            owner.get("packages/private").await.is(200);
            owner.result("private/a", json!({})).await.is(200).is_json(json!({"from": "private"}));
            owner.put("packages/private?overwrite=true", json!({"publish": true})).await.is(200);
            me.get(&of(&owner, "packages/private")).await.is(200);
        })
        .and("9.3", "Owner = path ns equals the key's ns."),
        scenario("9.3", "Everything else 403.", "nobody writes into the packages of others", async |me| {
            let owner = owner(&me).await;
            let ns = &owner.namespace;
            for (method, path, resource) in [
                ("PUT", "packages/public", "public"),
                ("DELETE", "packages/public", "public"),
                ("PUT", "actions/public/a", "public/a"),
                ("PUT", "actions/public/new", "public/new"),
                ("DELETE", "actions/public/a", "public/a"),
            ] {
                let call = me.call(method, &of(&owner, path));
                let call = if method == "PUT" { call.json(&json!({"exec": node("1")})) } else { call };
                call.await.is(403).says(&refused(&format!("{ns}/{resource}")));
            }
            me.post(&of(&owner, "packages/public"), json!({})).await.is(405);
        }),
        scenario(
            "B",
            "GET/POST through binding of public and private packages (403 when provider went private)",
            "a binding ends when its provider becomes private",
            async |me| {
                let owner = owner(&me).await;
                bind(&me, &owner, "public").await;
                me.get("actions/b/a").await.is(200);
                me.result("b/a", json!({})).await.is(200);
                owner.put("packages/public?overwrite=true", json!({"publish": false})).await.is(200);
                let text = refused(&format!("{}/b/a", me.namespace));
                me.get("actions/b/a").await.is(403).says(&text);
                me.result("b/a", json!({})).await.is(403).says(&text);
                me.get("packages/b").await.is(403);
                owner.put("packages/public?overwrite=true", json!({"publish": true})).await.is(200);
                me.result("b/a", json!({})).await.is(200);
            },
        ),
        scenario(
            "9.3",
            "Through a binding both binding (owner only) and provider (public or own) must be readable.",
            "a binding of others is theirs alone",
            async |me| {
                let owner = owner(&me).await;
                bind(&me, &owner, "public").await;
                for (method, path, resource) in [
                    ("GET", "packages/b", "b"),
                    ("GET", "actions/b/a", "b/a"),
                    ("POST", "actions/b/a", "b/a"),
                ] {
                    let reply = owner.call(method, &of(&me, path)).await.is(403);
                    reply.says(&refused(&format!("{}/{resource}", me.namespace)));
                }
            },
        ),
        scenario(
            "9.3",
            "both binding (owner only) and provider (public or own)",
            "an own private package is reached through an own binding",
            async |me| {
                let owner = owner(&me).await;
                bind(&owner, &owner, "private").await;
                owner.result("b/a", json!({})).await.is(200).is_json(json!({"from": "private"}));
            },
        ),
        scenario(
            "1.3",
            "403 | not entitled | `The supplied authentication is not authorized to access '<ns/name[, ...]>'.`",
            "an action in no package is its owner's alone",
            async |me| {
                let owner = owner(&me).await;
                owner.create("plain").await;
                let text = refused(&format!("{}/plain", owner.namespace));
                me.get(&of(&owner, "actions/plain")).await.is(403).says(&text);
                me.post(&of(&owner, "actions/plain"), json!({})).await.is(403).says(&text);
            },
        ),
        scenario("B", "429 before 403", "a throttled caller is not told what it may not call", async |me| {
            let owner = owner(&me).await;
            let path = of(&owner, "actions/private/a");
            let mut statuses = Vec::new();
            // A minute may end in between, and a new one allows as many again.
            for _ in 0..130 {
                statuses.push(me.post(&path, json!({})).await.is_one_of(&[403, 429]).status());
            }
            assert_eq!(statuses[0], 403);
            assert!(statuses.contains(&429), "{statuses:?}");
        }),
    ]
}

/// Another subject, with a public and a private package that have an action `a` each, which answers what it is called with.
pub(super) async fn owner(me: &Guest) -> Guest {
    let owner = me.other().await;
    for (name, publish) in [("public", true), ("private", false)] {
        let fields: Value = json!({"publish": publish, "parameters": array(json!({ "from": name }))});
        owner.put(&format!("packages/{name}"), fields).await.is(200);
        owner.create_echo(&format!("{name}/a")).await;
    }
    owner
}

/// Binds a package of another as `b`.
pub(super) async fn bind(me: &Guest, owner: &Guest, package: &str) {
    let binding = json!({"binding": {"namespace": owner.namespace, "name": package}});
    me.put("packages/b", binding).await.is(200);
}

/// A path in the namespace of another.
pub(super) fn of(owner: &Guest, path: &str) -> String {
    format!("/api/v1/namespaces/{}/{path}", owner.namespace)
}

fn refused(resource: &str) -> String {
    format!("The supplied authentication is not authorized to access '{resource}'.")
}
