//! How an organization's documents look: kept with the tenant, handed to every conversion.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Image;

/// Every field may be left out; what is missing takes the product's own look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// Used where the document brings no logo of its own.
    pub logo: Option<Image>,
    pub colours: Colours,
    /// Whom to ask about the document: name, address, telephone, in one line.
    pub contact: Option<String>,
    /// Statements for the end of the document: confidentiality, liability, trademarks.
    pub legal_statements: Vec<String>,
}

/// Any colour may come: conversions darken or lighten what would be unreadable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Colours {
    /// The cover's ground and the headings.
    pub primary: Option<Colour>,
    /// Charts and links.
    pub secondary: Option<Colour>,
    /// Small marks: the rule on the cover.
    pub accent: Option<Colour>,
}

/// Red, green and blue in sRGB, written `#17324d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Colour {
    pub red: u8,
    pub green: u8,
    pub blue: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("colour `{0}` is not written as `#17324d`")]
pub struct UnknownColour(pub String);

impl Colour {
    #[must_use]
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue }
    }

    /// Relative luminance from 0 to 1 (WCAG 2.2, definition).
    #[must_use]
    pub fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    /// Contrast ratio from 1 to 21 (WCAG 2.2, definition).
    #[must_use]
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance() + 0.05, other.luminance() + 0.05);
        if one > two { one / two } else { two / one }
    }

    /// So much of `other` mixed in, from 0 to 1.
    #[must_use]
    pub fn mix(self, other: Self, share: f64) -> Self {
        let channel = |one: u8, two: u8| {
            // Between two bytes, so a byte.
            (f64::from(one) * (1.0 - share) + f64::from(two) * share).round() as u8
        };
        Self::new(
            channel(self.red, other.red),
            channel(self.green, other.green),
            channel(self.blue, other.blue),
        )
    }

    /// This colour, darkened only as far as `ratio` against `ground` asks. Black when nothing else is readable.
    #[must_use]
    pub fn readable_on(self, ground: Self, ratio: f64) -> Self {
        let towards = if ground.luminance() > 0.18 { Self::new(0, 0, 0) } else { Self::new(255, 255, 255) };
        (0..=20)
            .map(|step| self.mix(towards, f64::from(step) / 20.0))
            .find(|colour| colour.contrast(ground) >= ratio)
            .unwrap_or(towards)
    }
}

impl FromStr for Colour {
    type Err = UnknownColour;

    /// `#17324d`, `17324D` and `#abc` are understood.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownColour(text.chars().take(40).collect());
        let digits = text.trim().trim_start_matches('#');
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let long = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            6 => digits.to_owned(),
            _ => return Err(unknown()),
        };
        let channel = |from: usize| u8::from_str_radix(&long[from..from + 2], 16).map_err(|_| unknown());
        Ok(Self::new(channel(0)?, channel(2)?, channel(4)?))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

impl TryFrom<String> for Colour {
    type Error = UnknownColour;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        colour.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = Colour::new(255, 255, 255);

    #[test]
    fn colours_read_back_as_they_are_written() {
        assert_eq!("#17324d".parse::<Colour>().unwrap().to_string(), "#17324d");
        assert_eq!("ABC".parse::<Colour>().unwrap(), Colour::new(0xaa, 0xbb, 0xcc));
        for wrong in ["", "#12", "blue", "#ééé", "#12345678"] {
            assert!(wrong.parse::<Colour>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_colour_becomes_readable_on_white_and_on_black() {
        for colour in ["#ffff00", "#ffffff", "#000000", "#808080", "#ff69b4"] {
            let colour: Colour = colour.parse().unwrap();
            for ground in [WHITE, Colour::new(0, 0, 0)] {
                assert!(colour.readable_on(ground, 4.5).contrast(ground) >= 4.5, "{colour} on {ground}");
            }
        }
    }

    #[test]
    fn a_readable_colour_is_left_alone() {
        let navy: Colour = "#17324d".parse().unwrap();
        assert_eq!(navy.readable_on(WHITE, 4.5), navy);
        assert!((WHITE.contrast(Colour::new(0, 0, 0)) - 21.0).abs() < 0.01);
    }
}
