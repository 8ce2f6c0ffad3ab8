//! No statement of the queue looks at calls that it does not want, however many wait.

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use triplane_core::asynchronous::{CallState, Destination, Final};
use triplane_model::EntityName;

use super::statements::Statements;
use super::{accept, first, held, lease, operate, sweep};
use crate::calls::{CallQuery, Scope};
use crate::sqlite::file::{File, QUEUE};
use crate::sqlite::options::Options;
use crate::sqlite::rows::Rows;
use crate::sqlite::views;

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn queue() -> (Dir, SqliteConnection) {
    let thread = format!("{:?}", std::thread::current().id());
    let path = std::env::temp_dir().join(format!("triplane-plans-{}-{thread}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    let file = File::new(QUEUE, &path, &Options::default());
    (Dir(path), file.open().await.unwrap())
}

/// The steps of a statement's plan.
async fn plan(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    let rows: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(explain)).fetch_all(connection).await.unwrap();
    rows.into_iter().map(|(.., step)| step).collect()
}

/// Whether a step looks at a whole table, or at all of an index that is not a small partial one.
fn is_whole(step: &str) -> bool {
    let small = ["calls_held", "calls_due", "calls_behind"];
    let of_small = small.iter().any(|index| step.ends_with(index));
    ["SCAN calls", "SCAN fresh", "SCAN payloads", "SCAN keys", "USE TEMP B-TREE"]
        .iter()
        .any(|bad| step.starts_with(bad))
        && !of_small
}

#[tokio::test]
async fn no_hot_statement_scans_a_table_or_sorts() {
    let (_dir, mut connection) = queue().await;
    let many = Statements::default();
    let rows = [
        &many.promote,
        &many.lease,
        &many.lease_fresh,
        &many.settle_fresh,
        &many.remove_fresh,
        &many.run,
        &many.renew,
        &many.remove,
        &many.remove_payload,
        &many.which,
        &many.which_fresh,
        &many.known,
        &many.known_fresh,
    ];
    let text = |rows: &Rows| rows.statements(&[(); 64]).next().unwrap().0.to_string();
    let single = [
        lease::DUE,
        lease::NEXT_DUE,
        first::FIRST,
        first::FIRST_FRESH,
        held::NEXT_OF_PARTITION,
        accept::IS_TAKEN,
        accept::KEY,
        operate::BY_ID,
        operate::FRESH_BY_ID,
        sweep::OLDEST_KEYS,
    ];
    let hot = rows.into_iter().map(text).chain(single.map(str::to_owned));
    for sql in hot {
        let steps = plan(&mut connection, &sql).await;
        assert!(!steps.is_empty() && !steps.iter().any(|step| is_whole(step)), "{sql}\n{steps:#?}");
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_list_of_a_namespace_or_of_what_is_held_looks_at_no_others() {
    let (_dir, mut connection) = queue().await;
    let guest = EntityName::namespace("guest").unwrap();
    let all = CallQuery { scope: Scope::All, state: None, target: None, since_ms: None, upto_ms: None };
    let of_guest = CallQuery { scope: Scope::Namespace(guest), ..all.clone() };
    let state = |query: &CallQuery, state| CallQuery { state: Some(state), ..query.clone() };
    let target = Destination::parse("/guest/hello");
    for (query, index) in [
        (of_guest.clone(), "calls_ready (lane=? AND priority=? AND rowid<?)"),
        (of_guest.clone(), "fresh_by_lane (lane=? AND rowid<?)"),
        (of_guest.clone(), "calls_later (namespace=? AND state=?)"),
        (
            CallQuery { since_ms: Some(1), ..of_guest.clone() },
            "calls_ready (lane=? AND priority=? AND rowid<?)",
        ),
        (CallQuery { target, ..of_guest.clone() }, "calls_ready (lane=? AND priority=? AND rowid<?)"),
        (state(&of_guest, CallState::Accepted), "calls_later (namespace=? AND state=?)"),
        (state(&of_guest, CallState::Final(Final::Dead)), "calls_over (namespace=?)"),
        (state(&of_guest, CallState::Retry), "calls_retried (namespace=?"),
        (state(&all, CallState::Running), "calls_held"),
        (state(&all, CallState::Final(Final::Dead)), "calls_over"),
    ] {
        let sql = views::listing(&query, 0, 30).into_string();
        let steps = plan(&mut connection, &sql).await;
        assert!(steps.iter().any(|step| step.contains(index)), "{index}\n{sql}\n{steps:#?}");
        let is_bounded = |step: &String| {
            !step.starts_with("SCAN calls") || step.ends_with("calls_held") || query.scope == Scope::All
        };
        assert!(steps.iter().all(is_bounded), "{sql}\n{steps:#?}");
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn counting_reads_indexes_only() {
    let (_dir, mut connection) = queue().await;
    for is_of_namespace in [false, true] {
        let steps = plan(&mut connection, &views::counting(is_of_namespace)).await;
        // Those that are held are few.
        let reads =
            |step: &str| !step.contains("USING COVERING INDEX") && !step.contains("USING INDEX calls_held");
        let looks = |step: &&String| step.contains(" calls ") && reads(step);
        let looks: Vec<_> = steps.iter().filter(looks).collect();
        // The accept of the oldest.
        assert!(matches!(looks[..], [one] if one.contains("USING INTEGER PRIMARY KEY")), "{steps:#?}");
    }
    connection.close().await.unwrap();
}
