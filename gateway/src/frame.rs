//! WebSocket frames (RFC 6455, section 5): a strict decoder that refuses early and an encoder
//! whose output is shared by every subscriber. No I/O.

use bytes::{Buf as _, Bytes, BytesMut};

/// What a peer may be told when the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: done.
    Normal,
    /// 1001: the server drains.
    Away,
    /// 1002: not the protocol.
    Protocol,
    /// 1003: binary frames are not taken.
    Unsupported,
    /// 1007: text that is not UTF-8.
    Encoding,
    /// 1008: policy.
    Policy,
    /// 1009: too large.
    TooLarge,
    /// 4401: not authenticated.
    Unauthenticated,
    /// 4403: revoked.
    Revoked,
    /// 4408: idle.
    Idle,
    /// 4429: too many messages.
    TooMany,
    /// 4508: too slow.
    TooSlow,
    /// As the peer said.
    Peer(u16),
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Away => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::Encoding => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Unauthenticated => 4401,
            Self::Revoked => 4403,
            Self::Idle => 4408,
            Self::TooMany => 4429,
            Self::TooSlow => 4508,
            Self::Peer(number) => number,
        }
    }
}

/// A whole message from the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, known to be UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// Wants a pong with the same payload.
    Ping(Bytes),
    /// Is alive.
    Pong,
    /// Wants to end, with this code if any.
    Close(Option<u16>),
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Reads frames as they arrive. After an error nothing more can be read.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    largest: usize,
    /// The opcode and bytes of a fragmented message.
    fragments: Option<(u8, BytesMut)>,
}

struct FrameHead {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    length: usize,
    head: usize,
}

impl Decoder {
    /// A decoder that refuses messages above `largest` bytes before it has them.
    pub fn new(largest: usize) -> Self {
        Self { buffer: BytesMut::new(), largest, fragments: None }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// The code to close with.
    pub fn next_message(&mut self) -> Result<Option<Message>, CloseCode> {
        loop {
            let Some(head) = self.head()? else { return Ok(None) };
            if self.buffer.len() < head.head + head.length {
                return Ok(None);
            }
            self.buffer.advance(head.head);
            let mut payload = self.buffer.split_to(head.length);
            for (byte, key) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= key;
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            if let Some(message) = self.frame(&head, payload)? {
                return Ok(Some(message));
            }
        }
    }

    fn head(&self) -> Result<Option<FrameHead>, CloseCode> {
        let &[first, second, ref rest @ ..] = &self.buffer[..] else { return Ok(None) };
        let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let control = opcode & 0x8 != 0;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let short = second & 0x7f;
        let masked = second & 0x80 != 0;
        if reserved != 0 || !known || !masked || (control && (!fin || short > 125)) {
            return Err(CloseCode::Protocol);
        }
        // The third is the least length that needs so many bytes (RFC 6455, 5.2).
        let (length, extended, least) = match short {
            126 => match rest {
                [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 2, 126),
                _short => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8, 1 << 16),
                None => return Ok(None),
            },
            length => (u64::from(length), 0, 0),
        };
        if length < least || length > i64::MAX.cast_unsigned() {
            return Err(CloseCode::Protocol);
        }
        let before = self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !control && length > self.largest.saturating_sub(before) {
            return Err(CloseCode::TooLarge);
        }
        let Some(mask) = rest[extended..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some(FrameHead { fin, opcode, mask: *mask, length, head: 2 + extended + 4 }))
    }

    fn frame(&mut self, head: &FrameHead, payload: BytesMut) -> Result<Option<Message>, CloseCode> {
        match head.opcode {
            PING => return Ok(Some(Message::Ping(payload.freeze()))),
            PONG => return Ok(Some(Message::Pong)),
            CLOSE => return close_message(&payload).map(Some),
            _data => {}
        }
        let (opcode, bytes) = match (head.opcode, self.fragments.take()) {
            (CONTINUATION, Some((opcode, mut bytes))) => {
                bytes.extend_from_slice(&payload);
                (opcode, bytes)
            }
            (CONTINUATION, None) | (_, Some(_)) => return Err(CloseCode::Protocol),
            (opcode, None) => (opcode, payload),
        };
        if !head.fin {
            if opcode == TEXT && has_bad_utf8(&bytes) {
                return Err(CloseCode::Encoding);
            }
            self.fragments = Some((opcode, bytes));
            return Ok(None);
        }
        let bytes = bytes.freeze();
        if opcode == BINARY {
            return Ok(Some(Message::Binary(bytes)));
        }
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Some(Message::Text(bytes))),
            Err(_) => Err(CloseCode::Encoding),
        }
    }
}

/// Whether no continuation can make these bytes UTF-8.
fn has_bad_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
}

fn close_message(payload: &[u8]) -> Result<Message, CloseCode> {
    match payload {
        [] => Ok(Message::Close(None)),
        [_] => Err(CloseCode::Protocol),
        [a, b, reason @ ..] => {
            let number = u16::from_be_bytes([*a, *b]);
            let valid = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !valid {
                return Err(CloseCode::Protocol);
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Message::Close(Some(number))),
                Err(_) => Err(CloseCode::Encoding),
            }
        }
    }
}

fn write_head(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match u16::try_from(length) {
        Ok(length @ 0..=125) => out.push(length as u8),
        Ok(length) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    write_head(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// A text message.
pub fn text(payload: &[u8]) -> Bytes {
    frame(TEXT, payload)
}

/// A binary message.
pub fn binary(payload: &[u8]) -> Bytes {
    frame(BINARY, payload)
}

/// A ping.
pub fn ping() -> Bytes {
    frame(PING, b"")
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// The end.
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = code.number().to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes().get(..120).unwrap_or(reason.as_bytes()));
    frame(CLOSE, &payload)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
