//! Who may do what: the part that boards, events and rooms share.

use std::collections::BTreeMap;

use schemas::{
    Code, Principal, Rejection, UserName,
    role::{Role, TenantRole},
};
use serde::{Deserialize, Serialize};

/// Who asks, as far as rights go.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// Whether the principal's token carries the tenant role `admin`.
    pub is_admin: bool,
}

/// The rights of an entity: its members and what the rest of the tenant may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Who made the entity; it keeps an owner's rights even without being a user.
    pub created_by: Principal,
    /// Users with a role, by name.
    pub members: BTreeMap<UserName, Role>,
    /// What everybody else of the tenant may do.
    pub tenant_role: TenantRole,
}

impl Access {
    /// The rights at creation: the creator is owner.
    pub fn new(created_by: Principal, tenant_role: TenantRole) -> Self {
        let owner = created_by.user().map(|user| (user.clone(), Role::Owner));
        Self { members: owner.into_iter().collect(), created_by, tenant_role }
    }

    /// The role that `actor` acts in, if any. Partners and bridges are let in by their
    /// registration: they edit boards and events and write in rooms.
    pub fn role_of(&self, actor: Actor<'_>) -> Option<Role> {
        if actor.is_admin || *actor.principal == Principal::System {
            return Some(Role::Owner);
        }
        match actor.principal {
            Principal::User(user) => self.members.get(user).copied().or(self.role_of_tenant()),
            Principal::Partner(_) | Principal::Bridge(_) if *actor.principal == self.created_by => {
                Some(Role::Owner)
            }
            Principal::Partner(_) | Principal::Bridge(_) => Some(Role::Editor),
            Principal::System => Some(Role::Owner),
        }
    }

    fn role_of_tenant(&self) -> Option<Role> {
        match self.tenant_role {
            TenantRole::None => None,
            TenantRole::Viewer => Some(Role::Viewer),
            TenantRole::Editor => Some(Role::Editor),
            TenantRole::Member => Some(Role::Member),
        }
    }

    /// Whether one more owner than `user` is left, so that an entity never loses its last.
    pub fn has_owner_besides(&self, user: &UserName) -> bool {
        self.members.iter().any(|(name, role)| *role == Role::Owner && name != user)
    }
}

/// `forbidden`, with what would have been needed.
pub fn forbidden(needed: &str) -> Rejection {
    Rejection::new(Code::Forbidden, format!("only {needed} may do this"))
}

/// `not_found`, with what was looked for.
pub fn not_found(what: &str, id: impl std::fmt::Display) -> Rejection {
    Rejection::new(Code::NotFound, format!("there is no {what} {id}"))
}

/// `conflict`, with why.
pub fn conflict(reason: impl Into<String>) -> Rejection {
    Rejection::new(Code::Conflict, reason)
}

/// Checks a text against `1..=most` characters once trimmed; control characters but line breaks
/// and tabs are refused.
pub fn check_text(field: &str, text: &str, most: usize) -> Result<(), Rejection> {
    if text.trim().is_empty() {
        return Err(Rejection::field(field, "must not be empty"));
    }
    check_optional_text(field, text, most)
}

/// As [`check_text`], but the text may be empty.
pub fn check_optional_text(field: &str, text: &str, most: usize) -> Result<(), Rejection> {
    let length = text.chars().count();
    if length > most {
        return Err(Rejection::field(field, format!("has {length} characters, {most} at most")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Rejection::field(field, "must not hold control characters"));
    }
    Ok(())
}

/// Checks a list's length.
pub fn check_count(field: &str, count: usize, most: usize) -> Result<(), Rejection> {
    if count > most {
        return Err(Rejection::field(field, format!("has {count} entries, {most} at most")));
    }
    Ok(())
}
