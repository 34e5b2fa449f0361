//! Reads from a frame only what the harness needs, in one pass, without building a JSON tree:
//! strings are skipped with a byte search, and what is handed out are slices of the frame.
//!
//! It accepts any JSON a server may send (fields in any order, spaces, one object or an array) and
//! takes a key for what it is only at its place: a `"seq":` inside a text or a nested object is
//! not a change's seq.

pub(crate) mod centrifugo;

use memchr::memchr2;

/// The id of a `join` request.
pub(crate) const JOIN: u64 = 1;

/// One object of a frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    /// `id`, if it is a whole number: this object is an answer.
    pub id: Option<u64>,
    /// `entity`.
    pub entity: Option<&'a [u8]>,
    /// `seq` of a change.
    pub seq: Option<u64>,
    /// `type` of a change or of a notice.
    pub kind: Option<&'a [u8]>,
    /// `data.text`, as it is in the frame: escapes are not resolved.
    pub text: Option<&'a [u8]>,
    /// What an answer says.
    pub answer: Option<Answer<'a>>,
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// `ok`, with its `seq` and whether its `changes` has anything in it.
    Ok {
        /// The entity's seq after the request.
        seq: Option<u64>,
        /// `changes`, a JSON array; empty if it is not there.
        changes: &'a [u8],
        /// False only if the answer to a `join` says so.
        recovered: bool,
    },
    /// `error`, with its `code`.
    Error {
        /// The code, empty if there was none.
        code: &'a [u8],
    },
}

impl Answer<'_> {
    /// An `ok` with nothing but a seq.
    fn accepted(seq: Option<u64>) -> Self {
        Self::Ok { seq, changes: b"", recovered: true }
    }
}

/// The frame is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {0}")]
pub struct Malformed(pub usize);

/// Hands out every object of the frame.
pub fn scan<'a>(frame: &'a [u8], mut sink: impl FnMut(Item<'a>)) -> Result<(), Malformed> {
    let mut cursor = Cursor { bytes: frame, at: 0 };
    if cursor.peek() == Some(b'[') {
        cursor.array(|cursor| {
            sink(cursor.item()?);
            Ok(())
        })?;
    } else {
        sink(cursor.item()?);
    }
    match cursor.peek() {
        None => Ok(()),
        Some(_) => Err(cursor.malformed()),
    }
}

/// Reads `<number>:<intended ns>:` from the beginning of a text.
pub fn stamp(text: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = leading_number(text)?;
    let (intended_ns, rest) = leading_number(rest.strip_prefix(b":")?)?;
    rest.first().filter(|&&byte| byte == b':')?;
    Some((number, intended_ns))
}

fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut number = 0u64;
    for byte in &bytes[..length] {
        number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (length > 0).then_some((number, &bytes[length..]))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn item(&mut self) -> Result<Item<'a>, Malformed> {
        let mut item = Item::default();
        self.object(|cursor, key| {
            match key {
                b"id" => item.id = cursor.number()?,
                b"entity" => item.entity = cursor.text()?,
                b"seq" => item.seq = cursor.number()?,
                b"type" => item.kind = cursor.text()?,
                b"data" => item.text = cursor.data()?,
                b"ok" => item.answer = Some(cursor.ok()?),
                b"error" => item.answer = Some(cursor.error()?),
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(item)
    }

    fn data(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let mut text = None;
        if self.peek() != Some(b'{') {
            self.skip()?;
            return Ok(None);
        }
        self.object(|cursor, key| {
            match key {
                b"text" => text = cursor.text()?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(text)
    }

    fn ok(&mut self) -> Result<Answer<'a>, Malformed> {
        let (mut seq, mut changes, mut recovered): (_, &[u8], _) = (None, b"", true);
        if self.peek() != Some(b'{') {
            self.skip()?;
            return Ok(Answer::Ok { seq, changes, recovered });
        }
        self.object(|cursor, key| {
            match key {
                b"seq" => seq = cursor.number()?,
                b"changes" => changes = cursor.raw()?,
                b"recovered" => recovered = cursor.raw()? != b"false",
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(Answer::Ok { seq, changes, recovered })
    }

    fn error(&mut self) -> Result<Answer<'a>, Malformed> {
        let mut code: &[u8] = b"";
        if self.peek() != Some(b'{') {
            self.skip()?;
            return Ok(Answer::Error { code });
        }
        self.object(|cursor, key| {
            match key {
                b"code" => code = cursor.text()?.unwrap_or_default(),
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(Answer::Error { code })
    }

    /// Walks an object; `field` must take the value of every key it is given.
    fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &'a [u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek();
            let key = self.string()?;
            self.expect(b':')?;
            field(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.malformed()),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.malformed()),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A whole number; None for any other value.
    fn number(&mut self) -> Result<Option<u64>, Malformed> {
        let number = leading_number(self.raw()?);
        Ok(number.filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number))
    }

    /// A string; None for any other value.
    fn text(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.peek() == Some(b'"') {
            return self.string().map(Some);
        }
        self.skip()?;
        Ok(None)
    }

    /// One value as it is in the frame.
    fn raw(&mut self) -> Result<&'a [u8], Malformed> {
        self.peek();
        let from = self.at;
        self.skip()?;
        Ok(&self.bytes[from..self.at])
    }

    /// Passes over one value.
    fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => {
                self.string()?;
                Ok(())
            }
            Some(b'{' | b'[') => self.skip_container(),
            Some(_) => {
                let rest = &self.bytes[self.at..];
                let length = rest
                    .iter()
                    .position(|byte| {
                        matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
                    })
                    .unwrap_or(rest.len());
                if length == 0 {
                    return Err(self.malformed());
                }
                self.at += length;
                Ok(())
            }
            None => Err(self.malformed()),
        }
    }

    fn skip_container(&mut self) -> Result<(), Malformed> {
        let mut depth = 0usize;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        Err(self.malformed())
    }

    /// A string without its quotes, escapes as they are.
    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.malformed());
        }
        let from = self.at + 1;
        let mut at = from;
        loop {
            let rest = self.bytes.get(at..).ok_or(Malformed(at))?;
            let found = at + memchr2(b'"', b'\\', rest).ok_or(Malformed(self.bytes.len()))?;
            if self.bytes[found] == b'"' {
                self.at = found + 1;
                return Ok(&self.bytes[from..found]);
            }
            at = found + 2;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn malformed(&self) -> Malformed {
        Malformed(self.at)
    }
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
    fn a_change_gives_seq_and_text() {
        let found = items(
            r#"{"entity":"room:7","seq":21,"type":"messagePosted","at":"…","data":{"message":"m","text":"3:900:xxx","content":[{"text":"no"}]}}"#,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].seq, Some(21));
        assert_eq!(found[0].entity, Some(&b"room:7"[..]));
        assert_eq!(found[0].text, Some(&b"3:900:xxx"[..]));
        assert_eq!(found[0].answer, None);
    }

    #[test]
    fn an_array_gives_each_object_and_order_of_fields_does_not_matter() {
        let found = items(
            r#" [ {"data":{"text":"1:2:"},"seq":1,"entity":"room:a"} , {"seq" : 2, "entity":"room:a"},{"entity":"room:a","presence":{"joined":["ada"],"left":[]}} ] "#,
        );
        assert_eq!(found.iter().map(|item| item.seq).collect::<Vec<_>>(), [Some(1), Some(2), None]);
        assert!(items("[]").is_empty());
    }

    #[test]
    fn what_looks_like_a_seq_elsewhere_is_none() {
        let found = items(
            r#"{"type":"systemNotification","text":"\"seq\":9","data":{"seq":5,"nested":{"text":"1:1:"}},"more":[{"seq":8}]}"#,
        );
        assert_eq!(found[0].seq, None);
        assert_eq!(found[0].text, None);
    }

    #[test]
    fn escapes_do_not_end_a_string() {
        let found = items(r#"{"data":{"text":"a\"b\\"},"seq":4}"#);
        assert_eq!(found[0].text, Some(&br#"a\"b\\"#[..]));
        assert_eq!(found[0].seq, Some(4));
    }

    #[test]
    fn answers_are_told_from_changes() {
        let found = items(
            r#"[{"id":5,"ok":{"seq":7,"changes":[{"seq":7,"entity":"room:a"}],"commandId":"c"}},{"id":6,"error":{"message":"slow","code":"rate_limited","retryAfter":1.5}},{"id":"x","ok":{"seq":7,"changes":[]}}]"#,
        );
        assert_eq!(found[0].id, Some(5));
        assert_eq!(found[0].seq, None);
        assert_eq!(
            found[0].answer,
            Some(Answer::Ok {
                seq: Some(7),
                changes: br#"[{"seq":7,"entity":"room:a"}]"#,
                recovered: true
            })
        );
        assert_eq!(found[1].answer, Some(Answer::Error { code: b"rate_limited" }));
        assert_eq!(found[2].id, None);
        assert_eq!(
            found[2].answer,
            Some(Answer::Ok { seq: Some(7), changes: b"[]", recovered: true })
        );
    }

    #[test]
    fn a_join_says_whether_it_recovered() {
        let found = items(r#"{"id":1,"ok":{"recovered":false,"seq":9,"state":{"seq":3}}}"#);
        let answer = Answer::Ok { seq: Some(9), changes: b"", recovered: false };
        assert_eq!(found[0].answer, Some(answer));
    }

    #[test]
    fn what_is_not_json_is_malformed_and_never_a_panic() {
        let whole = r#"[{"id":5,"ok":{"seq":7,"changes":[{"a":"\\"}]}}]"#;
        for end in 0..whole.len() {
            assert!(scan(&whole.as_bytes()[..end], |_| {}).is_err(), "{}", &whole[..end]);
        }
        for wrong in ["x", "{]", "[1]", "{} {}", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1]"#] {
            assert!(scan(wrong.as_bytes(), |_| {}).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stamps_are_two_numbers_with_colons() {
        assert_eq!(stamp(b"12:3456:padding"), Some((12, 3456)));
        for wrong in ["", "12", "12:", "12:34", ":1:2:", "a:1:", "99999999999999999999:1:"] {
            assert_eq!(stamp(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
