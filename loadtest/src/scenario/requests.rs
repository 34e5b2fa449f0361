//! HTTP requests at the pacer's times, on a thread of their own. A request that would be one too
//! many in flight is not sent, and counted as such.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use super::Field;
use super::file::{File, Mix};
use super::tally::{Kind, Tally};
use crate::api::{Accounts, Api, Called};
use crate::error::Error;
use crate::pacer::Shot;
use crate::proto::push_stamped;

const MOST_IN_FLIGHT: usize = 4096;

/// The thread that sends requests.
pub(super) struct Requests {
    shots: mpsc::Sender<Shot>,
    tally: oneshot::Receiver<Tally>,
}

struct Caller {
    field: Arc<Field>,
    apis: Vec<Api>,
    accounts: Accounts,
    mix: Mix,
    payload: usize,
    tally: RefCell<Tally>,
}

impl Requests {
    pub(super) fn start(
        field: &Arc<Field>,
        apis: Vec<Api>,
        accounts: &Accounts,
        file: &File,
        drain: Duration,
    ) -> Result<Self, Error> {
        let (shots, due) = mpsc::channel(MOST_IN_FLIGHT);
        let (done, tally) = oneshot::channel();
        let harness = |error: std::io::Error| Error::Harness(error.to_string());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(harness)?;
        let (field, accounts) = (Arc::clone(field), accounts.clone());
        let (mix, payload) = (file.mix.clone(), file.senders.payload);
        let body = move || {
            let tally = RefCell::new(field.tally());
            let caller = Rc::new(Caller { field, apis, accounts, mix, payload, tally });
            LocalSet::new().block_on(&runtime, serve(&caller, due, drain));
            let tally = caller.tally.replace(caller.field.tally());
            // Nobody waits for it if the run was given up.
            done.send(tally).ok();
        };
        std::thread::Builder::new().name("requests".to_owned()).spawn(body).map_err(harness)?;
        Ok(Self { shots, tally })
    }

    pub(super) fn outlet(&self) -> mpsc::Sender<Shot> {
        self.shots.clone()
    }

    /// Waits for what is in flight, as long as the drain allows.
    pub(super) async fn finish(self) -> Result<Tally, Error> {
        drop(self.shots);
        self.tally
            .await
            .map_err(|_| Error::Harness("the thread that sends requests died".to_owned()))
    }
}

async fn serve(caller: &Rc<Caller>, mut due: mpsc::Receiver<Shot>, drain: Duration) {
    let mut in_flight = JoinSet::new();
    while let Some(shot) = due.recv().await {
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() < MOST_IN_FLIGHT {
            in_flight.spawn_local(Rc::clone(caller).call(shot));
        } else {
            caller.field.unsent.fetch_add(1, Relaxed);
        }
    }
    let all = async { while in_flight.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, all).await.is_err() {
        for _ in 0..in_flight.len() {
            caller.tally.borrow_mut().fail("http: no answer");
        }
    }
}

impl Caller {
    async fn call(self: Rc<Self>, shot: Shot) {
        let number = shot.number as usize;
        let room = &self.field.rooms[number % self.field.rooms.len()];
        let api = &self.apis[number % self.apis.len()];
        let token = self.accounts.token(number);
        let all = (self.mix.state + self.mix.changes + self.mix.post).max(1);
        let turn = number / self.field.rooms.len() % all;
        let path = format!("/api/v1/rooms/{}", room.id);
        let called = if turn < self.mix.changes {
            api.get(&format!("{path}/changes?after=0&limit=50"), &token).await
        } else if turn < self.mix.changes + self.mix.post {
            let mut text = String::new();
            push_stamped(&mut text, self.field.stamped(shot), self.payload);
            let body = serde_json::json!({ "type": "post", "text": text });
            api.post(&format!("{path}/commands"), &body, &token).await
        } else {
            api.get(&path, &token).await
        };
        let now_ns = self.field.clock.now_ns();
        let mut tally = self.tally.borrow_mut();
        match called {
            Called::Accepted { posted } => {
                tally.record(Kind::Http, shot.intended_ns, now_ns);
                room.last_seq.fetch_max(posted.unwrap_or(0), Relaxed);
            }
            Called::Refused(status) => tally.fail(&format!("http {status}")),
            Called::Failed(how) => tally.fail(&format!("http: {how}")),
        }
    }
}
