//! The well-known credentials of OpenWhisk's development set-up, in standalone only (openwhisk-api.md 1.4).

use anyhow::Context;
use triplane_model::{Credential, EntityName, NamespaceLimits};
use triplane_store::{Entities, StoreError};

/// The key of the guest.
pub(crate) const GUEST: &str =
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
/// The key of `whisk.system`.
pub(crate) const SYSTEM: &str =
    "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// Creates `guest` and `whisk.system` where they are missing.
pub(crate) async fn create(
    entities: &dyn Entities,
    guest: &NamespaceLimits,
    system: &NamespaceLimits,
) -> anyhow::Result<()> {
    for (name, credential, limits) in
        [("guest", GUEST, guest.clone()), ("whisk.system", SYSTEM, system.clone())]
    {
        let namespace = EntityName::namespace(name)?;
        let credential = Credential::parse(credential).context("a well-known credential is malformed")?;
        match entities.create_subject(name.to_owned(), namespace, credential, limits).await {
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create the subject {name}")),
        }
    }
    Ok(())
}
