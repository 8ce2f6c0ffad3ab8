//! What becomes of the result of a web action (section 6.4).

use serde_json::{Value, json};

use super::web::{each, export, is_error, visit};
use super::{Guest, Reply, Scenario, array, node, scenario};

const JSON: &str =
    "| .json | object/array → 200 pretty JSON; else 400 `Response is not valid 'application/json'.` |";
const HTML: &str = "| .html | object → field `body`, else `html`; must be a string → 200 text/html; UTF-8; else 400 \
                `Response is not valid 'text/html'.` |";
const SVG: &str =
    "| .svg | `body` or `svg` string → image/svg+xml; else 400 `Response is not valid 'image/svg+xml'.` |";
const TEXT: &str = "| .text | `body` or `text`; object/array pretty JSON, scalars as text, null → `null`; 200 text/plain; \
                missing → 404 `Response does not include requested property.` |";
const HTTP: &str = ".http: result must be an object (else 400 `Response is not valid 'message/http'.`).";
const STATUS: &str = "`statusCode`: whole number or numeric string; any code incl. non-standard (444). Default 200, or 204 when \
                body empty. Bad → 400 message/http.";
const HEADERS: &str = "`headers`: object; values string/number/bool or array of those (repeated header). Object value or \
                non-object headers → 400 message/http.";
const EMPTY: &str = "`body`: absent, null or `\"\"` → empty, content-type dropped.";
const STRING: &str =
    "String: content-type from headers or `text/html`; text types get charset UTF-8 and the string as is";
const FAMILY: &str = "JSON family with a base64-looking string is decoded first (legacy)";
const BINARY: &str = "binary types: body is base64-decoded, failure → 400.";
const OTHER: &str = "Non-string JSON: content-type default application/json (pretty printed) or any `*+json`; other type → 400 \
                `Response type in header did not match generated content type.`";
const UNKNOWN: &str = "Unparsable content-type → 400 `Response did not specify a known content-type.`";
const ACCEPT: &str = "`Accept` of the request is negotiated for non-empty bodies: mismatch → 406 `Resource representation is \
                only available with these types:\\ntext/html`.";
const FAILED: &str = "Developer error or whisk error → 400 `There was an error processing your request.`";
const ERROR: &str =
    "Application error for .http: return `{error:{statusCode,headers,body}}` to set the status.";
const QUIRK: &str = "Web: bad credentials = anonymous; unknown extension = name; OPTIONS default 200; 204 on empty body; \
                dev error → 400.";
const NO_MESSAGE: &str = "Response is not valid 'message/http'.";

pub(super) fn scenarios() -> Vec<Scenario> {
    [by_extension(), status(), headers(), bodies(), accept(), errors()].into_iter().flatten().collect()
}

/// Exports an action that answers this, and visits it.
async fn answered(me: &Guest, result: Value, path: &str) -> Reply {
    answers(me, &result).await;
    visit(me, path).await
}

async fn answers(me: &Guest, result: &Value) {
    let script = format!("cat <<'END'\n{result}\nEND");
    export(me, &script, json!({"web-custom-options": true})).await;
}

/// A message with a content type.
fn typed(content_type: &str, body: impl Into<Value>) -> Value {
    json!({"headers": {"Content-Type": content_type}, "body": body.into()})
}

fn by_extension() -> Vec<Scenario> {
    let default = each("6.4", HTML, "each extension has its type, by any method", async |me, visitor| {
        answers(&me, &json!({"html": "<b>", "svg": "<svg/>", "text": "t", "statusCode": 201})).await;
        for (path, content_type, body) in [
            ("a.html", "text/html; charset=UTF-8", "<b>"),
            ("a.svg", "image/svg+xml", "<svg/>"),
            ("a.text", "text/plain; charset=UTF-8", "t"),
        ] {
            let reply = visitor.visit(path).await.is(200).has_header("content-type", content_type);
            reply.is_text(if visitor.sees_bodies() { body } else { "" });
        }
    });
    let missing = each("6.4", TEXT, "a property that is missing is 404", async |me, visitor| {
        answers(&me, &json!({"other": 1})).await;
        let reply = visitor.visit("a.text").await;
        visitor.refused(reply, 404, "Response does not include requested property.");
    });
    let others = vec![
        scenario("6.4", JSON, "an object or an array is JSON", async |me| {
            let reply =
                answered(&me, json!({"foobar": "foobar", "n": [1, {"a": null}]}), "a.json").await.is(200);
            let reply = reply.is_json(json!({"foobar": "foobar", "n": [1, {"a": null}]}));
            reply.has_header("content-type", "application/json");
            let reply = answered(&me, json!({"foobar": "foobar"}), "a.json").await;
            reply.is_text("{\n  \"foobar\": \"foobar\"\n}");
            answered(&me, json!([1, 2]), "a.json").await.is(200).is_text("[1, 2]");
        }),
        scenario("6.4", JSON, "an error that is no object or array is no JSON", async |me| {
            for error in [json!("text"), json!(1), json!(true)] {
                let reply = answered(&me, json!({"error": error}), "a.json").await.is(400);
                is_error(reply, "Response is not valid 'application/json'.");
            }
            answered(&me, json!({"error": {"why": 1}}), "a.json").await.is(200).is_json(json!({"why": 1}));
        }),
        scenario("6.4", HTML, "a page is in body or html", async |me| {
            let page = "<html><body>\"test\" ä</body></html>";
            let reply = answered(&me, json!({"html": page}), "a.html").await.is(200).is_text(page);
            reply.has_header("content-type", "text/html; charset=UTF-8");
            answered(&me, json!({"body": "b", "html": "h"}), "a.html").await.is(200).is_text("b");
            for result in
                [json!({}), json!({"html": 1}), json!({"body": {}, "html": "h"}), json!({"html": null})]
            {
                is_error(answered(&me, result, "a.html").await.is(400), "Response is not valid 'text/html'.");
            }
        }),
        scenario("6.4", SVG, "a picture is in body or svg", async |me| {
            let svg = r#"<svg><circle cx="3" cy="3" r="3" fill="blue"/></svg>"#;
            let reply = answered(&me, json!({"svg": svg}), "a.svg").await.is(200).is_text(svg);
            reply.has_header("content-type", "image/svg+xml");
            answered(&me, json!({"body": "b", "svg": "s"}), "a.svg").await.is(200).is_text("b");
            for result in [json!({}), json!({"svg": 1}), json!({"body": [], "svg": "s"})] {
                is_error(
                    answered(&me, result, "a.svg").await.is(400),
                    "Response is not valid 'image/svg+xml'.",
                );
            }
        }),
        scenario("6.4", TEXT, "text is any value", async |me| {
            for (value, text) in [
                (json!("default text"), "default text"),
                (json!({"a": "A"}), "{\n  \"a\": \"A\"\n}"),
                (json!(["a"]), "[\"a\"]"),
                (json!(true), "true"),
                (json!(1), "1"),
                (json!(1.5), "1.5"),
                (json!(null), "null"),
            ] {
                answered(&me, json!({"text": value}), "a.text").await.is(200).is_text(text);
                answered(&me, json!({"body": value, "text": "other"}), "a.text").await.is(200).is_text(text);
            }
        }),
        scenario(
            "6.4",
            "(result = action result; on application error result = the value of `error`)",
            "of an error its value is shown",
            async |me| {
                for (path, text) in
                    [("a.html", "<b>oops</b>"), ("a.text", "<b>oops</b>"), ("a.svg", "<b>oops</b>")]
                {
                    answered(&me, json!({"error": "<b>oops</b>"}), path).await.is(200).is_text(text);
                }
            },
        ),
    ];
    [default, missing, others].into_iter().flatten().collect()
}

fn status() -> Vec<Scenario> {
    let empty = each("6.4", STATUS, "a message without a body is 204", async |me, visitor| {
        for result in [json!({}), json!({"body": ""}), json!({"body": null})] {
            answers(&me, &result).await;
            visitor.visit("a.http").await.is(204).is_text("").lacks_header("content-type");
            visitor.visit("a.http").header("Accept", "application/json").await.is(204);
        }
    });
    let redirects = each("6.4", STATUS, "a message may lead elsewhere", async |me, visitor| {
        answers(&me, &json!({"headers": {"location": "http://openwhisk.org"}, "statusCode": 302})).await;
        for path in ["a", "a.http", "a.http/content/response"] {
            visitor.visit(path).await.is(302).has_header("location", "http://openwhisk.org");
        }
    });
    let others = vec![
        scenario("6.4", STATUS, "a status is a number or a text of one", async |me| {
            for (status, expected) in [
                (json!(201), 201),
                (json!("404"), 404),
                (json!(444), 444),
                (json!(200.0), 200),
                (json!(599), 599),
            ] {
                answered(&me, json!({"statusCode": status, "body": "x"}), "a")
                    .await
                    .is(expected)
                    .is_text("x");
            }
        }),
        scenario("6.4", STATUS, "a status that is none is no message", async |me| {
            for status in
                [json!("xyz"), json!(200.5), json!(null), json!(true), json!({}), json!(-1), json!(70000)]
            {
                is_error(answered(&me, json!({"statusCode": status}), "a").await.is(400), NO_MESSAGE);
            }
        }),
        scenario("6.4", STATUS, "an empty body with a status has that", async |me| {
            for status in [200, 201, 204, 404, 500] {
                let reply = answered(&me, json!({"statusCode": status}), "a").await.is(status);
                reply.is_text("").lacks_header("content-type");
            }
        })
        .and("16", QUIRK),
        scenario("6.4", HTTP, "what is no object is no message", async |me| {
            is_error(answered(&me, json!([1, 2]), "a").await.is(400), NO_MESSAGE);
            for error in [json!("text"), json!(1), json!(null), json!([])] {
                is_error(answered(&me, json!({"error": error}), "a.http").await.is(400), NO_MESSAGE);
            }
        }),
    ];
    [empty, redirects, others].into_iter().flatten().collect()
}

fn headers() -> Vec<Scenario> {
    let several = each("6.4", HEADERS, "a header may have several values", async |me, visitor| {
        answers(
            &me,
            &json!({"headers": {"Set-Cookie": ["a=b", "c=d; Path = /"], "X-Number": 1, "X-Yes": true}}),
        )
        .await;
        let reply = visitor.visit("a").await.is(204).has_header("x-number", "1").has_header("x-yes", "true");
        assert_eq!(reply.headers("set-cookie"), ["a=b", "c=d; Path = /"]);
    });
    let others = vec![
        scenario("6.4", HEADERS, "headers that are none are no message", async |me| {
            for headers in [
                json!([]),
                json!("x"),
                json!(1),
                json!(null),
                json!({"a": {}}),
                json!({"a": null}),
                json!({"a": [{}]}),
                json!({"a b": "x"}),
                json!({"a": "x\r\nset-cookie: y=z"}),
            ] {
                is_error(
                    answered(&me, json!({"headers": headers, "body": "x"}), "a").await.is(400),
                    NO_MESSAGE,
                );
            }
        }),
        scenario("6.4", HEADERS, "an action does not say how long its body is", async |me| {
            let result =
                json!({"headers": {"Content-Length": 1, "Transfer-Encoding": "chunked"}, "body": "hello"});
            answered(&me, result, "a").await.is(200).is_text("hello").has_header("content-length", "5");
        }),
        scenario("6.4", HEADERS, "an action does not set what the platform says of a call", async |me| {
            let result = json!({"headers": {"X-OpenWhisk-Activation-Id": "mine", "X-Request-ID": "mine"}});
            let reply = answered(&me, result, "a").await.is(204);
            for name in ["x-openwhisk-activation-id", "x-request-id"] {
                assert_ne!(reply.header(name), Some("mine"));
            }
        }),
    ];
    [several, others].into_iter().flatten().collect()
}

fn bodies() -> Vec<Scenario> {
    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    const MISMATCH: &str = "Response type in header did not match generated content type.";
    let pages = each("6.4", STRING, "a text is a page", async |me, visitor| {
        answers(&me, &json!({"body": "hello world"})).await;
        let reply = visitor.visit("a").await.is(200).has_header("content-type", "text/html; charset=UTF-8");
        let reply = reply.is_text(if visitor.sees_bodies() { "hello world" } else { "" });
        reply.has_header("content-length", "11");
    });
    let objects = each("6.4", OTHER, "an object is JSON", async |me, visitor| {
        answers(&me, &json!({"body": {"field": "value"}, "statusCode": 201})).await;
        let reply = visitor.visit("a").await.is(201).has_header("content-type", "application/json");
        reply.is_text(if visitor.sees_bodies() { "{\n  \"field\": \"value\"\n}" } else { "" });
    });
    let others = vec![
        scenario("6.4", EMPTY, "without a body there is no type", async |me| {
            for body in [json!(""), json!(null)] {
                let reply = answered(&me, typed("application/json", body), "a").await.is(204);
                reply.lacks_header("content-type").is_text("");
            }
        })
        .and("16", QUIRK),
        scenario("6.4", STRING, "a text has the type that it says, and a charset", async |me| {
            for (content_type, shown) in [
                ("text/plain", "text/plain; charset=UTF-8"),
                ("text/css; charset=utf-8", "text/css; charset=UTF-8"),
                ("application/xml", "application/xml; charset=UTF-8"),
                ("application/json", "application/json"),
            ] {
                let reply = answered(&me, typed(content_type, "ä <&>"), "a").await.is(200);
                reply.has_header("content-type", shown).is_text("ä <&>");
            }
        }),
        scenario("6.4", FAMILY, "JSON in base64 is decoded, any other is not", async |me| {
            for content_type in ["application/json", "application/json-patch+json"] {
                let reply = answered(&me, typed(content_type, "eyJmaWVsZCI6InZhbHVlIn0="), "a").await.is(200);
                reply.has_header("content-type", content_type).is_text(r#"{"field":"value"}"#);
                let reply = answered(&me, typed(content_type, r#"{"field":"value"}"#), "a").await.is(200);
                reply.is_text(r#"{"field":"value"}"#);
                answered(&me, typed(content_type, "hello world"), "a").await.is(200).is_text("hello world");
            }
        }),
        scenario("6.4", BINARY, "bytes are sent in base64", async |me| {
            let reply = answered(&me, typed("image/png", PNG), "a")
                .await
                .is(200)
                .has_header("content-type", "image/png");
            let is_png = reply.bytes().starts_with(b"\x89PNG\r\n\x1a\n");
            reply.holds(is_png, || "a picture".to_owned());
        }),
        scenario("6.4", BINARY, "bytes that are not in base64 are 400", async |me| {
            for (content_type, body) in [
                ("image/png", "hello world"),
                ("application/octet-stream", "<>"),
                ("image/svg+xml", "<svg/>"),
            ] {
                is_error(answered(&me, typed(content_type, body), "a").await.is(400), MISMATCH);
            }
        }),
        scenario("6.4", OTHER, "JSON has a family of types, and others do not match", async |me| {
            for (content_type, body) in [
                ("application/json", json!({"field": "value"})),
                ("application/hal+json", json!([1, 2])),
                ("application/json-patch+json", json!({"field": "value"})),
            ] {
                let reply = answered(&me, typed(content_type, body.clone()), "a").await.is(200);
                reply.has_header("content-type", content_type).is_json(body);
            }
            for content_type in ["text/html", "text/plain", "image/png"] {
                is_error(answered(&me, typed(content_type, json!({"a": 1})), "a").await.is(400), MISMATCH);
            }
        }),
        scenario("6.4", OTHER, "a number or a truth is JSON, too", async |me| {
            answered(&me, json!({"body": 3}), "a")
                .await
                .is(200)
                .is_text("3")
                .has_header("content-type", "application/json");
            answered(&me, json!({"body": false}), "a").await.is(200).is_text("false");
        }),
        scenario("6.4", UNKNOWN, "a type that cannot be read is 400", async |me| {
            for content_type in ["xyzbar", "text/", "/html", "text/ html"] {
                let reply = answered(&me, typed(content_type, "hello world"), "a").await.is(400);
                is_error(reply, "Response did not specify a known content-type.");
            }
        }),
        scenario("6.4", STRING, "a large page arrives whole", async |me| {
            let code = "function main() { return {body: 'ä'.repeat(200000)} }";
            let annotations = array(json!({"web-export": true}));
            me.put("actions/a", json!({"exec": node(code), "annotations": annotations})).await.is(200);
            let reply = visit(&me, "a").await.is(200).has_header("content-length", "400000");
            let is_whole = reply.text() == "ä".repeat(200_000);
            reply.holds(is_whole, || "all of the page".to_owned());
        }),
    ];
    [pages, objects, others].into_iter().flatten().collect()
}

fn accept() -> Vec<Scenario> {
    let text = "Resource representation is only available with these types:\ntext/html";
    let refused =
        each("6.4", ACCEPT, "who accepts no such thing is told what there is", async move |me, visitor| {
            answers(&me, &json!({"body": "Plain text"})).await;
            for accepted in ["application/json", "text/plain", "text/html;q=0, */*"] {
                let reply = visitor.visit("a").header("Accept", accepted).await;
                visitor.refused(reply, 406, text);
            }
        });
    let others = vec![
        scenario("6.4", ACCEPT, "who accepts it gets it", async |me| {
            answers(&me, &json!({"body": "Plain text"})).await;
            for accepted in
                ["text/html", "text/*", "*/*", "application/json, text/html;q=0.1", "TEXT/HTML", ""]
            {
                visit(&me, "a").header("Accept", accepted).await.is(200).is_text("Plain text");
            }
        }),
        scenario("6.4", ACCEPT, "each extension offers its own type", async |me| {
            answers(&me, &json!({"body": "b"})).await;
            for (path, essence) in [
                ("a.json", "application/json"),
                ("a.html", "text/html"),
                ("a.svg", "image/svg+xml"),
                ("a.text", "text/plain"),
            ] {
                visit(&me, path).header("Accept", essence).await.is(200);
                let reply = visit(&me, path).header("Accept", "text/xml").await.is(406);
                let expected =
                    format!("Resource representation is only available with these types:\n{essence}");
                is_error(reply, &expected);
            }
        }),
        scenario("6.4", ACCEPT, "an action is called once, whatever is accepted", async |me| {
            answers(&me, &json!({"html": "x"})).await;
            visit(&me, "a.html").header("Accept", "text/xml").await.is(406);
            me.activations("limit=0", 1).await;
        }),
        scenario("6.4", ACCEPT, "an empty body is accepted by all", async |me| {
            answered(&me, json!({"statusCode": 200}), "a").await.is(200);
            visit(&me, "a").header("Accept", "application/json").await.is(200).is_text("");
        }),
    ];
    [refused, others].into_iter().flatten().collect()
}

fn errors() -> Vec<Scenario> {
    let application = each("6.4", ERROR, "an error may be a message", async |me, visitor| {
        answers(&me, &json!({"error": {"statusCode": 418, "headers": {"x-own": "1"}, "body": "no tea"}}))
            .await;
        for path in ["a", "a.http", "a.http/ignored"] {
            let reply = visitor.visit(path).await.is(418).has_header("x-own", "1");
            reply.is_text(if visitor.sees_bodies() { "no tea" } else { "" });
        }
    });
    let developer = each("6.4", FAILED, "a failure of the action is 400", async |me, visitor| {
        export(&me, "echo nothing", json!({"web-custom-options": true})).await;
        for path in ["a", "a.json", "a.json/rest", "a.text"] {
            let reply = visitor.visit(path).await;
            let reply = visitor.refused(reply, 400, "There was an error processing your request.");
            let id = reply.header("x-openwhisk-activation-id").unwrap_or_default().to_owned();
            reply.holds(id.len() == 32, || "an activation id".to_owned());
        }
    });
    let others = vec![
        scenario("6.4", FAILED, "an action that exceeds its time is 400", async |me| {
            let annotations = array(json!({"web-export": true}));
            let limits = json!({"timeout": 500});
            let exec = node("function main() { return new Promise(() => {}) }");
            me.put("actions/a", json!({"exec": exec, "annotations": annotations, "limits": limits}))
                .await
                .is(200);
            is_error(visit(&me, "a.json").await.is(400), "There was an error processing your request.");
        })
        .and("16", QUIRK),
        scenario("6.4", FAILED, "the record of a failed visit says what happened", async |me| {
            export(&me, "echo nothing", json!({})).await;
            let reply = visit(&me, "a").await.is(400);
            let id = reply.header("x-openwhisk-activation-id").unwrap().to_owned();
            me.record(&id).await.has("response/status", "action developer error");
        }),
    ];
    [application, developer, others].into_iter().flatten().collect()
}
