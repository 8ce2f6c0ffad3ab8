//! Who may read a package and call what is in it (openwhisk-api.md 9.3). Owners may do everything; others may use public packages,
//! and so may a binding of their own to one. Whether a foreign package exists is told to nobody.

use triplane_model::package::Reached;
use triplane_model::{ApiError, EntityName, FullName, Package};

/// Why something may not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It belongs to somebody else, who does not share it.
    Forbidden,
    /// It would be the caller's own, or public, but this package is not there.
    Missing(FullName),
}

impl Denied {
    /// The error that a client gets who asked for `resource`.
    pub fn error(self, resource: impl std::fmt::Display) -> ApiError {
        match self {
            Self::Forbidden => ApiError::not_entitled(resource),
            Self::Missing(package) => ApiError::missing(package),
        }
    }
}

/// The package whose actions a caller reaches by a name, if it may use it. `reached` is what the name leads to.
///
/// # Errors
/// It may not, or there is nothing.
pub fn to_package<'a>(
    caller: &EntityName,
    name: &FullName,
    reached: Option<&'a Reached>,
) -> Result<&'a Package, Denied> {
    let is_own = |namespace: &EntityName| namespace == caller;
    let gone = |package: FullName| match is_own(&package.namespace) {
        true => Denied::Missing(package),
        false => Denied::Forbidden,
    };
    let Some(Reached { named, provider }) = reached else { return Err(gone(name.clone())) };
    let package = match (&named.binding, provider) {
        (None, _) => named,
        // A binding is its owner's only.
        (Some(_), _) if !is_own(&named.name.namespace) => return Err(Denied::Forbidden),
        (Some(binding), None) => return Err(gone(binding.package())),
        (Some(_), Some(provider)) => provider,
    };
    let is_shared = package.publish && package.binding.is_none();
    if is_own(&package.name.namespace) || is_shared { Ok(package) } else { Err(Denied::Forbidden) }
}

/// Whether a caller may call an action by a name, and read it; `reached` is what its package leads to, if it is in one.
///
/// # Errors
/// It may not, or there is no such package.
pub fn to_action(caller: &EntityName, name: &FullName, reached: Option<&Reached>) -> Result<(), Denied> {
    match name.package_name() {
        Some(package) => to_package(caller, &package, reached).map(drop),
        None if name.namespace == *caller => Ok(()),
        None => Err(Denied::Forbidden),
    }
}

/// Whether a caller may read a package by a name, or the action in it that it `asked` for, where what others share may be executed only
/// (`shared-packages-execute-only`). Who may use the package at all is looked at before.
///
/// # Errors
/// 403, with OpenWhisk's text.
pub fn to_read(caller: &EntityName, package: &Reached, asked: &FullName) -> Result<(), ApiError> {
    let named = &package.named.name;
    let is_action = asked.package.is_some();
    let is_bound_elsewhere =
        package.named.binding.as_ref().is_some_and(|binding| binding.namespace != named.namespace);
    let text = match (named.namespace == *caller, is_bound_elsewhere, is_action) {
        (true, false, _) => return Ok(()),
        (false, _, false) => format!("GET not permitted for '{named}' since it's a shared package"),
        (false, _, true) => {
            format!("GET not permitted for '{named}' since it's an action in a shared package")
        }
        (true, true, false) => {
            format!("GET not permitted since {} is a binding of a shared package", named.name)
        }
        (true, true, true) => format!(
            "GET not permitted for '{asked}'. Resource does not exist or is an action in a shared package binding."
        ),
    };
    Err(ApiError::new(403, text))
}

#[cfg(test)]
mod tests {
    use triplane_model::package::PackagePut;
    use triplane_model::{Binding, Package};

    use super::*;

    fn name(text: &str) -> FullName {
        text.parse().unwrap()
    }

    fn guest() -> EntityName {
        EntityName::namespace("guest").unwrap()
    }

    fn package(text: &str, publish: bool) -> Package {
        let put = PackagePut { publish: Some(publish), ..PackagePut::default() };
        put.create(name(text), 0).unwrap()
    }

    fn reached(text: &str, publish: bool) -> Reached {
        Reached { named: package(text, publish), provider: None }
    }

    fn binding(text: &str, to: &str, provider: Option<Package>) -> Reached {
        let FullName { namespace, name: bound, .. } = name(to);
        let binding = Some(Binding { namespace, name: bound });
        let put = PackagePut { binding, publish: Some(true), ..PackagePut::default() };
        Reached { named: put.create(name(text), 0).unwrap(), provider }
    }

    fn asked(text: &str, reached: Option<&Reached>) -> Result<String, Denied> {
        to_package(&guest(), &name(text), reached).map(|package| package.name.to_string())
    }

    #[test]
    fn own_packages_and_public_ones_of_others_may_be_used() {
        for publish in [false, true] {
            assert_eq!(asked("guest/p", Some(&reached("guest/p", publish))), Ok("guest/p".into()));
        }
        assert_eq!(asked("other/p", Some(&reached("other/p", true))), Ok("other/p".into()));
        assert_eq!(asked("other/p", Some(&reached("other/p", false))), Err(Denied::Forbidden));
    }

    #[test]
    fn where_shared_packages_are_executed_only_the_own_ones_are_read() {
        let refused = |package: &Reached, asked: &str| {
            to_read(&guest(), package, &name(asked)).map_err(|error| (error.status, error.message))
        };
        let text = |text: &str| Err((403, text.to_owned()));
        let own = reached("guest/p", true);
        assert_eq!((refused(&own, "guest/p"), refused(&own, "guest/p/a")), (Ok(()), Ok(())));
        let within = binding("guest/b", "guest/p", Some(package("guest/p", true)));
        assert_eq!(refused(&within, "guest/b/a"), Ok(()));

        let shared = reached("other/p", true);
        assert_eq!(
            refused(&shared, "other/p"),
            text("GET not permitted for 'other/p' since it's a shared package")
        );
        assert_eq!(
            refused(&shared, "other/p/a"),
            text("GET not permitted for 'other/p' since it's an action in a shared package")
        );
        let bound = binding("guest/b", "other/p", Some(package("other/p", true)));
        assert_eq!(
            refused(&bound, "guest/b"),
            text("GET not permitted since b is a binding of a shared package")
        );
        assert_eq!(
            refused(&bound, "guest/b/a"),
            text(
                "GET not permitted for 'guest/b/a'. Resource does not exist or is an action in a shared package binding."
            )
        );
    }

    #[test]
    fn whether_a_private_package_of_others_exists_is_hidden() {
        assert_eq!(asked("other/p", None), Err(Denied::Forbidden));
        assert_eq!(asked("guest/p", None), Err(Denied::Missing(name("guest/p"))));
    }

    #[test]
    fn an_own_binding_leads_to_what_may_be_used_without_it() {
        let to = |package| binding("guest/b", "other/p", package);
        assert_eq!(asked("guest/b", Some(&to(Some(package("other/p", true))))), Ok("other/p".into()));
        assert_eq!(asked("guest/b", Some(&to(Some(package("other/p", false))))), Err(Denied::Forbidden));
        assert_eq!(asked("guest/b", Some(&to(None))), Err(Denied::Forbidden));
        let own = binding("guest/b", "guest/p", Some(package("guest/p", false)));
        assert_eq!(asked("guest/b", Some(&own)), Ok("guest/p".into()));
        let gone = binding("guest/b", "guest/p", None);
        assert_eq!(asked("guest/b", Some(&gone)), Err(Denied::Missing(name("guest/p"))));
    }

    #[test]
    fn a_binding_of_others_may_not_be_used_even_to_a_package_that_may() {
        let foreign = binding("other/b", "guest/p", Some(package("guest/p", true)));
        assert_eq!(asked("other/b", Some(&foreign)), Err(Denied::Forbidden));
    }

    #[test]
    fn actions_in_no_package_are_their_owners_only() {
        assert_eq!(to_action(&guest(), &name("guest/a"), None), Ok(()));
        assert_eq!(to_action(&guest(), &name("other/a"), None), Err(Denied::Forbidden));
        let public = reached("other/p", true);
        assert_eq!(to_action(&guest(), &name("other/p/a"), Some(&public)), Ok(()));
    }
}
