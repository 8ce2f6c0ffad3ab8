//! Every language through the whole platform: the same cases, each with what its runtime says (openwhisk-api.md 11.6).

use serde_json::{Value, json};
use triplane_testkit::json::text;

use crate::platform::{Guest, Platform};

/// What an action of a language looks like for each case.
struct Language {
    kind: &'static str,
    /// The class, where a language has no function alone.
    main: Option<&'static str>,
    /// The image, where the kind is `blackbox`.
    image: Option<&'static str>,
    /// Answers its arguments.
    echo: &'static str,
    /// Answers `[1, "two", {"three": 3}]`.
    array: &'static str,
    /// Answers 42, and what the record says of that.
    scalar: (&'static str, &'static str),
    /// Fails with "broken", and what the record says.
    raises: (&'static str, &'static str),
    /// Cannot be loaded, and how the record begins.
    damaged: (&'static str, &'static str),
    /// Ends its process, and what the record says.
    exits: (&'static str, &'static str),
    /// Takes ten seconds.
    sleeps: &'static str,
    /// Writes `out` and `err` without an end of line.
    writes: &'static str,
    /// Answers the environment variables `__OW_ACTION_NAME` as `action`, `__OW_DEADLINE` as `deadline`, `GREETING` as
    /// `greeting`.
    environment: &'static str,
    /// Writes its `n`, waits 50 ms, writes it again; for languages whose calls overlap.
    overlaps: Option<&'static str>,
}

const EXITED: &str = "The action did not produce a valid response and exited unexpectedly.";
const NO_BINARY: &str = "The action failed to generate or locate a binary. See logs for details.";
const NO_DICTIONARY: &str = "The action did not return a dictionary or array.";

const NODEJS: Language = Language {
    kind: "nodejs:default",
    main: None,
    image: None,
    echo: "function main(args) { return args }",
    array: "function main() { return [1, 'two', {three: 3}] }",
    scalar: ("function main() { return 42 }", "The action did not return a dictionary."),
    raises: ("function main() { throw new Error('broken') }", "An error has occurred: Error: broken"),
    damaged: ("function main( {", "Initialization has failed due to: "),
    exits: ("function main() { process.exit(3) }", EXITED),
    sleeps: "function main() { return new Promise((done) => setTimeout(done, 10000)) }",
    writes: "function main() { process.stdout.write('out'); process.stderr.write('err'); return {} }",
    environment: "function main() { const e = process.env; return {action: e.__OW_ACTION_NAME, deadline: e.__OW_DEADLINE, \
                  greeting: e.GREETING} }",
    overlaps: Some(
        "function main({n}) { console.log('call', n); return new Promise((done) => setTimeout(() => { \
         console.log('call', n); done({n}) }, 50)) }",
    ),
};

const PYTHON: Language = Language {
    kind: "python:default",
    main: None,
    image: None,
    echo: "def main(args):\n    return args\n",
    array: "def main(args):\n    return [1, 'two', {'three': 3}]\n",
    scalar: ("def main(args):\n    return 42\n", NO_DICTIONARY),
    raises: ("def main(args):\n    raise ValueError('broken')\n", "broken"),
    damaged: ("def main(args:\n", "The action failed to generate or locate a binary. See logs for details."),
    exits: ("import os\ndef main(args):\n    os._exit(3)\n", EXITED),
    sleeps: "import time\ndef main(args):\n    time.sleep(10)\n    return {}\n",
    writes: "import sys\ndef main(args):\n    sys.stdout.write('out')\n    sys.stderr.write('err')\n    return {}\n",
    environment: "import os\ndef main(args):\n    e = os.environ\n    return {'action': e['__OW_ACTION_NAME'], \
                  'deadline': e['__OW_DEADLINE'], 'greeting': e.get('GREETING')}\n",
    overlaps: Some(
        "import time\ndef main(args):\n    print('call', args['n'])\n    time.sleep(0.05)\n    print('call', args['n'])\n    \
         return {'n': args['n']}\n",
    ),
};

const RUBY: Language = Language {
    kind: "ruby:default",
    main: None,
    image: None,
    echo: "def main(args)\n  args\nend\n",
    array: "def main(args)\n  [1, 'two', {three: 3}]\nend\n",
    scalar: ("def main(args)\n  42\nend\n", NO_DICTIONARY),
    raises: (
        "def main(args)\n  raise 'broken'\nend\n",
        "Invalid Action: An error occurred running the action",
    ),
    damaged: ("def main(args\n", "Invalid Ruby Code"),
    exits: ("def main(args)\n  exit!(3)\nend\n", EXITED),
    sleeps: "def main(args)\n  sleep 10\n  {}\nend\n",
    writes: "def main(args)\n  $stdout.write('out')\n  $stderr.write('err')\n  {}\nend\n",
    environment: "def main(args)\n  { action: ENV['__OW_ACTION_NAME'], deadline: ENV['__OW_DEADLINE'], \
                  greeting: ENV['GREETING'] }\nend\n",
    overlaps: None,
};

const PHP: Language = Language {
    kind: "php:default",
    main: None,
    image: None,
    echo: "<?php function main(array $args): array { return $args; }",
    array: "<?php function main(array $args): array { return [1, 'two', ['three' => 3]]; }",
    scalar: ("<?php function main(array $args) { return 42; }", NO_DICTIONARY),
    raises: (
        "<?php function main(array $args): array { throw new Exception('broken'); }",
        "An error occurred running the action.",
    ),
    damaged: ("<?php function main(", "Cannot start action. Check logs for details."),
    exits: ("<?php function main(array $args): array { exit(3); }", EXITED),
    sleeps: "<?php function main(array $args): array { sleep(10); return []; }",
    writes: "<?php function main(array $args): array { echo 'out'; fwrite(STDERR, 'err'); return []; }",
    environment: "<?php function main(array $args): array { return ['action' => getenv('__OW_ACTION_NAME'), \
                  'deadline' => getenv('__OW_DEADLINE'), 'greeting' => getenv('GREETING')]; }",
    overlaps: None,
};

const JAVA: Language = Language {
    kind: "java:default",
    main: Some("A"),
    image: None,
    echo: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
           return args; } }",
    array: "import java.util.*; public class A { public static List<Object> main(Map<String, Object> args) { \
            return List.of(1, \"two\", Map.of(\"three\", 3)); } }",
    scalar: (
        "public class A { public static String main(String args) { return \"42\"; } }",
        "The action did not produce a valid JSON or JSON Array response: 42",
    ),
    raises: (
        "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
         throw new IllegalStateException(\"broken\"); } }",
        "An error has occurred while invoking the action (see logs for details): java.lang.IllegalStateException: broken",
    ),
    damaged: ("public class A {", "The action failed to generate or locate a binary. See logs for details."),
    exits: (
        "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
            System.exit(3); return args; } }",
        EXITED,
    ),
    sleeps: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) \
             throws Exception { Thread.sleep(10000); return args; } }",
    writes: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
             System.out.print(\"out\"); System.err.print(\"err\"); return args; } }",
    environment: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
                  Map<String, Object> e = new HashMap<>(); e.put(\"action\", System.getenv(\"__OW_ACTION_NAME\")); \
                  e.put(\"deadline\", System.getenv(\"__OW_DEADLINE\")); \
                  e.put(\"greeting\", System.getenv(\"GREETING\")); return e; } }",
    overlaps: Some(
        "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) throws \
         Exception { System.out.println(\"call \" + args.get(\"n\")); Thread.sleep(50); \
         System.out.println(\"call \" + args.get(\"n\")); return args; } }",
    ),
};

/// Scripts that are started for each call.
const NATIVE: Language = Language {
    kind: "native:default",
    main: None,
    image: None,
    echo: "#!/bin/sh\ncat\n",
    array: "#!/bin/sh\necho '[1, \"two\", {\"three\": 3}]'\n",
    scalar: ("#!/bin/sh\necho 42\n", NO_DICTIONARY),
    raises: ("#!/bin/sh\necho '{\"error\": \"broken\"}'\n", "broken"),
    damaged: ("not a program", NO_BINARY),
    exits: ("#!/bin/sh\nexit 3\n", NO_DICTIONARY),
    sleeps: "#!/bin/sh\nsleep 10\necho '{}'\n",
    writes: "#!/bin/sh\necho out\nprintf err >&2\nprintf '{}'\n",
    environment: "#!/bin/sh\nprintf '{\"action\":\"%s\",\"deadline\":\"%s\",\"greeting\":\"%s\"}' \
                  \"$__OW_ACTION_NAME\" \"$__OW_DEADLINE\" \"$GREETING\"\n",
    overlaps: None,
};

/// What `wsk action create --native` sends.
const SKELETON: Language = Language { kind: "blackbox", image: Some("openwhisk/dockerskeleton"), ..NATIVE };

/// A program that reads calls and writes results, with `body` to make `result` of `args`.
macro_rules! action_loop {
    ($body:literal) => {
        concat!(
            "#!/usr/bin/python3\nimport json, os, sys, time\nout = os.fdopen(3, 'wb')\n",
            "out.write(b'{\"ok\":true}\\n')\nout.flush()\nfor line in sys.stdin:\n    call = json.loads(line)\n",
            "    args = call['value']\n    ",
            $body,
            "\n    out.write(json.dumps(result).encode() + b'\\n')\n    out.flush()\n"
        )
    };
}

/// Programs that are started once.
const GO: Language = Language {
    kind: "go:default",
    main: None,
    image: None,
    echo: action_loop!("result = args"),
    array: action_loop!("result = [1, 'two', {'three': 3}]"),
    scalar: (action_loop!("result = 42"), NO_DICTIONARY),
    raises: (action_loop!("result = {'error': 'broken'}"), "broken"),
    damaged: ("package main", NO_BINARY),
    exits: (action_loop!("sys.exit(3)"), "command exited"),
    sleeps: action_loop!("time.sleep(10); result = {}"),
    writes: action_loop!(
        "print('out', end='', flush=True); print('err', end='', file=sys.stderr, flush=True); result = {}"
    ),
    environment: action_loop!(
        "result = {'action': os.environ['__OW_ACTION_NAME'], 'deadline': call['deadline'], 'greeting': os.environ['GREETING']}"
    ),
    overlaps: None,
};

/// One language on a platform with all; `./dev test` installs every language, so one that is missing is a failure.
struct Stage<'a> {
    platform: &'a Platform,
    language: &'static Language,
}

impl Stage<'_> {
    fn guest(&self) -> Guest {
        self.platform.guest()
    }

    /// Creates an action with limits and parameters, named after its case.
    async fn create(&self, name: &str, code: &str, limits: Value, parameters: Value) {
        let mut exec = json!({"kind": self.language.kind, "code": code});
        if let Some(image) = self.language.image {
            exec["image"] = json!(image);
        }
        if let Some(main) = self.language.main {
            exec["main"] = json!(main);
        }
        let body = json!({"exec": exec, "limits": limits, "parameters": parameters});
        let path = format!("/api/v1/namespaces/_/actions/{name}?overwrite=true");
        let _ = self.guest().0.put(&path, &body).await.expect(200);
    }

    async fn plain(&self, name: &str, code: &str) {
        self.create(name, code, json!({}), json!([])).await;
    }

    /// The error in the record of a call that fails.
    async fn error(&self, name: &str) -> String {
        let record = self.guest().invoke(name, json!({})).await.expect(502).json();
        text(&record, "response.result.error").to_owned()
    }

    async fn passes_values_on(&self) {
        let guest = self.guest();
        self.plain("echo", self.language.echo).await;
        let value = json!({"text": "äö€ 😀 \" \\ \n", "n": 7, "none": null, "list": [1, [true]], "deep": {"a": {"b": "c"}}});
        assert_eq!(guest.result("echo", value.clone()).await, value, "cold");
        assert_eq!(guest.result("echo", value.clone()).await, value, "warm");
        let large = json!({"text": "x".repeat(900_000)});
        assert_eq!(guest.result("echo", large.clone()).await, large);
        self.plain("array", self.language.array).await;
        assert_eq!(guest.result("array", json!({})).await, json!([1, "two", {"three": 3}]));
    }

    async fn tells_what_went_wrong(&self) {
        let (code, said) = self.language.scalar;
        self.plain("scalar", code).await;
        assert_eq!(self.error("scalar").await, said);
        let (code, said) = self.language.raises;
        self.plain("raises", code).await;
        assert_eq!(self.error("raises").await, said);
        let (code, said) = self.language.damaged;
        self.plain("damaged", code).await;
        let error = self.error("damaged").await;
        assert!(error.starts_with(said), "{error}");
        let (code, said) = self.language.exits;
        self.plain("exits", code).await;
        assert_eq!(self.error("exits").await, said);
    }

    async fn is_ended_when_it_takes_too_long(&self) {
        // where init compiles, the limit is for that too
        let timeout_ms = if self.language.main.is_some() { 5000 } else { 1000 };
        self.create("sleeps", self.language.sleeps, json!({"timeout": timeout_ms}), json!([])).await;
        let said = self.error("sleeps").await;
        assert_eq!(said, format!("The action exceeded its time limits of {timeout_ms} milliseconds."));
    }

    async fn keeps_output_without_an_end_of_line(&self) {
        let guest = self.guest();
        self.plain("writes", self.language.writes).await;
        for _ in 0..2 {
            let record = guest.invoke("writes", json!({})).await.expect(200).json();
            let record = guest.record(record["activationId"].as_str().unwrap()).await;
            let mut lines: Vec<String> = lines(&record).iter().map(|line| line[31..].to_owned()).collect();
            lines.sort();
            assert_eq!(lines, ["stderr: err", "stdout: out"]);
        }
    }

    async fn sees_its_environment(&self) {
        let init = json!([{"key": "GREETING", "value": "hi", "init": true}]);
        self.create("environment", self.language.environment, json!({}), init).await;
        let mut deadlines = Vec::new();
        for _ in 0..2 {
            let seen = self.guest().result("environment", json!({})).await;
            assert_eq!((&seen["action"], &seen["greeting"]), (&json!("/guest/environment"), &json!("hi")));
            deadlines.push(seen["deadline"].as_str().unwrap().parse::<u64>().unwrap());
        }
        assert!(deadlines[1] >= deadlines[0], "{deadlines:?}");
    }

    async fn runs_calls_side_by_side_and_keeps_their_logs_apart(&self) {
        let Some(code) = self.language.overlaps else { return };
        let guest = self.guest();
        self.create("overlaps", code, json!({"concurrency": 10, "instances": 1}), json!([])).await;
        let _ = guest.result("overlaps", json!({"n": 0})).await;
        let calls = (1..=10).map(|n| {
            let guest = guest.clone();
            tokio::spawn(async move {
                let record = guest.invoke("overlaps", json!({"n": n})).await.expect(200).json();
                (n, record["activationId"].as_str().unwrap().to_owned())
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let (n, id) = call.await.unwrap();
            let record = self.guest().record(&id).await;
            let said: Vec<String> = lines(&record).iter().map(|line| line[31..].to_owned()).collect();
            assert_eq!(said, vec![format!("stdout: call {n}"); 2], "{record}");
        }
    }

    async fn conforms(&self) {
        self.passes_values_on().await;
        self.tells_what_went_wrong().await;
        self.keeps_output_without_an_end_of_line().await;
        self.sees_its_environment().await;
        self.runs_calls_side_by_side_and_keeps_their_logs_apart().await;
        self.is_ended_when_it_takes_too_long().await;
    }
}

fn lines(record: &Value) -> Vec<String> {
    record["logs"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_language_conforms() {
    let platform = Platform::with_all_languages().await;
    for language in [&NODEJS, &PYTHON, &RUBY, &PHP, &JAVA, &NATIVE, &SKELETON, &GO] {
        println!("{}", language.kind);
        Stage { platform: &platform, language }.conforms().await;
    }
}
