//! Entities of all collections: names, writes that belong together, packages and what is in them.

use triplane_model::package::PackagePut;
use triplane_model::trigger::TriggerPut;
use triplane_model::{Action, Collection, Entity, EntityName, FullName, Package, Revision, Trigger};
use triplane_store::{Change, EntityQuery, Expected, StoreError, Stores, Write};

use crate::support::{TempDir, action_of, named, ns, open, raw};

fn package(name: &str, publish: bool) -> Package {
    let put = PackagePut { publish: Some(publish), ..PackagePut::default() };
    put.create(named(name), 1_700_000_000_000).unwrap()
}

fn trigger(name: &str) -> Trigger {
    TriggerPut::default().create(named(name), 1_700_000_000_000)
}

fn packaged(package: &str, name: &str) -> Action {
    let package = Some(EntityName::entity(package).unwrap());
    action_of(FullName { package, ..named(name) }, name)
}

async fn create<E: Entity>(stores: &Stores, entity: E) -> E {
    stores.entities.put(entity, Expected::Absent).await.unwrap().0
}

async fn create_action(stores: &Stores, action: Action) -> Result<Action, StoreError> {
    let code = Some(action.name.name.to_string());
    stores.entities.put_action(action, code, Expected::Absent).await.map(|(action, _)| action)
}

async fn listed(stores: &Stores, query: EntityQuery) -> Vec<String> {
    let documents = stores.entities.list(query, 0, 10).await.unwrap();
    documents.iter().map(|document| document.name.to_string()).collect()
}

fn deleted(changes: &[Change]) -> Vec<String> {
    use triplane_store::Changed::Entity;
    let name = |change: &Change| match &change.subject {
        Entity(collection, name, None) => format!("{} {name}", collection.kind()),
        other => panic!("{other:?}"),
    };
    changes.iter().map(name).collect()
}

#[tokio::test]
async fn an_entity_is_written_read_and_replaced_by_its_revision() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let first = create(&stores, trigger("t")).await;
    let read: Trigger = stores.entities.entity(named("t")).await.unwrap().unwrap();
    assert_eq!(read.revision, first.revision);
    stores.entities.write(vec![Write::replace(&first).unwrap()]).await.unwrap();
    let stale = stores.entities.write(vec![Write::replace(&first).unwrap()]).await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    stores.close().await;
}

#[tokio::test]
async fn a_name_belongs_to_one_entity_in_all_collections() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, trigger("x")).await;
    let twice = stores.entities.put(package("x", false), Expected::Absent).await;
    assert!(matches!(twice, Err(StoreError::OtherType)));
    let action = create_action(&stores, action_of(named("x"), "x")).await;
    assert!(matches!(action, Err(StoreError::OtherType)));
    let read = stores.entities.entity::<Package>(named("x")).await;
    assert!(matches!(read, Err(StoreError::OtherType)));
    stores.close().await;
}

#[tokio::test]
async fn writes_that_belong_together_are_done_all_or_none() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let known = create(&stores, trigger("known")).await;
    let stale = Trigger { revision: Revision(known.revision.0 + 1), ..known };
    let writes =
        vec![Write::put(&trigger("new"), Expected::Absent).unwrap(), Write::replace(&stale).unwrap()];
    assert!(matches!(stores.entities.write(writes).await, Err(StoreError::Conflict)));
    assert!(stores.entities.entity::<Trigger>(named("new")).await.unwrap().is_none());
    assert_eq!(stores.entities.last_change().await.unwrap(), known.revision.0, "nothing is told of it");
    stores.close().await;
}

#[tokio::test]
async fn an_action_needs_its_package() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let early = create_action(&stores, packaged("p", "a")).await;
    assert!(matches!(early, Err(StoreError::Conflict)));
    create(&stores, package("p", false)).await;
    create_action(&stores, packaged("p", "a")).await.unwrap();
    create_action(&stores, packaged("p", "b")).await.unwrap();
    create_action(&stores, action_of(named("c"), "c")).await.unwrap();
    assert_eq!(listed(&stores, EntityQuery::in_package(&named("p"))).await, ["guest/p/b", "guest/p/a"]);
    let all = EntityQuery::all(Collection::Actions, ns("guest"));
    assert_eq!(stores.entities.count(all.clone()).await.unwrap(), 3);
    assert_eq!(listed(&stores, all).await, ["guest/p/b", "guest/p/a", "guest/c"]);
    stores.close().await;
}

#[tokio::test]
async fn a_package_goes_when_it_is_empty_or_with_all_that_is_in_it() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let package = create(&stores, package("p", false)).await;
    create_action(&stores, packaged("p", "a")).await.unwrap();
    create_action(&stores, packaged("p", "b")).await.unwrap();
    let delete = Write::delete(&package);
    let refused = stores.entities.write(vec![delete.clone()]).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty(2))), "{refused:?}");
    let changes = stores.entities.write(vec![delete.with_contents()]).await.unwrap();
    assert_eq!(deleted(&changes), ["action guest/p/a", "action guest/p/b", "package guest/p"]);
    let mut connection = raw(&dir.join("entities.db")).await;
    let left: (i64, i64) =
        sqlx::query_as("SELECT (SELECT COUNT(*) FROM codes), (SELECT entities FROM usage)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(left, (0, 0));
    stores.close().await;
}

#[tokio::test]
async fn actions_are_found_by_an_annotation_page_by_page() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, package("pkg", false)).await;
    for (mut action, value) in [
        (packaged("pkg", "b"), Some("2")),
        (action_of(named("a"), "a"), Some("1")),
        (action_of(named("c"), "c"), None),
    ] {
        if let Some(value) = value {
            action.annotations.set("instances-min", serde_json::value::to_raw_value(&value).unwrap());
        }
        create_action(&stores, action).await.unwrap();
    }
    let found = async |namespace: Option<EntityName>, after: Option<FullName>| {
        let found = stores.entities.annotated("instances-min", namespace, after, 1).await.unwrap();
        found.into_iter().next().map(|document| document.name)
    };
    let first = found(None, None).await.unwrap();
    let second = found(Some(first.namespace.clone()), Some(first.clone())).await.unwrap();
    assert_eq!((first.clone(), second.clone()), (named("a"), packaged("pkg", "b").name));
    assert_eq!(found(None, Some(second)).await, None);
    assert_eq!(found(Some(ns("other")), None).await, None);
    stores.close().await;
}

#[tokio::test]
async fn only_public_packages_are_listed_for_everyone() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, package("private", false)).await;
    let public = create(&stores, package("public", true)).await;
    let query = EntityQuery { public_only: true, ..EntityQuery::all(Collection::Packages, ns("guest")) };
    assert_eq!(listed(&stores, query.clone()).await, ["guest/public"]);
    let hidden = Package { publish: false, ..public };
    stores.entities.write(vec![Write::replace(&hidden).unwrap()]).await.unwrap();
    assert_eq!(stores.entities.count(query).await.unwrap(), 0);
    stores.close().await;
}

#[tokio::test]
async fn all_changes_are_read_back_as_they_were_made() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let (package, made) = stores.entities.put(package("p", false), Expected::Absent).await.unwrap();
    let (_, linked) = stores.entities.put(trigger("t"), Expected::Absent).await.unwrap();
    let gone = stores.entities.write(vec![Write::delete(&package)]).await.unwrap();
    let told = stores.entities.changes(0, 10).await.unwrap().unwrap();
    assert_eq!(told, [made, linked, gone].concat());
    stores.close().await;
}
