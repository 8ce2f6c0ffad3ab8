//! Subjects, namespaces and credentials.

use triplane_model::{Credential, Identity, LimitsDocument};
use triplane_store::{Changed, Options, Sqlite, StoreError, Stores};

use crate::support::{TempDir, credential, namespace_limits, ns, open};

async fn create(stores: &Stores, subject: &str, namespace: &str, number: u64) -> Result<Changed, StoreError> {
    let created =
        stores.entities.create_subject(subject.into(), ns(namespace), credential(number), namespace_limits());
    created.await.map(|change| change.subject)
}

async fn identity(stores: &Stores, credential: Credential) -> Option<Identity> {
    stores.entities.identity(credential).await.unwrap()
}

#[tokio::test]
async fn a_credential_stands_for_its_subject_also_after_a_restart() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let changed = create(&stores, "alice", "alice-space", 1).await.unwrap();
    assert_eq!(changed, Changed::Identity(credential(1).uuid.into()));
    stores.close().await;
    let stores = open(dir.path()).await;
    let found = identity(&stores, credential(1)).await.unwrap();
    assert_eq!((&*found.subject, &found.namespace), ("alice", &ns("alice-space")));
    assert_eq!((&*found.namespace_uuid, &found.limits), (&*credential(1).uuid, &namespace_limits()));
    assert_eq!(found.credential, credential(1));
    assert_eq!(stores.entities.owner(ns("alice-space")).await.unwrap(), Some(found));
    stores.close().await;
}

#[tokio::test]
async fn an_unknown_uuid_or_a_wrong_key_stands_for_nobody() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "alice-space", 1).await.unwrap();
    assert_eq!(identity(&stores, credential(2)).await, None);
    let wrong = Credential { key: credential(2).key, ..credential(1) };
    assert_eq!(identity(&stores, wrong).await, None);
    assert_eq!(stores.entities.owner(ns("bob-space")).await.unwrap(), None);
    stores.close().await;
}

#[tokio::test]
async fn a_subject_has_a_namespace_once_and_a_uuid_belongs_to_one() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "space", 1).await.unwrap();
    assert!(matches!(create(&stores, "alice", "space", 2).await, Err(StoreError::Conflict)));
    assert!(matches!(create(&stores, "bobby", "other", 1).await, Err(StoreError::Conflict)));
    let left = stores.entities.subject("bobby".into()).await.unwrap();
    assert_eq!(left, None, "a refused creation leaves no subject behind");
    stores.close().await;
}

#[tokio::test]
async fn subjects_that_share_a_namespace_come_and_go_apart_from_each_other() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let entities = &stores.entities;
    let holders = async || entities.holders(ns("space")).await.unwrap();
    let owner = async || entities.owner(ns("space")).await.unwrap().map(|owner| owner.subject.to_string());
    create(&stores, "zelda", "space", 1).await.unwrap();
    create(&stores, "alice", "space", 2).await.unwrap();
    let (zelda, alice) = (("zelda".to_owned(), credential(1)), ("alice".to_owned(), credential(2)));
    assert_eq!(holders().await, [zelda.clone(), alice]);
    assert_eq!(owner().await.as_deref(), Some("zelda"), "who has it longest");
    for number in [1, 2] {
        assert_eq!(identity(&stores, credential(number)).await.unwrap().namespace, ns("space"));
    }

    entities.replace_credential("alice".into(), ns("space"), credential(3)).await.unwrap();
    assert_eq!(holders().await, [zelda.clone(), ("alice".into(), credential(3))], "only the own key changes");
    entities.block_subject("zelda".into(), true).await.unwrap();
    assert_eq!((holders().await.len(), owner().await.as_deref()), (1, Some("alice")));
    entities.block_subject("zelda".into(), false).await.unwrap();
    entities.delete_namespace("alice".into(), ns("space")).await.unwrap();
    assert_eq!(holders().await, [zelda]);
    assert_eq!(identity(&stores, credential(3)).await, None);
    entities.delete_subject("zelda".into()).await.unwrap();
    assert_eq!((holders().await, owner().await), (vec![], None));
    stores.close().await;
}

#[tokio::test]
async fn what_is_set_for_a_shared_namespace_is_told_for_all_who_have_it() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "space", 1).await.unwrap();
    create(&stores, "bobby", "space", 2).await.unwrap();
    let document = LimitsDocument { invocations_per_minute: Some(7), ..LimitsDocument::default() };
    let changes = stores.entities.set_limits(ns("space"), Some(document)).await.unwrap();
    let told: Vec<Changed> = changes.into_iter().map(|change| change.subject).collect();
    assert_eq!(told, [1, 2].map(|number| Changed::Identity(credential(number).uuid.into())));
    for number in [1, 2] {
        let limits = identity(&stores, credential(number)).await.unwrap().limits;
        assert_eq!(limits.invocations_per_minute, 7);
    }
    stores.close().await;
}

#[tokio::test]
async fn a_subject_has_its_namespaces_in_order_with_their_keys() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "second-by-name", 1).await.unwrap();
    create(&stores, "alice", "first-by-name", 2).await.unwrap();
    let (info, credentials) = stores.entities.subject("alice".into()).await.unwrap().unwrap();
    let names: Vec<&str> = info.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["second-by-name", "first-by-name"]);
    assert_eq!(credentials, [credential(1), credential(2)]);
    assert!(!info.blocked);
    stores.close().await;
}

#[tokio::test]
async fn a_blocked_subject_is_refused_until_it_is_unblocked() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "one", 1).await.unwrap();
    create(&stores, "alice", "two", 2).await.unwrap();
    let changes = stores.entities.block_subject("alice".into(), true).await.unwrap();
    let told: Vec<Changed> = changes.into_iter().map(|change| change.subject).collect();
    assert_eq!(told, [1, 2].map(|number| Changed::Identity(credential(number).uuid.into())));
    assert_eq!(identity(&stores, credential(2)).await, None);
    assert_eq!(stores.entities.owner(ns("one")).await.unwrap(), None);
    assert!(stores.entities.subject("alice".into()).await.unwrap().unwrap().0.blocked);
    stores.entities.block_subject("alice".into(), false).await.unwrap();
    assert!(identity(&stores, credential(2)).await.is_some());
    stores.close().await;
}

#[tokio::test]
async fn a_deleted_subject_is_gone_and_its_namespace_free() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "space", 1).await.unwrap();
    let changes = stores.entities.delete_subject("alice".into()).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(stores.entities.changes(1, 9).await.unwrap(), Some(changes));
    assert_eq!(identity(&stores, credential(1)).await, None);
    let again = stores.entities.delete_subject("alice".into()).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    let blocked = stores.entities.block_subject("alice".into(), true).await;
    assert!(matches!(blocked, Err(StoreError::Conflict)));
    create(&stores, "bobby", "space", 1).await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn namespaces_have_a_bound() {
    let dir = TempDir::new();
    let options = Options { namespaces_max: 1, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    create(&stores, "alice", "one", 1).await.unwrap();
    assert!(matches!(create(&stores, "alice", "two", 2).await, Err(StoreError::Full(_))));
    stores.close().await;
}

#[tokio::test]
async fn no_file_of_the_store_has_a_key_in_the_clear() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "space", 123_456).await.unwrap();
    stores.close().await;
    let bytes = std::fs::read(dir.join("entities.db")).unwrap();
    let key = credential(123_456).key.into_bytes();
    assert!(!bytes.windows(key.len()).any(|window| window == key));
}

#[tokio::test]
async fn a_replaced_credential_is_refused_and_the_new_one_stands_for_the_same_namespace() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "space", 1).await.unwrap();
    create(&stores, "bobby", "other", 2).await.unwrap();
    let replace =
        async |credential| stores.entities.replace_credential("alice".into(), ns("space"), credential).await;
    let revoked = Credential { key: credential(3).key, ..credential(1) };
    assert_eq!(replace(revoked.clone()).await.unwrap().len(), 1);
    assert_eq!(identity(&stores, credential(1)).await, None);
    assert_eq!(identity(&stores, revoked).await.unwrap().namespace, ns("space"));
    assert_eq!(replace(credential(4)).await.unwrap().len(), 2, "both UUIDs are told");
    assert!(identity(&stores, credential(4)).await.is_some());
    assert!(matches!(replace(credential(2)).await, Err(StoreError::Conflict)), "another namespace's UUID");
    let missing = stores.entities.replace_credential("alice".into(), ns("other"), credential(5)).await;
    assert!(matches!(missing, Err(StoreError::Conflict)));
    stores.close().await;
}

#[tokio::test]
async fn one_namespace_of_a_subject_can_be_deleted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "alice", "one", 1).await.unwrap();
    create(&stores, "alice", "two", 2).await.unwrap();
    let changed = stores.entities.delete_namespace("alice".into(), ns("one")).await.unwrap();
    assert_eq!(changed.subject, Changed::Identity(credential(1).uuid.into()));
    assert_eq!(identity(&stores, credential(1)).await, None);
    assert!(identity(&stores, credential(2)).await.is_some());
    let again = stores.entities.delete_namespace("alice".into(), ns("one")).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    stores.close().await;
}
