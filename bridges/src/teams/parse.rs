//! An activity as what happened
//! (learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/subscribe-to-conversation-events).

use schemas::content::{Node, NodeType};
use serde::Deserialize;
use serde_json::Value;

use super::{
    adaptive::{of_adaptive, of_connector, of_simple},
    html::{self, Lines},
};
use crate::{
    Author, Inbound, Names, Place,
    card::picture,
    message::{File, Message, foreign_markdown},
};

/// What an activity says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// By which it is known when it comes again.
    pub id: Option<String>,
    /// Where answers go.
    pub service_url: Option<String>,
    /// What happened.
    pub inbound: Vec<Inbound>,
}

/// The bytes are no activity.
#[derive(Debug, thiserror::Error)]
#[error("this is no activity: {0}")]
pub struct ParseError(#[from] serde_json::Error);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Activity {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    id: Option<String>,
    timestamp: Option<String>,
    service_url: Option<String>,
    from: Option<Account>,
    recipient: Option<Account>,
    conversation: Option<Conversation>,
    text: Option<String>,
    text_format: Option<String>,
    attachments: Option<Vec<Attachment>>,
    entities: Option<Vec<Value>>,
    reply_to_id: Option<String>,
    reactions_added: Option<Vec<Reaction>>,
    reactions_removed: Option<Vec<Reaction>>,
    members_added: Option<Vec<Account>>,
    members_removed: Option<Vec<Account>>,
    topic_name: Option<String>,
    action: Option<String>,
    channel_data: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Account {
    id: Option<String>,
    name: Option<String>,
    role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conversation {
    id: Option<String>,
    tenant_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Attachment {
    content_type: Option<String>,
    content_url: Option<String>,
    content: Value,
    name: Option<String>,
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Reaction {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads an activity.
///
/// # Errors
/// If it is no JSON object. What means nothing for a room is [`Inbound::Unsupported`].
pub fn parse(activity: &[u8], names: &dyn Names) -> Result<Parsed, ParseError> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(activity)?;
    let value = Value::Object(object);
    // A card by itself is what a message with nothing else says.
    if value["type"] == "AdaptiveCard" {
        let card = serde_json::json!({"contentType": ADAPTIVE, "content": value});
        let alone = serde_json::json!({"type": "message", "attachments": [card]});
        return Ok(of_activity(Activity::deserialize(alone)?, names));
    }
    // What is to be sent as a message may leave out that it is one.
    let says_something = value["text"].is_string() || value["attachments"].is_array();
    let untyped = if says_something { "message" } else { "without a type" };
    let kind = value["type"].as_str().unwrap_or(untyped).to_owned();
    let typed = Activity::deserialize(value)
        .map(|activity| Activity { kind: Some(kind.clone()), ..activity });
    match typed {
        Ok(activity) => Ok(of_activity(activity, names)),
        Err(error) => {
            let what = format!("activity {kind} that cannot be read: {error}");
            Ok(Parsed { id: None, service_url: None, inbound: vec![Inbound::Unreadable(what)] })
        }
    }
}

const ADAPTIVE: &str = "application/vnd.microsoft.card.adaptive";

fn of_activity(activity: Activity, names: &dyn Names) -> Parsed {
    let kind = activity.kind.clone().unwrap_or_else(|| "without a type".to_owned());
    let detail = activity.name.clone().or_else(|| activity.event_type().map(str::to_owned));
    let id = activity.id.as_ref().map(|id| {
        let time = activity.timestamp.as_deref().unwrap_or_default();
        format!("{kind} {id} {time}")
    });
    let service_url = activity.service_url.clone();
    let mut inbound = of_kind(&kind, activity, names).unwrap_or_default();
    if inbound.is_empty() {
        let detail = detail.map(|detail| format!(" {detail}")).unwrap_or_default();
        inbound.push(Inbound::Unsupported(format!("activity {kind}{detail}")));
    }
    Parsed { id, service_url, inbound }
}

fn of_kind(kind: &str, activity: Activity, names: &dyn Names) -> Option<Vec<Inbound>> {
    let place = activity.place();
    let author = activity.from.as_ref().map(Account::author).unwrap_or_else(nobody);
    Some(match kind {
        "message" => {
            let message = activity.said(names);
            if message.content.is_empty() && message.files.is_empty() {
                return None;
            }
            vec![Inbound::Posted(message)]
        }
        "messageUpdate" => vec![Inbound::Edited(activity.said(names))],
        "messageDelete" => vec![Inbound::Deleted { place, message: activity.id? }],
        "messageReaction" => {
            let message = activity.reply_to_id?;
            let of = |reactions: Option<Vec<Reaction>>| {
                reactions.into_iter().flatten().map(|reaction| emoji_of(&reaction.kind))
            };
            let (place, author) = (&place, &author);
            let added = of(activity.reactions_added).map(|emoji| Inbound::Reacted {
                place: place.clone(),
                message: message.clone(),
                author: author.clone(),
                emoji,
            });
            let removed = of(activity.reactions_removed).map(|emoji| Inbound::Unreacted {
                place: place.clone(),
                message: message.clone(),
                author: author.clone(),
                emoji,
            });
            added.chain(removed).collect()
        }
        "conversationUpdate" => of_update(activity, place),
        "installationUpdate" if activity.action.as_deref().is_some_and(is_removal) => {
            vec![Inbound::Gone { place }]
        }
        "typing" => vec![Inbound::Typing { place, author }],
        _other => return None,
    })
}

fn is_removal(action: &str) -> bool {
    action.starts_with("remove")
}

fn of_update(activity: Activity, place: Place) -> Vec<Inbound> {
    let mut inbound = Vec::new();
    let bot = activity.recipient.as_ref().and_then(|bot| bot.id.clone());
    match activity.event_type() {
        Some("channelRenamed") => {
            let channel = activity.channel_data.as_ref().map(|data| &data["channel"]);
            let title = channel.and_then(|channel| channel["name"].as_str());
            let id = channel.and_then(|channel| channel["id"].as_str());
            if let Some(title) = title {
                let channel = id.unwrap_or(&place.channel).to_owned();
                let place = Place { channel, ..place.clone() };
                inbound.push(Inbound::Titled { place, title: title.to_owned() });
            }
        }
        Some("channelDeleted" | "teamDeleted" | "teamHardDeleted") => {
            inbound.push(Inbound::Gone { place: place.clone() });
        }
        Some(_) | None => {
            if let Some(title) = activity.topic_name.filter(|title| !title.is_empty()) {
                inbound.push(Inbound::Titled { place: place.clone(), title });
            }
        }
    }
    for member in activity.members_added.into_iter().flatten() {
        inbound.push(Inbound::Joined { place: place.clone(), author: member.author() });
    }
    for member in activity.members_removed.into_iter().flatten() {
        inbound.push(match member.id == bot {
            true => Inbound::Gone { place: place.clone() },
            false => Inbound::Left { place: place.clone(), author: member.author() },
        });
    }
    inbound
}

fn nobody() -> Author {
    Author { id: String::new(), name: String::new(), is_bot: false }
}

impl Account {
    fn author(&self) -> Author {
        let id = self.id.clone().unwrap_or_default();
        let name = self.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone());
        // "28:" is before the id of bots, "29:" before that of people.
        let is_bot = self.role.as_deref() == Some("bot") || id.starts_with("28:");
        Author { id, name, is_bot }
    }
}

impl Activity {
    fn event_type(&self) -> Option<&str> {
        self.channel_data.as_ref()?["eventType"].as_str()
    }

    fn place(&self) -> Place {
        let conversation = self.conversation.as_ref();
        let id =
            conversation.and_then(|conversation| conversation.id.as_deref()).unwrap_or_default();
        let (channel, root) = match id.split_once(";messageid=") {
            Some((channel, root)) => (channel, Some(root)),
            None => (id, None),
        };
        let data = self.channel_data.as_ref();
        let tenant = data.and_then(|data| data["tenant"]["id"].as_str());
        let tenant =
            tenant.or(conversation.and_then(|conversation| conversation.tenant_id.as_deref()));
        Place {
            workspace: tenant.unwrap_or_default().to_owned(),
            channel: channel.to_owned(),
            // The message that opens a thread names itself.
            thread: root.filter(|root| Some(*root) != self.id.as_deref()).map(str::to_owned),
        }
    }

    /// Whom a name in the text means; the bot itself is left out.
    fn mentioned(&self, name: &str, names: &dyn Names) -> Option<Node> {
        let bot = self.recipient.as_ref().and_then(|bot| bot.id.as_deref());
        let found = self.entities.iter().flatten().find(|entity| {
            let text = entity["text"].as_str().unwrap_or_default();
            let inside = text.trim_start_matches("<at>").trim_end_matches("</at>");
            entity["type"] == "mention" && (inside == name || entity["mentioned"]["name"] == name)
        });
        let id = found.and_then(|entity| entity["mentioned"]["id"].as_str());
        if id.is_some() && id == bot {
            return None;
        }
        Some(match id.and_then(|id| names.here(id)) {
            Some(user) => Node::target(NodeType::Mention, user),
            None => Node::text(format!("@{name}")),
        })
    }

    fn content(&self, names: &dyn Names) -> Vec<Node> {
        let mentioned = |name: &str| self.mentioned(name, names);
        let attachments = self.attachments.as_deref().unwrap_or_default();
        let html = attachments
            .iter()
            .find(|attachment| attachment.content_type.as_deref() == Some("text/html"));
        if let Some(html) = html.and_then(|attachment| attachment.content.as_str()) {
            return html::read(html, Lines::Folded, &mentioned);
        }
        let text = self.text.as_deref().unwrap_or_default();
        match self.text_format.as_deref() {
            Some("markdown") if !text.contains("<at>") => foreign_markdown(text),
            Some("xml") => html::read(text, Lines::Folded, &mentioned),
            Some(_) | None => html::read(text, Lines::Kept, &mentioned),
        }
    }

    fn said(self, names: &dyn Names) -> Message {
        let mut content = self.content(names);
        let (place, author) =
            (self.place(), self.from.as_ref().map_or_else(nobody, Account::author));
        let mut files = Vec::new();
        let mut reply_to = self.reply_to_id;
        for attachment in self.attachments.into_iter().flatten() {
            attachment.read(&mut content, &mut files, &mut reply_to);
        }
        Message { id: self.id.unwrap_or_default(), place, author, content, reply_to, files }
    }
}

impl Attachment {
    fn read(self, content: &mut Vec<Node>, files: &mut Vec<File>, reply_to: &mut Option<String>) {
        let kind = self.content_type.unwrap_or_default();
        let begins = ["image/", "video/", "audio/"].iter().any(|media| kind.starts_with(media));
        match kind.as_str() {
            "text/html" => {}
            ADAPTIVE => content.push(of_adaptive(&self.content)),
            "application/vnd.microsoft.card.hero"
            | "application/vnd.microsoft.card.thumbnail"
            | "application/vnd.microsoft.card.receipt"
            | "application/vnd.microsoft.card.signin"
            | "application/vnd.microsoft.card.oauth"
            | "application/vnd.microsoft.card.animation"
            | "application/vnd.microsoft.card.audio"
            | "application/vnd.microsoft.card.video" => content.push(of_simple(&self.content)),
            "application/vnd.microsoft.teams.card.o365connector" => {
                content.push(of_connector(&self.content));
            }
            "messageReference" | "forwardedMessageReference" => {
                let id = self.content["messageId"].as_str().map(str::to_owned).or(self.id);
                *reply_to = id.or_else(|| reply_to.take());
            }
            "application/vnd.microsoft.teams.file.download.info" => {
                let url = self.content["downloadUrl"].as_str().map(str::to_owned);
                let id = self.content["uniqueId"].as_str().map(str::to_owned);
                files.push(file(id, self.name, None, url.or(self.content_url)));
            }
            _media if begins => files.push(file(self.id, self.name, Some(kind), self.content_url)),
            other => {
                let name = self.name.as_deref().unwrap_or_default();
                match &self.content_url {
                    Some(url) => content.push(picture(url, name)),
                    None => {
                        let text = Some(format!("[attachment {other}]"));
                        let node = Node { text, ..Node::empty(NodeType::Unsupported) };
                        content.push(Node::of(NodeType::Paragraph, vec![node]));
                    }
                }
            }
        }
    }
}

fn file(
    id: Option<String>,
    name: Option<String>,
    media_type: Option<String>,
    url: Option<String>,
) -> File {
    let name = name.filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "file".to_owned());
    File { id: id.or_else(|| url.clone()).unwrap_or_default(), name, media_type, size: None, url }
}

/// The names of reactions (learn.microsoft.com/graph/api/resources/chatmessagereaction) as characters;
/// newer clients send the character itself.
fn emoji_of(kind: &str) -> String {
    match kind {
        "like" => "👍",
        "heart" => "❤️",
        "laugh" => "😆",
        "surprised" => "😮",
        "sad" => "🙁",
        "angry" => "😡",
        "plusOne" => "👍",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use schemas::content::to_markdown;
    use serde_json::json;

    use super::*;
    use crate::testing::Ada;

    fn read(activity: Value) -> Vec<Inbound> {
        parse(activity.to_string().as_bytes(), &Ada("29:1")).unwrap().inbound
    }

    fn channel(id: &str) -> Value {
        json!({"id": id, "tenantId": "T", "conversationType": "channel"})
    }

    #[test]
    fn a_message_in_a_thread_with_mentions_and_a_file() {
        let inbound = read(json!({
            "type": "message", "id": "2", "timestamp": "t", "text": "<at>Bot</at> hi <at>Ada</at> &amp; <at>Eve</at>\n",
            "from": {"id": "29:2", "name": "Eve"}, "recipient": {"id": "28:b"},
            "conversation": channel("19:c@thread.tacv2;messageid=1"),
            "entities": [
                {"type": "mention", "mentioned": {"id": "28:b", "name": "Bot"}, "text": "<at>Bot</at>"},
                {"type": "mention", "mentioned": {"id": "29:1", "name": "Ada"}, "text": "<at>Ada</at>"}],
            "attachments": [{"contentType": "application/vnd.microsoft.teams.file.download.info",
                "name": "a.txt", "content": {"downloadUrl": "https://e.org/a", "uniqueId": "u"}}],
        }));
        let [Inbound::Posted(message)] = &inbound[..] else { panic!("{inbound:?}") };
        assert_eq!(to_markdown(&message.content).trim(), "hi @ada \\& \\@Eve");
        assert_eq!(message.place.channel, "19:c@thread.tacv2");
        assert_eq!(message.place.thread.as_deref(), Some("1"));
        assert_eq!((message.files[0].name.as_str(), message.files[0].id.as_str()), ("a.txt", "u"));
    }

    #[test]
    fn edits_deletions_reactions_and_members() {
        let base = |kind: &str| {
            json!({"type": kind, "id": "1", "conversation": channel("19:c"),
            "from": {"id": "29:2", "name": "Eve"}})
        };
        let with = |kind: &str, key: &str, value: Value| {
            let mut activity = base(kind);
            activity[key] = value;
            read(activity)
        };
        assert!(
            matches!(&with("messageUpdate", "text", json!("new"))[..], [Inbound::Edited(m)] if m.id == "1")
        );
        assert!(
            matches!(&read(base("messageDelete"))[..], [Inbound::Deleted { message, .. }] if message == "1")
        );
        let mut reaction = base("messageReaction");
        reaction["replyToId"] = json!("7");
        reaction["reactionsAdded"] = json!([{"type": "like"}, {"type": "🎉"}]);
        let reacted = read(reaction);
        assert!(
            matches!(&reacted[0], Inbound::Reacted { message, emoji, .. } if message == "7" && emoji == "👍")
        );
        assert_eq!(reacted.len(), 2);
        let members = json!([{"id": "29:3", "name": "Bob"}]);
        assert!(matches!(&with("conversationUpdate", "membersAdded", members)[..],
            [Inbound::Joined { author, .. }] if author.name == "Bob"));
        assert_eq!(
            with("invoke", "name", json!("x/y")),
            [Inbound::Unsupported("activity invoke x/y".into())]
        );
        assert!(parse(b"[1]", &Ada("")).is_err());
    }
}
