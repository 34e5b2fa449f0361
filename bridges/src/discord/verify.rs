//! Signed interactions (docs.discord.com/developers/interactions/overview, "Setting Up an Endpoint"):
//! `X-Signature-Ed25519` is the hex Ed25519 signature of `X-Signature-Timestamp` and the raw body
//! under the application's public key.

use ed25519_dalek::{Signature, VerifyingKey};

/// A request whose time is further away is refused, in seconds.
const NEAR: i64 = 300;

/// Why a request is not Discord's, or not of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The configured public key is none.
    #[error("the public key is not 32 bytes in hex")]
    Key,
    /// The timestamp is no number of seconds, or too far from now.
    #[error("X-Signature-Timestamp is more than 300 s away, or no time")]
    Time,
    /// The signature is not the one of this body and time.
    #[error("X-Signature-Ed25519 does not fit the body")]
    Signature,
}

/// Checks a request; `now` is in seconds since 1970.
///
/// # Errors
/// If the request must be answered with 401.
pub fn verify(
    public_key: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: i64,
) -> Result<(), Refused> {
    let mut key = [0; 32];
    hex::decode_to_slice(public_key, &mut key).map_err(|_| Refused::Key)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| Refused::Key)?;
    let time: i64 = timestamp.parse().map_err(|_| Refused::Time)?;
    if now.checked_sub(time).is_none_or(|apart| apart.unsigned_abs() > NEAR.unsigned_abs()) {
        return Err(Refused::Time);
    }
    let mut bytes = [0; 64];
    hex::decode_to_slice(signature, &mut bytes).map_err(|_| Refused::Signature)?;
    let signed = [timestamp.as_bytes(), body].concat();
    key.verify_strict(&signed, &Signature::from_bytes(&bytes)).map_err(|_| Refused::Signature)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_time_and_body() {
        // RFC 8032, section 7.1, test 1: the empty message is not Discord's form, its key is.
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let mut bytes = [0; 32];
        hex::decode_to_slice(secret, &mut bytes).unwrap();
        let key = SigningKey::from_bytes(&bytes);
        assert_eq!(hex::encode(key.verifying_key().as_bytes()), public);
        let signature = hex::encode(key.sign(b"1700000000{\"type\":1}").to_bytes());
        let now = 1_700_000_000;
        let check = |key: &str, time: &str, signature: &str, body: &[u8], now| {
            verify(key, time, signature, body, now)
        };
        let body = br#"{"type":1}"#;
        assert_eq!(check(public, "1700000000", &signature, body, now), Ok(()));
        assert_eq!(check(public, "1700000000", &signature, body, now + 301), Err(Refused::Time));
        assert_eq!(check(public, "1700000000", &signature, body, i64::MIN), Err(Refused::Time));
        assert_eq!(check(public, "soon", &signature, body, now), Err(Refused::Time));
        let wrong = Err(Refused::Signature);
        assert_eq!(check(public, "1700000001", &signature, body, now), wrong);
        assert_eq!(check(public, "1700000000", &signature, b"{}", now), wrong);
        assert_eq!(check(public, "1700000000", &signature[2..], body, now), wrong);
        assert_eq!(check(public, "1700000000", "", body, now), wrong);
        let other = hex::encode(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
        assert_eq!(check(&other, "1700000000", &signature, body, now), wrong);
        assert_eq!(check("zz", "1700000000", &signature, body, now), Err(Refused::Key));
    }
}
