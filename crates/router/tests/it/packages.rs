//! Actions in packages and through bindings: who may call them, with which parameters, and what a change makes of that.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use triplane_core::asynchronous::Destination;
use triplane_core::pool::message::Delta;
use triplane_model::package::PackagePut;
use triplane_model::{
    Action, Binding, Collection, EntityName, FullName, NamespaceLimits, Package, Parameters, Revision,
};

use crate::world::{World, action, identity};

fn name(text: &str) -> FullName {
    text.parse().unwrap()
}

fn parameters(key: &str, value: &str) -> Parameters {
    serde_json::from_value(json!([{"key": key, "value": value}])).unwrap()
}

/// A package as of a revision, with a parameter `from` that says whose it is.
fn package(text: &str, revision: u64, publish: bool) -> Package {
    let parameters = Some(parameters("from", text));
    let put = PackagePut { publish: Some(publish), parameters, ..PackagePut::default() };
    Package { revision: Revision(revision), ..put.create(name(text), 0).unwrap() }
}

fn binding(text: &str, revision: u64, to: &str) -> Package {
    let FullName { namespace, name, .. } = name(to);
    Package { binding: Some(Binding { namespace, name }), ..package(text, revision, false) }
}

fn packaged(text: &str, revision: u64) -> Action {
    Action { name: name(text), ..action("a", revision, |_| {}) }
}

/// `other` has a public package `p` with an action `a`, and `guest` a binding `b` to it.
async fn shared() -> World {
    let world = World::new().await;
    let other = identity("other", NamespaceLimits::default());
    world.knowledge.put_identity(other);
    world.knowledge.put_package(package("other/p", 1, true));
    world.knowledge.put_action(packaged("other/p/a", 2));
    world.knowledge.put_package(binding("guest/b", 3, "other/p"));
    world
}

fn changed(world: &World, package: Package) {
    let (name, revision) = (package.name.clone(), package.revision);
    world.knowledge.put_package(package);
    world.tell(Delta::EntityChanged(Collection::Packages, name, Some(revision)));
}

/// The parameters of the call that was accepted last.
fn accepted(world: &World) -> Value {
    serde_json::from_slice(&world.queue.calls().last().unwrap().payload).unwrap()
}

#[tokio::test]
async fn an_action_of_a_public_package_of_others_is_called_in_the_callers_name() {
    let world = shared().await;
    assert_eq!(world.post("other/actions/p/a", r#"{"x":1}"#).await.status, 202);
    assert_eq!(accepted(&world), json!({"from": "other/p", "x": 1}));
    let call = world.queue.calls().pop().unwrap();
    assert_eq!(call.namespace, EntityName::namespace("guest").unwrap());
}

#[tokio::test]
async fn parameters_of_a_binding_win_over_those_of_its_package_and_the_actions_over_both() {
    let world = shared().await;
    world.post("_/actions/b/a", "").await;
    assert_eq!(accepted(&world), json!({"from": "guest/b"}));
    assert_eq!(world.queue.calls()[0].target, Destination::Action(name("guest/b/a")), "it is found again so");
    let own = Action { parameters: parameters("from", "action"), ..packaged("other/p/a", 4) };
    world.knowledge.put_action(own);
    world.tell(Delta::EntityChanged(Collection::Actions, name("other/p/a"), Some(Revision(4))));
    world.post("_/actions/b/a", "").await;
    assert_eq!(accepted(&world), json!({"from": "action"}));
}

#[tokio::test]
async fn private_packages_of_others_and_missing_ones_are_403_and_missing_own_ones_404() {
    let world = shared().await;
    world.knowledge.put_package(package("other/private", 5, false));
    for path in ["other/private/a", "other/missing/a"] {
        let (namespace, rest) = path.split_once('/').unwrap();
        let refused = world.post(&format!("{namespace}/actions/{rest}"), "").await.error();
        let text = format!("The supplied authentication is not authorized to access '{path}'.");
        assert_eq!(refused, (403, text));
    }
    let missing = world.post("_/actions/none/a", "").await.error();
    assert_eq!(missing, (404, "The requested resource 'guest/none' does not exist.".to_owned()));
    let missing = world.post("other/actions/p/none", "").await.error();
    assert_eq!(missing, (404, "The requested resource does not exist.".to_owned()));
}

#[tokio::test]
async fn a_package_that_becomes_private_is_closed_at_once_through_bindings_too() {
    let world = shared().await;
    for path in ["other/actions/p/a", "_/actions/b/a"] {
        assert_eq!(world.post(path, "").await.status, 202, "{path}");
    }
    changed(&world, package("other/p", 6, false));
    for path in ["other/actions/p/a", "_/actions/b/a"] {
        assert_eq!(world.post(path, "").await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_change_of_package_or_binding_reaches_the_next_call() {
    let world = shared().await;
    let from = |text: &str, to: Package| Package { parameters: parameters("from", text), ..to };
    world.post("other/actions/p/a", "").await;
    changed(&world, from("new package", package("other/p", 6, true)));
    world.post("other/actions/p/a", "").await;
    assert_eq!(accepted(&world), json!({"from": "new package"}));
    world.post("_/actions/b/a", "").await;
    changed(&world, from("new binding", binding("guest/b", 7, "other/p")));
    world.post("_/actions/b/a", "").await;
    assert_eq!(accepted(&world), json!({"from": "new binding"}));
}

#[tokio::test]
async fn a_package_is_asked_for_once() {
    let world = shared().await;
    for _ in 0..3 {
        assert_eq!(world.post("_/actions/b/a", "").await.status, 202);
    }
    assert_eq!(world.knowledge.package_asked.load(Ordering::SeqCst), 1);
    assert_eq!(world.knowledge.action_asked.load(Ordering::SeqCst), 1);
}
