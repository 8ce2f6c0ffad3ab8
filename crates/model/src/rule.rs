//! Rules: which action a trigger calls (openwhisk-api.md 5.3). Whether it does so is in the trigger.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::{Collection, entity};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::id::{Revision, Version};
use crate::limits::SystemLimits;
use crate::name::{EntityName, FullName};
use crate::parameters::Parameters;
use crate::trigger::Link;

/// The beginning of annotations that speak of asynchronous calls (`docs/async.md`).
const POLICY_PREFIX: &str = "async-";

/// A rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Its fully qualified name.
    pub name: FullName,
    /// Counted up by every write.
    pub revision: Revision,
    /// Its version, for people.
    pub version: Version,
    /// Kept and shown; means nothing.
    pub publish: bool,
    /// Annotations.
    pub annotations: Parameters,
    /// The trigger that it listens to, of its own namespace.
    pub trigger: FullName,
    /// The action that is called, by its own name or through a binding.
    pub action: FullName,
    /// When it was last written, epoch milliseconds.
    pub updated_ms: u64,
}

/// Whether a rule calls its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleStatus {
    /// It does.
    Active,
    /// It does not.
    Inactive,
}

impl RuleStatus {
    /// Reads the body of a request for another status; whatever else is in it is ignored.
    ///
    /// # Errors
    /// 400 for what is no status.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let status: Option<String> = Fields::parse(body)?.take("status")?;
        match status.as_deref().map(str::trim) {
            Some("active") => Ok(Self::Active),
            Some("inactive") => Ok(Self::Inactive),
            Some(other) => {
                Err(ApiError::requirement_failed(format_args!("'{other}' is not a recognized rule state")))
            }
            None => Err(ApiError::malformed_content("Object is missing required member 'status'")),
        }
    }
}

impl Rule {
    /// What its trigger knows of it.
    #[must_use]
    pub fn link(&self, status: RuleStatus) -> Link {
        let policy = self.annotations.starting_with(POLICY_PREFIX);
        Link { action: self.action.clone(), status, policy }
    }

    /// The JSON of the entity as clients get it; a list does not tell the status.
    #[must_use]
    pub fn to_json(&self, status: Option<RuleStatus>) -> String {
        let shown = Shown {
            namespace: self.name.path(),
            name: &self.name.name,
            version: self.version,
            publish: self.publish,
            annotations: &self.annotations,
            trigger: (&self.trigger).into(),
            action: (&self.action).into(),
            status,
            updated: self.updated_ms,
        };
        // Only maps with keys that are no strings cannot be printed, and there is none.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

entity!(Rule, Collection::Rules);

/// A rule as clients see it.
#[derive(Serialize)]
struct Shown<'a> {
    namespace: String,
    name: &'a EntityName,
    version: Version,
    publish: bool,
    annotations: &'a Parameters,
    trigger: ShownName<'a>,
    action: ShownName<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<RuleStatus>,
    updated: u64,
}

/// A fully qualified name as rules and triggers show it.
#[derive(Serialize)]
pub(crate) struct ShownName<'a> {
    path: String,
    name: &'a EntityName,
}

impl<'a> From<&'a FullName> for ShownName<'a> {
    fn from(name: &'a FullName) -> Self {
        Self { path: name.path(), name: &name.name }
    }
}

/// The body of a PUT, checked but not yet merged with what is stored.
#[derive(Clone, Debug, Default)]
pub struct RulePut {
    /// The trigger to listen to.
    pub trigger: Option<FullName>,
    /// The action to call.
    pub action: Option<FullName>,
    /// Replaces all annotations, if given.
    pub annotations: Option<Parameters>,
    /// The version to set instead of counting up.
    pub version: Option<Version>,
    /// Kept and shown.
    pub publish: Option<bool>,
}

impl RulePut {
    /// Reads and checks the body of a PUT, where `_` is the caller's namespace.
    ///
    /// # Errors
    /// 400 or 413 with OpenWhisk's texts.
    pub fn parse(body: &[u8], caller: &EntityName, system: &SystemLimits) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let name = |json: Value| FullName::of_json(&json, caller);
        Ok(Self {
            trigger: fields.with("trigger", name)?,
            action: fields.with("action", name)?,
            annotations: fields.parameters("annotations", system)?,
            version: fields.with("version", |version: String| version.parse())?,
            publish: fields.take("publish")?,
        })
    }

    /// The rule that this PUT creates.
    ///
    /// # Errors
    /// 400 without trigger and action.
    pub fn create(self, name: FullName, now_ms: u64) -> Result<Rule, ApiError> {
        let (Some(trigger), Some(action)) = (self.trigger, self.action) else {
            return Err(ApiError::new(400, "rule requires a valid trigger and a valid action"));
        };
        Ok(Rule {
            name,
            revision: Revision(1),
            version: self.version.unwrap_or(Version::FIRST),
            publish: self.publish.unwrap_or(false),
            annotations: self.annotations.unwrap_or_default(),
            trigger,
            action,
            updated_ms: now_ms,
        })
    }

    /// The rule that this PUT makes of a stored one. The revision is left for the store to count up.
    #[must_use]
    pub fn update(self, stored: &Rule, now_ms: u64) -> Rule {
        Rule {
            name: stored.name.clone(),
            revision: stored.revision,
            version: self.version.unwrap_or_else(|| stored.version.next()),
            publish: self.publish.unwrap_or(stored.publish),
            annotations: self.annotations.unwrap_or_else(|| stored.annotations.clone()),
            trigger: self.trigger.unwrap_or_else(|| stored.trigger.clone()),
            action: self.action.unwrap_or_else(|| stored.action.clone()),
            updated_ms: now_ms,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn rule(name: &str, trigger: &str, action: &str, annotations: &Value) -> Rule {
        let body = json!({"trigger": trigger, "action": action, "annotations": annotations});
        let name = format!("guest/{name}").parse().unwrap();
        put(&body).unwrap().create(name, 1_700_000_000_000).unwrap()
    }

    fn put(body: &Value) -> Result<RulePut, ApiError> {
        let guest = EntityName::namespace("guest").unwrap();
        RulePut::parse(body.to_string().as_bytes(), &guest, &SystemLimits::default())
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_rule_has_the_shape_of_the_reference() {
        let shown = rule("r", "/_/t", "guest/hello", &json!([])).to_json(Some(RuleStatus::Active));
        assert_eq!(
            json_of(&shown),
            json!({
                "action": {"name": "hello", "path": "guest"}, "annotations": [], "name": "r", "namespace": "guest",
                "publish": false, "status": "active", "trigger": {"name": "t", "path": "guest"},
                "updated": 1_700_000_000_000_u64, "version": "0.0.1",
            })
        );
    }

    #[test]
    fn an_action_in_a_package_shows_the_package_in_its_path() {
        let packaged = rule("r", "/_/t", "/whisk.system/utils/echo", &json!([]));
        let shown = json_of(&packaged.to_json(None));
        assert_eq!(shown["action"], json!({"path": "whisk.system/utils", "name": "echo"}));
        assert!(shown.get("status").is_none());
    }

    #[test]
    fn a_rule_needs_a_trigger_and_an_action() {
        for body in [json!({}), json!({"trigger": "/_/t"}), json!({"action": "/_/a", "trigger": null})] {
            let refused = put(&body).unwrap().create("guest/r".parse().unwrap(), 1).unwrap_err();
            assert_eq!(
                (refused.status, refused.message.as_str()),
                (400, "rule requires a valid trigger and a valid action")
            );
        }
    }

    #[test]
    fn a_status_is_active_or_inactive() {
        let parse = |body: Value| RuleStatus::parse(body.to_string().as_bytes());
        let sent_by_wsk = json!({"name": "", "status": "active", "trigger": null, "action": null});
        assert_eq!(parse(sent_by_wsk), Ok(RuleStatus::Active));
        assert_eq!(parse(json!({"status": "inactive"})), Ok(RuleStatus::Inactive));
        for body in [json!({"status": "asleep"}), json!({"status": ""}), json!({}), json!({"status": 1})] {
            assert_eq!(parse(body).unwrap_err().status, 400);
        }
    }

    #[test]
    fn a_link_has_what_the_rule_says_about_asynchronous_calls() {
        let annotations = json!([{"key": "async-attempts", "value": 3}, {"key": "a", "value": 1}]);
        let link = rule("r", "/_/t", "/_/a", &annotations).link(RuleStatus::Active);
        assert_eq!(
            serde_json::to_value(link.policy).unwrap(),
            json!([{"key": "async-attempts", "value": 3}])
        );
    }
}
