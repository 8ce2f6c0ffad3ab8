//! Follows the pool stream: what the router owns, and what it must forget.

use std::sync::{Arc, PoisonError};

use triplane_core::id::ActionKey;
use triplane_core::pool::message::{Delta, Numbered, Up};
use triplane_core::route::{Applied, Table};

use crate::router::Router;

/// What became of a message of the pool stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is applied and acknowledged.
    Applied,
    /// It is older than what is known, or of an older leader (LEASE-1); nothing was done.
    Stale,
    /// Messages are missing before it: nothing was done; ask for a snapshot.
    Gap,
}

impl Router {
    /// Applies a message of the pool stream, in order. Answers on the channel up; never waits.
    pub fn apply(&self, message: Numbered) -> Followed {
        // One at a time: a table is made from the one before.
        let _following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.lines.table.load_full();
        match before.apply(&message) {
            Applied::Next(next) => self.take_in(&before, next, &message.delta),
            Applied::Stale => return Followed::Stale,
            Applied::Gap => {
                tracing::warn!(sequence = message.sequence.0, "messages of the pool stream are missing");
                return Followed::Gap;
            }
        }
        self.uplink().say(Up::Acknowledged(message.sequence));
        Followed::Applied
    }

    fn take_in(&self, before: &Table, next: Table, delta: &Delta) {
        match delta {
            Delta::Snapshot(_) => {
                self.lines.publish(next, None);
                // What was changed or revoked meanwhile was not heard.
                self.identities.expire();
                self.actions.expire();
                self.triggers.expire();
                self.lines.all().iter().for_each(|line| line.forget_demand());
            }
            Delta::Ready(lease) => self.lines.publish(next, Some(&lease.key)),
            Delta::Removed(id) | Delta::Unmarked(id) => {
                let key = before.container(*id).map(|container| Arc::clone(&container.lease().key));
                self.publish(next, key.as_deref());
            }
            Delta::Marked(id) => {
                let line =
                    next.container(*id).and_then(|container| self.lines.existing(&container.lease().key));
                self.publish(next, None);
                // before it is let go of: one that is closing cannot be had back
                if let Some(line) = line {
                    line.rescue();
                }
                self.uplink().say(Up::Released(*id));
            }
            Delta::Refused(refusal) => {
                self.publish(next, None);
                if let Some(line) = self.lines.existing(&refusal.key) {
                    line.refuse(refusal);
                }
            }
            Delta::EntityChanged(collection, name, revision) => {
                self.publish(next, None);
                self.actions.changed(*collection, name, *revision);
                self.triggers.changed(*collection, name, *revision);
                // Only now: who is sent away asks for the action anew.
                self.lines.entity_changed(name, *revision);
            }
            Delta::IdentityRevoked(namespace_uuid) => {
                self.publish(next, None);
                self.identities.revoke(namespace_uuid);
            }
        }
    }

    /// Publishes a table in which only the containers of `key`, if any, changed.
    fn publish(&self, table: Table, key: Option<&ActionKey>) {
        match key {
            Some(key) => self.lines.publish(table, Some(key)),
            None => self.lines.table.store(Arc::new(table)),
        }
    }
}
