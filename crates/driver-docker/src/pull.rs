//! Whether and when an image is pulled (openwhisk-api.md 2.4).

use std::time::Duration;

use triplane_model::action::Exec;
use triplane_model::image::ImageName;

use crate::engine::Engine;
use crate::options::{DockerOptions, PullPolicy};

/// What there is of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// The engine has it.
    Ready(String),
    /// There is none: the action's fault, as its record says.
    Missing(String),
    /// The platform's own is not here now.
    Unavailable(String),
}

/// Sees to it that the engine has the image of an action.
pub(crate) async fn provide(engine: &Engine, options: &DockerOptions, exec: &Exec) -> Option<Image> {
    if let Some(image) = &exec.image {
        return Some(provide_users(engine, options, image).await);
    }
    let image = options.images.get(&exec.kind)?;
    Some(match pull_if_missing(engine, options, image).await {
        Ok(()) => Image::Ready(image.clone()),
        Err(reason) => {
            Image::Unavailable(format!("the image {image} of {} is not here: {reason}", exec.kind))
        }
    })
}

/// An image of a user. The rules may have changed since its action was written.
async fn provide_users(engine: &Engine, options: &DockerOptions, image: &str) -> Image {
    let missing = || Image::Missing(format!("Failed to pull container image '{image}'."));
    let Ok(name) = ImageName::parse(image) else { return missing() };
    if let Err(refused) = options.rules.check(&name) {
        return Image::Missing(refused.message);
    }
    let policy = if options.rules.vouches_for(&name) { PullPolicy::Missing } else { options.pull };
    let here = match policy {
        PullPolicy::Always => pull_or_keep(engine, options, &name, image).await,
        PullPolicy::Missing => pull_if_missing(engine, options, image).await,
        PullPolicy::Never => only_here(engine, image).await,
    };
    match here {
        Ok(()) => Image::Ready(image.to_owned()),
        Err(error) => {
            tracing::info!(image, error, "image is not here");
            missing()
        }
    }
}

/// `latest` must be pulled, another tag may be what the engine has already.
async fn pull_or_keep(
    engine: &Engine,
    options: &DockerOptions,
    name: &ImageName<'_>,
    image: &str,
) -> Result<(), String> {
    match pull(engine, options, image).await {
        Err(_) if !name.is_latest() && engine.has_image(image).await.unwrap_or(false) => Ok(()),
        pulled => pulled,
    }
}

/// Who names the image decides when to pull it again.
async fn pull_if_missing(engine: &Engine, options: &DockerOptions, image: &str) -> Result<(), String> {
    match engine.has_image(image).await {
        Ok(true) => Ok(()),
        Ok(false) => pull(engine, options, image).await,
        Err(error) => Err(error.to_string()),
    }
}

async fn only_here(engine: &Engine, image: &str) -> Result<(), String> {
    match engine.has_image(image).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the engine has none, and none is pulled".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn pull(engine: &Engine, options: &DockerOptions, image: &str) -> Result<(), String> {
    let registry = ImageName::parse(image).map_or("", |name| name.registry);
    let login = options.logins.get_key_value(registry).map(|(registry, login)| (registry.as_str(), login));
    match tokio::time::timeout(options.pull_within, engine.pull(image, login)).await {
        Ok(pulled) => pulled.map_err(|error| error.to_string()),
        Err(_) => Err(too_slow(options.pull_within)),
    }
}

fn too_slow(within: Duration) -> String {
    format!("not pulled within {} s", within.as_secs())
}
