//! Paths, headers and errors: what all parts of the API have in common (sections 1.1 to 1.3).

use serde_json::json;

use super::{Scenario, node, scenario};

const ILLEGAL_NAME: &str = "The name of the entity contains illegal characters.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [paths(), headers(), errors(), order()].into_iter().flatten().collect()
}

fn paths() -> Vec<Scenario> {
    const SLASH: &str = "A trailing slash is accepted on collection lists (`/actions/`), on `/namespaces/`, \
                `/limits/`, on an activation id";
    vec![
        scenario("1.1", "200 `pong` (text)", "anyone may ping", async |me| {
            me.anonymous().get("/ping").await.is(200).is_text("pong").lacks_header("www-authenticate");
        }),
        scenario("1.1", "API info doc (1.8)", "the info document of the API has two addresses", async |me| {
            let plain = me.anonymous().get("/api/v1").await.is(200).json();
            me.anonymous().get("/api/v1/").await.is(200).is_json(plain);
        }),
        scenario(
            "1.1",
            "controller info doc (1.8)",
            "the info document of the controller needs no credential",
            async |me| {
                me.anonymous().get("/").await.is(200).has("description", "OpenWhisk");
            },
        ),
        scenario("1.1", "swagger JSON / UI", "the API describes itself", async |me| {
            let reply = me.anonymous().get("/api/v1/api-docs").await.is(200);
            let put = &reply.json()["paths"]["/api/v1/namespaces/{ns}/actions/{name}"]["put"];
            assert_eq!(put["responses"]["200"]["description"], "ok", "{put}");
        }),
        scenario(
            "1.1",
            "(308 redirect to `docs/index.html?url=...`)",
            "a page shows what the API is",
            async |me| {
                let reply = me.anonymous().get("/api/v1/docs").await.is(308);
                let location = reply.header("location").unwrap_or_default().to_owned();
                reply.holds(location.contains("docs/index.html?url="), || "the page's address".to_owned());
                let page = me.anonymous().get(&location).await.is(200);
                page.has_header("content-type", "text/html; charset=utf-8");
            },
        ),
        scenario(
            "1.1",
            "map `\"<id>\":\"up|down|unhealthy|unresponsive\"`",
            "an operator sees the invokers",
            async |me| {
                let reply = me.stage.page("/invokers").await.is(200);
                let is_up = reply.json().as_object().unwrap().values().all(|state| state == "up");
                reply.holds(is_up, || "invokers that are up".to_owned());
                me.stage.page("/invokers/healthy/count").await.is(200).is_text("1");
                me.stage.page("/invokers/ready").await.is(200).has("healthy", "1/1");
            },
        ),
        scenario("1.1", "in-flight counts", "an operator sees how many calls are in flight", async |me| {
            let count = me.stage.page("/activation/count").await.is(200).json();
            assert!(count.is_u64(), "{count}");
            let counts = me.stage.page("/activation").await.is(200).json();
            assert!(counts["controller0"].is_u64(), "{counts}");
        }),
        scenario(
            "1.1",
            "internal (edge denies)",
            "an operator sees the metrics, and others do not",
            async |me| {
                let page = me.stage.page("/metrics").await.is(200).text();
                assert!(page.contains("triplane_"), "{page}");
                me.get("/metrics").await.is(404);
            },
        ),
        scenario(
            "1.1",
            "stop taking load",
            "nobody may stop the server without the controller's password",
            async |me| {
                me.stage.admin(http::Method::POST, "/disable", &json!({})).await.is(401);
                me.get("/api/v1/namespaces").await.is(200);
            },
        ),
        scenario("1.1", SLASH, "the list of actions may end with a slash", async |me| {
            me.create("a").await;
            let list = me.get("actions").await.is(200).json();
            me.get("actions/").await.is(200).is_json(list);
        }),
        scenario(
            "1.1",
            SLASH,
            "the lists of packages, triggers, rules and activations may end with a slash",
            async |me| {
                for collection in ["packages/", "triggers/", "rules/", "activations/"] {
                    me.get(collection).await.is(200).is_json(json!([]));
                }
            },
        ),
        scenario("1.1", SLASH, "the list of namespaces may end with a slash", async |me| {
            me.get("/api/v1/namespaces/").await.is(200).is_json(json!([me.namespace]));
        }),
        scenario("1.1", SLASH, "the limits may end with a slash", async |me| {
            let limits = me.get("limits").await.is(200).json();
            me.get("limits/").await.is(200).is_json(limits);
        }),
        scenario("1.1", SLASH, "an activation id may be followed by a slash", async |me| {
            me.create_echo("a").await;
            let id = me.invoke("a", json!({})).await.is(200).word("activationId");
            let record = me.record(&id).await.json();
            me.get(&format!("activations/{id}/")).await.is(200).is_json(record);
        }),
        scenario(
            "1.1",
            "Entity GET/PUT/POST/DELETE with a trailing slash does not match for default-package \
                entities.",
            "an action with a slash behind it is not that action",
            async |me| {
                me.create("a").await;
                me.put("actions/a/?overwrite=true", json!({"exec": node("1")})).await.is_one_of(&[404, 405]);
                me.post("actions/a/", json!({})).await.is_one_of(&[404, 405]);
                me.delete("actions/a/").await.is_one_of(&[404, 405]);
                me.get("actions/a").await.is(200);
            },
        ),
        scenario(
            "1.3",
            "`The requested resource could not be found.`",
            "a path that nothing is at is 404",
            async |me| {
                for path in ["/api/v1/nothing", "/nothing", "/api/v2", "nothing", "actions/a/b/c", "limits/x"]
                {
                    me.get(path).await.is(404).says("The requested resource could not be found.");
                }
            },
        ),
        scenario(
            "1.4",
            "Nothing else on `/namespaces/{ns}`.",
            "there is nothing at a namespace itself",
            async |me| {
                me.get("/api/v1/namespaces/_").await.is(404);
                me.get(&format!("/api/v1/namespaces/{}", me.namespace)).await.is(404);
            },
        ),
        scenario(
            "1.2",
            "max URI 8 KiB (edge answers 414)",
            "a URI of more than 8 KiB is refused",
            async |me| {
                me.get(&format!("actions?limit={}", "0".repeat(8 * 1024))).await.is(414);
                me.get(&format!("actions?limit={}1", "0".repeat(7 * 1024))).await.is(200);
            },
        ),
    ]
}

fn headers() -> Vec<Scenario> {
    const ID: &str =
        "Client value is used unless it starts with `sid_` (then ignored and a new one is made).";
    const GENERATED: &str = "Generated ids: 32 chars [A-Za-z0-9]. Echoed on every response (also errors).";
    const OPTIONS: &str = "200, body `OK`, CORS headers, no auth needed (even for paths that do not exist)";
    vec![
        scenario("1.2", ID, "a client's transaction id is used", async |me| {
            me.get("actions")
                .header("X-Request-ID", "mine-1")
                .await
                .is(200)
                .has_header("x-request-id", "mine-1");
        })
        .and("16", "`X-Request-ID` echoed everywhere"),
        scenario("1.2", ID, "a client's transaction id that begins with sid_ is ignored", async |me| {
            let reply = me.get("actions").header("X-Request-ID", "sid_mine").await.is(200);
            let id = reply.header("x-request-id").unwrap_or_default().to_owned();
            reply.holds(id.len() == 32 && id != "sid_mine", || "a new transaction id".to_owned());
        }),
        scenario("1.2", GENERATED, "a transaction id is made of 32 letters and digits", async |me| {
            let (first, second) = (me.get("actions").await, me.get("actions").await);
            for reply in [&first, &second] {
                let id = reply.header("x-request-id").unwrap_or_default();
                let is_plain = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
                reply.clone().holds(is_plain, || "32 letters and digits in x-request-id".to_owned());
            }
            assert_ne!(
                first.header("x-request-id"),
                second.header("x-request-id"),
                "two requests share an id"
            );
        }),
        scenario("1.2", GENERATED, "errors carry the transaction id in header and body", async |me| {
            for reply in [
                me.get("actions/none").header("X-Request-ID", "tx").await.is(404),
                me.anonymous().get("actions").header("X-Request-ID", "tx").await.is(401),
                me.get("/nowhere").header("X-Request-ID", "tx").await.is(404),
                me.call("PATCH", "actions").header("X-Request-ID", "tx").await.is(405),
                me.invoke("none", json!({})).header("X-Request-ID", "tx").await.is(404),
            ] {
                reply.has_header("x-request-id", "tx").has("code", "tx");
            }
        }),
        scenario(
            "1.2",
            "on every action invocation (blocking or not, success or failure once an id exists)",
            "an invocation carries its id as a header",
            async |me| {
                me.create_echo("a").await;
                let blocking = me.invoke("a", json!({})).await.is(200);
                let id = blocking.word("activationId");
                blocking.has_header("x-openwhisk-activation-id", &id);
                let accepted = me.post("actions/a", json!({})).await.is(202);
                let id = accepted.word("activationId");
                accepted.has_header("x-openwhisk-activation-id", &id);
            },
        )
        .and("16", "`x-openwhisk-activation-id`"),
        scenario(
            "1.2",
            "on every action invocation (blocking or not, success or failure once an id exists)",
            "an invocation that fails carries its id as a header, and so does a bare result",
            async |me| {
                me.create_echo("a").await;
                let failed = me.invoke("a", json!({"error": "x"})).await.is(502);
                let id = failed.word("activationId");
                failed.has_header("x-openwhisk-activation-id", &id);
                let bare = me.result("a", json!({})).await.is(200);
                let length = bare.header("x-openwhisk-activation-id").map(str::len);
                bare.holds(length == Some(32), || "x-openwhisk-activation-id".to_owned());
            },
        ),
        scenario(
            "1.2",
            "sent by the npm client when a namespace option is set; ignored",
            "x-namespace-id means nothing",
            async |me| {
                let other = me.other().await;
                me.get("/api/v1/namespaces")
                    .header("x-namespace-id", &other.namespace)
                    .await
                    .is_json(json!([me.namespace]));
            },
        ),
        scenario(
            "1.2",
            "required on PUT/POST with a body; other types → 415",
            "a PUT of another type is 415",
            async |me| {
                let body = json!({"exec": node("1")}).to_string();
                for kind in ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded"] {
                    me.call("PUT", "actions/a").text(kind, &body).await.is(415).mentions("application/json");
                }
                me.get("actions/a").await.is(404);
            },
        ),
        scenario(
            "1.3",
            "`The request's Content-Type is not supported. Expected:\\napplication/json`",
            "a PUT without a type is 415",
            async |me| {
                let body = json!({"exec": node("1")}).to_string();
                let text = "The request's Content-Type is not supported. Expected:\napplication/json";
                me.call("PUT", "actions/a").body(body.as_bytes()).await.is(415).says(text);
            },
        )
        .and("B", "body without content-type 415"),
        scenario(
            "1.2",
            "required on PUT/POST with a body; other types → 415",
            "an invocation with a payload of another type is 415",
            async |me| {
                me.create_echo("a").await;
                me.call("POST", "actions/a").text("text/plain", "{}").await.is(415);
            },
        ),
        scenario(
            "1.2",
            "Empty body with JSON type = empty object; POST with no body at all is accepted",
            "an invocation needs no body",
            async |me| {
                me.create_echo("a").await;
                me.call("POST", "actions/a?blocking=true&result=true").await.is(200).is_json(json!({}));
                me.call("POST", "actions/a?blocking=true&result=true")
                    .text("application/json", "")
                    .await
                    .is(200)
                    .is_json(json!({}));
            },
        ),
        scenario(
            "16",
            "npm client sends `?` with empty query and `Content-Type` with charset.",
            "the type may name its charset, the query be empty",
            async |me| {
                let body = json!({"exec": node("1")}).to_string();
                me.call("PUT", "actions/a?")
                    .text("application/json; charset=utf-8", &body)
                    .await
                    .is(200)
                    .has("name", "a");
                me.get("actions?").await.is(200).has("0/name", "a");
            },
        ),
        scenario(
            "1.2",
            "`Access-Control-Allow-Origin: *`",
            "browsers of any origin may read the API's answers",
            async |me| {
                for reply in [
                    me.get("actions").await,
                    me.get("actions/none").await,
                    me.anonymous().get("actions").await,
                    me.get("/api/v1").await,
                    me.get("/").await,
                ] {
                    reply
                        .has_header("access-control-allow-origin", "*")
                        .has_header(
                            "access-control-allow-headers",
                            "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
                        )
                        .has_header("access-control-allow-methods", "GET, DELETE, POST, PUT, HEAD");
                }
            },
        ),
        scenario("1.2", OPTIONS, "OPTIONS is answered for a path without a credential", async |me| {
            let reply = me.anonymous().call("OPTIONS", "actions/a").await.is(200).is_text("OK");
            reply.has_header("access-control-allow-methods", "GET, DELETE, POST, PUT, HEAD");
        }),
        scenario("1.2", OPTIONS, "OPTIONS is answered for a path that does not exist", async |me| {
            me.anonymous().call("OPTIONS", "/api/v1/no/such/path").await.is(200).is_text("OK");
        }),
        scenario("1.2", "HEAD is not mapped onto GET (405 on REST).", "HEAD is refused", async |me| {
            me.create("a").await;
            for path in ["actions", "actions/a", "activations", "limits", "/api/v1/namespaces"] {
                me.call("HEAD", path).await.is(405);
            }
        }),
        scenario(
            "1.2",
            "Responses are compact JSON `application/json`",
            "answers are compact JSON",
            async |me| {
                let reply = me.create("a").await.has_header("content-type", "application/json");
                let compact = reply.json().to_string().len();
                assert_eq!(reply.bytes().len(), compact, "{}", reply.text());
            },
        ),
    ]
}

fn errors() -> Vec<Scenario> {
    vec![
        scenario(
            "1.3",
            "Always `{\"error\": \"<text>\", \"code\": \"<transaction id>\"}`.",
            "an error has two keys and no more",
            async |me| {
                let body = me
                    .get("actions/none")
                    .await
                    .is(404)
                    .says("The requested resource does not exist.")
                    .json();
                assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
            },
        )
        .and("16", "Error bodies need `error` and `code`."),
        scenario(
            "1.3",
            "`The request content was malformed:\\n<detail>`",
            "JSON that cannot be read is 400",
            async |me| {
                for body in ["{", "{\"exec\":}", "nonsense", "{}}", "\u{fffd}"] {
                    let reply = me.call("PUT", "actions/a").text("application/json", body).await.is(400);
                    reply.mentions("The request content was malformed:\n");
                }
            },
        ),
        scenario(
            "1.3",
            "`The request content was malformed:\\n<detail>`",
            "a payload that cannot be read is 400",
            async |me| {
                me.create_echo("a").await;
                for body in ["{", "nonsense", "{\"a\":1}x"] {
                    let reply = me.call("POST", "actions/a").text("application/json", body).await.is(400);
                    reply.mentions("The request content was malformed:\n");
                }
            },
        ),
        scenario(
            "1.3",
            "`The query parameter 'limit' was malformed:\\n<detail>`",
            "a query that cannot be read is 400 and named",
            async |me| {
                me.get("actions?limit=x")
                    .await
                    .is(400)
                    .mentions("The query parameter 'limit' was malformed:\n");
                me.get("actions?skip=x")
                    .await
                    .is(400)
                    .mentions("The query parameter 'skip' was malformed:\n");
                me.get("actions?count=x")
                    .await
                    .is(400)
                    .mentions("The query parameter 'count' was malformed:\n");
            },
        ),
        scenario(
            "1.3",
            "`HTTP method not allowed, supported methods: ...` [F] + `Allow`",
            "another method is 405 and told which there are",
            async |me| {
                for (method, path) in [
                    ("PATCH", "actions/a"),
                    ("POST", "actions"),
                    ("PUT", "actions"),
                    ("DELETE", "actions"),
                    ("POST", "/api/v1/namespaces"),
                    ("DELETE", "/ping"),
                    ("PUT", "/"),
                ] {
                    let reply = me
                        .call(method, path)
                        .await
                        .is(405)
                        .mentions("HTTP method not allowed, supported methods: ");
                    let has_get = reply.header("allow").is_some_and(|allow| allow.contains("GET"));
                    reply.holds(has_get, || "an Allow header with GET".to_owned());
                }
            },
        ),
        scenario("1.3", "`resource already exists`", "a PUT of what exists is 409", async |me| {
            me.create("a").await;
            me.put("actions/a", json!({"exec": node("2")})).await.is(409).says("resource already exists");
            me.get("actions/a").await.has("version", "0.0.1");
        }),
        scenario(
            "1.3",
            "`The requested resource does not exist.`",
            "what is not there is 404 for each method",
            async |me| {
                const TEXT: &str = "The requested resource does not exist.";
                me.get("actions/none").await.is(404).says(TEXT);
                me.delete("actions/none").await.is(404).says(TEXT);
                me.post("actions/none", json!({})).await.is(404).says(TEXT);
                for entity in ["triggers/none", "rules/none"] {
                    me.get(entity).await.is(404).says(TEXT);
                    me.delete(entity).await.is(404).says(TEXT);
                }
                me.get(&format!("activations/{}", "0".repeat(32))).await.is(404).says(TEXT);
            },
        ),
        scenario(
            "1.3",
            "`The supplied authentication is not authorized to access '<ns/name[, ...]>'.`",
            "another's things are 403 whether they exist or not",
            async |me| {
                me.create("a").await;
                let other = me.other().await;
                for name in ["a", "none"] {
                    let path = format!("/api/v1/namespaces/{}/actions/{name}", me.namespace);
                    let text = format!(
                        "The supplied authentication is not authorized to access '{}/{name}'.",
                        me.namespace
                    );
                    other.get(&path).await.is(403).says(&text);
                    other.put(&path, json!({"exec": node("2")})).await.is(403).says(&text);
                    other.post(&path, json!({})).await.is(403).says(&text);
                    other.delete(&path).await.is(403).says(&text);
                }
            },
        )
        .and("9.3", "Everything else 403."),
        scenario(
            "1.3",
            "`The supplied authentication is not authorized to access '<ns/name[, ...]>'.`",
            "another's collections are 403 and named by the namespace",
            async |me| {
                let other = me.other().await;
                let text =
                    format!("The supplied authentication is not authorized to access '{}'.", other.namespace);
                for collection in ["actions", "triggers", "rules", "activations", "limits"] {
                    let path = format!("/api/v1/namespaces/{}/{collection}", other.namespace);
                    me.get(&path).await.is(403).says(&text);
                }
            },
        ),
        scenario(
            "1.3",
            "`The supplied authentication is not authorized to access '<ns/name[, ...]>'.`",
            "a namespace that nobody has is 403 as well",
            async |me| {
                me.get("/api/v1/namespaces/nobody/actions/a").await.is(403).mentions("nobody/a");
            },
        ),
    ]
}

fn order() -> Vec<Scenario> {
    const ORDER: &str = "Check order on an entity call: route/method → auth → name syntax → throttle (ACTIVATE \
                only) → entitlement → body size → body parse → entity lookup.";
    vec![
        scenario("1.3", ORDER, "method and route come before the credential", async |me| {
            me.anonymous().call("PATCH", "actions/a").await.is(405);
            me.anonymous().get("nothing").await.is(404);
        }),
        scenario("1.3", ORDER, "the credential comes before the name", async |me| {
            me.anonymous().get("actions/$x").await.is(401);
            me.anonymous().post("actions/$x", json!({})).await.is(401);
        }),
        scenario("1.3", ORDER, "the name comes before the entitlement", async |me| {
            let other = me.other().await;
            let path = format!("/api/v1/namespaces/{}/actions/$x", other.namespace);
            me.get(&path).await.is(400).says(ILLEGAL_NAME);
            me.post(&path, json!({})).await.is(400).says(ILLEGAL_NAME);
        }),
        scenario("1.3", ORDER, "the entitlement comes before the body", async |me| {
            let other = me.other().await;
            let path = format!("/api/v1/namespaces/{}/actions/a", other.namespace);
            me.call("PUT", &path).text("application/json", "{").await.is(403);
            me.call("POST", &path).text("application/json", "{").await.is(403);
        }),
        scenario("1.3", ORDER, "the size of a payload comes before its syntax", async |me| {
            me.create_echo("a").await;
            let body = format!("{{{}", "a".repeat(1024 * 1024));
            me.call("POST", "actions/a").text("application/json", &body).await.is(413);
        }),
        scenario("1.3", ORDER, "the body is read before the entity is looked up", async |me| {
            me.call("POST", "actions/none").text("application/json", "{").await.is(400);
            me.create("a").await;
            me.call("PUT", "actions/a").text("application/json", "{").await.is(400);
        }),
    ]
}
