//! Commands about columns.

use schemas::{
    ItemId, Patch, Rejection,
    board::{BoardChange, ColumnFields, NewColumn},
};

use super::{
    decide::{Decision, column_spec, nothing, one},
    input,
    state::Board,
};
use crate::domain::{
    Context,
    access::{check_text, conflict},
};

impl Board {
    pub(super) fn add_column(
        &self,
        given: NewColumn,
        after: &Patch<ItemId>,
        context: &Context<'_>,
    ) -> Decision {
        let spec = column_spec(&given, ItemId::derived(context.command_id), "")?;
        if self.has_column(&spec.id) {
            return Err(conflict(format!("column {} exists already", spec.id)));
        }
        if self.columns.len() + self.archived_columns.len() >= input::COLUMNS {
            return Err(conflict(format!("a board has {} columns at most", input::COLUMNS)));
        }
        let after = match after {
            Patch::Keep => self.columns.last().map(|column| column.spec.id.clone()),
            Patch::Clear => None,
            Patch::Set(after) => Some(self.need_neighbour(after)?.clone()),
        };
        one(BoardChange::ColumnAdded {
            column: spec.id,
            title: spec.title,
            wip: spec.wip,
            wip_mode: spec.wip_mode,
            state: spec.state,
            after,
        })
    }

    pub(super) fn update_column(&self, id: &ItemId, given: ColumnFields) -> Decision {
        let spec = &self.need_column(id)?.spec;
        input::check_kept("title", &given.title, input::TITLE)?;
        input::check_wip("wip", given.wip.as_set().copied())?;
        let state = match given.state {
            // Cleared, a column's state is its id again; clients need not know that rule.
            Patch::Clear => Patch::Set(id.to_string()),
            state @ (Patch::Keep | Patch::Set(_)) => state,
        };
        if let Patch::Set(state) = &state {
            check_text("state", state, input::LABEL)?;
        }
        let fields = ColumnFields {
            title: input::altering(given.title, Some(&spec.title)),
            wip: input::altering(given.wip, spec.wip.as_ref()),
            wip_mode: input::altering_value(given.wip_mode, &spec.wip_mode),
            state: input::altering(state, Some(&spec.state)),
        };
        if fields == ColumnFields::default() {
            return nothing();
        }
        one(BoardChange::ColumnUpdated { column: id.clone(), fields })
    }

    pub(super) fn move_column(&self, id: &ItemId, after: Option<&ItemId>) -> Decision {
        self.need_column(id)?;
        if let Some(after) = after {
            if after == id {
                return Err(Rejection::field("after", "must not be the column itself"));
            }
            self.need_neighbour(after)?;
        }
        let index = self.column_index(id).unwrap_or_default();
        if self.place_of_column(index).after.as_ref() == after {
            return nothing();
        }
        one(BoardChange::ColumnMoved { column: id.clone(), after: after.cloned() })
    }

    pub(super) fn archive_column(&self, id: &ItemId) -> Decision {
        if self.archived_column(id).is_some() {
            return nothing();
        }
        self.check_removable(id)?;
        one(BoardChange::ColumnArchived { column: id.clone() })
    }

    pub(super) fn restore_column(&self, id: &ItemId) -> Decision {
        if self.column(id).is_some() {
            return nothing();
        }
        if self.archived_column(id).is_none() {
            self.need_column(id)?;
        }
        let after = self.columns.last().map(|column| column.spec.id.clone());
        one(BoardChange::ColumnRestored { column: id.clone(), after })
    }

    /// `conflict` unless the column may leave the board: without tasks, and not the last one.
    pub(super) fn check_removable(&self, id: &ItemId) -> Result<(), Rejection> {
        let column = self.need_column(id)?;
        if !column.order.is_empty() {
            let count = column.order.len();
            return Err(conflict(format!("column {id} still holds {count} tasks")));
        }
        if self.columns.len() == 1 {
            return Err(conflict(format!("column {id} is the last one")));
        }
        Ok(())
    }

    pub(super) fn has_column(&self, id: &ItemId) -> bool {
        self.column(id).is_some() || self.archived_column(id).is_some()
    }

    fn need_neighbour<'a>(&self, after: &'a ItemId) -> Result<&'a ItemId, Rejection> {
        match self.column(after) {
            Some(_) => Ok(after),
            None => Err(Rejection::field("after", "must be a column on the board")),
        }
    }
}
