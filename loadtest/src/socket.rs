//! One client socket, made to cost little: the reader decodes in place from a buffer that all
//! sockets of a thread share, and the writer never waits.
//!
//! Reading belongs to one task. Writing may be done from any thread through the `Outbox`; bytes
//! that the kernel does not take at once stay there, in order, and are pushed on by the next
//! flush. That is bounded by `LONGEST_BACKLOG`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::frame::{self, Decoder, Incoming};
use crate::proto::Proto;
use crate::random::Random;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_HANDSHAKE: usize = 16 << 10;
const LONGEST_BACKLOG: usize = 16 << 20;

/// The buffer that the sockets of one thread read into.
pub(crate) type Scratch = RefCell<Box<[u8]>>;

/// Makes a buffer that takes what a socket of a busy room has waiting in one read.
pub(crate) fn scratch() -> Scratch {
    RefCell::new(vec![0; 64 << 10].into_boxed_slice())
}

/// Where the sockets of a run connect to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The server's address.
    pub(crate) address: SocketAddr,
    /// `Host` of the handshake.
    pub(crate) host: String,
    /// Path and query of the handshake.
    pub(crate) path: String,
    /// What is spoken there.
    pub(crate) proto: Proto,
    /// SO_RCVBUF in bytes; the system's choice, if not given.
    pub(crate) receive_buffer: Option<u32>,
}

/// Why a socket could not be opened or is open no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The server closed it with this code.
    Code(u16),
    /// The stream ended without a close frame.
    End,
    /// The handshake was answered with this status.
    Status(u16),
    /// The handshake took longer than 10 s.
    TimedOut,
    /// The system said no.
    Io(io::ErrorKind),
    /// The server broke the protocol.
    Protocol(String),
}

impl Closed {
    /// A short name to count by.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Code(code) => code.to_string(),
            Self::End => "ended".to_owned(),
            Self::Status(status) => format!("http {status}"),
            Self::TimedOut => "timed out".to_owned(),
            Self::Io(kind) => kind.to_string(),
            Self::Protocol(what) => format!("protocol: {what}"),
        }
    }
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// How much of the outbox the kernel took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    All,
    Partly,
    /// The socket takes nothing more, ever.
    Broken,
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Outbox {
    half: OwnedWriteHalf,
    pending: Mutex<Pending>,
}

#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    masks: Random,
}

impl Outbox {
    /// Puts a text message behind what is pending; `Broken` if that is too much already.
    pub(crate) fn queue_text(&self, payload: &[u8]) -> Flushed {
        let mut pending = self.pending();
        if pending.bytes.len() > LONGEST_BACKLOG {
            return Flushed::Broken;
        }
        let Pending { bytes, masks } = &mut *pending;
        frame::push_text(bytes, payload, masks);
        Flushed::Partly
    }

    fn queue_pong(&self, payload: &[u8]) {
        let mut pending = self.pending();
        let Pending { bytes, masks } = &mut *pending;
        frame::push_pong(bytes, payload, masks);
    }

    /// Hands the kernel what it takes without waiting.
    pub(crate) fn flush(&self) -> Flushed {
        let mut pending = self.pending();
        while !pending.bytes.is_empty() {
            match self.half.try_write(&pending.bytes) {
                Ok(written) => drop(pending.bytes.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Partly,
                Err(_) => return Flushed::Broken,
            }
        }
        Flushed::All
    }

    /// Flushes, and arranges for a wake-up when there is room for what is left.
    fn poll_flush(&self, context: &mut Context<'_>) {
        while self.flush() == Flushed::Partly {
            match self.half.as_ref().poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics while it holds the outbox")
    }
}

/// The reading side, which owns the socket.
#[derive(Debug)]
pub(crate) struct Socket {
    read: OwnedReadHalf,
    outbox: Arc<Outbox>,
    decoder: Decoder,
    /// What came in one read with the answer to the handshake.
    leftover: Vec<u8>,
}

impl Socket {
    /// Connects from `source` if given, and does the handshake with the token in its header.
    pub(crate) async fn connect(
        endpoint: &Endpoint,
        token: &str,
        source: Option<IpAddr>,
        masks: Random,
    ) -> Result<Self, Closed> {
        let opening = open(endpoint, token, source);
        let (stream, leftover) = tokio::time::timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| Closed::TimedOut)??;
        let (read, half) = stream.into_split();
        let pending = Mutex::new(Pending { bytes: Vec::new(), masks });
        let outbox = Arc::new(Outbox { half, pending });
        Ok(Self { read, outbox, decoder: Decoder::default(), leftover })
    }

    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }

    /// Waits for bytes and hands out every text message that is complete with them. Pings are
    /// answered on the way. Cancel-safe.
    pub(crate) async fn next_batch(
        &mut self,
        scratch: &Scratch,
        mut on_text: impl FnMut(&[u8]),
    ) -> Result<(), Closed> {
        if !self.leftover.is_empty() {
            let bytes = std::mem::take(&mut self.leftover);
            return self.decode(&bytes, &mut on_text);
        }
        poll_fn(|context| self.poll_batch(context, scratch, &mut on_text)).await
    }

    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
        scratch: &Scratch,
        on_text: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<(), Closed>> {
        let mut bytes = scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.read).poll_read(context, &mut buffer);
        if read.is_pending() {
            self.outbox.poll_flush(context);
        }
        ready!(read)?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Closed::End));
        }
        Poll::Ready(self.decode(buffer.filled(), on_text))
    }

    fn decode(&mut self, bytes: &[u8], on_text: &mut impl FnMut(&[u8])) -> Result<(), Closed> {
        let mut code = None;
        let outbox = &self.outbox;
        let decoded = self.decoder.feed(bytes, &mut |incoming| match incoming {
            Incoming::Text(text) => on_text(text),
            Incoming::Ping(payload) => outbox.queue_pong(payload),
            Incoming::Close(closing) => code = Some(closing),
        });
        outbox.flush();
        decoded.map_err(|error| Closed::Protocol(error.to_string()))?;
        match code {
            Some(code) => Err(Closed::Code(code)),
            None => Ok(()),
        }
    }
}

async fn open(
    endpoint: &Endpoint,
    token: &str,
    source: Option<IpAddr>,
) -> Result<(TcpStream, Vec<u8>), Closed> {
    let socket = match endpoint.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = endpoint.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let mut stream = socket.connect(endpoint.address).await?;
    stream.set_nodelay(true)?;
    let key = generate_key();
    let own = match endpoint.proto {
        Proto::Switchyard => {
            format!("Sec-WebSocket-Protocol: switchyard.v1\r\nAuthorization: Bearer {token}\r\n")
        }
        Proto::Centrifugo => String::new(),
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{own}\r\n",
        endpoint.path, endpoint.host
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    let head = loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            break end + 4;
        }
        if answer.len() > LONGEST_HANDSHAKE {
            return Err(Closed::Protocol("handshake over 16 KiB".to_owned()));
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(Closed::End);
        }
    };
    let leftover = answer.split_off(head);
    check_handshake(&String::from_utf8_lossy(&answer), &key)?;
    Ok((stream, leftover))
}

/// RFC 6455, section 4.1: status 101 and the accept key that belongs to ours.
fn check_handshake(head: &str, key: &str) -> Result<(), Closed> {
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    match status {
        Some(101) => {}
        Some(status) => return Err(Closed::Status(status)),
        None => return Err(Closed::Protocol("no HTTP status line".to_owned())),
    }
    let accept = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim())
    });
    if accept == Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Ok(());
    }
    Err(Closed::Protocol("wrong Sec-WebSocket-Accept".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_checked() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let good = format!("HTTP/1.1 101 Switching\r\nsec-webSocket-accept: {accept}\r\n\r\n");
        assert_eq!(check_handshake(&good, key), Ok(()));
        assert!(check_handshake("HTTP/1.1 101 Switching\r\n\r\n", key).is_err());
        assert_eq!(
            check_handshake("HTTP/1.1 401 Unauthorized\r\n\r\n", key),
            Err(Closed::Status(401))
        );
        assert!(matches!(check_handshake("hello", key), Err(Closed::Protocol(_))));
    }
}
