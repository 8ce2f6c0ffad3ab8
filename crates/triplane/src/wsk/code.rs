//! From files, images and names of actions to what OpenWhisk calls `exec`, and back to files.

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::cli::CodeOptions;
use super::failure::Failure;
use super::name::Name;

/// The image that runs executables.
const SKELETON: &str = "openwhisk/dockerskeleton";
/// The largest file with code that is read: a platform takes 48 MB, and says so itself.
const CODE_BYTES_MAX: u64 = 128 << 20;
/// The families of kinds, what their sources are called, and what their archives are called.
const FAMILIES: &[(&str, &[&str], &str)] = &[
    ("nodejs", &["js", "cjs", "mjs"], "zip"),
    ("python", &["py"], "zip"),
    ("ruby", &["rb"], "zip"),
    ("php", &["php"], "zip"),
    ("java", &["java", "jar"], "jar"),
    ("swift", &["swift"], "zip"),
    ("go", &["go"], "zip"),
    ("rust", &["rs"], "zip"),
    ("dotnet", &["cs"], "zip"),
    ("ballerina", &["bal", "balx"], "balx"),
];

/// What is to be run, if anything says so. `own` is the namespace of names without one.
pub(crate) async fn exec(
    options: &CodeOptions,
    artifact: Option<&str>,
    own: &str,
) -> Result<Option<Value>, Failure> {
    let image = match (&options.docker, options.native) {
        (Some(image), _) => Some(image.as_str()),
        (None, true) => Some(SKELETON),
        (None, false) => None,
    };
    match (artifact, image) {
        (None, None) if options.sequence => {
            Err(Failure::Usage("a sequence needs the names of its actions: --sequence a,b".to_owned()))
        }
        (None, None) if options.kind.is_some() || options.main.is_some() => {
            Err(Failure::Usage("--kind and --main need the file with the code".to_owned()))
        }
        (None, None) => Ok(None),
        (Some(names), None) if options.sequence => sequence(names, own).map(Some),
        (Some(path), None) => managed(options, Path::new(path)).await.map(Some),
        (path, Some(image)) => {
            let mut exec = json!({"kind": "blackbox", "image": image});
            if let Some(path) = path {
                exec["code"] = json!(encode(Path::new(path), &read(Path::new(path)).await?));
            }
            if let Some(main) = &options.main {
                exec["main"] = json!(main);
            }
            Ok(Some(exec))
        }
    }
}

fn sequence(names: &str, own: &str) -> Result<Value, Failure> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Result<Vec<_>, _> = names.map(|name| Name::parse(name, own).map(|name| name.full())).collect();
    Ok(json!({"kind": "sequence", "components": names?}))
}

async fn managed(options: &CodeOptions, path: &Path) -> Result<Value, Failure> {
    of_bytes(options, path, &read(path).await?)
}

/// What is to be run of a file that was read.
pub(crate) fn of_bytes(options: &CodeOptions, path: &Path, bytes: &[u8]) -> Result<Value, Failure> {
    let kind = match &options.kind {
        Some(kind) => kind.clone(),
        None => kind_of(path)?,
    };
    let mut exec = json!({"kind": kind, "code": encode(path, bytes)});
    if let Some(main) = &options.main {
        exec["main"] = json!(main);
    }
    Ok(exec)
}

/// The default kind of the family that the name of a file belongs to.
pub(crate) fn kind_of(path: &Path) -> Result<String, Failure> {
    let extension = extension(path);
    let family = FAMILIES.iter().find(|(_, sources, _)| sources.contains(&extension.as_str()));
    family.map(|(family, ..)| format!("{family}:default")).ok_or_else(|| {
        let example = if extension == "ts" { "deno:default or bun:default" } else { "nodejs:default" };
        Failure::Usage(format!(
            "the name of {} does not say its kind: name it with --kind, such as {example}, or say --native or --docker",
            path.display()
        ))
    })
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Reads code.
pub(crate) async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |why: String| Failure::Usage(format!("{} cannot be used: {why}", path.display()));
    let metadata = tokio::fs::metadata(path).await.map_err(|error| unreadable(error.to_string()))?;
    match metadata.len() {
        _ if metadata.is_dir() => Err(unreadable("it is a directory; make an archive of it".to_owned())),
        CODE_BYTES_MAX.. => Err(unreadable(format!("it has more than {CODE_BYTES_MAX} bytes"))),
        _ => tokio::fs::read(path).await.map_err(|error| unreadable(error.to_string())),
    }
}

/// Archives and executables travel in base64, texts as they are.
fn encode(path: &Path, bytes: &[u8]) -> String {
    let is_archive = ["zip", "jar", "balx"].contains(&extension(path).as_str());
    match std::str::from_utf8(bytes) {
        Ok(text) if !is_archive => text.to_owned(),
        _ => STANDARD.encode(bytes),
    }
}

/// Writes the code of an action to a file that is not there yet, and answers its path.
pub(crate) async fn save(action: &Value, name: &str, path: Option<&Path>) -> Result<PathBuf, Failure> {
    let (file, bytes) = saved(&action["exec"], name)?;
    let path = path.map_or(file, Path::to_owned);
    let made = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&path).await;
    let mut made = made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{} is there already; name another with --save-as", path.display()))
        }
        _ => Failure::Usage(format!("{} cannot be written: {error}", path.display())),
    })?;
    let written = async {
        made.write_all(&bytes).await?;
        made.sync_all().await
    };
    written.await.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(std::path::absolute(&path).unwrap_or(path))
}

/// What a file with an action's code is called, and what is in it.
fn saved(exec: &Value, name: &str) -> Result<(PathBuf, Vec<u8>), Failure> {
    let kind = exec["kind"].as_str().unwrap_or_default();
    let nothing = |what: &str| Failure::Usage(format!("'{name}' is {what}, which has no code to save"));
    if kind == "sequence" {
        return Err(nothing("a sequence"));
    }
    let code = exec["code"].as_str().filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| nothing("an image"))?;
    let family = kind.split(':').next().unwrap_or_default();
    let family = FAMILIES.iter().find(|(name, ..)| *name == family);
    let (source, archive) = family.map_or(("", "zip"), |(_, sources, archive)| (sources[0], *archive));
    let decoded = (exec["binary"] == true).then(|| STANDARD.decode(code).ok()).flatten();
    let (extension, bytes) = match decoded {
        Some(bytes) if bytes.starts_with(b"PK") => (archive, bytes),
        Some(bytes) => ("bin", bytes),
        None => (source, code.as_bytes().to_vec()),
    };
    // A name may have a dot itself.
    let file = if extension.is_empty() { name.to_owned() } else { format!("{name}.{extension}") };
    Ok((PathBuf::from(file), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that goes with its guard.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("triplane-code-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn the_name_of_a_file_says_its_kind() {
        for (name, kind) in [
            ("a.js", Some("nodejs:default")),
            ("a.MJS", Some("nodejs:default")),
            ("a.py", Some("python:default")),
            ("a.rb", Some("ruby:default")),
            ("a.php", Some("php:default")),
            ("a.jar", Some("java:default")),
            ("a.swift", Some("swift:default")),
            ("a.go", Some("go:default")),
            ("a.rs", Some("rust:default")),
            ("a.zip", None),
            ("a.ts", None),
            ("a", None),
        ] {
            assert_eq!(kind_of(Path::new(name)).ok().as_deref(), kind, "{name}");
        }
        assert!(kind_of(Path::new("a.ts")).unwrap_err().to_string().contains("deno:default"));
    }

    #[tokio::test]
    async fn code_is_text_and_archives_are_base64() {
        let script = File::new("a.js", b"function main() {}");
        let options = CodeOptions { main: Some("other".to_owned()), ..CodeOptions::default() };
        let exec = exec(&options, Some(script.path()), "_").await.unwrap().unwrap();
        assert_eq!(exec, json!({"kind": "nodejs:default", "code": "function main() {}", "main": "other"}));

        let archive = File::new("a.zip", b"PK");
        let options = CodeOptions { kind: Some("python:3".to_owned()), ..CodeOptions::default() };
        let exec = super::exec(&options, Some(archive.path()), "_").await.unwrap().unwrap();
        assert_eq!(exec, json!({"kind": "python:3", "code": "UEs="}));
    }

    #[tokio::test]
    async fn images_and_executables_are_black_boxes() {
        let docker = CodeOptions { docker: Some("me/image".to_owned()), ..CodeOptions::default() };
        let exec = exec(&docker, None, "_").await.unwrap().unwrap();
        assert_eq!(exec, json!({"kind": "blackbox", "image": "me/image"}));

        let executable = File::new("run", b"\x7fELF\xff");
        let native = CodeOptions { native: true, ..CodeOptions::default() };
        let exec = super::exec(&native, Some(executable.path()), "_").await.unwrap().unwrap();
        assert_eq!(exec, json!({"kind": "blackbox", "image": SKELETON, "code": "f0VMRv8="}));
    }

    #[tokio::test]
    async fn the_names_in_a_sequence_are_qualified() {
        let options = CodeOptions { sequence: true, ..CodeOptions::default() };
        let exec = exec(&options, Some("a, pkg/b,/whisk.system/utils/echo"), "_").await.unwrap().unwrap();
        let components = json!(["/_/a", "/_/pkg/b", "/whisk.system/utils/echo"]);
        assert_eq!(exec, json!({"kind": "sequence", "components": components}));
    }

    #[tokio::test]
    async fn what_is_missing_is_said() {
        let said = async |options: CodeOptions, artifact: Option<&str>| {
            exec(&options, artifact, "_").await.unwrap_err().to_string()
        };
        let kind = CodeOptions { kind: Some("nodejs:20".to_owned()), ..CodeOptions::default() };
        assert!(said(kind.clone(), None).await.contains("need the file"));
        assert!(said(kind, Some("/nonexistent.js")).await.contains("/nonexistent.js cannot be used"));
        let sequence = CodeOptions { sequence: true, ..CodeOptions::default() };
        assert!(said(sequence, None).await.contains("--sequence a,b"));
        assert!(said(CodeOptions::default(), Some("/tmp")).await.contains("it is a directory"));
        assert!(said(CodeOptions::default(), Some("/dev/null")).await.contains("--kind"));
        assert_eq!(exec(&CodeOptions::default(), None, "_").await.unwrap(), None);
    }

    #[test]
    fn code_is_saved_under_a_name_of_its_kind() {
        let file =
            |exec: Value| saved(&exec, "hello").map(|(path, bytes)| (path.display().to_string(), bytes));
        let text = json!({"kind": "nodejs:20", "code": "x", "binary": false});
        assert_eq!(file(text).unwrap(), ("hello.js".to_owned(), b"x".to_vec()));
        let archive = json!({"kind": "python:3.11", "code": STANDARD.encode(b"PK.."), "binary": true});
        assert_eq!(file(archive).unwrap(), ("hello.zip".to_owned(), b"PK..".to_vec()));
        let jar = json!({"kind": "java:8", "code": STANDARD.encode(b"PK.."), "binary": true});
        assert_eq!(file(jar).unwrap().0, "hello.jar");
        let dotted = saved(&json!({"kind": "nodejs:20", "code": "x"}), "hello.v2").unwrap();
        assert_eq!(dotted.0, Path::new("hello.v2.js"));
        assert!(file(json!({"kind": "sequence"})).unwrap_err().to_string().contains("a sequence"));
        assert!(
            file(json!({"kind": "blackbox", "image": "i"})).unwrap_err().to_string().contains("an image")
        );
    }
}
