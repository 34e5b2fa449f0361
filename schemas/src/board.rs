//! Commands and changes of a board. Field by field they are the tables of PROTOCOL.md; a field
//! without a comment here is explained there.
#![expect(missing_docs, reason = "fields are explained in PROTOCOL.md, variants here")]

use apache_avro::AvroSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    EntityId, ItemId, Patch, Seq, Timestamp, UserName,
    role::{Role, TenantRole},
};

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    Low,
    Medium,
    High,
    Urgent,
}

/// Whether a column's limit refuses or only shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WipMode {
    /// A full column takes no task.
    #[default]
    Hard,
    /// A full column is shown as over its limit.
    Soft,
}

crate::avro_enum!(WipMode: "hard", "soft");

/// A column as `createBoard` takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewColumn {
    #[serde(default)]
    pub id: Option<ItemId>,
    pub title: String,
    #[serde(default, alias = "maxTasks")]
    pub wip: Option<i64>,
    #[serde(default)]
    pub wip_mode: Option<WipMode>,
    /// The workflow state of the tasks in it; its id by default.
    #[serde(default)]
    pub state: Option<String>,
}

/// A column as `boardCreated` and `columnAdded` list it, defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnSpec {
    pub id: ItemId,
    pub title: String,
    pub wip: Option<i64>,
    pub wip_mode: WipMode,
    pub state: String,
}

/// One allowed step between workflow states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransitionRule {
    pub from: String,
    pub to: String,
    /// Who may take it; empty means everybody who may edit.
    #[serde(default)]
    pub roles: Vec<Role>,
}

/// A comment on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    pub id: ItemId,
    /// The principal who wrote it.
    pub by: String,
    pub at: Timestamp,
    /// Markdown.
    pub text: String,
}

/// An item of a task's checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChecklistItem {
    pub id: ItemId,
    pub text: String,
    pub done: bool,
}

/// A file that something refers to. The bytes are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    #[serde(default)]
    pub id: Option<ItemId>,
    pub name: String,
    /// `http` or `https`.
    pub url: String,
    #[serde(default)]
    pub media_type: Option<String>,
    /// Bytes.
    #[serde(default)]
    pub size: Option<i64>,
}

/// A field of the board's own making, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomField {
    pub name: String,
    pub value: String,
}

/// What `taskUpdated` sets; absent fields are as they were, null ones are cleared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskFields {
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub description: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub priority: Patch<Priority>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub labels: Patch<Vec<String>>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub assignees: Patch<Vec<UserName>>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub due: Patch<Timestamp>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub estimate: Patch<f64>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub custom_fields: Patch<Vec<CustomField>>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub attachments: Patch<Vec<Attachment>>,
}

/// What `columnUpdated` sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnFields {
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub wip: Patch<i64>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub wip_mode: Patch<WipMode>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub state: Patch<String>,
}

/// What `boardUpdated` sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoardFields {
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub event_id: Patch<EntityId>,
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    pub tenant_role: Patch<TenantRole>,
}

/// Everything a board can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub enum BoardCommand {
    /// Makes the board; the sender becomes its owner.
    CreateBoard {
        title: String,
        #[serde(default)]
        columns: Option<Vec<NewColumn>>,
        #[serde(default)]
        event_id: Option<EntityId>,
        #[serde(default)]
        tenant_role: Option<TenantRole>,
    },
    /// Changes the board's own fields.
    UpdateBoard {
        #[serde(default)]
        title: Patch<String>,
        #[serde(default)]
        event_id: Patch<EntityId>,
        #[serde(default)]
        tenant_role: Patch<TenantRole>,
    },
    /// Adds a column: at the right end, at the left end (`after: null`), or after another.
    AddColumn {
        #[serde(default)]
        column: Option<ItemId>,
        title: String,
        #[serde(default, alias = "maxTasks")]
        wip: Option<i64>,
        #[serde(default)]
        wip_mode: Option<WipMode>,
        #[serde(default)]
        state: Option<String>,
        #[serde(default)]
        after: Patch<ItemId>,
    },
    /// Changes a column's fields.
    UpdateColumn {
        column: ItemId,
        #[serde(default)]
        title: Patch<String>,
        #[serde(default, alias = "maxTasks")]
        wip: Patch<i64>,
        #[serde(default)]
        wip_mode: Patch<WipMode>,
        #[serde(default)]
        state: Patch<String>,
    },
    /// Moves a column after another, or to the left end.
    MoveColumn {
        column: ItemId,
        #[serde(default)]
        after: Option<ItemId>,
    },
    /// Takes an empty column off the board.
    ArchiveColumn { column: ItemId },
    /// Brings an archived column back at the right end.
    RestoreColumn { column: ItemId },
    /// Adds a task: at the bottom, at the top (`after: null`), or below another.
    AddTask {
        #[serde(default)]
        task: Option<ItemId>,
        #[serde(default)]
        column: Option<ItemId>,
        title: String,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        priority: Option<Priority>,
        #[serde(default)]
        labels: Option<Vec<String>>,
        #[serde(default)]
        assignees: Option<Vec<UserName>>,
        #[serde(default)]
        due: Option<Timestamp>,
        #[serde(default)]
        estimate: Option<f64>,
        #[serde(default)]
        custom_fields: Option<Vec<CustomField>>,
        #[serde(default)]
        attachments: Option<Vec<Attachment>>,
        #[serde(default)]
        after: Patch<ItemId>,
    },
    /// Changes a task's fields; null clears.
    UpdateTask {
        task: ItemId,
        #[serde(default)]
        title: Patch<String>,
        #[serde(default)]
        description: Patch<String>,
        #[serde(default)]
        priority: Patch<Priority>,
        #[serde(default)]
        labels: Patch<Vec<String>>,
        #[serde(default)]
        assignees: Patch<Vec<UserName>>,
        #[serde(default)]
        due: Patch<Timestamp>,
        #[serde(default)]
        estimate: Patch<f64>,
        #[serde(default)]
        custom_fields: Patch<Vec<CustomField>>,
        #[serde(default)]
        attachments: Patch<Vec<Attachment>>,
    },
    /// Moves a task within its column or to another: below `after`, or to the top.
    MoveTask {
        task: ItemId,
        column: ItemId,
        #[serde(default)]
        after: Option<ItemId>,
        /// Accepted only while the task is in this column.
        #[serde(default)]
        expect_column: Option<ItemId>,
    },
    /// Copies a task, without its comments, below the original.
    DuplicateTask {
        task: ItemId,
        /// The id of the copy.
        #[serde(default)]
        copy: Option<ItemId>,
    },
    /// Takes a task off its column but keeps it.
    ArchiveTask { task: ItemId },
    /// Puts an archived task at the bottom of its column.
    RestoreTask { task: ItemId },
    /// Removes a task for good.
    DeleteTask { task: ItemId },
    /// Says something about a task.
    AddComment {
        task: ItemId,
        #[serde(default)]
        comment: Option<ItemId>,
        text: String,
    },
    /// Adds an item to a task's checklist.
    AddChecklistItem {
        task: ItemId,
        #[serde(default)]
        item: Option<ItemId>,
        text: String,
    },
    /// Ticks an item, or unticks it.
    SetChecklistItem { task: ItemId, item: ItemId, done: bool },
    /// Replaces the list of allowed steps between states.
    SetTransitions { rules: Vec<TransitionRule> },
    /// Gives a user a role.
    SetMember { user: UserName, role: Role },
    /// Takes a user's role away.
    RemoveMember { user: UserName },
    /// Takes back the change with this seq, if nothing later depends on it.
    Undo { seq: Seq },
    /// Takes back an undo: `seq` names the change that was undone, or the one that undid it.
    Redo { seq: Seq },
}

/// Everything that can have happened to a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[avro(repr = "union_of_records")]
pub enum BoardChange {
    /// The board exists, with these columns.
    BoardCreated {
        title: String,
        columns: Vec<ColumnSpec>,
        event_id: Option<EntityId>,
        tenant_role: TenantRole,
    },
    /// The board's own fields changed.
    BoardUpdated { fields: BoardFields },
    /// A column was added after another, or at the left end.
    ColumnAdded {
        column: ItemId,
        title: String,
        wip: Option<i64>,
        wip_mode: WipMode,
        state: String,
        after: Option<ItemId>,
    },
    /// A column's fields changed.
    ColumnUpdated { column: ItemId, fields: ColumnFields },
    /// A column stands elsewhere.
    ColumnMoved { column: ItemId, after: Option<ItemId> },
    /// A column is off the board.
    ColumnArchived { column: ItemId },
    /// A column is back, after another or at the left end.
    ColumnRestored { column: ItemId, after: Option<ItemId> },
    /// A column that was added by mistake is gone (an undo).
    ColumnRemoved { column: ItemId },
    /// A task was added below another, or at the top.
    TaskAdded {
        task: ItemId,
        column: ItemId,
        title: String,
        description: Option<String>,
        priority: Option<Priority>,
        labels: Vec<String>,
        assignees: Vec<UserName>,
        due: Option<Timestamp>,
        estimate: Option<f64>,
        custom_fields: Vec<CustomField>,
        attachments: Vec<Attachment>,
        /// Empty but for the undo of a deletion.
        comments: Vec<Comment>,
        /// Empty but for a copy and the undo of a deletion.
        checklist: Vec<ChecklistItem>,
        after: Option<ItemId>,
    },
    /// A task's fields changed.
    TaskUpdated { task: ItemId, fields: TaskFields },
    /// A task stands elsewhere.
    TaskMoved { task: ItemId, from: ItemId, to: ItemId, after: Option<ItemId> },
    /// A task is off its column.
    TaskArchived { task: ItemId },
    /// A task is back in `column`, below another or at the top.
    TaskRestored { task: ItemId, column: ItemId, after: Option<ItemId> },
    /// A task is gone.
    TaskDeleted { task: ItemId },
    /// Somebody said something about a task.
    CommentAdded { task: ItemId, comment: ItemId, text: String },
    /// A comment was taken back (an undo).
    CommentRemoved { task: ItemId, comment: ItemId },
    /// A checklist has one more item.
    ChecklistItemAdded { task: ItemId, item: ItemId, text: String },
    /// An item was ticked or unticked.
    ChecklistItemSet { task: ItemId, item: ItemId, done: bool },
    /// A checklist item was taken back (an undo).
    ChecklistItemRemoved { task: ItemId, item: ItemId },
    /// These are the allowed steps now.
    TransitionsSet { rules: Vec<TransitionRule> },
    /// A user has a role.
    MemberSet { user: UserName, role: Role },
    /// A user has no role any more.
    MemberRemoved { user: UserName },
}
