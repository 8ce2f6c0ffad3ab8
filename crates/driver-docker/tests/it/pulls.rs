//! When images are pulled, as whom, and what becomes of a pull that fails.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use triplane_driver_docker::Login;

use crate::world::{World, blackbox, with_engine};
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
