//! `triplane dev`: an action that runs while somebody works on it.

use std::io::Write;
use std::process::ChildStdin;

use rustix::process::Signal;
use triplane_testkit::client::GUEST;
use triplane_testkit::{Process, free_port, wait_until};

use crate::command_line::User;
use crate::platform::{Platform, SOON};

/// A running `triplane dev`, and who types into it.
struct Session {
    process: Process,
    input: ChildStdin,
}

impl Session {
    async fn start(user: &User, arguments: &[&str]) -> Self {
        let mut command = user.command(&[&["dev"], arguments].concat());
        // Files of the platform, so that what is left of them can be seen.
        command.env("TMPDIR", user.home.path());
        let (process, input) = Process::start_with_input(&mut command);
        let session = Self { process, input };
        session.says("Enter invokes it").await;
        session
    }

    /// Waits until it has said something.
    async fn says(&self, text: &str) {
        wait_until(SOON, &format!("it says {text}"), async || self.process.output().contains(text)).await;
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    async fn is_interrupted(&mut self) {
        self.process.signal(Signal::INT);
        assert!(self.process.exited(SOON).await.success(), "{}", self.process.output());
    }
}

/// What is at home, but for what the user has made.
fn left(user: &User) -> Vec<String> {
    let entries = std::fs::read_dir(user.home.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("triplane")).collect()
}

#[tokio::test]
async fn without_a_platform_one_is_started_and_goes_with_the_session() {
    let user = User::of(&format!("http://127.0.0.1:{}", free_port()));
    let file = user.write("hello.js", "function main(args) { console.log('one'); return { saw: args } }");
    user.write("params.json", r#"{"from": "file"}"#);
    let mut session = Session::start(&user, &["hello.js", "--watch", "-P", "params.json"]).await;
    session.says("starting one").await;
    session.types("");
    session.says("\"from\": \"file\"").await;
    session.says(" stdout: one").await;
    session.types(r#"{"from": "line"}"#);
    session.says("\"from\": \"line\"").await;

    std::fs::write(&file, "function main( { no }").unwrap();
    session.says("what was loaded before still runs").await;
    session.says("SyntaxError").await;
    session.types(r#"{"from": "old"}"#);
    session.says("\"from\": \"old\"").await;

    std::fs::write(&file, "function main() { return { now: 'new' } }").unwrap();
    session.says("reloaded hello, version 0.0.2").await;
    session.types("");
    session.says("\"now\": \"new\"").await;
    session.is_interrupted().await;
    assert_eq!(left(&user), Vec::<String>::new());
}

#[tokio::test]
async fn a_platform_that_answers_is_used_and_is_as_before_in_the_end() {
    let platform = Platform::start().await;
    let user = User::of(platform.server.guest.base());
    user.write("hello.js", "function main() { return {} }");
    let mut session = Session::start(&user, &["hello.js", "--name", "mine"]).await;
    session.says("triplane action invoke mine --result").await;
    user.run(&["action", "invoke", "mine", "-r", "-u", GUEST]).await.prints("{}\n");
    session.is_interrupted().await;
    user.run(&["action", "get", "mine"]).await.fails(148, "does not exist");

    user.run(&["action", "create", "taken", "hello.js"]).await.ok();
    let refused = user.run(&["dev", "hello.js", "--name", "taken"]).await;
    refused.fails(2, "action 'taken' is there already");
    let mut session = Session::start(&user, &["hello.js", "--name", "taken", "--overwrite"]).await;
    session.is_interrupted().await;
    user.run(&["action", "get", "taken", "version", "--json"]).await.prints("\"0.0.2\"\n");
}

#[tokio::test]
async fn a_file_with_a_mistake_leaves_what_ran_on_a_platform_of_this_machine() {
    let platform = Platform::start().await;
    let user = User::of(platform.server.guest.base());
    let file = user.write("hello.js", "function main() { return { old: 'one' } }");
    let mut session = Session::start(&user, &["hello.js", "--watch"]).await;
    std::fs::write(&file, "function main( { no }").unwrap();
    session.says("what was loaded before still runs").await;
    session.types("");
    session.says("\"old\": \"one\"").await;
    session.is_interrupted().await;
}

#[tokio::test]
async fn what_a_killed_session_left_is_taken_over() {
    let platform = Platform::start().await;
    let user = User::of(platform.server.guest.base());
    user.write("hello.js", "function main() { return {} }");
    let mut session = Session::start(&user, &["hello.js"]).await;
    session.process.kill();
    let mut session = Session::start(&user, &["hello.js"]).await;
    session.is_interrupted().await;
    user.run(&["action", "get", "hello"]).await.fails(148, "does not exist");
}

#[tokio::test]
async fn what_cannot_run_is_said_before_anything_is_started() {
    let user = User::of(&format!("http://127.0.0.1:{}", free_port()));
    user.run(&["dev", "nobody.js"]).await.fails(2, "nobody.js cannot be used");
    user.run(&["dev", "nobody.txt"]).await.fails(2, "--kind");
}
