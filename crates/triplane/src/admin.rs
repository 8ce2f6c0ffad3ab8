//! `triplane admin`: on a stopped platform by opening its data directory, on a running one by its admin API.

use std::path::Path;

use anyhow::{Context, bail};
use http::Method;
use serde_json::json;
use triplane_management::subjects::{self, NewUser, Secret, User};
use triplane_model::NamespaceLimits;
use triplane_store::{DirLock, Entities, LockError, Sqlite, Stores};

use crate::cli::{AdminCommand, UserCommand};
use crate::client::{Client, percent_encode};
use crate::contact::Contact;

/// Carries out one command and prints what it says.
pub(crate) async fn run(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::User(command) => user(command).await,
        AdminCommand::Backup { data, target, with_key } => {
            triplane_store::backup(&data.path(), &target, with_key).await?;
            println!("backup written to {}", target.display());
            Ok(())
        }
        AdminCommand::Restore { data, source } => {
            let dir = data.path();
            let _lock = DirLock::acquire(&dir)?;
            let restored = triplane_store::restore(&source, &dir).await?;
            println!("{} restored from {}", dir.display(), source.display());
            if restored.calls_dropped > 0 {
                println!(
                    "{} queued calls have a record already and are not run again",
                    restored.calls_dropped
                );
            }
            if !restored.key {
                let key = dir.join("keys").join("seal.key");
                println!(
                    "the backup has no key file: put the original one at {} before the start",
                    key.display()
                );
            }
            Ok(())
        }
    }
}

/// What is to be done with a subject.
enum Wish {
    Create { namespace: Option<String>, auth: Option<String> },
    Get,
    Delete,
    Block(bool),
}

async fn user(command: UserCommand) -> anyhow::Result<()> {
    let (data, subject, wish) = match command {
        UserCommand::Create { data, subject, auth, namespace } => {
            (data, subject, Wish::Create { namespace, auth })
        }
        UserCommand::Get { data, subject } => (data, subject, Wish::Get),
        UserCommand::Delete { data, subject } => (data, subject, Wish::Delete),
        UserCommand::Block { data, subject } => (data, subject, Wish::Block(true)),
        UserCommand::Unblock { data, subject } => (data, subject, Wish::Block(false)),
    };
    let dir = data.path();
    let creates = matches!(wish, Wish::Create { .. });
    if !creates && !dir.join("entities.db").exists() {
        bail!("{} is no data directory; name it with --data-dir", dir.display());
    }
    let said = match DirLock::acquire(&dir) {
        Ok(_lock) => stopped(&dir, subject, wish).await?,
        Err(LockError::InUse(_)) => running(&Contact::read(&dir)?, &subject, wish).await?,
        Err(error) => return Err(error.into()),
    };
    println!("{said}");
    Ok(())
}

/// Opens the store; the lock of the directory is held by the caller.
async fn stopped(dir: &Path, subject: String, wish: Wish) -> anyhow::Result<String> {
    let stores = Sqlite::open(dir, triplane_store::Options::default()).await?;
    let said = on_store(&stores, subject, wish).await;
    stores.close().await;
    said
}

async fn on_store(stores: &Stores, subject: String, wish: Wish) -> anyhow::Result<String> {
    let entities: &dyn Entities = &*stores.entities;
    Ok(match wish {
        Wish::Create { namespace, auth } => {
            let new = NewUser { subject, namespace, auth: auth.map(Secret), limits: None };
            let (credential, _) = subjects::create(entities, new, &NamespaceLimits::default()).await?;
            credential.expose()
        }
        Wish::Get => credentials(&subjects::get(entities, &subject).await?),
        Wish::Delete => {
            subjects::delete(entities, &subject).await?;
            "Subject deleted".to_owned()
        }
        Wish::Block(blocked) => {
            subjects::block(entities, &subject, blocked).await?;
            format!("'{subject}' {} successfully", if blocked { "blocked" } else { "unblocked" })
        }
    })
}

/// One line for each namespace: the credential, and the namespace where it is not named like the subject.
fn credentials(user: &User) -> String {
    let line = |namespace: &subjects::UserNamespace| match namespace.name.as_str() == user.subject {
        true => namespace.auth.clone(),
        false => format!("{} {}", namespace.auth, namespace.name),
    };
    user.namespaces.iter().map(line).collect::<Vec<_>>().join("\n")
}

async fn running(contact: &Contact, subject: &str, wish: Wish) -> anyhow::Result<String> {
    let users = "/admin/v1/users";
    let name = percent_encode(subject);
    let one = format!("{users}/{name}");
    let (method, path, body) = match &wish {
        Wish::Create { namespace, auth } => {
            let body = json!({"subject": subject, "namespace": namespace, "auth": auth});
            (Method::POST, users.to_owned(), Some(body))
        }
        Wish::Get => (Method::GET, one, None),
        Wish::Delete => (Method::DELETE, one, None),
        Wish::Block(true) => (Method::POST, format!("{one}/block"), None),
        Wish::Block(false) => (Method::POST, format!("{one}/unblock"), None),
    };
    let client = Client::of_operator(contact);
    let answer = client.ask(method, &path, body).await?;
    Ok(match wish {
        Wish::Create { .. } => answer["auth"].as_str().context("the answer has no credential")?.to_owned(),
        Wish::Get => credentials(&serde_json::from_value(answer)?),
        Wish::Delete | Wish::Block(_) => answer["message"].as_str().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_may_hold_any_character() {
        assert_eq!(percent_encode("a b/ü@x"), "a%20b%2F%C3%BC%40x");
    }
}
