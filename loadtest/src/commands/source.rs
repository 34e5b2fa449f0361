//! Makes the commands of one connection: the same seed gives the same ids in the same millisecond.

use std::fmt::Write;
use std::sync::Arc;

use uuid::Uuid;

use super::Entity;
use crate::cli::{CommandsArgs, Kind};
use crate::random::Random;

/// Commands in the life of a task: added, moved six times, deleted.
const TASK_LIFE: u64 = 8;

/// A command that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) command_id: Uuid,
    /// Index of the entity.
    pub(super) entity: usize,
    /// Nanoseconds of the run's clock, for closed loops; 0 on a schedule.
    pub(super) at_ns: u64,
}

/// The commands of one connection.
#[derive(Debug, Clone)]
pub(super) struct Source {
    connection: usize,
    connections: usize,
    kind: Kind,
    entities: Arc<[Entity]>,
    text: String,
    random: Random,
}

impl Source {
    pub(super) fn new(
        connection: usize,
        args: &CommandsArgs,
        entities: &Arc<[Entity]>,
        seed: u64,
    ) -> Self {
        Self {
            connection,
            connections: args.connections,
            kind: args.kind,
            entities: Arc::clone(entities),
            text: "x".repeat(args.payload.max(1)),
            random: Random::new(seed.wrapping_add((connection as u64) << 40)),
        }
    }

    /// The length of a command as sent.
    pub(super) fn sample_bytes(&self) -> usize {
        let mut command = String::new();
        self.clone().write(1, &mut command);
        command.len()
    }

    /// Writes the connection's command with this number.
    pub(super) fn write(&mut self, number: u64, out: &mut String) -> Sent {
        let command_id = self.random.command_id();
        // A task stays with its entity and its connection, which keeps its commands in order.
        let turn = match self.kind {
            Kind::Room => number,
            Kind::Board => number / TASK_LIFE,
        };
        let entity = (turn as usize).wrapping_mul(self.connections).wrapping_add(self.connection)
            % self.entities.len();
        let (kind, id) = (self.kind.word(), &self.entities[entity].id);
        out.clear();
        write!(
            out,
            r#"{{"id":{number},"op":"command","entity":"{kind}:{id}","commandId":"{command_id}","body":{{"#
        )
        .expect("writing to a string does not fail");
        self.write_body(number, out).expect("writing to a string does not fail");
        out.push_str("}}");
        Sent { command_id, entity, at_ns: 0 }
    }

    fn write_body(&self, number: u64, out: &mut String) -> std::fmt::Result {
        let (text, connection, task) = (&self.text, self.connection, number / TASK_LIFE);
        match self.kind {
            Kind::Room => write!(out, r#""type":"post","text":"{text}""#),
            Kind::Board => {
                let name = format!(r#""task":"t{connection}-{task}""#);
                match number % TASK_LIFE {
                    0 => write!(out, r#""type":"addTask",{name},"column":"todo","title":"{text}""#),
                    7 => write!(out, r#""type":"deleteTask",{name}"#),
                    step => {
                        let column = if step % 2 == 1 { "done" } else { "todo" };
                        write!(out, r#""type":"moveTask",{name},"column":"{column}""#)
                    }
                }
            }
        }
    }
}

/// The changes that these commands make: exactly one each.
pub(super) fn is_ours(kind: &str) -> bool {
    matches!(kind, "messagePosted" | "taskAdded" | "taskMoved" | "taskDeleted")
}
