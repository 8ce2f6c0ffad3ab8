//! Conditions on calls from a query.

use sqlx::{QueryBuilder, Sqlite};
use triplane_core::asynchronous::{CallState, Final};

use super::convert::int;
use super::queue::code;
use crate::calls::{CallQuery, Scope};

/// Adds the conditions of a query behind those that are there.
pub(crate) fn conditions(sql: &mut QueryBuilder<Sqlite>, query: &CallQuery) {
    if let Scope::Namespace(namespace) = &query.scope {
        sql.push(" AND calls.namespace = ").push_bind(namespace.as_str().to_owned());
    }
    if let Some(state) = query.state {
        sql.push(" AND ").push(state_condition(state));
    }
    if let Some(target) = &query.target {
        sql.push(" AND calls.lane IN (SELECT lane FROM lanes WHERE target = ").push_bind(target.to_string());
        if let Scope::Namespace(namespace) = &query.scope {
            sql.push(" AND namespace = ").push_bind(namespace.as_str().to_owned());
        }
        sql.push(")");
    }
    if let Some(since_ms) = query.since_ms {
        sql.push(" AND accepted_ms >= ").push_bind(int(since_ms));
    }
    if let Some(upto_ms) = query.upto_ms {
        sql.push(" AND accepted_ms <= ").push_bind(int(upto_ms));
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
