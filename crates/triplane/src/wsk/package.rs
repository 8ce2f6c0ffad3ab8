//! `triplane package`.

use serde_json::{Value, json};

use super::action::visibility;
use super::cli::{PackageCommand, PackageOptions, Shared, Shown};
use super::failure::{Failure, While};
use super::name::{Collection, Name, namespace, of_collection};
use super::pairs::Pairs;
use super::shell::{Shell, full_name, print, text};
use super::summary;
use crate::table::table;

const PACKAGES: Collection = Collection::Packages;

/// Carries out one command.
pub(crate) async fn run(command: PackageCommand, shell: &Shell) -> Result<(), Failure> {
    let named = |name: &str| Name::parse_plain(name, shell.api.namespace());
    match command {
        PackageCommand::Create(options) => put(&options, false, shell).await,
        PackageCommand::Update(options) => put(&options, true, shell).await,
        PackageCommand::Bind { package, name, parameters, annotations } => {
            bind(&named(&package)?, &named(&name)?, &parameters.0, &annotations.0, shell).await
        }
        PackageCommand::Get(Shown { name, field, summary }) => {
            let name = named(&name)?;
            let package = shell.api.get(&name.path(PACKAGES)).await;
            let package = package.during(|| format!("get package '{}'", name.entity))?;
            if summary && !shell.json {
                print(&summary::summary("package", &package));
                return Ok(());
            }
            shell.entity(&format!("package {}", name.entity), &package, field.as_deref())
        }
        PackageCommand::Delete { name, force } => {
            let name = named(&name)?;
            let force = if force { "?force=true" } else { "" };
            let deleted = shell.api.delete(&format!("{}{force}", name.path(PACKAGES))).await;
            let deleted = deleted.during(|| format!("delete package '{}'", name.entity))?;
            shell.done(&format!("deleted package {}", name.entity), &deleted);
            Ok(())
        }
        PackageCommand::List { namespace: of, page } => {
            let path = of_collection(&namespace(of.as_deref(), shell.api.namespace())?, PACKAGES);
            let packages = shell.page(&path, &page).await.during(|| "list packages".to_owned())?;
            shell.list(&packages, list);
            Ok(())
        }
    }
}

/// A line for each package.
pub(crate) fn list(packages: &[Value]) -> String {
    let row = |package: &Value| {
        let binding = &package["binding"];
        let bound = if binding["name"].is_string() { full_name(binding) } else { String::new() };
        [full_name(package), visibility(package), text(package, "version").to_owned(), bound]
    };
    table(["packages", "visibility", "version", "bound to"], packages.iter().map(row))
}

async fn put(options: &PackageOptions, updates: bool, shell: &Shell) -> Result<(), Failure> {
    let (verb, done) = if updates { ("update", "updated") } else { ("create", "created") };
    let name = Name::parse_plain(&options.name, shell.api.namespace())?;
    let mut body = json!({"namespace": "_", "name": name.entity});
    give(&mut body, &options.parameters.0, &options.annotations.0).await?;
    if let Some(shared) = options.shared {
        body["publish"] = json!(shared == Shared::Yes);
    }
    let package = shell.api.put(&format!("{}?overwrite={updates}", name.path(PACKAGES)), &body).await;
    let package = package.during(|| format!("{verb} package '{}'", name.entity))?;
    shell.done(&format!("{done} package {}", name.entity), &package);
    Ok(())
}

async fn bind(
    package: &Name,
    name: &Name,
    parameters: &Pairs,
    annotations: &Pairs,
    shell: &Shell,
) -> Result<(), Failure> {
    let binding = json!({"namespace": package.namespace, "name": package.entity});
    let mut body = json!({"namespace": "_", "name": name.entity, "binding": binding});
    give(&mut body, parameters, annotations).await?;
    let bound = shell.api.put(&format!("{}?overwrite=false", name.path(PACKAGES)), &body).await;
    let bound = bound.during(|| format!("bind package '{}' as '{}'", package.full(), name.entity))?;
    shell.done(&format!("created binding {}", name.entity), &bound);
    Ok(())
}

/// Adds what was given; an update keeps the rest.
pub(crate) async fn give(body: &mut Value, parameters: &Pairs, annotations: &Pairs) -> Result<(), Failure> {
    for (field, pairs) in [("parameters", parameters), ("annotations", annotations)] {
        if !pairs.is_empty() {
            body[field] = Value::Array(pairs.array().await?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_bound() {
        let packages = [
            json!({"namespace": "guest", "name": "tools", "version": "0.0.1", "publish": true, "binding": false}),
            json!({
                "namespace": "guest", "name": "mine", "version": "0.0.2", "publish": false,
                "binding": {"namespace": "whisk.system", "name": "utils"},
            }),
        ];
        let expected = "\
            packages      visibility  version  bound to\n\
            /guest/tools  shared      0.0.1\n\
            /guest/mine   private     0.0.2    /whisk.system/utils\n";
        assert_eq!(list(&packages), expected);
    }
}
