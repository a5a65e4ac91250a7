//! A PDF by its objects: pages, bookmarks, tags, what it declares itself to be. Read by a parser that knows no more than the
//! renderer writes (ISO 32000-1, 7.3 and 7.5.4).

use std::collections::BTreeMap;

use rendering::Rendered;

use crate::{part, runs};

#[derive(Debug, Clone)]
enum Value {
    Name(String),
    Text(Vec<u8>),
    Number(f64),
    Reference(u32),
    Array(Vec<Self>),
    Dictionary(BTreeMap<String, Self>),
    /// `true`, `false`, `null`.
    Word(String),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Name(name) | Self::Word(name) => name.clone(),
            Self::Text(bytes) => match bytes.strip_prefix(&[0xfe, 0xff]) {
                Some(wide) => {
                    let units = wide.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                    char::decode_utf16(units).map(|letter| letter.unwrap_or('?')).collect()
                }
                None => bytes.iter().map(|byte| char::from(*byte)).collect(),
            },
            Self::Number(number) => number.round().to_string(),
            other => format!("{other:?}"),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.bytes[self.at]
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn word(&mut self) -> String {
        let from = self.at;
        while !self.peek().is_ascii_whitespace() && !b"/()<>[]".contains(&self.peek()) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[from..self.at]).into_owned()
    }

    fn value(&mut self) -> Value {
        self.skip_blanks();
        match (self.peek(), self.bytes[self.at + 1]) {
            (b'<', b'<') => self.dictionary(),
            (b'<', _) => self.hexadecimal(),
            (b'(', _) => self.literal(),
            (b'[', _) => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.skip_blanks();
                    if self.peek() == b']' {
                        self.at += 1;
                        return Value::Array(items);
                    }
                    items.push(self.value());
                }
            }
            (b'/', _) => {
                self.at += 1;
                Value::Name(self.word())
            }
            _ => self.number_or_word(),
        }
    }

    fn dictionary(&mut self) -> Value {
        self.at += 2;
        let mut entries = BTreeMap::new();
        loop {
            self.skip_blanks();
            if self.peek() == b'>' {
                self.at += 2;
                return Value::Dictionary(entries);
            }
            let Value::Name(name) = self.value() else { panic!("a key is no name at byte {}", self.at) };
            entries.insert(name, self.value());
        }
    }

    fn hexadecimal(&mut self) -> Value {
        let end = self.at + self.bytes[self.at..].iter().position(|byte| *byte == b'>').unwrap();
        let digits: String = self.bytes[self.at + 1..end]
            .iter()
            .map(|byte| char::from(*byte))
            .filter(|digit| !digit.is_whitespace())
            .collect();
        self.at = end + 1;
        let byte = |place: usize| {
            u8::from_str_radix(&format!("{:0<2}", &digits[place..digits.len().min(place + 2)]), 16)
        };
        Value::Text((0..digits.len()).step_by(2).map(|place| byte(place).unwrap()).collect())
    }

    fn literal(&mut self) -> Value {
        let (mut depth, mut text) = (0, Vec::new());
        loop {
            let byte = self.peek();
            self.at += 1;
            match byte {
                b'\\' => {
                    let next = self.peek();
                    self.at += 1;
                    match next {
                        b'n' => text.push(b'\n'),
                        b'r' => text.push(b'\r'),
                        b't' => text.push(b'\t'),
                        b'0'..=b'7' => {
                            let from = self.at - 1;
                            while self.at < from + 3 && (b'0'..=b'7').contains(&self.peek()) {
                                self.at += 1;
                            }
                            let digits = std::str::from_utf8(&self.bytes[from..self.at]).unwrap();
                            text.push(u8::from_str_radix(digits, 8).unwrap());
                        }
                        other => text.push(other),
                    }
                    continue;
                }
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Value::Text(text);
            }
            if depth > 1 || byte != b'(' {
                text.push(byte);
            }
        }
    }

    fn number_or_word(&mut self) -> Value {
        let word = self.word();
        let Ok(number) = word.parse::<f64>() else { return Value::Word(word) };
        let after = self.at;
        let reference = word.parse().ok().filter(|_| {
            self.skip_blanks();
            self.word() == "0" && {
                self.skip_blanks();
                self.peek() == b'R'
            }
        });
        match reference {
            Some(object) => {
                self.at += 1;
                Value::Reference(object)
            }
            None => {
                self.at = after;
                Value::Number(number)
            }
        }
    }
}

struct File<'a> {
    bytes: &'a [u8],
    /// Where each object begins.
    offsets: Vec<usize>,
    root: Value,
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let tail = String::from_utf8_lossy(&bytes[bytes.len() - 64..]).into_owned();
        let start: usize = tail.split("startxref\n").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        let table = String::from_utf8_lossy(&bytes[start..]).into_owned();
        let offsets = table
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with("trailer"))
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        let trailer = start + table.find("trailer").unwrap() + "trailer".len();
        let root = Reader { bytes, at: trailer }.value();
        let mut file = Self { bytes, offsets, root };
        file.root = file.get(&file.root, "Root");
        file
    }

    fn resolved(&self, value: &Value) -> Value {
        let Value::Reference(object) = value else { return value.clone() };
        let mut reader = Reader { bytes: self.bytes, at: self.offsets[*object as usize] };
        // `7 0 obj`
        for _ in 0..3 {
            reader.skip_blanks();
            reader.word();
        }
        reader.value()
    }

    /// An entry of a dictionary, resolved; `null` when there is none.
    fn get(&self, dictionary: &Value, name: &str) -> Value {
        match dictionary {
            Value::Dictionary(entries) => entries.get(name).map(|value| self.resolved(value)),
            _ => None,
        }
        .unwrap_or_else(|| Value::Word("null".to_owned()))
    }

    fn items(&self, value: &Value) -> Vec<Value> {
        match value {
            Value::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            Value::Word(_) => Vec::new(),
            one => vec![one.clone()],
        }
    }

    /// Size and object of every page below `node`.
    fn pages(&self, node: &Value, into: &mut Vec<(String, u32)>) {
        let Value::Array(kids) = self.get(&self.resolved(node), "Kids") else {
            let Value::Reference(object) = node else { panic!("a page is no object of its own") };
            let sides = self.items(&self.get(&self.resolved(node), "MediaBox"));
            let sides: Vec<String> = sides.iter().skip(2).map(Value::text).collect();
            return into.push((sides.join(" by "), *object));
        };
        kids.iter().for_each(|kid| self.pages(kid, into));
    }

    fn bookmarks(&self, node: &Value, depth: usize, into: &mut Vec<String>) {
        let mut item = self.get(node, "First");
        while let Value::Dictionary(_) = item {
            into.push(format!("{}{}", "  ".repeat(depth), self.get(&item, "Title").text()));
            self.bookmarks(&item, depth + 1, into);
            item = self.get(&item, "Next");
        }
    }

    /// An element and what is in it, equal neighbours told once.
    fn tags(&self, element: &Value, depth: usize, pages: &[(String, u32)]) -> Vec<String> {
        let kids = self.items(&self.get(element, "K"));
        let within: Vec<String> = kids
            .iter()
            .filter(|kid| matches!(self.get(kid, "S"), Value::Name(_)))
            .map(|kid| self.tags(kid, depth + 1, pages).join("\n"))
            .filter(|lines| lines.trim() != "Span")
            .collect();
        let quoted = |name: &str| match self.get(element, name) {
            Value::Text(text) => format!(" {:?}", Value::Text(text).text()),
            _ => String::new(),
        };
        let on = |object: u32| pages.iter().position(|(_, page)| *page == object).map(|place| place + 1);
        let page = match element {
            // A title makes an element worth a place.
            Value::Dictionary(entries) if entries.contains_key("T") => match entries.get("Pg") {
                Some(Value::Reference(page)) => on(*page).map(|number| format!(" on page {number}")),
                _ => None,
            },
            _ => None,
        };
        let own = self.get(element, "S").text() + &quoted("T") + &quoted("Alt") + &page.unwrap_or_default();
        let own = format!("{}{own}", "  ".repeat(depth));
        let within = runs(within).into_iter().map(|lines| {
            let Some((count, rest)) =
                lines.split_once(" × ").filter(|(count, _)| count.parse::<usize>().is_ok())
            else {
                return lines;
            };
            let blanks = rest.len() - rest.trim_start().len();
            format!("{}{count} × {}", &rest[..blanks], rest.trim_start())
        });
        std::iter::once(own).chain(within).collect()
    }
}

pub(crate) fn describe(pdf: &Rendered) -> String {
    let file = File::read(&pdf.bytes);
    let (mut pages, mut bookmarks) = (Vec::new(), Vec::new());
    if let Value::Dictionary(root) = &file.root {
        file.pages(&root["Pages"], &mut pages);
    }
    assert_eq!(pdf.page_count, u32::try_from(pages.len()).ok());
    file.bookmarks(&file.get(&file.root, "Outlines"), 0, &mut bookmarks);
    let tags = file.items(&file.get(&file.get(&file.root, "StructTreeRoot"), "K"));
    let tags = tags.iter().flat_map(|element| file.tags(element, 0, &pages)).collect::<Vec<_>>().join("\n");
    let view = file.get(&file.root, "ViewerPreferences");
    let text = String::from_utf8_lossy(&pdf.bytes);
    let declared = ["pdfaid:part", "pdfaid:conformance", "pdfuaid:part"].map(|name| {
        let value = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split('<').next());
        format!("{name} {}", value.unwrap_or("is missing"))
    });
    let facts = declared.into_iter().chain([
        format!("language {}", file.get(&file.root, "Lang").text()),
        format!("tagged {}", file.get(&file.get(&file.root, "MarkInfo"), "Marked").text()),
        format!("title is shown {}", file.get(&view, "DisplayDocTitle").text()),
    ]);
    let mut described = part("file", facts);
    described += &part(
        "pages",
        std::iter::once(format!("{} in all", pages.len()))
            .chain(runs(pages.into_iter().map(|(size, _)| size))),
    );
    described += &part("bookmarks", bookmarks);
    described += &part("tags", tags.lines().map(str::to_owned));
    described
}
