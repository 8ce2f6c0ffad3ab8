//! Subjects with their namespaces and keys.

use serde::Deserialize;
use triplane_model::{Credential, EntityName, NamespaceLimits};
use triplane_store::{Change, Entities};

use super::{Failure, Fate, Rules, Taken, differs, refused};
use crate::subjects::check_subject;

/// A subject as OpenWhisk keeps it.
#[derive(Deserialize)]
struct Subject {
    subject: String,
    #[serde(default)]
    namespaces: Vec<Namespace>,
    #[serde(default)]
    blocked: Option<bool>,
}

#[derive(Deserialize)]
struct Namespace {
    name: String,
    uuid: String,
    key: String,
}

pub(super) async fn take(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let Subject { subject, namespaces, blocked } = serde_json::from_slice(document).map_err(refused)?;
    check_subject(&subject).map_err(refused)?;
    // All are looked at before one is written: a subject is taken whole or not at all.
    let namespaces: Vec<_> = namespaces.iter().map(read).collect::<Result<_, _>>()?;
    if namespaces.is_empty() {
        return Err(refused("it has no namespaces, so that nobody could call as it"));
    }
    let known = entities.subject(subject.clone()).await?;
    let (known, credentials) = known.map_or((None, Vec::new()), |(info, keys)| (Some(info), keys));
    let mut missing = Vec::new();
    for (name, credential) in namespaces {
        let place = known.iter().flat_map(|info| &info.namespaces).position(|known| known.name == name);
        match place.and_then(|place| credentials.get(place)) {
            Some(same) if *same == credential => {}
            Some(_) if rules.overwrite => missing.push((name, credential, true)),
            Some(_) => return Err(differs()),
            None => missing.push((name, credential, false)),
        }
    }
    let blocked = blocked.unwrap_or(false);
    let is_blocked = known.as_ref().is_some_and(|info| info.blocked);
    if missing.is_empty() && blocked == is_blocked {
        return Ok((Fate::There, Vec::new()));
    }
    let mut changes = Vec::new();
    for (name, credential, is_there) in missing {
        changes.extend(write(entities, &subject, name, credential, is_there).await?);
    }
    if blocked != is_blocked {
        changes.extend(entities.block_subject(subject, blocked).await?);
    }
    Ok((Fate::Taken, changes))
}

fn read(namespace: &Namespace) -> Result<(EntityName, Credential), Failure> {
    let name = EntityName::namespace(&namespace.name).map_err(|error| refused(error.message))?;
    let credential = Credential::parse(&format!("{}:{}", namespace.uuid, namespace.key));
    let credential = credential.ok_or_else(|| {
        refused(format_args!("the credential of namespace {name} is no UUID with a key of 64 characters"))
    })?;
    Ok((name, credential))
}

async fn write(
    entities: &dyn Entities,
    subject: &str,
    name: EntityName,
    credential: Credential,
    is_there: bool,
) -> Result<Vec<Change>, Failure> {
    let shown = name.clone();
    let written = match is_there {
        true => entities.replace_credential(subject.to_owned(), name, credential).await,
        // What is set for it is a document of its own.
        false => {
            let none = NamespaceLimits::default();
            let created = entities.create_subject(subject.to_owned(), name, credential, none).await;
            created.map(|change| vec![change])
        }
    };
    written.map_err(|error| match error {
        triplane_store::StoreError::Conflict => {
            refused(format_args!("the UUID of namespace {shown} is in use by another subject or namespace"))
        }
        error => error.into(),
    })
}
