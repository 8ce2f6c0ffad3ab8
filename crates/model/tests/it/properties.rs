//! Properties of names, of the merging of parameters, and of what lists show of entities.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Value, json};
use triplane_model::action::ActionPut;
use triplane_model::package::{PackagePut, Reached};
use triplane_model::runtimes::{Runtime, Runtimes};
use triplane_model::trigger::TriggerPut;
use triplane_model::{
    Action, CodeHash, Collection, Entity, EntityName, FullName, Merge, Merged, Package, Parameters, Revision,
    SystemLimits,
};

/// Keys and values of parameters; few keys, so that they meet.
type Values = BTreeMap<String, u8>;

fn values() -> impl Strategy<Value = Values> {
    btree_map("[a-e]", any::<u8>(), 0..5)
}

/// OpenWhisk's regular expression of a name.
const NAME: &str = "[A-Za-z0-9_]([A-Za-z0-9_@ .&-]{0,20}[A-Za-z0-9_@.&-])?";

fn parameters(values: &Values) -> Parameters {
    let list: Value = values.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    serde_json::from_value(list).unwrap()
}

fn read(parameters: &Parameters) -> Values {
    parameters
        .iter()
        .map(|parameter| (parameter.key.clone(), parameter.value.get().parse().unwrap()))
        .collect()
}

fn name(text: &str) -> FullName {
    text.parse().unwrap()
}

fn package(text: &str, values: &Values, revision: u64) -> Package {
    let put = PackagePut { parameters: Some(parameters(values)), ..PackagePut::default() };
    put.create(name(text), 0).unwrap().with_revision(Revision(revision))
}

fn binding(text: &str, values: &Values, revision: u64, to: &str) -> Package {
    let FullName { namespace, name, .. } = name(to);
    let binding = Some(triplane_model::Binding { namespace, name });
    Package { binding, ..package(text, values, revision) }
}

fn action(text: &str, values: &Values, revision: u64) -> Action {
    let runtime = Runtime {
        kind: "nodejs:20".into(),
        image: String::new(),
        deprecated: false,
        default: true,
        attached: true,
        require_main: false,
    };
    let runtimes = Runtimes([("nodejs".to_owned(), vec![runtime])].into());
    let body = json!({
        "exec": {"kind": "nodejs:20", "code": "1"}, "parameters": serde_json::to_value(parameters(values)).unwrap(),
    });
    let system = SystemLimits::default();
    let put = ActionPut::parse(body.to_string().as_bytes(), &runtimes, &system).unwrap();
    let hash = CodeHash("0".repeat(64).into());
    put.create(name(text), hash, &system, 0).unwrap().with_revision(Revision(revision))
}

/// Each over the one before.
fn overlaid(layers: &[&Values]) -> Values {
    layers.iter().flat_map(|layer| (*layer).clone()).collect()
}

/// What a list shows of an entity is in the entity, but for what they say differently of the same.
fn check_projection(summary: &str, whole: &str, different: &str) {
    let (summary, whole): (Value, Value) =
        (serde_json::from_str(summary).unwrap(), serde_json::from_str(whole).unwrap());
    for (key, value) in summary.as_object().unwrap().iter().filter(|(key, _)| *key != different) {
        assert_eq!(Some(value), whole.get(key), "{key}");
    }
}

proptest! {
    #[test]
    fn a_name_is_legal_exactly_when_openwhisks_expression_takes_it(text in "[ -~]{0,8}") {
        let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let is_inner = |char: char| is_word(char) || "@ .&-".contains(char);
        let expected = text.starts_with(is_word) && text.chars().all(is_inner) && !text.ends_with(' ');
        prop_assert_eq!(EntityName::entity(&text).is_ok(), expected);
    }

    #[test]
    fn a_full_name_is_read_as_it_is_printed_and_with_a_slash_before_it(
        namespace in NAME, package in proptest::option::of(NAME), own in NAME,
    ) {
        let part = |text: &str| EntityName::entity(text).unwrap();
        let full = FullName { namespace: part(&namespace), package: package.as_deref().map(part), name: part(&own) };
        prop_assert_eq!(full.to_string().parse::<FullName>().unwrap(), full.clone());
        let caller = part("caller");
        let expected = full.clone().of_caller(&caller);
        prop_assert_eq!(FullName::of_json(&json!(format!("/{full}")), &caller).unwrap(), expected.clone());
        let object = json!({"path": full.path(), "name": full.name});
        prop_assert_eq!(FullName::of_json(&object, &caller).unwrap(), expected);
    }

    #[test]
    fn no_text_makes_reading_a_name_fail_otherwise_than_by_an_error(text in ".{0,40}") {
        let caller = EntityName::namespace("caller").unwrap();
        if let Err(error) = FullName::of_json(&json!(text), &caller) {
            prop_assert_eq!(error.status, 400);
        }
    }

    #[test]
    fn parameters_are_inherited_package_before_binding_before_action_before_call(
        of_package in values(), of_binding in values(), of_action in values(), of_call in values(),
    ) {
        let provider = package("p/pkg", &of_package, 1);
        let named = binding("b/bound", &of_binding, 2, "p/pkg");
        let reached = Reached { named, provider: Some(provider) };
        let resolved = reached.resolve(action("p/pkg/a", &of_action, 3));
        let expected = overlaid(&[&of_package, &of_binding, &of_action]);
        prop_assert_eq!(read(&resolved.action.parameters), expected);
        let merge = Merge::new(&resolved.action.parameters, |_| false);
        let payload = serde_json::to_vec(&of_call).unwrap();
        let merged = match merge.apply(&payload, |_| false).unwrap() {
            Merged::Defaults => merge.without_payload().to_vec(),
            Merged::Payload => payload,
            Merged::Both(object) => object,
        };
        let merged: Values = serde_json::from_slice(&merged).unwrap();
        prop_assert_eq!(merged, overlaid(&[&of_package, &of_binding, &of_action, &of_call]));
    }

    #[test]
    fn a_resolved_action_is_of_the_latest_revision_of_all_that_it_is_made_of(
        revisions in [1_u64..100, 1_u64..100, 1_u64..100],
    ) {
        let [package_revision, binding_revision, action_revision] = revisions;
        let none = Values::new();
        let provider = package("p/pkg", &none, package_revision);
        let named = binding("b/bound", &none, binding_revision, "p/pkg");
        let reached = Reached { named, provider: Some(provider) };
        let resolved = reached.resolve(action("p/pkg/a", &none, action_revision));
        prop_assert_eq!(Some(resolved.action.revision.0), revisions.into_iter().max());
        prop_assert_eq!(resolved.binding, Some(name("b/bound")));
    }

    #[test]
    fn a_list_shows_a_part_of_each_entity(of_package in values(), of_trigger in values(), of_action in values()) {
        let package = package("ns/p", &of_package, 1);
        check_projection(&package.to_summary(), &package.to_json(), "binding");
        let put = TriggerPut { parameters: Some(parameters(&of_trigger)), ..TriggerPut::default() };
        let trigger = put.create(name("ns/t"), 0);
        check_projection(&trigger.to_summary(), &trigger.to_json(), "");
        let action = action("ns/a", &of_action, 1);
        check_projection(&action.to_summary(), &action.to_json(Some("1")), "exec");
        for (summary, collection) in [
            (package.to_summary(), Collection::Packages),
            (trigger.to_summary(), Collection::Triggers),
            (action.to_summary(), Collection::Actions),
        ] {
            prop_assert!(!summary.contains("\"parameters\""), "{collection} shows parameters");
        }
    }
}
