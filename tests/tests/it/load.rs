//! A steady load of checking clients at several nodes.

use std::time::Duration;

use tests::{client::Client, server::TestServer, services::Services};
use tokio::sync::watch;

use crate::workers::{Scene, Worker, check, create_entities};

/// Workers at nodes, each told by its own scene where to go.
pub(crate) struct Load {
    run: String,
    scenes: Vec<watch::Sender<Scene>>,
    counted: watch::Receiver<usize>,
    running: Vec<tokio::task::JoinHandle<anyhow::Result<(Worker, Client)>>>,
}

impl Load {
    /// Two writers and a watcher at each node, at the entities of this run.
    pub(crate) async fn start(nodes: &[&TestServer], run: &str) -> anyhow::Result<Self> {
        create_entities(nodes[0], run).await?;
        let (acknowledged, counted) = watch::channel(0);
        let (mut scenes, mut running) = (Vec::new(), Vec::new());
        for (place, node) in nodes.iter().enumerate() {
            let (scene, at) = watch::channel(Scene { address: node.address.clone(), stop: false });
            for name in ["writer-a", "writer-b", "watcher"] {
                let name = format!("{name}{place}");
                let worker =
                    Worker::new(node, &name, run, at.clone(), acknowledged.clone()).await?;
                running.push(tokio::spawn(worker.run()));
            }
            scenes.push(scene);
        }
        Ok(Self { run: run.to_owned(), scenes, counted, running })
    }

    /// Waits until so many more commands are acknowledged.
    pub(crate) async fn progress(&mut self, more: usize) -> anyhow::Result<()> {
        let target = *self.counted.borrow_and_update() + more;
        let reached = self.counted.wait_for(|count| *count >= target);
        if tokio::time::timeout(Duration::from_secs(60), reached).await.is_ok_and(|r| r.is_ok()) {
            return Ok(());
        }
        for worker in self.running.drain(..).filter(tokio::task::JoinHandle::is_finished) {
            worker.await?.map(|_| ())?;
        }
        anyhow::bail!("{} of {target} acknowledged", *self.counted.borrow())
    }

    pub(crate) fn move_to(&self, place: usize, node: &TestServer) {
        self.scenes[place].send_modify(|scene| scene.address.clone_from(&node.address));
    }

    /// Stops, and checks everything that was acknowledged and seen; gives how many commands were
    /// acknowledged.
    pub(crate) async fn finish(
        self,
        services: &Services,
        node: &TestServer,
    ) -> anyhow::Result<usize> {
        for scene in &self.scenes {
            scene.send_modify(|scene| scene.stop = true);
        }
        let mut workers = Vec::new();
        for worker in self.running {
            workers.push(worker.await??);
        }
        let acknowledged = *self.counted.borrow();
        check(node, &self.run, &mut workers).await?;
        drop(workers);
        services.verify().await?;
        Ok(acknowledged)
    }
}
