//! How many containers a demand gets (COLD-1).

use super::*;

#[test]
fn a_burst_of_short_calls_starts_at_most_fifteen_containers() {
    let mut scene = Scene::new(100_000);
    scene.pool.settings.cold_start_ms_default = 100;
    assert_eq!(scene.demands_at(ROUTER, &plain("a"), 100, Some(10)).len(), 10);

    let mut unknown = Scene::new(100_000);
    unknown.pool.settings.cold_start_ms_default = 100;
    unknown.demands(&plain("b"), 100);
    unknown.after(100);
    (1..=4).for_each(|number| drop(unknown.started(number)));
    for waiting in (0..=23).rev() {
        unknown.after(10);
        unknown.demands_at(ROUTER, &plain("b"), waiting * 4, Some(10));
    }
    assert!(unknown.states().len() <= 15, "COLD-1: {}", unknown.states().len());
}

#[test]
fn a_router_that_has_seen_no_call_end_knows_from_the_others_how_long_they_take() {
    let mut scene = Scene::new(100_000);
    scene.step(Event::RouterJoined(OTHER));
    scene.demands_at(OTHER, &plain("a"), 20, None);
    scene.demands_at(ROUTER, &plain("a"), 20, None);
    scene.now_ms += 150;
    scene.started(1);
    scene.demands_at(ROUTER, &plain("a"), 0, Some(10));
    (2..=4).for_each(|number| drop(scene.started(number)));
    scene.demands_at(OTHER, &plain("a"), 20, None);
    scene.after(10);
    assert_eq!(scene.states().len(), 4, "20 calls of 10 ms are done before another container is there");
}

#[test]
fn long_calls_get_about_a_container_each_within_a_few_cold_starts() {
    let mut scene = Scene::new(100_000);
    scene.pool.settings.starts_max = 1_000;
    let mut starts = scene.demands(&plain("a"), 100).len();
    let (mut ready, mut cold_starts) = (0, 0);
    while starts < 90 {
        scene.now_ms += 150;
        cold_starts += 1;
        assert!(cold_starts <= 6, "{starts} containers after {cold_starts} cold starts");
        let batch = ready + 1..=starts;
        for number in batch {
            ready = number;
            let waiting = 100 - u32::try_from(number).unwrap();
            let mut wanted = scene.started(number as u64);
            scene.says(ROUTER, Up::Acknowledged(Sequence(u64::MAX)));
            wanted.extend(scene.demands(&plain("a"), waiting));
            starts += wanted.iter().filter(|words| words.starts_with("start")).count();
        }
    }
}
