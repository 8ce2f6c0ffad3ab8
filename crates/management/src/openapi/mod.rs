//! The OpenAPI document of all that is served, made of the tables that requests are routed by.
//!
//! `docs/openapi.json` is this document, checked in; a test of the binary compares both. A route that is added to a table
//! is in the document by that, and a body that is new needs a schema in `schemas`.

mod doc;
mod pool;
mod schemas;

use serde_json::{Map, Value, json};

pub(crate) use doc::Described;
pub use doc::{Access, Described as Page, Doc, Parameter, Shown};

use doc::Kind;

/// Makes the document of the public API, and of the admin listener's pages and API.
pub(crate) fn document(public: &[Described], admin: &[Described]) -> Value {
    let mut paths = Map::new();
    for route in public {
        paths.insert(route.path.clone(), path_item(route));
    }
    for route in admin {
        let mut item = path_item(route);
        item["servers"] = json!([{
            "url": "http://127.0.0.1:3234",
            "description": "the admin listener, which is not to be reached by others",
        }]);
        paths.insert(route.path.clone(), item);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Triplane",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The Apache OpenWhisk API as Triplane serves it, and Triplane's own additions.",
        },
        "servers": [{ "url": "http://127.0.0.1:3233" }],
        "paths": paths,
        "components": {
            "schemas": schemas::schemas(),
            "securitySchemes": {
                "namespace": { "type": "http", "scheme": "basic", "description": "uuid and key of a namespace" },
                "operator": { "type": "http", "scheme": "bearer", "description": "the token in admin.json" },
                "controller": { "type": "http", "scheme": "basic", "description": "the controller's user of the configuration" },
            },
        },
    })
}

fn path_item(route: &Described) -> Value {
    let operation =
        |(method, doc): &(http::Method, Doc)| (method.as_str().to_lowercase(), operation(&route.path, doc));
    let mut item: Map<String, Value> = route.operations.iter().map(operation).collect();
    let parameters: Vec<Value> = names(&route.path).map(path_parameter).collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    item.into()
}

fn operation(path: &str, doc: &Doc) -> Value {
    let security = match doc.access {
        Access::Anyone => json!([]),
        Access::Namespace => json!([{ "namespace": [] }]),
        Access::Operator => json!([{ "operator": [] }]),
        Access::Controller => json!([{ "controller": [] }]),
    };
    let mut answers: Map<String, Value> = Map::new();
    for (status, shown) in &doc.answers {
        answers.insert(status.to_string(), answer(*status, *shown));
    }
    // whatever is refused, and whatever this server cannot do just now
    let refusals =
        json!({ "description": "refused, or not possible", "content": content(Shown::Json("Error")) });
    if !answers.contains_key("503") && doc.access != Access::Anyone {
        answers.insert("503".to_owned(), answer(503, Shown::Json("Error")));
    }
    if doc.access != Access::Anyone {
        answers.insert("default".to_owned(), refusals);
    } else if answers.is_empty() {
        answers.insert("default".to_owned(), json!({ "description": "what the action answers" }));
    }
    let mut operation =
        json!({ "summary": doc.summary, "tags": [tag(path)], "security": security, "responses": answers });
    if !doc.parameters.is_empty() {
        operation["parameters"] = doc.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = doc.body {
        operation["requestBody"] = json!({ "content": content(body) });
    }
    operation
}

/// The collection that a path is of.
fn tag(path: &str) -> &str {
    let rest = path.strip_prefix("/api/v1/namespaces/{ns}/").or_else(|| path.strip_prefix("/api/v1/"));
    let first = rest.unwrap_or(path).trim_matches('/').split('/').next().unwrap_or_default();
    match first {
        "" | "api" | "api-docs" | "docs" | "ping" => "info",
        first => first,
    }
}

fn answer(status: u16, shown: Shown) -> Value {
    let description = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut answer = json!({ "description": description.unwrap_or_default().to_lowercase() });
    if shown != Shown::Nothing {
        answer["content"] = content(shown);
    }
    answer
}

fn content(shown: Shown) -> Value {
    let reference = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    match shown {
        Shown::Nothing => json!({}),
        Shown::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
        Shown::Json(schema) => json_of(reference(schema)),
        Shown::Either(one, other) => json_of(json!({ "anyOf": [reference(one), reference(other)] })),
        Shown::List(item) => json_of(array_of(reference(item))),
        Shown::ListOr(item, other) => {
            json_of(json!({ "anyOf": [array_of(reference(item)), reference(other)] }))
        }
    }
}

fn json_of(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn array_of(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Text => json!({ "type": "string" }),
    };
    json!({ "name": parameter.name, "in": parameter.place, "description": parameter.about, "schema": schema })
}

/// The names of the parameters in a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.split('}').next())
}

fn path_parameter(name: &str) -> Value {
    let (schema, about) = match name {
        "ns" => (json!({ "type": "string", "default": "_" }), "a namespace; `_` is the caller's"),
        "id" => (json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }), "the id of an activation"),
        "subject" => (json!({ "type": "string", "minLength": 5, "maxLength": 256 }), "a subject"),
        "node" => (json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }), "the number of a node"),
        "package" => (json!({ "$ref": "#/components/schemas/Name" }), "a package"),
        _ => (json!({ "$ref": "#/components/schemas/Name" }), "a name"),
    };
    let mut parameter =
        json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema });
    if name == "name" {
        parameter["example"] = json!("hello");
    }
    parameter
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there() {
        let (public, admin) = (crate::routes::public().described(), crate::routes::admin().described());
        let document = document(&public, &admin);
        let text = document.to_string();
        let named = text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap());
        for schema in named {
            assert!(document["components"]["schemas"][schema].is_object(), "there is no schema {schema}");
        }
    }

    #[test]
    fn parameters_of_the_path_are_described_with_it() {
        let route = Described {
            path: "/x/{ns}/{id}".to_owned(),
            operations: vec![(Method::GET, Doc::new("reads").shows("Action"))],
        };
        let item = path_item(&route);
        assert_eq!(item["parameters"][0]["name"], "ns");
        assert_eq!(item["parameters"][1]["name"], "id");
        assert_eq!(item["get"]["responses"]["200"]["description"], "ok");
        assert_eq!(item["get"]["security"], json!([{ "namespace": [] }]));
    }

    #[test]
    fn a_path_is_tagged_by_its_collection() {
        for (path, expected) in [
            ("/", "info"),
            ("/api/v1/", "info"),
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/{ns}/actions/{name}", "actions"),
            ("/admin/v1/users", "admin"),
        ] {
            assert_eq!(tag(path), expected, "{path}");
        }
    }
}
