//! What the annotations of an entity say about it, for people.

use serde_json::Value;

use super::shell::{full_name, keyed, text};

/// A line about an entity and one about its parameters; bound ones are marked with `*`.
pub(crate) fn summary(what: &str, entity: &Value) -> String {
    let line = |name: &str, entity: &Value| {
        let description = keyed(&entity["annotations"], "description").and_then(Value::as_str);
        let description = description.map(|text| format!(": {text}")).unwrap_or_default();
        format!("{name}{description}\n   (parameters: {})\n", parameters(entity))
    };
    let name = full_name(entity);
    let own = line(&format!("{what} {name}"), entity);
    let inner = [("action", "actions"), ("feed", "feeds")].into_iter().flat_map(|(singular, plural)| {
        let entities = entity[plural].as_array().into_iter().flatten();
        let name = name.clone();
        entities.map(move |inner| line(&format!(" {singular} {name}/{}", text(inner, "name")), inner))
    });
    std::iter::once(own).chain(inner).collect()
}

fn parameters(entity: &Value) -> String {
    let described = keyed(&entity["annotations"], "parameters").and_then(Value::as_array);
    let described = described.into_iter().flatten().filter_map(|parameter| parameter["name"].as_str());
    let bound: Vec<&str> = entity["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pair| pair["key"].as_str())
        .collect();
    let mark = |name: &str| format!("{}{name}", if bound.contains(&name) { "*" } else { "" });
    let mut names: Vec<String> = described.chain(bound.iter().copied()).map(mark).collect();
    names.sort_by(|one, other| one.trim_start_matches('*').cmp(other.trim_start_matches('*')));
    names.dedup();
    if names.is_empty() { "none defined".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_has_descriptions_and_parameters() {
        let action = json!({
            "namespace": "guest", "name": "hello",
            "annotations": [
                {"key": "description", "value": "Greets"},
                {"key": "parameters", "value": [{"name": "name"}, {"name": "place"}]},
            ],
            "parameters": [{"key": "place", "value": "here"}],
        });
        let expected = "action /guest/hello: Greets\n   (parameters: name, *place)\n";
        assert_eq!(summary("action", &action), expected);
    }

    #[test]
    fn a_package_has_the_summaries_of_what_is_in_it() {
        let package = json!({
            "namespace": "guest", "name": "tools", "annotations": [], "parameters": [],
            "actions": [{"name": "cut", "annotations": [{"key": "description", "value": "Cuts"}]}],
            "feeds": [{"name": "tick", "annotations": []}],
        });
        let expected = "package /guest/tools\n   (parameters: none defined)\n \
            action /guest/tools/cut: Cuts\n   (parameters: none defined)\n \
            feed /guest/tools/tick\n   (parameters: none defined)\n";
        assert_eq!(summary("package", &package), expected);
    }
}
