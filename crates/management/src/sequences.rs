//! What a sequence may be that is written (openwhisk-api.md 4.1).

use std::collections::{BTreeSet, HashMap};

use triplane_core::composition::inline::{Component, Inlining, Refused};
use triplane_core::entitlement::{self, Denied};
use triplane_model::action::ActionPut;
use triplane_model::package::Reached;
use triplane_model::{Action, ApiError, FullName, Identity};

use crate::answer::Failure;
use crate::app::App;
use crate::reach::{self, unless_other};

/// Refuses components that the caller may not read.
pub(crate) async fn entitle(app: &App, caller: &Identity, put: &ActionPut) -> Result<(), Failure> {
    let components: BTreeSet<&FullName> = put.exec.iter().flat_map(|exec| &exec.components).collect();
    let mut denied = Vec::new();
    for name in components {
        let reached = match name.package_name() {
            Some(package) => unless_other(reach::package(&*app.ports.entities, package).await)?,
            None => None,
        };
        // That a package is missing is told by the check.
        if entitlement::to_action(&caller.namespace, name, reached.as_ref()) == Err(Denied::Forbidden) {
            denied.push(name.to_string());
        }
    }
    match denied.is_empty() {
        true => Ok(()),
        false => Err(ApiError::not_entitled(denied.join(", ")).into()),
    }
}

/// Refuses a sequence that is too long, has no components or missing ones, or is in itself.
pub(crate) async fn check(app: &App, sequence: &FullName, put: &ActionPut) -> Result<(), Failure> {
    let Some(exec) = put.exec.as_ref().filter(|exec| exec.is_sequence()) else { return Ok(()) };
    let max = usize::try_from(app.settings.limits.sequence_length_max).unwrap_or(usize::MAX);
    let mut inlining = Inlining::new(sequence.clone(), exec.components.clone(), max).map_err(refused)?;
    // What is named more than once is looked up once.
    let mut known: HashMap<FullName, (FullName, Component)> = HashMap::new();
    while let Some(name) = inlining.next_name() {
        let (name, component) = match known.get(&name) {
            Some(found) => found.clone(),
            None => {
                let found = look_up(app, &name).await?;
                known.entry(name).or_insert(found).clone()
            }
        };
        inlining.found(&name, component).map_err(refused)?;
    }
    Ok(())
}

/// Where a component lives, whatever binding it is named through, and what it is.
async fn look_up(app: &App, name: &FullName) -> Result<(FullName, Component), Failure> {
    let entities = &*app.ports.entities;
    let name = match name.package_name() {
        None => name.clone(),
        Some(package) => {
            let reached = unless_other(reach::package(entities, package).await)?;
            match reached.as_ref().and_then(Reached::provider) {
                Some(provider) => reach::provided(provider, name.clone()),
                None => return Ok((name.clone(), Component::Missing)),
            }
        }
    };
    let component = match unless_other(entities.entity::<Action>(name.clone()).await)? {
        None => Component::Missing,
        Some(action) if action.exec.is_sequence() => Component::Sequence(action.exec.components),
        Some(_) => Component::Action,
    };
    Ok((name, component))
}

fn refused(refused: Refused) -> ApiError {
    ApiError::new(400, refused.to_string())
}
