//! OpenWhisk's published proxies as their sources have it, byte for byte (openwhisk-api.md 11.6): heads as their HTTP servers
//! write them, bodies, and whether the markers come before the answer.

use serde_json::{Value, json};
use triplane_model::Status;
use triplane_wire::run::Finished;

use crate::container::{MARKER, Started, start_with};
use crate::world::{World, call, done, error_of};

/// What a proxy answers with a status and a body.
type Head = fn(u16, &str) -> String;

/// `express`, of the Node.js images.
fn express(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\nX-Powered-By: Express\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\nETag: W/\"b-Ai2R8hgEarLmHKwesT1qcY913ys\"\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n{body}",
        reason(status),
        body.len()
    )
}

/// Go's `net/http`, of the actionloop.
fn go(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Length: {}\r\n\r\n{body}",
        reason(status),
        body.len()
    )
}

/// gevent's WSGI server, of `dockerskeleton`.
fn gevent(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n{body}",
        reason(status),
        body.len()
    )
}

/// The HTTP server of the JDK, of `java8action`.
fn jdk(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-length: {}\r\n\r\n{body}",
        reason(status),
        body.len()
    )
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        502 => "Bad Gateway",
        _ => "Internal Server Error",
    }
}

/// A published proxy.
struct Published {
    head: Head,
    /// The body of an init that worked.
    initialised: &'static str,
    /// What ends a body.
    end: &'static str,
    /// Whether the markers of a run come before its answer.
    marks_first: bool,
    /// Errors of an init.
    init_errors: &'static [(u16, &'static str)],
    /// Errors of a run.
    run_errors: &'static [(u16, &'static str)],
}

const NODEJS: Published = Published {
    head: express,
    initialised: r#"{"OK":true}"#,
    end: "",
    marks_first: true,
    init_errors: &[
        (403, "Cannot initialize the action more than once."),
        (403, "Missing main/no code to execute."),
        (403, "System not ready, status is running."),
        (
            502,
            "Initialization has failed due to: SyntaxError: Unexpected token '{'\n    at NodeActionRunner.init",
        ),
    ],
    run_errors: &[
        (403, "System not initialized."),
        (502, "The action did not return a dictionary."),
        (502, "An error has occurred: Error: broken"),
        (500, "Bad request."),
    ],
};

const ACTION_LOOP: Published = Published {
    head: go,
    initialised: "{\"ok\":true}\n",
    end: "\n",
    marks_first: true,
    init_errors: &[
        (403, "Cannot initialize the action more than once."),
        (403, "Missing main/no code to execute."),
        (400, "Error unmarshaling request: unexpected end of JSON input"),
        (502, "The action failed to generate or locate a binary. See logs for details."),
        (502, "Cannot start action. Check logs for details."),
    ],
    run_errors: &[
        (500, "no action defined yet"),
        (500, "command exited"),
        (400, "command exited"),
        (502, "The action did not return a dictionary or array."),
    ],
};

const SKELETON: Published = Published {
    head: gevent,
    initialised: "OK",
    end: "\n",
    marks_first: true,
    init_errors: &[
        (403, "Cannot initialize the action more than once."),
        (502, "The action failed to generate or locate a binary. See logs for details."),
    ],
    run_errors: &[
        (404, "The action did not receive a dictionary or array as an argument."),
        (502, "The action failed to locate a binary. See logs for details."),
        (502, "The action did not return a dictionary or array."),
    ],
};

const JAVA: Published = Published {
    head: jdk,
    initialised: "OK",
    end: "",
    marks_first: false,
    init_errors: &[
        (502, "Cannot initialize the action more than once."),
        (502, "Missing main/no code to execute."),
        (502, "An error has occurred (see logs for details): java.lang.ClassNotFoundException: Hello"),
    ],
    run_errors: &[
        (502, "Cannot invoke an uninitialized action."),
        (
            502,
            "An error has occurred (see logs for details): java.lang.NullPointerException: The action returned null",
        ),
    ],
};

const ALL: [&Published; 4] = [&NODEJS, &ACTION_LOOP, &SKELETON, &JAVA];

impl Published {
    fn answer(&self, status: u16, body: &str) -> String {
        (self.head)(status, &format!("{body}{}", self.end))
    }

    fn error(&self, status: u16, text: &str) -> String {
        self.answer(status, &json!({ "error": text }).to_string())
    }

    async fn start(world: &World) -> Started {
        start_with(world, |_| {}, |runtime| runtime.writes_markers = true).await
    }

    /// Runs a call cold and answers it like this, with a log as runtimes write it.
    async fn run(&self, world: &World, answer: &str) -> (Finished, Started) {
        let started = Self::start(world).await;
        let reply = started.proxy.run(call(1, "{}"));
        started.next().await.raw(&(self.head)(200, self.initialised)).await;
        self.serve(&started, "one", answer).await;
        (done(reply).await, started)
    }

    async fn serve(&self, started: &Started, log: &str, answer: &str) {
        let run = started.next().await;
        // without an end of line the marker follows at once
        started.print(log).await;
        match self.marks_first {
            true => {
                started.mark().await;
                run.raw(answer).await;
            }
            false => {
                run.raw(answer).await;
                started.mark().await;
            }
        }
    }
}

#[tokio::test]
async fn a_result_is_taken_with_its_log_and_the_container_stays() {
    for published in ALL {
        let world = World::new().await;
        let (finished, started) = published.run(&world, &published.answer(200, r#"{"a": 1}"#)).await;
        assert_eq!((finished.status, finished.reusable), (Status::Success, true));
        assert_eq!(serde_json::from_slice::<Value>(&finished.result).unwrap(), json!({"a": 1}));
        assert_eq!(world.logs(1).await, ["stdout: one"]);
        let reply = started.proxy.run(call(2, "{}"));
        published.serve(&started, "two", &published.error(200, "mine")).await;
        let finished = done(reply).await;
        assert_eq!((finished.status, &*error_of(&finished)), (Status::ApplicationError, "mine"));
        assert_eq!(world.logs(2).await, ["stdout: two"]);
        assert!(!started.container.is_killed());
    }
}

#[tokio::test]
async fn the_errors_of_a_run_are_its_records_and_end_the_container() {
    for published in ALL {
        for (status, text) in published.run_errors {
            let world = World::new().await;
            let (finished, started) = published.run(&world, &published.error(*status, text)).await;
            assert_eq!((finished.status, &*error_of(&finished)), (Status::DeveloperError, *text));
            assert!(started.container.is_killed());
            let logs = world.logs(1).await;
            assert!(logs.iter().all(|line| !line.contains(MARKER.trim())), "{logs:?}");
        }
    }
}

#[tokio::test]
async fn the_errors_of_an_init_are_its_records_and_end_the_container() {
    for published in ALL {
        for (status, text) in published.init_errors {
            let world = World::new().await;
            let started = Published::start(&world).await;
            let reply = started.proxy.run(call(1, "{}"));
            let init = started.next().await;
            started.write(true, "why\n").await;
            started.mark().await;
            init.raw(&published.error(*status, text)).await;
            let finished = done(reply).await;
            assert_eq!((finished.status, &*error_of(&finished)), (Status::DeveloperError, *text));
            assert_eq!(world.logs(1).await.first().map(String::as_str), Some("stderr: why"));
            assert!(started.container.is_killed());
        }
    }
}

#[tokio::test]
async fn a_runtime_is_told_all_that_openwhisk_tells() {
    let world = World::new().await;
    let started = Published::start(&world).await;
    let reply = started.proxy.run(call(1, r#"{"name":"you"}"#));
    let init = started.next().await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&init.body), ["value"]);
    assert_eq!(keys(&init.body["value"]), ["binary", "code", "env", "main", "name"]);
    let env = &init.body["value"]["env"].clone();
    let told = [
        "__OW_ACTION_NAME",
        "__OW_ACTION_VERSION",
        "__OW_ACTIVATION_ID",
        "__OW_DEADLINE",
        "__OW_NAMESPACE",
        "__OW_TRANSACTION_ID",
    ];
    let told_at_init: Vec<String> = keys(env).into_iter().filter(|key| key.starts_with("__OW_")).collect();
    assert_eq!(told_at_init.iter().filter(|key| *key != "__OW_API_KEY").collect::<Vec<_>>(), told);
    assert_eq!(env["__OW_ACTION_VERSION"], "0.0.1");
    init.raw(&express(200, NODEJS.initialised)).await;
    let run = started.next().await;
    let told_at_run: Vec<String> = keys(&run.body).into_iter().filter(|key| key != "api_key").collect();
    assert_eq!(
        told_at_run,
        [
            "action_name",
            "action_version",
            "activation_id",
            "deadline",
            "namespace",
            "transaction_id",
            "value"
        ]
    );
    let deadline = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    assert!(deadline(&run.body["deadline"]) >= deadline(&env["__OW_DEADLINE"]));
    assert_eq!(run.body["action_version"], "0.0.1");
    started.mark().await;
    run.raw(&NODEJS.answer(200, "{}")).await;
    assert_eq!(done(reply).await.status, Status::Success);
}
