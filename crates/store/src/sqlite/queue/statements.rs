//! The statements over many rows.

use crate::sqlite::rows::{Bracketed, Rows};

const ACCEPT: &str = "INSERT OR FAIL INTO calls (place, id, lane, namespace, state, priority, leases, attempts, cancel, accepted_ms, due_ms, \
     hops, places, bytes, partition, policy, cause, redrive_of, transaction_id, traceparent, payload) VALUES";
const ACCEPT_ROW: &str = "(?,?,?,?,?,?,0,0,0,?,?,?,?,?,?,?,?,?,?,?,?)";
const ACCEPT_PLAIN: &str = "INSERT OR FAIL INTO calls (place, id, lane, namespace, state, priority, leases, attempts, cancel, accepted_ms, due_ms, \
     hops, places, bytes, transaction_id, payload) VALUES";
const ACCEPT_PLAIN_ROW: &str = "(?,?,?,?,0,4,0,0,0,?,0,0,1,?,?,?)";
const UNLESS_THERE: &str = "ON CONFLICT (id) DO NOTHING";
const PAYLOAD: &str = "INSERT INTO payloads (place, payload) VALUES";
const PAYLOAD_ROW: &str = "(?,?)";

/// The statements over many rows, for several numbers of them.
#[derive(Debug)]
pub(super) struct Statements {
    /// A row that breaks a rule voids the transaction, so that no statement has to be able to undo itself: that would keep a copy of
    /// each page.
    pub(super) accept: Rows,
    /// The same for calls that have nothing special. What they have alike is in the text, and costs no parameter.
    pub(super) accept_plain: Rows,
    pub(super) accept_payload: Rows,
    /// The same, to be all of a transaction. An id that is there already voids it.
    pub(super) accept_at_once: Bracketed,
    pub(super) accept_plain_at_once: Bracketed,
    pub(super) accept_payload_at_once: Bracketed,
    pub(super) which: Rows,
    pub(super) promote: Rows,
    pub(super) lease: Rows,
    pub(super) run: Rows,
    pub(super) renew: Rows,
    pub(super) remove: Rows,
    pub(super) remove_payload: Rows,
}

impl Default for Statements {
    fn default() -> Self {
        Self {
            accept: Rows::new(ACCEPT, ACCEPT_ROW, UNLESS_THERE),
            accept_plain: Rows::new(ACCEPT_PLAIN, ACCEPT_PLAIN_ROW, UNLESS_THERE),
            accept_payload: Rows::new(PAYLOAD, PAYLOAD_ROW, ""),
            accept_at_once: Bracketed::new(ACCEPT, ACCEPT_ROW),
            accept_plain_at_once: Bracketed::new(ACCEPT_PLAIN, ACCEPT_PLAIN_ROW),
            accept_payload_at_once: Bracketed::new(PAYLOAD, PAYLOAD_ROW),
            which: Rows::new("SELECT place FROM calls WHERE place IN (VALUES", "(?)", ")"),
            promote: Rows::new("UPDATE calls SET state = 0 WHERE state = 3 AND place IN (VALUES", "(?)", ")"),
            lease: Rows::new(
                "UPDATE calls SET state = 1, owner = ?, lease_until_ms = ?, leases = leases + 1
                 WHERE state = 0 AND place IN (VALUES",
                "(?)",
                ")",
            ),
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
