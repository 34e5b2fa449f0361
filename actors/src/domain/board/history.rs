//! The recent changes of a board and how each is taken back.
//!
//! Every change leaves an entry, those made by undo and redo too. A change, its undo, its redo and
//! so on are one family, named by the first one's seq; the latest entry of a family says whether
//! it is in effect. Something depends on an entry if another family touched the same thing since
//! and is not back where it was then, that is, has an odd number of entries since.

use std::collections::VecDeque;

use schemas::{
    ItemId, Seq,
    board::{BoardFields, ColumnFields, ColumnSpec, Comment, TaskFields, TransitionRule},
};
use serde::{Deserialize, Serialize};

use crate::domain::Meta;

/// How many changes can be taken back; older ones are forgotten, oldest first.
pub(super) const MOST_ENTRIES: usize = 200;

/// The recent changes, oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    entries: VecDeque<Entry>,
}

/// One change, or the few of one undo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    first: Seq,
    /// Greater than `first` only where one undo took more than one change.
    pub(super) seq: Seq,
    /// The family: the seq of the change that was neither undo nor redo.
    root: Seq,
    pub(super) direction: Direction,
    /// The change's type, for the reason of a rejection.
    pub(super) name: String,
    /// The column that a task came into.
    column: Option<ItemId>,
    pub(super) touches: Vec<Touch>,
    /// What takes it back; none for what can't be taken back.
    pub(super) inverse: Option<Step>,
}

/// Whether an entry brings its family into effect or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Direction {
    Does,
    Undoes,
}

/// What `apply` tells of a change.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) touches: Vec<Touch>,
    pub(super) column: Option<ItemId>,
    pub(super) inverse: Option<Step>,
}

/// Something that a change touches: a part of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Touch {
    pub(super) thing: Thing,
    pub(super) part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Thing {
    Board,
    Column(ItemId),
    Task(ItemId),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    /// The thing's being there: overlaps every part of it.
    Whole,
    Place,
    Title,
    EventId,
    TenantRole,
    Transitions,
    Wip,
    WipMode,
    State,
    Description,
    Priority,
    Labels,
    Assignees,
    Due,
    Estimate,
    CustomFields,
    Attachments,
    Comment(ItemId),
    Item(ItemId),
}

impl Touch {
    fn overlaps(&self, other: &Self) -> bool {
        self.thing == other.thing
            && (self.part == Part::Whole || other.part == Part::Whole || self.part == other.part)
    }
}

/// Where something stood: below `after`, or, should that be gone, at `index`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) after: Option<ItemId>,
    pub(super) index: usize,
}

impl Place {
    /// What to stand after in `order`, which does not hold the thing itself.
    pub(super) fn resolve(&self, order: &[&ItemId]) -> Option<ItemId> {
        match &self.after {
            Some(after) if order.contains(&after) => Some(after.clone()),
            Some(_) | None => {
                let index = self.index.min(order.len());
                index.checked_sub(1).map(|above| order[above].clone())
            }
        }
    }
}

/// What takes a change back, as far as it is known when the change happens. `former` is the column that
/// the task belonged to when it was archived before; older snapshots have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Step {
    UpdateBoard(BoardFields),
    SetTransitions(Vec<TransitionRule>),
    AddColumn { spec: ColumnSpec, place: Place },
    RemoveColumn { column: ItemId },
    UpdateColumn { column: ItemId, fields: ColumnFields },
    MoveColumn { column: ItemId, place: Place },
    ArchiveColumn { column: ItemId },
    RestoreColumn { column: ItemId, place: Place },
    AddTask { task: ItemId, content: Box<super::Task>, place: Place },
    DeleteTask { task: ItemId },
    UpdateTask { task: ItemId, fields: TaskFields },
    MoveTask { task: ItemId, column: ItemId, place: Place },
    ArchiveTask { task: ItemId, former: Option<ItemId> },
    RestoreTask { task: ItemId, column: ItemId, place: Place },
    AddComment { task: ItemId, comment: Comment },
    RemoveComment { task: ItemId, comment: ItemId },
    AddItem { task: ItemId, item: ItemId, text: String },
    RemoveItem { task: ItemId, item: ItemId },
    SetItem { task: ItemId, item: ItemId, done: bool },
}

impl History {
    /// The entry that holds `seq` itself.
    pub(super) fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| (entry.first..=entry.seq).contains(&seq))
    }

    /// The latest entry of the family that `seq` belongs to.
    pub(super) fn latest(&self, seq: Seq) -> Option<&Entry> {
        self.family(seq).next()
    }

    /// The family that `seq` belongs to: a change and what took it back and repeated it, the
    /// latest first.
    pub(super) fn family(&self, seq: Seq) -> impl Iterator<Item = &Entry> {
        let root = self.root(seq);
        self.entries.iter().rev().filter(move |entry| entry.root == root)
    }

    fn root(&self, seq: Seq) -> Seq {
        self.entry(seq).map_or(seq, |entry| entry.root)
    }

    /// The latest entry that `entry` can't be taken back without: it touched the same since.
    pub(super) fn dependent(&self, entry: &Entry) -> Option<&Entry> {
        let later: Vec<&Entry> =
            self.entries.iter().rev().take_while(|other| other.seq > entry.seq).collect();
        later.iter().copied().find(|other| {
            let touches = other
                .touches
                .iter()
                .any(|touch| entry.touches.iter().any(|mine| mine.overlaps(touch)));
            let flips = later.iter().filter(|sibling| sibling.root == other.root).count();
            touches && flips % 2 == 1
        })
    }

    /// The latest change that brought one of the tasks in `column` there, to name it.
    pub(super) fn last_into(&self, column: &super::Column) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| {
            entry.column.as_ref() == Some(&column.spec.id)
                && entry.touches.iter().any(|touch| match &touch.thing {
                    Thing::Task(task) => column.order.contains(task),
                    Thing::Board | Thing::Column(_) => false,
                })
        })
    }

    /// The latest change that made `thing` come or go, to name it.
    pub(super) fn last_whole(&self, thing: &Thing) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| {
            entry.touches.iter().any(|touch| touch.part == Part::Whole && touch.thing == *thing)
        })
    }

    /// Notes a change and forgets the oldest beyond the bound.
    pub(super) fn record(&mut self, name: &str, trace: Trace, meta: &Meta<'_>) {
        let (direction, root) = match (meta.undoes, meta.redoes) {
            (Some(seq), _) => (Direction::Undoes, self.root(seq)),
            (None, Some(seq)) => (Direction::Does, self.root(seq)),
            (None, None) => (Direction::Does, meta.seq),
        };
        let compensates = meta.undoes.is_some() || meta.redoes.is_some();
        if let Some(last) = self.entries.back_mut()
            && compensates
            && (last.root, last.direction, last.seq + 1) == (root, direction, meta.seq)
        {
            // The second change of one undo: the first one's inverse takes both back.
            last.seq = meta.seq;
            return;
        }
        self.entries.push_back(Entry {
            first: meta.seq,
            seq: meta.seq,
            root,
            direction,
            name: name.to_owned(),
            column: trace.column,
            touches: trace.touches,
            inverse: trace.inverse,
        });
        if self.entries.len() > MOST_ENTRIES {
            self.entries.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
