//! Calls that find no free slot: the waiting line, the demand, and containers that send calls away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use triplane_core::pool::message::{Delta, Refusal, RefusalReason, Up};
use triplane_wire::run::{NotStarted, RunReply};

use crate::planes::{echo, lock};
use crate::world::{Answer, World, container, key, post};

const CALL: &str = "_/actions/a?blocking=true&result=true";

fn refused(reason: RefusalReason) -> Delta {
    Delta::Refused(Refusal { key: key("a", 1), reason, retry_after_ms: 1500, why: None })
}

#[tokio::test]
async fn a_call_without_a_container_raises_the_demand_and_runs_when_one_is_ready() {
    let mut world = World::new().await;
    let call = world.calls(CALL, r#"{"x":1}"#);
    let (key, waiting) = world
        .said(|up| match up {
            Up::Demand(demand) => Some((demand.spec.key.clone(), demand.waiting)),
            _ => None,
        })
        .await;
    assert_eq!((key.action.to_string().as_str(), key.revision.0, waiting), ("guest/a", 1, 1));
    world.ready("a", 1, 1);
    assert_eq!(call.await.unwrap().body, r#"{"x":1}"#);
}

#[tokio::test]
async fn calls_that_wait_are_served_in_the_order_in_which_they_came_and_newcomers_do_not_overtake() {
    let world = World::new().await;
    world.unlimited();
    let mut calls = Vec::new();
    for number in 0..6 {
        calls.push(world.calls(CALL, &format!(r#"{{"n":{number}}}"#)));
        world.until_waiting(number + 1).await;
    }
    world.containers.gate.close();
    world.ready("a", 1, 1);
    world.until(|| world.containers.gate.at() == 1).await;
    calls.push(world.calls(CALL, r#"{"n":6}"#));
    world.until_waiting(6).await;
    world.containers.gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    let expected: Vec<_> = (0..7).map(|number| format!(r#"{{"n":{number}}}"#)).collect();
    assert_eq!(world.containers.parameters(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_calls_over_few_containers_never_exceed_their_concurrency() {
    let world = World::new().await;
    world.unlimited();
    world.ready("a", 1, 2);
    let calls: Vec<_> = (0..200).map(|number| world.calls(CALL, &format!(r#"{{"n":{number}}}"#))).collect();
    world.ready("a", 2, 2);
    world.ready("a", 3, 2);
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(world.containers.request_count(), 200);
    assert!((1..=2).contains(&world.containers.most_inside()), "POOL-1: {}", world.containers.most_inside());
    world.until_idle().await;
}

#[tokio::test]
async fn the_demand_follows_those_who_wait_in_few_messages() {
    let mut world = World::new().await;
    world.unlimited();
    world.in_the_background();
    let calls: Vec<_> = (0..100).map(|_| world.calls(CALL, "")).collect();
    world.until_waiting(100).await;
    let messages = AtomicUsize::new(0);
    world
        .said(|up| {
            let Up::Demand(demand) = up else { return None };
            messages.fetch_add(1, Ordering::SeqCst);
            (demand.waiting == 100).then_some(())
        })
        .await;
    assert!(messages.load(Ordering::SeqCst) < 50, "{messages:?}");
    world.ready("a", 1, 100);
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    world.demanded(0).await;
}

#[tokio::test]
async fn a_short_wait_for_a_container_that_there_is_raises_no_demand() {
    let mut world = World::new().await;
    world.unlimited();
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let calls = [(); 2].map(|()| world.calls(CALL, ""));
    world.until_waiting(1).await;
    world.containers.gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    world.in_the_background();
    let used = |up: &Up| match up {
        Up::Demand(demand) => panic!("{demand:?}"),
        Up::Usage(_) => Some(()),
        _ => None,
    };
    world.said(used).await;
}

#[tokio::test]
async fn a_demand_is_said_again_while_calls_wait() {
    let mut world = World::new().await;
    world.in_the_background();
    let call = world.calls(CALL, "");
    world.demanded(1).await;
    world.demanded(1).await;
    world.ready("a", 1, 1);
    assert_eq!(call.await.unwrap().status, 200);
}

#[tokio::test]
async fn one_call_too_many_is_turned_away_at_once() {
    let world = World::with(|settings| {
        settings.waiting_per_action_max = 2;
        settings.waiting_total_max = 3;
    })
    .await;
    world.knowledge.put_action(crate::world::action("b", 1, |_| {}));
    let calls = [(); 2].map(|()| world.calls(CALL, ""));
    world.until_waiting(2).await;
    let expect_503 = |answer: Answer| {
        assert_eq!(
            answer.error(),
            (
                503,
                "The server is currently unavailable (because it is overloaded or down for maintenance)."
                    .to_owned()
            )
        );
        assert_eq!(answer.header("retry-after"), "1");
    };
    expect_503(world.post(CALL, "").await);
    let other = world.calls("_/actions/b?blocking=true", "");
    world.until_waiting(3).await;
    expect_503(world.post("_/actions/b?blocking=true", "").await);
    world.ready("a", 1, 1);
    world.ready("b", 2, 1);
    for call in calls.into_iter().chain([other]) {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert!(world.records().is_empty());
}

#[tokio::test]
async fn a_demand_that_cannot_be_met_ends_its_calls_with_a_record() {
    for reason in [RefusalReason::PoolFull, RefusalReason::StartFailed] {
        let world = World::new().await;
        let record_wanted = world.calls("_/actions/a?blocking=true", "");
        world.until_waiting(1).await;
        world.tell(refused(reason));
        let answer = record_wanted.await.unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (500, "2"));
        let record = answer.json();
        assert_eq!(record["response"]["status"], "whisk internal error");
        assert_eq!(record["response"]["result"]["error"], "Failed to provision resources to run the action.");
        assert_eq!(record["activationId"], answer.header("x-openwhisk-activation-id"));
        assert_eq!((&record["namespace"], &record["subject"]), (&"guest".into(), &"guest-subject".into()));
        assert_eq!(world.records(), [record]);
        let entry = lock(&world.records)[0].clone();
        assert_eq!((entry.name.as_str(), entry.logs.as_str()), ("a", "[]"));
    }
}

#[tokio::test]
async fn a_refused_call_that_wants_its_result_gets_the_error_alone() {
    let world = World::new().await;
    let call = world.calls(CALL, "");
    world.until_waiting(1).await;
    world.tell(refused(RefusalReason::PoolFull));
    let answer = call.await.unwrap();
    let expected = r#"{"error":"Failed to provision resources to run the action."}"#;
    assert_eq!((answer.status, answer.body.as_str()), (500, expected));
}

#[tokio::test]
async fn too_many_starts_turn_calls_away_without_a_record() {
    let world = World::new().await;
    let call = world.calls(CALL, "");
    world.until_waiting(1).await;
    world.tell(refused(RefusalReason::TooManyStarts));
    let answer = call.await.unwrap();
    assert_eq!((answer.error().0, answer.header("retry-after")), (503, "2"));
    assert!(world.records().is_empty());
}

#[tokio::test]
async fn a_refused_demand_leaves_calls_waiting_for_the_containers_that_there_are() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let calls = [(); 3].map(|()| world.calls(CALL, ""));
    world.until_waiting(2).await;
    world.tell(refused(RefusalReason::PoolFull));
    world.containers.gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_call_that_waits_for_too_long_ends_with_a_record() {
    let world = World::with(|settings| settings.wait_time_max = Duration::from_millis(30)).await;
    let answer = world.post("_/actions/a?blocking=true", "").await;
    assert_eq!(answer.status, 500);
    assert_eq!(world.records().len(), 1);
    world.until_idle().await;
}

#[tokio::test]
async fn a_container_that_is_another_one_is_disowned_and_the_call_runs_elsewhere() {
    for why in [NotStarted::Mismatch, NotStarted::Closed] {
        let mut world = World::new().await;
        world.ready("a", 1, 1);
        world.ready("a", 2, 1);
        world.containers.answer(move |request| match request.target.container.number {
            1 => RunReply::NotStarted(why),
            _ => echo(request),
        });
        for _ in 0..2 {
            assert_eq!(world.post(CALL, "").await.status, 200);
        }
        assert_eq!(world.containers.request_count(), 3, "the first container is asked once");
        let disowned = |up: &Up| matches!(up, Up::Disowned(id) if *id == container(1)).then_some(());
        world.said(disowned).await;
    }
}

#[tokio::test]
async fn a_call_that_every_container_sends_away_is_given_up() {
    let world = World::new().await;
    for number in 1..=20 {
        world.ready("a", number, 1);
    }
    world.containers.answer(|_| RunReply::NotStarted(NotStarted::Closed));
    assert_eq!(world.post("_/actions/a?blocking=true", "").await.status, 500);
    assert!(world.containers.request_count() < 20);
}

#[tokio::test]
async fn a_call_that_was_sent_away_keeps_its_place() {
    let world = World::new().await;
    world.unlimited();
    world.containers.gate.close();
    world.ready("a", 1, 1);
    world.containers.answer(|request| match request.target.container.number {
        1 => RunReply::NotStarted(NotStarted::Closed),
        _ => echo(request),
    });
    let first = world.calls(CALL, r#"{"n":0}"#);
    world.until(|| world.containers.gate.at() == 1).await;
    let second = world.calls(CALL, r#"{"n":1}"#);
    world.until_waiting(1).await;
    world.containers.gate.open();
    world.until_waiting(2).await;
    world.ready("a", 2, 1);
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
    assert_eq!(world.containers.parameters(), [r#"{"n":0}"#, r#"{"n":0}"#, r#"{"n":1}"#]);
}

#[tokio::test]
async fn a_busy_container_is_left_alone_for_a_while_and_then_used_again() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let asked = AtomicUsize::new(0);
    world.containers.answer(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => RunReply::Busy { retry_after_ms: 30 },
        _ => echo(request),
    });
    let began = std::time::Instant::now();
    assert_eq!(world.post(CALL, "").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_call_that_the_node_cannot_note_is_turned_away_at_once_and_its_container_kept() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let asked = AtomicUsize::new(0);
    world.containers.answer(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => RunReply::NotStarted(NotStarted::NotNoted),
        _ => echo(request),
    });
    let refused = world.post(CALL, "").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(world.post(CALL, "").await.status, 200);
}

#[tokio::test]
async fn a_marked_container_is_not_used_until_it_is_unmarked() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    world.tell(Delta::Marked(container(1)));
    world.said(|up| matches!(up, Up::Released(id) if *id == container(1)).then_some(())).await;
    let call = world.calls(CALL, "");
    world.until_waiting(1).await;
    assert_eq!(world.containers.request_count(), 0);
    world.tell(Delta::Unmarked(container(1)));
    assert_eq!(call.await.unwrap().status, 200);
}

#[tokio::test]
async fn the_end_of_the_last_call_of_a_marked_container_is_told_at_once() {
    let mut world = World::new().await;
    world.ready("a", 1, 2);
    world.containers.gate.close();
    let calls = [world.calls(CALL, ""), world.calls(CALL, "")];
    world.until(|| world.containers.gate.at() == 2).await;
    world.tell(Delta::Marked(container(1)));
    world.said(|up| matches!(up, Up::Released(id) if *id == container(1)).then_some(())).await;
    world.containers.gate.open();
    // the router of this world makes no periodic reports
    let told = world.said(|up| if let Up::Usage(usage) = up { Some(usage.clone()) } else { None }).await;
    assert_eq!((told.len(), told[0].container, told[0].in_flight), (1, container(1), 0));
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_come_leave_and_run_at_once_lose_no_slot_and_no_wake() {
    let world = World::new().await;
    world.unlimited();
    for number in 1..=3 {
        world.ready("a", number, 2);
    }
    let call = |timeout: u32| {
        let router = world.router.clone();
        let request = post(&format!("{CALL}&timeout={timeout}")).body(http_body_util::Empty::new()).unwrap();
        tokio::spawn(async move { router.handle(request).await.status().as_u16() })
    };
    let calls: Vec<_> = (0..3000).map(|number| call(if number % 3 == 0 { 1 } else { 20_000 })).collect();
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    for (number, call) in calls.into_iter().enumerate() {
        if number % 7 == 0 {
            call.abort();
        } else if let Ok(status) = call.await {
            *answers.entry(status).or_default() += 1;
        }
    }
    assert!(answers.keys().all(|status| matches!(status, 200 | 202)), "{answers:?}");
    world.until_idle().await;
    assert!(world.containers.most_inside() <= 2, "POOL-1");
    assert_eq!(world.post(CALL, "").await.status, 200);
}

#[tokio::test]
async fn a_container_that_stays_busy_does_not_keep_a_call_for_ever() {
    let world = World::with(|settings| settings.wait_time_max = Duration::from_millis(50)).await;
    world.ready("a", 1, 1);
    world.containers.answer(|_| RunReply::Busy { retry_after_ms: 0 });
    assert_eq!(world.post(CALL, "").await.status, 500);
    world.until_idle().await;
}
