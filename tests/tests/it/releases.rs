//! This release and the one before it: a log that the older wrote is read on, and nodes of both
//! share a cluster while it is upgraded.

use anyhow::Context as _;
use tests::{
    client::Http,
    server::Setup,
    services::{Services, previous_release},
};

use crate::{cluster::ALONE, load::Load, workers::entities};

#[tokio::test]
async fn a_cluster_is_upgraded_node_by_node() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let previous = previous_release().await?;
    let services = Services::start().await?;
    let of_before = || Setup::default().program(&previous);
    let mut first = services.node_with("n1", of_before()).await?;
    let mut load = Load::start(&[&first], "before-").await?;
    load.progress(200).await?;
    load.finish(&services, &first).await.context("this release verifies what the older wrote")?;

    let second = services.node("n2").await?;
    let (http, older) = (Http::new(&second, "owner").await?, Http::new(&first, "owner").await?);
    for entity in entities("before-") {
        let (kind, id) = entity.split_once(':').context("kind:id")?;
        let path = format!("/api/v1/{kind}s/{id}");
        assert_eq!(http.get(&path).await?, older.get(&path).await?, "{entity}");
    }

    let mut load = Load::start(&[&first, &second], "both-").await?;
    load.progress(400).await?;
    load.move_to(0, &second);
    load.progress(50).await?;
    anyhow::ensure!(first.terminate().await?.success(), "the older node ends with a failure");
    load.progress(200).await?;
    let third = services.node("n3").await?;
    load.move_to(0, &third);
    load.progress(200).await?;
    // And back: the older release reads what this one wrote.
    let again = services.node_with("n4", of_before()).await?;
    load.move_to(1, &again);
    load.progress(200).await?;
    load.finish(&services, &third).await.map(|_| ())
}
