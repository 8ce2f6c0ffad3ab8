//! Entities as the store keeps them: documents of a collection, written together or not at all.

use triplane_model::{Collection, Entity, EntityName, FullName, Revision};

use crate::{Change, Entities, Expected, StoreError};

/// An entity as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it is.
    pub collection: Collection,
    /// Its name, which belongs to one entity in all collections.
    pub name: FullName,
    /// Which write it is of; drawn by the store when it is put.
    pub revision: Revision,
    /// When it was last written, epoch milliseconds; lists are ordered by it.
    pub updated_ms: u64,
    /// Whether everyone sees it in the list of its namespace.
    pub is_public: bool,
    /// The entity as JSON.
    pub text: String,
}

impl Document {
    /// The document of an entity.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn of<E: Entity>(entity: &E) -> Result<Self, StoreError> {
        let text = serde_json::to_string(entity)
            .map_err(|error| StoreError::Corrupt(format!("{} cannot be written: {error}", entity.name())))?;
        Ok(Self {
            collection: E::COLLECTION,
            name: entity.name().clone(),
            revision: entity.revision(),
            updated_ms: entity.updated_ms(),
            is_public: entity.is_listed_for_all(),
            text,
        })
    }

    /// The entity of a document.
    ///
    /// # Errors
    /// When it is corrupt.
    pub fn read<E: Entity>(&self) -> Result<E, StoreError> {
        debug_assert_eq!(self.collection, E::COLLECTION);
        let entity: Result<E, _> = serde_json::from_str(&self.text);
        let kind = self.collection.kind();
        let entity = entity.map_err(|error| StoreError::Corrupt(format!("{kind} {}: {error}", self.name)))?;
        Ok(entity.with_revision(self.revision))
    }
}

/// The entities of documents. One that is corrupt is logged and left out.
#[must_use]
pub fn readable<E: Entity>(documents: Vec<Document>) -> Vec<E> {
    let read = |document: Document| match document.read() {
        Ok(entity) => Some(entity),
        Err(error) => {
            tracing::error!(%error, "left out of a list; delete it to be rid of it");
            None
        }
    };
    documents.into_iter().filter_map(read).collect()
}

/// Which entities a list is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityQuery {
    /// Where they are.
    pub collection: Collection,
    /// Of which namespace.
    pub namespace: EntityName,
    /// In which package; all of the namespace when absent.
    pub package: Option<EntityName>,
    /// Only those that everyone may see.
    pub public_only: bool,
}

impl EntityQuery {
    /// All of a collection of a namespace.
    #[must_use]
    pub fn all(collection: Collection, namespace: EntityName) -> Self {
        Self { collection, namespace, package: None, public_only: false }
    }

    /// The actions in a package.
    #[must_use]
    pub fn in_package(package: &FullName) -> Self {
        let (namespace, name) = (package.namespace.clone(), package.name.clone());
        Self { collection: Collection::Actions, namespace, package: Some(name), public_only: false }
    }
}

/// One of the writes that are done together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes a document. An action has code, and is put by [`Entities::put_action`].
    Put(Document, Expected),
    /// Deletes an entity. One whose document is corrupt goes whatever revision is expected, since nobody can read it.
    Delete(Delete),
}

/// The deletion of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Where it is.
    pub collection: Collection,
    /// Its name.
    pub name: FullName,
    /// Which write of it is to be deleted.
    pub expected: Revision,
    /// Whether a package is deleted with what is in it; one that is not empty is refused otherwise.
    pub with_contents: bool,
}

impl Write {
    /// Puts an entity.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put<E: Entity>(entity: &E, expected: Expected) -> Result<Self, StoreError> {
        Ok(Self::Put(Document::of(entity)?, expected))
    }

    /// Replaces an entity as it was read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace<E: Entity>(entity: &E) -> Result<Self, StoreError> {
        Self::put(entity, Expected::Revision(entity.revision()))
    }

    /// Deletes an entity as it was read.
    pub fn delete<E: Entity>(entity: &E) -> Self {
        Self::Delete(Delete {
            collection: E::COLLECTION,
            name: entity.name().clone(),
            expected: entity.revision(),
            with_contents: false,
        })
    }

    /// The same, where a package goes with what is in it.
    #[must_use]
    pub fn with_contents(self) -> Self {
        match self {
            Self::Delete(delete) => Self::Delete(Delete { with_contents: true, ..delete }),
            put @ Self::Put(..) => put,
        }
    }
}

impl dyn Entities {
    /// An entity.
    ///
    /// # Errors
    /// [`StoreError::OtherType`] when its name belongs to an entity of another collection, or the store fails.
    pub async fn entity<E: Entity>(&self, name: FullName) -> Result<Option<E>, StoreError> {
        let found = self.document(E::COLLECTION, name).await?;
        found.map(|document| document.read()).transpose()
    }

    /// Entities, newest first. One that is corrupt is logged and left out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn entities<E: Entity>(
        &self,
        query: EntityQuery,
        skip: u64,
        limit: u64,
    ) -> Result<Vec<E>, StoreError> {
        Ok(readable(self.list(query, skip, limit).await?))
    }

    /// Writes one entity, and answers it with its new revision.
    ///
    /// # Errors
    /// When the store has something else than expected, or fails.
    pub async fn put<E: Entity>(
        &self,
        entity: E,
        expected: Expected,
    ) -> Result<(E, Vec<Change>), StoreError> {
        let changes = self.write(vec![Write::put(&entity, expected)?]).await?;
        let revision = changes.iter().find_map(|change| change.revision_of(entity.name()));
        Ok((entity.with_revision(revision.unwrap_or_default()), changes))
    }
}
