//! Calls that need a container which is on its way out: the router says so, and the real pool decides.

use triplane_core::id::{ContainerId, Epoch, NodeId, RouterId, Secret};
use triplane_core::placement::Offer;
use triplane_core::pool::message::{Action, Delta, Demand, Endpoint, Event, Up, Usage};
use triplane_core::pool::{Policy, Pool, Settings, State};
use triplane_router::Followed;

use crate::world::{World, container};

const CALL: &str = "_/actions/a?blocking=true&result=true";
const ROUTER: RouterId = RouterId(0);
const IDLE_MS: u64 = 1_000;

fn rescued(up: &Up) -> Option<ContainerId> {
    match up {
        Up::Rescue(id) => Some(*id),
        _ => None,
    }
}

/// A router and the pool that it follows, which hears what the test passes on.
struct Joined {
    world: World,
    pool: Pool,
    now_ms: u64,
}

impl Joined {
    /// A pool with room for one container.
    fn new(world: World) -> Self {
        let settings = Settings { policy: Policy::idle(IDLE_MS), ..Settings::default() };
        let pool = Pool::new(Epoch(2), settings);
        let mut joined = Self { world, pool, now_ms: 1_000 };
        joined.step(Event::NodeJoined { node: NodeId(0), offer: Offer::of_memory(256) });
        joined.step(Event::RouterJoined(ROUTER));
        joined
    }

    /// Steps the pool; the router hears what it is told, the rest is given back.
    fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.pool.step(self.now_ms, event, &mut actions);
        let is_for_others = |action: Action| match action {
            Action::Tell(_, message) => {
                assert_eq!(self.world.router.apply(message), Followed::Applied);
                None
            }
            other => Some(other),
        };
        actions.into_iter().filter_map(is_for_others).collect()
    }

    fn hears(&mut self, up: Up) -> Vec<Action> {
        self.step(Event::Said(ROUTER, up))
    }

    /// The pool starts a container for the call that waits, and then knows of none any more.
    async fn starts(&mut self) -> ContainerId {
        let demand = self.world.said(|up| match up {
            Up::Demand(demand) => Some(demand.clone()),
            _ => None,
        });
        let demand = demand.await;
        let wanted = self.hears(Up::Demand(demand.clone()));
        let [Action::Start { container, .. }] = wanted[..] else { panic!("{wanted:?}") };
        self.step(Event::Started(container, Endpoint { address: "".into(), secret: Secret(1) }));
        self.hears(Up::Demand(Demand { waiting: 0, ..demand }));
        self.hears(Up::Usage(vec![Usage { container, in_flight: 0, used: true }]));
        container
    }
}

#[tokio::test]
async fn a_container_that_a_call_needs_is_asked_for_before_it_is_let_go_of_and_stays() {
    let mut joined = Joined::new(World::new().await);
    joined.world.containers.gate.close();
    let first = joined.world.calls(CALL, "");
    let only = joined.starts().await;
    joined.world.until(|| joined.world.containers.gate.at() == 1).await;
    let second = joined.world.calls(CALL, "");
    joined.world.until_waiting(1).await;

    // the demand of the second call and the report of the first are lost
    joined.now_ms += 3 * IDLE_MS;
    assert!(joined.step(Event::Ticked).is_empty());
    assert!(joined.pool.containers().all(|container| container.state == State::Marked));
    let mut said = Vec::new();
    while !said.iter().any(|up| matches!(up, Up::Released(_))) {
        let up = joined.world.said(|up| Some(up.clone())).await;
        said.extend(matches!(up, Up::Rescue(_) | Up::Released(_)).then_some(up));
    }
    assert!(matches!(said[..], [Up::Rescue(rescued), Up::Released(_)] if rescued == only), "{said:?}");
    for up in said {
        let wanted = joined.hears(up);
        assert!(wanted.is_empty(), "it is neither closed nor replaced: {wanted:?}");
    }
    joined.world.containers.gate.open();
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
}

#[tokio::test]
async fn a_call_that_finds_marked_containers_only_asks_for_one_each_time_that_it_is_marked() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    for _ in 0..2 {
        world.tell(Delta::Marked(container(1)));
        let calls = [world.calls(CALL, ""), world.calls(CALL, "")];
        assert_eq!(world.said(rescued).await, container(1));
        world.until_waiting(2).await;
        world.tell(Delta::Unmarked(container(1)));
        for call in calls {
            assert_eq!(call.await.unwrap().status, 200);
        }
    }
    while let Ok((_, up)) = world.up.try_recv() {
        assert_eq!(rescued(&up), None, "it was asked for once each time");
    }
}

#[tokio::test]
async fn nobody_asks_for_a_marked_container_while_another_is_in_service() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    world.ready("a", 2, 1);
    world.tell(Delta::Marked(container(1)));
    world.containers.gate.close();
    let calls = [world.calls(CALL, ""), world.calls(CALL, "")];
    world.until_waiting(1).await;
    world.containers.gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    while let Ok((_, up)) = world.up.try_recv() {
        assert_eq!(rescued(&up), None);
    }
}
