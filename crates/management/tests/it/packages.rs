//! Packages and bindings (openwhisk-api.md 5.1, 9.3), and the actions in them.

use serde_json::{Value, json};

use crate::platform::{Answer, Platform, names, node};

const PACKAGES: &str = "/api/v1/namespaces/_/packages";
const ACTIONS: &str = "/api/v1/namespaces/_/actions";

fn of_guest(path: &str) -> String {
    format!("/api/v1/namespaces/guest/{path}")
}

/// Puts a package of `guest`.
async fn put(platform: &Platform, name: &str, body: Value) -> Answer {
    platform.guest("PUT", &format!("{PACKAGES}/{name}"), Some(body)).await
}

async fn update(platform: &Platform, name: &str, body: Value) -> Answer {
    put(platform, &format!("{name}?overwrite=true"), body).await
}

/// Binds, as `other`, a package of `guest`.
async fn bind(platform: &Platform, name: &str, to: &str) -> Answer {
    let body = json!({"binding": {"namespace": "guest", "name": to}});
    platform.other("PUT", &format!("{PACKAGES}/{name}"), Some(body)).await
}

/// `guest` has a public package `pub`, a private one `priv`, and an action `a` in each.
async fn shared() -> Platform {
    let platform = Platform::start().await;
    for (name, publish) in [("pub", true), ("priv", false)] {
        put(&platform, name, json!({ "publish": publish })).await.ok();
        platform.create(&format!("{name}/a"), "code of a").await;
    }
    platform
}

fn value(key: &str, value: impl Into<Value>) -> Value {
    json!({"key": key, "value": value.into()})
}

#[tokio::test]
async fn a_package_is_created_read_changed_and_deleted() {
    let platform = Platform::start().await;
    let body = json!({"parameters": [value("a", 1)], "annotations": [value("b", 2)], "publish": true});
    let created = put(&platform, "p", body).await.ok();
    assert_eq!(
        created,
        json!({
            "namespace": "guest", "name": "p", "version": "0.0.1", "publish": true, "binding": {},
            "parameters": [value("a", 1)], "annotations": [value("b", 2)], "updated": created["updated"],
        })
    );
    put(&platform, "p", json!({})).await.refused(409, "resource already exists");
    let updated = update(&platform, "p", json!({"annotations": []})).await.ok();
    assert_eq!((&updated["version"], &updated["annotations"]), (&json!("0.0.2"), &json!([])));
    assert_eq!(updated["parameters"], json!([value("a", 1)]));
    let path = format!("{PACKAGES}/p");
    assert_eq!(platform.guest("DELETE", &path, None).await.ok(), updated);
    platform.get(&path).await.refused(404, "The requested resource 'guest/p' does not exist.");
    let again = platform.guest("DELETE", &path, None).await;
    again.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn a_package_shows_its_actions_and_its_feeds_apart() {
    let platform = Platform::start().await;
    put(&platform, "p", json!({})).await.ok();
    platform.create("p/a", "x").await;
    let feed = json!({"exec": node("x")["exec"], "annotations": [value("feed", true)]});
    platform.guest("PUT", &format!("{ACTIONS}/p/f"), Some(feed)).await.ok();
    let shown = platform.get(&format!("{PACKAGES}/p")).await.ok();
    let annotations = json!([value("provide-api-key", false), value("exec", "nodejs:20")]);
    assert_eq!(shown["actions"], json!([{"name": "a", "version": "0.0.1", "annotations": annotations}]));
    assert_eq!(names(&shown["feeds"]), ["f"]);
}

#[tokio::test]
async fn the_name_default_is_reserved() {
    let platform = Platform::start().await;
    put(&platform, "default", json!({})).await.refused(400, "Package name 'default' is reserved.");
}

#[tokio::test]
async fn packages_are_listed_newest_first_with_what_they_are_bound_to() {
    let platform = shared().await;
    let list = platform.get(PACKAGES).await.ok();
    assert_eq!(names(&list), ["priv", "pub"]);
    assert_eq!(list[0]["binding"], json!(false));
    assert!(list[0].get("parameters").is_none());
    assert_eq!(platform.get(&format!("{PACKAGES}?count=true")).await.ok(), json!({"packages": 2}));
    bind(&platform, "b", "pub").await.ok();
    let bound = platform.other("GET", PACKAGES, None).await.ok();
    assert_eq!(bound[0]["binding"], json!({"namespace": "guest", "name": "pub"}));
}

#[tokio::test]
async fn of_others_only_public_packages_are_listed_and_no_bindings() {
    let platform = shared().await;
    let body = json!({"binding": {"namespace": "_", "name": "pub"}, "publish": true});
    put(&platform, "b", body).await.ok();
    let list = platform.other("GET", &of_guest("packages"), None).await.ok();
    assert_eq!(names(&list), ["pub"]);
    let count = platform.other("GET", &of_guest("packages?count=true"), None).await.ok();
    assert_eq!(count, json!({"packages": 1}));
    assert_eq!(platform.other("GET", "/api/v1/namespaces/nobody/packages", None).await.ok(), json!([]));
}

#[tokio::test]
async fn everyone_may_read_what_is_in_a_public_package() {
    let platform = shared().await;
    let package = platform.other("GET", &of_guest("packages/pub"), None).await.ok();
    assert_eq!(names(&package["actions"]), ["a"]);
    assert_eq!(names(&platform.other("GET", &of_guest("actions/pub/"), None).await.ok()), ["a"]);
    let action = platform.other("GET", &of_guest("actions/pub/a"), None).await.ok();
    assert_eq!((&action["namespace"], &action["exec"]["code"]), (&json!("guest/pub"), &json!("code of a")));
    let missing = platform.other("GET", &of_guest("actions/pub/none"), None).await;
    missing.refused(404, "The requested resource does not exist.");
}

#[tokio::test]
async fn a_private_package_of_others_and_one_that_is_missing_look_the_same() {
    let platform = shared().await;
    for package in ["priv", "missing"] {
        for path in [format!("packages/{package}"), format!("actions/{package}/a")] {
            let resource = path.split_once('/').unwrap().1.to_owned();
            let text = format!("The supplied authentication is not authorized to access 'guest/{resource}'.");
            platform.other("GET", &of_guest(&path), None).await.refused(403, &text);
        }
        assert_eq!(platform.other("GET", &of_guest(&format!("actions/{package}/")), None).await.status, 403);
    }
}

#[tokio::test]
async fn nobody_writes_into_the_packages_of_others_even_public_ones() {
    let platform = shared().await;
    for (method, path) in [
        ("PUT", "packages/pub"),
        ("DELETE", "packages/pub"),
        ("PUT", "actions/pub/a"),
        ("DELETE", "actions/pub/a"),
    ] {
        let body = (method == "PUT").then(|| node("stolen"));
        assert_eq!(platform.other(method, &of_guest(path), body).await.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn actions_get_the_parameters_of_their_package_but_win_over_them() {
    let platform = Platform::start().await;
    put(&platform, "p", json!({"parameters": [value("a", "package"), value("b", "package")]})).await.ok();
    let body = json!({"exec": node("x")["exec"], "parameters": [value("b", "action"), value("c", "action")]});
    let created = platform.guest("PUT", &format!("{ACTIONS}/p/a"), Some(body)).await.ok();
    assert_eq!(created["parameters"].as_array().unwrap().len(), 2, "they are not written into it");
    let read = platform.get(&format!("{ACTIONS}/p/a")).await.ok();
    let merged = json!([value("a", "package"), value("b", "action"), value("c", "action")]);
    assert_eq!(read["parameters"], merged);
}

#[tokio::test]
async fn a_binding_is_annotated_and_shows_what_it_makes_of_its_package() {
    let platform = Platform::start().await;
    let parameters = json!([value("a", "package"), value("b", "package")]);
    put(&platform, "p", json!({"publish": true, "parameters": parameters})).await.ok();
    platform.create("p/act", "x").await;
    let binding = json!({"namespace": "guest", "name": "p"});
    let body = json!({
        "binding": binding, "parameters": [value("b", "binding")], "annotations": [value("binding", "mine")],
    });
    let created = platform.other("PUT", &format!("{PACKAGES}/b"), Some(body)).await.ok();
    assert_eq!(created["parameters"], json!([value("b", "binding")]));
    assert_eq!(created["annotations"], json!([value("binding", binding.clone())]));
    let shown = platform.other("GET", &format!("{PACKAGES}/b"), None).await.ok();
    assert_eq!(shown["parameters"], json!([value("a", "package"), value("b", "binding")]));
    assert_eq!((&shown["binding"], &shown["namespace"]), (&binding, &json!("other")));
    assert_eq!(names(&shown["actions"]), ["act"]);
}

#[tokio::test]
async fn an_action_through_a_binding_is_its_providers_with_merged_parameters() {
    let platform = shared().await;
    bind(&platform, "b", "pub").await.ok();
    let path = format!("{ACTIONS}/b/a");
    let action = platform.other("GET", &path, None).await.ok();
    assert_eq!((&action["namespace"], &action["exec"]["code"]), (&json!("guest/pub"), &json!("code of a")));
    assert!(action.get("binding").is_none());
    let metadata = platform.other("GET", &format!("{path}?code=false"), None).await.ok();
    assert_eq!((&metadata["binding"], metadata["exec"].get("code")), (&json!("other/b"), None));
    let list = platform.other("GET", &format!("{ACTIONS}/b/"), None).await.ok();
    assert_eq!(list[0]["namespace"], "guest/pub");
    for method in ["PUT", "DELETE"] {
        let body = (method == "PUT").then(|| node("x"));
        let refused = platform.other(method, &path, body).await;
        refused.refused(400, "Operation not permitted on package binding.");
    }
}

#[tokio::test]
async fn a_binding_ends_when_its_provider_becomes_private_or_goes() {
    let platform = shared().await;
    bind(&platform, "b", "pub").await.ok();
    let read = async || platform.other("GET", &format!("{ACTIONS}/b/a"), None).await;
    update(&platform, "pub", json!({"publish": false})).await.ok();
    let text = "The supplied authentication is not authorized to access 'other/b/a'.";
    read().await.refused(403, text);
    platform.guest("DELETE", &format!("{PACKAGES}/pub?force=true"), None).await.ok();
    read().await.refused(403, text);
    platform.other("DELETE", &format!("{PACKAGES}/b"), None).await.ok();
    read().await.refused(404, "The requested resource 'other/b' does not exist.");
}

#[tokio::test]
async fn a_package_can_be_bound_if_it_is_one_and_may_be_read() {
    let platform = shared().await;
    platform.create("act", "x").await;
    put(&platform, "own", json!({"binding": {"namespace": "_", "name": "priv"}})).await.ok();
    for (to, status, text) in [
        ("missing", 400, "Binding references a package that does not exist."),
        ("own", 400, "Cannot bind to another package binding."),
        ("act", 409, "Cannot bind to a resource that is not a package."),
    ] {
        let body = json!({"binding": {"namespace": "_", "name": to}});
        put(&platform, "b", body).await.refused(status, text);
    }
    for to in ["priv", "missing", "act", "own"] {
        let text = format!("The supplied authentication is not authorized to access 'guest/{to}'.");
        bind(&platform, "b", to).await.refused(403, &text);
    }
}

#[tokio::test]
async fn a_package_never_becomes_a_binding_but_a_binding_may_be_bound_anew() {
    let platform = shared().await;
    let to = |name: &str| json!({"binding": {"namespace": "guest", "name": name}});
    let refused = update(&platform, "pub", to("priv")).await;
    refused.refused(409, "Resource is a package and cannot be converted into a binding.");
    put(&platform, "b", to("pub")).await.ok();
    let moved = update(&platform, "b", to("priv")).await.ok();
    assert_eq!(moved["binding"], to("priv")["binding"]);
    assert_eq!(moved["annotations"], json!([value("binding", to("priv")["binding"].clone())]));
}

#[tokio::test]
async fn a_package_that_is_not_empty_goes_only_by_force() {
    let platform = shared().await;
    let path = format!("{PACKAGES}/pub");
    let text = |entities: &str| {
        format!("Package not empty (contains {entities}). Set force param or delete package contents.")
    };
    platform.guest("DELETE", &path, None).await.refused(409, &text("1 entity"));
    platform.create("pub/b", "y").await;
    platform.guest("DELETE", &path, None).await.refused(409, &text("2 entities"));
    platform.guest("DELETE", &format!("{path}?force=true"), None).await.ok();
    assert_eq!(names(&platform.get(ACTIONS).await.ok()), ["a"], "that of the other package");
    let told: Vec<String> =
        platform.router.applied().iter().map(|change| format!("{:?}", change.subject)).collect();
    assert!(told.iter().filter(|told| told.contains("Actions") && told.ends_with("None)")).count() == 2);
}

#[tokio::test]
async fn a_name_belongs_to_one_entity_of_all_collections() {
    let platform = shared().await;
    let conformance = "Resource by this name exists but is not in this collection.";
    let action = platform.guest("PUT", &format!("{ACTIONS}/pub"), Some(node("x"))).await;
    action.refused(409, conformance);
    platform.create("act", "x").await;
    put(&platform, "act", json!({})).await.refused(409, conformance);
    platform.get(&format!("{PACKAGES}/act")).await.refused(409, conformance);
    platform.get(&format!("{ACTIONS}/pub")).await.refused(409, conformance);
}

#[tokio::test]
async fn actions_in_a_package_that_is_missing_are_404() {
    let platform = Platform::start().await;
    let path = format!("{ACTIONS}/pkg/a");
    let named = "The requested resource 'guest/pkg' does not exist.";
    platform.get(&path).await.refused(404, named);
    platform.get(&format!("{ACTIONS}/pkg/")).await.refused(404, named);
    for method in ["PUT", "DELETE"] {
        let body = (method == "PUT").then(|| node("x"));
        platform.guest(method, &path, body).await.refused(404, "The requested resource does not exist.");
    }
}
