//! The protocols that the harness speaks: Switchyard's own, and Centrifugo's for comparison. Above
//! this module a message is an `Item`, whoever sent it.

use std::fmt::Write;

use clap::ValueEnum;
use serde::Serialize;
use uuid::Uuid;

use crate::pacer::Shot;
use crate::scan::{self, Item, JOIN, Malformed, centrifugo};

const PADDING: &str = "the quick brown fox jumps over the lazy dog ";

/// What the server speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Proto {
    /// Rooms of Switchyard, created over HTTP.
    #[default]
    Switchyard,
    /// Channels of Centrifugo v6 with recoverable history, which need not be created.
    Centrifugo,
}

/// Whether others are told of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Shown,
    Hidden,
}

impl Proto {
    /// Hands out every object of a frame.
    pub(crate) fn scan<'a>(
        self,
        frame: &'a [u8],
        sink: impl FnMut(Item<'a>),
    ) -> Result<(), Malformed> {
        match self {
            Self::Switchyard => scan::scan(frame, sink),
            Self::Centrifugo => centrifugo::scan(frame, sink),
        }
    }

    /// What a room is called on the wire.
    pub(crate) fn room(self, id: &str) -> String {
        match self {
            Self::Switchyard => format!("room:{id}"),
            Self::Centrifugo => id.to_owned(),
        }
    }

    /// The first message of a socket that takes part in no room.
    pub(crate) fn greeting(self, token: &str) -> Option<String> {
        match self {
            Self::Switchyard => None,
            Self::Centrifugo => Some(centrifugo::hello(token, None)),
        }
    }

    /// The first message of a socket that joins a room; only Switchyard knows presence.
    pub(crate) fn join(self, token: &str, entity: &str, presence: Presence) -> String {
        match self {
            Self::Switchyard => {
                let shown = presence == Presence::Shown;
                format!(r#"{{"id":{JOIN},"op":"join","entity":"{entity}","presence":{shown}}}"#)
            }
            Self::Centrifugo => centrifugo::hello(token, Some(entity)),
        }
    }

    /// What a message is answered with at once: the pong to a ping that is a text.
    pub(crate) fn pong(self, text: &[u8]) -> Option<&'static [u8]> {
        match self {
            Self::Switchyard => None,
            Self::Centrifugo => centrifugo::has_ping(text).then_some(b"{}"),
        }
    }

    /// Writes the command that posts a message of `payload` bytes with a stamp. Only Switchyard knows
    /// command ids.
    pub(crate) fn write_post(
        self,
        out: &mut String,
        entity: &str,
        command_id: Option<Uuid>,
        shot: Shot,
        payload: usize,
    ) {
        out.clear();
        let number = shot.number;
        match self {
            Self::Switchyard => {
                let id = command_id.map_or_else(String::new, |id| format!(r#""commandId":"{id}","#));
                write!(
                    out,
                    r#"{{"id":{number},"op":"command","entity":"{entity}",{id}"body":{{"type":"post","text":""#
                )
            }
            Self::Centrifugo => write!(
                out,
                r#"{{"id":{},"publish":{{"channel":"{entity}","data":{{"text":""#,
                centrifugo::publish_id(number)
            ),
        }
        .expect("writing to a string does not fail");
        push_stamped(out, shot, payload);
        out.push_str(match self {
            Self::Switchyard => r#""}}"#,
            Self::Centrifugo => r#""}}}"#,
        });
    }
}

/// Appends `<number>:<intended ns>:` and padding up to `payload` bytes.
pub(crate) fn push_stamped(out: &mut String, shot: Shot, payload: usize) {
    let from = out.len();
    write!(out, "{}:{}:", shot.number, shot.intended_ns)
        .expect("writing to a string does not fail");
    while out.len() - from < payload {
        let missing = payload - (out.len() - from);
        out.push_str(&PADDING[..missing.min(PADDING.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_json_of_the_asked_length_in_both_protocols() {
        let shot = Shot { slot: 0, number: 7, intended_ns: 1_000 };
        let mut out = String::new();
        for (proto, text) in
            [(Proto::Switchyard, "/body/text"), (Proto::Centrifugo, "/publish/data/text")]
        {
            proto.write_post(&mut out, "e", Some(Uuid::nil()), shot, 60);
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            let text = value.pointer(text).unwrap().as_str().unwrap();
            assert_eq!(text.len(), 60);
            let id = (proto == Proto::Switchyard).then(|| Uuid::nil().to_string());
            assert_eq!(value["commandId"].as_str().map(str::to_owned), id);
            assert_eq!(scan::stamp(text.as_bytes()), Some((7, 1_000)));
        }
    }
}
