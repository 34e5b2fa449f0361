//! What waits for one client: a bounded buffer that is the body of its response. The connection
//! takes from it when the client reads; a client that does not read fills it and is closed.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::sync::Notify;

/// Small pieces are put together up to so many bytes for one write.
const WRITE: usize = 32 << 10;

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
    counted: usize,
    limit: usize,
    waker: Option<Waker>,
    /// Nothing more is taken; the body ends behind what is queued.
    ending: bool,
    ended: Rc<Notify>,
}

impl Buffer {
    fn set_ending(&mut self) {
        self.ending = true;
        // Kept for whoever asks later: there is one who does.
        self.ended.notify_one();
    }
}

/// The writing end. Clones share the buffer.
#[derive(Debug, Clone)]
pub struct Outbox(Rc<RefCell<Buffer>>);

/// The reading end: a response body.
#[derive(Debug)]
pub(crate) struct Body(Rc<RefCell<Buffer>>);

/// A buffer of so many counted bytes.
pub(crate) fn outbox(limit: usize) -> (Outbox, Body) {
    let buffer = Rc::new(RefCell::new(Buffer { limit, ..Buffer::default() }));
    (Outbox(buffer.clone()), Body(buffer))
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
        buffer.queue.push_back((bytes, weight));
        if let Some(waker) = buffer.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Queues last words and ends. With [`Pending::Drop`] what was queued before is not sent.
    pub fn end(&self, last: Bytes, pending: Pending) {
        let mut buffer = self.0.borrow_mut();
        if buffer.ending {
            return;
        }
        if pending == Pending::Drop {
            buffer.queue.clear();
        }
        buffer.queue.push_back((last, Weight::Exempt));
        buffer.set_ending();
        if let Some(waker) = buffer.waker.take() {
            waker.wake();
        }
    }

    /// Whether everything queued has been taken.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().queue.is_empty()
    }

    /// Waits until it is ending. For one waiter.
    pub async fn ended(&self) {
        let ended = self.0.borrow().ended.clone();
        while !self.is_ending() {
            ended.notified().await;
        }
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
        if weight == Weight::Counted {
            self.counted -= bytes.len();
        }
        Some(bytes)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut buffer = self.0.borrow_mut();
        buffer.set_ending();
        buffer.queue.clear();
    }
}

#[cfg(test)]
mod tests {
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
