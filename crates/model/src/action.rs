//! Actions: as stored, as written by a PUT, as answered (openwhisk-api.md 2).

use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::{Collection, entity};
use crate::error::ApiError;
use crate::fields::{Fields, check_size};
use crate::id::{CodeHash, Revision, Version};
use crate::image::{ImageName, ImageRules};
use crate::limits::{ActionLimits, LimitsPatch, SystemLimits};
use crate::name::{EntityName, FullName};
use crate::parameters::Parameters;
use crate::runtimes::{BLACKBOX, Kinds, SEQUENCE, SKELETON};
use crate::sequence;

/// An action as it is stored; its code lives apart, by hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    /// Its fully qualified name.
    pub name: FullName,
    /// Counted up by every write; containers serve exactly one revision.
    pub revision: Revision,
    /// Its version, for people.
    pub version: Version,
    /// Kept and shown; means something on packages only.
    pub publish: bool,
    /// Annotations, with those that the server sets.
    pub annotations: Parameters,
    /// Default parameters.
    pub parameters: Parameters,
    /// What it may use.
    pub limits: ActionLimits,
    /// What it runs.
    pub exec: Exec,
    /// When it was last written, epoch milliseconds.
    pub updated_ms: u64,
}

/// What an action runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// A resolved kind such as `nodejs:20`.
    pub kind: String,
    /// The function to call; `main` when absent.
    pub main: Option<String>,
    /// Whether the code is base64 of a binary.
    pub binary: bool,
    /// SHA-256 of the code text as the client sent it.
    pub code: CodeHash,
    /// The length of the code text in bytes.
    pub code_bytes: u64,
    /// The image of a `blackbox` action, as the client named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What a sequence runs, one after another; none of all other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<FullName>,
}

/// The body of a PUT, checked but not yet merged with what is stored.
#[derive(Clone, Debug, Default)]
pub struct ActionPut {
    /// Code and kind, if given.
    pub exec: Option<ExecPut>,
    /// Replaces all parameters, if given.
    pub parameters: Option<Parameters>,
    /// Laid over the stored annotations, if given.
    pub annotations: Option<Parameters>,
    /// Keys of stored annotations to remove first.
    pub del_annotations: Vec<String>,
    /// Limits; absent fields keep what is stored.
    pub limits: LimitsPatch,
    /// The version to set instead of counting up.
    pub version: Option<Version>,
    /// Whether it is published.
    pub publish: Option<bool>,
}

/// `exec` of a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPut {
    /// The resolved kind.
    pub kind: String,
    /// The code text; empty for an image that needs none, and for a sequence.
    pub code: String,
    /// The image of a `blackbox` action.
    pub image: Option<String>,
    /// The components of a `sequence`; `_` stands for the caller's namespace until [`ActionPut::of_caller`].
    pub components: Vec<FullName>,
    /// The function to call.
    pub main: Option<String>,
    /// Computed from the code, whatever the client said.
    pub binary: bool,
}

impl ActionPut {
    /// Reads and checks the body of a PUT. Unknown fields are ignored.
    ///
    /// # Errors
    /// 400 or 413 with OpenWhisk's texts.
    pub fn parse<'a>(
        body: &[u8],
        kinds: impl Into<Kinds<'a>>,
        system: &SystemLimits,
    ) -> Result<Self, ApiError> {
        let kinds = kinds.into();
        let mut fields = Fields::parse(body)?;
        let exec = fields.with("exec", |exec| ExecPut::parse(exec, kinds))?;
        if let Some(exec) = &exec {
            check_size("exec", exec.size_bytes(), system.code_bytes_max)?;
        }
        let parameters = fields.parameters("parameters", system)?;
        let annotations = fields.parameters("annotations", system)?;
        let limits = fields.with("limits", |limits: Value| LimitsPatch::parse(&limits, system))?;
        Ok(Self {
            exec,
            parameters,
            annotations,
            del_annotations: fields.take("delAnnotations")?.unwrap_or_default(),
            limits: limits.unwrap_or_default(),
            version: fields.with("version", |version: String| version.parse())?,
            publish: fields.take("publish")?,
        })
    }

    /// The same PUT, where `_` in the names of components stands for the namespace of the caller.
    #[must_use]
    pub fn of_caller(mut self, caller: &EntityName) -> Self {
        if let Some(exec) = &mut self.exec {
            exec.components = exec.components.drain(..).map(|name| name.of_caller(caller)).collect();
        }
        self
    }

    /// The action that this PUT creates.
    ///
    /// # Errors
    /// 400 `exec undefined` without `exec`.
    pub fn create(
        self,
        name: FullName,
        code: CodeHash,
        system: &SystemLimits,
        now_ms: u64,
    ) -> Result<Action, ApiError> {
        let exec = self.exec.ok_or_else(exec_undefined)?;
        let mut annotations = self.annotations.unwrap_or_default();
        if annotations.get("provide-api-key").is_none() {
            annotations.set_bool("provide-api-key", false);
        }
        annotations.set_text("exec", &exec.kind);
        Ok(Action {
            name,
            revision: Revision(1),
            version: self.version.unwrap_or(Version::FIRST),
            publish: self.publish.unwrap_or(false),
            annotations,
            parameters: sequence::parameters(&exec.components)
                .unwrap_or_else(|| self.parameters.unwrap_or_default()),
            limits: self.limits.or_defaults(system),
            exec: exec.stored(code),
            updated_ms: now_ms,
        })
    }

    /// The action that this PUT makes of a stored one; `code` is the hash of the new code, if there is new code.
    /// The revision is left for the store to count up.
    #[must_use]
    pub fn update(self, stored: &Action, code: Option<CodeHash>, now_ms: u64) -> Action {
        let is_sequence_put = self.exec.as_ref().is_some_and(ExecPut::is_sequence);
        let exec = match (self.exec, code) {
            (Some(exec), Some(code)) => exec.stored(code),
            _ => stored.exec.clone(),
        };
        let mut annotations = stored.annotations.clone();
        // OpenWhisk loses them on the way when it resolves the components.
        if !is_sequence_put {
            annotations.remove_all(&self.del_annotations);
        }
        annotations.merge(&self.annotations.unwrap_or_default());
        annotations.set_text("exec", &exec.kind);
        Action {
            name: stored.name.clone(),
            revision: stored.revision,
            version: self.version.unwrap_or_else(|| stored.version.next()),
            publish: self.publish.unwrap_or(stored.publish),
            annotations,
            parameters: sequence::parameters(&exec.components).unwrap_or_else(|| {
                // Those of a sequence are its components: they are not left to what it becomes.
                let kept =
                    if stored.exec.is_sequence() { Parameters::default() } else { stored.parameters.clone() };
                self.parameters.unwrap_or(kept)
            }),
            limits: self.limits.or(&stored.limits),
            exec,
            updated_ms: now_ms,
        }
    }
}

impl ExecPut {
    /// Whether it makes a sequence.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        self.kind == SEQUENCE
    }

    fn parse(exec: Value, kinds: Kinds<'_>) -> Result<Self, ApiError> {
        let Value::Object(mut fields) = exec else {
            return Err(ApiError::malformed_content("exec must be an object"));
        };
        let Some(Value::String(kind)) = fields.remove("kind") else {
            return Err(ApiError::malformed_content("'kind' must be a string defined in 'exec'"));
        };
        if kind.trim().eq_ignore_ascii_case(SEQUENCE) {
            return Self::parse_sequence(&fields);
        }
        if kind.trim().eq_ignore_ascii_case(BLACKBOX) {
            return Self::parse_blackbox(fields, kinds.images);
        }
        let runtime = kinds.runtimes.resolve(&kind)?;
        let kind = runtime.kind.clone();
        let Some(Value::String(code)) = fields.remove("code") else {
            return Err(code_required(&kind));
        };
        let main = main(&mut fields, &kind)?;
        if runtime.require_main && main.is_none() {
            return Err(main_required(&kind));
        }
        let binary = is_binary(&code);
        Ok(Self { kind, code, image: None, components: Vec::new(), main, binary })
    }

    /// Actions that run one after another.
    fn parse_sequence(fields: &serde_json::Map<String, Value>) -> Result<Self, ApiError> {
        let components = sequence::components(fields)?;
        let kind = SEQUENCE.to_owned();
        Ok(Self { kind, code: String::new(), image: None, components, main: None, binary: false })
    }

    /// An image of the user's own; blank code is none.
    fn parse_blackbox(
        mut fields: serde_json::Map<String, Value>,
        rules: Option<&ImageRules>,
    ) -> Result<Self, ApiError> {
        let Some(Value::String(image)) = fields.remove("image") else {
            return Err(ApiError::malformed_content(
                "'image' must be a string defined in 'exec' for 'blackbox' actions",
            ));
        };
        let name = ImageName::parse(&image)?;
        match rules {
            Some(rules) => rules.check(&name)?,
            None if is_skeleton(&name) => {}
            None => return Err(no_engine(&image)),
        }
        let code = match fields.remove("code") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(code)) if code.trim().is_empty() => String::new(),
            Some(Value::String(code)) => code,
            Some(_) => return Err(code_required(BLACKBOX)),
        };
        let main = main(&mut fields, BLACKBOX)?;
        let binary = is_binary(&code);
        let (kind, components) = (BLACKBOX.to_owned(), Vec::new());
        Ok(Self { kind, code, image: Some(image), components, main, binary })
    }

    /// The bytes that the limit of 48 MB is held against: code and main.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        (self.code.len() + self.main.as_ref().map_or(0, String::len)) as u64
    }

    fn stored(self, code: CodeHash) -> Exec {
        Exec {
            kind: self.kind,
            main: self.main,
            binary: self.binary,
            code,
            code_bytes: self.code.len() as u64,
            image: self.image,
            components: self.components,
        }
    }
}

entity!(Action, Collection::Actions);

impl Exec {
    /// Whether it is a sequence.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        self.kind == SEQUENCE
    }
}

impl Action {
    /// Whether a run of it says what is to be run next (openwhisk-api.md 4.2). A sequence with that annotation is a sequence.
    #[must_use]
    pub fn is_conductor(&self) -> bool {
        !self.exec.is_sequence() && self.annotations.is_truthy("conductor", false)
    }

    /// The JSON of the whole entity as a client gets it; `code` is the code text, or nothing for `code=false`.
    /// Parameters and annotations keep the text of their values.
    #[must_use]
    pub fn to_json(&self, code: Option<&str>) -> String {
        let exec = &self.exec;
        let exec = ShownExec {
            kind: Some(&exec.kind),
            image: exec.image.as_deref(),
            binary: Some(exec.binary).filter(|_| !exec.is_sequence()),
            main: exec.main.as_deref(),
            // an image that needs no code, or a sequence, has none to show
            code: code.filter(|_| (exec.image.is_none() && !exec.is_sequence()) || exec.code_bytes > 0),
            components: exec.is_sequence().then(|| sequence::names(&exec.components)),
        };
        self.shown(exec, Some(&self.parameters), None)
    }

    /// The JSON of the entity without its code, as `code=false` asks for it; it tells through which binding it was reached.
    #[must_use]
    pub fn to_metadata(&self, binding: Option<&FullName>) -> String {
        let exec = &self.exec;
        let (kind, image, main) = (Some(&*exec.kind), exec.image.as_deref(), exec.main.as_deref());
        let binary = Some(exec.binary).filter(|_| !exec.is_sequence());
        let components = exec.is_sequence().then(|| sequence::names(&exec.components));
        let exec = ShownExec { kind, image, binary, main, code: None, components };
        self.shown(exec, Some(&self.parameters), binding.map(ToString::to_string))
    }

    /// The JSON of the entity as a list shows it.
    #[must_use]
    pub fn to_summary(&self) -> String {
        let binary = Some(self.exec.binary);
        let exec = ShownExec { kind: None, image: None, binary, main: None, code: None, components: None };
        self.shown(exec, None, None)
    }

    /// Whether the value of the annotation counts as true; `absent` when there is no such annotation.
    #[must_use]
    pub fn annotation_is_truthy(&self, key: &str, absent: bool) -> bool {
        self.annotations.is_truthy(key, absent)
    }

    fn shown(&self, exec: ShownExec<'_>, parameters: Option<&Parameters>, binding: Option<String>) -> String {
        let shown = Shown {
            namespace: self.name.path(),
            name: &self.name.name,
            version: self.version,
            publish: self.publish,
            annotations: &self.annotations,
            parameters,
            limits: &self.limits,
            exec,
            binding,
            updated: self.updated_ms,
        };
        // Only maps with keys that are no strings cannot be printed, and there is none.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

/// An action as clients see it.
#[derive(Serialize)]
struct Shown<'a> {
    namespace: String,
    name: &'a EntityName,
    version: Version,
    publish: bool,
    annotations: &'a Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Parameters>,
    limits: &'a ActionLimits,
    exec: ShownExec<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    updated: u64,
}

/// `exec` as clients see it; a list shows only whether the code is binary.
#[derive(Serialize)]
struct ShownExec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    main: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<Vec<String>>,
}

/// Whether the image is the one that runs executables (`wsk action create --native`), which needs no engine.
fn is_skeleton(image: &ImageName<'_>) -> bool {
    image.name.trim_start_matches("docker.io/") == SKELETON
}

/// 400: an image where nothing runs images. OpenWhisk always has an engine, and no text for this.
fn no_engine(image: &str) -> ApiError {
    ApiError::new(
        400,
        format!(
            "the image {image} cannot run on this platform, which has no container engine; its operator can enable one"
        ),
    )
}

/// 400: a PUT that creates an action without `exec`.
#[must_use]
pub fn exec_undefined() -> ApiError {
    ApiError::new(400, "exec undefined")
}

fn main(fields: &mut serde_json::Map<String, Value>, kind: &str) -> Result<Option<String>, ApiError> {
    match fields.remove("main") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(main)) => Ok(Some(main)),
        Some(_) => Err(main_required(kind)),
    }
}

fn code_required(kind: &str) -> ApiError {
    ApiError::malformed_content(format_args!(
        "'code' must be a string or attachment object defined in 'exec' for '{kind}' actions"
    ))
}

fn main_required(kind: &str) -> ApiError {
    ApiError::malformed_content(format_args!(
        "'main' must be a string defined in 'exec' for '{kind}' actions"
    ))
}

/// OpenWhisk's guess: trimmed code is binary if it is not empty and is well-formed base64.
#[must_use]
pub fn is_binary(code: &str) -> bool {
    let code = code.trim();
    !code.is_empty()
        && code.len().is_multiple_of(4)
        && base64::engine::general_purpose::STANDARD.decode(code).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runtimes::{Runtime, Runtimes};

    fn runtimes() -> Runtimes {
        let node = Runtime {
            kind: "nodejs:20".into(),
            image: String::new(),
            deprecated: false,
            default: true,
            attached: true,
            require_main: false,
        };
        Runtimes([("nodejs".to_owned(), vec![node])].into())
    }

    fn put(body: Value) -> Result<ActionPut, ApiError> {
        ActionPut::parse(body.to_string().as_bytes(), &runtimes(), &SystemLimits::default())
    }

    fn hash(text: &str) -> CodeHash {
        CodeHash(text.into())
    }

    fn created(body: Value) -> Action {
        let name =
            FullName::new(EntityName::namespace("guest").unwrap(), EntityName::entity("hello").unwrap());
        put(body).unwrap().create(name, hash("h"), &SystemLimits::default(), 1_700_000_000_000).unwrap()
    }

    #[test]
    fn a_created_action_has_the_shape_of_the_reference() {
        let action = created(json!({
            "exec": {"kind": "nodejs:default", "code": "function main(){}"},
            "parameters": [{"key": "a", "value": 1}],
        }));
        assert_eq!(
            serde_json::from_str::<Value>(&action.to_json(Some("function main(){}"))).unwrap(),
            json!({
                "annotations": [{"key": "provide-api-key", "value": false}, {"key": "exec", "value": "nodejs:20"}],
                "exec": {"binary": false, "code": "function main(){}", "kind": "nodejs:20"},
                "limits": {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000},
                "name": "hello", "namespace": "guest", "parameters": [{"key": "a", "value": 1}],
                "publish": false, "updated": 1_700_000_000_000_u64, "version": "0.0.1",
            })
        );
    }

    #[test]
    fn an_update_merges_annotations_and_limits_and_counts_the_version_up() {
        let stored = created(json!({
            "exec": {"kind": "nodejs:20", "code": "x"},
            "annotations": [{"key": "a", "value": 1}, {"key": "b", "value": 2}],
            "limits": {"memory": 128},
        }));
        let update = put(json!({
            "annotations": [{"key": "b", "value": 3}], "delAnnotations": ["a"], "limits": {"timeout": 100},
        }));
        let updated = update.unwrap().update(&stored, None, 2);
        assert_eq!(updated.version.to_string(), "0.0.2");
        assert_eq!(updated.annotations.get("b").unwrap().get(), "3");
        assert!(updated.annotations.get("a").is_none());
        assert_eq!((updated.limits.memory_mb, updated.limits.timeout_ms), (128, 100));
        assert_eq!(updated.exec, stored.exec);
    }

    #[test]
    fn bad_bodies_are_refused_with_openwhisks_texts() {
        let text = |body| put(body).unwrap_err().message;
        assert!(text(json!({"exec": {"kind": "nodejs:20"}})).ends_with(
            "'code' must be a string or attachment object defined in 'exec' for 'nodejs:20' actions"
        ));
        assert!(text(json!({"exec": {"kind": "cobol:1"}})).contains("is not supported by this platform"));
        assert_eq!(put(json!([])).unwrap_err().status, 400);
        let name = FullName::new(EntityName::namespace("guest").unwrap(), EntityName::entity("a").unwrap());
        let undefined =
            put(json!({})).unwrap().create(name, hash("h"), &SystemLimits::default(), 0).unwrap_err();
        assert_eq!(undefined.message, "exec undefined");
    }

    #[test]
    fn the_image_that_stands_for_executables_needs_no_engine() {
        for (image, is_taken) in [
            ("openwhisk/dockerskeleton", true),
            ("docker.io/openwhisk/dockerskeleton:nightly", true),
            ("someone/dockerskeleton", false),
        ] {
            let body = put(json!({"exec": {"kind": "blackbox", "image": image, "code": "#!/bin/sh"}}));
            assert_eq!(body.is_ok(), is_taken, "{image}");
        }
        let refused = put(json!({"exec": {"kind": "blackbox", "image": "me/mine"}})).unwrap_err();
        assert!(refused.message.starts_with("the image me/mine cannot run on this platform"), "{refused}");
    }

    #[test]
    fn an_image_of_the_users_own_needs_no_code() {
        let (runtimes, limits) = (runtimes(), SystemLimits::default());
        let parse = |exec: Value| {
            let rules = ImageRules::new(&[], &["docker.io".to_owned()]).unwrap();
            let kinds = Kinds { runtimes: &runtimes, images: Some(&rules) };
            ActionPut::parse(json!({ "exec": exec }).to_string().as_bytes(), kinds, &limits)
        };
        let name =
            || FullName::new(EntityName::namespace("guest").unwrap(), EntityName::entity("a").unwrap());
        let shown = |exec: Value, code: &str| {
            let action = parse(exec).unwrap().create(name(), hash("h"), &limits, 0).unwrap();
            assert_eq!(action.annotations.get("exec").unwrap().get(), "\"blackbox\"");
            let stored: Action = serde_json::from_str(&serde_json::to_string(&action).unwrap()).unwrap();
            assert_eq!(stored.exec, action.exec);
            serde_json::from_str::<Value>(&action.to_json(Some(code))).unwrap()["exec"].clone()
        };
        assert_eq!(
            shown(json!({"kind": "BlackBox", "image": "a/b:1", "code": " \n"}), ""),
            json!({"kind": "blackbox", "image": "a/b:1", "binary": false})
        );
        assert_eq!(
            shown(
                json!({"kind": "blackbox", "image": "a", "code": "x=1", "main": "go", "binary": true}),
                "x=1"
            ),
            json!({"kind": "blackbox", "image": "a", "binary": false, "code": "x=1", "main": "go"})
        );
        let text = |exec| parse(exec).unwrap_err().message;
        assert!(
            text(json!({"kind": "blackbox"}))
                .ends_with("'image' must be a string defined in 'exec' for 'blackbox' actions")
        );
        assert!(text(json!({"kind": "blackbox", "image": "A:b:c"})).ends_with("could not parse image name"));
        let elsewhere = text(json!({"kind": "blackbox", "image": "quay.io/a/b"}));
        assert!(
            elsewhere.starts_with("the image quay.io/a/b is not allowed on this platform"),
            "{elsewhere}"
        );
    }

    #[test]
    fn values_keep_their_text_from_put_to_answer() {
        let body = br#"{"exec":{"kind":"nodejs:20","code":"x"},
            "parameters":[{"key":"p","value":12345678901234567890123}],"annotations":[{"key":"a","value":1.50}]}"#;
        let put = ActionPut::parse(body, &runtimes(), &SystemLimits::default()).unwrap();
        let name = FullName::new(EntityName::namespace("guest").unwrap(), EntityName::entity("a").unwrap());
        let action = put.create(name, hash("h"), &SystemLimits::default(), 0).unwrap();
        let shown = action.to_json(None);
        assert!(shown.contains(r#"{"key":"p","value":12345678901234567890123}"#), "{shown}");
        assert!(action.to_summary().contains(r#"{"key":"a","value":1.50}"#), "{shown}");
    }

    #[test]
    fn a_bad_version_is_refused_once() {
        let refused = put(json!({"version": "0.0.0"})).unwrap_err();
        assert_eq!(
            refused.message,
            "The request content was malformed:\nrequirement failed: bad semantic version 0.0.0"
        );
    }

    #[test]
    fn sizes_are_held_against_their_limits() {
        let large = "x".repeat(1024 * 1024 + 1);
        let refused = put(json!({"parameters": [{"key": "a", "value": large}]})).unwrap_err();
        assert_eq!(refused.status, 413);
        assert!(refused.message.starts_with("parameters larger than allowed: "), "{}", refused.message);
        let refused = put(json!({"annotations": [{"key": "a", "value": large}]})).unwrap_err();
        assert!(refused.message.starts_with("annotations larger than allowed: "));
    }

    #[test]
    fn binary_is_computed_from_the_code() {
        assert!(is_binary("abcd") && is_binary(" UEsDBAo= "));
        assert!(!is_binary("") && !is_binary("function main(){}") && !is_binary("abc"));
    }
}
