//! Every language through the whole platform: the same cases, each with what its runtime says (openwhisk-api.md 11.6).

mod containers;
mod table;

use serde_json::{Value, json};
use triplane_testkit::json::{at, text};
use triplane_testkit::zip::base64_of_zip;

use crate::platform::{Guest, Platform};
use table::{BUN, DENO, GO, JAVA, Language, NATIVE, NODEJS, PHP, PYTHON, RUBY, SKELETON};

/// The variables that every call has (openwhisk-api.md 11.2, 11.3); a key only when its action asks for one.
const VARIABLES: [&str; 7] = [
    "__OW_ACTION_NAME",
    "__OW_ACTION_VERSION",
    "__OW_ACTIVATION_ID",
    "__OW_API_HOST",
    "__OW_DEADLINE",
    "__OW_NAMESPACE",
    "__OW_TRANSACTION_ID",
];

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
        let body = json!({"exec": self.exec(code), "limits": limits, "parameters": parameters});
        self.put(name, &body).await;
    }

    /// What is run, with the class where a language has no function alone.
    fn exec(&self, code: &str) -> Value {
        let mut exec = json!({"kind": self.language.kind, "code": code});
        if let Some(image) = self.language.image {
            exec["image"] = json!(image);
        }
        if let Some(main) = self.language.main {
            exec["main"] = json!(main);
        }
        exec
    }

    async fn put(&self, name: &str, body: &Value) {
        let path = format!("/api/v1/namespaces/_/actions/{name}?overwrite=true");
        let _ = self.guest().0.put(&path, body).await.expect(200);
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
            let record = self.guest().invoke("environment", json!({})).await.expect(200).json();
            let seen = at(&record, "response.result").as_object().unwrap();
            let names: Vec<&str> =
                seen.keys().map(String::as_str).filter(|name| *name != "GREETING").collect();
            assert_eq!(names, VARIABLES);
            assert_eq!((&seen["GREETING"], &seen["__OW_NAMESPACE"]), (&json!("hi"), &json!("guest")));
            assert_eq!(seen["__OW_ACTION_NAME"], "/guest/environment");
            assert_eq!(seen["__OW_ACTION_VERSION"], record["version"]);
            assert_eq!(seen["__OW_ACTIVATION_ID"], record["activationId"]);
            deadlines.push(seen["__OW_DEADLINE"].as_str().unwrap().parse::<u64>().unwrap());
        }
        assert!(deadlines[1] >= deadlines[0], "{deadlines:?}");
    }

    async fn runs_the_function_that_is_named(&self) {
        let Some((main, code)) = self.language.chosen else { return };
        let mut exec = self.exec(code);
        exec["main"] = json!(main);
        self.put("chosen", &json!({"exec": exec})).await;
        assert_eq!(self.guest().result("chosen", json!({})).await, json!({"chosen": true}));
    }

    async fn waits_for_what_is_asynchronous(&self) {
        let Some(code) = self.language.awaits else { return };
        self.plain("awaits", code).await;
        assert_eq!(self.guest().result("awaits", json!({})).await, json!({"awaited": true}));
    }

    async fn runs_archives(&self) {
        if self.language.archive.is_empty() {
            return;
        }
        let mut exec = self.exec(&base64_of_zip(self.language.archive));
        exec["binary"] = json!(true);
        self.put("archive", &json!({"exec": exec})).await;
        for _ in 0..2 {
            assert_eq!(self.guest().result("archive", json!({})).await, json!({"part": "whole"}));
        }
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
        self.runs_the_function_that_is_named().await;
        self.waits_for_what_is_asynchronous().await;
        self.runs_archives().await;
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
    for language in [&NODEJS, &PYTHON, &RUBY, &PHP, &JAVA, &DENO, &BUN, &NATIVE, &SKELETON, &GO] {
        println!("{}", language.kind);
        Stage { platform: &platform, language }.conforms().await;
    }
}
