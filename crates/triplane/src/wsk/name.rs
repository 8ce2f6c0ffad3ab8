//! Names of entities as people write them, and the paths that they stand for.

use super::failure::Failure;
use crate::client::percent_encode;

/// The namespace that the key belongs to.
pub(crate) const OWN: &str = "_";

/// A qualified name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) package: Option<String>,
    pub(crate) entity: String,
}

/// What a path below a namespace begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collection {
    Actions,
    Packages,
    Triggers,
    Rules,
}

impl Collection {
    /// As in paths.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Packages => "packages",
            Self::Triggers => "triggers",
            Self::Rules => "rules",
        }
    }
}

impl Name {
    /// Reads `name`, `package/name`, `/namespace/name`, `/namespace/package/name`; of three parts the first slash may be missing.
    pub(crate) fn parse(text: &str, namespace: &str) -> Result<Self, Failure> {
        let is_absolute = text.starts_with('/') || text.split('/').count() == 3;
        let parts: Vec<&str> = text.strip_prefix('/').unwrap_or(text).split('/').collect();
        let has_gap = parts.iter().any(|part| part.is_empty() || *part == ".");
        let (namespace, rest) = match is_absolute {
            true => (parts[0], &parts[1..]),
            false => (namespace, &parts[..]),
        };
        match (has_gap, rest) {
            (false, [entity]) => Ok(Self::of(namespace, None, entity)),
            (false, [package, entity]) => Ok(Self::of(namespace, Some(package), entity)),
            _ => Err(Failure::Usage(format!(
                "'{text}' is no name: it takes the form name, package/name or /namespace/package/name"
            ))),
        }
    }

    fn of(namespace: &str, package: Option<&str>, entity: &str) -> Self {
        let package = package.map(str::to_owned);
        Self { namespace: namespace.to_owned(), package, entity: entity.to_owned() }
    }

    /// Reads a name without a package.
    pub(crate) fn parse_plain(text: &str, namespace: &str) -> Result<Self, Failure> {
        let name = Self::parse(text, namespace)?;
        match name.package {
            None => Ok(name),
            Some(_) => Err(Failure::Usage(format!("'{text}' is in a package, where only actions can be"))),
        }
    }

    /// The entity's path below the version of the API.
    pub(crate) fn path(&self, collection: Collection) -> String {
        let package = self.package.iter().map(|package| format!("{}/", percent_encode(package)));
        let package: String = package.collect();
        format!("{}/{package}{}", of_collection(&self.namespace, collection), percent_encode(&self.entity))
    }

    /// `/namespace/[package/]name`.
    pub(crate) fn full(&self) -> String {
        format!("/{}/{}", self.namespace, self.short())
    }

    /// `[package/]name`.
    pub(crate) fn short(&self) -> String {
        match &self.package {
            Some(package) => format!("{package}/{}", self.entity),
            None => self.entity.clone(),
        }
    }
}

/// The path of a collection.
pub(crate) fn of_collection(namespace: &str, collection: Collection) -> String {
    format!("/namespaces/{}/{}", percent_encode(namespace), collection.plural())
}

/// Reads `/namespace` or `namespace`.
pub(crate) fn namespace(text: Option<&str>, own: &str) -> Result<String, Failure> {
    let Some(text) = text else { return Ok(own.to_owned()) };
    let name = text.strip_prefix('/').unwrap_or(text).trim_end_matches('/');
    match name.is_empty() || name.contains('/') {
        true => Err(Failure::Usage(format!("'{text}' is no namespace: it takes the form /namespace"))),
        false => Ok(name.to_owned()),
    }
}

/// The path of the actions of a namespace, `/namespace`, or of a package, `[/namespace/]package`.
pub(crate) fn actions_of(text: Option<&str>, own: &str) -> Result<String, Failure> {
    let package = |namespace: &str, package: &str| {
        format!("{}/{}/", of_collection(namespace, Collection::Actions), percent_encode(package))
    };
    let Some(text) = text else { return Ok(of_collection(own, Collection::Actions)) };
    let absolute = text.strip_prefix('/').map(|rest| rest.trim_end_matches('/').split_once('/'));
    match absolute {
        Some(None) => Ok(of_collection(&namespace(Some(text), own)?, Collection::Actions)),
        Some(Some((namespace, name))) if !name.contains('/') => Ok(package(namespace, name)),
        None if !text.trim_end_matches('/').contains('/') && !text.is_empty() => {
            Ok(package(own, text.trim_end_matches('/')))
        }
        _ => Err(Failure::Usage(format!(
            "'{text}' has no list of actions: name a package, /namespace or /namespace/package"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_wsk_reads_them() {
        for (text, expected) in [
            ("hello", Some("/_/hello")),
            ("pkg/hello", Some("/_/pkg/hello")),
            ("/guest/hello", Some("/guest/hello")),
            ("/guest/pkg/hello", Some("/guest/pkg/hello")),
            ("guest/pkg/hello", Some("/guest/pkg/hello")),
            ("/_/hello", Some("/_/hello")),
            ("with space", Some("/_/with space")),
            ("", None),
            ("/", None),
            (".", None),
            ("/guest", None),
            ("/guest/", None),
            ("pkg/", None),
            ("/a/b/c/d", None),
            ("a/b/c/d", None),
        ] {
            let read = Name::parse(text, OWN).ok().map(|name| name.full());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert_eq!(Name::parse("hello", "mine").unwrap().full(), "/mine/hello");
    }

    #[test]
    fn a_path_escapes_each_part() {
        let name = Name::parse("/guest/my pkg/a@b", OWN).unwrap();
        assert_eq!(name.path(Collection::Actions), "/namespaces/guest/actions/my%20pkg/a%40b");
        assert_eq!(Name::parse("t", OWN).unwrap().path(Collection::Triggers), "/namespaces/_/triggers/t");
    }

    #[test]
    fn only_actions_are_in_packages() {
        assert!(Name::parse_plain("t", OWN).is_ok());
        assert!(Name::parse_plain("pkg/t", OWN).is_err());
    }

    #[test]
    fn actions_are_listed_of_namespaces_and_packages() {
        for (text, expected) in [
            (None, Some("/namespaces/_/actions")),
            (Some("/guest"), Some("/namespaces/guest/actions")),
            (Some("pkg"), Some("/namespaces/_/actions/pkg/")),
            (Some("pkg/"), Some("/namespaces/_/actions/pkg/")),
            (Some("/whisk.system/utils"), Some("/namespaces/whisk.system/actions/utils/")),
            (Some("/a/b/c"), None),
            (Some("a/b"), None),
            (Some(""), None),
        ] {
            assert_eq!(actions_of(text, OWN).ok().as_deref(), expected, "{text:?}");
        }
    }
}
