//! Which crate may depend on which, and which crate may use which library.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

/// The arrows between our crates; a crate may also use what lies below the crates that it uses.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("net", &[]),
    ("core", &["model"]),
    ("wire", &["core"]),
    ("store", &["core"]),
    ("management", &["store", "net", "wire"]),
    ("router", &["net", "wire"]),
    ("proxy", &["net", "wire"]),
    ("control", &["wire"]),
    ("node", &["proxy", "control"]),
    ("driver-docker", &["proxy", "control"]),
    ("simulator", &["core"]),
    ("testkit", &[]),
    ("triplane", &["management", "router", "node", "driver-docker", "simulator"]),
    ("bench", &["store", "wire", "node", "simulator", "testkit"]),
    ("xtask", &[]),
];

/// Libraries that only these crates may use: the heavy ones, and those that a layer must not know.
const CONFINED: &[(&str, &[&str])] = &[
    ("sqlx", &["store", "bench"]),
    ("ring", &["store"]),
    ("tokio-rustls", &["triplane"]),
    ("rustls-native-certs", &["triplane"]),
    ("axum", &["management"]),
    ("tower", &["management"]),
    ("moka", &["router"]),
    ("libc", &["node"]),
    ("bollard", &["driver-docker"]),
    ("zip", &["node", "management"]),
    ("tar", &["node"]),
    ("flate2", &["node"]),
    ("rustix", &["net", "node", "proxy", "triplane", "testkit", "bench"]),
    ("hyper", &["net", "proxy", "router", "triplane", "testkit", "bench"]),
    ("hyper-util", &["net", "proxy", "triplane", "testkit", "bench"]),
    ("clap", &["triplane", "bench"]),
    ("toml", &["triplane"]),
    ("tracing-subscriber", &["triplane"]),
    ("prometheus-client", &["control", "proxy", "router", "triplane"]),
    ("anyhow", &["triplane", "testkit", "bench", "xtask"]),
];

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    /// Its own features, and what each switches on.
    features: Vec<(String, Vec<String>)>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    /// Whether only tests use it.
    dev: bool,
    /// What of it is switched on.
    features: Vec<String>,
}

/// The packages of the workspace at `root`, from `cargo metadata`.
pub(crate) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    parse(&serde_json::from_slice(&output.stdout)?)
        .context("cargo metadata has a shape that is not known here")
}

fn parse(metadata: &Value) -> Option<Vec<Package>> {
    metadata["packages"].as_array()?.iter().map(package).collect()
}

fn package(value: &Value) -> Option<Package> {
    let dependencies = value["dependencies"].as_array()?.iter().map(dependency).collect::<Option<_>>()?;
    let features = value["features"].as_object().into_iter().flatten();
    let features = features.map(|(name, switched_on)| (name.clone(), texts(switched_on))).collect();
    Some(Package { name: short(value["name"].as_str()?), dependencies, features })
}

fn dependency(value: &Value) -> Option<Dependency> {
    let features = texts(&value["features"]);
    Some(Dependency { name: short(value["name"].as_str()?), dev: value["kind"] == "dev", features })
}

fn texts(array: &Value) -> Vec<String> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The name of a package of ours without prefix; the names of others unchanged.
fn short(name: &str) -> String {
    match name.strip_prefix("triplane-") {
        Some(rest) if edges_of(rest).is_some() => rest.to_owned(),
        _ => name.to_owned(),
    }
}

fn edges_of(name: &str) -> Option<&'static [&'static str]> {
    EDGES.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

/// Whether `to` lies below `from`.
fn is_below(from: &str, to: &str) -> bool {
    edges_of(from).is_some_and(|direct| direct.contains(&to) || direct.iter().any(|step| is_below(step, to)))
}

/// Arrows between our crates point downwards only. Tests may use any library crate, but no binary.
pub(crate) fn crate_edges(packages: &[Package]) -> Vec<String> {
    let unknown = packages.iter().filter(|package| edges_of(&package.name).is_none()).map(|package| {
        let name = &package.name;
        format!(
            "{name}: a crate without a place in the layers; add it to EDGES in xtask and to ARCHITECTURE.md"
        )
    });
    unknown.chain(packages.iter().flat_map(forbidden_edges)).collect()
}

fn forbidden_edges(package: &Package) -> impl Iterator<Item = String> {
    let ours = package.dependencies.iter().filter(|dependency| edges_of(&dependency.name).is_some());
    let forbidden = ours.filter(|dependency| !is_allowed(&package.name, dependency));
    forbidden.map(|Dependency { name: to, .. }| {
        let from = &package.name;
        format!("{from} → {to}: not an edge of ARCHITECTURE.md; move the shared type down, or join them in triplane")
    })
}

fn is_allowed(from: &str, dependency: &Dependency) -> bool {
    let to = dependency.name.as_str();
    is_below(from, to) || dependency.dev && !["triplane", "bench", "xtask"].contains(&to)
}

/// A heavy library is used by the crates that it is meant for; tests are free.
pub(crate) fn confined_dependencies(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for Package { name, dependencies, .. } in packages {
        for library in dependencies.iter().filter(|dependency| !dependency.dev) {
            let confined = CONFINED.iter().find(|(confined, _)| *confined == library.name);
            let Some((library, users)) = confined else { continue };
            if !users.contains(&name.as_str()) {
                let users = users.join(", ");
                problems.push(format!(
                    "{name}: uses {library}, which only {users} may; keep its types behind them"
                ));
            }
        }
    }
    problems
}

/// The feature that lets mistakes be planted is for the command line of a test of the simulator only: no manifest switches it on, not even for
/// tests, because features of a build are shared.
pub(crate) fn mutants_are_not_shipped(packages: &[Package]) -> Vec<String> {
    let is_mutants = |feature: &String| feature.ends_with("mutants");
    let mut problems = Vec::new();
    for Package { name, dependencies, features } in packages {
        let asks = dependencies.iter().any(|dependency| dependency.features.iter().any(is_mutants));
        let has_it = !["core", "simulator"].contains(&name.as_str())
            && features.iter().any(|(own, _)| is_mutants(own));
        let implies = features.iter().any(|(own, on)| !is_mutants(own) && on.iter().any(is_mutants));
        if asks || has_it || implies {
            problems.push(format!("{name}: switches on the feature mutants; leave that to ./dev test"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace with one package and one dependency.
    fn workspace(package: &str, dependency: &str, kind: Option<&str>) -> Vec<Package> {
        let dependencies = json!([{"name": dependency, "kind": kind}]);
        parse(&json!({"packages": [{"name": package, "dependencies": dependencies}]})).unwrap()
    }

    #[test]
    fn an_edge_may_skip_layers_downwards() {
        assert!(crate_edges(&workspace("triplane-management", "triplane-model", None)).is_empty());
    }

    #[test]
    fn an_edge_upwards_or_sideways_is_a_problem() {
        assert_eq!(crate_edges(&workspace("triplane-core", "triplane-store", None)).len(), 1);
        assert_eq!(crate_edges(&workspace("triplane-router", "triplane-management", None)).len(), 1);
    }

    #[test]
    fn tests_may_use_other_crates_but_no_binary() {
        assert!(crate_edges(&workspace("triplane-core", "triplane-testkit", Some("dev"))).is_empty());
        assert_eq!(crate_edges(&workspace("triplane-core", "triplane", Some("dev"))).len(), 1);
    }

    #[test]
    fn testkit_is_never_shipped() {
        assert_eq!(crate_edges(&workspace("triplane", "triplane-testkit", None)).len(), 1);
    }

    #[test]
    fn a_crate_that_nobody_placed_is_a_problem() {
        assert_eq!(crate_edges(&workspace("triplane-utils", "serde", None)).len(), 1);
    }

    #[test]
    fn a_heavy_library_stays_in_its_crate() {
        assert!(confined_dependencies(&workspace("triplane-store", "sqlx", None)).is_empty());
        let problems = confined_dependencies(&workspace("triplane-router", "sqlx", None));
        assert_eq!(problems, ["router: uses sqlx, which only store, bench may; keep its types behind them"]);
        assert!(confined_dependencies(&workspace("triplane-router", "sqlx", Some("dev"))).is_empty());
    }

    /// A workspace with one package, its features, and a dependency on core with some of its features.
    fn featured(package: &str, features: &Value, of_core: &Value) -> Vec<Package> {
        let dependencies = json!([{"name": "triplane-core", "kind": null, "features": of_core}]);
        let package = json!({"name": package, "features": features, "dependencies": dependencies});
        parse(&json!({"packages": [package]})).unwrap()
    }

    #[test]
    fn no_manifest_switches_planted_mistakes_on() {
        let none = mutants_are_not_shipped(&featured(
            "triplane-simulator",
            &json!({"mutants": ["triplane-core/mutants"]}),
            &json!([]),
        ));
        assert!(none.is_empty(), "{none:?}");
        for (package, features, of_core) in [
            ("triplane", json!({}), json!(["mutants"])),
            ("triplane", json!({"mutants": ["triplane-core/mutants"]}), json!([])),
            ("triplane-simulator", json!({"default": ["mutants"]}), json!([])),
        ] {
            assert_eq!(
                mutants_are_not_shipped(&featured(package, &features, &of_core)).len(),
                1,
                "{features}"
            );
        }
    }

    #[test]
    fn the_layers_name_only_known_crates_and_have_no_cycle() {
        for (from, to) in EDGES {
            assert!(to.iter().all(|name| edges_of(name).is_some()), "{from} points at an unknown crate");
            assert!(!is_below(from, from), "{from} is below itself");
        }
    }
}
