//! `triplane action`, `activation`, `property` and so on: what people see, and what scripts get.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use triplane_testkit::client::GUEST;
use triplane_testkit::{TempDir, free_port, wait_for};

use crate::platform::{Platform, SOON};
use crate::tls_door::secured;

const HELLO: &str =
    "function main(args) { console.log('called'); return { hello: args.name || 'stranger' } }";

/// Somebody at a terminal, with a home of their own.
pub(crate) struct User {
    pub(crate) home: TempDir,
}

/// What a command did.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl User {
    /// Somebody whose properties name a platform and the key of its guest.
    pub(crate) fn of(host: &str) -> Self {
        let user = Self { home: TempDir::new("home") };
        std::fs::write(user.properties(), format!("APIHOST={host}\nAUTH={GUEST}\n")).unwrap();
        user
    }

    pub(crate) fn properties(&self) -> PathBuf {
        self.home.join("properties")
    }

    /// A command of this user's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triplane"));
        command.args(arguments).current_dir(self.home.path());
        command.env("WSK_CONFIG_FILE", self.properties());
        for variable in ["WHISK_APIHOST", "WHISK_AUTH", "WHISK_APIVERSION"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Said::of(&output)
    }

    /// Writes a file at home.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// It succeeded and printed this.
    #[track_caller]
    pub(crate) fn prints(&self, expected: &str) {
        assert_eq!((self.code, self.out.as_str()), (0, expected), "{}", self.err);
    }

    /// It succeeded; what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// It succeeded and printed JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }

    /// It failed with a code, and said this among others.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, expected: &str) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(expected), "{}", self.err);
    }
}

async fn guest() -> (Platform, User) {
    let platform = Platform::start().await;
    let user = User::of(platform.server.guest.base());
    (platform, user)
}

#[tokio::test]
async fn an_action_is_created_invoked_shown_changed_and_deleted() {
    let (_platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.run(&["action", "create", "hello", "hello.js", "-a", "description", "greets"])
        .await
        .prints("ok: created action hello\n");
    user.run(&["action", "invoke", "hello", "-r", "-p", "name", "you"])
        .await
        .prints("{\n  \"hello\": \"you\"\n}\n");
    user.write("params.json", r#"{"name": "file"}"#);
    let result = user.run(&["action", "invoke", "/_/hello", "--result", "-P", "params.json"]).await.json();
    assert_eq!(result, json!({"hello": "file"}));
    let blocking = user.run(&["action", "invoke", "hello", "--blocking"]).await.ok();
    assert!(blocking.starts_with("ok: invoked /_/hello with id "), "{blocking}");
    assert!(blocking.contains("\"hello\": \"stranger\""), "{blocking}");
    let invoked = user.run(&["action", "invoke", "hello"]).await.ok();
    assert_eq!(invoked.trim_end().len(), "ok: invoked /_/hello with id ".len() + 32, "{invoked}");

    user.run(&["action", "update", "hello", "-m", "128", "-p", "name", "bound", "--web", "true"])
        .await
        .prints("ok: updated action hello\n");
    let action = user.run(&["action", "get", "hello", "--json"]).await.json();
    assert_eq!((&action["version"], &action["limits"]["memory"]), (&json!("0.0.2"), &json!(128)));
    assert_eq!(action["exec"].get("code"), None);
    let shown = user.run(&["action", "get", "hello", "limits"]).await.ok();
    assert!(shown.starts_with("ok: got action hello, displaying field limits\n{"), "{shown}");
    user.run(&["action", "get", "hello", "--summary"])
        .await
        .prints("action /guest/hello: greets\n   (parameters: *name)\n");
    let url = user.run(&["action", "get", "hello", "--url"]).await.ok();
    assert!(url.trim_end().ends_with("/api/v1/web/guest/default/hello"), "{url}");
    let list = user.run(&["action", "list"]).await.ok();
    assert!(list.starts_with("actions       visibility  kind"), "{list}");
    assert!(list.lines().nth(1).unwrap().starts_with("/guest/hello  private     nodejs:"), "{list}");

    user.run(&["action", "delete", "hello"]).await.prints("ok: deleted action hello\n");
    user.run(&["action", "get", "hello"])
        .await
        .fails(148, "error: cannot get action 'hello': The requested resource does not exist. (code ");
}

#[tokio::test]
async fn code_is_saved_to_a_file_and_never_over_one() {
    let (_platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.run(&["action", "create", "hello", "hello.js"]).await.ok();
    user.run(&["action", "get", "hello", "--save"]).await.fails(2, "hello.js is there already");
    let saved = user.run(&["action", "get", "hello", "--save-as", "other.js"]).await.ok();
    assert!(saved.starts_with("ok: saved action code to /"), "{saved}");
    assert_eq!(std::fs::read_to_string(user.home.join("other.js")).unwrap(), HELLO);
}

#[tokio::test]
async fn an_action_is_copied_with_all_that_it_has() {
    let (_platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.run(&["action", "create", "hello", "hello.js", "-p", "name", "bound", "-m", "128"]).await.ok();
    user.run(&["action", "create", "other", "hello", "--copy", "-a", "new", "1"]).await.ok();
    let copy = user.run(&["action", "get", "other", "--json"]).await.json();
    assert_eq!(copy["parameters"], json!([{"key": "name", "value": "bound"}]));
    assert_eq!(copy["limits"]["memory"], json!(128));
    assert_eq!(triplane_testkit::json::keyed(&copy["annotations"], "new"), Some(&json!(1)));
}

#[tokio::test]
async fn scripts_get_the_exit_codes_of_wsk() {
    let (platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.write("failing.js", "function main() { return { error: 'mine' } }");
    user.run(&["action", "create", "hello", "hello.js"]).await.ok();
    user.run(&["action", "create", "failing", "failing.js"]).await.ok();

    let again = user.run(&["action", "create", "hello", "hello.js"]).await;
    again.fails(153, "error: cannot create action 'hello': resource already exists (code ");
    again.fails(153, "hint: `update` changes what exists");
    let failed = user.run(&["action", "invoke", "failing", "-r"]).await;
    failed.fails(246, "{\n  \"error\": \"mine\"\n}");
    assert_eq!(failed.out, "");
    user.run(&["action", "invoke", "failing", "-b"]).await.fails(246, "application error");
    user.run(&["action", "invoke", "nobody"]).await.fails(148, "cannot invoke action 'nobody'");
    let wrong = "00000000-0000-4000-8000-000000000000:wrong";
    user.run(&["action", "list", "-u", wrong]).await.fails(145, "property set --auth");
    user.run(&["action", "create", "x", "hello.js", "-m", "1"]).await.fails(144, "memory size 1 MB below");
    user.run(&["action", "create", "x"]).await.fails(2, "an action needs its code");
    user.run(&["action", "create", "x", "nobody.js"]).await.fails(2, "nobody.js cannot be used");
    user.run(&["action", "nonsense"]).await.fails(2, "nonsense");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    user.run(&["action", "list", "--apihost", &nobody]).await.fails(3, "cannot be reached");
    // It speaks no TLS, which is what an address without a scheme means.
    let plain = platform.server.guest.base().trim_start_matches("http://").to_owned();
    user.run(&["action", "list", "--apihost", &plain]).await.fails(3, "write http://");
}

#[tokio::test]
async fn activations_are_listed_shown_and_followed() {
    let (_platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.run(&["activation", "get", "--last"]).await.fails(2, "there is no activation yet");
    user.run(&["action", "create", "hello", "hello.js"]).await.ok();
    user.run(&["action", "invoke", "hello", "-r"]).await.ok();
    let activation = wait_for(SOON, "the activation is listed", async || {
        let list = user.run(&["activation", "list", "hello", "--json"]).await.json();
        list.get(0).cloned()
    })
    .await;
    let id = activation["activationId"].as_str().unwrap();

    let list = user.run(&["activation", "list"]).await.ok();
    let line = list.lines().nth(1).unwrap();
    assert!(line.contains(id) && line.contains("  cold   ") && line.contains("  success  "), "{list}");
    assert!(line.ends_with("  guest/hello:0.0.1"), "{list}");
    let shown = user.run(&["activation", "get", id]).await.ok();
    assert!(shown.starts_with(&format!("ok: got activation {id}\n{{")), "{shown}");
    let name = user.run(&["activation", "get", "--last", "name", "--json"]).await.json();
    assert_eq!(name, json!("hello"));
    user.run(&["activation", "logs", "--last", "--strip"]).await.prints("called\n");
    let logs = user.run(&["activation", "logs", id]).await.ok();
    assert!(logs.ends_with(" stdout: called\n"), "{logs}");
    user.run(&["activation", "result", id]).await.prints("{\n  \"hello\": \"stranger\"\n}\n");
    user.run(&["activation", "get", "12345"]).await.fails(144, "Activation id length is 5 but must be 32.");

    let polled = user.run(&["activation", "poll", "hello", "--since-hours", "1", "--exit", "0"]).await.ok();
    assert!(polled.contains(&format!("Activation: 'hello' ({id})\n")), "{polled}");
    assert!(polled.contains(" stdout: called\n"), "{polled}");
    let none = user.run(&["activation", "poll", "other", "--since-hours", "1", "--exit", "0"]).await.ok();
    assert_eq!(none, "Enter Ctrl-c to exit.\nPolling for activation logs\n");
}

#[tokio::test]
async fn properties_are_kept_in_the_file_of_wsk() {
    let (platform, user) = guest().await;
    let host = platform.server.guest.base();
    std::fs::remove_file(user.properties()).unwrap();
    user.run(&["property", "set", "--apihost", host, "--auth", GUEST])
        .await
        .prints(&format!("ok: whisk API host set {host}\nok: whisk auth set\n"));
    user.run(&["property", "get", "--apihost", "-o", "raw"]).await.prints(&format!("{host}\n"));
    user.run(&["property", "get", "--namespace", "-o", "raw"]).await.prints("guest\n");
    let all = user.run(&["property", "get", "--json"]).await.json();
    assert_eq!((&all["auth"], &all["apiversion"]), (&json!(GUEST), &json!("v1")));
    assert!(all["apibuild"].is_string());
    user.run(&["property", "unset", "--auth"]).await.prints("ok: whisk auth unset\n");
    let file = std::fs::read_to_string(user.properties()).unwrap();
    assert_eq!(file, format!("APIHOST={host}\n"));
    user.run(&["action", "list"]).await.fails(2, "no key: name it with");
    user.run(&["property", "set"]).await.fails(2, "");
}

#[tokio::test]
async fn a_namespace_is_listed_whole() {
    let (_platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.run(&["action", "create", "hello", "hello.js"]).await.ok();
    user.run(&["namespace", "list"]).await.prints("namespaces\nguest\n");
    let whole = user.run(&["list"]).await.ok();
    assert!(whole.starts_with("entities in namespace: _\npackages"), "{whole}");
    assert!(whole.contains("\n/guest/hello  private"), "{whole}");
    let json = user.run(&["namespace", "get", "/guest", "--json"]).await.json();
    assert_eq!(json["actions"][0]["name"], json!("hello"));
    user.run(&["namespace", "get", "/somebody"]).await.fails(147, "not authorized");
}

#[tokio::test]
async fn packages_are_created_bound_listed_and_deleted() {
    let (_platform, user) = guest().await;
    user.write("said.js", "function main(args) { return { said: args.greeting } }");
    user.run(&["package", "create", "tools", "-p", "greeting", "hi"])
        .await
        .prints("ok: created package tools\n");
    user.run(&["action", "create", "tools/said", "said.js"]).await.prints("ok: created action tools/said\n");
    user.run(&["package", "bind", "/_/tools", "mine", "-p", "greeting", "servus"])
        .await
        .prints("ok: created binding mine\n");
    let said = user.run(&["action", "invoke", "mine/said", "-r"]).await.json();
    assert_eq!(said, json!({"said": "servus"}));
    user.run(&["package", "update", "tools", "--shared", "yes"]).await.prints("ok: updated package tools\n");
    user.run(&["package", "list", "--name-sort"]).await.prints(
        "packages      visibility  version  bound to\n\
         /guest/mine   private     0.0.1    /guest/tools\n\
         /guest/tools  shared      0.0.2\n",
    );
    let list = user.run(&["action", "list", "/guest/tools"]).await.ok();
    assert!(list.contains("\n/guest/tools/said  "), "{list}");
    let summary = user.run(&["package", "get", "tools", "--summary"]).await.ok();
    assert!(summary.contains("\n action /guest/tools/said\n"), "{summary}");
    user.run(&["package", "delete", "tools"]).await.fails(153, "Package not empty (contains 1 entity).");
    user.run(&["package", "delete", "tools", "--force"]).await.prints("ok: deleted package tools\n");
}

#[tokio::test]
async fn triggers_are_fired_and_rules_are_switched() {
    let (_platform, user) = guest().await;
    user.write("hello.js", HELLO);
    user.run(&["action", "create", "hello", "hello.js"]).await.ok();
    user.run(&["trigger", "create", "t", "-p", "name", "tick"]).await.prints("ok: created trigger t\n");
    user.run(&["trigger", "fire", "t"])
        .await
        .prints("ok: triggered /_/t, which has no active rule: nothing was invoked\n");
    user.run(&["rule", "create", "r", "t", "hello"]).await.prints("ok: created rule r\n");
    let fired = user.run(&["trigger", "fire", "t", "-p", "more", "1"]).await.ok();
    assert!(fired.starts_with("ok: triggered /_/t with id "), "{fired}");
    wait_for(SOON, "the action has run", async || {
        let list = user.run(&["activation", "list", "hello", "--full"]).await.json();
        (list[0]["response"]["result"] == json!({"hello": "tick"})).then_some(())
    })
    .await;
    user.run(&["rule", "disable", "r"]).await.prints("ok: disabled rule r\n");
    user.run(&["rule", "status", "r"]).await.prints("ok: rule r is inactive\n");
    user.run(&["rule", "enable", "r"]).await.prints("ok: enabled rule r\n");
    user.run(&["rule", "list"]).await.prints(
        "rules     visibility  status  trigger   action\n\
         /guest/r  private     active  /guest/t  /guest/hello\n",
    );
    user.run(&["rule", "create", "none", "nothing", "hello"]).await.fails(144, "does not exist");
    user.run(&["rule", "delete", "r", "--disable"]).await.prints("ok: deleted rule r\n");
    user.run(&["trigger", "delete", "t"]).await.prints("ok: deleted trigger t\n");
}

#[tokio::test]
async fn a_feed_is_told_of_the_life_of_its_triggers() {
    let (_platform, user) = guest().await;
    let code = "function main(args) { return args.bad ? { error: 'no such feed' } : { told: args.lifecycleEvent, every: args.every } }";
    user.write("feed.js", code);
    user.run(&["action", "create", "feed", "feed.js", "-a", "feed", "true"]).await.ok();
    user.run(&["trigger", "create", "t", "--feed", "feed", "-p", "every", "5"])
        .await
        .prints("ok: created trigger t\n");
    let shown = user.run(&["trigger", "get", "t"]).await.ok();
    assert!(shown.contains("ok: got what feed /_/feed says of it\n{\n  \"told\": \"READ\"\n}"), "{shown}");
    user.run(&["trigger", "update", "t", "-F", "every", "6"]).await.prints("ok: updated trigger t\n");
    user.run(&["trigger", "delete", "t"]).await.prints("ok: deleted trigger t\n");

    let refused = user.run(&["trigger", "create", "u", "--feed", "feed", "-p", "bad", "true"]).await;
    refused.fails(246, "cannot create trigger 'u': cannot tell feed '/_/feed' (CREATE): no such feed");
    user.run(&["trigger", "get", "u"]).await.fails(148, "does not exist");

    user.run(&["trigger", "create", "t", "--feed", "feed"]).await.ok();
    user.run(&["action", "delete", "feed"]).await.ok();
    user.run(&["trigger", "delete", "t"]).await.fails(148, "hint: --force deletes the trigger");
    user.run(&["trigger", "delete", "t", "--force"]).await.prints("ok: deleted trigger t\n");
}

#[tokio::test]
async fn a_sequence_runs_its_actions_one_after_another() {
    let (_platform, user) = guest().await;
    user.write("more.js", "function main(args) { return { n: args.n + 1 } }");
    user.run(&["action", "create", "more", "more.js"]).await.ok();
    user.run(&["action", "create", "both", "--sequence", "more,more"])
        .await
        .prints("ok: created action both\n");
    let result = user.run(&["action", "invoke", "both", "-r", "-p", "n", "1"]).await.json();
    assert_eq!(result, json!({"n": 3}));
    user.run(&["action", "get", "both", "--save"]).await.fails(2, "'both' is a sequence");
}

#[tokio::test]
async fn requests_and_answers_are_shown_without_the_key() {
    let (_platform, user) = guest().await;
    let shown = user.run(&["action", "list", "--verbose"]).await;
    assert!(shown.err.contains("> GET http://127.0.0.1:"), "{}", shown.err);
    assert!(shown.err.contains("/api/v1/namespaces/_/actions?limit=30&skip=0\n"), "{}", shown.err);
    assert!(shown.err.contains("< 200 OK\n[]"), "{}", shown.err);
    assert!(!shown.err.contains(GUEST) && !shown.err.contains("Basic"), "{}", shown.err);
}

#[tokio::test]
async fn flags_of_all_commands_may_stand_before_the_verb() {
    let (platform, _) = guest().await;
    let stranger = User::of("http://127.0.0.1:1");
    let host = platform.server.guest.base();
    stranger
        .run(&["-i", "--apihost", host, "--auth", GUEST, "--json", "action", "list"])
        .await
        .prints("[]\n");
}

#[tokio::test]
async fn a_platform_behind_tls_has_to_be_trusted() {
    let (platform, user) = guest().await;
    let (host, authority) = secured(platform.server.guest.base(), user.home.path()).await;
    let list = ["namespace", "list", "--apihost", &host];
    user.run(&list).await.fails(3, "cannot be trusted");
    user.run(&[&list[..], &["--insecure"]].concat()).await.prints("namespaces\nguest\n");
    let mut trusting = user.command(&list);
    trusting.env("SSL_CERT_FILE", authority);
    let said = tokio::task::spawn_blocking(move || trusting.output().unwrap()).await.unwrap();
    Said::of(&said).prints("namespaces\nguest\n");
}
