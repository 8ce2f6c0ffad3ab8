//! Checks of the workspace that the compiler cannot make: `cargo run -q -p xtask -- tidy`.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command] = arguments.as_slice() else { anyhow::bail!("usage: cargo run -q -p xtask -- tidy") };
    anyhow::ensure!(command == "tidy", "there is no command {command:?}; there is only tidy");
    // at run time: a checkout that shares the build output of another runs what was compiled there
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .context("to be run by cargo: cargo run -q -p xtask -- tidy")?;
    let root = Path::new(&own).join("..").canonicalize()?;
    let problems = tidy::problems(&root)?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => {
            eprintln!("tidy: {count} problem(s)");
            Ok(ExitCode::FAILURE)
        }
    }
}
