//! The connection of one socket: read into frames, written from its outbox, both in one task. While
//! nothing comes and nothing waits it holds no buffers: a thread reads all of its sockets into the same
//! bytes.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

use crate::{
    app::SocketPermit,
    frame::{CloseCode, Decoder},
    hub::Sessions,
    outbox::{Outlet, Pending},
    session::Session,
};

/// Read at a time.
const READ: usize = 16 << 10;
/// How long the other side may take to read our close and to end the connection.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A socket after its handshake.
pub(crate) struct Connection<T> {
    stream: T,
    decoder: Decoder,
    session: Rc<Session>,
    outlet: Outlet,
}

/// How far was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// There is no more; what comes wakes the task.
    All,
    /// There may be more.
    Stopped,
}

/// The connection is broken or at its end.
struct Ended;

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// `early` came with the handshake; messages above `largest` bytes are refused.
    pub(crate) fn new(
        stream: T,
        early: &[u8],
        session: Rc<Session>,
        outlet: Outlet,
        largest: usize,
    ) -> Self {
        let mut connection = Self { stream, decoder: Decoder::new(largest), session, outlet };
        connection.take(early);
        connection
    }

    /// Serves the socket until it ends.
    pub(crate) async fn run(mut self, sessions: Sessions, permit: SocketPermit) {
        poll_fn(|context| self.poll(context)).await;
        // Gone at once for everybody else, however long its connection takes to end.
        sessions.close(self.session.client());
        drop(permit);
        // In a box of its own, which most of a socket's life does without.
        Box::pin(timeout(CLOSE_WITHIN, self.end())).await.ok();
    }

    /// Ready when the session ends or the connection is broken.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let read = self.poll_read(context);
            let wrote = match self.outlet.poll_write(context, &mut self.stream) {
                Poll::Ready(Err(_)) => Err(Ended),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
            };
            let client = self.session.client();
            let (Ok(read), Ok(())) = (read, wrote) else {
                client.outbox.end(Bytes::new(), Pending::Drop);
                return Poll::Ready(());
            };
            if client.outbox.is_ending() {
                return Poll::Ready(());
            }
            if read == Read::All || !self.outlet.has_room() {
                return Poll::Pending;
            }
            // It has read, so it is there, though what it said meanwhile was not listened to.
            client.heard.set(Instant::now());
        }
    }

    /// Reads until there is no more for now. A client that does not read its answers is not asked for more
    /// requests.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<Read, Ended> {
        SCRATCH.with_borrow_mut(|scratch| {
            while self.outlet.has_room() && !self.session.client().outbox.is_ending() {
                let mut buffer = ReadBuf::new(scratch);
                match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                    Poll::Pending => return Ok(Read::All),
                    Poll::Ready(Err(_)) => return Err(Ended),
                    Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(Ended),
                    Poll::Ready(Ok(())) => self.take(buffer.filled()),
                }
            }
            Ok(Read::Stopped)
        })
    }

    /// Hands whole messages to the session.
    fn take(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        while !self.session.client().outbox.is_ending() {
            match self.decoder.next_message() {
                Ok(Some(message)) => self.session.message(message),
                Ok(None) => return,
                Err(code) => self.session.client().close(code, reason(code), Pending::Send),
            }
        }
    }

    /// Sends what is left, and waits for the other side to end the connection.
    async fn end(&mut self) {
        let Self { stream, outlet, .. } = self;
        let sent = poll_fn(|context| outlet.poll_write(context, stream)).await;
        if sent.is_err() || stream.shutdown().await.is_err() {
            return;
        }
        let mut rest = [0; 512];
        while let Ok(1..) = stream.read(&mut rest).await {}
    }
}

fn reason(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Protocol => "not the WebSocket protocol",
        CloseCode::Encoding => "text that is not UTF-8",
        CloseCode::TooLarge => "too large",
        CloseCode::Normal
        | CloseCode::Away
        | CloseCode::Unsupported
        | CloseCode::Policy
        | CloseCode::Unauthenticated
        | CloseCode::Revoked
        | CloseCode::Idle
        | CloseCode::TooMany
        | CloseCode::TooSlow
        | CloseCode::Peer(_) => "",
    }
}
