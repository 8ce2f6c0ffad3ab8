//! Web actions: whom they answer, in which order what is looked at, what browsers are told (sections 6, 6.1 and 6.2).

use serde_json::{Value, json};

use super::{Call, Guest, Reply, Scenario, array, scenario, sh};

/// Every method that reaches a web action.
pub(super) const METHODS: [&str; 7] = ["GET", "DELETE", "POST", "PUT", "HEAD", "OPTIONS", "PATCH"];
/// What answers its own arguments.
pub(super) const ECHO: &str = "cat";

const EDGE_CASES: &str = "Web: everything in section 6 for GET, POST, PUT, DELETE, HEAD, OPTIONS, PATCH, each both anonymous and with credentials.";
const SEQUENCE: &str = "Sequence: identity of path ns (404 if unknown) → action lookup incl. binding merge (404) → \
                `web-export` must be true (404) → throttle (429) → size (413) → CORS/OPTIONS → auth annotation → parse → \
                reserved/final check → invoke blocking (60 s).";
const CORS: &str = "Unless `web-custom-options`: every response carries `Access-Control-Allow-Origin: *`, \
                `Access-Control-Allow-Methods: OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH`, and \
                `Access-Control-Allow-Headers` = echo of `Access-Control-Request-Headers` if present, else \
                `Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent`";
const UNAUTHORIZED: &str = "Failure 401 with the framework's default 401 reason text (`Authentication is possible but has \
                failed or not yet been provided.` [F]), no invocation, no `WWW-Authenticate`.";
const QUIRK: &str = "Web: bad credentials = anonymous; unknown extension = name; OPTIONS default 200; 204 on empty body; \
                dev error → 400.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [methods(), paths(), callers(), order(), cors(), auth()].into_iter().flatten().collect()
}

/// One way to call a web action: a method, and whether credentials are sent.
#[derive(Clone)]
pub(super) struct Visitor {
    who: Guest,
    pub(super) method: &'static str,
    pub(super) has_credentials: bool,
}

impl Visitor {
    /// A request to an action in no package of the visited namespace.
    pub(super) fn visit(&self, path: &str) -> Call {
        self.call(&format!("/api/v1/web/{}/default/{path}", self.who.namespace))
    }

    /// A request to any path.
    pub(super) fn call(&self, path: &str) -> Call {
        self.who.call(self.method, path)
    }

    /// Whether the answer has a body to look at.
    pub(super) fn sees_bodies(&self) -> bool {
        self.method != "HEAD"
    }

    /// The answer is this error, laid out on four lines; HEAD sees the status alone.
    #[track_caller]
    pub(super) fn refused(&self, reply: Reply, status: u16, text: &str) -> Reply {
        let reply = reply.is(status);
        match self.sees_bodies() {
            true => is_error(reply, text),
            false => reply.is_text(""),
        }
    }
}

/// It is an error of web actions: JSON on four lines, with a text and a code.
#[track_caller]
pub(super) fn is_error(reply: Reply, text: &str) -> Reply {
    let lines = reply.text().lines().count();
    reply.says(text).holds(lines == 4, || "an error of exactly 4 lines".to_owned())
}

/// The same story for every method, without and with credentials.
pub(super) fn each(
    section: &'static str,
    sentence: &'static str,
    name: &str,
    story: impl AsyncFn(Guest, Visitor) + Clone + 'static,
) -> Vec<Scenario> {
    let visits = METHODS.into_iter().flat_map(|method| [(method, false), (method, true)]);
    visits
        .map(|(method, has_credentials)| {
            let credentials = if has_credentials { "with credentials" } else { "anonymous" };
            let name = format!("{name} ({method}, {credentials})").leak();
            let story = story.clone();
            let play = async move |me: Guest| {
                let who = if has_credentials { me.clone() } else { me.anonymous() };
                story(me, Visitor { who, method, has_credentials }).await;
            };
            scenario(section, sentence, name, play).and("B", EDGE_CASES)
        })
        .collect()
}

/// Exports the script `a`, with further annotations.
pub(super) async fn export(me: &Guest, script: &str, annotations: Value) {
    let mut all = json!({"web-export": true});
    all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
    me.put("actions/a?overwrite=true", json!({"exec": sh(script), "annotations": array(all)})).await.is(200);
}

/// A GET without credentials.
pub(super) fn visit(me: &Guest, path: &str) -> Call {
    me.anonymous().get(&format!("/api/v1/web/{}/default/{path}", me.namespace))
}

fn methods() -> Vec<Scenario> {
    each(
        "6",
        "Methods: GET DELETE POST PUT HEAD OPTIONS PATCH.",
        "a web action is called by any method, and told which",
        async |me, visitor| {
            export(&me, ECHO, json!({"web-custom-options": true})).await;
            let reply = visitor.visit("a.json").await.is(200).has_header("content-type", "application/json");
            let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
            let record = me.record(&id).await;
            record.has("response/result/__ow_method", visitor.method.to_lowercase());
            match visitor.sees_bodies() {
                true => drop(reply.has("__ow_method", visitor.method.to_lowercase())),
                false => drop(reply.is_text("")),
            }
        },
    )
    .into_iter()
    .chain([
        scenario(
            "6",
            "Methods: GET DELETE POST PUT HEAD OPTIONS PATCH.",
            "a web action is not called by other methods",
            async |me| {
                export(&me, ECHO, json!({})).await;
                let reply = me.call("TRACE", &format!("/api/v1/web/{}/default/a", me.namespace)).await.is(405);
                reply.has_header("allow", "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH");
            },
        ),
        scenario(
            "1.2",
            "on every action invocation (blocking or not, success or failure once an id exists), trigger fire (202), web action",
            "a visit has a transaction id and an activation id",
            async |me| {
                export(&me, ECHO, json!({})).await;
                let reply = visit(&me, "a.json").header("X-Request-ID", "mine").await.is(200);
                let reply = reply.has_header("x-request-id", "mine");
                let id = reply.header("x-openwhisk-activation-id").unwrap_or_default().to_owned();
                reply.holds(id.len() == 32, || "an activation id of 32 characters".to_owned());
            },
        )
        .and("16", "`X-Request-ID` echoed everywhere; `x-openwhisk-activation-id`."),
        scenario(
            "1.2",
            "Responses are compact JSON `application/json` except: web-action errors/results and admin endpoints are pretty \
                printed (2-space; an error is exactly 4 lines).",
            "results and errors of web actions are laid out",
            async |me| {
                export(&me, r#"echo '{"a":{"b":1}}'"#, json!({})).await;
                let reply = visit(&me, "a.json").await.is(200);
                reply.is_text("{\n  \"a\": {\n    \"b\": 1\n  }\n}");
                is_error(visit(&me, "b").await.is(404), "The requested resource does not exist.");
            },
        ),
    ])
    .collect()
}

fn paths() -> Vec<Scenario> {
    const NAMES: &str = "Each of the three segments must match the name regex (else 404).";
    const EXTENSIONS: &str = "Extension = first of `.http .json .html .svg .text` that the segment **ends with**; anything \
                else is treated as part of the action name with `.http` behaviour (so `.xml` → usually 404).";
    let names = each("6", NAMES, "a path with a segment that is no name is 404", async |me, visitor| {
        let namespace = me.namespace.as_str();
        for path in [
            "x$/default/a",
            "NS/-p/a",
            "NS/default/$a",
            "NS/default/.json",
            "NS/default",
            "NS",
            "NS/default/",
        ] {
            let path = format!("/api/v1/web/{}", path.replace("NS", namespace));
            let reply = visitor.call(&path).await;
            visitor.refused(reply, 404, "The requested resource could not be found.");
        }
    });
    let unknown = each("6", EXTENSIONS, "an unknown extension is part of the name", async |me, visitor| {
        export(&me, ECHO, json!({})).await;
        for path in ["a.xml", "a.jsonx", "a.JSON", "a.xyz/rest"] {
            visitor.refused(visitor.visit(path).await, 404, "The requested resource does not exist.");
        }
    });
    let others = vec![
        scenario("6", EXTENSIONS, "an action may have the name of an extension", async |me| {
            let annotations = array(json!({"web-export": true}));
            let exec = sh(r#"echo '{"body": "here", "statusCode": 201}'"#);
            me.put("actions/a.xml", json!({"exec": exec, "annotations": annotations})).await.is(200);
            visit(&me, "a.xml").await.is(201).is_text("here");
            visit(&me, "a.xml.json").await.is(200).has("body", "here");
        })
        .and("16", QUIRK),
        scenario("6", EXTENSIONS, "each of the five extensions is known, and none is .http", async |me| {
            let fields = json!({"body": "b", "statusCode": 201});
            export(&me, &format!("echo '{fields}'"), json!({})).await;
            for (path, status, content_type) in [
                ("a", 201, "text/html; charset=UTF-8"),
                ("a.http", 201, "text/html; charset=UTF-8"),
                ("a.json", 200, "application/json"),
                ("a.html", 200, "text/html; charset=UTF-8"),
                ("a.svg", 200, "image/svg+xml"),
                ("a.text", 200, "text/plain; charset=UTF-8"),
            ] {
                visit(&me, path).await.is(status).has_header("content-type", content_type);
            }
        }),
        scenario("6", NAMES, "names in a path are decoded", async |me| {
            let body = json!({"exec": sh(ECHO), "annotations": array(json!({"web-export": true}))});
            me.put("actions/a%20b", body).await.is(200);
            visit(&me, "a%20b.json/c%20d").await.is(200).has("__ow_path", "/c%20d");
        }),
    ];
    [names, unknown, others].into_iter().flatten().collect()
}

fn callers() -> Vec<Scenario> {
    const INVALID: &str = "Auth: valid Basic → caller identity known; **invalid credentials are treated as anonymous** (the \
                second, anonymous route handles it).";
    const OWNER: &str =
        "Executed as, billed to and throttled against the namespace that owns the URL (path ns).";
    let mut all =
        each("6", INVALID, "who sends credentials is known, and nobody else", async |me, visitor| {
            export(&me, ECHO, json!({"web-custom-options": true})).await;
            let id =
                visitor.visit("a.json").await.is(200).header("x-openwhisk-activation-id").unwrap().to_owned();
            let input = me.record(&id).await.at("response/result");
            let user = if visitor.has_credentials { json!(me.namespace) } else { Value::Null };
            assert_eq!(input["__ow_user"], user, "{input}");
        });
    all.extend([
        scenario("6", INVALID, "credentials that are wrong or malformed are none", async |me| {
            export(&me, ECHO, json!({})).await;
            for wrong in ["Basic eDp5", "Bearer x", "nonsense", "Basic ???"] {
                visit(&me, "a.json").authorization(wrong).await.is(200).lacks("__ow_user");
            }
        })
        .and("16", QUIRK),
        scenario(
            "6",
            OWNER,
            "the activation belongs to the namespace in the path, whoever calls",
            async |me| {
                export(&me, ECHO, json!({})).await;
                let other = me.other().await;
                let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
                let reply = other.get(&path).await.is(200).has("__ow_user", other.namespace.as_str());
                let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
                me.record(&id)
                    .await
                    .has("namespace", me.namespace.as_str())
                    .has("subject", me.namespace.as_str());
                other.get("activations").await.is(200).is_json(json!([]));
            },
        ),
        scenario("6", OWNER, "the namespace in the path is throttled, and the caller is not", async |me| {
            export(&me, ECHO, json!({})).await;
            let other = me.other().await;
            let path = format!("/api/v1/web/{}/default/a", me.namespace);
            for _ in 0..70 {
                other.call("OPTIONS", &path).await.is_one_of(&[200, 429]);
            }
            other.create_echo("b").await;
            other.invoke("b", json!({})).await.is(200);
        }),
    ]);
    all
}

fn order() -> Vec<Scenario> {
    let missing = "The requested resource does not exist.";
    let namespaces = each("6", SEQUENCE, "a namespace that is not there is 404", async move |_, visitor| {
        let reply = visitor.call("/api/v1/web/nobody-at-all/default/a.json").await;
        visitor.refused(reply, 404, missing);
    });
    let actions = each("6", SEQUENCE, "an action that is not there is 404", async move |_, visitor| {
        for path in ["missing", "missing.json", "missing.http/rest?a=b"] {
            visitor.refused(visitor.visit(path).await, 404, missing);
        }
    });
    let exports = each(
        "2.2",
        "| `web-export` true | user | reachable under /web |",
        "an action that is not exported is 404",
        async move |me, visitor| {
            me.create_echo("a").await;
            visitor.refused(visitor.visit("a.json").await, 404, missing);
            for value in [json!(false), json!("true"), json!(1), json!(null)] {
                export(&me, ECHO, json!({"web-export": value})).await;
                visitor.refused(visitor.visit("a.json").await, 404, missing);
            }
        },
    );
    let limits = each("6", SEQUENCE, "a namespace that may make no calls is 429", async |me, visitor| {
        export(&me, ECHO, json!({})).await;
        let path = format!("/admin/v1/namespaces/{}/limits", me.namespace);
        me.stage.admin(http::Method::PATCH, &path, &json!({"invocationsPerMinute": 0})).await.is(200);
        let reply = visitor.visit("a.json").await;
        let text = "Too many requests in the last minute (count: 1, allowed: 0).";
        let reply = visitor.refused(reply, 429, text).has_header("access-control-allow-origin", "*");
        let seconds = reply.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        reply
            .holds(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), || "a Retry-After".to_owned());
    });
    let sizes = each("6", SEQUENCE, "a body of more than 1 MB is 413", async |me, visitor| {
        export(&me, ECHO, json!({})).await;
        let body = vec![b'x'; 1024 * 1024 + 1];
        let reply = visitor.visit("a.json").body(&body).await;
        visitor.refused(reply, 413, "Request larger than allowed: 1048577 > 1048576 bytes.");
    });
    let others = vec![
        scenario("6", SEQUENCE, "429 comes before 401 and has a time to come back", async |me| {
            export(&me, ECHO, json!({"require-whisk-auth": true})).await;
            let mut reply = visit(&me, "a").await;
            // a new minute may begin meanwhile
            for _ in 0..130 {
                if reply.status() == 429 {
                    break;
                }
                reply = visit(&me, "a").await.is_one_of(&[401, 429]);
            }
            let reply = reply
                .is(429)
                .mentions("Too many requests in the last minute (count: ")
                .mentions(", allowed: 60).");
            let seconds = reply.header("retry-after").and_then(|text| text.parse::<u32>().ok());
            reply.holds(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), || {
                "a Retry-After".to_owned()
            });
        }),
        scenario("6", SEQUENCE, "413 comes before 401, and 401 before a body is read", async |me| {
            export(&me, ECHO, json!({"require-whisk-auth": true})).await;
            let path = format!("/api/v1/web/{}/default/a", me.namespace);
            let large = vec![b'x'; 1024 * 1024 + 1];
            me.anonymous().call("POST", &path).body(&large).await.is(413);
            me.anonymous().call("POST", &path).text("application/json", "{").await.is(401);
            me.call("POST", &path).text("application/json", "{").await.is(400);
        }),
        scenario("6", SEQUENCE, "an action that is exported no more is gone from the web", async |me| {
            export(&me, ECHO, json!({})).await;
            visit(&me, "a.json").await.is(200);
            me.put("actions/a?overwrite=true", json!({"annotations": array(json!({"web-export": false}))}))
                .await
                .is(200);
            visit(&me, "a.json").await.is(404);
            me.delete("actions/a").await.is(200);
            visit(&me, "a.json").await.is(404);
        }),
    ];
    [namespaces, actions, exports, limits, sizes, others].into_iter().flatten().collect()
}

fn cors() -> Vec<Scenario> {
    const METHODS: &str = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH";
    const PREFLIGHT: &str =
        "OPTIONS answers 200 empty without invoking (action headers from OPTIONS are not used).";
    const CUSTOM: &str = "With it: nothing is added, OPTIONS invokes the action (even if auth is missing).";
    let result = r#"echo '{"body": "x", "headers": {"X-Own": "1"}}'"#;
    let all = each("6.1", CORS, "every answer lets browsers of any origin in", async move |me, visitor| {
        export(&me, result, json!({})).await;
        let reply = visitor.visit("a").await.is(200).has_header("access-control-allow-origin", "*");
        let headers = "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent";
        reply
            .has_header("access-control-allow-methods", METHODS)
            .has_header("access-control-allow-headers", headers);
    });
    let echoed =
        each("6.1", CORS, "the headers that a browser asks for are allowed", async move |me, visitor| {
            export(&me, result, json!({})).await;
            let asked = visitor.visit("a").header("Access-Control-Request-Headers", "x-custom, x-other");
            asked.await.is(200).has_header("access-control-allow-headers", "x-custom, x-other");
        });
    let custom =
        each("6.1", CUSTOM, "an action may say itself what browsers may do", async move |me, visitor| {
            let script =
                r#"echo '{"headers": {"Access-Control-Allow-Methods": "OPTIONS, GET", "X-Own": "1"}}'"#;
            export(&me, script, json!({"web-custom-options": true})).await;
            let reply = visitor.visit("a").header("Access-Control-Request-Headers", "x-custom").await.is(204);
            let reply =
                reply.has_header("access-control-allow-methods", "OPTIONS, GET").has_header("x-own", "1");
            reply.lacks_header("access-control-allow-origin").lacks_header("access-control-allow-headers");
        });
    let others = vec![
        scenario("6.1", PREFLIGHT, "what a browser asks first is answered without a call", async move |me| {
            export(&me, result, json!({"require-whisk-auth": true})).await;
            let path = format!("/api/v1/web/{}/default/a", me.namespace);
            for who in [&me, &me.anonymous()] {
                let reply = who.call("OPTIONS", &path).await.is(200).is_text("");
                reply.lacks_header("x-own").lacks_header("x-openwhisk-activation-id");
            }
            visit(&me, "a").await.is(401);
            me.get("activations").await.is(200).is_json(json!([]));
        })
        .and("16", QUIRK),
        scenario("6.1", CUSTOM, "an action answers OPTIONS itself, without credentials too", async |me| {
            export(&me, ECHO, json!({"web-custom-options": true, "require-whisk-auth": "secret"})).await;
            let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
            me.anonymous().call("OPTIONS", &path).await.is(200).has("__ow_method", "options");
            me.anonymous().get(&path).await.is(401).lacks_header("access-control-allow-origin");
        }),
        scenario("6.1", CORS, "errors let browsers in, too", async |me| {
            export(&me, "echo nothing", json!({})).await;
            for (path, status) in [("a", 400), ("a?__ow_body=1", 400), ("missing", 404), ("$a", 404)] {
                visit(&me, path).await.is(status).has_header("access-control-allow-origin", "*");
            }
        }),
        scenario("6.1", CORS, "what an action says of other origins is replaced", async |me| {
            export(&me, r#"echo '{"headers": {"Access-Control-Allow-Origin": "https://mine"}}'"#, json!({}))
                .await;
            visit(&me, "a").await.is(204).has_header("access-control-allow-origin", "*");
        }),
    ];
    [all, echoed, custom, others].into_iter().flatten().collect()
}

fn auth() -> Vec<Scenario> {
    const ANNOTATION: &str = "| `require-whisk-auth` | user | true → Basic auth needed; string/number → header \
                `X-Require-Whisk-Auth` must equal it; false → open |";
    const HEADER: &str = "Header compared: `x-require-whisk-auth` (case-insensitive name).";
    let text = "Authentication is possible but has failed or not yet been provided.";
    let users = each("6.2", UNAUTHORIZED, "an action may want credentials", async move |me, visitor| {
        export(&me, r#"echo '{"body": "x"}'"#, json!({"require-whisk-auth": true})).await;
        let reply = visitor.visit("a").await;
        match visitor.has_credentials || visitor.method == "OPTIONS" {
            true => drop(reply.is(200)),
            false => drop(visitor.refused(reply, 401, text).lacks_header("www-authenticate")),
        }
    });
    let secrets =
        each("6.2", HEADER, "an action may want a secret, whoever calls", async move |me, visitor| {
            export(&me, r#"echo '{"body": "x"}'"#, json!({"require-whisk-auth": "s3cret"})).await;
            let is_asked = visitor.method != "OPTIONS";
            let mut replies = vec![visitor.visit("a").await];
            for sent in ["S3cret", "s3cret-bad", ""] {
                replies.push(visitor.visit("a").header("x-require-whisk-auth", sent).await);
            }
            for reply in replies {
                match is_asked {
                    true => drop(visitor.refused(reply, 401, text)),
                    false => drop(reply.is(200)),
                }
            }
            visitor.visit("a").header("X-REQUIRE-whisk-auth", "s3cret").await.is(200);
        });
    let others = vec![
        scenario("2.2", ANNOTATION, "the secret may be a number", async move |me| {
            export(&me, ECHO, json!({"require-whisk-auth": 1234})).await;
            visit(&me, "a.json").header("X-Require-Whisk-Auth", "1234").await.is(200);
            is_error(visit(&me, "a.json").header("X-Require-Whisk-Auth", "12345").await.is(401), text);
            is_error(me.get(&format!("/api/v1/web/{}/default/a.json", me.namespace)).await.is(401), text);
        })
        .and("6.2", HEADER),
        scenario("2.2", ANNOTATION, "false leaves an action open", async |me| {
            export(&me, ECHO, json!({"require-whisk-auth": false})).await;
            visit(&me, "a.json").await.is(200);
        })
        .and("6.2", HEADER),
        scenario("6.2", UNAUTHORIZED, "who may not call an action leaves no activation", async |me| {
            export(&me, ECHO, json!({"require-whisk-auth": "secret"})).await;
            visit(&me, "a.json").await.is(401).lacks_header("x-openwhisk-activation-id");
            me.get("activations").await.is(200).is_json(json!([]));
        }),
        scenario("2.2", ANNOTATION, "credentials of any subject will do", async |me| {
            export(&me, ECHO, json!({"require-whisk-auth": true})).await;
            let other = me.other().await;
            let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
            other.get(&path).await.is(200).has("__ow_user", other.namespace.as_str());
            other.get(&path).authorization("Basic eDp5").await.is(401);
        })
        .and("6.2", UNAUTHORIZED),
        scenario("2.2", ANNOTATION, "an annotation that means nothing lets nobody in", async |me| {
            for odd in [json!(null), json!([]), json!({})] {
                export(&me, ECHO, json!({"require-whisk-auth": odd})).await;
                me.get(&format!("/api/v1/web/{}/default/a.json", me.namespace)).await.is(401);
            }
        }),
    ];
    [users, secrets, others].into_iter().flatten().collect()
}
