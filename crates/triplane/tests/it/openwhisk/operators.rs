//! Subjects, their keys and their limits, as an operator manages them (sections 12.1 and 12.2): the capabilities of `wskadmin`,
//! through the admin API. Its command line is in `admin.rs`.

use http::Method;
use serde_json::{Value, json};

use super::{Guest, Reply, Scenario, scenario};

const CREATE: &str =
    "`user create SUBJECT [-u uuid:key] [-ns NS] [-r revoke] [-g genonly] [-s]` prints `uuid:key`";
const SUBJECT: &str = "Subject doc: `{\"_id\":\"guest\",\"subject\":\"guest\",\"namespaces\":[{\"name\":\"guest\",\
                \"uuid\":\"...\",\"key\":\"...\"}],\"blocked\":true?}`.";
const DOCUMENT: &str = "Limits doc: `{\"_id\":\"guest/limits\", invocationsPerMinute, concurrentInvocations, \
                firesPerMinute, allowedKinds, storeActivations, minActionMemory,...,maxParameterSize,\
                \"maxPayloadSize\",\"truncationSize\", warmedContainerKeepingCount, \
                warmedContainerKeepingTimeout}`.";
const ENTITIES: &str = "Entities DB: `_id` = `ns/[pkg/]name`, plus `entityType` ∈ action, trigger, rule, package, \
                activation";

pub(super) fn scenarios() -> Vec<Scenario> {
    [users(), namespaces(), limits(), documents()].into_iter().flatten().collect()
}

async fn admin(me: &Guest, method: Method, path: &str, body: Value) -> Reply {
    me.stage.admin(method, &format!("/admin/v1/{path}"), &body).await
}

async fn create(me: &Guest, body: Value) -> Reply {
    admin(me, Method::POST, "users", body).await
}

/// A name that nobody else has.
fn name(me: &Guest, what: &str) -> String {
    format!("{what}-of-{}", me.namespace)
}

/// Whether a credential is accepted, and for which namespace.
async fn namespace_of(me: &Guest, credential: &str) -> Reply {
    me.anonymous().get("/api/v1/namespaces").credential(credential).await
}

fn credential(me: &Guest, digit: char) -> String {
    let number: u32 = me.namespace.trim_start_matches("subject").parse().unwrap();
    format!("a1b2c3d4-71f6-4ed5-8c54-{number:08x}000{digit}:{}", digit.to_string().repeat(64))
}

fn users() -> Vec<Scenario> {
    vec![
        scenario("12.2", CREATE, "a subject is created and its key is accepted at once", async |me| {
            let subject = name(&me, "alice");
            let auth = create(&me, json!({"subject": subject})).await.is(200).word("auth");
            namespace_of(&me, &auth).await.is(200).is_json(json!([subject]));
        }),
        scenario("12.2", CREATE, "a subject may be created with a key of its own", async |me| {
            let auth = credential(&me, '1');
            let body = json!({"subject": name(&me, "alice"), "auth": auth});
            create(&me, body).await.is(200).has("auth", auth.clone());
            namespace_of(&me, &auth).await.is(200);
        }),
        scenario("12.2", CREATE, "a subject may own a namespace with another name", async |me| {
            let space = name(&me, "space");
            let body = json!({"subject": name(&me, "alice"), "namespace": space});
            let auth = create(&me, body).await.is(200).word("auth");
            namespace_of(&me, &auth).await.is(200).is_json(json!([space]));
        }),
        scenario("12.2", CREATE, "a revoked key is refused and the new one has the same uuid", async |me| {
            let subject = name(&me, "alice");
            let first = create(&me, json!({"subject": subject})).await.is(200).word("auth");
            let second = create(&me, json!({"subject": subject, "revoke": true})).await.is(200).word("auth");
            assert_eq!((&first[..36], first == second), (&second[..36], false));
            namespace_of(&me, &first).await.is(401);
            namespace_of(&me, &second).await.is(200);
        }),
        scenario("12.2", "subject <5 chars refused", "a short subject is refused", async |me| {
            let refused = create(&me, json!({"subject": "four"})).await.is(400);
            refused.says("Subject name must be at least 5 characters");
        }),
        scenario(
            "12.2",
            "existing ns → \"Namespace already exists\"",
            "a namespace that exists is refused",
            async |me| {
                let refused = create(&me, json!({"subject": me.namespace})).await.is(409);
                refused.says("Namespace already exists");
            },
        ),
        scenario("12.2", CREATE, "subjects may share a namespace, each with a key of its own", async |me| {
            let body = json!({"subject": name(&me, "bob"), "namespace": me.namespace});
            let auth = create(&me, body).await.is(200).word("auth");
            namespace_of(&me, &auth).await.is(200).is_json(json!([me.namespace]));
            let users = format!("namespaces/{}/users", me.namespace);
            let holders = admin(&me, Method::GET, &users, Value::Null).await.is(200);
            holders.is_json(json!([
                {"subject": me.namespace, "auth": me.credential},
                {"subject": name(&me, "bob"), "auth": auth},
            ]));
        }),
        scenario("12.2", CREATE, "a key that is none is refused", async |me| {
            for (auth, text) in [
                ("nothing", "failed to determine authorization id and key"),
                ("x:y", "authorization key must be at least 64 characters long"),
            ] {
                let body = json!({"subject": name(&me, "alice"), "auth": auth});
                create(&me, body).await.is(400).says(text);
            }
        }),
        scenario("12.2", "`user get S [-ns|-a]`", "a subject is read with its keys", async |me| {
            let user = admin(&me, Method::GET, &format!("users/{}", me.namespace), Value::Null).await.is(200);
            user.has("namespaces", json!([{"name": me.namespace, "auth": me.credential}]));
        }),
        scenario("12.2", "`user whois KEY`", "a key tells its subject and namespace", async |me| {
            let found = admin(&me, Method::POST, "whois", json!({"auth": me.credential})).await.is(200);
            found.is_json(json!({"subject": me.namespace, "namespace": me.namespace}));
            let unknown = admin(&me, Method::POST, "whois", json!({"auth": credential(&me, '9')})).await;
            unknown.is(404).says("Subject id is not recognized");
        }),
        scenario(
            "12.2",
            "`user block/unblock S...`",
            "a blocked subject gets no further namespace",
            async |me| {
                let user = format!("users/{}", me.namespace);
                admin(&me, Method::POST, &format!("{user}/block"), json!({}))
                    .await
                    .is(200)
                    .has("message", format!("'{}' blocked successfully", me.namespace));
                let body = json!({"subject": me.namespace, "namespace": name(&me, "space")});
                create(&me, body).await.is(409).says("The subject you want to edit is blocked");
                admin(&me, Method::POST, &format!("{user}/unblock"), json!({}))
                    .await
                    .is(200)
                    .has("message", format!("'{}' unblocked successfully", me.namespace));
            },
        ),
        scenario("12.2", "`user delete S [-ns]`", "a deleted subject is gone with its keys", async |me| {
            let user = format!("users/{}", me.namespace);
            admin(&me, Method::DELETE, &user, Value::Null).await.is(200).has("message", "Subject deleted");
            me.get("actions").await.is(401);
            admin(&me, Method::GET, &user, Value::Null).await.is(404);
        }),
        scenario("12.2", CREATE, "the admin API is for the operator only", async |me| {
            let page = me.stage.page("/admin/v1/users/guest").await.is(401);
            page.has_header("www-authenticate", "Bearer");
        }),
    ]
}

fn namespaces() -> Vec<Scenario> {
    const SEVERAL: &str = "A *subject* (≥5 chars) owns one or more *namespaces*, each with its own uuid/key.";
    vec![
        scenario("1.4", SEVERAL, "the key that is presented selects the namespace", async |me| {
            let space = name(&me, "space");
            let body = json!({"subject": me.namespace, "namespace": space});
            let auth = create(&me, body).await.is(200).word("auth");
            me.create("a").await;
            me.get("/api/v1/namespaces/_/actions").credential(&auth).await.is(200).is_json(json!([]));
            let path = format!("/api/v1/namespaces/{}/actions/a", me.namespace);
            me.get(&path).credential(&auth).await.is(403);
        }),
        scenario("12.2", "`user delete S [-ns]`", "one of several namespaces can be deleted", async |me| {
            let space = name(&me, "space");
            let body = json!({"subject": me.namespace, "namespace": space});
            let auth = create(&me, body).await.is(200).word("auth");
            let path = format!("users/{}?namespace={space}", me.namespace);
            admin(&me, Method::DELETE, &path, Value::Null).await.is(200).has("message", "Namespace deleted");
            namespace_of(&me, &auth).await.is(401);
            me.get("actions").await.is(200);
        }),
        scenario(
            "12.2",
            "`user list NS [-p N] [-a] [-k]`",
            "the keys of a namespace are listed",
            async |me| {
                let path = format!("namespaces/{}/users", me.namespace);
                let list = admin(&me, Method::GET, &path, Value::Null).await.is(200);
                list.is_json(json!([{"subject": me.namespace, "auth": me.credential}]));
                let none =
                    admin(&me, Method::GET, "namespaces/nobody-at-all/users", Value::Null).await.is(404);
                none.says("no identities found for namespace 'nobody-at-all'");
            },
        ),
    ]
}

fn limits() -> Vec<Scenario> {
    vec![
        scenario("12.2", "`limits get/delete NS`", "limits that are not set are not there", async |me| {
            let path = format!("namespaces/{}/limits", me.namespace);
            let text = format!("Limits not found for '{}'", me.namespace);
            admin(&me, Method::GET, &path, Value::Null).await.is(404).says(&text);
            admin(&me, Method::DELETE, &path, Value::Null).await.is(404).says(&text);
        }),
        scenario(
            "12.2",
            "`limits set NS --invocationsPerMinute n",
            "what is set later leaves the rest",
            async |me| {
                let path = format!("namespaces/{}/limits", me.namespace);
                let first = json!({"invocationsPerMinute": 5, "firesPerMinute": 6});
                admin(&me, Method::PATCH, &path, first)
                    .await
                    .is(200)
                    .has("message", format!("Limits successfully set for '{}'", me.namespace));
                admin(&me, Method::PATCH, &path, json!({"firesPerMinute": 7}))
                    .await
                    .is(200)
                    .has("message", format!("Limits successfully updated for '{}'", me.namespace));
                let set = admin(&me, Method::GET, &path, Value::Null).await.is(200);
                set.is_json(json!({"invocationsPerMinute": 5, "firesPerMinute": 7}));
            },
        ),
        scenario("12.1", DOCUMENT, "limits may be set before there is a namespace", async |me| {
            let subject = name(&me, "later");
            let path = format!("namespaces/{subject}/limits");
            admin(&me, Method::PATCH, &path, json!({"invocationsPerMinute": 5})).await.is(200);
            let auth = create(&me, json!({"subject": subject})).await.is(200).word("auth");
            let limits = me.anonymous().get("/api/v1/namespaces/_/limits").credential(&auth).await.is(200);
            limits.has("invocationsPerMinute", 5);
        }),
    ]
}

fn documents() -> Vec<Scenario> {
    async fn import(me: &Guest, document: Value) -> Reply {
        admin(me, Method::POST, "import", document).await.is(200)
    }
    vec![
        scenario("12.1", SUBJECT, "a subject of another OpenWhisk keeps its key", async |me| {
            let (subject, auth) = (name(&me, "moved"), credential(&me, '2'));
            let (uuid, key) = auth.split_once(':').unwrap();
            let document = json!({
                "_id": subject, "_rev": "1-a", "subject": subject,
                "namespaces": [{"name": subject, "uuid": uuid, "key": key}],
            });
            import(&me, document.clone()).await.has("outcome", "taken");
            import(&me, document).await.has("outcome", "there");
            namespace_of(&me, &auth).await.is(200).is_json(json!([subject]));
        }),
        scenario("12.1", DOCUMENT, "limits of another OpenWhisk are taken", async |me| {
            let id = format!("{}/limits", me.namespace);
            import(&me, json!({"_id": id, "_rev": "1-a", "invocationsPerMinute": 5}))
                .await
                .has("outcome", "taken");
            me.get("limits").await.is(200).has("invocationsPerMinute", 5);
        }),
        scenario(
            "12.1",
            "Code >16 KB goes to an attachment `codefile`.",
            "an action with its code attached runs",
            async |me| {
                let document = json!({
                    "_id": format!("{}/a", me.namespace), "_rev": "1-a", "entityType": "action",
                    "namespace": me.namespace, "name": "a", "version": "0.0.7", "publish": false,
                    "annotations": [], "parameters": [], "updated": 1_700_000_000_000_u64,
                    "limits": {"timeout": 60000, "memory": 128, "logs": 10, "concurrency": 1},
                    "exec": {"kind": "native:1", "binary": false, "code": {
                        "attachmentName": "codefile", "attachmentType": "text/plain; charset=UTF-8",
                    }},
                    "_attachments": {"codefile": {
                        "content_type": "text/plain; charset=UTF-8", "data": "IyEvYmluL3NoCmVjaG8gIiQxIgo=",
                    }},
                });
                import(&me, document).await.has("outcome", "taken");
                me.get("actions/a")
                    .await
                    .is(200)
                    .has("version", "0.0.7")
                    .has("exec/code", "#!/bin/sh\necho \"$1\"\n");
                me.result("a", json!({"b": 1})).await.is(200).is_json(json!({"b": 1}));
            },
        ),
        scenario(
            "12.1",
            ENTITIES,
            "an activation of another OpenWhisk is refused with a reason",
            async |me| {
                let document = json!({"_id": "a/b", "entityType": "activation"});
                let refused = import(&me, document).await.has("outcome", "refused");
                refused.has("reason", "documents of type activation are not taken");
            },
        ),
    ]
}
