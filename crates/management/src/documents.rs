//! Activations as clients read them: put together from what is stored, and streamed when they are many.

use std::collections::HashSet;

use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{once, try_unfold};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationId, ActivationRecord};
use triplane_store::{ActivationQuery, StoreError};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, off_thread};
use crate::query::Page;

/// How many records are in memory at a time while a list of whole ones is sent: each may have 1 MB of result and 10 MB of
/// logs, so that a list of 200 at once would be 2 GB.
const DOCS_CHUNK: u64 = 8;
/// The same for summaries, which leave both out, but are made of records with results.
const SUMMARIES_CHUNK: u64 = 50;

/// Reads the record of an entry, without its logs.
pub(crate) fn record(entry: &ActivationEntry) -> Result<ActivationRecord, StoreError> {
    serde_json::from_str(&entry.record).map_err(|error| corrupt(entry.id, &error))
}

/// The JSON of an entry: the whole record with its logs, or its summary.
pub(crate) async fn print(entry: ActivationEntry, whole: bool) -> Result<String, Failure> {
    let bytes = (entry.record.len() + entry.logs.len()) as u64;
    let print = move || match whole {
        true => with_logs(&entry),
        false => Ok(record(&entry)?.to_summary().to_string()),
    };
    Ok(off_thread(bytes, print).await??)
}

fn with_logs(entry: &ActivationEntry) -> Result<String, StoreError> {
    let mut record = record(entry)?;
    record.logs = serde_json::from_str(&entry.logs).map_err(|error| corrupt(entry.id, &error))?;
    serde_json::to_string(&record).map_err(|error| corrupt(entry.id, &error))
}

fn corrupt(id: ActivationId, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("activation {id}: {error}"))
}

/// Answers a list of whole records, or of summaries: at once when they are few, else as a stream.
pub(crate) async fn list(app: &App, query: ActivationQuery, page: Page, whole: bool) -> Answer {
    let mut documents = Documents::new(App::clone(app), query, page, whole);
    // The first records are read before the status is sent, so that a store that is away is an error and not a list
    // that breaks off.
    let first = documents.next().await?.unwrap_or_default();
    if documents.ended {
        return Ok(answer::json_bytes(first));
    }
    let rest = try_unfold(documents, |mut documents| async {
        let piece = documents.next().await.map_err(|_| std::io::Error::other("the list broke off"))?;
        Ok(piece.map(|piece| (Bytes::from(piece), documents)))
    });
    let pieces = once(async { Ok::<_, std::io::Error>(Bytes::from(first)) }).chain(rest);
    let mut response = Response::new(axum::body::Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A list in pieces of JSON.
struct Documents {
    whole: bool,
    app: App,
    query: ActivationQuery,
    skip: u64,
    remaining: u64,
    /// What was sent: records that arrive while the list is sent push others into the next piece.
    seen: HashSet<ActivationId>,
    started: bool,
    ended: bool,
}

impl Documents {
    fn new(app: App, query: ActivationQuery, page: Page, whole: bool) -> Self {
        let (skip, remaining) = (page.skip, page.limit);
        Self { whole, app, query, skip, remaining, seen: HashSet::new(), started: false, ended: false }
    }

    /// The next piece; nothing after the last one.
    async fn next(&mut self) -> Result<Option<String>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let asked = self.remaining.min(if self.whole { DOCS_CHUNK } else { SUMMARIES_CHUNK });
        let entries =
            self.app.ports.activations.list(self.query.clone(), self.skip, asked, self.whole).await?;
        let got = entries.len() as u64;
        self.skip += got;
        self.remaining -= got.min(self.remaining);
        self.ended = got < asked || self.remaining == 0;
        let mut piece = String::new();
        if !std::mem::replace(&mut self.started, true) {
            piece.push('[');
        }
        for entry in entries {
            if !self.seen.insert(entry.id) {
                continue;
            }
            if self.seen.len() > 1 {
                piece.push(',');
            }
            piece.push_str(&print(entry, self.whole).await?);
        }
        if self.ended {
            piece.push(']');
        }
        Ok(Some(piece))
    }
}
