//! A TCP proxy that can hold back one direction, as a network does that loses packets one way:
//! what is held back comes later, if the connection still stands.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Which direction is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// None.
    Nothing,
    /// What the client sends.
    ToServer,
    /// What the server sends.
    ToClient,
}

/// A proxy on loopback. It ends with the runtime that it was made in.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    listener: Option<TcpListener>,
    held: Arc<watch::Sender<Held>>,
}

impl Proxy {
    /// Takes a port; [`Proxy::lead_to`] begins to serve it.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn bind() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let held = Arc::new(watch::Sender::new(Held::Nothing));
        Ok(Self { port, listener: Some(listener), held })
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Leads every connection to `target`.
    pub fn lead_to(&mut self, target: String) {
        let Some(listener) = self.listener.take() else { return };
        let held = self.held.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, held) = (target.clone(), held.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::join!(
                        pass(from_client, to_server, held.subscribe(), Held::ToServer),
                        pass(from_server, to_client, held.subscribe(), Held::ToClient),
                    );
                });
            }
        });
    }

    /// Holds a direction back from now on.
    pub fn hold(&self, held: Held) {
        self.held.send_replace(held);
    }
}

/// Passes bytes on until one side is done.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut held: watch::Receiver<Held>,
    direction: Held,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 || held.wait_for(|held| *held != direction).await.is_err() {
            break;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // The other side hears of the end; if it is gone already, nobody has to.
    to.shutdown().await.ok();
}
