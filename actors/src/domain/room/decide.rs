//! From a command to changes or a "no": the entry, rights, and the room's own fields.

use schemas::{
    Code, Patch, Rejection,
    role::{Role, TenantRole},
    room::{RoomChange, RoomCommand, RoomFields},
};

use super::{
    messages::NewMessage,
    state::{Room, rank},
    text,
};
use crate::domain::{
    Context, Draft,
    access::{check_optional_text, check_text, conflict, forbidden},
};

/// Characters of a title.
pub(super) const TITLE_MOST: usize = 200;
/// Characters of a topic.
pub(super) const TOPIC_MOST: usize = 1_000;
/// The longest pause of slow mode, in seconds: six hours.
pub(super) const SLOW_MOST: i64 = 21_600;

/// What came of a command.
pub(super) type Decision = Result<Vec<Draft<RoomChange>>, Rejection>;

/// Accepted, and nothing changes.
pub(super) fn nothing() -> Decision {
    Ok(Vec::new())
}

/// Accepted with one change.
pub(super) fn one(change: RoomChange) -> Decision {
    Ok(vec![change.into()])
}

impl Room {
    /// Decides the create command; anything else is `not_found`, for there is no room yet.
    pub fn decide_create(
        command: &RoomCommand,
        _context: &Context<'_>,
    ) -> Result<Vec<Draft<RoomChange>>, Rejection> {
        let RoomCommand::CreateRoom { title, topic, access, tenant_role } = command else {
            return Err(Rejection::new(Code::NotFound, "there is no such room"));
        };
        check_text("title", title, TITLE_MOST)?;
        let topic = topic.clone().filter(|topic| !topic.is_empty());
        if let Some(topic) = &topic {
            check_optional_text("topic", topic, TOPIC_MOST)?;
        }
        let tenant_role = tenant_role.unwrap_or(TenantRole::None);
        check_tenant_role(tenant_role)?;
        one(RoomChange::RoomCreated {
            title: title.clone(),
            topic,
            access: access.unwrap_or_default(),
            tenant_role,
        })
    }

    /// Decides a command to a room that exists.
    pub fn decide(
        &self,
        command: &RoomCommand,
        context: &Context<'_>,
    ) -> Result<Vec<Draft<RoomChange>>, Rejection> {
        match command {
            RoomCommand::CreateRoom { .. } => Err(conflict("this room exists already")),
            RoomCommand::UpdateRoom { title, topic, access, tenant_role } => {
                let wished = RoomFields {
                    title: title.clone(),
                    topic: topic.clone(),
                    access: *access,
                    tenant_role: *tenant_role,
                };
                self.decide_update(wished, context)
            }
            RoomCommand::Post { text, content, message, reply_to, thread, attachments } => {
                let new = NewMessage {
                    text: text.as_deref(),
                    content: content.as_deref(),
                    message: message.as_ref(),
                    reply_to: reply_to.as_ref(),
                    thread: thread.as_ref(),
                    attachments: attachments.as_deref().unwrap_or_default(),
                    origin: None,
                };
                self.decide_post(&new, context)
            }
            RoomCommand::Relay { origin, content, message, reply_to, thread, attachments } => {
                let new = NewMessage {
                    text: None,
                    content: Some(content),
                    message: message.as_ref(),
                    reply_to: reply_to.as_ref(),
                    thread: thread.as_ref(),
                    attachments: attachments.as_deref().unwrap_or_default(),
                    origin: Some(origin),
                };
                self.decide_relay(&new, context)
            }
            RoomCommand::Edit { message, text, content } => {
                self.decide_edit(message, text.as_deref(), content.as_deref(), context)
            }
            RoomCommand::Delete { message } => self.decide_delete(message, context),
            RoomCommand::React { message, emoji } => self.decide_react(message, emoji, context),
            RoomCommand::Unreact { message, emoji } => self.decide_unreact(message, emoji, context),
            RoomCommand::Pin { message } => self.decide_pin(message, context),
            RoomCommand::Unpin { message } => self.decide_unpin(message, context),
            RoomCommand::MarkRead { message } => self.decide_mark_read(message, context),
            RoomCommand::Join {} => self.decide_join(context),
            RoomCommand::Leave {} => self.decide_leave(context),
            RoomCommand::SetMember { user, role } => self.decide_set_member(user, *role, context),
            RoomCommand::RemoveMember { user } => self.decide_remove_member(user, context),
            RoomCommand::Mute { user, until } => self.decide_mute(user, *until, context),
            RoomCommand::Unmute { user } => self.decide_unmute(user, context),
            RoomCommand::Ban { user } => self.decide_ban(user, context),
            RoomCommand::Unban { user } => self.decide_unban(user, context),
            RoomCommand::SetSlowMode { seconds } => self.decide_slow_mode(*seconds, context),
            RoomCommand::SetWordFilter { words } => self.decide_word_filter(words, context),
            RoomCommand::EndMutes {} => self.decide_end_mutes(context),
            RoomCommand::RelayReact { message, emoji, user } => {
                self.decide_relay_react(message, emoji, user, context)
            }
            RoomCommand::RelayUnreact { message, emoji, user } => {
                self.decide_relay_unreact(message, emoji, user, context)
            }
            RoomCommand::Link { platform, workspace, channel, direction } => {
                let place = (*platform, workspace.as_str(), channel.as_str());
                self.decide_link(place, direction.unwrap_or_default(), context)
            }
            RoomCommand::Unlink { link } => self.decide_unlink(link, context),
            RoomCommand::SetLinkHealth { link, health, reason } => {
                self.decide_link_health(link, *health, reason.as_ref(), context)
            }
        }
    }

    /// The actor's role, if it ranks at least as `least`; `forbidden` otherwise.
    pub(super) fn require(&self, least: Role, context: &Context<'_>) -> Result<Role, Rejection> {
        match self.role_of(context.actor) {
            Some(role) if rank(role) >= rank(least) => Ok(role),
            Some(_) | None => Err(forbidden(match least {
                Role::Owner => "owners",
                Role::Admin => "owners and admins",
                Role::Moderator => "owners, admins and moderators",
                Role::Editor | Role::Member => "members",
                Role::Guest => "members and guests",
                Role::Viewer | Role::ReadOnly => "who may see this room",
            })),
        }
    }

    fn decide_update(&self, wished: RoomFields, context: &Context<'_>) -> Decision {
        self.require(Role::Admin, context)?;
        let topic = match wished.topic {
            Patch::Set(topic) if topic.is_empty() => Patch::Clear,
            topic @ (Patch::Set(_) | Patch::Clear | Patch::Keep) => topic,
        };
        if let Some(title) = wished.title.as_set() {
            check_text("title", title, TITLE_MOST)?;
        }
        if let Some(topic) = topic.as_set() {
            check_optional_text("topic", topic, TOPIC_MOST)?;
        }
        if let Some(tenant_role) = wished.tenant_role.as_set() {
            check_tenant_role(*tenant_role)?;
        }
        check_not_cleared("title", &wished.title)?;
        check_not_cleared("access", &wished.access)?;
        check_not_cleared("tenantRole", &wished.tenant_role)?;
        let fields = RoomFields {
            title: different(wished.title, Some(&self.title)),
            topic: different(topic, self.topic.as_ref()),
            access: different(wished.access, Some(&self.joining)),
            tenant_role: different(wished.tenant_role, Some(&self.access.tenant_role)),
        };
        if fields == RoomFields::default() {
            return nothing();
        }
        one(RoomChange::RoomUpdated { fields })
    }

    fn decide_slow_mode(&self, seconds: i64, context: &Context<'_>) -> Decision {
        self.require(Role::Moderator, context)?;
        if !(0..=SLOW_MOST).contains(&seconds) {
            return Err(Rejection::field("seconds", format!("must be from 0 to {SLOW_MOST}")));
        }
        if seconds == self.slow.seconds() {
            return nothing();
        }
        one(RoomChange::SlowModeSet { seconds })
    }

    fn decide_word_filter(&self, words: &[String], context: &Context<'_>) -> Decision {
        self.require(Role::Moderator, context)?;
        let words = text::filter(words)?;
        if words == self.word_filter {
            return nothing();
        }
        one(RoomChange::WordFilterSet { words })
    }
}

fn check_tenant_role(role: TenantRole) -> Result<(), Rejection> {
    match role {
        TenantRole::None | TenantRole::Viewer | TenantRole::Member => Ok(()),
        TenantRole::Editor => {
            Err(Rejection::field("tenantRole", "must be none, viewer or member in a room"))
        }
    }
}

fn check_not_cleared<T>(field: &str, patch: &Patch<T>) -> Result<(), Rejection> {
    match patch {
        Patch::Clear => Err(Rejection::field(field, "must have a value")),
        Patch::Keep | Patch::Set(_) => Ok(()),
    }
}

/// The patch, or `Keep` if it would alter nothing.
fn different<T: PartialEq>(patch: Patch<T>, now: Option<&T>) -> Patch<T> {
    let same = match &patch {
        Patch::Keep => true,
        Patch::Clear => now.is_none(),
        Patch::Set(value) => now == Some(value),
    };
    if same { Patch::Keep } else { patch }
}
