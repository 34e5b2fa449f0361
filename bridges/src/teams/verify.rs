//! Who sends activities (learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication,
//! "Authenticate requests from the Bot Connector service to your bot"), and signed outgoing webhooks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use sha2::Sha256;

/// Clock skew that is forgiven, in seconds.
const LEEWAY: u64 = 300;

/// A signing key as the metadata document lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    /// Its name.
    pub kid: String,
    /// Its kind; only `RSA` is used.
    pub kty: String,
    /// The modulus, base64url.
    #[serde(default)]
    pub n: String,
    /// The exponent, base64url.
    #[serde(default)]
    pub e: String,
    /// The channels whose activities it may sign.
    #[serde(default)]
    pub endorsements: Vec<String>,
}

/// Why a request is not from the Bot Connector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no `Authorization: Bearer`, or what it has is no token.
    #[error("Authorization has no token")]
    NoToken,
    /// The token is not signed with RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// The token names a key that is not in the set.
    #[error("the token names the key {0}, which is not known")]
    UnknownKey(String),
    /// The key may not sign for this channel.
    #[error("the key does not endorse the channel {0}")]
    Endorsement(String),
    /// Signature, issuer, audience or time.
    #[error("the token does not hold: {0}")]
    Token(String),
    /// The claim is not the activity's.
    #[error("serviceurl of the token is not the activity's")]
    ServiceUrl,
    /// The signature of an outgoing webhook does not fit.
    #[error("Authorization does not fit the body")]
    Signature,
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(alias = "serviceUrl")]
    serviceurl: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    channel_id: Option<String>,
    service_url: Option<String>,
}

/// The `kid` of the token in `Authorization: Bearer …`.
///
/// # Errors
/// If there is none.
pub fn kid_of(authorization: &str) -> Result<String, Refused> {
    let header = decode_header(token_of(authorization)?).map_err(|_| Refused::NoToken)?;
    if header.alg != Algorithm::RS256 {
        return Err(Refused::Algorithm);
    }
    header.kid.ok_or(Refused::NoToken)
}

fn token_of(authorization: &str) -> Result<&str, Refused> {
    let (scheme, token) = authorization.split_once(' ').ok_or(Refused::NoToken)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).ok_or(Refused::NoToken)
}

/// Checks the token of a request against the activity in `body` and the issuer's `keys`.
///
/// # Errors
/// If the request must be answered with 401.
pub fn verify(
    authorization: &str,
    body: &[u8],
    app_id: &str,
    issuer: &str,
    keys: &[Key],
) -> Result<(), Refused> {
    let kid = kid_of(authorization)?;
    let key = keys.iter().find(|key| key.kid == kid && key.kty == "RSA");
    let key = key.ok_or(Refused::UnknownKey(kid))?;
    let token_error = |error: jsonwebtoken::errors::Error| Refused::Token(error.to_string());
    let decoding = DecodingKey::from_rsa_components(&key.n, &key.e).map_err(token_error)?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[app_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY;
    let claims =
        decode::<Claims>(token_of(authorization)?, &decoding, &validation).map_err(token_error)?;
    let sent: Sent = serde_json::from_slice(body)
        .map_err(|error| Refused::Token(format!("this is no activity: {error}")))?;
    let channel = sent.channel_id.unwrap_or_default();
    if !key.endorsements.contains(&channel) {
        return Err(Refused::Endorsement(channel));
    }
    match (claims.claims.serviceurl, sent.service_url) {
        (Some(claimed), Some(sent)) if same_url(&claimed, &sent) => Ok(()),
        (_, _) => Err(Refused::ServiceUrl),
    }
}

fn same_url(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

/// The security token of an outgoing webhook.
#[derive(Clone)]
pub struct Webhook(Vec<u8>);

impl Webhook {
    /// From the token as Teams shows it once, in base64; `None` if it is not.
    pub fn new(token: &str) -> Option<Self> {
        STANDARD.decode(token.trim()).ok().filter(|key| !key.is_empty()).map(Self)
    }
}

/// Checks `Authorization: HMAC <base64>` of an outgoing webhook.
///
/// # Errors
/// If the request must be answered with 401.
pub fn verify_webhook(key: &Webhook, authorization: &str, body: &[u8]) -> Result<(), Refused> {
    let digest = authorization.strip_prefix("HMAC ").ok_or(Refused::Signature)?;
    let digest = STANDARD.decode(digest.trim()).map_err(|_| Refused::Signature)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).map_err(|_| Refused::Signature)?;
    mac.update(body);
    // In constant time.
    mac.verify_slice(&digest).map_err(|_| Refused::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outgoing_webhook_is_signed() {
        let key = Webhook::new(&STANDARD.encode("secret")).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(b"{}");
        let header = format!("HMAC {}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(verify_webhook(&key, &header, b"{}"), Ok(()));
        for (header, body) in [(header.as_str(), "{ }"), ("HMAC x", "{}"), (&header[5..], "{}")] {
            let refused = verify_webhook(&key, header, body.as_bytes());
            assert_eq!(refused, Err(Refused::Signature), "{header} {body}");
        }
        assert!(Webhook::new("not base64!").is_none() && Webhook::new("").is_none());
    }
}
