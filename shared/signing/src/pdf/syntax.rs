//! PDF's objects (ISO 32000-1, 7.3), as far as a file's last revision needs them.
//!
//! Strict: no comments, nothing that is only tolerated, no key twice. Every value knows where it stands, since what
//! matters is often not what it says but that it is the very bytes that somebody else will look at.

use std::ops::Range;

/// Dictionaries within arrays within dictionaries: more than any of ours.
const DEEPEST: usize = 24;
/// Keys of one dictionary, and values that one parser reads: more than any of ours, and little enough to be read in a moment and held in
/// some megabytes, whoever wrote them.
const MOST_KEYS: usize = 256;
const MOST_VALUES: usize = 50_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object<'a> {
    Null,
    Boolean(bool),
    Integer(u64),
    /// A number that is negative or has a fraction, which nobody here needs the value of.
    Number,
    Name(&'a [u8]),
    /// `(…)`: escapes as they stand.
    Literal,
    /// `<…>`: the digits as they stand.
    Hexadecimal(&'a [u8]),
    Array(Vec<Value<'a>>),
    Dictionary(Dictionary<'a>),
    Reference(u32),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value<'a> {
    pub(super) object: Object<'a>,
    /// Where it stands in the file.
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dictionary<'a>(Vec<(&'a [u8], Value<'a>)>);

impl<'a> Dictionary<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }

    pub(super) fn reference(&self, key: &str) -> Option<u32> {
        match self.get(key)?.object {
            Object::Reference(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn integer(&self, key: &str) -> Option<u64> {
        match self.get(key)?.object {
            Object::Integer(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn name(&self, key: &str) -> Option<&'a [u8]> {
        match self.get(key)?.object {
            Object::Name(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn array(&self, key: &str) -> Option<&[Value<'a>]> {
        match &self.get(key)?.object {
            Object::Array(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn dictionary(&self, key: &str) -> Option<&Self> {
        match &self.get(key)?.object {
            Object::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }

    /// The keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().map(|(key, _)| *key)
    }
}

/// Reads from a place in the file onwards. `None` means that it is not as it should be.
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    pub(super) position: usize,
    /// Values that it may still read.
    left: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position, left: MOST_VALUES }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    pub(super) fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.position += 1;
        }
    }

    /// Exactly these bytes, here.
    pub(super) fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest().starts_with(bytes).then(|| self.position += bytes.len())
    }

    /// Decimal digits, at most ten of them.
    pub(super) fn digits(&mut self) -> Option<u64> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=10).contains(&count) {
            return None;
        }
        let text = std::str::from_utf8(&self.rest()[..count]).ok()?;
        self.position += count;
        text.parse().ok()
    }

    /// `12 0 obj`: the number.
    pub(super) fn object_header(&mut self) -> Option<u32> {
        let number = u32::try_from(self.digits()?).ok()?;
        self.expect(b" 0 obj")?;
        Some(number)
    }

    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Option<Value<'a>> {
        if depth > DEEPEST {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.skip_space();
        let start = self.position;
        let object = match self.peek()? {
            b'/' => Object::Name(self.name()?),
            b'(' => self.literal()?,
            b'[' => {
                self.position += 1;
                let mut values = Vec::new();
                loop {
                    self.skip_space();
                    if self.expect(b"]").is_some() {
                        break Object::Array(values);
                    }
                    values.push(self.nested(depth + 1)?);
                }
            }
            b'<' if self.rest().starts_with(b"<<") => Object::Dictionary(self.dictionary(depth)?),
            b'<' => self.hexadecimal()?,
            b't' => self.expect(b"true").map(|()| Object::Boolean(true))?,
            b'f' => self.expect(b"false").map(|()| Object::Boolean(false))?,
            b'n' => self.expect(b"null").map(|()| Object::Null)?,
            _ => self.number()?,
        };
        Some(Value { object, span: start..self.position })
    }

    fn dictionary(&mut self, depth: usize) -> Option<Dictionary<'a>> {
        self.expect(b"<<")?;
        let mut entries: Vec<(&[u8], Value<'_>)> = Vec::new();
        loop {
            self.skip_space();
            if self.expect(b">>").is_some() {
                return Some(Dictionary(entries));
            }
            let key = self.name()?;
            // Which of two would be meant depends on the reader.
            if entries.len() == MOST_KEYS || entries.iter().any(|(known, _)| *known == key) {
                return None;
            }
            entries.push((key, self.nested(depth + 1)?));
        }
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        self.expect(b"/")?;
        let length = self.rest().iter().take_while(|byte| is_regular(**byte)).count();
        let name = self.rest().get(..length)?;
        // `#53ig` is another way to write `Sig`, which not every reader knows.
        if name.contains(&b'#') {
            return None;
        }
        self.position += length;
        Some(name)
    }

    fn literal(&mut self) -> Option<Object<'a>> {
        self.expect(b"(")?;
        let mut open = 1_usize;
        while open > 0 {
            match self.peek()? {
                b'\\' => self.position += 1,
                b'(' => open += 1,
                b')' => open -= 1,
                _ => {}
            }
            self.position += 1;
        }
        Some(Object::Literal)
    }

    fn hexadecimal(&mut self) -> Option<Object<'a>> {
        self.expect(b"<")?;
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digits = self.rest().get(..length)?;
        self.position += length;
        self.expect(b">")?;
        Some(Object::Hexadecimal(digits))
    }

    /// A number, or a reference such as `12 0 R`.
    fn number(&mut self) -> Option<Object<'a>> {
        let length =
            self.rest().iter().take_while(|byte| byte.is_ascii_digit() || b"+-.".contains(byte)).count();
        let text = self.rest().get(..length).filter(|text| !text.is_empty())?;
        let after = self.position + length;
        if !text.iter().all(u8::is_ascii_digit) {
            self.position = after;
            return Some(Object::Number);
        }
        let value = self.digits()?;
        if self.rest().starts_with(b" 0 R") && !self.rest().get(4).copied().is_some_and(is_regular) {
            self.position += 4;
            return Some(Object::Reference(u32::try_from(value).ok()?));
        }
        Some(Object::Integer(value))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\0' | b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}

fn is_regular(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>[]{}/%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Object<'_>> {
        Parser::at(text.as_bytes(), 0).value().map(|value| value.object)
    }

    #[test]
    fn a_dictionary_is_read_with_the_place_of_each_value() {
        let text = "<</Type/Catalog/Pages 1 0 R/Box[0 0 595.2 841]/T(a\\)b(c))/Id<00ff>/Ok true>>";
        let Some(Object::Dictionary(read)) = parse(text) else { panic!("no dictionary") };
        assert_eq!(read.reference("Pages"), Some(1));
        assert_eq!(read.array("Box").map(<[_]>::len), Some(4));
        let id = read.get("Id").expect("an id");
        assert_eq!(&text[id.span.clone()], "<00ff>");
        assert_eq!(id.object, Object::Hexadecimal(b"00ff"));
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        for text in [
            "<</A 1/A 2>>",
            "<</#41 1>>",
            "<</A 1",
            "(open",
            "<0g>",
            "[1 2",
            "<</A % hidden\n1>>",
            "99999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_has_an_end_and_so_have_arrays_and_dictionaries() {
        assert!(parse(&"[".repeat(100_000)).is_none());
        let keys = |count: usize| (0..count).map(|key| format!("/K{key} 1")).collect::<String>();
        assert!(parse(&format!("<<{}>>", keys(MOST_KEYS))).is_some());
        assert!(parse(&format!("<<{}>>", keys(MOST_KEYS + 1))).is_none());
        // The array is a value too.
        assert!(parse(&format!("[{}]", "1 ".repeat(MOST_VALUES - 1))).is_some());
        assert!(parse(&format!("[{}]", "1 ".repeat(MOST_VALUES))).is_none());
        let many = format!("<<{}>>", keys(50)).repeat(MOST_VALUES / 50);
        assert!(parse(&format!("[{many}]")).is_none(), "all of them count together");
    }
}
