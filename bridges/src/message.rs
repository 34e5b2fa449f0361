//! What all platforms have in common: where something was said, by whom, and what happened.

use std::collections::HashMap;

use schemas::content::{Node, NodeType, from_markdown};
use serde::Serialize;

/// A conversation on a platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The organisation: a Slack team, a Discord guild, a Teams tenant; empty on Telegram.
    pub workspace: String,
    /// The channel or chat.
    pub channel: String,
    /// The thread or topic in it, as the platform names it.
    pub thread: Option<String>,
}

/// Who did something on a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// The platform's id of the user or bot.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// Whether it is a program.
    pub is_bot: bool,
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// By which the platform hands it out.
    pub id: String,
    /// Its name, made up where the platform has none.
    pub name: String,
    /// Its media type, where the platform says it.
    pub media_type: Option<String>,
    /// Its length in bytes, where the platform says it.
    pub size: Option<u64>,
    /// Where it can be fetched, if the message itself says it.
    pub url: Option<String>,
}

/// A message as a platform has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The platform's id of it, unique in its channel.
    pub id: String,
    /// Where it stands.
    pub place: Place,
    /// Who wrote it.
    pub author: Author,
    /// What it says.
    pub content: Vec<Node>,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// What came with it.
    pub files: Vec<File>,
}

/// What happened on a platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Inbound {
    /// Somebody said something.
    Posted(Message),
    /// A message says something else now.
    Edited(Message),
    /// A message was taken back.
    Deleted {
        /// Where it stood.
        place: Place,
        /// Which.
        message: String,
    },
    /// Somebody reacted.
    Reacted {
        /// Where the message stands.
        place: Place,
        /// Which.
        message: String,
        /// Who.
        author: Author,
        /// An emoji, or the name of one.
        emoji: String,
    },
    /// Somebody took a reaction back.
    Unreacted {
        /// Where the message stands.
        place: Place,
        /// Which.
        message: String,
        /// Who.
        author: Author,
        /// An emoji, or the name of one.
        emoji: String,
    },
    /// Somebody's reactions to a message are these now, and no others.
    Reactions {
        /// Where the message stands.
        place: Place,
        /// Which.
        message: String,
        /// Whose.
        author: Author,
        /// Emoji, or the platform's name of a custom one.
        emoji: Vec<String>,
    },
    /// A message is pinned.
    Pinned {
        /// Where the message stands.
        place: Place,
        /// Which.
        message: String,
        /// By whom.
        author: Author,
    },
    /// A message is not pinned any more.
    Unpinned {
        /// Where the message stands.
        place: Place,
        /// Which.
        message: String,
        /// By whom.
        author: Author,
    },
    /// Somebody came to the channel.
    Joined {
        /// Where.
        place: Place,
        /// Who.
        author: Author,
    },
    /// Somebody left the channel.
    Left {
        /// Where.
        place: Place,
        /// Who.
        author: Author,
    },
    /// The channel has another title.
    Titled {
        /// Which.
        place: Place,
        /// The title.
        title: String,
    },
    /// The channel has another id from now on.
    Moved {
        /// What it was.
        place: Place,
        /// The new id.
        to: String,
    },
    /// The channel is gone, or the bot is no longer in it.
    Gone {
        /// Which.
        place: Place,
    },
    /// Somebody is typing.
    Typing {
        /// Where.
        place: Place,
        /// Who.
        author: Author,
    },
    /// Somebody gave the bot a command, such as `link general`.
    Asked {
        /// Where.
        place: Place,
        /// Who.
        author: Author,
        /// The command without what makes it one on the platform.
        text: String,
        /// Whether the platform says that they may administer the channel.
        is_admin: bool,
    },
    /// Something that has no meaning for a room; says what it was.
    Unsupported(String),
    /// Something that could have one and is not as the platform's documents have it; says what.
    Unreadable(String),
}

/// What becomes of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It comes.
    Added,
    /// It goes.
    Removed,
}

/// Who a user of a platform is here, and the reverse: the identity table.
pub trait Names {
    /// The plain name here of a platform's user.
    fn here(&self, platform_user: &str) -> Option<String>;

    /// The platform's user that a plain name here stands for.
    fn there(&self, user: &str) -> Option<String>;

    /// How people see a user or channel of the platform that has no name here.
    fn shown(&self, _platform_id: &str) -> Option<String> {
        None
    }
}

/// Names, and what a payload says about how others are shown.
pub(crate) struct Known<'a> {
    pub(crate) names: &'a dyn Names,
    pub(crate) shown: HashMap<String, String>,
}

impl Names for Known<'_> {
    fn here(&self, platform_user: &str) -> Option<String> {
        self.names.here(platform_user)
    }

    fn there(&self, user: &str) -> Option<String> {
        self.names.there(user)
    }

    fn shown(&self, platform_id: &str) -> Option<String> {
        self.shown.get(platform_id).cloned().or_else(|| self.names.shown(platform_id))
    }
}

/// Nobody is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn here(&self, _: &str) -> Option<String> {
        None
    }

    fn there(&self, _: &str) -> Option<String> {
        None
    }
}

/// Puts the author's name in front, in the first line where that is running text: for platforms that
/// show every message under the bot's own name.
pub(crate) fn with_author(author: Option<&str>, content: &[Node]) -> Vec<Node> {
    let Some(author) = author else { return content.to_vec() };
    let name = Node::of(NodeType::Bold, vec![Node::text(format!("{author}:"))]);
    let mut content = content.to_vec();
    match content.first_mut() {
        Some(Node { kind: NodeType::Paragraph, children, .. }) => {
            children.splice(0..0, [name, Node::text(" ")]);
        }
        Some(_) | None => content.insert(0, Node::of(NodeType::Paragraph, vec![name])),
    }
    content
}

/// Reads Markdown of somebody elsewhere: an `@` in it is text, since names there are not names here.
pub(crate) fn foreign_markdown(text: &str) -> Vec<Node> {
    fn plain(node: Node) -> Node {
        let target = node.target.as_deref().unwrap_or_default();
        match node.kind {
            NodeType::Mention | NodeType::BroadcastMention => Node::text(format!("@{target}")),
            NodeType::ChannelMention => Node::text(format!("#{target}")),
            _kept => {
                let children = node.children.into_iter().map(plain).collect();
                Node { children, ..node }
            }
        }
    }
    from_markdown(text).into_iter().map(plain).collect()
}

/// A paragraph of these.
pub(crate) fn paragraph(children: Vec<Node>) -> Node {
    Node::of(NodeType::Paragraph, children)
}

/// What nodes say, without their marks.
pub(crate) fn words(nodes: &[Node]) -> String {
    let said = |node: &Node| {
        let own = node.text.as_deref().or(node.target.as_deref()).unwrap_or_default();
        format!("{own}{}", words(&node.children))
    };
    nodes.iter().map(said).collect()
}
