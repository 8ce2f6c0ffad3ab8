//! `triplane property`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::api::{Api, Place};
use super::cli::Global;
use super::failure::{Failure, While};
use super::properties::{self, Properties};
use super::shell::{print, print_json, text};
use crate::table::table;

#[derive(Debug, Subcommand)]
pub(crate) enum PropertyCommand {
    /// Show properties; all of them by default.
    Get(Asked),
    /// Keep properties for the commands to come.
    Set(Kept),
    /// Forget properties.
    Unset(Forgotten),
}

/// Which properties are shown.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Asked {
    /// All.
    #[arg(long)]
    pub(crate) all: bool,
    /// The key.
    #[arg(short = 'u', long)]
    pub(crate) auth: bool,
    /// The address of the platform.
    #[arg(long)]
    pub(crate) apihost: bool,
    /// The version of its API.
    #[arg(long)]
    pub(crate) apiversion: bool,
    /// When the platform was built.
    #[arg(long)]
    pub(crate) apibuild: bool,
    /// The number of its build.
    #[arg(long)]
    pub(crate) apibuildno: bool,
    /// The version of this command.
    #[arg(long)]
    pub(crate) cliversion: bool,
    /// The namespace of the key.
    #[arg(long)]
    pub(crate) namespace: bool,
    /// The client certificate.
    #[arg(long)]
    pub(crate) cert: bool,
    /// Its key.
    #[arg(long)]
    pub(crate) key: bool,
    /// `std` for a table, `raw` for the value alone.
    #[arg(short, long, default_value = "std", value_parser = ["std", "raw"])]
    pub(crate) output: String,
    /// Accept any certificate of the platform.
    #[arg(short, long)]
    pub(crate) insecure: bool,
    /// Print JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which properties are kept.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Kept {
    /// The address of the platform.
    #[arg(long, value_name = "HOST")]
    pub(crate) apihost: Option<String>,
    /// The version of its API.
    #[arg(long, value_name = "VERSION")]
    pub(crate) apiversion: Option<String>,
    /// The key, `uuid:key`.
    #[arg(short = 'u', long, value_name = "KEY")]
    pub(crate) auth: Option<String>,
    /// The namespace that names without one are in.
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// A client certificate in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<String>,
    /// The key of the client certificate in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,
}

/// Which properties are forgotten.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Forgotten {
    /// The address of the platform.
    #[arg(long)]
    pub(crate) apihost: bool,
    /// The version of its API.
    #[arg(long)]
    pub(crate) apiversion: bool,
    /// The key.
    #[arg(short = 'u', long)]
    pub(crate) auth: bool,
    /// The namespace.
    #[arg(long)]
    pub(crate) namespace: bool,
    /// The client certificate.
    #[arg(long)]
    pub(crate) cert: bool,
    /// Its key.
    #[arg(long)]
    pub(crate) key: bool,
}

/// Carries out one command.
pub(crate) async fn run(command: PropertyCommand) -> Result<(), Failure> {
    let mut properties = properties::load()?;
    match command {
        PropertyCommand::Get(asked) => return get(&asked, &properties).await,
        PropertyCommand::Set(kept) => set(&kept, &mut properties),
        PropertyCommand::Unset(forgotten) => unset(&forgotten, &mut properties),
    }
    Ok(properties::store(&properties)?)
}

/// Who names a property: its key in the file, and what people call it.
const LABELS: [(&str, &str); 6] = [
    ("APIHOST", "whisk API host"),
    ("APIVERSION", "whisk API version"),
    ("AUTH", "whisk auth"),
    ("NAMESPACE", "whisk namespace"),
    ("CERT", "client cert"),
    ("KEY", "client key"),
];

fn label(key: &str) -> &'static str {
    LABELS.iter().find(|(name, _)| *name == key).map_or("", |(_, label)| label)
}

fn set(kept: &Kept, properties: &mut Properties) {
    let values = [
        ("APIHOST", &kept.apihost),
        ("APIVERSION", &kept.apiversion),
        ("AUTH", &kept.auth),
        ("NAMESPACE", &kept.namespace),
        ("CERT", &kept.cert),
        ("KEY", &kept.key),
    ];
    for (key, value) in values {
        let Some(value) = value else { continue };
        properties.set(key, value);
        // A key stays off screens and logs of terminals.
        let shown = if key == "AUTH" { "" } else { value.as_str() };
        print(format!("ok: {} set {}", label(key), shown).trim_end());
        print("\n");
    }
}

fn unset(forgotten: &Forgotten, properties: &mut Properties) {
    let keys = [
        ("APIHOST", forgotten.apihost),
        ("APIVERSION", forgotten.apiversion),
        ("AUTH", forgotten.auth),
        ("NAMESPACE", forgotten.namespace),
        ("CERT", forgotten.cert),
        ("KEY", forgotten.key),
    ];
    for (key, _) in keys.iter().filter(|(_, asked)| *asked) {
        properties.unset(key);
        print(&format!("ok: {} unset\n", label(key)));
    }
}

async fn get(asked: &Asked, properties: &Properties) -> Result<(), Failure> {
    let shown = Shown::of(asked);
    let global = environment(asked);
    let place = Place::resolve(&global, properties);
    let file = |path: Option<&std::path::PathBuf>| path.map(|path| path.display().to_string());
    let certificate = place.certificate.as_ref();
    let mut rows: Vec<(&str, &str, String)> = Vec::new();
    let mut add = |is_shown, key, label, value: Option<String>| {
        if is_shown {
            rows.push((key, label, value.unwrap_or_default()));
        }
    };
    add(shown.cert, "cert", label("CERT"), file(certificate.map(|(cert, _)| cert)));
    add(shown.key, "key", label("KEY"), file(certificate.map(|(_, key)| key)));
    add(shown.auth, "auth", label("AUTH"), place.auth.clone());
    add(shown.apihost, "apihost", label("APIHOST"), Some(place.host.clone()));
    add(shown.apiversion, "apiversion", label("APIVERSION"), Some(place.version.clone()));
    add(shown.cliversion, "cliversion", "triplane version", Some(env!("CARGO_PKG_VERSION").to_owned()));
    if shown.namespace || shown.build {
        match remote(&shown, Api::new(place, &global)?).await {
            Ok(said) => rows.extend(said),
            // What is on this machine is shown all the same.
            Err(failure) if shown.is_all => eprintln!("warning: {failure}"),
            Err(failure) => return Err(failure),
        }
    }
    print_rows(rows, asked);
    Ok(())
}

/// What the environment says. Flags do not: `--apihost` asks for it here.
fn environment(asked: &Asked) -> Global {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Global {
        apihost: variable("WHISK_APIHOST"),
        apiversion: variable("WHISK_APIVERSION"),
        auth: variable("WHISK_AUTH"),
        insecure: asked.insecure,
        ..Global::default()
    }
}

/// What only the platform knows.
async fn remote(shown: &Shown, api: Api) -> Result<Vec<(&'static str, &'static str, String)>, Failure> {
    let mut rows = Vec::new();
    if shown.build {
        let info = api.info().await.during(|| "get the build of the platform".to_owned())?;
        if shown.apibuild {
            rows.push(("apibuild", "whisk API build", text(&info, "build").to_owned()));
        }
        if shown.apibuildno {
            rows.push(("apibuildno", "whisk API build number", text(&info, "buildno").to_owned()));
        }
    }
    if shown.namespace {
        let namespaces = api.get("/namespaces").await.during(|| "get the namespace".to_owned())?;
        rows.push(("namespace", label("NAMESPACE"), namespaces[0].as_str().unwrap_or_default().to_owned()));
    }
    Ok(rows)
}

/// What is shown.
#[derive(Debug, PartialEq)]
struct Shown {
    is_all: bool,
    auth: bool,
    apihost: bool,
    apiversion: bool,
    apibuild: bool,
    apibuildno: bool,
    build: bool,
    cliversion: bool,
    namespace: bool,
    cert: bool,
    key: bool,
}

impl Shown {
    fn of(asked: &Asked) -> Self {
        let single = asked.auth
            || asked.apihost
            || asked.apiversion
            || asked.apibuild
            || asked.apibuildno
            || asked.cliversion
            || asked.namespace
            || asked.cert
            || asked.key;
        let all = asked.all || !single;
        Self {
            is_all: all,
            auth: all || asked.auth,
            apihost: all || asked.apihost,
            apiversion: all || asked.apiversion,
            apibuild: all || asked.apibuild,
            apibuildno: all || asked.apibuildno,
            build: all || asked.apibuild || asked.apibuildno,
            cliversion: all || asked.cliversion,
            namespace: all || asked.namespace,
            cert: all || asked.cert,
            key: all || asked.key,
        }
    }
}

fn print_rows(rows: Vec<(&str, &str, String)>, asked: &Asked) {
    if asked.json {
        let object: Map<String, Value> =
            rows.into_iter().map(|(key, _, value)| (key.to_owned(), json!(value))).collect();
        return print_json(&Value::Object(object));
    }
    if asked.output == "raw" {
        return print(&rows.iter().map(|(.., value)| format!("{value}\n")).collect::<String>());
    }
    print(&table(["property", "value"], rows.into_iter().map(|(_, label, value)| [label.to_owned(), value])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_shown_and_else_all() {
        let all = Shown::of(&Asked::default());
        assert!(all.auth && all.namespace && all.build && all.cert);
        let one = Shown::of(&Asked { apihost: true, ..Asked::default() });
        assert!(one.apihost && !one.auth && !one.namespace && !one.build);
        assert_eq!(Shown::of(&Asked { all: true, apihost: true, ..Asked::default() }), all);
    }

    #[test]
    fn properties_are_kept_and_forgotten() {
        let mut properties = Properties::default();
        set(&Kept { auth: Some("a:b".to_owned()), ..Kept::default() }, &mut properties);
        assert_eq!(properties.get("AUTH"), Some("a:b"));
        unset(&Forgotten { auth: true, ..Forgotten::default() }, &mut properties);
        assert_eq!(properties.get("AUTH"), None);
    }
}
