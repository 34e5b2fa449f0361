//! Tokens that are no longer taken: those that a user was given up to a moment. Kept in the shared store,
//! which every node looks at every two seconds.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actors::ports::{Mappings, StoreError};
use bytes::Bytes;
use schemas::{TenantId, Timestamp, UserName};

use super::Identity;

/// The store is looked at so often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How the names begin under which they are kept: `revoked|tenant|user`.
const PREFIX: &str = "revoked|";

/// Until when tokens were given that are no longer taken.
type Until = HashMap<(TenantId, UserName), Timestamp>;

/// What is revoked. Without a store nothing is.
#[derive(Clone, Default)]
pub struct Revocations {
    mappings: Option<Arc<dyn Mappings>>,
    until: Arc<RwLock<Until>>,
}

impl Revocations {
    /// Nothing yet, until [`Revocations::refresh`].
    pub(crate) fn new(mappings: Option<Arc<dyn Mappings>>) -> Self {
        Self { mappings, until: Arc::default() }
    }

    /// Whether the token of `identity` is revoked. One that does not say when it was issued is revoked with
    /// all others of its user.
    pub(crate) fn has_revoked(&self, identity: &Identity) -> bool {
        let Some(user) = identity.principal.user() else { return false };
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        if until.is_empty() {
            return false;
        }
        let until = until.get(&(identity.tenant.clone(), user.clone()));
        until.is_some_and(|until| identity.issued.is_none_or(|issued| issued <= *until))
    }

    /// What is revoked in a tenant, by user.
    pub(crate) fn list(&self, tenant: &TenantId) -> Vec<(UserName, Timestamp)> {
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = until.iter().filter(|((of, _), _)| of == tenant);
        let mut listed: Vec<_> =
            of_tenant.map(|((_, user), until)| (user.clone(), *until)).collect();
        listed.sort();
        listed
    }

    /// Revokes what a user was given until a moment, or nothing of it any more.
    ///
    /// # Errors
    /// If the store cannot keep it; nothing has changed then.
    pub(crate) async fn set(
        &self,
        tenant: &TenantId,
        user: &UserName,
        until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Some(mappings) = &self.mappings else { return Ok(()) };
        let value = until.map(|until| Bytes::from(until.as_millis().to_string()));
        mappings.write(vec![(format!("{PREFIX}{tenant}|{user}"), value)], None).await?;
        let mut table = self.until.write().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), user.clone());
        match until {
            Some(until) => table.insert(key, until),
            None => table.remove(&key),
        };
        Ok(())
    }

    /// Looks at the store; says whether something is different.
    ///
    /// # Errors
    /// If it cannot be read; what was known stays.
    pub(crate) async fn refresh(&self) -> Result<bool, StoreError> {
        let Some(mappings) = &self.mappings else { return Ok(false) };
        let kept = mappings.list(PREFIX).await?;
        let read: Until = kept.iter().filter_map(|(key, value)| entry(key, value)).collect();
        let mut table = self.until.write().unwrap_or_else(PoisonError::into_inner);
        let is_different = *table != read;
        *table = read;
        Ok(is_different)
    }
}

fn entry(key: &str, value: &[u8]) -> Option<((TenantId, UserName), Timestamp)> {
    let (tenant, user) = key.strip_prefix(PREFIX)?.split_once('|')?;
    let millis = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(((tenant.parse().ok()?, user.parse().ok()?), Timestamp::from_millis(millis)))
}
