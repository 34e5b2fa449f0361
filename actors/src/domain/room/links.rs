//! Channels of chat platforms that a room is bound to.

use schemas::{
    ItemId, Principal, Rejection,
    role::Role,
    room::{Direction, LinkHealth, Platform, RoomChange},
};
use serde::{Deserialize, Serialize};

use super::{
    decide::{Decision, nothing, one},
    state::Room,
};
use crate::domain::{
    Context,
    access::{check_count, check_optional_text, check_text, conflict, forbidden, not_found},
};

/// Links of a room.
const LINKS_MOST: usize = 50;
/// Characters of a platform's ids.
const ID_MOST: usize = 200;
/// Characters of the reason of a link's health.
const REASON_MOST: usize = 500;

/// A channel that the room is bound to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Its name in this room.
    pub id: ItemId,
    /// The platform.
    pub platform: Platform,
    /// A Slack team, a Discord guild, a Teams tenant; empty on Telegram.
    pub workspace: String,
    /// The channel's id there.
    pub channel: String,
    /// Which way messages go.
    pub direction: Direction,
    /// How it is doing.
    pub health: LinkHealth,
    /// What the platform said.
    pub reason: Option<String>,
}

impl Room {
    /// The channels that the room is bound to, in the order of binding.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    pub(super) fn decide_link(
        &self,
        (platform, workspace, channel): (Platform, &str, &str),
        direction: Direction,
        context: &Context<'_>,
    ) -> Decision {
        self.require_linker(platform, context)?;
        check_optional_text("workspace", workspace, ID_MOST)?;
        check_text("channel", channel, ID_MOST)?;
        for (field, id) in [("workspace", workspace), ("channel", channel)] {
            // No platform's ids hold these; bars part the names of what bridges keep.
            if id.contains(|c: char| c == '|' || c.is_whitespace() || c.is_control()) {
                return Err(Rejection::field(field, "must not hold white space or bars"));
            }
        }
        let is_same = |link: &&Link| {
            (link.platform, &*link.workspace, &*link.channel) == (platform, workspace, channel)
        };
        if let Some(link) = self.links.iter().find(is_same) {
            return Err(conflict(format!("link {} is to this channel already", link.id)));
        }
        check_count("links", self.links.len() + 1, LINKS_MOST)?;
        one(RoomChange::LinkAdded {
            link: ItemId::derived(context.command_id),
            platform,
            workspace: workspace.to_owned(),
            channel: channel.to_owned(),
            direction,
        })
    }

    pub(super) fn decide_unlink(&self, link: &ItemId, context: &Context<'_>) -> Decision {
        match self.link(link) {
            Ok(known) => self.require_linker(known.platform, context)?,
            Err(missing) => {
                self.require(Role::Admin, context)?;
                return Err(missing);
            }
        }
        one(RoomChange::LinkRemoved { link: link.clone() })
    }

    pub(super) fn decide_link_health(
        &self,
        link: &ItemId,
        health: LinkHealth,
        reason: Option<&String>,
        context: &Context<'_>,
    ) -> Decision {
        require_bridge(context)?;
        let known = self.link(link)?;
        if let Some(reason) = reason {
            check_optional_text("reason", reason, REASON_MOST)?;
        }
        if known.health == health && known.reason.as_ref() == reason {
            return nothing();
        }
        one(RoomChange::LinkHealthChanged { link: link.clone(), health, reason: reason.cloned() })
    }

    /// Admins link, and a platform's own bridge links channels of that platform: whoever asked it to
    /// there may, by its word.
    fn require_linker(&self, platform: Platform, context: &Context<'_>) -> Result<(), Rejection> {
        if is_bridge_of(platform, context.actor.principal) {
            return Ok(());
        }
        self.require(Role::Admin, context).map(drop)
    }

    fn link(&self, id: &ItemId) -> Result<&Link, Rejection> {
        self.links.iter().find(|link| link.id == *id).ok_or_else(|| not_found("link", id))
    }
}

fn is_bridge_of(platform: Platform, principal: &Principal) -> bool {
    match principal {
        Principal::Bridge(name) => name.as_str() == platform.as_str(),
        Principal::User(_) | Principal::Partner(_) | Principal::System => false,
    }
}

/// What only bridges may say, since their word on it is taken.
pub(super) fn require_bridge(context: &Context<'_>) -> Result<(), Rejection> {
    match context.actor.principal {
        Principal::Bridge(_) => Ok(()),
        Principal::User(_) | Principal::Partner(_) | Principal::System => {
            Err(forbidden("a bridge"))
        }
    }
}
