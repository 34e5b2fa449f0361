//! Where forwarders and publishers are: kept among the store's checkpoints, under negative partition
//! numbers that follow from what they read. A place is saved at most once a second, so what was done
//! since may be done again after a failure; both are made for that (R8; a change's `seq`).

use std::{sync::Arc, time::Duration};

use schemas::Kind;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::partitioner::partition_of;
use crate::ports::{
    Checkpoint, LogError, Record, Store, StoreError, StoreWrite, Tail, TopicPartition,
};

/// A place that moved is saved after this.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// Why there is nothing more to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The kind and number under which the place of whoever does `what` in `of` is kept.
pub(super) fn number_of(what: Doing, of: &TopicPartition) -> (Kind, i32) {
    let (kind, name) = match what {
        Doing::Forwarding => (Kind::Board, of.to_string()),
        Doing::Publishing(kind) => (kind, format!("changes/{of}")),
    };
    (kind, -1 - partition_of(name.as_bytes(), i32::MAX))
}

/// Who keeps a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doing {
    Forwarding,
    Publishing(Kind),
}

/// A place in what is read.
pub(super) struct Place {
    store: Arc<dyn Store>,
    kind: Kind,
    number: i32,
    saved: Checkpoint,
    at: Checkpoint,
    due: Option<Instant>,
    /// Tells the store, whoever waits for it or not, and gives what it was told.
    saving: Option<JoinHandle<Result<Checkpoint, StoreError>>>,
}

impl Place {
    /// Where the last one was.
    pub(super) async fn load(
        store: Arc<dyn Store>,
        what: Doing,
        of: &TopicPartition,
    ) -> Result<Self, StoreError> {
        let (kind, number) = number_of(what, of);
        let at = store.partition(kind, number).await?.checkpoint;
        Ok(Self { store, kind, number, saved: at, at, due: None, saving: None })
    }

    /// Where it is.
    pub(super) fn at(&self) -> Checkpoint {
        self.at
    }

    /// Moves it; everything before is done.
    pub(super) fn move_to(&mut self, at: Checkpoint) {
        self.at = at;
        self.due.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
    }

    /// The next records; keeps the place meanwhile.
    pub(super) async fn next(&mut self, tail: &mut dyn Tail) -> Result<Vec<Record>, PlaceError> {
        tokio::select! {
            biased;
            error = self.keep() => Err(error.into()),
            records = tail.next() => Ok(records?),
        }
    }

    /// Saves it whenever that is due; ends with an error only. A save goes on with the next call when
    /// this one is dropped, so that nobody waits for the store.
    pub(super) async fn keep(&mut self) -> StoreError {
        loop {
            if let Some(saving) = &mut self.saving {
                let result = saving.await;
                self.saving = None;
                match result {
                    Ok(Ok(saved)) => self.saved = saved,
                    Ok(Err(error)) => return error,
                    Err(error) => return StoreError::Unavailable(error.to_string().into()),
                }
            }
            match self.due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
            self.due = None;
            let mut write = StoreWrite::at(self.kind, self.number, self.saved);
            let (store, at) = (self.store.clone(), self.at);
            write.next = at;
            self.saving = Some(tokio::spawn(async move { store.commit(write).await.map(|()| at) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::UserName;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        memory::{MemoryLog, MemoryStore},
        ports::{Log as _, NewRecord, Topic},
    };

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn what_comes_does_not_wait_for_the_store() {
        let partner: UserName = "demo".parse().unwrap();
        let of = TopicPartition::new(Topic::Partner(partner), 0);
        let (log, store) = (MemoryLog::new(1), MemoryStore::default());
        let mut tail = log.tail(&of, 0).await.unwrap();
        let mut place = Place::load(Arc::new(store.clone()), Doing::Forwarding, &of).await.unwrap();
        place.move_to(Checkpoint { offset: 7, ..place.at() });
        store.hold_commits();
        assert!(timeout(2 * SAVE_AFTER, place.next(&mut *tail)).await.is_err(), "nothing came");
        log.append(&of, NewRecord::default()).await.unwrap();
        let came = timeout(SHORT, place.next(&mut *tail)).await.expect("a save is waited for");
        assert_eq!(came.unwrap().len(), 1);
        // What was begun ends, and what moved meanwhile is saved after it.
        place.move_to(Checkpoint { offset: 8, ..place.at() });
        store.release_commits();
        let saved = || {
            let (kind, number) = number_of(Doing::Forwarding, &of);
            store.partition_now(kind, number).checkpoint.offset
        };
        assert!(timeout(SHORT, place.next(&mut *tail)).await.is_err(), "nothing came");
        assert_eq!(saved(), 7);
        assert!(timeout(2 * SAVE_AFTER, place.next(&mut *tail)).await.is_err(), "nothing came");
        assert_eq!(saved(), 8);
    }
}
