//! Conditions on calls from a query.

use sqlx::{QueryBuilder, Sqlite};
use triplane_core::asynchronous::{CallState, Final};

use super::convert::int;
use super::queue::code;
use crate::calls::{CallQuery, Scope};

/// Adds the conditions of a query behind those that are there.
pub(crate) fn conditions(sql: &mut QueryBuilder<Sqlite>, query: &CallQuery) {
    whose(sql, query);
    if let Some(state) = query.state {
        sql.push(" AND ").push(state_condition(state));
    }
    when(sql, "calls", query);
}

/// Adds the conditions on namespace and target.
pub(crate) fn whose(sql: &mut QueryBuilder<Sqlite>, query: &CallQuery) {
    if let Scope::Namespace(namespace) = &query.scope {
        sql.push(" AND calls.namespace = ").push_bind(namespace.as_str().to_owned());
    }
    if let Some(target) = &query.target {
        sql.push(" AND calls.lane IN (SELECT lane FROM lanes WHERE target = ").push_bind(target.to_string());
        if let Scope::Namespace(namespace) = &query.scope {
            sql.push(" AND namespace = ").push_bind(namespace.as_str().to_owned());
        }
        sql.push(")");
    }
}

/// Adds the conditions on the time of the accept.
pub(crate) fn when(sql: &mut QueryBuilder<Sqlite>, table: &str, query: &CallQuery) {
    for (than, bound_ms) in [(">=", query.since_ms), ("<=", query.upto_ms)] {
        if let Some(bound_ms) = bound_ms {
            sql.push(format_args!(" AND {table}.accepted_ms {than} ")).push_bind(int(bound_ms));
        }
    }
}

/// In the words of the partial indexes.
fn state_condition(state: CallState) -> &'static str {
    match state {
        CallState::Accepted => "state IN (0, 3, 4) AND attempts = 0",
        CallState::Retry => "attempts > 0 AND state IN (0, 3, 4)",
        CallState::Leased => "state IN (1, 2) AND state = 1",
        CallState::Running => "state IN (1, 2) AND state = 2",
        CallState::Final(Final::Dead) => "state >= 5 AND state = 5",
        CallState::Final(Final::Done) => "state >= 5 AND state = 6",
        CallState::Final(Final::Cancelled) => "state >= 5 AND state = 7",
        CallState::Final(Final::Expired) => "state >= 5 AND state = 8",
    }
}

const _: () = assert!(code::DEAD == 5 && code::EXPIRED == 8, "as in the conditions");
