//! Checks of the workspace that the compiler cannot make: `cargo run -q -p xtask -- tidy`.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command] = arguments.as_slice() else { anyhow::bail!("usage: cargo run -q -p xtask -- tidy") };
    anyhow::ensure!(command == "tidy", "there is no command {command:?}; there is only tidy");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
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
