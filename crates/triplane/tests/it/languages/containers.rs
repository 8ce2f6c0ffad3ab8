//! The same cases in containers, by the proxies of OpenWhisk's published images.

use triplane_testkit::docker;

use super::Stage;
use super::table::{GO, Language, NO_DICTIONARY, NODEJS, SKELETON};
use crate::docker::with_platform;

/// Their markers do not tell overlapping calls' logs apart, and archives are unpacked by the images that stand for them in no
/// test: the driver hands them on like any code. `main` says that init takes longer: a container has to start.
static IN_CONTAINERS: [Language; 3] = [
    Language {
        kind: "nodejs:20",
        main: Some("main"),
        overlaps: None,
        // a module has to be in an archive there
        awaits: Some(
            "async function main() { await new Promise((done) => setTimeout(done, 1)); return {awaited: true} }",
        ),
        archive: &[],
        ..NODEJS
    },
    Language {
        image: Some(docker::SKELETON),
        main: Some("main"),
        // it takes what cannot be executed, and finds out with the first call
        damaged: ("not a program", NO_DICTIONARY),
        archive: &[],
        ..SKELETON
    },
    Language { kind: "go:1.20", main: Some("main"), archive: &[], ..GO },
];

#[test]
fn every_published_proxy_conforms_in_containers() {
    let configuration = format!(
        "kinds = \"all\"\nblackboxes = [\"{}\"]\nimages.\"nodejs:20\" = \"{}\"\nimages.\"go:1.20\" = \"{}\"",
        docker::SKELETON,
        docker::NODEJS,
        docker::ACTION_LOOP
    );
    with_platform(&configuration, |engine, platform| async move {
        engine.make_published();
        for language in &IN_CONTAINERS {
            println!("{} in a container", language.kind);
            Stage { platform: &platform, language }.conforms().await;
        }
    });
}
