//! Packages and bindings: as stored, as written by a PUT, as answered; and what an action gets of them
//! (openwhisk-api.md 2.3, 5.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::action::Action;
use crate::entity::{Collection, entity};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::id::{Revision, Version};
use crate::limits::SystemLimits;
use crate::name::{EntityName, FullName};
use crate::parameters::Parameters;

/// The name that web actions have for what is in no package.
const RESERVED: &str = "default";
/// The annotation that the server sets on bindings, and nobody else.
const BINDING: &str = "binding";
/// An action with this annotation is a feed.
const FEED: &str = "feed";

/// A package, or a binding to one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Package {
    /// Its fully qualified name.
    pub name: FullName,
    /// Counted up by every write.
    pub revision: Revision,
    /// Its version, for people.
    pub version: Version,
    /// Whether everyone may use it. Of a binding it means nothing.
    pub publish: bool,
    /// Annotations, with those that the server sets.
    pub annotations: Parameters,
    /// Parameters of all actions in it.
    pub parameters: Parameters,
    /// The package that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// When it was last written, epoch milliseconds.
    pub updated_ms: u64,
}

/// The package that a binding stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Whose it is.
    pub namespace: EntityName,
    /// Its name.
    pub name: EntityName,
}

impl Binding {
    /// The name of the package.
    #[must_use]
    pub fn package(&self) -> FullName {
        FullName::new(self.namespace.clone(), self.name.clone())
    }

    /// Reads `binding` of a body, where `_` is the caller's namespace; an empty object is none.
    fn read(json: &Value, caller: &EntityName) -> Result<Option<Self>, ApiError> {
        let malformed = || ApiError::malformed_content("binding malformed!");
        let fields = json.as_object().ok_or_else(malformed)?;
        if fields.is_empty() {
            return Ok(None);
        }
        let field = |name| fields.get(name).and_then(Value::as_str).ok_or_else(malformed);
        let illegal = |error: ApiError| ApiError::malformed_content(error.message);
        let namespace = match field("namespace")? {
            "_" => caller.clone(),
            namespace => EntityName::namespace(namespace).map_err(illegal)?,
        };
        Ok(Some(Self { namespace, name: EntityName::entity(field("name")?).map_err(illegal)? }))
    }
}

/// The body of a PUT, checked but not yet merged with what is stored.
#[derive(Clone, Debug, Default)]
pub struct PackagePut {
    /// The package to stand for.
    pub binding: Option<Binding>,
    /// Replaces all parameters, if given.
    pub parameters: Option<Parameters>,
    /// Replaces all annotations, if given.
    pub annotations: Option<Parameters>,
    /// The version to set instead of counting up.
    pub version: Option<Version>,
    /// Whether everyone may use it.
    pub publish: Option<bool>,
}

impl PackagePut {
    /// Reads and checks the body of a PUT.
    ///
    /// # Errors
    /// 400 or 413 with OpenWhisk's texts.
    pub fn parse(body: &[u8], caller: &EntityName, system: &SystemLimits) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        Ok(Self {
            binding: fields.with("binding", |json: Value| Binding::read(&json, caller))?.flatten(),
            parameters: fields.parameters("parameters", system)?,
            annotations: fields.parameters("annotations", system)?,
            version: fields.with("version", |version: String| version.parse())?,
            publish: fields.take("publish")?,
        })
    }

    /// The package that this PUT creates.
    ///
    /// # Errors
    /// 400 when its name is reserved.
    pub fn create(self, name: FullName, now_ms: u64) -> Result<Package, ApiError> {
        if name.name.as_str() == RESERVED {
            return Err(ApiError::new(400, format!("Package name '{RESERVED}' is reserved.")));
        }
        Ok(Package {
            name,
            revision: Revision(1),
            version: self.version.unwrap_or(Version::FIRST),
            publish: self.publish.unwrap_or(false),
            annotations: annotated(self.annotations.unwrap_or_default(), self.binding.as_ref()),
            parameters: self.parameters.unwrap_or_default(),
            binding: self.binding,
            updated_ms: now_ms,
        })
    }

    /// The package that this PUT makes of a stored one. The revision is left for the store to count up.
    ///
    /// # Errors
    /// 409 when a package would become a binding.
    pub fn update(self, stored: &Package, now_ms: u64) -> Result<Package, ApiError> {
        if self.binding.is_some() && stored.binding.is_none() {
            return Err(ApiError::new(409, "Resource is a package and cannot be converted into a binding."));
        }
        let binding = self.binding.or_else(|| stored.binding.clone());
        let annotations = self.annotations.unwrap_or_else(|| stored.annotations.clone());
        Ok(Package {
            name: stored.name.clone(),
            revision: stored.revision,
            version: self.version.unwrap_or_else(|| stored.version.next()),
            publish: self.publish.unwrap_or(stored.publish),
            annotations: annotated(annotations, binding.as_ref()),
            parameters: self.parameters.unwrap_or_else(|| stored.parameters.clone()),
            binding,
            updated_ms: now_ms,
        })
    }
}

/// The annotation of a binding is the server's.
fn annotated(mut annotations: Parameters, binding: Option<&Binding>) -> Parameters {
    annotations.remove(BINDING);
    if let Some(value) = binding.and_then(|binding| serde_json::value::to_raw_value(binding).ok()) {
        annotations.set(BINDING, value);
    }
    annotations
}

entity!(Package, Collection::Packages, {
    fn is_listed_for_all(&self) -> bool {
        self.publish && self.binding.is_none()
    }
});

impl Package {
    /// The JSON of the entity as a PUT or a DELETE answers it.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.shown(Some(&self.parameters), None)
    }

    /// The JSON of the entity as a GET answers it, with what is in it.
    #[must_use]
    pub fn to_json_with(&self, contents: &Contents) -> String {
        self.shown(Some(&self.parameters), Some(contents))
    }

    /// The JSON of the entity as a list shows it.
    #[must_use]
    pub fn to_summary(&self) -> String {
        self.shown(None, None)
    }

    fn shown(&self, parameters: Option<&Parameters>, contents: Option<&Contents>) -> String {
        let shown = Shown {
            namespace: self.name.path(),
            name: &self.name.name,
            version: self.version,
            publish: self.publish,
            annotations: &self.annotations,
            // A list says `false` where the entity has an empty object.
            binding: match (&self.binding, parameters) {
                (Some(binding), _) => ShownBinding::To(binding),
                (None, Some(_)) => ShownBinding::None {},
                (None, None) => ShownBinding::False(false),
            },
            parameters,
            contents,
            updated: self.updated_ms,
        };
        // Only maps with keys that are no strings cannot be printed, and there is none.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

/// A package as clients see it.
#[derive(Serialize)]
struct Shown<'a> {
    namespace: String,
    name: &'a EntityName,
    version: Version,
    publish: bool,
    annotations: &'a Parameters,
    binding: ShownBinding<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Parameters>,
    #[serde(flatten)]
    contents: Option<&'a Contents>,
    updated: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownBinding<'a> {
    To(&'a Binding),
    None {},
    False(bool),
}

/// What is in a package, as the package shows it.
#[derive(Debug, Default, Serialize)]
pub struct Contents {
    actions: Vec<Box<RawValue>>,
    feeds: Vec<Box<RawValue>>,
}

impl Contents {
    /// Adds an action: to the feeds if it says that it is one.
    pub fn add(&mut self, action: &Action) {
        let contained =
            Contained { name: &action.name.name, version: action.version, annotations: &action.annotations };
        let list = match action.annotations.get(FEED) {
            Some(_) => &mut self.feeds,
            None => &mut self.actions,
        };
        list.extend(serde_json::value::to_raw_value(&contained));
    }

    /// How long it is as JSON, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.actions.iter().chain(&self.feeds).map(|action| action.get().len() as u64).sum()
    }
}

/// An action in a package, as the package shows it.
#[derive(Serialize)]
struct Contained<'a> {
    name: &'a EntityName,
    version: Version,
    annotations: &'a Parameters,
}

/// A package as a name leads to it.
#[derive(Clone, Debug)]
pub struct Reached {
    /// What has the name.
    pub named: Package,
    /// If that is a binding: what it stands for, unless it is gone.
    pub provider: Option<Package>,
}

impl Reached {
    /// The package whose actions are reached, unless it is gone.
    #[must_use]
    pub fn provider(&self) -> Option<&Package> {
        match self.named.binding {
            Some(_) => self.provider.as_ref(),
            None => Some(&self.named),
        }
    }

    /// The parameters of all actions in it: those of the binding win over those of the package.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        match &self.provider {
            None => self.named.parameters.clone(),
            Some(provider) => {
                let mut parameters = provider.parameters.clone();
                parameters.merge(&self.named.parameters);
                parameters
            }
        }
    }

    /// The binding, if it is one.
    #[must_use]
    pub fn binding(&self) -> Option<&FullName> {
        self.named.binding.as_ref().map(|_| &self.named.name)
    }

    /// What an action of the provider is here: its own parameters win over those of binding and package. Its revision is that of the
    /// latest write to any of the three, so that it grows with each.
    #[must_use]
    pub fn resolve(&self, action: Action) -> Resolved {
        let mut parameters = self.parameters();
        parameters.merge(&action.parameters);
        let written = [Some(&self.named), self.provider.as_ref()].into_iter().flatten();
        let latest = written.map(|package| package.revision).max().unwrap_or_default();
        let revision = action.revision.max(latest);
        let action = Action { parameters, revision, ..action };
        Resolved { action, binding: self.binding().cloned() }
    }

    /// The same without the parameters and annotations, which may be large: what tells who may use it.
    #[must_use]
    pub fn bare(self) -> Self {
        let bare = |package: Package| Package {
            annotations: Parameters::default(),
            parameters: Parameters::default(),
            ..package
        };
        Self { named: bare(self.named), provider: self.provider.map(bare) }
    }
}

/// An action as a name leads to it: ready to be called.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The action under its provider's name, with the parameters of package and binding merged under its own.
    pub action: Action,
    /// The binding through which it was reached.
    pub binding: Option<FullName>,
}

impl From<Action> for Resolved {
    /// An action that is in no package.
    fn from(action: Action) -> Self {
        Self { action, binding: None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn guest() -> EntityName {
        EntityName::namespace("guest").unwrap()
    }

    fn named(name: &str) -> FullName {
        FullName::new(guest(), EntityName::entity(name).unwrap())
    }

    fn put(body: &Value) -> Result<PackagePut, ApiError> {
        PackagePut::parse(body.to_string().as_bytes(), &guest(), &SystemLimits::default())
    }

    fn package(name: &str, body: &Value) -> Package {
        put(body).unwrap().create(named(name), 1_700_000_000_000).unwrap()
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_package_has_the_shape_of_the_reference() {
        let shown = json_of(&package("pkg", &json!({})).to_json_with(&Contents::default()));
        assert_eq!(
            shown,
            json!({
                "actions": [], "annotations": [], "binding": {}, "feeds": [], "name": "pkg", "namespace": "guest",
                "parameters": [], "publish": false, "updated": 1_700_000_000_000_u64, "version": "0.0.1",
            })
        );
    }

    #[test]
    fn a_list_says_of_a_package_that_it_is_no_binding_and_of_a_binding_to_what() {
        let summary = |body| json_of(&package("p", &body).to_summary());
        assert_eq!(summary(json!({}))["binding"], json!(false));
        assert!(summary(json!({})).get("parameters").is_none());
        let bound = json!({"binding": {"namespace": "_", "name": "q"}});
        assert_eq!(summary(bound)["binding"], json!({"namespace": "guest", "name": "q"}));
    }

    #[test]
    fn the_binding_annotation_is_the_servers() {
        let annotations = json!([{"key": "binding", "value": "mine"}, {"key": "a", "value": 1}]);
        let plain = package("p", &json!({ "annotations": annotations }));
        assert_eq!(json_of(&plain.to_json())["annotations"], json!([{"key": "a", "value": 1}]));
        let binding = json!({"namespace": "other", "name": "q"});
        let bound = package("p", &json!({ "annotations": annotations, "binding": binding }));
        let expected = json!([{"key": "a", "value": 1}, {"key": "binding", "value": binding}]);
        assert_eq!(json_of(&bound.to_json())["annotations"], expected);
        let updated = put(&json!({"annotations": []})).unwrap().update(&bound, 2).unwrap();
        assert_eq!(json_of(updated.annotations.get("binding").unwrap().get()), binding);
    }

    #[test]
    fn an_update_replaces_annotations_and_keeps_what_is_absent() {
        let parameters = json!([{"key": "a", "value": 1}]);
        let stored =
            package("p", &json!({"parameters": parameters, "annotations": parameters, "publish": true}));
        let updated = put(&json!({"annotations": [{"key": "b", "value": 2}]})).unwrap().update(&stored, 2);
        let shown = json_of(&updated.unwrap().to_json());
        assert_eq!(shown["annotations"], json!([{"key": "b", "value": 2}]));
        assert_eq!((&shown["parameters"], &shown["publish"]), (&parameters, &json!(true)));
        assert_eq!(shown["version"], "0.0.2");
    }

    #[test]
    fn a_package_cannot_become_a_binding_nor_be_called_default() {
        let bound = json!({"binding": {"namespace": "_", "name": "q"}});
        let refused = put(&bound).unwrap().update(&package("p", &json!({})), 2).unwrap_err();
        assert_eq!(
            (refused.status, refused.message.as_str()),
            (409, "Resource is a package and cannot be converted into a binding.")
        );
        let refused = put(&json!({})).unwrap().create(named("default"), 1).unwrap_err();
        assert_eq!((refused.status, refused.message.as_str()), (400, "Package name 'default' is reserved."));
    }

    #[test]
    fn an_empty_binding_is_none_and_half_a_one_is_malformed() {
        for body in [json!({}), json!({"binding": {}}), json!({"binding": null})] {
            assert_eq!(put(&body).unwrap().binding, None);
        }
        for binding in
            [json!("guest/p"), json!({"namespace": "guest"}), json!({"namespace": "$", "name": "p"})]
        {
            assert_eq!(put(&json!({ "binding": binding })).unwrap_err().status, 400);
        }
    }

    #[test]
    fn parameters_are_inherited_from_package_to_binding() {
        let value = |key: &str, value: u64| json!({"key": key, "value": value});
        let provider = package("p", &json!({"parameters": [value("a", 1), value("b", 1)]}));
        let bound = json!({"parameters": [value("b", 2)], "binding": {"namespace": "_", "name": "p"}});
        let reached = Reached { named: package("b", &bound), provider: Some(provider) };
        let merged = serde_json::to_value(reached.parameters()).unwrap();
        assert_eq!(merged, json!([value("a", 1), value("b", 2)]));
        assert_eq!(reached.binding(), Some(&named("b")));
    }
}
