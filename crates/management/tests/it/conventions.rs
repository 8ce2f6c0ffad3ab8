//! Conventions, errors, identities and names (openwhisk-api.md 1.1 to 1.5).

use http::header;
use serde_json::json;

use crate::platform::{Call, GUEST, Platform, node};

const LIST: &str = "/api/v1/namespaces/_/actions";
const HELLO: &str = "/api/v1/namespaces/_/actions/hello";

#[tokio::test]
async fn without_credentials_the_answer_is_401_with_a_challenge() {
    let platform = Platform::start().await;
    let answer = platform.send(Call::new("GET", LIST)).await;
    answer.refused(401, "The resource requires authentication, which was not supplied with the request");
    assert_eq!(
        answer.headers[header::WWW_AUTHENTICATE],
        "Basic realm=\"OpenWhisk secure realm\",charset=UTF-8"
    );
}

#[tokio::test]
async fn wrong_and_malformed_credentials_are_invalid() {
    let platform = Platform::start().await;
    let wrong_key = format!("{}x", &GUEST[..GUEST.len() - 1]);
    let unknown = GUEST.replace("23bc46b1", "23bc46b2");
    for credential in [wrong_key.as_str(), unknown.as_str(), "guest:guest", "nothing", ""] {
        let answer = platform.send(Call::new("GET", LIST).auth(credential)).await;
        answer.refused(401, "The supplied authentication is invalid");
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    for header in ["Bearer abc", "Basic", "Basic ???"] {
        let answer = platform.send(Call::new("GET", LIST).header("authorization", header)).await;
        answer.refused(401, "The supplied authentication is invalid");
    }
}

#[tokio::test]
async fn a_credential_is_split_at_the_first_colon_only_and_extra_parts_are_ignored() {
    let platform = Platform::start().await;
    platform.send(Call::new("GET", LIST).auth(&format!("{GUEST}:more"))).await.ok();
}

#[tokio::test]
async fn unknown_routes_are_404() {
    let platform = Platform::start().await;
    for path in [
        "/nothing",
        "/api/v2",
        "/api/v1/nothing",
        "/api/v1/namespaces/_",
        "/api/v1/namespaces/_/nothing",
        "/api/v1/namespaces//actions",
        "/api/v1/namespaces/_/actions//",
        "/api/v1/namespaces/_/actions//hello",
        "/api/v1/namespaces/_/activations//logs",
        "/api/v1/namespaces/_/actions/a/b/c",
        "/api/v1/namespaces/_/activations/x/nothing",
        "/api/v1/namespaces/_/limits/x",
        "/admin/v1/users",
    ] {
        platform.get(path).await.refused(404, "The requested resource could not be found.");
    }
}

#[tokio::test]
async fn wrong_methods_are_405_with_those_that_there_are() {
    let platform = Platform::start().await;
    let id = "0".repeat(32);
    for (path, allow, methods) in [
        ("/", "GET", &["POST", "PUT", "DELETE", "HEAD", "PATCH"][..]),
        ("/ping", "GET", &["POST", "HEAD"]),
        ("/api/v1", "GET", &["POST", "HEAD"]),
        ("/api/v1/namespaces", "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        ("/api/v1/namespaces/_/limits", "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        (LIST, "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        (HELLO, "GET, PUT, DELETE, POST", &["HEAD", "PATCH"]),
        ("/api/v1/namespaces/_/actions/pkg/", "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        ("/api/v1/namespaces/_/activations", "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        (&format!("/api/v1/namespaces/_/activations/{id}"), "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        (&format!("/api/v1/namespaces/_/activations/{id}/logs"), "GET", &["POST", "PUT", "DELETE", "HEAD"]),
        (&format!("/api/v1/namespaces/_/activations/{id}/result"), "GET", &["POST", "HEAD"]),
    ] {
        for method in methods {
            let answer = platform.guest(method, path, None).await;
            answer.refused(405, &format!("HTTP method not allowed, supported methods: {allow}"));
            assert_eq!(answer.headers[header::ALLOW], allow, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn options_anywhere_under_the_api_are_200_without_auth_even_for_paths_that_do_not_exist() {
    let platform = Platform::start().await;
    for path in ["/api/v1", "/api/v1/", LIST, HELLO, "/api/v1/nothing/at/all"] {
        let answer = platform.send(Call::new("OPTIONS", path)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "OK"), "{path}");
    }
    assert_eq!(platform.send(Call::new("OPTIONS", "/ping")).await.status, 405);
}

#[tokio::test]
async fn an_error_of_a_request_without_an_id_has_a_new_one_as_its_code() {
    let platform = Platform::start().await;
    let request = http::Request::get("/nothing").body(triplane_net::empty()).unwrap();
    let answer = crate::platform::Answer::read(platform.management.handle(request).await).await;
    assert_eq!(answer.json()["code"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn entities_of_others_are_403_whether_they_exist_or_not() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    for (method, path, resource) in [
        ("GET", "/api/v1/namespaces/guest/actions", "guest"),
        ("GET", "/api/v1/namespaces/guest/actions/hello", "guest/hello"),
        ("GET", "/api/v1/namespaces/guest/actions/missing", "guest/missing"),
        ("PUT", "/api/v1/namespaces/guest/actions/hello?overwrite=true", "guest/hello"),
        ("DELETE", "/api/v1/namespaces/guest/actions/hello", "guest/hello"),
        ("GET", "/api/v1/namespaces/guest/actions/pkg/hello", "guest/pkg/hello"),
        ("GET", "/api/v1/namespaces/guest/actions/pkg/", "guest/pkg"),
        ("GET", "/api/v1/namespaces/guest/limits", "guest"),
        ("GET", "/api/v1/namespaces/guest/activations", "guest"),
        ("GET", "/api/v1/namespaces/guest/triggers", "guest"),
        ("GET", "/api/v1/namespaces/guest/rules/r", "guest/r"),
        ("GET", "/api/v1/namespaces/nobody/actions", "nobody"),
    ] {
        let body = (method == "PUT").then(|| node("stolen"));
        let text = format!("The supplied authentication is not authorized to access '{resource}'.");
        platform.other(method, path, body).await.refused(403, &text);
    }
    let id = "0123456789abcdef0123456789abcdef";
    for tail in ["", "/", "/logs", "/result"] {
        let path = format!("/api/v1/namespaces/guest/activations/{id}{tail}");
        let text = format!("The supplied authentication is not authorized to access 'guest/{id}'.");
        platform.other("GET", &path, None).await.refused(403, &text);
    }
    assert_eq!(platform.get(HELLO).await.ok()["exec"]["code"], "x");
}

#[tokio::test]
async fn an_underscore_is_the_callers_namespace_and_so_is_its_name() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let by_name = platform.get("/api/v1/namespaces/guest/actions/hello").await.ok();
    assert_eq!(by_name, platform.get(HELLO).await.ok());
    assert_eq!(by_name["namespace"], "guest");
    let other = platform.other("GET", HELLO, None).await;
    other.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn bad_entity_names_are_400_with_openwhisks_texts() {
    let platform = Platform::start().await;
    for name in ["%20", "a%20", "hi+there", "$x", "dora%3F", "%C3%A4", "a%2Fb", "%FF", "-a"] {
        for method in ["GET", "DELETE", "PUT"] {
            let path = format!("/api/v1/namespaces/_/actions/{name}");
            let body = (method == "PUT").then(|| node("x"));
            platform
                .guest(method, &path, body)
                .await
                .refused(400, "The name of the entity contains illegal characters.");
        }
    }
    let path = format!("/api/v1/namespaces/_/actions/{}", "a".repeat(257));
    platform.get(&path).await.refused(400, "Name segement longer than allowed: 257 > 256.");
    let path = format!("/api/v1/namespaces/_/actions/{}/b", "a".repeat(257));
    platform.get(&path).await.refused(400, "Name segement longer than allowed: 257 > 256.");
}

#[tokio::test]
async fn bad_namespaces_are_400_with_openwhisks_texts() {
    let platform = Platform::start().await;
    for namespace in ["%20", "$x", "a%2Fb", "%FF"] {
        let path = format!("/api/v1/namespaces/{namespace}/actions");
        platform.get(&path).await.refused(400, "The namespace contains illegal characters.");
    }
    let path = format!("/api/v1/namespaces/{}/actions", "a".repeat(300));
    platform.get(&path).await.refused(400, "Namespace longer than allowed: 300 > 256.");
}

#[tokio::test]
async fn names_with_spaces_are_decoded_and_case_counts() {
    let platform = Platform::start().await;
    assert_eq!(platform.create("a%20b%40c.d%26e-f", "1").await["name"], "a b@c.d&e-f");
    assert_eq!(platform.get("/api/v1/namespaces/_/actions/a%20b@c.d&e-f").await.ok()["exec"]["code"], "1");
    platform.create("Hello", "upper").await;
    platform.create("hello", "lower").await;
    assert_eq!(platform.get("/api/v1/namespaces/_/actions/Hello").await.ok()["exec"]["code"], "upper");
    assert_eq!(platform.get(HELLO).await.ok()["exec"]["code"], "lower");
    let longest = "a".repeat(256);
    assert_eq!(platform.create(&longest, "x").await["name"], json!(longest));
}

#[tokio::test]
async fn checks_come_in_the_order_of_the_reference() {
    let platform = Platform::start().await;
    // Route and method before authentication.
    assert_eq!(platform.send(Call::new("PATCH", HELLO)).await.status, 405);
    assert_eq!(platform.send(Call::new("GET", "/api/v1/nothing")).await.status, 404);
    // Authentication before names.
    assert_eq!(platform.send(Call::new("GET", "/api/v1/namespaces/_/actions/$x")).await.status, 401);
    // Names before access.
    assert_eq!(platform.get("/api/v1/namespaces/other/actions/$x").await.status, 400);
    let short = platform.get("/api/v1/namespaces/other/activations/short").await;
    short.refused(400, "Activation id length is 5 but must be 32.");
    // Access before the size of the body, the size before its syntax.
    let large = |path: &str| {
        Call::new("PUT", path)
            .auth(GUEST)
            .header("content-type", "application/json")
            .header("content-length", "99999999999")
            .body(triplane_net::full("{"))
    };
    assert_eq!(platform.send(large("/api/v1/namespaces/other/actions/a")).await.status, 403);
    assert_eq!(platform.send(large(HELLO)).await.status, 413);
    // The syntax before the entity.
    platform.create("hello", "x").await;
    let bad = Call::new("PUT", HELLO)
        .auth(GUEST)
        .header("content-type", "application/json")
        .body(triplane_net::full("{"));
    assert_eq!(platform.send(bad).await.status, 400);
    assert_eq!(platform.guest("PUT", HELLO, Some(node("y"))).await.status, 409);
}
