//! What the router remembers of identities and actions, and when it forgets.

use std::sync::atomic::Ordering;

use triplane_core::pool::message::{Delta, Snapshot};
use triplane_model::{Collection, Revision};

use crate::planes::lock;
use crate::world::{World, action, full_name, lease, uuid};

const CALL: &str = "_/actions/a?blocking=true&result=true";

#[tokio::test]
async fn the_management_plane_is_asked_once_for_all_who_want_to_know() {
    let world = World::new().await;
    world.unlimited();
    world.ready("a", 1, 100);
    world.knowledge.gate.close();
    let calls: Vec<_> = (0..50).map(|_| world.calls(CALL, "")).collect();
    world.until(|| world.knowledge.gate.at() == 1).await;
    world.knowledge.gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    world.post(CALL, "").await;
    let asked = |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::SeqCst);
    assert_eq!((asked(&world.knowledge.identity_asked), asked(&world.knowledge.action_asked)), (1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_the_question_of_others_with_it() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.knowledge.gate.close();
    let first = world.calls(CALL, "");
    world.until(|| world.knowledge.gate.at() == 1).await;
    let second = world.calls(CALL, "");
    first.abort();
    world.knowledge.gate.open();
    assert_eq!(second.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_revoked_identity_is_refused_at_once() {
    let world = World::new().await;
    assert_eq!(world.post("_/actions/a", "").await.status, 202);
    world.knowledge.forget_identity("guest");
    assert_eq!(world.post("_/actions/a", "").await.status, 202, "not told yet");
    world.tell(Delta::IdentityRevoked(uuid("other").into()));
    assert_eq!(world.post("_/actions/a", "").await.status, 202, "that was someone else");
    world.tell(Delta::IdentityRevoked(uuid("guest").into()));
    assert_eq!(world.post("_/actions/a", "").await.status, 401);
}

#[tokio::test]
async fn an_answer_from_before_a_revocation_is_not_kept() {
    let world = World::new().await;
    world.knowledge.gate.close();
    let early = world.calls("_/actions/a", "");
    world.until(|| world.knowledge.gate.at() == 1).await;
    world.knowledge.forget_identity("guest");
    world.tell(Delta::IdentityRevoked(uuid("guest").into()));
    world.knowledge.gate.open();
    early.await.unwrap();
    assert_eq!(world.post("_/actions/a", "").await.status, 401);
}

#[tokio::test]
async fn a_changed_action_runs_as_of_its_new_revision_at_once() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    assert_eq!(world.post(CALL, "").await.status, 200);
    world.knowledge.put_action(action("a", 2, |_| {}));
    world.tell(Delta::EntityChanged(Collection::Actions, full_name("a"), Some(Revision(2))));
    world.tell(Delta::Ready(lease("a", 2, 2, 1)));
    assert_eq!(world.post(CALL, "").await.status, 200);
    let revisions: Vec<_> =
        lock(&world.containers.requests).iter().map(|request| request.target.revision.0).collect();
    assert_eq!(revisions, [1, 2]);
}

#[tokio::test]
async fn an_answer_from_before_a_change_is_not_kept() {
    let world = World::new().await;
    world.post("_/actions/missing", "").await;
    world.knowledge.gate.close();
    let early = world.calls("_/actions/a", "");
    world.until(|| world.knowledge.gate.at() == 1).await;
    world.knowledge.put_action(action("a", 2, |_| {}));
    world.tell(Delta::EntityChanged(Collection::Actions, full_name("a"), Some(Revision(2))));
    world.knowledge.gate.open();
    assert_eq!(early.await.unwrap().status, 202);
    world.tell(Delta::Ready(lease("a", 2, 2, 1)));
    assert_eq!(world.post(CALL, "").await.status, 200);
    assert_eq!(lock(&world.containers.requests)[0].target.revision, Revision(2));
}

#[tokio::test]
async fn a_change_that_is_known_already_costs_no_question() {
    let world = World::new().await;
    world.post("_/actions/a", "").await;
    world.tell(Delta::EntityChanged(Collection::Actions, full_name("a"), Some(Revision(1))));
    world.post("_/actions/a", "").await;
    assert_eq!(world.knowledge.action_asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_deleted_action_is_404_at_once_and_a_created_one_runs_at_once() {
    let world = World::new().await;
    assert_eq!(world.post("_/actions/a", "").await.status, 202);
    world.knowledge.forget_action(&full_name("a"));
    world.tell(Delta::EntityChanged(Collection::Actions, full_name("a"), None));
    assert_eq!(world.post("_/actions/a", "").await.status, 404);
    world.knowledge.put_action(action("a", 3, |_| {}));
    world.tell(Delta::EntityChanged(Collection::Actions, full_name("a"), Some(Revision(3))));
    assert_eq!(world.post("_/actions/a", "").await.status, 202);
}

#[tokio::test]
async fn after_a_snapshot_everything_is_asked_anew_but_still_used_when_nobody_answers() {
    let world = World::new().await;
    assert_eq!(world.post("_/actions/a", "").await.status, 202);
    world.tell(Delta::Snapshot(Snapshot::default()));
    world.knowledge.is_away.store(true, Ordering::SeqCst);
    assert_eq!(world.post("_/actions/a", "").await.status, 202, "what is known still holds");
    world.knowledge.is_away.store(false, Ordering::SeqCst);
    world.knowledge.forget_identity("guest");
    assert_eq!(world.post("_/actions/a", "").await.status, 401);
}

#[tokio::test]
async fn an_unknown_credential_is_not_asked_for_again_and_again() {
    let world = World::new().await;
    world.knowledge.forget_identity("guest");
    for _ in 0..3 {
        assert_eq!(world.post("_/actions/a", "").await.status, 401);
    }
    assert_eq!(world.knowledge.identity_asked.load(Ordering::SeqCst), 1);
}
