//! The JSON protocol of Centrifugo v6 over WebSocket, read into the same items as Switchyard's own:
//! <https://centrifugal.dev/docs/transports/client_protocol>. A frame holds replies and pushes one
//! after the other; a publication's offset is what a seq is here.

use super::{Answer, Cursor, Item, Malformed};

/// The wire's id of `connect`; a whole number above zero marks what wants a reply.
const CONNECT: u64 = 1;
/// The wire's id of `subscribe`.
const SUBSCRIBE: u64 = 2;
/// The wire's id of message 0.
const FIRST_PUBLISH: u64 = 3;

/// The first frame of a socket: it connects and, if there is a channel, subscribes.
pub(crate) fn hello(token: &str, channel: Option<&str>) -> String {
    let connect = if token.is_empty() {
        serde_json::json!({})
    } else {
        serde_json::json!({ "token": token })
    };
    let mut frame = serde_json::json!({ "id": CONNECT, "connect": connect }).to_string();
    if let Some(channel) = channel {
        let subscribe = serde_json::json!({ "id": SUBSCRIBE, "subscribe": { "channel": channel } });
        frame.push_str(&format!("\n{subscribe}"));
    }
    frame
}

/// The wire's id of the message with this number.
pub(crate) fn publish_id(number: u64) -> u64 {
    number + FIRST_PUBLISH
}

/// Whether the server's ping, an empty object, is among the objects of the frame.
pub(crate) fn has_ping(frame: &[u8]) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b'\n');
    memchr::memmem::find_iter(frame, b"{}").any(|at| {
        let before = at.checked_sub(1).and_then(|before| frame.get(before));
        is_edge(before) && is_edge(frame.get(at + 2))
    })
}

/// Hands out every reply and push of the frame. A reply to `connect` is a notice of the kind
/// `connected`, one to `subscribe` has the id of a join, and one to `publish` the message's number.
pub(crate) fn scan<'a>(frame: &'a [u8], mut sink: impl FnMut(Item<'a>)) -> Result<(), Malformed> {
    let mut cursor = Cursor { bytes: frame, at: 0 };
    while cursor.peek().is_some() {
        sink(object(&mut cursor)?);
    }
    Ok(())
}

fn object<'a>(cursor: &mut Cursor<'a>) -> Result<Item<'a>, Malformed> {
    let mut item = Item::default();
    let mut id = None;
    cursor.object(|cursor, key| {
        match key {
            b"id" => id = cursor.number()?,
            b"connect" => {
                cursor.skip()?;
                item.kind = Some(b"connected");
            }
            b"subscribe" => {
                let seq = Some(offset(cursor)?.unwrap_or(0));
                item.answer = Some(Answer::accepted(seq));
            }
            b"publish" => {
                cursor.skip()?;
                item.answer = Some(Answer::accepted(None));
            }
            b"error" => item.answer = Some(error(cursor)?),
            b"push" => push(cursor, &mut item)?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    item.id = match id {
        None | Some(0 | CONNECT) => None,
        Some(SUBSCRIBE) => Some(super::JOIN),
        Some(publish) => Some(publish - FIRST_PUBLISH),
    };
    Ok(item)
}

/// The offset at which a subscription begins; 0 is left out on the wire.
fn offset(cursor: &mut Cursor<'_>) -> Result<Option<u64>, Malformed> {
    let mut offset = None;
    cursor.object(|cursor, key| {
        match key {
            b"offset" => offset = cursor.number()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(offset)
}

fn error<'a>(cursor: &mut Cursor<'a>) -> Result<Answer<'a>, Malformed> {
    let mut code: &[u8] = b"";
    cursor.object(|cursor, key| {
        match key {
            b"message" => code = cursor.text()?.unwrap_or_default(),
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(Answer::Error { code })
}

fn push<'a>(cursor: &mut Cursor<'a>, item: &mut Item<'a>) -> Result<(), Malformed> {
    cursor.object(|cursor, key| {
        match key {
            b"channel" => item.entity = cursor.text()?,
            b"pub" => cursor.object(|cursor, key| {
                match key {
                    b"offset" => item.seq = cursor.number()?,
                    b"data" => item.text = cursor.data()?,
                    _ => cursor.skip()?,
                }
                Ok(())
            })?,
            b"unsubscribe" => {
                cursor.skip()?;
                item.answer = Some(Answer::Error { code: b"unsubscribed" });
            }
            _ => cursor.skip()?,
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(frame: &str) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        scan(frame.as_bytes(), |item| items.push(item)).unwrap();
        items
    }

    #[test]
    fn replies_and_pushes_of_one_frame_are_told_apart() {
        let found = items(concat!(
            r#"{"id":1,"connect":{"client":"c","version":"6","ping":25,"pong":true}}"#,
            "\n",
            r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"x","offset":4,"positioned":true}}"#,
            "\n",
            r#"{"push":{"channel":"a","pub":{"data":{"text":"7:900:xx"},"offset":5}}}"#,
            "\n",
            r#"{"id":10,"publish":{}}"#,
        ));
        assert_eq!((found[0].kind, found[0].id), (Some(&b"connected"[..]), None));
        assert_eq!(found[1].id, Some(super::super::JOIN));
        assert_eq!(found[1].answer, Some(Answer::accepted(Some(4))));
        assert_eq!((found[2].seq, found[2].entity), (Some(5), Some(&b"a"[..])));
        assert_eq!(found[2].text, Some(&b"7:900:xx"[..]));
        assert_eq!(found[3].id, Some(7));
        assert_eq!(found[3].answer, Some(Answer::accepted(None)));
    }

    #[test]
    fn a_subscription_without_an_offset_begins_at_zero() {
        let found = items(r#"{"id":2,"subscribe":{"epoch":"x"}}"#);
        assert_eq!(found[0].answer, Some(Answer::accepted(Some(0))));
    }

    #[test]
    fn errors_and_unsubscribe_pushes_are_refusals() {
        let found = items(concat!(
            r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
            "\n",
            r#"{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
        ));
        assert_eq!(found[0].answer, Some(Answer::Error { code: b"permission denied" }));
        assert_eq!(found[1].answer, Some(Answer::Error { code: b"unsubscribed" }));
    }

    #[test]
    fn a_ping_is_an_empty_object_of_its_own() {
        for ping in ["{}", "{}\n", "{\"id\":4,\"publish\":{}}\n{}", "{}\n{\"id\":4,\"publish\":{}}"]
        {
            assert!(has_ping(ping.as_bytes()), "{ping}");
        }
        for other in [r#"{"id":4,"publish":{}}"#, "", r#"{"push":{"pub":{"data":{}}}}"#] {
            assert!(!has_ping(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_a_client_says_first_is_one_object_a_line() {
        assert_eq!(hello("", None), r#"{"id":1,"connect":{}}"#);
        let both = hello("t", Some("room"));
        let (connect, subscribe) = both.split_once('\n').unwrap();
        assert_eq!(connect, r#"{"id":1,"connect":{"token":"t"}}"#);
        assert_eq!(subscribe, r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    }

    #[test]
    fn what_is_cut_is_malformed() {
        let whole = r#"{"push":{"channel":"a","pub":{"data":{"text":"7"},"offset":5}}}"#;
        for end in 1..whole.len() {
            assert!(scan(&whole.as_bytes()[..end], |_| {}).is_err(), "{}", &whole[..end]);
        }
    }
}
