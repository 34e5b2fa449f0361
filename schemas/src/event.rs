//! Commands and changes of an event. Field by field they are the tables of PROTOCOL.md.
#![expect(missing_docs, reason = "fields are explained in PROTOCOL.md, variants here")]

use apache_avro::AvroSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    EntityId, ItemId, Patch, Timestamp, UserName,
    role::{Role, TenantRole},
};

/// Where an event stands in its life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, AvroSchema, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum EventStatus {
    #[default]
    Draft,
    Published,
    Ongoing,
    Completed,
    Cancelled,
    Postponed,
}

/// Who may see an event without a role in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Visibility {
    /// Whoever `tenantRole` lets in.
    #[default]
    Tenant,
    /// Members and participants only, whatever `tenantRole` says.
    Private,
}

crate::avro_enum!(Visibility: "tenant", "private");

/// What somebody is at an event.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    AvroSchema,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ParticipantRole {
    Organiser,
    CoOrganiser,
    Staff,
    #[default]
    Participant,
}

/// What somebody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    Yes,
    No,
    Maybe,
}

/// What became of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Has a place.
    Confirmed,
    /// Waits for one.
    Waitlisted,
    /// Does not come.
    Declined,
    /// May come; takes no place.
    Tentative,
    /// Was asked and has not answered.
    Invited,
}

crate::avro_enum!(Standing: "confirmed", "waitlisted", "declined", "tentative", "invited");

/// What `eventUpdated` sets; absent fields are as they were, null ones are cleared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventFields {
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub start: Patch<Timestamp>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub end: Patch<Timestamp>,
    /// An IANA time zone name.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub time_zone: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub all_day: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub description: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub place: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub capacity: Patch<i64>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub waitlist: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub max_plus_ones: Patch<i64>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub registration_opens: Patch<Timestamp>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub registration_closes: Patch<Timestamp>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub visibility: Patch<Visibility>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub board_id: Patch<EntityId>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub room_id: Patch<EntityId>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub tenant_role: Patch<TenantRole>,
}

/// What `sessionUpdated` sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionFields {
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub start: Patch<Timestamp>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub end: Patch<Timestamp>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub track: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub speakers: Patch<Vec<String>>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub place: Patch<String>,
}

/// Everything an event can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub enum EventCommand {
    /// Makes the event as a draft; the sender becomes owner and organiser.
    CreateEvent {
        title: String,
        start: Timestamp,
        end: Timestamp,
        time_zone: String,
        #[serde(default)]
        all_day: Option<bool>,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        place: Option<String>,
        #[serde(default)]
        capacity: Option<i64>,
        /// Whether a full event keeps a waitlist; true by default.
        #[serde(default)]
        waitlist: Option<bool>,
        #[serde(default)]
        max_plus_ones: Option<i64>,
        #[serde(default)]
        registration_opens: Option<Timestamp>,
        #[serde(default)]
        registration_closes: Option<Timestamp>,
        #[serde(default)]
        visibility: Option<Visibility>,
        #[serde(default)]
        board_id: Option<EntityId>,
        #[serde(default)]
        room_id: Option<EntityId>,
        #[serde(default)]
        tenant_role: Option<TenantRole>,
    },
    /// Changes fields; null clears. Raising the capacity promotes from the waitlist.
    UpdateEvent {
        #[serde(default)]
        title: Patch<String>,
        #[serde(default)]
        start: Patch<Timestamp>,
        #[serde(default)]
        end: Patch<Timestamp>,
        #[serde(default)]
        time_zone: Patch<String>,
        #[serde(default)]
        all_day: Patch<bool>,
        #[serde(default)]
        description: Patch<String>,
        #[serde(default)]
        place: Patch<String>,
        #[serde(default)]
        capacity: Patch<i64>,
        #[serde(default)]
        waitlist: Patch<bool>,
        #[serde(default)]
        max_plus_ones: Patch<i64>,
        #[serde(default)]
        registration_opens: Patch<Timestamp>,
        #[serde(default)]
        registration_closes: Patch<Timestamp>,
        #[serde(default)]
        visibility: Patch<Visibility>,
        #[serde(default)]
        board_id: Patch<EntityId>,
        #[serde(default)]
        room_id: Patch<EntityId>,
        #[serde(default)]
        tenant_role: Patch<TenantRole>,
    },
    /// Steps through the lifecycle.
    SetStatus { status: EventStatus },
    /// Asks a user to come.
    Invite {
        user: UserName,
        #[serde(default)]
        role: Option<ParticipantRole>,
    },
    /// Answers for oneself, or (organisers) for `user`.
    Respond {
        answer: Answer,
        #[serde(default)]
        user: Option<UserName>,
        /// How many more come along; each takes a place.
        #[serde(default)]
        plus_ones: Option<i64>,
    },
    /// A confirmed participant is here.
    CheckIn { user: UserName },
    /// Gives a participant a role.
    SetRole { user: UserName, role: ParticipantRole },
    /// Adds a session to the schedule.
    AddSession {
        #[serde(default)]
        session: Option<ItemId>,
        title: String,
        start: Timestamp,
        end: Timestamp,
        #[serde(default)]
        track: Option<String>,
        #[serde(default)]
        speakers: Option<Vec<String>>,
        #[serde(default)]
        place: Option<String>,
        /// Accept a speaker or place that is taken at that time.
        #[serde(default)]
        allow_conflict: Option<bool>,
    },
    /// Changes a session.
    UpdateSession {
        session: ItemId,
        #[serde(default)]
        title: Patch<String>,
        #[serde(default)]
        start: Patch<Timestamp>,
        #[serde(default)]
        end: Patch<Timestamp>,
        #[serde(default)]
        track: Patch<String>,
        #[serde(default)]
        speakers: Patch<Vec<String>>,
        #[serde(default)]
        place: Patch<String>,
        #[serde(default)]
        allow_conflict: Option<bool>,
    },
    /// Takes a session off the schedule.
    RemoveSession { session: ItemId },
    /// Replaces the reminders: ISO 8601 durations before the start, `P1D`, `PT1H`.
    SetReminders { before: Vec<String> },
    /// Gives a user a role in the event's administration.
    SetMember { user: UserName, role: Role },
    /// Takes a user's role away.
    RemoveMember { user: UserName },
    /// Sent by the timer (principal `system`): fires the reminders that are due.
    FireReminders {},
}

/// Everything that can have happened to an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub enum EventChange {
    /// The event exists, as a draft.
    EventCreated {
        title: String,
        start: Timestamp,
        end: Timestamp,
        time_zone: String,
        all_day: bool,
        description: Option<String>,
        place: Option<String>,
        capacity: Option<i64>,
        waitlist: bool,
        max_plus_ones: i64,
        registration_opens: Option<Timestamp>,
        registration_closes: Option<Timestamp>,
        visibility: Visibility,
        board_id: Option<EntityId>,
        room_id: Option<EntityId>,
        tenant_role: TenantRole,
    },
    /// Fields changed.
    EventUpdated { fields: EventFields },
    /// The event took a step in its life.
    EventStatusChanged { from: EventStatus, to: EventStatus },
    /// Somebody was asked to come.
    ParticipantInvited { user: UserName, role: ParticipantRole },
    /// Somebody answered; `standing` is what became of it.
    ParticipantResponded { user: UserName, answer: Answer, standing: Standing, plus_ones: i64 },
    /// Somebody left the waitlist for a place.
    ParticipantPromoted { user: UserName },
    /// Somebody is here.
    ParticipantCheckedIn { user: UserName },
    /// A participant has another role.
    ParticipantRoleSet { user: UserName, role: ParticipantRole },
    /// The schedule has one more session.
    SessionAdded {
        session: ItemId,
        title: String,
        start: Timestamp,
        end: Timestamp,
        track: Option<String>,
        speakers: Vec<String>,
        place: Option<String>,
    },
    /// A session changed.
    SessionUpdated { session: ItemId, fields: SessionFields },
    /// A session is off the schedule.
    SessionRemoved { session: ItemId },
    /// These are the reminders now.
    RemindersSet { before: Vec<String> },
    /// A reminder's time has come.
    ReminderFired { before: String },
    /// A user has a role in the administration.
    MemberSet { user: UserName, role: Role },
    /// A user has no role in the administration any more.
    MemberRemoved { user: UserName },
}
