//! An entity as the log makes it: its aggregate, its seq and the commands it remembers. Owners,
//! gateways, the projector and `verify` all fold with this one type.

use schemas::{
    Body, Change, ChangeBody, Code, Command, EntityKey, Outcome, Principal, Rejection, Seq,
    Timestamp, UserName, Verdict,
    board::BoardChange,
    codec::{self, CodecError},
    event::EventChange,
    outcome::Repeat,
    role::{Role, TenantRole},
    room::RoomChange,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Context, Draft, Meta,
    access::{Access, Actor, conflict, not_found},
    board::Board,
    event::Event,
    recent::RecentCommands,
    room::Room,
};
use crate::runtime::guards::Guards;

/// The state of one board, event or room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Aggregate {
    /// A board.
    Board(Box<Board>),
    /// An event.
    Event(Box<Event>),
    /// A room.
    Room(Box<Room>),
}

/// What a fold over one entity's outcomes yields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Which entity, in which tenant.
    pub key: EntityKey,
    /// The number of its last change; 0 before it exists.
    pub seq: Seq,
    /// Its state; none before it exists.
    pub aggregate: Option<Aggregate>,
    /// The commands it remembers (R8).
    pub recent: RecentCommands,
}

/// What came of deciding one command; the owner makes an [`Outcome`] of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Yes, no, or not at all.
    pub verdict: Verdict,
    /// Set if the command had been decided before.
    pub repeats: Option<Repeat>,
    /// The digest of principal and body.
    pub fingerprint: i64,
}

/// A snapshot that this release cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot of {key} cannot be read")]
pub struct SnapshotError {
    key: EntityKey,
    #[source]
    source: serde_json::Error,
}

impl Entity {
    /// An entity to which nothing has happened.
    pub fn new(key: EntityKey) -> Self {
        Self { key, seq: 0, aggregate: None, recent: RecentCommands::default() }
    }

    /// Reads a snapshot made by [`Entity::to_snapshot`].
    pub fn from_snapshot(key: &EntityKey, bytes: &[u8]) -> Result<Self, SnapshotError> {
        serde_json::from_slice(bytes).map_err(|source| SnapshotError { key: key.clone(), source })
    }

    /// The whole state as JSON: the same bytes for the same state, on every node.
    pub fn to_snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entity's maps have string keys")
    }

    /// Decides a command against this state; changes nothing. Fails only if the command cannot
    /// be written down, which a command that was read cannot do.
    pub fn decide(&self, command: &Command, guards: &Guards) -> Result<Decision, CodecError> {
        let fingerprint = codec::fingerprint(command)?;
        let foreign = guards.isolation && command.tenant != self.key.tenant;
        if foreign || command.key != self.key {
            let verdict = Verdict::Rejected(not_found("entity", &command.key.entity));
            return Ok(Decision { verdict, repeats: None, fingerprint });
        }
        if guards.idempotency
            && let Some(first) = self.recent.find(command.id)
        {
            let verdict = if first.fingerprint != fingerprint {
                Verdict::Rejected(conflict("this command id was used for something else"))
            } else if let Some(rejection) = &first.rejection {
                Verdict::Rejected(rejection.as_ref().clone())
            } else {
                Verdict::Accepted { seq: first.repeat().to, changes: Vec::new() }
            };
            let repeats = (first.fingerprint == fingerprint).then(|| first.repeat());
            return Ok(Decision { verdict, repeats, fingerprint });
        }
        let verdict = match self.changes(command, guards) {
            Ok(changes) => Verdict::Accepted { seq: self.seq + changes.len() as Seq, changes },
            Err(rejection) => Verdict::Rejected(rejection),
        };
        Ok(Decision { verdict, repeats: None, fingerprint })
    }

    fn changes(&self, command: &Command, guards: &Guards) -> Result<Vec<Change>, Rejection> {
        if let Some(expected) = command.expect
            && expected != self.seq
        {
            let now = self.seq;
            let message = format!("expected seq {expected}, the entity is at {now}");
            let mut rejection = Rejection::field("expect", message);
            rejection.code = Code::Conflict;
            return Err(rejection);
        }
        let actor = Actor {
            principal: &command.principal,
            is_admin: command.roles.iter().any(|role| role == "admin"),
        };
        let at = if guards.determinism { command.at } else { guards.wall_clock() };
        let context = Context { actor, at, command_id: command.id };
        match (&command.body, &self.aggregate) {
            (Body::Board(body), None) => {
                Board::decide_create(body, &context).map(|d| self.number(d, ChangeBody::Board))
            }
            (Body::Board(body), Some(Aggregate::Board(state))) => {
                state.decide(body, &context).map(|d| self.number(d, ChangeBody::Board))
            }
            (Body::Event(body), None) => {
                Event::decide_create(body, &context).map(|d| self.number(d, ChangeBody::Event))
            }
            (Body::Event(body), Some(Aggregate::Event(state))) => {
                state.decide(body, &context).map(|d| self.number(d, ChangeBody::Event))
            }
            (Body::Room(body), None) => {
                Room::decide_create(body, &context).map(|d| self.number(d, ChangeBody::Room))
            }
            (Body::Room(body), Some(Aggregate::Room(state))) => {
                state.decide(body, &context).map(|d| self.number(d, ChangeBody::Room))
            }
            (Body::Board(_) | Body::Event(_) | Body::Room(_), Some(_)) => Err(Rejection::new(
                Code::Invalid,
                format!("{} takes no commands of a {}", self.key.entity, command.body.kind()),
            )),
        }
    }

    fn number<C>(&self, drafts: Vec<Draft<C>>, wrap: fn(C) -> ChangeBody) -> Vec<Change> {
        drafts
            .into_iter()
            .zip(self.seq + 1..)
            .map(|(draft, seq)| Change {
                seq,
                undoes: draft.undoes,
                redoes: draft.redoes,
                body: wrap(draft.body),
            })
            .collect()
    }

    /// Takes an outcome into the state. Infallible: the log is what happened.
    pub fn apply(&mut self, outcome: &Outcome) {
        let before = self.seq;
        let rejection = match &outcome.verdict {
            Verdict::Accepted { changes, .. } => {
                for change in changes {
                    self.apply_change(outcome, change);
                }
                None
            }
            Verdict::Rejected(rejection) => Some(rejection),
            Verdict::Skipped { .. } => return,
        };
        let spans = Repeat { after: before, to: self.seq };
        let Outcome { command_id, fingerprint, at, .. } = outcome;
        self.recent.remember(*command_id, *fingerprint, *at, spans, rejection);
    }

    /// Takes the changes of an outcome up to and including `last` into the state: the past, as
    /// `?at_seq` shows it. What it remembers of commands is left alone.
    pub fn apply_until(&mut self, outcome: &Outcome, last: Seq) {
        if let Verdict::Accepted { changes, .. } = &outcome.verdict {
            for change in changes.iter().filter(|change| change.seq <= last) {
                self.apply_change(outcome, change);
            }
        }
    }

    fn apply_change(&mut self, outcome: &Outcome, change: &Change) {
        let meta = Meta {
            seq: change.seq,
            at: outcome.at,
            by: &outcome.by,
            undoes: change.undoes,
            redoes: change.redoes,
        };
        self.seq = change.seq;
        match (&change.body, &mut self.aggregate) {
            (ChangeBody::Board(body), Some(Aggregate::Board(state))) => state.apply(body, &meta),
            (ChangeBody::Event(body), Some(Aggregate::Event(state))) => state.apply(body, &meta),
            (ChangeBody::Room(body), Some(Aggregate::Room(state))) => state.apply(body, &meta),
            (ChangeBody::Board(body), none @ None) => {
                *none = Board::from_created(body, &meta).map(Box::new).map(Aggregate::Board);
            }
            (ChangeBody::Event(body), none @ None) => {
                *none = Event::from_created(body, &meta).map(Box::new).map(Aggregate::Event);
            }
            (ChangeBody::Room(body), none @ None) => {
                *none = Room::from_created(body, &meta).map(Box::new).map(Aggregate::Room);
            }
            (ChangeBody::Board(_) | ChangeBody::Event(_) | ChangeBody::Room(_), Some(_)) => {}
        }
    }

    /// When the entity wants to be woken next.
    pub fn next_wake(&self) -> Option<Timestamp> {
        match self.aggregate.as_ref()? {
            Aggregate::Board(state) => state.next_wake(),
            Aggregate::Event(state) => state.next_wake(),
            Aggregate::Room(state) => state.next_wake(),
        }
    }

    /// Whether `actor` of the entity's own tenant may look.
    pub fn may_read(&self, actor: Actor<'_>) -> bool {
        match &self.aggregate {
            None => false,
            Some(Aggregate::Board(state)) => state.may_read(actor),
            Some(Aggregate::Event(state)) => state.may_read(actor),
            Some(Aggregate::Room(state)) => state.may_read(actor),
        }
    }

    /// The state as clients see it: `entity`, `seq` and the fields of the kind.
    pub fn view(&self) -> Value {
        let mut view = Map::new();
        view.insert("entity".into(), self.key.entity.to_string().into());
        view.insert("seq".into(), self.seq.into());
        view.extend(match &self.aggregate {
            None => Map::new(),
            Some(Aggregate::Board(state)) => state.view(),
            Some(Aggregate::Event(state)) => state.view(),
            Some(Aggregate::Room(state)) => state.view(),
        });
        Value::Object(view)
    }

    /// Its rights, once it exists.
    pub fn access(&self) -> Option<&Access> {
        Some(match self.aggregate.as_ref()? {
            Aggregate::Board(state) => state.access(),
            Aggregate::Event(state) => state.access(),
            Aggregate::Room(state) => state.access(),
        })
    }
}

/// The command that wakes an entity of the kind of `key`.
pub fn wake_body(key: &EntityKey) -> Option<Body> {
    match key.entity.kind() {
        schemas::Kind::Board => Board::wake_command().map(Body::Board),
        schemas::Kind::Event => Event::wake_command().map(Body::Event),
        schemas::Kind::Room => Room::wake_command().map(Body::Room),
    }
}

/// What a change does to the list that `GET /api/v1/<kind>` shows.
#[derive(Debug, Clone, PartialEq)]
pub enum ListingChange {
    /// It is there.
    Created {
        /// Its title.
        title: String,
        /// What the tenant may do.
        tenant_role: TenantRole,
        /// Who made it, if a user did: they may see it.
        owner: Option<UserName>,
    },
    /// Title or the tenant's role changed.
    Updated {
        /// The new title, if it changed.
        title: Option<String>,
        /// The tenant's new role, if it changed.
        tenant_role: Option<TenantRole>,
    },
    /// A user may see it.
    MemberAdded(UserName),
    /// A user may see it only if everybody may.
    MemberRemoved(UserName),
}

/// What `change` by `by` does to the list, if anything.
pub fn listing_change(change: &ChangeBody, by: &Principal) -> Option<ListingChange> {
    let created = |title: &String, tenant_role: &TenantRole| {
        let (title, owner) = (title.clone(), by.user().cloned());
        Some(ListingChange::Created { title, tenant_role: *tenant_role, owner })
    };
    let updated = |title: Option<&String>, tenant_role: Option<&TenantRole>| {
        let (title, tenant_role) = (title.cloned(), tenant_role.copied());
        (title.is_some() || tenant_role.is_some())
            .then_some(ListingChange::Updated { title, tenant_role })
    };
    let added = |user: &UserName, _: Option<Role>| Some(ListingChange::MemberAdded(user.clone()));
    let removed = |user: &UserName| Some(ListingChange::MemberRemoved(user.clone()));
    match change {
        ChangeBody::Board(BoardChange::BoardCreated { title, tenant_role, .. })
        | ChangeBody::Event(EventChange::EventCreated { title, tenant_role, .. })
        | ChangeBody::Room(RoomChange::RoomCreated { title, tenant_role, .. }) => {
            created(title, tenant_role)
        }
        ChangeBody::Board(BoardChange::BoardUpdated { fields }) => {
            updated(fields.title.as_set(), fields.tenant_role.as_set())
        }
        ChangeBody::Event(EventChange::EventUpdated { fields }) => {
            updated(fields.title.as_set(), fields.tenant_role.as_set())
        }
        ChangeBody::Room(RoomChange::RoomUpdated { fields }) => {
            updated(fields.title.as_set(), fields.tenant_role.as_set())
        }
        ChangeBody::Board(BoardChange::MemberSet { user, role })
        | ChangeBody::Event(EventChange::MemberSet { user, role })
        | ChangeBody::Room(RoomChange::MemberSet { user, role }) => added(user, Some(*role)),
        ChangeBody::Event(EventChange::ParticipantInvited { user, .. }) => added(user, None),
        ChangeBody::Board(BoardChange::MemberRemoved { user })
        | ChangeBody::Event(EventChange::MemberRemoved { user })
        | ChangeBody::Room(
            RoomChange::MemberRemoved { user } | RoomChange::MemberBanned { user },
        ) => removed(user),
        ChangeBody::Board(_) | ChangeBody::Event(_) | ChangeBody::Room(_) => None,
    }
}
