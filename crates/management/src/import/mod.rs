//! Takes documents of OpenWhisk's CouchDB in, one at a time (openwhisk-api.md 12.1): subjects, limits, actions with their
//! code, packages, triggers and rules. Doing so twice changes nothing. Whoever calls this on a running platform publishes the changes.

mod action;
mod common;
mod entity;
mod subject;

use std::future::Future;

use serde::{Deserialize, Serialize};
use triplane_model::runtimes::Runtimes;
use triplane_model::{EntityName, LimitsDocument, ParameterKeys, SystemLimits};
use triplane_store::{Change, Entities, StoreError};

/// How documents are taken in.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What parameters are locked with, and those that are locked already opened.
    pub keys: &'a ParameterKeys,
    /// What actions may ask for.
    pub limits: &'a SystemLimits,
    /// What runs here; none when that is not known, because the platform is stopped.
    pub runtimes: &'a Runtimes,
    /// Whether what is there already, and differs, is replaced.
    pub overwrite: bool,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its `_id`.
    pub id: String,
    /// What it is: `subject`, `limits`, `action`, `design`, or its `entityType`.
    pub kind: String,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// What is to be known of a document that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "lowercase")]
pub enum Fate {
    /// It was taken.
    Taken,
    /// It was here already.
    There,
    /// It is nothing to take: a view, or something that OpenWhisk keeps for itself.
    Skipped,
    /// It was not taken, and why.
    Refused(String),
}

/// Why a document is not taken.
pub(crate) enum Failure {
    Refused(String),
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // The document is to blame, or what is here; the others may go on.
            StoreError::Full(text) => Self::Refused(text),
            StoreError::OtherType => {
                Self::Refused("its name belongs to an entity of another type".to_owned())
            }
            StoreError::Conflict => Self::Refused("it was written by somebody else meanwhile".to_owned()),
            error => Self::Store(error),
        }
    }
}

/// A refusal.
pub(crate) fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::Refused(why.to_string())
}

/// What taking a document in answers: what became of it, and the changes to publish.
pub(crate) type Taken = Result<(Fate, Vec<Change>), Failure>;

/// What tells what a document is.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "_id", default)]
    id: String,
    #[serde(rename = "entityType")]
    entity_type: Option<String>,
    subject: Option<serde::de::IgnoredAny>,
}

/// Takes one document in. Answers what became of it and the changes to publish.
///
/// # Errors
/// The store failed; a retry is safe.
pub async fn take(
    entities: &dyn Entities,
    document: &[u8],
    rules: Rules<'_>,
) -> Result<(Outcome, Vec<Change>), StoreError> {
    let head: Head = match serde_json::from_slice(document) {
        Ok(head) => head,
        Err(error) => return Ok((outcome("", "unknown", Fate::Refused(error.to_string())), Vec::new())),
    };
    let kind = match head.entity_type.as_deref() {
        _ if head.id.starts_with("_design/") => "design",
        Some(entity_type) => entity_type,
        None if head.id.ends_with("/limits") => "limits",
        None if head.subject.is_some() => "subject",
        None => "unknown",
    };
    let taken = match kind {
        "design" => Ok((Fate::Skipped, Vec::new())),
        "subject" => subject::take(entities, document, rules).await,
        "limits" => limits(entities, &head.id, document, rules).await,
        "action" => action::take(entities, document, rules).await,
        "package" => entity::package(entities, document, rules).await,
        "trigger" => entity::trigger(entities, document, rules).await,
        "rule" => entity::rule(entities, document, rules).await,
        "unknown" => Err(refused("it is neither a subject, nor limits, nor an entity")),
        other => Err(refused(format_args!("documents of type {other} are not taken"))),
    };
    match taken {
        Ok((fate, changes)) => {
            let note =
                (kind == "action" && fate == Fate::Taken).then(|| action::note(document, rules)).flatten();
            Ok((Outcome { note, ..outcome(&head.id, kind, fate) }, changes))
        }
        Err(Failure::Refused(why)) => Ok((outcome(&head.id, kind, Fate::Refused(why)), Vec::new())),
        Err(Failure::Store(error)) => Err(error),
    }
}

fn outcome(id: &str, kind: &str, fate: Fate) -> Outcome {
    Outcome { id: id.to_owned(), kind: kind.to_owned(), fate, note: None }
}

/// The limits of a namespace, which need not be there yet.
async fn limits(entities: &dyn Entities, id: &str, document: &[u8], rules: Rules<'_>) -> Taken {
    let namespace = EntityName::namespace(id.trim_end_matches("/limits"));
    let namespace = namespace.map_err(|error| refused(error.message))?;
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(document).map_err(refused)?;
    fields.retain(|key, value| !key.starts_with('_') && !value.is_null());
    let document: LimitsDocument =
        serde_json::from_value(serde_json::Value::Object(fields)).map_err(refused)?;
    document.check().map_err(refused)?;
    match entities.limits(namespace.clone()).await? {
        Some(known) if known == document => Ok((Fate::There, Vec::new())),
        Some(_) if !rules.overwrite => Err(differs()),
        _ => taken(entities.set_limits(namespace, Some(document))).await,
    }
}

async fn taken(write: impl Future<Output = Result<Vec<Change>, StoreError>>) -> Taken {
    Ok((Fate::Taken, write.await?))
}

/// What is here is not what comes, and is not replaced.
pub(crate) fn differs() -> Failure {
    refused("it is here already, and differs; --overwrite replaces it")
}
