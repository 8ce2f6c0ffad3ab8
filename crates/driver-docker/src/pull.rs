//! Whether and when an image is pulled (openwhisk-api.md 2.4).

use std::time::Duration;

use triplane_model::action::Exec;
use triplane_model::image::ImageName;

use crate::engine::Engine;
use crate::options::DockerOptions;

/// What there is of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// The engine has it.
    Ready(String),
    /// There is none: the action's fault, as its record says.
    Missing(String),
}

/// Why an image of the platform's is not there.
pub(crate) type Unavailable = String;

/// Sees to it that the engine has the image of an action.
pub(crate) async fn provide(
    engine: &Engine,
    options: &DockerOptions,
    exec: &Exec,
) -> Option<Result<Image, Unavailable>> {
    if let Some(image) = &exec.image {
        return Some(Ok(provide_users(engine, options, image).await));
    }
    let image = options.images.get(&exec.kind)?;
    Some(provide_ours(engine, options, image).await.map(|()| Image::Ready(image.clone())))
}

/// An image of a user: `latest` must be pulled, another tag may be what the engine has already.
async fn provide_users(engine: &Engine, options: &DockerOptions, image: &str) -> Image {
    let missing = || Image::Missing(format!("Failed to pull container image '{image}'."));
    let Ok(name) = ImageName::parse(image) else { return missing() };
    let Err(error) = pull(engine, options, image).await else { return Image::Ready(image.to_owned()) };
    tracing::info!(image, error, "image is not pulled");
    match name.is_latest() {
        false if engine.has_image(image).await.unwrap_or(false) => Image::Ready(image.to_owned()),
        _ => missing(),
    }
}

/// The image of a managed kind is pulled once; the operator decides when to pull it again.
async fn provide_ours(engine: &Engine, options: &DockerOptions, image: &str) -> Result<(), Unavailable> {
    match engine.has_image(image).await {
        Ok(true) => Ok(()),
        Ok(false) => pull(engine, options, image).await,
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
