//! The path of a web action: `/api/v1/web/{ns}/{package or "default"}/{action}[.extension][/rest]`.

use triplane_model::{EntityName, FullName};

use crate::route::decoded;

const PREFIX: &str = "/api/v1/web/";
/// What stands in a path for no package.
const NO_PACKAGE: &str = "default";

/// What the result of a web action becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Status, headers and body are in the result.
    Http,
    Json,
    Html,
    Svg,
    Text,
}

/// What a request to a web action names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebPath<'a> {
    pub(crate) name: FullName,
    pub(crate) extension: Extension,
    /// What follows the action, as it was sent: nothing, or it starts with a slash.
    pub(crate) rest: &'a str,
}

impl<'a> WebPath<'a> {
    /// Whether a path is below that of web actions.
    pub(crate) fn is_below(path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    /// Reads a path; nothing when a segment is missing or no name.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix(PREFIX)?.splitn(3, '/');
        let (namespace, package) = (decoded(segments.next()?)?, decoded(segments.next()?)?);
        let last = segments.next()?;
        let (segment, rest) = last.split_at(last.find('/').unwrap_or(last.len()));
        let segment = decoded(segment)?;
        // The whole segment is to be a name, and what is left of it without its extension.
        let _ = EntityName::entity(&segment).ok()?;
        let (name, extension) = Extension::split(&segment);
        let package = match &*package {
            NO_PACKAGE => None,
            package => Some(EntityName::entity(package).ok()?),
        };
        let namespace = EntityName::namespace(&namespace).ok()?;
        let name = FullName { namespace, package, name: EntityName::entity(name).ok()? };
        Some(Self { name, extension, rest })
    }
}

impl Extension {
    const ALL: [(&'static str, Self); 5] = [
        (".http", Self::Http),
        (".json", Self::Json),
        (".html", Self::Html),
        (".svg", Self::Svg),
        (".text", Self::Text),
    ];

    /// A name and its extension; what ends with no known one has that of `.http`.
    fn split(segment: &str) -> (&str, Self) {
        let of = |(suffix, extension)| Some((segment.strip_suffix(suffix)?, extension));
        Self::ALL.into_iter().find_map(of).unwrap_or((segment, Self::Http))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, Extension, &str)> {
        WebPath::of(path).map(|path| (path.name.to_string(), path.extension, path.rest))
    }

    #[test]
    fn a_path_names_an_action_its_extension_and_the_rest() {
        use Extension::{Html, Http, Json, Svg, Text};
        for (path, name, extension, rest) in [
            ("/api/v1/web/ns/default/a", "ns/a", Http, ""),
            ("/api/v1/web/ns/default/a.http", "ns/a", Http, ""),
            ("/api/v1/web/ns/default/a.json/", "ns/a", Json, "/"),
            ("/api/v1/web/ns/pkg/a.html/b/c.json", "ns/pkg/a", Html, "/b/c.json"),
            ("/api/v1/web/ns/pkg/a.svg//b%20c", "ns/pkg/a", Svg, "//b%20c"),
            ("/api/v1/web/ns/pkg/a.text", "ns/pkg/a", Text, ""),
            ("/api/v1/web/ns/pkg/a.b.text", "ns/pkg/a.b", Text, ""),
            ("/api/v1/web/n%20s/p%20kg/a%20b.json", "n s/p kg/a b", Json, ""),
        ] {
            assert_eq!(read(path), Some((name.to_owned(), extension, rest)), "{path}");
        }
    }

    #[test]
    fn an_unknown_extension_is_part_of_the_name() {
        for segment in ["a.xml", "a.JSON", "a.json.xml", "a.jsonx", "ajson", "a."] {
            let path = format!("/api/v1/web/ns/default/{segment}");
            assert_eq!(read(&path), Some((format!("ns/{segment}"), Extension::Http, "")));
        }
    }

    #[test]
    fn a_path_with_a_segment_that_is_no_name_names_nothing() {
        for path in [
            "/api/v1/web",
            "/api/v1/web/",
            "/api/v1/web/ns",
            "/api/v1/web/ns/",
            "/api/v1/web/ns/default",
            "/api/v1/web/ns/default/",
            "/api/v1/web/ns//a",
            "/api/v1/web//default/a",
            "/api/v1/web/ns/default/.json",
            "/api/v1/web/ns/default/a%20.json",
            "/api/v1/web/ns/default/$a",
            "/api/v1/web/ns/default/a%2fb",
            "/api/v1/web/ns/default/a%zz",
            "/api/v1/web/ns/-p/a",
            "/api/v1/web/n$/default/a",
            "/api/v1/webx/ns/default/a",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
        let long = "a".repeat(256);
        assert!(read(&format!("/api/v1/web/ns/default/{long}")).is_some());
        assert!(read(&format!("/api/v1/web/ns/default/{long}.json")).is_none());
    }
}
