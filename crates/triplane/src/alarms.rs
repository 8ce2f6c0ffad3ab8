//! Fires triggers when their alarms are due. A fire is a call of the durable queue, whose id is that of the due time: when the process
//! dies between the accept and the note that it fired, the next start finds the call, or its record, and does not fire again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{info, warn};
use triplane_core::alarm::{Alarm, CATCH_UP_MS, DeleteAfterFire, Due, fire_id};
use triplane_core::asynchronous::{Destination, Policy};
use triplane_management::{Dispatch, Flush, Management};
use triplane_model::{ActivationId, FullName, RuleStatus, TransactionId, Trigger};
use triplane_net::Shutdown;
use triplane_store::calls::{Calls, NewCall, Scope};
use triplane_store::{Activations, AlarmOf, Alarms, Expected, KeptAlarm, StoreError};

use crate::ports::now_ms;

/// How many alarms are looked at in one go.
const BATCH: u64 = 64;
/// The longest sleep: the wall clock may step.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// How soon is looked again at what could not be done.
const AGAIN: Duration = Duration::from_secs(1);

/// What the clock works with.
#[derive(Debug)]
pub(crate) struct AlarmClock {
    pub(crate) alarms: Arc<dyn Alarms>,
    pub(crate) calls: Arc<dyn Calls>,
    pub(crate) activations: Arc<dyn Activations>,
    pub(crate) records: Arc<dyn Flush>,
    pub(crate) management: Arc<Management>,
    pub(crate) dispatch: Arc<dyn Dispatch>,
    /// Told when an alarm changed.
    pub(crate) changed: Arc<Notify>,
}

/// Whether an alarm needs another look soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rang {
    /// It is settled until its next due time.
    Settled,
    /// Something must be over first.
    Again,
}

impl AlarmClock {
    /// Fires what is due until shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        // What an earlier start fired without noting it is looked for until everything that was due by then is settled.
        let mut unsure = true;
        loop {
            let sleep = match self.round(&mut unsure).await {
                Ok(sleep) => sleep,
                Err(error) => {
                    warn!(%error, "alarms cannot be rung; they will be");
                    unsure = true;
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.changed.notified() => {}
                () = shutdown.wait() => return,
            }
        }
    }

    /// Rings what is due; answers how long there is nothing to do. One that cannot be settled does not hold up those behind it.
    async fn round(&self, unsure: &mut bool) -> Result<Duration, StoreError> {
        let now = now_ms();
        if *unsure {
            self.records.flush().await;
        }
        let (mut unsettled, mut rung) = (0, 0);
        loop {
            // Fewer than asked for are not the last: those that cannot be read are left out.
            let due = self.alarms.due(now, unsettled, BATCH).await?;
            let is_last = due.is_empty();
            rung += due.len();
            for alarm in due {
                let trigger = alarm.trigger.clone();
                let rang = self.ring(alarm, now, *unsure).await.unwrap_or_else(|error| {
                    warn!(%trigger, %error, "an alarm cannot be rung; it will be");
                    Rang::Again
                });
                unsettled += u64::from(rang == Rang::Again);
            }
            if is_last {
                break;
            }
        }
        *unsure = unsettled > 0;
        let next = self.alarms.next_due().await?;
        // What was due and was not rung cannot be read: no reason to look again at once, for ever.
        let is_stuck = rung == 0 && next.is_some_and(|next| next <= now);
        Ok(sleep(next, now_ms(), unsettled > 0 || is_stuck))
    }

    async fn ring(&self, found: AlarmOf, now_ms: u64, unsure: bool) -> Result<Rang, StoreError> {
        let AlarmOf { trigger: name, revision, kept: KeptAlarm { request, alarm } } = found;
        let Some(trigger) = self.management.trigger(name.clone()).await? else {
            info!(trigger = %name, "an alarm goes, because its trigger is gone");
            self.alarms.delete_alarm(name).await?;
            return Ok(Rang::Settled);
        };
        let deletes = alarm.deletes();
        if deletes != DeleteAfterFire::False {
            return self.clear_away(&name, &alarm, deletes).await;
        }
        let advanced = if self.management.owner(name.namespace.clone()).await?.is_none() {
            let reason = "the owner of the namespace is blocked or gone";
            warn!(trigger = %name, reason, "an alarm is paused");
            alarm.set_active(false, Some(reason.to_owned()), now_ms)
        } else {
            let (due, advanced) = alarm.due(now_ms);
            self.fire(&trigger, &advanced, &due, unsure).await?;
            advanced
        };
        let needs_more = advanced.deletes() != DeleteAfterFire::False;
        let kept = KeptAlarm { request, alarm: advanced };
        match self.alarms.put_alarm(name, kept, Expected::Revision(revision)).await {
            // Its owner changed it: what is due now is decided by what it is now.
            Ok(_) | Err(StoreError::Conflict) => Ok(if needs_more { Rang::Again } else { Rang::Settled }),
            Err(error) => Err(error),
        }
    }

    /// Accepts the fires; nothing when no rule listens, as for every fire.
    async fn fire(
        &self,
        trigger: &Trigger,
        alarm: &Alarm,
        due: &Due,
        unsure: bool,
    ) -> Result<(), StoreError> {
        if due.skipped > 0 {
            warn!(trigger = %trigger.name, "due times were skipped, because they are too long ago or too many");
        }
        let mut rules = trigger.rules.iter().flatten();
        if !rules.any(|(_, link)| link.status == RuleStatus::Active) {
            return Ok(());
        }
        for due_ms in &due.times_ms {
            let id = fire_id(&trigger.name, *due_ms);
            if unsure && self.is_known(&trigger.name, id).await? {
                continue;
            }
            self.calls.accept(call(&trigger.name, id, alarm)).await?;
        }
        self.dispatch.changed();
        Ok(())
    }

    async fn is_known(&self, trigger: &FullName, id: ActivationId) -> Result<bool, StoreError> {
        let scope = Scope::Namespace(trigger.namespace.clone());
        Ok(self.calls.get(scope, id).await?.is_some() || self.activations.exists(id).await?)
    }

    /// Deletes what goes with the last fire, when that is over.
    async fn clear_away(
        &self,
        name: &FullName,
        alarm: &Alarm,
        deletes: DeleteAfterFire,
    ) -> Result<Rang, StoreError> {
        if let Some(at_ms) = alarm.wake_ms() {
            let scope = Scope::Namespace(name.namespace.clone());
            let call = self.calls.get(scope, fire_id(name, at_ms)).await?;
            if call.is_some_and(|call| call.ended_ms.is_none()) {
                return Ok(Rang::Again);
            }
        }
        match self.management.remove_trigger(name.clone(), deletes == DeleteAfterFire::Rules).await {
            Ok(()) => Ok(Rang::Settled),
            Err(StoreError::Conflict) => Ok(Rang::Again),
            Err(error) => Err(error),
        }
    }
}

/// How long the clock sleeps until the next alarm is due, or until it looks again at what is left.
fn sleep(next_ms: Option<u64>, now_ms: u64, leaves_something: bool) -> Duration {
    let until_due = next_ms.map_or(SLEEP_MAX, |next| Duration::from_millis(next.saturating_sub(now_ms)));
    until_due.clamp(if leaves_something { AGAIN } else { Duration::ZERO }, SLEEP_MAX)
}

/// The call that fires a trigger. It waits as long for its owner's limit of fires as due times are caught up, and leaves a row, by which
/// it is known when its record is not stored.
fn call(trigger: &FullName, id: ActivationId, alarm: &Alarm) -> NewCall {
    NewCall {
        id,
        namespace: trigger.namespace.clone(),
        target: Destination::Trigger(trigger.clone()),
        payload: alarm.payload.get().as_bytes().to_vec(),
        transaction_id: TransactionId::from_random(rand::random()),
        traceparent: None,
        // Not when it was due: one that fires once may be due since long ago.
        accepted_ms: now_ms(),
        policy: Policy { age_ms_max: CATCH_UP_MS, ..Policy::default() },
        partition: None,
        idempotency: None,
        cause: None,
        hops: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_sleeps_until_something_is_due() {
        assert_eq!(sleep(Some(5_200), 5_000, false), Duration::from_millis(200));
        assert_eq!(sleep(Some(4_000), 5_000, false), Duration::ZERO, "it was due meanwhile");
        assert_eq!(sleep(Some(4_000), 5_000, true), AGAIN, "it is due, and cannot be rung");
        assert_eq!(sleep(Some(90_000), 5_000, true), SLEEP_MAX);
        assert_eq!(sleep(None, 5_000, false), SLEEP_MAX);
    }
}
