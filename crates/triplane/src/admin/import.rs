//! `triplane admin import`: takes in what an OpenWhisk keeps, document by document, and says what became of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde_json::value::RawValue;
use triplane_management::import::{Fate, Outcome};

use super::cli::ImportOptions;
use super::operator::Operator;
use super::{FAILED, dump};
use crate::cli::ServeOptions;
use crate::client::Refused;
use crate::config;

/// What became of the documents, by kind.
#[derive(Debug, Default)]
struct Report {
    taken: BTreeMap<String, u64>,
    there: u64,
    skipped: u64,
    refused: u64,
}

/// Carries the import out. It can be repeated: what is here already is left as it is. The exit code is not 0 when something was
/// refused.
pub(super) async fn run(options: ImportOptions) -> anyhow::Result<u8> {
    let mut documents = dump::open(&options.source)?;
    let serve = ServeOptions { config: options.config.clone(), ..ServeOptions::default() };
    let operator = Operator::configured(&options.data.path(), config::load(&serve)?).await?;
    let mut report = Report::default();
    let mut broken = None;
    while let Some(document) = documents.recv().await {
        let taken = match document {
            Ok(document) => take(&operator, &options, document).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(outcome) => report.add(&outcome, options.json)?,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    operator.close().await;
    if !options.json {
        println!("{report}");
    }
    match broken {
        Some(error) => Err(error.context("the import did not come to its end; it can be repeated")),
        None => Ok(if report.refused > 0 { FAILED } else { 0 }),
    }
}

async fn take(
    operator: &Operator,
    options: &ImportOptions,
    document: Box<RawValue>,
) -> anyhow::Result<Outcome> {
    let path = format!("/admin/v1/import?overwrite={}", options.overwrite);
    let body = Bytes::from(String::from(Box::<str>::from(document)));
    match operator.ask_with(Method::POST, &path, body).await {
        Ok(outcome) => Ok(serde_json::from_value(outcome)?),
        Err(error) => match error.downcast::<Refused>() {
            // A document that is too large for the platform does not hold up the others.
            Ok(refused) if refused.status == 413 => Ok(Outcome {
                id: String::new(),
                kind: "unknown".into(),
                fate: Fate::Refused(refused.text),
                note: None,
            }),
            Ok(refused) => Err(refused.into()),
            Err(error) => Err(error),
        },
    }
}

impl Report {
    fn add(&mut self, outcome: &Outcome, json: bool) -> anyhow::Result<()> {
        let Outcome { id, kind, fate, note } = outcome;
        match fate {
            Fate::Taken => *self.taken.entry(kind.clone()).or_default() += 1,
            Fate::There => self.there += 1,
            Fate::Skipped => self.skipped += 1,
            Fate::Refused(_) => self.refused += 1,
        }
        match fate {
            _ if json => println!("{}", serde_json::to_string(outcome)?),
            Fate::Refused(why) => println!("refused {kind} {id}: {why}"),
            _ => note.iter().for_each(|note| println!("{kind} {id}: {note}")),
        }
        Ok(())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, there, skipped, refused } = self;
        let total: u64 = taken.values().sum();
        let kinds: Vec<_> = taken.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        write!(out, "taken {total}{kinds}, already here {there}, skipped {skipped}, refused {refused}")
    }
}
