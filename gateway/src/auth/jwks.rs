//! Public keys at an address (JWK Set, RFC 7517): fetched at the first use, and again when a
//! token names a key that is not among them. A key that has left the set holds no longer once the
//! set has been fetched again, at the latest after [`FRESH_FOR`].

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet},
};

use super::validation;

/// A set older than this is fetched again.
const FRESH_FOR: Duration = Duration::from_secs(600);
/// Unknown names make nobody fetch more often than this.
const FETCH_EVERY: Duration = Duration::from_secs(5);
/// The address must answer within this.
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// The largest set that is read.
const MOST_BYTES: usize = 256 << 10;

type Keys = HashMap<String, (DecodingKey, Validation)>;

/// Why the set could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the set has more than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("this is no JWK Set")]
    NoSet(#[from] serde_json::Error),
}

/// The keys of one address.
pub(super) struct Jwks {
    address: String,
    audience: String,
    client: reqwest::Client,
    /// Read on every token, replaced as a whole; never held over an await.
    keys: RwLock<Arc<Keys>>,
    /// Held while fetching, so that a crowd of unknown names fetches once.
    tried: tokio::sync::Mutex<Option<Instant>>,
    fetched: RwLock<Option<Instant>>,
}

impl Jwks {
    pub(super) fn new(address: &str, audience: &str) -> Self {
        Self {
            address: address.to_owned(),
            audience: audience.to_owned(),
            client: reqwest::Client::new(),
            keys: RwLock::default(),
            tried: tokio::sync::Mutex::new(None),
            fetched: RwLock::new(None),
        }
    }

    /// The key of this name, as far as is known.
    pub(super) fn find(&self, name: &str) -> Option<(DecodingKey, Validation)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.get(name).cloned()
    }

    /// Whether what is known is too old to rely on.
    pub(super) fn is_stale(&self) -> bool {
        let fetched = *self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        fetched.is_none_or(|at| at.elapsed() > FRESH_FOR)
    }

    /// Fetches the set, unless that was tried just now. A failure leaves the keys as they were.
    pub(super) async fn refresh(&self) {
        let mut tried = self.tried.lock().await;
        if tried.is_some_and(|at| at.elapsed() < FETCH_EVERY) {
            return;
        }
        *tried = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "fetched the token keys");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                *self.fetched.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Instant::now());
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, address = self.address, "cannot fetch the token keys");
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, FetchError> {
        let request = self.client.get(&self.address).timeout(FETCH_WITHIN);
        let mut response = request.send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > MOST_BYTES {
                return Err(FetchError::TooLarge);
            }
        }
        let set: JwkSet = serde_json::from_slice(&body)?;
        Ok(set.keys.iter().filter_map(|key| self.usable(key)).collect())
    }

    /// A key with a name and an algorithm of ours. A symmetric key in a public place is none.
    fn usable(&self, key: &Jwk) -> Option<(String, (DecodingKey, Validation))> {
        let algorithm = match &key.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::OctetKey(_) => return None,
        };
        let name = key.common.key_id.clone()?;
        let decoding = DecodingKey::from_jwk(key).ok()?;
        Some((name, (decoding, validation(algorithm, &self.audience))))
    }
}
