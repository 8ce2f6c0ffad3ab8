//! What owners do on a platform, as with OpenWhisk's `wsk`: its verbs, flags, properties and exit codes (openwhisk-api.md 10).
//! It speaks HTTP only, so it works with any OpenWhisk. It knows nothing of the planes.

mod action;
mod activation;
mod api;
mod cli;
mod code;
mod dev;
mod failure;
mod feed;
mod flags;
mod invoke;
mod name;
mod namespace;
mod package;
mod pairs;
mod poll;
mod properties;
mod property;
mod rule;
mod shell;
mod summary;
mod trigger;

use std::process::ExitCode;

use self::api::{Api, Place};
pub(crate) use self::cli::WskCommand;
use self::cli::{Global, With};
use self::failure::Failure;
pub(crate) use self::flags::behind_the_verb;
use self::shell::Shell;

/// Carries out one command; what went wrong is said here.
pub(crate) async fn run(command: WskCommand) -> ExitCode {
    let Err(failure) = carry_out(command).await else { return ExitCode::SUCCESS };
    if !failure.is_said() {
        eprintln!("error: {failure}");
        if let Some(advice) = failure.advice() {
            eprintln!("hint: {advice}");
        }
    }
    failure.exit_code()
}

async fn carry_out(command: WskCommand) -> Result<(), Failure> {
    match command {
        WskCommand::Action(With { command, global }) => action::run(command, &shell(&global)?).await,
        WskCommand::Activation(With { command, global }) => activation::run(command, &shell(&global)?).await,
        WskCommand::Package(With { command, global }) => package::run(command, &shell(&global)?).await,
        WskCommand::Trigger(With { command, global }) => trigger::run(command, &shell(&global)?).await,
        WskCommand::Rule(With { command, global }) => rule::run(command, &shell(&global)?).await,
        WskCommand::Namespace(With { command, global }) => namespace::run(command, &shell(&global)?).await,
        WskCommand::List { namespace, global } => {
            namespace::list(namespace.as_deref(), &shell(&global)?).await
        }
        WskCommand::Property(command) => property::run(command).await,
        WskCommand::Dev(options) => dev::run(*options).await,
    }
}

/// The platform that flags, the environment and the file name.
fn shell(global: &Global) -> Result<Shell, Failure> {
    let place = Place::resolve(global, &properties::load()?);
    Ok(Shell { api: Api::new(place, global)?, json: global.json })
}
