//! Triggers, with the rules that listen to them (openwhisk-api.md 5.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entity::{Collection, entity};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::id::{Revision, Version};
use crate::limits::SystemLimits;
use crate::name::{EntityName, FullName};
use crate::parameters::Parameters;
use crate::rule::{Rule, RuleStatus, ShownName};

/// The most rules of one trigger: a fire makes as many calls, accepted together.
pub const RULES_PER_TRIGGER_MAX: usize = 1_000;
/// The annotation that names the action that feeds a trigger.
const FEED: &str = "feed";

/// A trigger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trigger {
    /// Its fully qualified name.
    pub name: FullName,
    /// Counted up by every write, also of a rule that listens to it.
    pub revision: Revision,
    /// Its version, for people; rules do not count it up.
    pub version: Version,
    /// Kept and shown; means nothing.
    pub publish: bool,
    /// Annotations.
    pub annotations: Parameters,
    /// Parameters of all calls that it makes.
    pub parameters: Parameters,
    /// The rules that listen to it, which are of its namespace; nothing as long as there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<BTreeMap<EntityName, Link>>,
    /// When it was last written by its own PUT, epoch milliseconds.
    pub updated_ms: u64,
}

/// What a trigger knows of a rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// The action to call, by the name that the rule has for it.
    pub action: FullName,
    /// Whether it is called.
    pub status: RuleStatus,
    /// What the rule's annotations ask for its asynchronous calls.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub policy: Parameters,
}

impl Trigger {
    /// The status of a rule; a rule that the trigger does not know is inactive.
    #[must_use]
    pub fn status_of(&self, rule: &EntityName) -> RuleStatus {
        let link = self.rules.as_ref().and_then(|rules| rules.get(rule));
        link.map_or(RuleStatus::Inactive, |link| link.status)
    }

    /// The same trigger with a rule that listens to it, in this state.
    ///
    /// # Errors
    /// 400 when it has too many.
    pub fn link(mut self, rule: &Rule, status: RuleStatus) -> Result<Self, ApiError> {
        let rules = self.rules.get_or_insert_default();
        rules.insert(rule.name.name.clone(), rule.link(status));
        if rules.len() > RULES_PER_TRIGGER_MAX {
            let text = format!("trigger {} has {RULES_PER_TRIGGER_MAX} rules, as many as it may", self.name);
            return Err(ApiError::new(400, text));
        }
        Ok(self)
    }

    /// The same trigger without a rule.
    #[must_use]
    pub fn unlink(mut self, rule: &EntityName) -> Self {
        if let Some(rules) = &mut self.rules {
            rules.remove(rule);
        }
        self
    }

    /// The JSON of the entity as clients get it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let namespace = &self.name.namespace;
        let rules = self.rules.as_ref();
        let rules = rules.map(|rules| {
            rules.iter().map(|(rule, link)| (format!("{namespace}/{rule}"), ShownLink::from(link))).collect()
        });
        self.shown(Some(Inner { parameters: &self.parameters, limits: Limits {}, rules }))
    }

    /// The JSON of the entity as a list shows it.
    #[must_use]
    pub fn to_summary(&self) -> String {
        self.shown(None)
    }

    fn shown(&self, inner: Option<Inner<'_>>) -> String {
        let shown = Shown {
            namespace: self.name.path(),
            name: &self.name.name,
            version: self.version,
            publish: self.publish,
            annotations: &self.annotations,
            inner,
            updated: self.updated_ms,
        };
        // Only maps with keys that are no strings cannot be printed, and there is none.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

entity!(Trigger, Collection::Triggers);

/// A trigger as clients see it.
#[derive(Serialize)]
struct Shown<'a> {
    namespace: String,
    name: &'a EntityName,
    version: Version,
    publish: bool,
    annotations: &'a Parameters,
    #[serde(flatten)]
    inner: Option<Inner<'a>>,
    updated: u64,
}

/// What a list does not show.
#[derive(Serialize)]
struct Inner<'a> {
    parameters: &'a Parameters,
    limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<BTreeMap<String, ShownLink<'a>>>,
}

/// A trigger has none, but shows so.
#[derive(Serialize)]
struct Limits {}

#[derive(Serialize)]
struct ShownLink<'a> {
    action: ShownName<'a>,
    status: RuleStatus,
}

impl<'a> From<&'a Link> for ShownLink<'a> {
    fn from(link: &'a Link) -> Self {
        Self { action: (&link.action).into(), status: link.status }
    }
}

/// The body of a PUT, checked but not yet merged with what is stored.
#[derive(Clone, Debug, Default)]
pub struct TriggerPut {
    /// Replaces all parameters, if given.
    pub parameters: Option<Parameters>,
    /// Replaces all annotations, if given.
    pub annotations: Option<Parameters>,
    /// The version to set instead of counting up.
    pub version: Option<Version>,
    /// Kept and shown.
    pub publish: Option<bool>,
}

impl TriggerPut {
    /// Reads and checks the body of a PUT.
    ///
    /// # Errors
    /// 400 or 413 with OpenWhisk's texts.
    pub fn parse(body: &[u8], system: &SystemLimits) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let _none: Option<serde_json::Map<_, _>> = fields.take("limits")?;
        let annotations = fields.parameters("annotations", system)?;
        annotations.as_ref().map_or(Ok(()), check_feed)?;
        Ok(Self {
            parameters: fields.parameters("parameters", system)?,
            annotations,
            version: fields.with("version", |version: String| version.parse())?,
            publish: fields.take("publish")?,
        })
    }

    /// The trigger that this PUT creates.
    #[must_use]
    pub fn create(self, name: FullName, now_ms: u64) -> Trigger {
        Trigger {
            name,
            revision: Revision(1),
            version: self.version.unwrap_or(Version::FIRST),
            publish: self.publish.unwrap_or(false),
            annotations: self.annotations.unwrap_or_default(),
            parameters: self.parameters.unwrap_or_default(),
            rules: None,
            updated_ms: now_ms,
        }
    }

    /// The trigger that this PUT makes of a stored one, whose rules stay. The revision is left for the store to count up.
    #[must_use]
    pub fn update(self, stored: &Trigger, now_ms: u64) -> Trigger {
        Trigger {
            name: stored.name.clone(),
            revision: stored.revision,
            version: self.version.unwrap_or_else(|| stored.version.next()),
            publish: self.publish.unwrap_or(stored.publish),
            annotations: self.annotations.unwrap_or_else(|| stored.annotations.clone()),
            parameters: self.parameters.unwrap_or_else(|| stored.parameters.clone()),
            rules: stored.rules.clone(),
            updated_ms: now_ms,
        }
    }
}

/// The annotation `feed` is a path.
fn check_feed(annotations: &Parameters) -> Result<(), ApiError> {
    let Some(feed) = annotations.get(FEED) else { return Ok(()) };
    let path: Option<String> = serde_json::from_str(feed.get()).ok();
    let is_path = path.is_some_and(|path| {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
        segments.peek().is_some() && segments.all(|segment| EntityName::entity(segment).is_ok())
    });
    if is_path { Ok(()) } else { Err(ApiError::new(400, "Feed name is not valid")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn put(body: &Value) -> Result<TriggerPut, ApiError> {
        TriggerPut::parse(body.to_string().as_bytes(), &SystemLimits::default())
    }

    fn trigger(body: &Value) -> Trigger {
        put(body).unwrap().create("guest/t".parse().unwrap(), 1_700_000_000_000)
    }

    fn rule(name: &str) -> Rule {
        crate::rule::tests::rule(name, "guest/t", "guest/hello", &json!([]))
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_trigger_with_a_rule_has_the_shape_of_the_reference() {
        let shown = json_of(&trigger(&json!({})).link(&rule("r"), RuleStatus::Active).unwrap().to_json());
        assert_eq!(
            shown,
            json!({
                "annotations": [], "limits": {}, "name": "t", "namespace": "guest", "parameters": [], "publish": false,
                "rules": {"guest/r": {"action": {"name": "hello", "path": "guest"}, "status": "active"}},
                "updated": 1_700_000_000_000_u64, "version": "0.0.1",
            })
        );
    }

    #[test]
    fn rules_are_absent_until_there_is_one_and_an_update_keeps_them() {
        let new = trigger(&json!({}));
        assert!(json_of(&new.to_json()).get("rules").is_none());
        let linked = new.link(&rule("r"), RuleStatus::Inactive).unwrap();
        let updated = put(&json!({"parameters": []})).unwrap().update(&linked, 2);
        assert_eq!(updated.status_of(&rule("r").name.name), RuleStatus::Inactive);
        assert_eq!(json_of(&updated.unlink(&rule("r").name.name).to_json())["rules"], json!({}));
    }

    #[test]
    fn a_list_shows_neither_parameters_nor_rules() {
        let linked = trigger(&json!({})).link(&rule("r"), RuleStatus::Active).unwrap();
        let mut keys: Vec<_> = json_of(&linked.to_summary()).as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["annotations", "name", "namespace", "publish", "updated", "version"]);
    }

    #[test]
    fn a_feed_is_a_path() {
        let feed = |feed: Value| put(&json!({"annotations": [{"key": "feed", "value": feed}]}));
        for text in ["/whisk.system/alarms/alarm", "a", "/a/b"] {
            assert!(feed(json!(text)).is_ok(), "{text}");
        }
        for value in [json!(1), json!(""), json!("/"), json!("/a/$x"), json!(null)] {
            assert_eq!(feed(value).unwrap_err().message, "Feed name is not valid");
        }
    }

    #[test]
    fn there_are_not_more_rules_than_allowed() {
        let mut full = trigger(&json!({}));
        for number in 0..RULES_PER_TRIGGER_MAX {
            full = full.link(&rule(&format!("r{number}")), RuleStatus::Active).unwrap();
        }
        assert!(full.clone().link(&rule("r0"), RuleStatus::Inactive).is_ok(), "it is there already");
        assert_eq!(full.link(&rule("more"), RuleStatus::Active).unwrap_err().status, 400);
    }
}
