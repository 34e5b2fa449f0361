//! Tokens: who asks, from a JWT (RFC 7519).

mod jwks;
mod revocations;

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    get_current_timestamp,
};
use schemas::{Code, EntityId, EntityKey, Principal, TenantId, Timestamp, UserName};
use serde::{Deserialize, Serialize};

use self::jwks::Jwks;
pub(crate) use self::revocations::LOOK_EVERY;
pub use self::revocations::Revocations;
use crate::{
    config::{GatewayConfig, TokenKey},
    problem::Problem,
};

/// Clock skew that is forgiven when a token begins or ends.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);

/// A right that a token is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// An entity, or a prefix that ends in `*`: `room:*`.
    pub entity: String,
    /// The operations: `join`, `command`, `signal`, `history`.
    pub ops: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    tenant: Option<String>,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caps: Option<Vec<Capability>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<serde_json::Value>,
}

/// Whoever a token names.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Their tenant.
    pub tenant: TenantId,
    /// Who.
    pub principal: Principal,
    /// Their roles in the tenant.
    pub roles: Vec<String>,
    /// What the token is narrowed to; nothing means everything.
    pub capabilities: Option<Vec<Capability>>,
    /// When the token ends.
    pub expires: Timestamp,
    /// When it was issued, if it says so.
    pub issued: Option<Timestamp>,
}

impl Identity {
    /// Whether they administer their tenant.
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "admin")
    }

    /// Lets admins of the tenant pass.
    ///
    /// # Errors
    /// `forbidden` for others, and for a token that is narrowed to entities: it does not reach beyond them.
    pub(crate) fn administers(&self) -> Result<(), Problem> {
        if !self.is_admin() {
            return Err(Problem::new(Code::Forbidden, "only admins of the tenant may do this"));
        }
        if self.capabilities.is_some() {
            return Err(Problem::new(Code::Forbidden, "the token is narrowed to entities"));
        }
        Ok(())
    }

    /// An entity of their own tenant, which is all they can name (R14).
    pub fn key(&self, entity: EntityId) -> EntityKey {
        EntityKey::new(self.tenant.clone(), entity)
    }

    /// Whether the token lets them do `op` at `entity`. A shortcut: rights are in `decide`.
    pub fn may(&self, op: &str, entity: &EntityId) -> bool {
        let Some(capabilities) = &self.capabilities else { return true };
        let entity = entity.to_string();
        capabilities.iter().any(|capability| {
            let fits = match capability.entity.strip_suffix('*') {
                Some(prefix) => entity.starts_with(prefix),
                None => capability.entity == entity,
            };
            fits && capability.ops.iter().any(|allowed| allowed == op || allowed == "*")
        })
    }
}

/// Why a token does not hold; told to whoever sent it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// It is malformed, forged, expired, for another audience, or names nobody.
    #[error("the token does not hold: {0}")]
    Bad(String),
    /// It may hold once the keys have been fetched again: [`Verifier::refresh`].
    #[error("the token does not hold: its key {0:?} is not known")]
    UnknownKey(String),
    /// An admin has revoked it.
    #[error("the token does not hold: it is revoked")]
    Revoked,
}

/// Why the keys cannot be used; told at start.
#[derive(Debug, thiserror::Error)]
#[error("auth key {path}: {reason}")]
pub struct KeyError {
    path: String,
    reason: String,
}

/// Verifies tokens.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<Vec<(DecodingKey, Validation)>>,
    sets: Arc<Vec<Jwks>>,
    revocations: Revocations,
}

impl Verifier {
    /// Reads the keys.
    ///
    /// # Errors
    /// If a key file cannot be read or holds no key.
    pub fn new(config: &GatewayConfig) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        let mut sets = Vec::new();
        for key in &config.token_keys {
            match key {
                TokenKey::Secret(secret) => {
                    let key = DecodingKey::from_secret(secret);
                    keys.push((key, validation(Algorithm::HS256, &config.audience)));
                }
                TokenKey::PublicKey(path) => {
                    let failed =
                        |reason: String| KeyError { path: path.display().to_string(), reason };
                    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
                    let (key, algorithm) = public_key(&pem)
                        .ok_or_else(|| failed("is no RSA, EC or Ed25519 public key".into()))?;
                    keys.push((key, validation(algorithm, &config.audience)));
                }
                TokenKey::Jwks(address) => sets.push(Jwks::new(address, &config.audience)),
            }
        }
        let revocations = Revocations::new(config.mappings.clone());
        Ok(Self { keys: Arc::new(keys), sets: Arc::new(sets), revocations })
    }

    /// What is revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Whom the token names, as far as the keys are known.
    ///
    /// # Errors
    /// If it does not hold, or not with the keys that are known.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        let identity = self.read(token)?;
        if self.revocations.has_revoked(&identity) {
            Err(TokenError::Revoked)
        } else {
            Ok(identity)
        }
    }

    fn read(&self, token: &str) -> Result<Identity, TokenError> {
        let mut reason = "no key fits".to_owned();
        for (key, validation) in self.keys.iter() {
            match decode::<Claims>(token, key, validation) {
                Ok(data) => return identity(data.claims),
                Err(error) => reason = error.to_string(),
            }
        }
        let header = decode_header(token).ok().filter(|_| !self.sets.is_empty());
        let Some(name) = header.and_then(|header| header.kid) else {
            return Err(TokenError::Bad(reason));
        };
        let found = self.sets.iter().find_map(|set| set.find(&name).filter(|_| !set.is_stale()));
        let (key, validation) = found.ok_or(TokenError::UnknownKey(name))?;
        let data = decode::<Claims>(token, &key, &validation);
        identity(data.map_err(|error| TokenError::Bad(error.to_string()))?.claims)
    }

    /// Fetches key sets that are old or lack a name; bounded in how often and how long.
    pub async fn refresh(&self) {
        for set in self.sets.iter() {
            set.refresh().await;
        }
    }

    /// Whom the token names; fetches key sets if that is needed to tell.
    ///
    /// # Errors
    /// If it does not hold.
    pub async fn verify_or_refresh(&self, token: &str) -> Result<Identity, TokenError> {
        match self.verify(token) {
            Err(TokenError::UnknownKey(_)) => {
                self.refresh().await;
                self.verify(token)
            }
            known => known,
        }
    }
}

fn public_key(pem: &[u8]) -> Option<(DecodingKey, Algorithm)> {
    let rsa = DecodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256));
    let ec = || DecodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256));
    let ed = || DecodingKey::from_ed_pem(pem).map(|key| (key, Algorithm::EdDSA));
    rsa.or_else(|_| ec()).or_else(|_| ed()).ok()
}

fn validation(algorithm: Algorithm, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation
}

fn identity(claims: Claims) -> Result<Identity, TokenError> {
    let user: UserName =
        claims.sub.parse().map_err(|error| TokenError::Bad(format!("claim sub: {error}")))?;
    let tenant = claims.tenant.as_deref().unwrap_or("main");
    let tenant =
        tenant.parse().map_err(|error| TokenError::Bad(format!("claim tenant: {error}")))?;
    Ok(Identity {
        tenant,
        principal: Principal::User(user),
        roles: claims.roles,
        capabilities: claims.caps,
        expires: Timestamp::from_millis(claims.exp.saturating_mul(1_000)),
        issued: claims.iat.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1_000))),
    })
}

/// Makes a token: for development and for the command line.
///
/// # Errors
/// If the secret cannot sign.
pub fn issue(
    secret: &[u8],
    audience: &str,
    user: &UserName,
    tenant: &TenantId,
    roles: Vec<String>,
    expires: Timestamp,
) -> Result<String, TokenError> {
    let claims = Claims {
        sub: user.to_string(),
        tenant: Some(tenant.to_string()),
        exp: expires.as_millis() / 1_000,
        iat: Some(get_current_timestamp().cast_signed()),
        roles,
        caps: None,
        aud: Some(audience.into()),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .map_err(|error| TokenError::Bad(error.to_string()))
}
