//! kill -9 of the server under a load of calls that are not waited for, again and again; at the end a ledger over all of them: what was
//! accepted has one record each, and no call ran more often than its policy allows: once, unless its action says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use triplane_testkit::client::WHISK_SYSTEM;
use triplane_testkit::json::{at, keyed, number, text};
use triplane_testkit::wait_for;

use crate::platform::{Guest, Platform};

/// How long everything may take to end after the last kill.
const END_MAX: Duration = Duration::from_secs(120);
/// How long a listing of everything may take: so much earlier it is said what is missing.
const LISTING_MAX: Duration = Duration::from_secs(10);
/// Clients of each namespace.
const CLIENTS: u64 = 8;
/// Calls that a client makes in a round at most, so that a fast machine has no more to finish than a slow one.
const CALLS_MAX: u64 = 60;
/// The most records of one listing.
const PAGE: usize = 200;

/// The actions, by how often a call of each may be sent.
const ATTEMPTS_MAX: [u64; 3] = [1, 1, 3];

/// Says that a call began, and ends when that was heard.
const BEGINS: &str = "const net = require('net')
function main({ port, call }) {
    return new Promise((resolve, reject) => {
        const socket = net.connect(port, '127.0.0.1', () => socket.write(call + '\\n'))
        socket.on('error', reject)
        socket.on('data', () => { socket.end(); resolve({ call }) })
    })
}";

/// Counts how often each call began. Outside of the server, so that no kill takes it back.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Begun {
    async fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let begun = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(begun.clone().hear(stream));
            }
        });
        port
    }

    async fn hear(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        // Who is killed before its line is whole has not said anything.
        if stream.read_line(&mut line).await.is_ok()
            && let Some(call) = line.strip_suffix('\n').and_then(|call| call.parse().ok())
        {
            *self.0.lock().unwrap().entry(call).or_default() += 1;
            let _ = stream.write_all(b"heard\n").await;
        }
    }

    fn times(&self, call: u64) -> u32 {
        self.0.lock().unwrap().get(&call).copied().unwrap_or_default()
    }
}

/// What the clients know.
#[derive(Default)]
struct Ledger {
    /// Calls that were made; some got no answer. A call's number says which action it is of.
    sent: AtomicU64,
    /// Ids that were answered by 202, and the calls that they are of.
    accepted: Mutex<BTreeMap<String, u64>>,
}

/// The action that a call is of.
fn action_of(call: u64) -> usize {
    usize::try_from(call).unwrap() % ATTEMPTS_MAX.len()
}

/// One client calls the actions until the server is gone.
async fn call_until_killed(guest: Guest, port: u16, ledger: Arc<Ledger>) {
    for _ in 0..CALLS_MAX {
        let call = ledger.sent.fetch_add(1, Ordering::Relaxed);
        let path = format!("/api/v1/namespaces/_/actions/begins-{}", action_of(call));
        let body = json!({ "port": port, "call": call });
        match guest.0.try_request(Method::POST, &path, Some(&body)).await {
            Ok(answer) if answer.status == 202 => {
                let id = text(&answer.json(), "activationId").to_owned();
                assert_eq!(ledger.accepted.lock().unwrap().insert(id, call), None, "an id was given twice");
            }
            // Beyond the rate of the namespace, or not stored before the end: nobody was promised anything.
            Ok(answer) => assert!([429, 503].contains(&answer.status.as_u16()), "{}", answer.describe()),
            Err(_) => return,
        }
    }
}

/// A guest, and a subject with OpenWhisk's limits.
fn callers(platform: &Platform) -> [Guest; 2] {
    let guest = platform.guest();
    let system = Guest(guest.0.with_credential(Some(WHISK_SYSTEM)));
    [guest, system]
}

async fn create(caller: &Guest, action: usize, attempts: u64) {
    let body = json!({
        "exec": {"kind": "nodejs:default", "code": BEGINS},
        "limits": {"memory": 128},
        "annotations": [{"key": "async-attempts", "value": attempts}, {"key": "async-backoff", "value": 100}],
    });
    let _ = caller.0.put(&format!("/api/v1/namespaces/_/actions/begins-{action}"), &body).await.expect(200);
}

/// Kills the server at a moment that is another one in every round and in every run.
async fn kill_under_load(
    platform: Platform,
    round: u64,
    seed: u64,
    port: u16,
    ledger: &Arc<Ledger>,
) -> Platform {
    let mut platform = platform;
    let mut clients = JoinSet::new();
    for caller in callers(&platform) {
        for _ in 0..CLIENTS {
            clients.spawn(call_until_killed(caller.clone(), port, Arc::clone(ledger)));
        }
    }
    let moment_ms =
        100 + (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round * 7_919) >> 7) % 900;
    tokio::time::sleep(Duration::from_millis(moment_ms)).await;
    platform.server.process.kill();
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    platform.kill_and_restart().await
}

/// How many records a namespace has.
async fn count(caller: &Guest) -> usize {
    let count = caller.0.get("/api/v1/namespaces/_/activations?count=true").await.expect(200).json();
    usize::try_from(count["activations"].as_u64().unwrap()).unwrap()
}

/// The records of a namespace, by id. While more are written, a page may repeat some of the one before.
async fn records(caller: &Guest) -> BTreeMap<String, Value> {
    let mut records = BTreeMap::new();
    for skip in (0..).step_by(PAGE) {
        let path = format!("/api/v1/namespaces/_/activations?docs=true&limit={PAGE}&skip={skip}");
        let page = caller.0.get(&path).await.expect(200).json();
        let Value::Array(page) = page else { panic!("{page}") };
        let is_last = page.len() < PAGE;
        records.extend(page.into_iter().map(|record| (text(&record, "activationId").to_owned(), record)));
        if is_last {
            break;
        }
    }
    records
}

/// Waits until every accepted call has its record, and no id has two; answers all records.
async fn all_ended(platform: &Platform, ledger: &Ledger) -> BTreeMap<String, Value> {
    let accepted: BTreeSet<String> = ledger.accepted.lock().unwrap().keys().cloned().collect();
    let count_all = async || {
        let [guest, system] = callers(platform);
        count(&guest).await + count(&system).await
    };
    let end = Instant::now() + END_MAX;
    wait_for(END_MAX, "no id has two records", async || {
        let counted = count_all().await;
        let is_late = end < Instant::now() + LISTING_MAX;
        if counted < accepted.len() && !is_late {
            return None;
        }
        let mut all = BTreeMap::new();
        for caller in callers(platform) {
            all.append(&mut records(&caller).await);
        }
        let missing: Vec<_> = accepted.iter().filter(|id| !all.contains_key(*id)).collect();
        assert!(
            missing.is_empty() || !is_late,
            "{} of {} accepted calls have no record: {missing:?}",
            missing.len(),
            accepted.len()
        );
        (missing.is_empty() && all.len() == count_all().await).then_some(all)
    })
    .await
}

/// The ledger, added up.
#[derive(Debug, Default)]
struct Sums {
    accepted: usize,
    done: usize,
    repeated: usize,
    lost: Vec<String>,
    lost_and_begun: usize,
    unanswered_and_begun: usize,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted = {} done ({} after an attempt that was lost) + {} lost at a kill ({} of them had begun); beside them {} \
             began that got no answer",
            self.accepted,
            self.done,
            self.repeated,
            self.lost.len(),
            self.lost_and_begun,
            self.unanswered_and_begun
        )
    }
}

fn add_up(ledger: &Ledger, begun: &Begun, records: &BTreeMap<String, Value>) -> Sums {
    let accepted = ledger.accepted.lock().unwrap();
    let mut sums = Sums { accepted: accepted.len(), ..Sums::default() };
    for (id, &call) in &*accepted {
        let (record, times) = (&records[id], begun.times(call));
        check_attempts(record, times, records);
        match text(record, "response.status") {
            "success" => {
                assert!(times > 0, "a success of a call that never began: {record}");
                sums.done += 1;
                sums.repeated += usize::from(times > 1);
            }
            "whisk internal error" => {
                sums.lost.push(id.clone());
                sums.lost_and_begun += usize::from(times > 0);
            }
            status => panic!("{status}: {record}"),
        }
    }
    let answered: BTreeSet<u64> = accepted.values().copied().collect();
    for call in 0..ledger.sent.load(Ordering::Relaxed) {
        let (times, most) = (begun.times(call), ATTEMPTS_MAX[action_of(call)]);
        assert!(u64::from(times) <= most, "call {call} began {times} times, its policy allows {most}");
        sums.unanswered_and_begun += usize::from(times > 0 && !answered.contains(&call));
    }
    sums
}

/// A call began no more often than its record says, and an attempt is followed by another only where it was lost.
fn check_attempts(record: &Value, times: u32, records: &BTreeMap<String, Value>) {
    let attempts = keyed(&record["annotations"], "attempts").and_then(Value::as_u64).unwrap_or(1);
    assert!(u64::from(times) <= attempts, "it began {times} times: {record}");
    if attempts > 1 {
        let ids: Vec<_> = record["logs"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(ids.len() as u64, attempts, "{record}");
        for lost in &ids[..ids.len() - 1] {
            assert_eq!(text(&records[*lost], "response.status"), "whisk internal error", "{record}");
        }
    }
}

/// The states say the same as the records: nothing waits, the counts add up, and what was lost is a dead letter.
async fn check_states(platform: &Platform, sums: &Sums) {
    // Calls that got no answer may end a moment later.
    wait_for(END_MAX, "nothing waits", async || {
        let summary = platform.summary();
        assert_eq!(at(&summary, "drift"), 0, "{summary}");
        let waits = ["accepted", "leased", "running", "retry"].map(|state| number(&summary["states"], state));
        (waits == [0; 4]).then_some(())
    })
    .await;
    for id in &sums.lost {
        let [guest, system] = callers(platform);
        let [of_guest, of_system] = [guest.call(id).await, system.call(id).await];
        let call = if of_guest.status == 200 { of_guest } else { of_system };
        assert_eq!(text(&call.expect(200).json(), "state"), "dead");
    }
}

#[tokio::test]
async fn every_accepted_call_ends_once_and_none_runs_twice_whenever_the_server_is_killed() {
    let rounds = if std::env::var_os("TRIPLANE_SOAK").is_some() { 200 } else { 20 };
    let (begun, ledger) = (Begun::default(), Arc::new(Ledger::default()));
    let port = begun.listen().await;
    let mut platform = Platform::with_environment(&[("TRIPLANE__NETWORK__ISOLATE", "false")]).await;
    for caller in callers(&platform) {
        for (action, attempts) in ATTEMPTS_MAX.into_iter().enumerate() {
            create(&caller, action, attempts).await;
        }
    }
    let seed = u64::from(std::process::id());
    for round in 0..rounds {
        platform = kill_under_load(platform, round, seed, port, &ledger).await;
    }

    let records = all_ended(&platform, &ledger).await;

    let sums = add_up(&ledger, &begun, &records);
    println!("{rounds} kills: {sums}");
    assert!(sums.accepted > usize::try_from(rounds).unwrap(), "there was no load");
    assert_eq!(sums.accepted, sums.done + sums.lost.len());
    // A kill loses what runs at that moment, and the pool runs a few calls at once; the queue loses nothing.
    assert!(sums.lost.len() <= sums.accepted / 2, "more was lost than ran");
    check_states(&platform, &sums).await;
}
