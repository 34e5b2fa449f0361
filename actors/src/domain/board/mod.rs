//! A board: columns, tasks, workflow, and undo.
//!
//! What it promises, whatever is asked in whatever order:
//! - a task that is not archived stands in exactly one column exactly once; an archived one in none;
//! - a hard WIP limit is never exceeded by a task that comes in (a limit may be lowered below what
//!   is there; the column then takes no more);
//! - a board has at least one column and, if users own it, at least one owner;
//! - undo takes back exactly one change, or says which later change depends on it.

mod apply;
mod columns;
mod decide;
mod history;
mod input;
mod state;
mod tasks;
mod undo;
mod view;

#[cfg(test)]
mod tests;

pub use history::History;
pub use state::{Board, Column, Task};
