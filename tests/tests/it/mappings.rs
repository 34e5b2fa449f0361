//! What every implementation of the port `Mappings` promises.

use std::sync::Arc;

use actors::{
    memory::MemoryMappings,
    ports::{Expected, Mappings},
};
use bytes::Bytes;
use infra::{
    postgres::{PostgresSettings, PostgresStore},
    sqlite::{DataFolder, SqliteStore},
};
use tests::services::{PARTITIONS, Services};
use tokio::time::Duration;

use crate::cluster::ALONE;

async fn holds(mappings: &dyn Mappings) -> anyhow::Result<()> {
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let set = |key: &str, text| (key.to_owned(), value(text));
    let expected = |key: &str, value| Some(Expected { key: key.to_owned(), value });
    assert_eq!(mappings.get("a|1").await?, None);
    let all = vec![set("a|2", "two"), set("a|1", "one"), set("a", "short"), set("b|1", "other")];
    assert!(mappings.write(all, None).await?);
    let listed = mappings.list("a|").await?;
    let names: Vec<_> = listed.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["a|1", "a|2"]);
    // What is in a name is no pattern.
    assert!(mappings.list("a_").await?.is_empty() && mappings.list("%").await?.is_empty());
    let written = mappings.write(vec![set("a|1", "new")], expected("a|2", value("else"))).await?;
    assert!(!written && mappings.get("a|1").await? == value("one"));
    let written = mappings.write(vec![set("c", "c")], expected("missing", value("x"))).await?;
    assert!(!written && mappings.get("c").await?.is_none());
    let changes = vec![set("a|1", "new"), ("a|2".to_owned(), None)];
    assert!(mappings.write(changes, expected("a|2", value("two"))).await?);
    assert_eq!(mappings.list("a|").await?, [("a|1".to_owned(), Bytes::from_static(b"new"))]);
    assert!(mappings.write(vec![set("c", "c")], expected("missing", None)).await?);
    Ok(())
}

#[tokio::test]
async fn in_memory_and_embedded() -> anyhow::Result<()> {
    holds(&MemoryMappings::default()).await?;
    let folder = tempfile::tempdir()?;
    let data = Arc::new(DataFolder::open(folder.path())?);
    let store = SqliteStore::open(data).await?;
    holds(&store).await?;
    store.close().await;
    Ok(())
}

#[tokio::test]
async fn in_postgres() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let services = Services::start().await?;
    let settings = PostgresSettings {
        url: services.postgres.clone(),
        replica_url: None,
        replica_lag: Duration::from_secs(1),
        connections: 4,
    };
    let store = PostgresStore::open(&settings, PARTITIONS, Arc::default()).await?;
    holds(&store).await
}
