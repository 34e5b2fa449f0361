//! Decisions about messages: posting, editing, deleting, reactions, pins, read positions.

use schemas::{
    Code, ItemId, Rejection, UserName,
    board::Attachment,
    content::Node,
    role::Role,
    room::{Origin, RoomChange},
};

use super::{
    decide::{Decision, nothing, one},
    links::require_bridge,
    state::{Room, rank},
    text::{self, FilesOf, Words},
    timeline::Known,
};
use crate::domain::{
    Context,
    access::{check_text, conflict, forbidden, not_found},
};

/// Different emoji of a message.
pub(super) const EMOJI_MOST: usize = 50;
/// Characters of an emoji.
const EMOJI_LENGTH_MOST: usize = 64;
/// Characters of how a platform's user is shown.
const USER_MOST: usize = 200;
/// Users who reacted with the same emoji.
const REACTORS_MOST: usize = 1_000;
/// Pins of a room.
pub(super) const PINS_MOST: usize = 100;
/// Read positions of a room; members have theirs in any case.
const READINGS_MOST: usize = 20_000;

/// The fields of `post`.
#[derive(Clone, Copy)]
pub(super) struct NewMessage<'a> {
    pub(super) text: Option<&'a str>,
    pub(super) content: Option<&'a [Node]>,
    pub(super) message: Option<&'a ItemId>,
    pub(super) reply_to: Option<&'a ItemId>,
    pub(super) thread: Option<&'a ItemId>,
    pub(super) attachments: &'a [Attachment],
    pub(super) origin: Option<&'a Origin>,
}

impl Room {
    pub(super) fn decide_post(&self, new: &NewMessage<'_>, context: &Context<'_>) -> Decision {
        let role = self.require_voice(context)?;
        let files_of = if new.origin.is_some() { FilesOf::Bridge } else { FilesOf::User };
        let attachments = text::attachments(new.attachments, files_of, context.command_id)?;
        let only_files = new.text.is_none() && new.content.is_none() && !attachments.is_empty();
        let words = if only_files {
            Words { text: String::new(), content: Vec::new() }
        } else {
            text::words(new.text, new.content)?
        };
        self.check_words(&words, role)?;
        self.check_places(new)?;
        let derived = || ItemId::derived(context.command_id);
        let message = new.message.cloned().unwrap_or_else(derived);
        if self.timeline.number(&message).is_some() {
            return Err(conflict(format!("there is a message {message} already")));
        }
        self.check_pace(role, context)?;
        one(RoomChange::MessagePosted {
            message,
            author: context.actor.principal.to_string(),
            text: words.text,
            content: words.content,
            reply_to: new.reply_to.cloned(),
            thread: new.thread.cloned(),
            attachments,
            origin: new.origin.cloned(),
        })
    }

    /// What came from a platform is said by its bridge, whose word on where it came from is taken.
    pub(super) fn decide_relay<'a>(&self, new: &NewMessage<'a>, context: &Context<'_>) -> Decision {
        require_bridge(context)?;
        // People there answer what this room has forgotten or never had: they are heard all the same.
        let known = |id: Option<&'a ItemId>| id.filter(|id| self.timeline.get(id).is_some());
        let root =
            |id: &'a ItemId| self.timeline.get(id).and_then(|opened| opened.thread().cloned());
        let thread = known(new.thread).map(|id| root(id).unwrap_or_else(|| id.clone()));
        let (reply_to, thread) = (known(new.reply_to), thread.as_ref());
        self.decide_post(&NewMessage { reply_to, thread, ..*new }, context)
    }

    /// A bridge reacts for somebody on its platform.
    pub(super) fn decide_relay_react(
        &self,
        message: &ItemId,
        emoji: &str,
        user: &str,
        context: &Context<'_>,
    ) -> Decision {
        require_bridge(context)?;
        check_text("user", user, USER_MOST)?;
        self.decide_reaction(message, emoji, user.to_owned(), context)
    }

    /// A bridge takes back the reaction of somebody on its platform.
    pub(super) fn decide_relay_unreact(
        &self,
        message: &ItemId,
        emoji: &str,
        user: &str,
        context: &Context<'_>,
    ) -> Decision {
        require_bridge(context)?;
        self.decide_no_reaction(message, emoji, user.to_owned(), context)
    }

    /// Only the author may edit, whatever others may do.
    pub(super) fn decide_edit(
        &self,
        message: &ItemId,
        text: Option<&str>,
        content: Option<&[Node]>,
        context: &Context<'_>,
    ) -> Decision {
        let role = self.require_voice(context)?;
        let known = self.known(message)?;
        if known.author() != context.actor.principal.to_string() {
            return Err(forbidden("the author"));
        }
        check_not_deleted(message, known)?;
        let words = text::words(text, content)?;
        self.check_words(&words, role)?;
        if let Known::Whole(whole) = known
            && let Some(said) = &whole.said
            && said.text == words.text
            && said.content == words.content
        {
            return nothing();
        }
        one(RoomChange::MessageEdited {
            message: message.clone(),
            text: words.text,
            content: words.content,
        })
    }

    pub(super) fn decide_delete(&self, message: &ItemId, context: &Context<'_>) -> Decision {
        let role = self.require(Role::Guest, context)?;
        let known = self.known(message)?;
        let own = known.author() == context.actor.principal.to_string();
        if !own && rank(role) < rank(Role::Moderator) {
            return Err(forbidden("the author and moderators"));
        }
        if known.is_deleted() {
            return nothing();
        }
        let mut changes = Vec::new();
        if self.pins.contains(message) {
            changes.push(RoomChange::MessageUnpinned { message: message.clone() }.into());
        }
        changes.push(RoomChange::MessageDeleted { message: message.clone() }.into());
        Ok(changes)
    }

    pub(super) fn decide_react(
        &self,
        message: &ItemId,
        emoji: &str,
        context: &Context<'_>,
    ) -> Decision {
        self.decide_reaction(message, emoji, reactor(context), context)
    }

    /// Of a message that is not kept whole the reactions are not known: a repeat is a change.
    fn decide_reaction(
        &self,
        message: &ItemId,
        emoji: &str,
        user: String,
        context: &Context<'_>,
    ) -> Decision {
        self.require_voice(context)?;
        check_emoji(emoji)?;
        let known = self.known(message)?;
        check_not_deleted(message, known)?;
        if let Known::Whole(whole) = known {
            match whole.reactions.get(emoji) {
                Some(users) if users.contains(&user) => return nothing(),
                Some(users) if users.len() >= REACTORS_MOST => {
                    let reason = format!("{REACTORS_MOST} have reacted so already");
                    return Err(conflict(reason));
                }
                None if whole.reactions.len() >= EMOJI_MOST => {
                    let reason = format!("a message has at most {EMOJI_MOST} different emoji");
                    return Err(conflict(reason));
                }
                Some(_) | None => {}
            }
        }
        let (message, emoji) = (message.clone(), emoji.to_owned());
        one(RoomChange::ReactionAdded { message, emoji, user })
    }

    pub(super) fn decide_unreact(
        &self,
        message: &ItemId,
        emoji: &str,
        context: &Context<'_>,
    ) -> Decision {
        self.decide_no_reaction(message, emoji, reactor(context), context)
    }

    fn decide_no_reaction(
        &self,
        message: &ItemId,
        emoji: &str,
        user: String,
        context: &Context<'_>,
    ) -> Decision {
        self.require_voice(context)?;
        check_emoji(emoji)?;
        let known = self.known(message)?;
        let gone = match known {
            Known::Whole(whole) => {
                whole.reactions.get(emoji).is_none_or(|users| !users.contains(&user))
            }
            Known::Older(older) => older.deleted,
        };
        if gone {
            return nothing();
        }
        let (message, emoji) = (message.clone(), emoji.to_owned());
        one(RoomChange::ReactionRemoved { message, emoji, user })
    }

    pub(super) fn decide_pin(&self, message: &ItemId, context: &Context<'_>) -> Decision {
        self.require(Role::Member, context)?;
        if self.pins.contains(message) {
            return nothing();
        }
        check_not_deleted(message, self.known(message)?)?;
        if self.pins.len() >= PINS_MOST {
            return Err(conflict(format!("a room has at most {PINS_MOST} pins")));
        }
        one(RoomChange::MessagePinned { message: message.clone() })
    }

    pub(super) fn decide_unpin(&self, message: &ItemId, context: &Context<'_>) -> Decision {
        self.require(Role::Member, context)?;
        if self.pins.contains(message) {
            return one(RoomChange::MessageUnpinned { message: message.clone() });
        }
        self.known(message)?;
        nothing()
    }

    pub(super) fn decide_mark_read(&self, message: &ItemId, context: &Context<'_>) -> Decision {
        self.require(Role::ReadOnly, context)?;
        let user = require_user(context)?;
        let number = self.timeline.number(message);
        let number = number.ok_or_else(|| not_found("message", message))?;
        // An admin of the tenant may look all the same, but the room keeps nothing of who is banned.
        if self.banned.contains(user) {
            return nothing();
        }
        let reading = self.readings.get(user);
        if reading.is_none() && self.readings.len() >= READINGS_MOST {
            return Err(conflict(format!("a room keeps {READINGS_MOST} read positions")));
        }
        let marked = reading.and_then(|reading| reading.marked.as_ref());
        if marked.is_some_and(|marked| marked.number >= number) {
            return nothing();
        }
        one(RoomChange::ReadMoved { user: user.clone(), message: message.clone() })
    }

    fn known(&self, message: &ItemId) -> Result<Known<'_>, Rejection> {
        self.timeline.get(message).ok_or_else(|| not_found("message", message))
    }

    /// The actor's role, if it may write and is not muted.
    fn require_voice(&self, context: &Context<'_>) -> Result<Role, Rejection> {
        let role = self.require(Role::Guest, context)?;
        let user = context.actor.principal.user().filter(|_| !context.actor.is_admin);
        let reason = match user.and_then(|user| self.muted.get(user)) {
            None => return Ok(role),
            Some(Some(until)) if *until <= context.at => return Ok(role),
            Some(Some(until)) => format!("muted until {until}"),
            Some(None) => "muted".to_owned(),
        };
        Err(Rejection::new(Code::Forbidden, reason))
    }

    fn check_words(&self, words: &Words, role: Role) -> Result<(), Rejection> {
        if rank(role) < rank(Role::Member) && text::has_broadcast(&words.content) {
            let reason = "guests may not mention everybody";
            return Err(Rejection::new(Code::Forbidden, reason));
        }
        if text::filtered(&self.word_filter, &words.content) {
            return Err(Rejection::field("text", "has a word that this room does not allow"));
        }
        Ok(())
    }

    /// Checks what a message answers to and the thread that it stands in.
    fn check_places(&self, new: &NewMessage<'_>) -> Result<(), Rejection> {
        if new.reply_to.is_some_and(|id| self.timeline.get(id).is_none()) {
            return Err(Rejection::field("replyTo", "is no message of this room"));
        }
        let Some(thread) = new.thread else { return Ok(()) };
        let Some(root) = self.timeline.get(thread) else {
            return Err(Rejection::field("thread", "is no message of this room"));
        };
        match root.thread() {
            None => Ok(()),
            Some(id) => Err(Rejection::field("thread", format!("is itself in the thread {id}"))),
        }
    }

    /// Slow mode, for users below moderators.
    fn check_pace(&self, role: Role, context: &Context<'_>) -> Result<(), Rejection> {
        let Some(user) = context.actor.principal.user() else { return Ok(()) };
        if rank(role) >= rank(Role::Moderator) {
            return Ok(());
        }
        match self.slow.wait(user, context.at) {
            None => Ok(()),
            Some(seconds) => {
                let reason = format!("slow mode: wait {seconds} more seconds");
                Err(Rejection::new(Code::RateLimited, reason))
            }
        }
    }
}

/// The user who asks; partners, bridges and the system have no place among members.
pub(super) fn require_user<'a>(context: &Context<'a>) -> Result<&'a UserName, Rejection> {
    context.actor.principal.user().ok_or_else(|| forbidden("users"))
}

/// How the actor appears in reactions: the plain name of users, the full principal of others.
fn reactor(context: &Context<'_>) -> String {
    let principal = context.actor.principal;
    principal.user().map_or_else(|| principal.to_string(), UserName::to_string)
}

fn check_emoji(emoji: &str) -> Result<(), Rejection> {
    let fits = (1..=EMOJI_LENGTH_MOST).contains(&emoji.chars().count());
    if fits && !emoji.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(());
    }
    let rule = format!("must be 1 to {EMOJI_LENGTH_MOST} characters without whitespace");
    Err(Rejection::field("emoji", rule))
}

fn check_not_deleted(message: &ItemId, known: Known<'_>) -> Result<(), Rejection> {
    if known.is_deleted() {
        return Err(conflict(format!("message {message} is deleted")));
    }
    Ok(())
}
