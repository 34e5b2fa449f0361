//! What waits for one client: a bounded buffer that its connection writes out when the client reads. A
//! client that does not read fills it and is closed.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::AsyncWrite;

/// Small pieces are put together up to so many bytes for one write.
const WRITE: usize = 32 << 10;
/// An empty queue keeps room for so many pieces: of most clients one waits at a time, and there are many.
const KEPT: usize = 32;

thread_local! {
    /// Where pieces are put together for a socket.
    static TOGETHER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(WRITE));
}

/// Whether bytes count against the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// They do: a change, an answer, a signal.
    Counted,
    /// They do not: the state that answers a join may be larger than the bound.
    Exempt,
}

/// The buffer is full: the client is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Default)]
struct Buffer {
    queue: VecDeque<(Bytes, Weight)>,
    /// So many bytes of the first are written.
    written: usize,
    counted: usize,
    /// Those that count and those that do not.
    total: usize,
    limit: usize,
    waker: Option<Waker>,
    /// The socket takes no more for now; its readiness wakes the task, what is queued need not.
    is_blocked: bool,
    /// Nothing more is taken; the connection ends behind what is queued.
    ending: bool,
}

/// The writing end. Clones share the buffer.
#[derive(Debug, Clone)]
pub struct Outbox(Rc<RefCell<Buffer>>);

/// The reading end: a response body.
#[derive(Debug)]
pub(crate) struct Body(Rc<RefCell<Buffer>>);

/// The reading end: of a socket.
#[derive(Debug)]
pub(crate) struct Outlet(Rc<RefCell<Buffer>>);

/// A buffer of so many counted bytes for a response.
pub(crate) fn outbox(limit: usize) -> (Outbox, Body) {
    let buffer = buffer(limit);
    (Outbox(buffer.clone()), Body(buffer))
}

/// A buffer of so many counted bytes for a socket.
pub(crate) fn outbox_of_socket(limit: usize) -> (Outbox, Outlet) {
    let buffer = buffer(limit);
    (Outbox(buffer.clone()), Outlet(buffer))
}

fn buffer(limit: usize) -> Rc<RefCell<Buffer>> {
    Rc::new(RefCell::new(Buffer { limit, ..Buffer::default() }))
}

impl Outbox {
    /// Queues bytes. Into an ending buffer nothing is queued, which is no error.
    ///
    /// # Errors
    /// If there is no room; nothing was queued.
    pub fn push(&self, bytes: Bytes, weight: Weight) -> Result<(), Full> {
        let mut buffer = self.0.borrow_mut();
        if buffer.ending {
            return Ok(());
        }
        if weight == Weight::Counted {
            if buffer.limit > 0 && buffer.counted + bytes.len() > buffer.limit {
                return Err(Full);
            }
            buffer.counted += bytes.len();
        }
        buffer.total += bytes.len();
        buffer.queue.push_back((bytes, weight));
        if !buffer.is_blocked {
            buffer.wake();
        }
        Ok(())
    }

    /// Queues last words and ends. With [`Pending::Drop`] what was queued before is not sent, but for the
    /// rest of what is sent in part.
    pub fn end(&self, last: Bytes, pending: Pending) {
        let mut buffer = self.0.borrow_mut();
        if buffer.ending {
            return;
        }
        if pending == Pending::Drop {
            let begun = usize::from(buffer.written > 0);
            for (bytes, weight) in buffer.queue.split_off(begun) {
                buffer.forget(&bytes, weight);
            }
        }
        if !last.is_empty() {
            buffer.total += last.len();
            buffer.queue.push_back((last, Weight::Exempt));
        }
        buffer.ending = true;
        buffer.wake();
    }

    /// Whether everything queued has been taken.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().queue.is_empty()
    }

    /// Whether it is ending.
    pub fn is_ending(&self) -> bool {
        self.0.borrow().ending
    }
}

/// What happens to bytes that were queued before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// They are sent first.
    Send,
    /// They are dropped: the client does not read them anyway.
    Drop,
}

impl Outlet {
    /// Whether so little waits that the client may ask for more.
    pub(crate) fn has_room(&self) -> bool {
        let buffer = self.0.borrow();
        buffer.limit == 0 || buffer.total <= buffer.limit
    }

    /// Writes until nothing is left, which is ready, or until the client takes no more. After the one what is
    /// queued wakes the task, after the other that the client takes more.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut buffer = self.0.borrow_mut();
        if buffer.waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            buffer.waker = Some(context.waker().clone());
        }
        buffer.is_blocked = false;
        while !buffer.queue.is_empty() {
            let stream = Pin::new(&mut *stream);
            let written = buffer.next_bytes(|bytes| stream.poll_write(context, bytes));
            buffer.is_blocked = written.is_pending();
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.advance(written);
        }
        if buffer.queue.capacity() > KEPT {
            buffer.queue = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.borrow_mut().abandon();
    }
}

impl Stream for Body {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut buffer = self.0.borrow_mut();
        let Some(first) = buffer.take() else {
            if buffer.ending {
                return Poll::Ready(None);
            }
            buffer.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let fits = |buffer: &Buffer, so_far: usize| {
            buffer.queue.front().is_some_and(|(bytes, _)| so_far + bytes.len() <= WRITE)
        };
        if !fits(&buffer, first.len()) {
            return Poll::Ready(Some(Ok(first)));
        }
        let mut together = BytesMut::with_capacity(WRITE.min(first.len() + buffer.counted));
        together.extend_from_slice(&first);
        while fits(&buffer, together.len())
            && let Some(more) = buffer.take()
        {
            together.extend_from_slice(&more);
        }
        Poll::Ready(Some(Ok(together.freeze())))
    }
}

impl Buffer {
    fn take(&mut self) -> Option<Bytes> {
        let (bytes, weight) = self.queue.pop_front()?;
        self.forget(&bytes, weight);
        Some(bytes)
    }

    fn forget(&mut self, bytes: &Bytes, weight: Weight) {
        self.total -= bytes.len();
        if weight == Weight::Counted {
            self.counted -= bytes.len();
        }
    }

    /// Gives what is to be written next: small pieces as one. That copies them, which costs less than the
    /// kernel's way of gathering (`writev`) does for a few hundred bytes.
    fn next_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        let first = self.queue.front().map_or(&[][..], |(bytes, _)| &bytes[self.written..]);
        let second = self.queue.get(1).map_or(WRITE, |(bytes, _)| bytes.len());
        if first.len() + second > WRITE {
            return write(first);
        }
        TOGETHER.with_borrow_mut(|together| {
            together.clear();
            together.extend_from_slice(first);
            for (bytes, _) in self.queue.iter().skip(1) {
                if together.len() + bytes.len() > WRITE {
                    break;
                }
                together.extend_from_slice(bytes);
            }
            write(together)
        })
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some((bytes, _)) = self.queue.front()
            && bytes.len() <= self.written
        {
            self.written -= bytes.len();
            self.take();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Nobody reads any more.
    fn abandon(&mut self) {
        self.ending = true;
        self.queue = VecDeque::new();
        self.waker = None;
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.0.borrow_mut().abandon();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    #[test]
    fn a_full_buffer_refuses_and_exempt_bytes_pass() {
        let (outbox, mut body) = outbox(10);
        assert_eq!(outbox.push("12345678".into(), Weight::Counted), Ok(()));
        assert_eq!(outbox.push("123".into(), Weight::Counted), Err(Full));
        assert_eq!(outbox.push("a long state".into(), Weight::Exempt), Ok(()));
        let sent = body.next().now_or_never().flatten().map(|bytes| bytes.unwrap_or_default());
        assert_eq!(sent, Some("12345678a long state".into()));
        assert_eq!(outbox.push("123".into(), Weight::Counted), Ok(()));
    }

    /// Takes so many bytes at a time, and none where it has no more room.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.room == 0 {
                return Poll::Pending;
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_socket_takes_what_it_has_room_for() {
        let (sender, mut outlet) = outbox_of_socket(10);
        let mut socket = Narrow { taken: Vec::new(), room: 4 };
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(sender.push("12345678".into(), Weight::Counted), Ok(()));
        assert_eq!(sender.push("a long state".into(), Weight::Exempt), Ok(()));
        assert!(!outlet.has_room());
        assert!(outlet.poll_write(&mut context, &mut socket).is_pending());
        assert_eq!(socket.taken, b"1234");
        // What is begun still waits as a whole.
        assert_eq!(sender.push("123".into(), Weight::Counted), Err(Full));
        socket.room = 100;
        assert!(matches!(outlet.poll_write(&mut context, &mut socket), Poll::Ready(Ok(()))));
        assert_eq!(socket.taken, b"12345678a long state");
        assert!(sender.is_empty() && outlet.has_room());
        assert_eq!(sender.push("1234567890".into(), Weight::Counted), Ok(()));
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn what_is_queued_for_a_full_socket_wakes_nobody_but_its_end_does() {
        let (sender, mut outlet) = outbox_of_socket(100);
        let mut socket = Narrow { taken: Vec::new(), room: 2 };
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        assert!(outlet.poll_write(&mut context, &mut socket).is_ready());
        assert_eq!(sender.push("first".into(), Weight::Counted), Ok(()));
        assert_eq!(wakes.0.load(Relaxed), 1);
        assert!(outlet.poll_write(&mut context, &mut socket).is_pending());
        assert_eq!(sender.push("second".into(), Weight::Counted), Ok(()));
        assert_eq!(wakes.0.load(Relaxed), 1, "its readiness will");
        socket.room = 100;
        assert!(outlet.poll_write(&mut context, &mut socket).is_ready());
        assert_eq!(sender.push("third".into(), Weight::Counted), Ok(()));
        assert_eq!(wakes.0.load(Relaxed), 2);
        socket.room = 0;
        assert!(outlet.poll_write(&mut context, &mut socket).is_pending());
        sender.end("bye".into(), Pending::Drop);
        assert_eq!(wakes.0.load(Relaxed), 3);
    }

    #[test]
    fn what_is_sent_in_part_is_sent_whole() {
        let (sender, mut outlet) = outbox_of_socket(100);
        let mut socket = Narrow { taken: Vec::new(), room: 2 };
        let mut context = Context::from_waker(Waker::noop());
        for piece in ["first", "second", "third"] {
            assert_eq!(sender.push(piece.into(), Weight::Counted), Ok(()));
        }
        assert!(outlet.poll_write(&mut context, &mut socket).is_pending());
        sender.end("bye".into(), Pending::Drop);
        socket.room = 100;
        assert!(matches!(outlet.poll_write(&mut context, &mut socket), Poll::Ready(Ok(()))));
        assert_eq!(socket.taken, b"firstbye");
    }

    #[test]
    fn the_end_comes_last_or_at_once() {
        let (sender, mut body) = outbox(10);
        assert_eq!(sender.push("x".into(), Weight::Counted), Ok(()));
        sender.end("bye".into(), Pending::Drop);
        assert_eq!(sender.push("late".into(), Weight::Counted), Ok(()));
        let sent: Vec<_> = std::iter::from_fn(|| body.next().now_or_never().flatten())
            .map(|bytes| bytes.unwrap_or_default())
            .collect();
        assert_eq!(sent, ["bye"]);
    }
}
