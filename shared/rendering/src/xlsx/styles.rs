//! How cells look and which type they have: made once for a workbook.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use domain::document::{Colour, ColumnKind, Tone};
use rust_xlsxwriter::{Color, ExcelDateTime, Format, FormatAlign, FormatBorder, FormatUnderline};

use crate::theme::{self, Palette, Shades};

pub(super) struct Styles {
    pub(super) title: Format,
    pub(super) subtitle: Format,
    pub(super) banner: Format,
    pub(super) heading: Format,
    /// Titles of columns.
    pub(super) header: Format,
    pub(super) label: Format,
    /// Above a table, where rows are one line high and the cells to the right are empty.
    pub(super) label_in_line: Format,
    pub(super) value_in_line: Format,
    pub(super) muted: Format,
    pub(super) text: Format,
    pub(super) text_as_typed: Format,
    pub(super) number: Format,
    pub(super) date: Format,
    pub(super) moment: Format,
    pub(super) link: Format,
    /// Every second row of what is too long to be a table.
    pub(super) stripe: Format,
    secondary: Colour,
}

impl Styles {
    pub(super) fn new(palette: &Palette) -> Self {
        let top = || Format::new().set_align(FormatAlign::Top);
        let primary = colour(palette.primary);
        let header = top()
            .set_bold()
            .set_font_color(Color::White)
            .set_background_color(primary)
            .set_border_bottom(FormatBorder::Thin)
            .set_text_wrap();
        let text = top().set_text_wrap().set_align(FormatAlign::Left);
        Self {
            title: Format::new().set_bold().set_font_size(20).set_font_color(primary),
            subtitle: Format::new().set_font_size(12).set_font_color(colour(theme::MUTED)),
            banner: Format::new().set_bold().set_font_size(12),
            heading: Format::new()
                .set_bold()
                .set_font_size(13)
                .set_font_color(primary)
                .set_border_bottom(FormatBorder::Thin),
            header,
            label: top().set_bold().set_text_wrap(),
            label_in_line: top().set_bold(),
            value_in_line: top().set_align(FormatAlign::Left).set_quote_prefix(),
            muted: Format::new().set_italic().set_font_color(colour(theme::MUTED)),
            text_as_typed: text.clone().set_quote_prefix(),
            text,
            number: top().set_num_format("#,##0.##").set_align(FormatAlign::Left),
            date: top().set_num_format(DATE).set_align(FormatAlign::Left),
            moment: top().set_num_format(MOMENT).set_align(FormatAlign::Left),
            link: link(palette.secondary).set_text_wrap(),
            stripe: Format::new().set_background_color(Color::RGB(0xF2_F2F2)),
            secondary: palette.secondary,
        }
    }

    /// What a column of that kind holds. `wrapped` shows long texts whole, which costs the reader's program time.
    pub(super) fn column(&self, kind: ColumnKind, wrapped: bool) -> Format {
        let top = Format::new().set_align(FormatAlign::Top);
        let top = if wrapped { top.set_text_wrap() } else { top };
        let number = || top.clone().set_align(FormatAlign::Right);
        match kind {
            ColumnKind::Text => top,
            ColumnKind::Severity | ColumnKind::Status => top,
            // `_)` leaves the room of a bracket before the text of the next column. An indent would too, but LibreOffice forgets it where
            // two columns of numbers meet.
            ColumnKind::Number { decimals: 0 } => number().set_num_format("#,##0_)"),
            ColumnKind::Number { decimals } => {
                number().set_num_format(format!("#,##0.{}_)", "0".repeat(usize::from(decimals.min(9)))))
            }
            ColumnKind::Date => top.set_num_format(DATE).set_align(FormatAlign::Left),
            ColumnKind::Link => link(self.secondary),
            // As text: neither `1E5` nor `3.10` becomes a number when somebody edits it.
            ColumnKind::Identifier => top.set_num_format("@"),
        }
    }
}

const DATE: &str = "yyyy-mm-dd";
const MOMENT: &str = "yyyy-mm-dd hh:mm";

fn link(secondary: Colour) -> Format {
    Format::new()
        .set_align(FormatAlign::Top)
        .set_font_color(colour(secondary))
        .set_underline(FormatUnderline::Single)
}

/// The ground and letters of a word that deserves attention.
pub(super) fn shaded(Shades { tint, dark, .. }: Shades) -> Format {
    Format::new().set_bold().set_font_color(colour(dark)).set_background_color(colour(tint))
}

pub(super) fn toned(tone: Tone) -> Option<Format> {
    (tone != Tone::Neutral).then(|| shaded(theme::tone(tone)))
}

pub(super) fn colour(Colour { red, green, blue }: Colour) -> Color {
    Color::RGB(u32::from_be_bytes([0, red, green, blue]))
}

/// None before 1900, where Excel's calendar begins.
pub(super) fn day(date: NaiveDate) -> Option<ExcelDateTime> {
    let year = u16::try_from(date.year()).ok().filter(|year| *year >= 1900)?;
    ExcelDateTime::from_ymd(year, u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?).ok()
}

/// As [`day`]; in UTC, since cells know no zones.
pub(super) fn moment(time: DateTime<Utc>) -> Option<ExcelDateTime> {
    let minute = u8::try_from(time.minute()).ok()?;
    day(time.date_naive())?.and_hms(u16::try_from(time.hour()).ok()?, minute, f64::from(time.second())).ok()
}
