//! When images are pulled, as whom, and what becomes of a pull that fails.

use std::slice::from_ref;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use triplane_control::driver::Driver;
use triplane_core::placement::Gpus;
use triplane_driver_docker::{Login, PullPolicy};
use triplane_model::image::ImageRules;

use crate::world::{KIND, NODE, World, blackbox, soon, with_engine};
use triplane_testkit::docker::{IMAGE, LATEST};

/// A registry that has nothing, but asks who wants it. Answers its address and what it was told.
async fn registry() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 16 << 10];
            let count = socket.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..count]).into_owned();
            let found = head.lines().find_map(|line| line.strip_prefix("Authorization: Basic "));
            let answer = match found {
                Some(credentials) => {
                    heard.lock().unwrap().push(credentials.trim().to_owned());
                    "404 Not Found\r\n"
                }
                None => "401 Unauthorized\r\nWww-Authenticate: Basic realm=\"test\"\r\n",
            };
            let answer = format!("HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.ok();
        }
    });
    (address, told)
}

#[test]
fn latest_must_be_pulled_and_other_tags_may_be_here() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let (registry, _) = registry().await;
        let here = format!("{registry}/here:1");
        engine.ask(&["tag", IMAGE, &here]);
        let container = world.start("", blackbox(&here)).await;
        assert_eq!(container.call(&json!({"a": 1})).await.result(), json!({"a": 1}));

        let unnamed = format!("{registry}/here");
        engine.ask(&["tag", IMAGE, &unnamed]);
        for image in [unnamed, format!("{registry}/there:1"), LATEST.to_owned()] {
            let container = world.start("", blackbox(&image)).await;
            let ended = container.call(&json!({})).await;
            assert_eq!(ended.status(), "action developer error");
            assert_eq!(ended.error(), format!("Failed to pull container image '{image}'."));
        }
        world.stop().await;
    });
}

#[test]
fn a_registry_is_told_who_asks() {
    with_engine(|engine| async move {
        let (registry, told) = registry().await;
        // a password whose base64 differs between the two alphabets
        let login = Login { username: "me".to_owned(), password: "~~~???>>>".to_owned() };
        let logins = [(registry.clone(), login)];
        let world = World::with(engine, |options| options.logins = logins.into()).await;
        let container = world.start("", blackbox(&format!("{registry}/mine:1"))).await;
        assert!(container.call(&json!({})).await.error().starts_with("Failed to pull container image"));
        assert_eq!(told.lock().unwrap()[0], BASE64_STANDARD.encode("me:~~~???>>>"));
        world.stop().await;
    });
}

/// A registry that takes requests and does not answer. Says when one came, and when its asker was gone.
async fn silent_registry() -> (String, watch::Receiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, told) = watch::channel(0);
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 16 << 10];
        assert_ne!(socket.read(&mut request).await.unwrap(), 0);
        seen.send_replace(1);
        // ends when nobody waits for the answer any more
        while socket.read(&mut request).await.is_ok_and(|count| count > 0) {}
        seen.send_replace(2);
    });
    (address, told)
}

#[test]
fn a_pull_ends_when_its_container_is_not_wanted_any_more() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let (registry, mut told) = silent_registry().await;
        let (id, spec) = world.plan("", blackbox(&format!("{registry}/slow:1")));
        let start = world.docker.start(id, NODE, spec, Gpus::default());
        soon(told.wait_for(|seen| *seen == 1)).await.unwrap();
        soon(world.docker.stop(id)).await;
        assert!(soon(start).await.is_err());
        soon(told.wait_for(|seen| *seen == 2)).await.expect("the engine does not go on");
        assert!(world.containers().is_empty() && world.networks().is_empty());
    });
}

#[test]
fn the_operator_says_which_images_run_and_when_they_are_pulled() {
    with_engine(|engine| async move {
        let (registry, told) = registry().await;
        let (known, other, never) =
            (format!("{registry}/known"), format!("{registry}/other"), "local/other:1");
        engine.ask(&["tag", IMAGE, &known]);
        engine.ask(&["tag", IMAGE, &other]);
        let rules = ImageRules::new(from_ref(&known), from_ref(&registry)).unwrap();
        let world = World::with(engine, |options| {
            (options.rules, options.pull) = (rules, PullPolicy::Missing);
        })
        .await;
        for image in [&known, &other] {
            let container = world.start("", blackbox(image)).await;
            assert_eq!(container.call(&json!({"a": 1})).await.result(), json!({"a": 1}));
        }
        assert!(told.lock().unwrap().is_empty(), "what is here is not pulled");
        // one that the operator vouches for owes markers
        let container = world.start("", blackbox(&known)).await;
        let ended = container.call(&json!({"markers": false})).await;
        assert_eq!((ended.status(), ended.finished.reusable), ("success", false));
        let refused = world.start("", blackbox(never)).await.call(&json!({})).await;
        assert_eq!(refused.status(), "action developer error");
        assert!(
            refused.error().starts_with("the image docker.io/local/other is not allowed"),
            "{}",
            refused.error()
        );
        world.stop().await;
    });
}

#[test]
fn an_image_is_never_pulled_when_the_operator_says_so() {
    with_engine(|engine| async move {
        let (registry, mut told) = silent_registry().await;
        let world = World::with(engine, |options| options.pull = PullPolicy::Never).await;
        let here = world.start("", blackbox(LATEST)).await;
        assert_eq!(here.call(&json!({})).await.status(), "success");
        let image = format!("{registry}/missing:1");
        let error = world.start("", blackbox(&image)).await.call(&json!({})).await.error();
        assert_eq!(error, format!("Failed to pull container image '{image}'."));
        assert_eq!(*told.borrow_and_update(), 0);
        world.stop().await;
    });
}

#[test]
fn an_image_of_the_platform_that_is_not_to_be_had_is_the_platforms_fault() {
    with_engine(|engine| async move {
        let images = [(KIND.to_owned(), "127.0.0.1:1/nothing:1".to_owned())];
        let world = World::with(engine, |options| options.images = images.into()).await;
        let ended = world.start("code", |_| {}).await.call(&json!({})).await;
        assert_eq!(ended.status(), "whisk internal error");
        let error = ended.error();
        assert!(error.starts_with("the image 127.0.0.1:1/nothing:1 of test:1 is not here: "), "{error}");
        assert!(error.ends_with("may be invoked again"), "{error}");
        world.stop().await;
    });
}
