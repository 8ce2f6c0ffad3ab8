//! The platform that an action is developed on: one that answers, or one of its own in this process.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::ServeOptions;
use crate::config::{self, Config};
use crate::standalone::Platform;
use crate::telemetry;

use super::DevOptions;
use crate::wsk::api::{Api, Place};
use crate::wsk::cli::Global;
use crate::wsk::failure::Failure;
use crate::wsk::properties;
use crate::wsk::shell::Shell;

/// What names no interpreter.
const NO_INTERPRETER: &str = "/nonexistent";

/// See the module.
pub(crate) struct Ground {
    own: Option<Own>,
}

/// A platform in this process.
struct Own {
    platform: Platform,
    /// Goes when the platform has stopped.
    _directory: Option<Temporary>,
}

/// A directory that is removed in the end.
struct Temporary(PathBuf);

impl Ground {
    /// Finds a platform, or starts one that runs actions of a kind.
    pub(crate) async fn find(options: &DevOptions, kind: &str) -> Result<(Self, Shell), Failure> {
        let global = &options.global;
        let place = Place::resolve(global, &properties::load()?);
        if !options.standalone {
            let api = Api::new(place, global)?;
            match api.info().await {
                Ok(_) => return Ok((Self { own: None }, Shell { api, json: global.json })),
                // Who names a platform on the command line wants no other one.
                Err(failure) if global.apihost.is_some() => return Err(failure),
                Err(_) => eprintln!("no platform answers on {}: starting one", api.host()),
            }
        }
        let own = Box::pin(Own::start(options.data_dir.as_deref(), kind)).await?;
        let shell = own.shell(global)?;
        Ok((Self { own: Some(own) }, shell))
    }

    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Stops the platform, if it is of this process.
    pub(crate) async fn stop(self) {
        if let Some(own) = self.own {
            own.platform.stop(std::time::Duration::from_secs(1)).await;
        }
    }
}

impl Own {
    async fn start(data_dir: Option<&Path>, kind: &str) -> anyhow::Result<Self> {
        let directory = match data_dir {
            Some(_) => None,
            None => Some(Temporary::new()?),
        };
        let data_dir = data_dir.or(directory.as_ref().map(|directory| directory.0.as_path()));
        let config = configured(data_dir.map(Path::to_owned), kind)?;
        telemetry::start(&config.log)?;
        let platform = Platform::start(&config).await.context("cannot start a platform")?;
        Ok(Self { platform, _directory: directory })
    }

    /// Its guest.
    fn shell(&self, global: &Global) -> Result<Shell, Failure> {
        let place = Place::guest(format!("http://{}", self.platform.listen()));
        Ok(Shell { api: Api::new(place, global)?, json: global.json })
    }
}

/// The configuration of a platform for one kind: ports that are free, and no other language, because the launchers of some are
/// compiled at the first start in a directory.
fn configured(data_dir: Option<PathBuf>, kind: &str) -> anyhow::Result<Config> {
    let free = Some(([127, 0, 0, 1], 0).into());
    let options = ServeOptions { data_dir, listen: free, admin_listen: free, ..ServeOptions::default() };
    let mut config = config::load(&options)?;
    if config.log.filter == config::LogConfig::default().filter {
        // The terminal is for the action.
        config.log.filter = "error".to_owned();
    }
    let family = kind.split(':').next().unwrap_or_default();
    for (language, interpreter) in config.node.interpreters_mut() {
        if language != family {
            *interpreter = Some(NO_INTERPRETER.into());
        }
    }
    Ok(config)
}

impl Temporary {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("triplane-dev-{}", std::process::id()));
        // Not one that somebody else has made.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_of_ones_own_has_one_language_and_is_quiet() {
        let config = configured(Some("/d".into()), "python:default").unwrap();
        let named: Vec<_> =
            config.node.interpreters().into_iter().filter(|(_, path)| path.is_none()).collect();
        assert_eq!(named, [("python", None)]);
        assert_eq!((config.log.filter.as_str(), config.listen.port()), ("error", 0));
        assert_eq!(config.data_dir, Path::new("/d"));
    }
}
