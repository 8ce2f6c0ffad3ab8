//! `triplane namespace` and `triplane list`.

use serde_json::{Value, json};

use super::cli::NamespaceCommand;
use super::failure::{Failure, While};
use super::name::{Collection, namespace, of_collection};
use super::shell::{Shell, print, print_json};
use super::{action, package, rule, trigger};
use crate::table::table;

/// Carries out one command.
pub(crate) async fn run(command: NamespaceCommand, shell: &Shell) -> Result<(), Failure> {
    match command {
        NamespaceCommand::List => {
            let namespaces = shell.api.get("/namespaces").await.during(|| "list namespaces".to_owned())?;
            shell.list(&namespaces, |names| {
                table(["namespaces"], names.iter().map(|name| [name.as_str().unwrap_or_default().to_owned()]))
            });
            Ok(())
        }
        NamespaceCommand::Get { namespace } => list(namespace.as_deref(), shell).await,
    }
}

/// Shows everything in a namespace.
pub(crate) async fn list(of: Option<&str>, shell: &Shell) -> Result<(), Failure> {
    let of = namespace(of, shell.api.namespace())?;
    let read = async |collection| {
        let path = format!("{}?limit=0&skip=0", of_collection(&of, collection));
        let items = shell.api.get(&path).await;
        items.during(|| format!("list {} of namespace '{of}'", collection.plural()))
    };
    let packages = read(Collection::Packages).await?;
    let actions = read(Collection::Actions).await?;
    let triggers = read(Collection::Triggers).await?;
    let mut rules = read(Collection::Rules).await?;
    if let Value::Array(rules) = &mut rules {
        rule::add_status(rules, &of, shell).await?;
    }
    if shell.json {
        print_json(&json!({"packages": packages, "actions": actions, "triggers": triggers, "rules": rules}));
        return Ok(());
    }
    let tables = [
        (&packages, package::list as fn(&[Value]) -> String),
        (&actions, action::list),
        (&triggers, trigger::list),
        (&rules, rule::list),
    ];
    print(&format!("entities in namespace: {of}\n"));
    for (items, text) in tables {
        print(&text(items.as_array().map_or(&[], Vec::as_slice)));
    }
    Ok(())
}
