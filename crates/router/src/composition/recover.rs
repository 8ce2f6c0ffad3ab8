//! Compositions of the queue whose holder was lost, and those that are ended between two runs.

use bytes::Bytes;
use triplane_core::asynchronous::Failure;
use triplane_core::asynchronous::verdict::{self, Ended};
use triplane_core::composition::{Composition, Event, Over, Ran, Response};
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationRecord, Identity};

use super::{off_thread, print, record};
use crate::asynchronous::{self, Case};
use crate::clock::epoch_ms;
use crate::ports::Noted;
use crate::router::Router;

/// What the record of a composition says whose last run was lost.
const LOST: &str =
    "the platform was stopped while an action of the composition ran; the action was not run again";

impl Router {
    /// The run that a composition was at has ended, while nobody held it. It is put back, to go on after that run; one that is lost
    /// follows the policy of the call.
    pub(crate) async fn run_ended(&self, case: &Case, run: asynchronous::Ran) {
        let Some(mut composition) = begun(case).await else {
            return self.release(case, epoch_ms()).await;
        };
        if run.failure == Some(Failure::Lost) {
            return self.run_lost(case, composition).await;
        }
        let Some(ran) = run.record.and_then(|json| serde_json::from_slice(&json).ok()).map(ran) else {
            tracing::error!(activation = %case.call.id, "the record of a run for a composition cannot be read");
            return self.run_lost(case, composition).await;
        };
        composition.step(Event::Ran(ran), epoch_ms());
        if self.write_down(case, &composition).await {
            self.release(case, epoch_ms()).await;
        }
    }

    async fn run_lost(&self, case: &Case, mut composition: Composition) {
        let now_ms = epoch_ms();
        let Ok(Some(owner)) = self.identities.owner(&case.call.namespace).await else {
            tracing::warn!(activation = %case.call.id, "nobody knows whose a lost composition is; it is looked at again");
            return;
        };
        let lost = composition.clone().lost(LOST, now_ms);
        match verdict::after_attempt(&case.call.policy, &case.facts(), Some(Failure::Lost), now_ms) {
            Ended::End(_) => {
                let record = self.write_records(case, &owner.identity, lost).await;
                let ran = asynchronous::Ran { failure: Some(Failure::Lost), record };
                self.settle(case, ran, None).await;
            }
            Ended::Retry { due_ms } => {
                // The inner compositions go on in the next attempt, so that they are not over.
                let outermost = lost.into_iter().next_back().into_iter().collect();
                self.write_records(case, &owner.identity, outermost).await;
                composition.attempt_as(case.next_attempt());
                if self.write_down(case, &composition).await {
                    self.put_back_for_retry(case, Failure::Lost, due_ms).await;
                }
            }
        }
    }

    /// Ends a composition that is not at a run: the records of what was begun. Answers that of the outermost.
    pub(crate) async fn give_up(&self, case: &Case, owner: &Identity, text: &str) -> Option<ActivationEntry> {
        let composition = begun(case).await?;
        let mut over = composition.given_up(None, text, epoch_ms());
        let outermost = over.pop()?;
        self.write_records(case, owner, over).await;
        let (entry, _) = record::write(owner, case.cause(), outermost);
        Some(entry)
    }

    /// Writes records; answers the last one as clients see it.
    async fn write_records(&self, case: &Case, owner: &Identity, over: Vec<Over>) -> Option<Bytes> {
        let mut last = None;
        for over in over {
            let id = over.id;
            let (entry, finished) = record::write(owner, case.cause(), over);
            let records = &self.ports.records;
            self.tell(id, async || records.record(entry.clone()).await.map(|()| Noted::Noted)).await;
            last = Some(finished.record);
        }
        last
    }

    async fn write_down(&self, case: &Case, composition: &Composition) -> bool {
        let (id, number) = (case.call.id, case.held.number());
        let progress = print(composition).await;
        self.tell(id, async || self.ports.queue.progress(id, number, progress.clone()).await).await
    }
}

/// What was written down of a call's composition, if that is of the attempt that is made, or was.
pub(crate) async fn begun(case: &Case) -> Option<Composition> {
    let progress = case.progress.clone()?;
    let bytes = progress.len();
    let read = off_thread(bytes, move || serde_json::from_slice::<Composition>(&progress)).await;
    match read {
        Ok(composition) => Some(composition),
        Err(error) => {
            tracing::error!(activation = %case.call.id, %error, "what is written down of a composition cannot be read");
            None
        }
    }
}

fn ran(record: ActivationRecord) -> Ran {
    let memory_mb = record.annotations.get("limits").and_then(|limits| {
        let limits: serde_json::Value = serde_json::from_str(limits.get()).ok()?;
        limits["memory"].as_u64()
    });
    let result = record.response.result.map_or_else(|| "{}".to_owned(), |result| result.get().to_owned());
    Ran {
        id: record.activation_id,
        response: Response { status: record.response.status, result },
        duration_ms: record.duration.unwrap_or(0),
        memory_mb,
    }
}
