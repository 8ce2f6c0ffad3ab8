//! The components of a sequence, as clients write and read them (openwhisk-api.md 2.1, 2.3, 4.1).

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::name::{EntityName, FullName};
use crate::parameters::Parameters;

/// The parameter that clients of old times find the components in.
const ACTIONS: &str = "_actions";

/// `components` of `exec`; `_` is left as it is.
pub(crate) fn components(exec: &Map<String, Value>) -> Result<Vec<FullName>, ApiError> {
    let Some(components) = exec.get("components") else {
        return Err(ApiError::malformed_content("'components' must be defined for sequence kind"));
    };
    let Value::Array(components) = components else {
        return Err(ApiError::malformed_content("'components' must be an array"));
    };
    let underscore = EntityName::namespace("_")?;
    components.iter().map(|component| FullName::of_json(component, &underscore)).collect()
}

/// The parameters of a sequence, which takes no others; nothing for what is none.
pub(crate) fn parameters(components: &[FullName]) -> Option<Parameters> {
    if components.is_empty() {
        return None;
    }
    let mut parameters = Parameters::default();
    parameters.set(ACTIONS, serde_json::value::to_raw_value(&names(components)).ok()?);
    Some(parameters)
}

/// Names with their slash.
pub(crate) fn names(components: &[FullName]) -> Vec<String> {
    components.iter().map(|name| format!("/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::action::ActionPut;
    use crate::runtimes::Runtimes;
    use crate::{Action, CodeHash, SystemLimits};

    fn put(body: Value) -> Result<ActionPut, ApiError> {
        let put =
            ActionPut::parse(body.to_string().as_bytes(), &Runtimes::default(), &SystemLimits::default());
        Ok(put?.of_caller(&EntityName::namespace("guest")?))
    }

    fn created(body: Value) -> Action {
        let part = |text| EntityName::entity(text).unwrap();
        let name = FullName::new(part("guest"), part("s"));
        put(body).unwrap().create(name, hash(), &SystemLimits::default(), 1).unwrap()
    }

    fn hash() -> CodeHash {
        CodeHash("h".into())
    }

    fn shown(action: &Action) -> Value {
        serde_json::from_str(&action.to_json(Some(""))).unwrap()
    }

    fn sequence(components: Value) -> Value {
        json!({"kind": "sequence", "components": components})
    }

    #[test]
    fn a_sequence_is_shown_with_its_components_in_exec_and_in_its_parameters() {
        let action = created(json!({
            "exec": {"kind": "Sequence ", "components": ["/_/a", "whisk.system/utils/echo", {"path": "_", "name": "b"}]},
            "parameters": [{"key": "p", "value": 1}],
        }));
        let names = json!(["/guest/a", "/whisk.system/utils/echo", "/guest/b"]);
        assert_eq!(shown(&action)["exec"], sequence(names.clone()));
        assert_eq!(shown(&action)["parameters"], json!([{"key": "_actions", "value": names}]));
        let summary: Value = serde_json::from_str(&action.to_summary()).unwrap();
        assert_eq!(summary["exec"], json!({"binary": false}));
        let stored: Action = serde_json::from_str(&serde_json::to_string(&action).unwrap()).unwrap();
        assert_eq!(stored.exec, action.exec);
    }

    #[test]
    fn components_that_are_no_array_of_names_are_refused_with_openwhisks_texts() {
        let text = |exec: Value| put(json!({"exec": exec})).unwrap_err().message;
        assert!(
            text(json!({"kind": "sequence"})).ends_with("'components' must be defined for sequence kind")
        );
        assert!(text(sequence(json!("a"))).ends_with("'components' must be an array"));
        assert!(text(sequence(json!(["a"]))).contains("requirement failed: The fully qualified name"));
    }

    #[test]
    fn an_update_of_a_sequence_keeps_its_parameters_and_loses_the_annotations_to_delete() {
        let exec = sequence(json!(["/_/a"]));
        let stored = created(json!({"exec": exec, "annotations": [{"key": "x", "value": 1}]}));
        let kept = put(json!({"parameters": [{"key": "p", "value": 1}]})).unwrap().update(&stored, None, 2);
        assert_eq!(shown(&kept)["parameters"], shown(&stored)["parameters"]);
        let body = json!({"exec": sequence(json!(["/_/b"])), "delAnnotations": ["x"]});
        let changed = put(body).unwrap().update(&stored, Some(hash()), 2);
        assert_eq!(shown(&changed)["parameters"][0]["value"], json!(["/guest/b"]));
        assert!(changed.annotations.get("x").is_some());
        let without = put(json!({"delAnnotations": ["x"]})).unwrap().update(&stored, None, 2);
        assert!(without.annotations.get("x").is_none());
    }

    #[test]
    fn what_a_sequence_becomes_does_not_get_its_parameters() {
        let stored = created(json!({"exec": sequence(json!(["/_/a"]))}));
        let code = json!({"exec": {"kind": "blackbox", "image": "openwhisk/dockerskeleton", "code": "x"}});
        let changed = put(code.clone()).unwrap().update(&stored, Some(hash()), 2);
        assert_eq!(shown(&changed)["parameters"], json!([]));
        assert_eq!(shown(&changed)["exec"]["code"], "");
        let mut own = code;
        own["parameters"] = json!([{"key": "p", "value": 1}]);
        let changed = put(own).unwrap().update(&stored, Some(hash()), 2);
        assert_eq!(shown(&changed)["parameters"], json!([{"key": "p", "value": 1}]));
    }

    #[test]
    fn a_truthy_conductor_annotation_makes_a_conductor_of_an_action_but_not_of_a_sequence() {
        let annotations = json!([{"key": "conductor", "value": {"ast": 1}}]);
        let exec = json!({"kind": "blackbox", "image": "openwhisk/dockerskeleton", "code": "x"});
        assert!(created(json!({"exec": exec, "annotations": annotations})).is_conductor());
        assert!(!created(json!({"exec": exec})).is_conductor());
        let sequence = sequence(json!(["/_/a"]));
        assert!(!created(json!({"exec": sequence, "annotations": annotations})).is_conductor());
    }
}
