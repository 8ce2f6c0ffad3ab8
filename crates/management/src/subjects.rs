//! Users as an operator sees them: the capabilities and texts of `wskadmin user` (openwhisk-api.md 12.2), as functions
//! over the store, so that they work on a stopped platform too. Whoever calls them on a running one publishes the changes.

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use triplane_model::namespace_limits::BadLimits;
use triplane_model::{ApiError, Credential, EntityName, NamespaceLimits};
use triplane_store::{Change, Entities, StoreError};

/// The fewest characters of a subject.
pub const SUBJECT_CHARS_MIN: usize = 5;
/// The most characters of a subject.
pub const SUBJECT_CHARS_MAX: usize = 256;

/// A user that is to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The subject.
    pub subject: String,
    /// The namespace; named like the subject when absent.
    #[serde(default)]
    pub namespace: Option<String>,
    /// `uuid:key`; drawn when absent.
    #[serde(default)]
    pub auth: Option<Secret>,
    /// What the namespace may do; the operator's default when absent.
    #[serde(default)]
    pub limits: Option<NamespaceLimits>,
    /// Whether a namespace of the subject that is there already gets a new key.
    #[serde(default)]
    pub revoke: bool,
    /// Whether a namespace of the subject that is there already gets these, or new, credentials.
    #[serde(default)]
    pub force: bool,
}

/// A text whose `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("***")
    }
}

/// A user as an operator reads it, with its keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The subject.
    pub subject: String,
    /// Whether its keys are refused.
    pub blocked: bool,
    /// Its namespaces.
    pub namespaces: Vec<UserNamespace>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({} namespaces)", self.subject, self.namespaces.len())
    }
}

/// One namespace of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Its name.
    pub name: EntityName,
    /// `uuid:key`: a secret.
    pub auth: String,
}

impl std::fmt::Debug for UserNamespace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.name, out)
    }
}

/// Who a credential stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whois {
    /// The subject.
    pub subject: String,
    /// The namespace.
    pub namespace: EntityName,
}

/// Who has a key of a namespace.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The subject.
    pub subject: String,
    /// `uuid:key`: a secret.
    pub auth: String,
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.subject, out)
    }
}

/// Why a user could not be created, read or changed. All but the last are the operator's to mend.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UserError {
    /// The subject is too short.
    #[error("Subject name must be at least 5 characters")]
    ShortName,
    /// The subject is too long, or has a control character in it.
    #[error("subject must be at most 256 printable characters")]
    BadName,
    /// The namespace is no legal name.
    #[error("{}", .0.message)]
    BadNamespace(ApiError),
    /// The part before the colon is no UUID.
    #[error("authorization id is not a valid UUID")]
    InvalidUuid,
    /// The part after the colon is too short.
    #[error("authorization key must be at least 64 characters long")]
    ShortKey,
    /// The part after the colon is too long: clients could not present it.
    #[error("authorization key must be exactly 64 characters long")]
    LongKey,
    /// There is no colon.
    #[error("failed to determine authorization id and key")]
    NoKey,
    /// The subject has the namespace.
    #[error("Namespace already exists")]
    NamespaceExists,
    /// The part before the colon is part of other credentials.
    #[error("authorization id is in use by another subject or namespace")]
    UuidTaken,
    /// A blocked subject gets no new namespaces.
    #[error("The subject you want to edit is blocked")]
    Blocked,
    /// The subject has no such namespace.
    #[error("Namespace '{0}' does not exist for '{1}'")]
    NamespaceMissing(String, String),
    /// Nobody who may call has this namespace.
    #[error("no identities found for namespace '{0}'")]
    NoIdentities(String),
    /// Nobody who may call has these credentials.
    #[error("Subject id is not recognized")]
    NotRecognized,
    /// The subject is not there; `0` is what it was wanted for.
    #[error("Subject to {0} not found")]
    Missing(&'static str),
    /// The limits of a namespace make no sense.
    #[error(transparent)]
    BadLimits(#[from] BadLimits),
    /// Nothing is set for the namespace.
    #[error("Limits not found for '{0}'")]
    NoLimits(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives a subject a namespace, and creates the subject if it is new, or gives one that it has another credential. A namespace that
/// others have is shared with them: it has the same entities and activations for all. Answers the credential and the changes to publish.
///
/// # Errors
/// [`UserError`]; nothing was written.
pub async fn create(
    entities: &dyn Entities,
    new: NewUser,
    default_limits: &NamespaceLimits,
) -> Result<(Credential, Vec<Change>), UserError> {
    check_subject(&new.subject)?;
    let namespace = new.namespace.as_deref().unwrap_or(&new.subject).trim();
    let namespace = EntityName::namespace(namespace).map_err(UserError::BadNamespace)?;
    let credential = match &new.auth {
        Some(Secret(text)) => read_credential(text)?,
        None => draw_credential(),
    };
    let mut before = None;
    if let Some((known, credentials)) = entities.subject(new.subject.clone()).await? {
        if known.blocked {
            return Err(UserError::Blocked);
        }
        let named = known.namespaces.iter().zip(credentials).find(|(known, _)| known.name == namespace);
        before = named.map(|(_, credential)| credential);
    }
    let Some(before) = before else {
        let limits = new.limits.unwrap_or_else(|| default_limits.clone());
        let created = entities.create_subject(new.subject, namespace, credential.clone(), limits).await;
        return Ok((credential, vec![created.map_err(taken)?]));
    };
    let credential = match (new.force, new.revoke) {
        (true, _) => credential,
        // The UUID stays: what is counted by it is not forgotten.
        (false, true) => Credential { uuid: before.uuid, key: credential.key },
        (false, false) => return Err(UserError::NamespaceExists),
    };
    let replaced = entities.replace_credential(new.subject, namespace, credential.clone()).await;
    Ok((credential, replaced.map_err(taken)?))
}

fn taken(error: StoreError) -> UserError {
    match error {
        StoreError::Conflict => UserError::UuidTaken,
        error => error.into(),
    }
}

/// Reads a user with its keys.
///
/// # Errors
/// When there is none, or the store fails.
pub async fn get(entities: &dyn Entities, subject: &str) -> Result<User, UserError> {
    let (info, credentials) = entities.subject(subject.to_owned()).await?.ok_or(UserError::Missing("get"))?;
    let namespaces = info.namespaces.into_iter().zip(credentials);
    let namespaces = namespaces
        .map(|(namespace, credential)| UserNamespace { name: namespace.name, auth: credential.expose() })
        .collect();
    Ok(User { subject: info.subject, blocked: info.blocked, namespaces })
}

/// Deletes a user with its keys; what it created stays. Answers the changes to publish.
///
/// # Errors
/// When there is none, or the store fails.
pub async fn delete(entities: &dyn Entities, subject: &str) -> Result<Vec<Change>, UserError> {
    exists(entities, subject, "delete").await?;
    Ok(entities.delete_subject(subject.to_owned()).await?)
}

/// Deletes one namespace of a user with its key. Answers the change to publish.
///
/// # Errors
/// When there is none, or the store fails.
pub async fn delete_namespace(
    entities: &dyn Entities,
    subject: &str,
    namespace: &str,
) -> Result<Vec<Change>, UserError> {
    exists(entities, subject, "delete").await?;
    let name = EntityName::namespace(namespace.trim()).map_err(UserError::BadNamespace)?;
    match entities.delete_namespace(subject.to_owned(), name).await {
        Ok(change) => Ok(vec![change]),
        Err(StoreError::Conflict) => {
            Err(UserError::NamespaceMissing(namespace.to_owned(), subject.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Who may call with a credential.
///
/// # Errors
/// Nobody, or the store fails.
pub async fn whois(entities: &dyn Entities, auth: &Secret) -> Result<Whois, UserError> {
    let credential = Credential::parse(&auth.0).ok_or(UserError::NotRecognized)?;
    let identity = entities.identity(credential).await?.ok_or(UserError::NotRecognized)?;
    Ok(Whois { subject: identity.subject.to_string(), namespace: identity.namespace })
}

/// Who may call in a namespace, with their keys, who has it longest first.
///
/// # Errors
/// Nobody, or the store fails.
pub async fn list(entities: &dyn Entities, namespace: &str) -> Result<Vec<Holder>, UserError> {
    let name = EntityName::namespace(namespace.trim()).map_err(UserError::BadNamespace)?;
    let holders = entities.holders(name).await?;
    if holders.is_empty() {
        return Err(UserError::NoIdentities(namespace.to_owned()));
    }
    let holder = |(subject, credential): (String, Credential)| Holder { subject, auth: credential.expose() };
    Ok(holders.into_iter().map(holder).collect())
}

/// Blocks a user, whose keys are refused from then on, or unblocks it. Answers the changes to publish.
///
/// # Errors
/// When there is none, or the store fails.
pub async fn block(entities: &dyn Entities, subject: &str, blocked: bool) -> Result<Vec<Change>, UserError> {
    exists(entities, subject, if blocked { "block" } else { "unblock" }).await?;
    Ok(entities.block_subject(subject.to_owned(), blocked).await?)
}

async fn exists(entities: &dyn Entities, subject: &str, wish: &'static str) -> Result<(), UserError> {
    let known = entities.subject(subject.to_owned()).await?;
    known.map(drop).ok_or(UserError::Missing(wish))
}

pub(crate) fn check_subject(subject: &str) -> Result<(), UserError> {
    let length = subject.chars().count();
    if length < SUBJECT_CHARS_MIN {
        return Err(UserError::ShortName);
    }
    if length > SUBJECT_CHARS_MAX || subject.chars().any(char::is_control) {
        return Err(UserError::BadName);
    }
    Ok(())
}

fn read_credential(text: &str) -> Result<Credential, UserError> {
    let (uuid, key) = text.split_once(':').ok_or(UserError::NoKey)?;
    match key.chars().count() {
        length if length < Credential::KEY_CHARS => return Err(UserError::ShortKey),
        length if length > Credential::KEY_CHARS || key.contains(':') => return Err(UserError::LongKey),
        _ => {}
    }
    if uuid::Uuid::try_parse(uuid).is_err() {
        return Err(UserError::InvalidUuid);
    }
    Ok(Credential { uuid: uuid.to_owned(), key: key.to_owned() })
}

/// A v4 UUID and 64 letters and digits (381 bits), both from the system's generator for secrets.
#[must_use]
pub fn draw_credential() -> Credential {
    let key = Alphanumeric.sample_string(&mut rand::rng(), Credential::KEY_CHARS);
    Credential { uuid: uuid::Uuid::new_v4().to_string(), key }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";

    fn refused(text: &str) -> String {
        read_credential(text).unwrap_err().to_string()
    }

    #[test]
    fn credentials_are_refused_with_wskadmins_texts() {
        let key = "k".repeat(64);
        assert!(read_credential(&format!("{UUID}:{key}")).is_ok());
        assert_eq!(refused(&format!("x:{key}")), "authorization id is not a valid UUID");
        assert_eq!(refused(&format!("{UUID}:k")), "authorization key must be at least 64 characters long");
        assert_eq!(
            refused(&format!("{UUID}:{key}k")),
            "authorization key must be exactly 64 characters long"
        );
        assert_eq!(refused("nothing"), "failed to determine authorization id and key");
    }

    #[test]
    fn subjects_have_5_characters_or_more() {
        assert_eq!(
            check_subject("four").unwrap_err().to_string(),
            "Subject name must be at least 5 characters"
        );
        assert!(check_subject("guest").is_ok());
        assert!(check_subject(&"a".repeat(257)).is_err());
        assert!(check_subject("gu\nest").is_err());
    }

    #[test]
    fn drawn_credentials_are_well_formed_and_differ() {
        let (one, other) = (draw_credential(), draw_credential());
        assert_eq!(Credential::parse(&one.expose()), Some(one.clone()));
        assert_ne!(one, other);
    }

    #[test]
    fn secrets_are_never_printed() {
        let new = NewUser { auth: Some(Secret("uuid:key".into())), ..NewUser::default() };
        assert!(!format!("{new:?}").contains("key"), "{new:?}");
    }
}
