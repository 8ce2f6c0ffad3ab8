//! The statements over many rows.

use crate::sqlite::rows::{Bracketed, Rows};

const ACCEPT: &str = "INSERT OR FAIL INTO calls (place, id, lane, namespace, state, priority, leases, attempts, cancel, accepted_ms, due_ms, \
     hops, places, bytes, partition, policy, cause, redrive_of, transaction_id, traceparent, payload) VALUES";
const ACCEPT_ROW: &str = "(?,?,?,?,?,?,0,0,0,?,?,?,?,?,?,?,?,?,?,?,?)";
const ACCEPT_FRESH: &str =
    "INSERT OR FAIL INTO fresh (place, id, lane, accepted_ms, transaction_id, payload) VALUES";
const ACCEPT_FRESH_ROW: &str = "(?,?,?,?,?,?)";
/// A row in the place behind the last one: SQLite appends it without a look for its place.
const APPEND_FRESH: &str =
    "INSERT OR FAIL INTO fresh (id, lane, accepted_ms, transaction_id, payload) VALUES";
const APPEND_FRESH_ROW: &str = "(?,?,?,?,?)";
const UNLESS_THERE: &str = "ON CONFLICT (id) DO NOTHING";
const PAYLOAD: &str = "INSERT INTO payloads (place, payload) VALUES";
const PAYLOAD_ROW: &str = "(?,?)";

/// A statement that copies fresh calls to the others, with state, priority, leases, owner and end of the lease. What fresh calls have alike
/// is here. An id that is there already stays what it is, so that no mistake of a caller keeps others from being moved.
fn moving(state: &str) -> String {
    format!(
        "INSERT OR IGNORE INTO calls (place, id, lane, namespace, accepted_ms, transaction_id, payload, bytes, attempts, cancel, due_ms, hops, places,
                            state, priority, leases, owner, lease_until_ms)
         SELECT place, id, fresh.lane, lanes.namespace, accepted_ms, transaction_id, payload, LENGTH(payload), 0, 0, 0, 0, 1, {state}
         FROM fresh JOIN lanes ON lanes.lane = fresh.lane WHERE place IN (VALUES"
    )
}

/// The statements over many rows, for several numbers of them.
#[derive(Debug)]
pub(super) struct Statements {
    /// A row that breaks a rule voids the transaction, so that no statement has to be able to undo itself: that would keep a copy of
    /// each page.
    pub(super) accept: Rows,
    /// The same for calls that have nothing special.
    pub(super) accept_fresh: Rows,
    pub(super) accept_payload: Rows,
    /// The same, to be all of a transaction. An id that is there already voids it.
    pub(super) accept_at_once: Bracketed,
    pub(super) accept_fresh_at_once: Bracketed,
    /// The same for calls whose places follow each other.
    pub(super) append_fresh_at_once: Bracketed,
    pub(super) accept_payload_at_once: Bracketed,
    pub(super) which: Rows,
    pub(super) which_fresh: Rows,
    /// Which ids there are among calls that are not fresh, and among those that are.
    pub(super) known: Rows,
    pub(super) known_fresh: Rows,
    pub(super) promote: Rows,
    pub(super) lease: Rows,
    /// Moves fresh calls to the others, leased or as they are.
    pub(super) lease_fresh: Rows,
    pub(super) settle_fresh: Rows,
    pub(super) remove_fresh: Rows,
    pub(super) run: Rows,
    pub(super) renew: Rows,
    pub(super) remove: Rows,
    pub(super) remove_payload: Rows,
}

impl Default for Statements {
    fn default() -> Self {
        Self {
            accept: Rows::new(ACCEPT, ACCEPT_ROW, UNLESS_THERE),
            accept_fresh: Rows::new(ACCEPT_FRESH, ACCEPT_FRESH_ROW, UNLESS_THERE),
            accept_payload: Rows::new(PAYLOAD, PAYLOAD_ROW, ""),
            accept_at_once: Bracketed::new(ACCEPT, ACCEPT_ROW),
            accept_fresh_at_once: Bracketed::new(ACCEPT_FRESH, ACCEPT_FRESH_ROW),
            append_fresh_at_once: Bracketed::following(
                ACCEPT_FRESH,
                ACCEPT_FRESH_ROW,
                (APPEND_FRESH, APPEND_FRESH_ROW),
            ),
            accept_payload_at_once: Bracketed::new(PAYLOAD, PAYLOAD_ROW),
            which: Rows::new("SELECT place FROM calls WHERE place IN (VALUES", "(?)", ")"),
            which_fresh: Rows::new("SELECT place FROM fresh WHERE place IN (VALUES", "(?)", ")"),
            known: Rows::new("SELECT id FROM calls WHERE id IN (VALUES", "(?)", ")"),
            known_fresh: Rows::new("SELECT id FROM fresh WHERE id IN (VALUES", "(?)", ")"),
            promote: Rows::new("UPDATE calls SET state = 0 WHERE state = 3 AND place IN (VALUES", "(?)", ")"),
            lease: Rows::new(
                "UPDATE calls SET state = 1, owner = ?, lease_until_ms = ?, leases = leases + 1
                 WHERE state = 0 AND place IN (VALUES",
                "(?)",
                ")",
            ),
            lease_fresh: Rows::new(&moving("1, 4, 1, ?, ?"), "(?)", ")"),
            settle_fresh: Rows::new(&moving("0, 4, 0, NULL, NULL"), "(?)", ")"),
            remove_fresh: Rows::new("DELETE FROM fresh WHERE place IN (VALUES", "(?)", ")"),
            run: Rows::new(
                "UPDATE calls SET state = 2, attempts = attempts + 1 WHERE state = 1 AND place IN (VALUES",
                "(?)",
                ")",
            ),
            renew: Rows::new(
                "UPDATE calls SET lease_until_ms = ? WHERE state IN (1, 2) AND place IN (VALUES",
                "(?)",
                ")",
            ),
            remove: Rows::new("DELETE FROM calls WHERE place IN (VALUES", "(?)", ")"),
            remove_payload: Rows::new("DELETE FROM payloads WHERE place IN (VALUES", "(?)", ")"),
        }
    }
}
