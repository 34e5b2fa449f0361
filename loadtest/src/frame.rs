//! WebSocket frames (RFC 6455, section 5) of a client, made for reading cheaply: messages are
//! handed out as slices of the read buffer, and only what is cut by its end is copied.

use crate::random::Random;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The longest message taken from the server; a `join` answer of a big entity fits.
const LONGEST: usize = 64 << 20;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The closing code, 1005 if there was none.
    Close(u16),
}

/// A server that breaks RFC 6455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a masked frame from the server")]
    Masked,
    #[error("an unknown or misplaced opcode")]
    Opcode,
    #[error("reserved bits without an extension")]
    Reserved,
    #[error("a message over 64 MiB")]
    TooLong,
}

/// Cuts the byte stream of one socket into messages.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of a frame that is not all there yet.
    carry: Vec<u8>,
    /// The fragments so far of a fragmented message.
    fragments: Option<Vec<u8>>,
}

struct Header {
    opcode: u8,
    last: bool,
    payload_at: usize,
    payload: usize,
}

impl Decoder {
    /// Takes the bytes that were read and hands out every message that is complete with them.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), FrameError> {
        if self.carry.is_empty() {
            let used = self.cut(input, sink)?;
            self.carry.extend_from_slice(&input[used..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.carry);
        whole.extend_from_slice(input);
        let used = self.cut(&whole, sink)?;
        if used == whole.len() {
            // Dropped rather than kept: thousands of idle sockets shall not hold buffers.
            return Ok(());
        }
        whole.drain(..used);
        self.carry = whole;
        Ok(())
    }

    fn cut(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, FrameError> {
        let mut used = 0;
        while let Some(header) = Header::parse(&bytes[used..])? {
            let start = used + header.payload_at;
            let end = start + header.payload;
            if end > bytes.len() {
                break;
            }
            self.frame(&header, &bytes[start..end], sink)?;
            used = end;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        sink: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), FrameError> {
        match (header.opcode, header.last) {
            (TEXT, true) if self.fragments.is_none() => sink(Incoming::Text(payload)),
            (TEXT, false) if self.fragments.is_none() => self.fragments = Some(payload.to_vec()),
            (0, last) => {
                let mut message = self.fragments.take().ok_or(FrameError::Opcode)?;
                if message.len() + payload.len() > LONGEST {
                    return Err(FrameError::TooLong);
                }
                message.extend_from_slice(payload);
                if last {
                    sink(Incoming::Text(&message));
                } else {
                    self.fragments = Some(message);
                }
            }
            (PING, true) => sink(Incoming::Ping(payload)),
            (PONG, true) => {}
            (CLOSE, true) => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                sink(Incoming::Close(code));
            }
            _ => return Err(FrameError::Opcode),
        }
        Ok(())
    }
}

impl Header {
    /// None if the header is not all there yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        if second & MASKED != 0 {
            return Err(FrameError::Masked);
        }
        let (payload_at, payload) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            short => (2, u64::from(short)),
        };
        let payload = usize::try_from(payload).map_err(|_| FrameError::TooLong)?;
        if payload > LONGEST {
            return Err(FrameError::TooLong);
        }
        Ok(Some(Self { opcode: first & 0x0f, last: first & FINAL != 0, payload_at, payload }))
    }
}

/// Appends a masked text frame.
pub(crate) fn push_text(out: &mut Vec<u8>, payload: &[u8], random: &mut Random) {
    push(out, TEXT, payload, random);
}

/// Appends a masked pong.
pub(crate) fn push_pong(out: &mut Vec<u8>, payload: &[u8], random: &mut Random) {
    push(out, PONG, payload, random);
}

fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8], random: &mut Random) {
    let mask = (random.next_u64() as u32).to_be_bytes();
    out.push(FINAL | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(length as u8),
            length @ 126..=0xffff => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<String>, FrameError> {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut |incoming| {
                seen.push(match incoming {
                    Incoming::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Incoming::Ping(payload) => format!("ping {}", payload.len()),
                    Incoming::Close(code) => format!("close {code}"),
                });
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let long = "x".repeat(300);
        let mut stream = server_frame(0x81, b"one");
        stream.extend(server_frame(0x89, b"hi"));
        stream.extend(server_frame(0x81, long.as_bytes()));
        stream.extend(server_frame(0x88, &4508u16.to_be_bytes()));
        let expected = ["one", "ping 2", long.as_str(), "close 4508"];
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(decode(&[head, tail]).unwrap(), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&bytes).unwrap(), expected);
    }

    #[test]
    fn a_message_of_over_64_kib_is_one_message() {
        let long = "y".repeat(70_000);
        assert_eq!(decode(&[&server_frame(0x81, long.as_bytes())]).unwrap(), [long]);
    }

    #[test]
    fn fragments_are_joined_and_control_frames_may_come_between() {
        let mut stream = server_frame(0x01, b"a");
        stream.extend(server_frame(0x89, b""));
        stream.extend(server_frame(0x00, b"b"));
        stream.extend(server_frame(0x80, b"c"));
        assert_eq!(decode(&[&stream]).unwrap(), ["ping 0", "abc"]);
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        assert_eq!(decode(&[&[0x81, 0x80, 0, 0, 0, 0]]), Err(FrameError::Masked));
        assert_eq!(decode(&[&[0xc1, 0x00]]), Err(FrameError::Reserved));
        assert_eq!(decode(&[&[0x82, 0x00]]), Err(FrameError::Opcode));
        assert_eq!(decode(&[&[0x80, 0x00]]), Err(FrameError::Opcode));
        assert_eq!(decode(&[&[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]]), Err(FrameError::TooLong));
    }

    #[test]
    fn client_frames_are_masked() {
        let mut out = Vec::new();
        push_text(&mut out, b"hello", &mut Random::new(7));
        assert_eq!(out[..2], [0x81, 0x85]);
        let mask = [out[2], out[3], out[4], out[5]];
        let plain: Vec<u8> =
            out[6..].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(plain, b"hello");
    }
}
