//! The pool stream: order, epochs, acknowledgements, usage.

use triplane_core::id::{Epoch, Sequence};
use triplane_core::pool::message::{Delta, Numbered, Snapshot, Up};
use triplane_router::Followed;

use crate::world::{World, container, lease};

const CALL: &str = "_/actions/a?blocking=true&result=true";

fn message(epoch: u64, sequence: u64, delta: Delta) -> Numbered {
    Numbered { epoch: Epoch(epoch), sequence: Sequence(sequence), delta }
}

#[tokio::test]
async fn every_message_is_acknowledged_after_it_is_applied() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    let acknowledged =
        |sequence| move |up: &Up| matches!(up, Up::Acknowledged(said) if said.0 == sequence).then_some(());
    world.said(acknowledged(1)).await;
    world.said(acknowledged(2)).await;
}

#[tokio::test]
async fn stale_messages_and_older_leaders_change_nothing_and_gaps_are_told() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let removed = || Delta::Removed(container(1));
    let apply = |epoch, sequence| world.router.apply(message(epoch, sequence, removed()));
    assert_eq!(apply(1, 2), Followed::Stale);
    assert_eq!(apply(0, 99), Followed::Stale, "LEASE-1");
    assert_eq!(apply(1, 9), Followed::Gap);
    assert_eq!(apply(2, 1), Followed::Gap, "a new leader begins with a snapshot");
    assert_eq!(world.post(CALL, "").await.status, 200, "ROUTE-2");
}

#[tokio::test]
async fn a_snapshot_of_a_new_leader_replaces_the_table_and_demands_are_said_again() {
    let mut world = World::new().await;
    world.in_the_background();
    let call = world.calls(CALL, "");
    world.demanded(1).await;
    let snapshot = |leases| Delta::Snapshot(Snapshot { leases, ..Snapshot::default() });
    assert_eq!(world.router.apply(message(2, 1, snapshot(vec![]))), Followed::Applied);
    world.demanded(1).await;
    let leases = vec![lease("a", 1, 5, 1)];
    assert_eq!(world.router.apply(message(2, 2, snapshot(leases))), Followed::Applied);
    assert_eq!(call.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_removed_container_is_not_used_again() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.ready("a", 2, 1);
    world.tell(Delta::Removed(container(1)));
    assert_eq!(world.post(CALL, "").await.status, 200);
    assert_eq!(crate::planes::lock(&world.containers.requests)[0].target.container, container(2));
}

#[tokio::test]
async fn usage_is_reported_when_there_was_some() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    world.post(CALL, "").await;
    world.in_the_background();
    let usage = world
        .said(|up| match up {
            Up::Usage(usage) => Some(usage.clone()),
            _ => None,
        })
        .await;
    assert_eq!(usage.len(), 1);
    assert_eq!((usage[0].container, usage[0].in_flight, usage[0].used), (container(1), 0, true));
}

#[tokio::test]
async fn what_does_not_fit_the_way_up_is_said_later_in_order() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    for _ in 0..100 {
        world.tell(Delta::Marked(container(1)));
        world.tell(Delta::Unmarked(container(1)));
    }
    world.in_the_background();
    let mut last = 0;
    while last < 202 {
        let sequence = world
            .said(|up| match up {
                Up::Acknowledged(sequence) => Some(sequence.0),
                _ => None,
            })
            .await;
        assert!(sequence > last);
        last = sequence;
    }
}
