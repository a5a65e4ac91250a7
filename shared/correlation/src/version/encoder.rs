//! The three things that keys are written with, and a cursor that reads versions.

/// Writes a key piece by piece. Each piece says itself where it ends, so no piece can be mistaken for the beginning of another.
#[derive(Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// One byte that sorts what follows against what other versions have in this place.
    pub(super) fn mark(&mut self, mark: u8) {
        self.0.push(mark);
    }

    /// A whole number of any size, given in ASCII digits; leading zeros do not count and no digits at all are zero.
    /// Written as the count of digits, then the digits: a longer number is the greater one.
    pub(super) fn number(&mut self, digits: &str) {
        let digits = digits.trim_start_matches('0');
        let count = u8::try_from(digits.len()).expect("no version is longer than 255 bytes");
        self.0.push(count);
        self.0.extend_from_slice(digits.as_bytes());
    }

    /// Text in byte order, where a text sorts before its own continuations. It must not contain a zero byte.
    pub(super) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a version from left to right.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(version: &'a str) -> Self {
        Self { rest: version }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Steps over `prefix` if it comes next, and says whether it did.
    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    /// Steps over the longest run of bytes that `belongs`; the run may be empty. `belongs` must refuse bytes above 127.
    pub(super) fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|byte| !belongs(byte)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// Steps over ASCII digits, maybe none.
    pub(super) fn digits(&mut self) -> &'a str {
        self.take_while(|byte| byte.is_ascii_digit())
    }

    /// Steps over ASCII digits, at least one.
    pub(super) fn number(&mut self) -> Option<&'a str> {
        Some(self.digits()).filter(|digits| !digits.is_empty())
    }
}
