//! Writes that race, are told to the routers, or lose their client.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use triplane_model::{Collection, Credential, EntityName, FullName, Revision};
use triplane_store::Changed;

use crate::platform::{Call, GUEST, Platform, node, settings};

const HELLO: &str = "/api/v1/namespaces/_/actions/hello";
const UPDATE: &str = "/api/v1/namespaces/_/actions/hello?overwrite=true";

fn hello() -> FullName {
    FullName::new(EntityName::namespace("guest").unwrap(), EntityName::entity("hello").unwrap())
}

#[tokio::test]
async fn of_writes_that_race_one_wins_and_the_others_are_409() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let writes = (0..8).map(|index| {
        let call = Call::new("PUT", UPDATE).auth(GUEST).json(Some(node(&format!("code {index}"))));
        platform.send(call)
    });
    let answers = join_all(writes).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!won.is_empty());
    for answer in lost {
        answer.refused(409, "Concurrent modification to resource detected.");
    }
    // Every write that was answered counted the version up: none was lost.
    let stored = platform.get(HELLO).await.ok();
    assert_eq!(stored["version"], format!("0.0.{}", won.len() + 1));
}

#[tokio::test]
async fn of_creations_that_race_exactly_one_wins() {
    let platform = Platform::start().await;
    let writes = (0..8).map(|_| platform.guest("PUT", HELLO, Some(node("x"))));
    let answers = join_all(writes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 409);
        let text = answer.error();
        let known = ["resource already exists", "Concurrent modification to resource detected."];
        assert!(known.contains(&text.as_str()), "{text}");
    }
}

#[tokio::test]
async fn routers_are_told_of_a_write_before_it_is_answered() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let written = platform.management.action(hello()).await.unwrap().unwrap();
    let changes = platform.router.applied();
    assert_eq!(
        changes.last().unwrap().subject,
        Changed::Entity(Collection::Actions, hello(), Some(written.action.revision))
    );
    platform.guest("DELETE", HELLO, None).await.ok();
    let changes = platform.router.applied();
    assert_eq!(changes.last().unwrap().subject, Changed::Entity(Collection::Actions, hello(), None));
    assert!(changes.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
}

#[tokio::test]
async fn a_refused_write_tells_the_routers_nothing() {
    let platform = Platform::start().await;
    platform.create("hello", "x").await;
    let before = platform.router.applied().len();
    assert_eq!(platform.guest("PUT", HELLO, Some(node("y"))).await.status, 409);
    assert_eq!(platform.guest("PUT", UPDATE, Some(serde_json::json!({"version": "x"}))).await.status, 400);
    assert_eq!(platform.router.applied().len(), before);
}

#[tokio::test]
async fn a_router_that_does_not_apply_a_change_holds_the_answer_up_only_so_long() {
    let mut settings = settings();
    settings.settle_wait_max = Duration::from_millis(20);
    let platform = Platform::start_with(settings).await;
    *platform.router.stuck.lock().unwrap() = true;
    platform.create("hello", "x").await;
}

#[tokio::test]
async fn a_write_whose_client_left_is_told_to_the_routers_all_the_same() {
    let platform = Platform::start().await;
    // The client leaves after one poll, after two, after four, and so on, until the write is answered.
    for polls in (0..).map(|power| 1_u64 << power) {
        let call = Call::new("PUT", UPDATE).auth(GUEST).json(Some(node(&format!("code {polls}"))));
        let answered = leave_after(&platform, call, polls).await;
        // A write that was under way is stored before one that is begun now.
        platform
            .guest("PUT", "/api/v1/namespaces/_/actions/later?overwrite=true", Some(node("x")))
            .await
            .ok();
        let stored = platform.management.action(hello()).await.unwrap().map(|found| found.action.revision);
        let told = || last_told(&platform) == stored;
        tokio::time::timeout(Duration::from_secs(10), async {
            while !told() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{stored:?} is stored but not told, after {polls} polls"));
        if answered {
            assert!(stored.is_some());
            return;
        }
    }
}

/// Polls a call that often and then drops it; says whether it was answered before.
async fn leave_after(platform: &Platform, call: Call, polls: u64) -> bool {
    let mut answer = Box::pin(platform.management.handle(call.request()));
    for _ in 0..polls {
        if answer.as_mut().now_or_never().is_some() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// The last revision of `hello` that the routers heard of.
fn last_told(platform: &Platform) -> Option<Revision> {
    let changes = platform.router.applied();
    let told = changes.into_iter().rev().find_map(|change| match change.subject {
        Changed::Entity(Collection::Actions, name, revision) if name == hello() => Some(revision),
        _ => None,
    });
    told.flatten()
}

#[tokio::test]
async fn look_ups_answer_what_the_router_asks() {
    let platform = Platform::start().await;
    platform.create("hello", "the code").await;
    let credential = Credential::parse(GUEST).unwrap();
    let identity = platform.management.identity(credential.clone()).await.unwrap().unwrap();
    assert_eq!((&*identity.subject, identity.namespace.as_str()), ("guest", "guest"));
    let owner = platform.management.owner(identity.namespace.clone()).await.unwrap().unwrap();
    assert_eq!(owner, identity);
    assert_eq!(owner.credential, credential);
    let action = platform.management.action(hello()).await.unwrap().unwrap().action;
    let code = platform.management.code(action.exec.code).await.unwrap().unwrap();
    assert_eq!(&*code, "the code");
    let nobody = EntityName::namespace("nobody").unwrap();
    assert!(platform.management.owner(nobody).await.unwrap().is_none());
}
