//! What a web action gets of a request (section 6.3).

use serde_json::{Value, json};

use super::web::{ECHO, Visitor, each, export, is_error, visit};
use super::{Guest, Reply, Scenario, array, node, scenario, sh};

const ALWAYS: &str = "Always: `__ow_method` (lower case), `__ow_headers` (names lower-cased, one string per name; includes \
                content-type if any, authorization too), `__ow_path` (unmatched rest, with leading `/`, or `\"\"`); `__ow_user` = \
                caller ns iff valid credentials were sent.";
const QUERY: &str = "Non-raw: query params as strings; then body:";
const PRECEDENCE: &str = "Precedence: package < binding < action < query < body.";
const NOT_ALLOWED: &str = "Query/body keys equal to `__ow_method __ow_headers __ow_path __ow_user __ow_query __ow_body`, or \
                to a `final` parameter → 400 parametersNotAllowed text.";
const RAW: &str = "Raw (`raw-http`): `__ow_query` = raw query string (`\"\"` if none), `__ow_body` = string; base64 if binary \
                type **or application/json**; `\"\"` if none; no merging, no reserved/final check.";
const TEXT: &str = "Request defines parameters that are not allowed (e.g., reserved properties).";
/// The methods with which clients send bodies.
const WITH_BODIES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

pub(super) fn scenarios() -> Vec<Scenario> {
    [metadata(), query(), bodies(), precedence(), not_allowed(), raw()].into_iter().flatten().collect()
}

/// What the action got, by its record: HEAD shows no body.
async fn got(me: &Guest, reply: Reply) -> Value {
    let id = reply.is(200).header("x-openwhisk-activation-id").unwrap().to_owned();
    me.record(&id).await.at("response/result")
}

/// An action that answers what it got, with parameters and further annotations.
async fn echo_with(me: &Guest, parameters: Value, annotations: Value) {
    let mut all = json!({"web-export": true, "web-custom-options": true});
    all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
    let body = json!({"exec": sh(ECHO), "parameters": array(parameters), "annotations": array(all)});
    me.put("actions/a?overwrite=true", body).await.is(200);
}

fn metadata() -> Vec<Scenario> {
    let paths = each("6.3", ALWAYS, "an action is told the rest of the path", async |me, visitor| {
        echo_with(&me, json!({}), json!({})).await;
        for (path, rest) in [
            ("a.json", ""),
            ("a.json/", "/"),
            ("a.json/b/c.html", "/b/c.html"),
            ("a.json/b%20c", "/b%20c"),
            ("a.json//x", "//x"),
        ] {
            let reply = visitor.visit(path).await;
            assert_eq!(got(&me, reply).await["__ow_path"], rest, "{path}");
        }
    });
    let headers = each("6.3", ALWAYS, "an action is told the headers", async |me, visitor| {
        echo_with(&me, json!({}), json!({})).await;
        let reply = visitor.visit("a.json").header("X-Own", "A b").header("Accept", "*/*").await;
        let headers = got(&me, reply).await["__ow_headers"].clone();
        assert_eq!((&headers["x-own"], &headers["accept"]), (&json!("A b"), &json!("*/*")), "{headers}");
        assert!(headers["host"].is_string() && headers.get("X-Own").is_none(), "{headers}");
        assert_eq!(headers.get("authorization").is_some(), visitor.has_credentials, "{headers}");
    });
    let others = vec![
        scenario("6.3", ALWAYS, "the content type is among the headers, if there is one", async |me| {
            echo_with(&me, json!({}), json!({})).await;
            let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
            let reply = me.call("POST", &path).text("text/plain; charset=utf-8", "x").await.is(200);
            reply.has("__ow_headers/content-type", "text/plain; charset=utf-8");
            visit(&me, "a.json").await.is(200).lacks("__ow_headers/content-type");
        }),
        scenario("6.3", ALWAYS, "a header of several lines is one string", async |me| {
            echo_with(&me, json!({}), json!({})).await;
            let reply = visit(&me, "a.json").header("x-own", "a").header("X-OWN", "b");
            let reply = reply.header("cookie", "a=1").header("cookie", "b=2").await.is(200);
            reply.has("__ow_headers/x-own", "a, b").has("__ow_headers/cookie", "a=1; b=2");
        }),
        scenario("6.3", ALWAYS, "what the platform sets wins over parameters of the action", async |me| {
            echo_with(&me, json!({"__ow_method": "mine", "__ow_own": 1}), json!({})).await;
            visit(&me, "a.json").await.is(200).has("__ow_method", "get").has("__ow_own", 1);
        }),
    ];
    [paths, headers, others].into_iter().flatten().collect()
}

fn query() -> Vec<Scenario> {
    let mut all = each("6.3", QUERY, "a query is strings, by any method", async |me, visitor| {
        echo_with(&me, json!({}), json!({})).await;
        let reply = visitor.visit("a.json?a=1&b=x+y%21&c&d=%C3%A4&e=%22").await;
        let input = got(&me, reply).await;
        for (key, value) in [("a", "1"), ("b", "x y!"), ("c", ""), ("d", "ä"), ("e", "\"")] {
            assert_eq!(input[key], value, "{input}");
        }
        assert!(input.get("__ow_query").is_none() && input.get("__ow_body").is_none(), "{input}");
    });
    all.push(scenario("6.3", QUERY, "of equal keys of a query the last one counts", async |me| {
        echo_with(&me, json!({}), json!({})).await;
        visit(&me, "a.json?a=1&a=2").await.is(200).has("a", "2");
    }));
    all
}

/// A body of a type, and what becomes of it, by each method that sends bodies.
fn body(
    row: &'static str,
    name: &'static str,
    cases: impl IntoIterator<Item = (&'static str, &'static str, Value)> + 'static,
) -> Scenario {
    scenario("6.3", row, name, async move |me| {
        echo_with(&me, json!({}), json!({})).await;
        let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
        for (content_type, body, fields) in cases {
            for method in WITH_BODIES {
                let reply = me.anonymous().call(method, &path).text(content_type, body).await.is(200);
                let input = reply.json();
                for (key, value) in fields.as_object().unwrap() {
                    assert_eq!(&input[key], value, "{method} {content_type} {body}: {input}");
                }
                let is_boxed = input.get("__ow_body").is_some();
                assert_eq!(is_boxed, fields.get("__ow_body").is_some(), "{method} {content_type}: {input}");
            }
        }
    })
    .and("B", "Web: everything in section 6 for GET, POST, PUT, DELETE, HEAD, OPTIONS, PATCH")
}

fn bodies() -> Vec<Scenario> {
    const JSON: &str = "application/json";
    let mut all = vec![
        body(
            "| none / empty JSON | nothing |",
            "a body of nothing adds nothing",
            [
                (JSON, "", json!({})),
                (JSON, "{}", json!({})),
                ("application/x-www-form-urlencoded", "", json!({})),
            ],
        ),
        body(
            "| JSON or `*+json` object | fields merged (body wins over query) |",
            "the fields of an object are parameters",
            [
                (JSON, r#"{"a": {"b": [1.5, null]}, "c": "d"}"#, json!({"a": {"b": [1.5, null]}, "c": "d"})),
                ("application/json; charset=utf-8", r#"{"a":1}"#, json!({"a": 1})),
                ("application/cloudevents+json", r#"{"a":1}"#, json!({"a": 1})),
            ],
        ),
        body(
            "| JSON non-object (array, string, number...) | `__ow_body` = the JSON value |",
            "JSON that is no object is one parameter",
            [
                (JSON, "[1, \"str\", false]", json!({"__ow_body": [1, "str", false]})),
                (JSON, "\"text\"", json!({"__ow_body": "text"})),
                (JSON, "99", json!({"__ow_body": 99})),
                (JSON, "true", json!({"__ow_body": true})),
                (JSON, "null", json!({"__ow_body": null})),
                (JSON, "[]", json!({"__ow_body": []})),
                ("application/hal+json", "[1]", json!({"__ow_body": [1]})),
            ],
        ),
        body(
            "| `application/x-www-form-urlencoded` | fields merged as strings |",
            "the fields of a form are parameters",
            [
                (
                    "application/x-www-form-urlencoded",
                    "a=1&b=x+y%21&c",
                    json!({"a": "1", "b": "x y!", "c": ""}),
                ),
                ("application/x-www-form-urlencoded; charset=UTF-8", "a=1&a=2", json!({"a": "2"})),
            ],
        ),
        body(
            "| other text type | `__ow_body` = string |",
            "any other text is one parameter",
            [
                ("text/plain", "a \"b\"\nc", json!({"__ow_body": "a \"b\"\nc"})),
                ("text/html; charset=UTF-8", "1,2,3", json!({"__ow_body": "1,2,3"})),
                ("application/xml", "<a/>", json!({"__ow_body": "<a/>"})),
                ("application/atom+xml", "<a/>", json!({"__ow_body": "<a/>"})),
                ("application/javascript", "x()", json!({"__ow_body": "x()"})),
            ],
        ),
        body(
            "| binary type (octet-stream, image/*, multipart...) | `__ow_body` = base64 string |",
            "any other body is one parameter in base64",
            [
                ("application/octet-stream", "abc", json!({"__ow_body": "YWJj"})),
                ("image/png", "\u{0}abc", json!({"__ow_body": "AGFiYw=="})),
                ("image/svg+xml", "abc", json!({"__ow_body": "YWJj"})),
                ("multipart/form-data; boundary=x", "abc", json!({"__ow_body": "YWJj"})),
                ("application/x-unknown", "abc", json!({"__ow_body": "YWJj"})),
            ],
        ),
    ];
    all.extend([
        scenario(
            "6.3",
            "| binary type (octet-stream, image/*, multipart...) | `__ow_body` = base64 string |",
            "a body without a type is bytes, and all 256 of them arrive",
            async |me| {
                echo_with(&me, json!({}), json!({})).await;
                let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
                let bytes: Vec<u8> = (0..=255).collect();
                let reply = me.call("POST", &path).body(&bytes).await.is(200);
                use base64::Engine;
                let decoded = base64::engine::general_purpose::STANDARD.decode(reply.word("__ow_body"));
                reply.holds(decoded.as_ref() == Ok(&bytes), || "the bytes in base64".to_owned());
            },
        ),
        scenario(
            "6.3",
            "| JSON or `*+json` object | fields merged (body wins over query) |",
            "a body of JSON that cannot be read is 400",
            async |me| {
                echo_with(&me, json!({}), json!({})).await;
                let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
                for method in WITH_BODIES {
                    for body in ["{", "{\"a\":}", "[1", "nonsense", "{} {}"] {
                        let reply = me.call(method, &path).text("application/json", body).await.is(400);
                        reply.mentions("The request content was malformed:\n");
                    }
                }
            },
        ),
        scenario(
            "6.3",
            "| binary type (octet-stream, image/*, multipart...) | `__ow_body` = base64 string |",
            "a body of 1 MB arrives whole, although it is longer in base64",
            async |me| {
                let code =
                    "function main({__ow_body}) { return {bytes: Buffer.from(__ow_body, 'base64').length} }";
                let annotations = array(json!({"web-export": true}));
                me.put("actions/a", json!({"exec": node(code), "annotations": annotations})).await.is(200);
                let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
                me.call("POST", &path).body(&vec![7; 1024 * 1024]).await.is(200).has("bytes", 1024 * 1024);
            },
        ),
    ]);
    all
}

fn precedence() -> Vec<Scenario> {
    let mut all =
        each("6.3", PRECEDENCE, "a query wins over parameters, by any method", async |me, visitor| {
            echo_with(&me, json!({"a": 1, "b": 2}), json!({})).await;
            let reply = visitor.visit("a.json?b=query&c=query").await;
            let input = got(&me, reply).await;
            assert_eq!(
                (&input["a"], &input["b"], &input["c"]),
                (&json!(1), &json!("query"), &json!("query"))
            );
        });
    all.push(scenario("6.3", PRECEDENCE, "a body wins over the query, whether JSON or a form", async |me| {
        echo_with(&me, json!({"a": 1, "b": 2, "c": 3, "d": 4}), json!({})).await;
        let path = format!("/api/v1/web/{}/default/a.json?b=query&c=query", me.namespace);
        for method in WITH_BODIES {
            let json = me.call(method, &path).json(&json!({"c": {"of": "body"}, "d": null})).await.is(200);
            let json = json.has("a", 1).has("b", "query").has("c", json!({"of": "body"}));
            json.has("d", Value::Null);
            let form = me
                .call(method, &path)
                .text("application/x-www-form-urlencoded", "c=form&d=form")
                .await
                .is(200);
            form.has("a", 1).has("b", "query").has("c", "form").has("d", "form");
        }
    }));
    all
}

fn not_allowed() -> Vec<Scenario> {
    const RESERVED: [&str; 6] =
        ["__ow_method", "__ow_headers", "__ow_path", "__ow_user", "__ow_query", "__ow_body"];
    let reserved = each("6.3", NOT_ALLOWED, "a query names nothing that is reserved", async |me, visitor| {
        echo_with(&me, json!({}), json!({})).await;
        for key in RESERVED {
            visitor.refused(visitor.visit(&format!("a.json?{key}=x")).await, 400, TEXT);
        }
        visitor.visit("a.json?__ow_own=x").await.is(200);
    });
    let locked = each("6.3", NOT_ALLOWED, "a query names no final parameter", async |me, visitor| {
        echo_with(&me, json!({"x": 1, "empty": null}), json!({"final": true})).await;
        visitor.refused(visitor.visit("a.json?x=overriden").await, 400, TEXT);
        let reply = visitor.visit("a.json?empty=overriden&y=new").await;
        let input = got(&me, reply).await;
        assert_eq!(
            (&input["x"], &input["empty"], &input["y"]),
            (&json!(1), &json!("overriden"), &json!("new"))
        );
    });
    let bodies = vec![
        scenario("6.3", NOT_ALLOWED, "a body names nothing that is reserved or final", async |me| {
            echo_with(&me, json!({"x": 1}), json!({"final": true})).await;
            let path = format!("/api/v1/web/{}/default/a.json", me.namespace);
            let names = RESERVED.into_iter().chain(["x"]);
            for (place, key) in names.enumerate() {
                let method = WITH_BODIES[place % WITH_BODIES.len()];
                is_error(me.call(method, &path).json(&json!({key: 1})).await.is(400), TEXT);
                let form = me.call(method, &path).text("application/x-www-form-urlencoded", &format!("{key}=1"));
                is_error(form.await.is(400), TEXT);
            }
            me.call("POST", &path).json(&json!({"y": {"x": 1, "__ow_body": 1}})).await.is(200);
        })
        .and("2.2", "`final` true | user | parameters with non-null values (action+package+binding merged) cannot be overridden at invoke time"),
        scenario("6.3", NOT_ALLOWED, "who names a reserved parameter leaves no activation", async |me| {
            echo_with(&me, json!({}), json!({})).await;
            visit(&me, "a.json?__ow_user=x").await.is(400).lacks_header("x-openwhisk-activation-id");
            me.get("activations").await.is(200).is_json(json!([]));
        }),
    ];
    [reserved, locked, bodies].into_iter().flatten().collect()
}

fn raw() -> Vec<Scenario> {
    async fn raw_got(me: &Guest, visitor: &Visitor, path: &str) -> Value {
        let reply = visitor.visit(path).await;
        got(me, reply).await
    }
    let queries = each("6.3", RAW, "a raw action gets the query as it came", async |me, visitor| {
        echo_with(&me, json!({"x": 1}), json!({"raw-http": true, "final": true})).await;
        let input = raw_got(&me, &visitor, "a.json?x=overriden&key2=%20+&__ow_body=1").await;
        assert_eq!(input["__ow_query"], "x=overriden&key2=%20+&__ow_body=1");
        assert_eq!((&input["x"], input.get("key2"), &input["__ow_body"]), (&json!(1), None, &json!("")));
        assert_eq!(raw_got(&me, &visitor, "a.json").await["__ow_query"], "");
    });
    let bodies = vec![
        scenario("6.3", RAW, "a raw action gets the body as it came", async |me| {
            echo_with(&me, json!({}), json!({"raw-http": true})).await;
            let path = format!("/api/v1/web/{}/default/a.json?q=1", me.namespace);
            for method in WITH_BODIES {
                for (content_type, body, shown) in [
                    ("application/json", r#"{"x":1}"#, "eyJ4IjoxfQ=="),
                    ("application/json", "nonsense", "bm9uc2Vuc2U="),
                    ("application/x-www-form-urlencoded", "x=1&y", "x=1&y"),
                    ("text/plain", "some \"text\"", "some \"text\""),
                    ("image/png", "abc", "YWJj"),
                ] {
                    let reply = me.call(method, &path).text(content_type, body).await.is(200);
                    let reply = reply.has("__ow_body", shown).has("__ow_query", "q=1");
                    reply.lacks("x").lacks("q").has("__ow_method", method.to_lowercase());
                }
            }
        })
        .and("2.2", "| `raw-http` true | user | no body/query parsing |"),
        scenario("6.3", RAW, "the parameters of a raw action are there as well", async |me| {
            echo_with(&me, json!({"a": {"b": 1}}), json!({"raw-http": true})).await;
            visit(&me, "a.json?a=2").await.is(200).has("a", json!({"b": 1})).has("__ow_query", "a=2");
        }),
        scenario("6.3", RAW, "an action is raw only by true", async |me| {
            for value in [json!(false), json!("true"), json!(1)] {
                export(&me, ECHO, json!({"raw-http": value})).await;
                visit(&me, "a.json?a=1").await.is(200).has("a", "1").lacks("__ow_query");
            }
        }),
    ];
    [queries, bodies].into_iter().flatten().collect()
}
