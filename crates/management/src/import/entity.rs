//! Packages, triggers and rules. What a trigger knows of its rules is in its document, here as there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use triplane_model::rule::RuleStatus;
use triplane_model::trigger::Link;
use triplane_model::{
    Binding, Entity, EntityName, FullName, Package, Parameters, Revision, Rule, Trigger, Version,
};
use triplane_store::{Entities, Expected};

use super::{Failure, Fate, Rules, Taken, differs, refused};
use crate::actions::lock;

/// What all of them have.
#[derive(Deserialize)]
struct Document {
    namespace: String,
    name: String,
    version: String,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    annotations: Parameters,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    updated: u64,
    /// Of a package: an empty object, or the package that it stands for.
    #[serde(default)]
    binding: Option<BindingDocument>,
    /// Of a trigger.
    #[serde(default)]
    rules: Option<BTreeMap<String, LinkDocument>>,
    /// Of a rule.
    #[serde(default)]
    trigger: Option<Value>,
    /// Of a rule.
    #[serde(default)]
    action: Option<Value>,
}

#[derive(Deserialize)]
struct BindingDocument {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct LinkDocument {
    action: Value,
    status: RuleStatus,
}

pub(super) async fn package(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let document = read(document)?;
    let (name, version) = head(&document)?;
    let binding = document.binding.filter(|binding| !binding.name.is_empty()).map(bound).transpose()?;
    let package = Package {
        name,
        revision: Revision(0),
        version,
        publish: document.publish,
        annotations: document.annotations,
        parameters: lock(rules.keys, document.parameters).map_err(|error| refused(error.message))?,
        binding,
        updated_ms: document.updated,
    };
    put(entities, package, rules, |package| (package.version, package.updated_ms)).await
}

pub(super) async fn trigger(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let document = read(document)?;
    let (name, version) = head(&document)?;
    let links = document.rules.map(|links| links.into_iter().map(|link| linked(link, &name)).collect());
    let trigger = Trigger {
        version,
        revision: Revision(0),
        publish: document.publish,
        annotations: document.annotations,
        parameters: document.parameters,
        rules: links.transpose()?,
        updated_ms: document.updated,
        name,
    };
    put(entities, trigger, rules, |trigger| (trigger.version, trigger.updated_ms)).await
}

pub(super) async fn rule(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let document = read(document)?;
    let (name, version) = head(&document)?;
    let named = |value: Option<Value>, what: &str| match value {
        Some(value) => full_name(&value, &name.namespace),
        None => Err(refused(format_args!("it names no {what}"))),
    };
    let (trigger, action) = (named(document.trigger, "trigger")?, named(document.action, "action")?);
    let rule = Rule {
        version,
        revision: Revision(0),
        publish: document.publish,
        annotations: document.annotations,
        trigger,
        action,
        updated_ms: document.updated,
        name,
    };
    put(entities, rule, rules, |rule| (rule.version, rule.updated_ms)).await
}

fn read(document: &[u8]) -> Result<Document, Failure> {
    serde_json::from_slice(document).map_err(refused)
}

fn head(document: &Document) -> Result<(FullName, Version), Failure> {
    let namespace = EntityName::namespace(&document.namespace).map_err(|error| refused(error.message))?;
    let name = EntityName::entity(&document.name).map_err(|error| refused(error.message))?;
    let version = document.version.parse().map_err(|_| refused("its version is none"))?;
    Ok((FullName::new(namespace, name), version))
}

fn bound(binding: BindingDocument) -> Result<Binding, Failure> {
    let namespace = EntityName::namespace(&binding.namespace).map_err(|error| refused(error.message))?;
    let name = EntityName::entity(&binding.name).map_err(|error| refused(error.message))?;
    Ok(Binding { namespace, name })
}

/// A rule, `ns/name`, and what its trigger knows of it.
fn linked((rule, link): (String, LinkDocument), trigger: &FullName) -> Result<(EntityName, Link), Failure> {
    let name = rule.rsplit('/').next().unwrap_or_default();
    let name = EntityName::entity(name).map_err(|error| refused(error.message))?;
    let action = full_name(&link.action, &trigger.namespace)?;
    Ok((name, Link { action, status: link.status, policy: Parameters::default() }))
}

fn full_name(value: &Value, namespace: &EntityName) -> Result<FullName, Failure> {
    FullName::of_json(value, namespace).map_err(|error| refused(error.message))
}

/// Writes what is not here yet, or differs and is to be replaced. Version and time tell.
async fn put<E: Entity>(
    entities: &dyn Entities,
    entity: E,
    rules: Rules<'_>,
    tells: impl Fn(&E) -> (Version, u64),
) -> Taken {
    let known = entities.entity::<E>(entity.name().clone()).await?;
    let expected = match &known {
        None => Expected::Absent,
        Some(known) if tells(known) == tells(&entity) => return Ok((Fate::There, Vec::new())),
        Some(_) if !rules.overwrite => return Err(differs()),
        Some(known) => Expected::Revision(known.revision()),
    };
    let (_, changes) = entities.put(entity, expected).await?;
    Ok((Fate::Taken, changes))
}
