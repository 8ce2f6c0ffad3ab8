//! What all entities have in common: a collection, a name that is unique over all of them, a revision.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::id::Revision;
use crate::name::FullName;

/// The collections of a namespace. A name belongs to one entity in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Collection {
    /// Actions and sequences.
    Actions,
    /// Packages and bindings.
    Packages,
    /// Triggers.
    Triggers,
    /// Rules.
    Rules,
}

impl Collection {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Actions, Self::Packages, Self::Triggers, Self::Rules];

    /// The collection as paths and texts name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Packages => "packages",
            Self::Triggers => "triggers",
            Self::Rules => "rules",
        }
    }

    /// What one entity in it is called.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Actions => "action",
            Self::Packages => "package",
            Self::Triggers => "trigger",
            Self::Rules => "rule",
        }
    }

    /// The collection whose entities are called so.
    #[must_use]
    pub fn of_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.kind() == kind)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Something that a client creates by name.
pub trait Entity: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Where it is.
    const COLLECTION: Collection;

    /// Its fully qualified name.
    fn name(&self) -> &FullName;
    /// Counted up by every write.
    fn revision(&self) -> Revision;
    /// The same entity as the store wrote it.
    #[must_use]
    fn with_revision(self, revision: Revision) -> Self;
    /// When it was last written, epoch milliseconds; lists are ordered by it.
    fn updated_ms(&self) -> u64;
    /// Whether everyone sees it in the list of its namespace.
    fn is_listed_for_all(&self) -> bool {
        false
    }
}

/// Implements [`Entity`] for a struct with the fields `name`, `revision` and `updated_ms`; what it has of its own follows.
macro_rules! entity {
    ($entity:ty, $collection:expr $(, { $($own:tt)* })?) => {
        impl $crate::entity::Entity for $entity {
            const COLLECTION: $crate::entity::Collection = $collection;

            fn name(&self) -> &$crate::name::FullName {
                &self.name
            }

            fn revision(&self) -> $crate::id::Revision {
                self.revision
            }

            fn with_revision(self, revision: $crate::id::Revision) -> Self {
                Self { revision, ..self }
            }

            fn updated_ms(&self) -> u64 {
                self.updated_ms
            }

            $($($own)*)?
        }
    };
}

pub(crate) use entity;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_found_by_what_its_entities_are_called() {
        for collection in Collection::ALL {
            assert_eq!(Collection::of_kind(collection.kind()), Some(collection));
            assert_eq!(collection.to_string(), format!("{}s", collection.kind()));
        }
        assert_eq!(Collection::of_kind("identity"), None);
    }
}
