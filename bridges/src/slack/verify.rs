//! Signed requests (docs.slack.dev/authentication/verifying-requests-from-slack): `v0=` and the hex
//! HMAC-SHA256 of `v0:{timestamp}:{raw body}` under the app's signing secret.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A request whose time is further away is refused, in seconds.
const NEAR: i64 = 300;

/// Why a request is not Slack's, or not of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The timestamp is no number of seconds, or too far from now.
    #[error("X-Slack-Request-Timestamp is more than 300 s away, or no time")]
    Time,
    /// The signature is not the one of this body and time.
    #[error("X-Slack-Signature does not fit the body")]
    Signature,
}

/// Checks `X-Slack-Request-Timestamp` and `X-Slack-Signature` against the body as it was received;
/// `now` is in seconds since 1970.
///
/// # Errors
/// If the request must be answered with 401.
pub fn verify(
    secret: &[u8],
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: i64,
) -> Result<(), Refused> {
    let time: i64 = timestamp.parse().map_err(|_| Refused::Time)?;
    if now.checked_sub(time).is_none_or(|apart| apart.abs() > NEAR) {
        return Err(Refused::Time);
    }
    let digest = signature.strip_prefix("v0=").and_then(|digest| hex::decode(digest).ok());
    let digest = digest.ok_or(Refused::Signature)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Refused::Signature)?;
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    // In constant time.
    mac.verify_slice(&digest).map_err(|_| Refused::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's page.
    const SECRET: &[u8] = b"8f742231b10e8888abcd99yyyzzz85a5";
    const TIMESTAMP: &str = "1531420618";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const NOW: i64 = 1_531_420_618;

    #[test]
    fn the_published_example_holds_and_nothing_near_it() {
        assert_eq!(verify(SECRET, TIMESTAMP, SIGNATURE, BODY, NOW), Ok(()));
        assert_eq!(verify(SECRET, TIMESTAMP, SIGNATURE, BODY, NOW + 300), Ok(()));
        let refused = |secret: &[u8], timestamp: &str, signature: &str, body: &[u8], now| {
            verify(secret, timestamp, signature, body, now).unwrap_err()
        };
        assert_eq!(refused(SECRET, TIMESTAMP, SIGNATURE, BODY, NOW + 301), Refused::Time);
        assert_eq!(refused(SECRET, TIMESTAMP, SIGNATURE, BODY, NOW - 301), Refused::Time);
        assert_eq!(refused(SECRET, TIMESTAMP, SIGNATURE, BODY, i64::MIN), Refused::Time);
        assert_eq!(refused(SECRET, "now", SIGNATURE, BODY, NOW), Refused::Time);
        assert_eq!(refused(b"other", TIMESTAMP, SIGNATURE, BODY, NOW), Refused::Signature);
        assert_eq!(refused(SECRET, "1531420619", SIGNATURE, BODY, NOW), Refused::Signature);
        assert_eq!(refused(SECRET, TIMESTAMP, SIGNATURE, &BODY[1..], NOW), Refused::Signature);
        assert_eq!(refused(SECRET, TIMESTAMP, &SIGNATURE[3..], BODY, NOW), Refused::Signature);
        for wrong in ["", "v0=", "v0=zz", "v1=a2114d57", &SIGNATURE[..40]] {
            assert_eq!(refused(SECRET, TIMESTAMP, wrong, BODY, NOW), Refused::Signature, "{wrong}");
        }
    }
}
