//! Stem cells: runtimes that wait without an action, and what an action that gets one finds.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use triplane_control::driver::Driver;
use triplane_core::collector::Stems;
use triplane_core::egress::Egress;
use triplane_node::{NetworkOptions, Networks};

use crate::actions::{Container, GREEDY, TestNode, archive};
use crate::lifetimes::until;

/// Says when its process began, and what it finds.
const LOOK: &str = "const fs = require('fs'), os = require('os');
    const write = path => { try { fs.writeFileSync(path, 'x'); return 'written'; } catch (error) { return error.code; } };
    function main() { return { born: performance.timeOrigin, pid: process.pid, user: os.userInfo().username,
        code: fs.readdirSync('/action'), tmp: write('/tmp/x'), action: write('/action/x'), root: write('/x') }; }";

fn cells(count: u32) -> Vec<Stems> {
    Vec::from_iter((count > 0).then(|| Stems { kind: "nodejs:20".into(), memory_mb: 128, count }))
}

impl TestNode {
    /// A node on which so many stem cells of 128 MB wait.
    async fn with_stems(count: u32, change: impl FnOnce(&mut triplane_node::NodeOptions)) -> Self {
        let node = Self::with(change).await;
        node.node.stems(&cells(count));
        node.until_stock(count).await;
        node
    }

    async fn until_stock(&self, count: u32) {
        until(|| self.node.stock() == cells(count), "the stock is another").await;
    }

    async fn look(&self, container: &Container) -> Value {
        serde_json::from_str(&self.result(container, "{}").await).unwrap()
    }

    /// Starts a container of so much memory; says whether its process was there before.
    async fn was_there(&mut self, memory_mb: u64) -> bool {
        let asked_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
        let spec = self.spec(LOOK, |action| action.limits.memory_mb = memory_mb);
        let container = self.launch(spec).await.unwrap();
        self.look(&container).await["born"].as_f64().unwrap() < asked_ms
    }
}

#[tokio::test]
async fn a_start_takes_one_of_its_kind_and_memory_and_another_is_started_in_its_place() {
    let mut node = TestNode::with_stems(1, |_| ()).await;
    assert!(node.was_there(128).await);
    node.until_stock(1).await;
    assert!(node.was_there(128).await);
    node.until_stock(1).await;
    assert!(!node.was_there(256).await, "it is of another memory");
    assert_eq!(node.node.stock(), cells(1));
}

#[tokio::test]
async fn an_action_finds_the_same_in_it_as_in_a_sandbox_of_its_own() {
    let mut node = TestNode::with_stems(1, |_| ()).await;
    let stem = node.container(LOOK).await;
    node.node.stems(&[]);
    let own = node.container(LOOK).await;
    let (mut in_stem, mut in_own) = (node.look(&stem).await, node.look(&own).await);
    assert!(in_stem["born"].as_f64() < in_own["born"].as_f64());
    for found in [&mut in_stem, &mut in_own] {
        let _ = found["born"].take();
    }
    assert_eq!(in_stem, in_own);
    let word = |name: &str| in_stem[name].as_str().unwrap().to_owned();
    assert_eq!([word("tmp"), word("user")], ["written", "sandbox"]);
    assert!(["EROFS", "EACCES"].contains(&&*word("action")), "{in_stem}");
}

#[tokio::test]
async fn an_archive_runs_in_it() {
    let mut node = TestNode::with_stems(1, |_| ()).await;
    let code = archive(&[
        ("package.json", r#"{"main":"start.js"}"#),
        ("start.js", "const add = require('add'); exports.main = args => ({ sum: add(args.a, args.b) });"),
        ("node_modules/add/index.js", "module.exports = (a, b) => a + b;"),
    ]);
    let spec = node.spec(&code, |action| action.exec.binary = true);
    let sum = node.launch(spec).await.unwrap();
    assert_eq!(node.result(&sum, r#"{"a":1,"b":2}"#).await, r#"{"sum":3}"#);
}

#[tokio::test]
async fn it_is_held_to_its_memory() {
    let mut node = TestNode::with_stems(1, |_| ()).await;
    node.ends_for_its_memory(GREEDY).await;
}

#[tokio::test]
async fn none_are_left_when_none_are_wanted() {
    let node = TestNode::with_stems(3, |_| ()).await;
    node.node.stems(&cells(1));
    node.until_stock(1).await;
    node.node.stems(&[]);
    assert_eq!(node.node.stock(), []);
    node.node.stems(&[Stems { kind: "cobol:1".into(), memory_mb: 128, count: 1 }]);
    node.node.stems(&cells(1));
    node.until_stock(1).await;
}

#[tokio::test]
async fn it_does_not_take_the_place_of_a_container() {
    let only = |options: &mut triplane_node::NodeOptions| (options.sandboxes_max, options.prebuilt) = (1, 0);
    let mut node = TestNode::with_stems(1, only).await;
    assert!(!node.was_there(256).await);
    assert_eq!(node.node.stock(), []);
}

#[tokio::test]
async fn a_namespace_that_may_reach_something_else_gets_none() {
    let mut network = NetworkOptions::new(([127, 0, 0, 1], 1).into());
    (network.isolate, network.namespaces) = (false, [("guest".to_owned(), Egress::None)].into());
    let networks = std::sync::Arc::new(Networks::start(network).await);
    let mut node = TestNode::with_stems(1, |options| options.networks = networks).await;
    assert!(!node.was_there(128).await);
    assert_eq!(node.node.stock(), cells(1));
}
