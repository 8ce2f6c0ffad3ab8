//! Actions with their code, which may be in the document, in the name of its attachment, or in the attachment.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde_json::Value;
use triplane_model::action::Exec;
use triplane_model::limits::LimitsPatch;
use triplane_model::runtimes::{BLACKBOX, SEQUENCE};
use triplane_model::{Action, ActionLimits, EntityName, FullName, Package, Revision, SystemLimits};
use triplane_store::{Entities, Expected};

use super::common::{self, Common};
use super::{Failure, Fate, Rules, Taken, differs, refused};
use crate::actions::lock;
use crate::code;

/// What an action has that others have not, as OpenWhisk keeps it.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    limits: Value,
    exec: ExecDocument,
    #[serde(rename = "_attachments", default)]
    attachments: HashMap<String, Attachment>,
}

#[derive(Deserialize)]
struct ExecDocument {
    kind: String,
    #[serde(default)]
    code: Option<Code>,
    #[serde(default)]
    binary: Option<bool>,
    #[serde(default)]
    main: Option<String>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    components: Vec<Value>,
}

/// Code, or where it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Attached {
        attachment_name: String,
        #[serde(default)]
        attachment_type: Option<String>,
    },
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default)]
    content_type: Option<String>,
    /// Base64; absent in a dump without attachments.
    #[serde(default)]
    data: Option<String>,
}

pub(super) async fn take(entities: &dyn Entities, document: &[u8], rules: Rules<'_>) -> Taken {
    let (mut action, code) = read(document, rules)?;
    if let Some(package) = action.name.package_name()
        && entities.entity::<Package>(package.clone()).await?.is_none()
    {
        return Err(refused(format_args!("its package {package} is not here")));
    }
    let known = entities.entity::<Action>(action.name.clone()).await?;
    let expected = match &known {
        None => Expected::Absent,
        Some(known) if is_same(known, &action) => return Ok((Fate::There, Vec::new())),
        Some(_) if !rules.overwrite => return Err(differs()),
        Some(known) => Expected::Revision(known.revision),
    };
    action.revision = Revision(0);
    let (_, change) = entities.put_action(action, Some(code), expected).await?;
    Ok((Fate::Taken, vec![change]))
}

/// What is to be known of an action that was taken: that its kind does not run here. It is taken all the same, so that nothing of it is
/// lost, and runs when the kind comes, or when it is updated to another.
pub(super) fn note(document: &[u8], rules: Rules<'_>) -> Option<String> {
    let kind = common::read::<Document>(document).ok()?.exec.kind;
    let is_known = rules.runtimes.0.is_empty() || rules.runtimes.find(&kind).is_some_and(|it| !it.deprecated);
    let needs_none = [SEQUENCE, BLACKBOX].contains(&&*kind);
    (!is_known && !needs_none).then(|| {
        format!("its kind {kind} does not run here: calls fail until it is updated to one that does")
    })
}

/// Locked parameters differ each time, so that time and version tell.
fn is_same(known: &Action, new: &Action) -> bool {
    known.updated_ms == new.updated_ms && known.version == new.version && known.exec == new.exec
}

fn read(document: &[u8], rules: Rules<'_>) -> Result<(Action, String), Failure> {
    let Common { name, version, publish, annotations, parameters, updated_ms } = Common::read(document)?;
    let document: Document = common::read(document)?;
    let kind = document.exec.kind.clone();
    let code = code_of(&document)?;
    let exec = Exec {
        kind,
        main: document.exec.main,
        binary: document.exec.binary.unwrap_or(false),
        code: code::hash(&code),
        code_bytes: code.len() as u64,
        image: document.exec.image,
        components: components(document.exec.components)?,
    };
    // Those of a sequence are the names of its components, which are no secret.
    let parameters = match exec.components.is_empty() {
        true => lock(rules.keys, parameters).map_err(|error| refused(error.message))?,
        false => parameters,
    };
    let limits = limits(&document.limits, rules.limits)?;
    let revision = Revision(0);
    let action =
        Action { name, revision, version, publish, annotations, parameters, limits, exec, updated_ms };
    Ok((action, code))
}

/// The components of a sequence. They are looked for when it is called: their documents may come later.
fn components(given: Vec<Value>) -> Result<Vec<FullName>, Failure> {
    // Stored names are full: nothing in them stands for a caller.
    let nobody = EntityName::namespace("_").map_err(|error| refused(error.message))?;
    let read = |name: &Value| FullName::of_json(name, &nobody).map_err(|error| refused(error.message));
    given.iter().map(read).collect()
}

/// Limits are held against the system's as those of any action that is written: what is beyond them could not run here.
fn limits(given: &Value, system: &SystemLimits) -> Result<ActionLimits, Failure> {
    let patch = match given {
        Value::Null => LimitsPatch::default(),
        given => LimitsPatch::parse(given, system).map_err(|error| {
            let why = error.message.lines().last().unwrap_or_default();
            refused(format_args!("its limits: {}", why.trim_start_matches("requirement failed: ")))
        })?,
    };
    Ok(patch.or_defaults(system))
}

/// The code as a client would send it: text, or the base64 of bytes.
fn code_of(document: &Document) -> Result<String, Failure> {
    let (name, kind) = match &document.exec.code {
        None => return Ok(String::new()),
        Some(Code::Text(text)) => return Ok(text.clone()),
        Some(Code::Attached { attachment_name, attachment_type }) => (attachment_name, attachment_type),
    };
    // A short one is in the name: `mem:` and base64.
    if let Some(inlined) = name.strip_prefix("mem:") {
        let bytes = STANDARD.decode(inlined).or_else(|_| URL_SAFE.decode(inlined));
        let bytes = bytes.map_err(|_| refused("the code in the name of its attachment is no base64"))?;
        return text(bytes, kind.as_deref());
    }
    // Stores put their scheme before the name.
    let bare = name.rsplit_once(':').map_or(name.as_str(), |(_, bare)| bare);
    let attachment = document.attachments.get(bare).or_else(|| document.attachments.get(name));
    let attachment = attachment.ok_or_else(|| refused(format_args!("its attachment {bare} is missing")))?;
    let data = attachment.data.as_deref().ok_or_else(|| {
        refused("its attachment has no data: make the dump with include_docs=true&attachments=true")
    })?;
    let bytes = STANDARD.decode(data).map_err(|_| refused("its attachment is no base64"))?;
    text(bytes, attachment.content_type.as_deref().or(kind.as_deref()))
}

/// Bytes are attached as they are, texts in UTF-8.
fn text(bytes: Vec<u8>, kind: Option<&str>) -> Result<String, Failure> {
    match kind.is_some_and(|kind| kind.starts_with("application/octet-stream")) {
        true => Ok(STANDARD.encode(bytes)),
        false => String::from_utf8(bytes).map_err(|_| refused("its code is no UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use triplane_model::ParameterKeys;
    use triplane_model::runtimes::Runtimes;

    use super::*;

    fn read_text(code: &str, attachments: &str) -> Result<(Action, String), String> {
        let document = format!(
            r#"{{"_id":"guest/a","entityType":"action","namespace":"guest","name":"a","version":"0.0.3",
                "exec":{{"kind":"nodejs:20","code":{code},"binary":false}},"limits":{{"timeout":1000}},
                "_attachments":{attachments},"updated":5}}"#
        );
        let (keys, limits) = (&ParameterKeys::default(), &SystemLimits::default());
        let rules = Rules { keys, limits, runtimes: &Runtimes::default(), overwrite: false };
        read(document.as_bytes(), rules).map_err(|failure| match failure {
            Failure::Refused(why) => why,
            Failure::Store(error) => panic!("{error}"),
        })
    }

    #[test]
    fn code_is_in_the_document_or_in_the_name_of_its_attachment_or_attached() {
        let named = r#"{"attachmentName":"mem:YWJj","attachmentType":"text/plain"}"#;
        let attached = r#"{"attachmentName":"couch:codefile","attachmentType":"text/plain"}"#;
        let plain = r#"{"codefile":{"content_type":"text/plain","data":"YWJj"}}"#;
        for (code, attachments) in [("\"abc\"", "{}"), (named, "{}"), (attached, plain)] {
            let (action, text) = read_text(code, attachments).unwrap();
            assert_eq!((text.as_str(), action.exec.code_bytes), ("abc", 3), "{code}");
            assert_eq!((action.limits.timeout_ms, action.limits.memory_mb), (1_000, 256));
        }
        let binary = r#"{"codefile":{"content_type":"application/octet-stream","data":"YWJj"}}"#;
        assert_eq!(read_text(attached, binary).unwrap().1, "YWJj", "bytes become base64 again");
    }

    #[test]
    fn code_that_is_not_there_is_refused_with_what_to_do() {
        let attached = r#"{"attachmentName":"codefile","attachmentType":"text/plain"}"#;
        assert_eq!(read_text(attached, "{}").unwrap_err(), "its attachment codefile is missing");
        let stub = read_text(attached, r#"{"codefile":{"content_type":"text/plain","stub":true}}"#);
        assert!(stub.unwrap_err().contains("attachments=true"));
    }
}
