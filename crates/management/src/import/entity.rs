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

use super::common::{self, Common};
use super::{Failure, Fate, Rules, Taken, differs, refused};
use crate::actions::lock;

/// What a package has besides.
#[derive(Deserialize)]
struct PackageDocument {
    /// An empty object, or the package that it stands for.
    #[serde(default)]
    binding: Option<BindingDocument>,
}

/// What a trigger has besides.
#[derive(Deserialize)]
struct TriggerDocument {
    #[serde(default)]
    rules: Option<BTreeMap<String, LinkDocument>>,
}

/// What a rule has besides.
#[derive(Deserialize)]
struct RuleDocument {
    #[serde(default)]
    trigger: Option<Value>,
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
    let PackageDocument { binding } = common::read(document)?;
    let Common { name, version, publish, annotations, parameters, updated_ms } =
        Common::read_unpackaged(document)?;
    let binding = binding.filter(|binding| !binding.name.is_empty()).map(bound).transpose()?;
    let parameters = lock(rules.keys, parameters).map_err(|error| refused(error.message))?;
    let revision = Revision(0);
    let package = Package { name, revision, version, publish, annotations, parameters, binding, updated_ms };
    put(entities, package, rules, |package| (package.version, package.updated_ms)).await
}

pub(super) async fn trigger(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let TriggerDocument { rules: links } = common::read(document)?;
    let Common { name, version, publish, annotations, parameters, updated_ms } =
        Common::read_unpackaged(document)?;
    let links = links.map(|links| links.into_iter().map(|link| linked(link, &name)).collect());
    let (revision, links) = (Revision(0), links.transpose()?);
    let trigger =
        Trigger { name, revision, version, publish, annotations, parameters, rules: links, updated_ms };
    put(entities, trigger, rules, |trigger| (trigger.version, trigger.updated_ms)).await
}

pub(super) async fn rule(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let RuleDocument { trigger, action } = common::read(document)?;
    let Common { name, version, publish, annotations, updated_ms, .. } = Common::read_unpackaged(document)?;
    let named = |value: Option<Value>, what: &str| match value {
        Some(value) => full_name(&value, &name.namespace),
        None => Err(refused(format_args!("it names no {what}"))),
    };
    let (trigger, action) = (named(trigger, "trigger")?, named(action, "action")?);
    let rule =
        Rule { name, revision: Revision(0), version, publish, annotations, trigger, action, updated_ms };
    put(entities, rule, rules, |rule| (rule.version, rule.updated_ms)).await
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
