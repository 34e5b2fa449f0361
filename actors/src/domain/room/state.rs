//! What a room remembers, and who may do what in it.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    ItemId, Timestamp, UserName,
    role::{Role, TenantRole},
    room::{Access as Joining, RoomChange, RoomCommand},
};
use serde::{Deserialize, Serialize};

use super::{links::Link, slow::SlowMode, timeline::Timeline};
use crate::domain::{
    Meta,
    access::{Access, Actor},
};

/// A chat room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Room {
    pub(super) title: String,
    pub(super) topic: Option<String>,
    pub(super) created_at: Timestamp,
    /// How one becomes a member.
    pub(super) joining: Joining,
    pub(super) access: Access,
    /// Who asks to become a member, in the order of asking.
    pub(super) requests: Vec<UserName>,
    pub(super) timeline: Timeline,
    /// In the order of pinning. A pin may outlive what the timeline knows of its message.
    pub(super) pins: Vec<ItemId>,
    /// One for each member, and for whoever else has marked something as read.
    pub(super) readings: BTreeMap<UserName, Reading>,
    /// Until when a user may not write; `None` is for good.
    pub(super) muted: BTreeMap<UserName, Option<Timestamp>>,
    pub(super) banned: BTreeSet<UserName>,
    pub(super) slow: SlowMode,
    /// Lower-case words that no message may contain.
    pub(super) word_filter: Vec<String>,
    /// In the order of binding. Snapshots of the first release have none.
    #[serde(default)]
    pub(super) links: Vec<Link>,
}

/// How far somebody has read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// The number of the newest message when they became a member: what lies before does not
    /// count as unread.
    pub(super) from: i64,
    /// What they marked as read last.
    pub(super) marked: Option<Marked>,
}

/// The message up to which somebody has read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Marked {
    pub(super) message: ItemId,
    pub(super) number: i64,
}

impl Reading {
    /// The number of the last message that does not count as unread.
    pub(super) fn reached(&self) -> i64 {
        self.marked.as_ref().map_or(self.from, |marked| marked.number.max(self.from))
    }
}

impl Room {
    /// The room after its first change; `None` unless that is its creation.
    pub fn from_created(change: &RoomChange, meta: &Meta<'_>) -> Option<Self> {
        let RoomChange::RoomCreated { title, topic, access, tenant_role } = change else {
            return None;
        };
        let mut room = Self {
            title: title.clone(),
            topic: topic.clone(),
            created_at: meta.at,
            joining: *access,
            access: Access::new(meta.by.clone(), *tenant_role),
            requests: Vec::new(),
            timeline: Timeline::default(),
            pins: Vec::new(),
            readings: BTreeMap::new(),
            muted: BTreeMap::new(),
            banned: BTreeSet::new(),
            slow: SlowMode::default(),
            word_filter: Vec::new(),
            links: Vec::new(),
        };
        if let Some(user) = meta.by.user() {
            room.readings.insert(user.clone(), Reading { from: 0, marked: None });
        }
        Some(room)
    }

    /// The earliest end of a mute.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.muted.values().copied().flatten().min()
    }

    /// Ends the mutes that are over.
    pub fn wake_command() -> Option<RoomCommand> {
        Some(RoomCommand::EndMutes {})
    }

    /// Members and what the rest of the tenant may do. A ban is not in it: see
    /// [`Room::may_read`].
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether `actor` may look: anybody with a role who is not banned.
    pub fn may_read(&self, actor: Actor<'_>) -> bool {
        self.role_of(actor).is_some()
    }

    /// The room's title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The role that `actor` acts in. A ban outweighs membership and `tenantRole`, but not the
    /// tenant's own admins, who could lift it anyway.
    pub(super) fn role_of(&self, actor: Actor<'_>) -> Option<Role> {
        match actor.principal.user() {
            Some(user) if !actor.is_admin && self.banned.contains(user) => None,
            Some(_) | None => self.access.role_of(actor),
        }
    }

    /// How much `user` may, member or not; 0 without any role. Bans don't matter here.
    pub(super) fn rank_of_user(&self, user: &UserName) -> u8 {
        if let Some(role) = self.access.members.get(user) {
            return rank(*role);
        }
        match self.access.tenant_role {
            TenantRole::None => 0,
            TenantRole::Viewer => rank(Role::Viewer),
            TenantRole::Editor => rank(Role::Editor),
            TenantRole::Member => rank(Role::Member),
        }
    }
}

/// The order of roles in a room: a higher rank may moderate a lower one. Editors are the
/// partners and bridges, who write as members do.
pub(super) fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 6,
        Role::Admin => 5,
        Role::Moderator => 4,
        Role::Editor | Role::Member => 3,
        Role::Guest => 2,
        Role::Viewer | Role::ReadOnly => 1,
    }
}
