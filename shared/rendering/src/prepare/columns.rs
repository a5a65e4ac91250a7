//! How wide the columns of a table are on the page, in points.
//!
//! A column that can show its entries whole within its share gets what they need, and the others share what it leaves: most rows of
//! a long table then take one line. Shares are the columns' own hints, or what their kind usually needs. Start at [`widths`]. Word
//! processor files have the same widths, in proportion ([`widths_within`]).

use domain::document::{Cell, Column, ColumnKind, Orientation, Status};

use crate::{
    measure::{SIDE, mark_width, text_width, title_width},
    sanitise, words,
};

/// The text area of a page, 172 and 259 mm.
const PORTRAIT: f64 = 487.0;
const LANDSCAPE: f64 = 734.0;
/// What a lower-case letter takes on average, with some room for capitals and figures.
pub(crate) const LETTER: f64 = 4.5;
/// For a mark of a severity, and for a date.
pub(crate) const SEVERITY: f64 = 54.0;
const DATE: f64 = 60.0;
/// Longer texts are broken into lines rather than given more of the page.
pub(super) const MAX_SHARE: usize = 40;
/// Rows that tell what a column needs.
pub(crate) const LOOKED_AT: usize = 500;
/// Longer names are broken before words are squeezed: `CVE-2024-123456` has 15 letters, a host 20 to 25.
const LONGEST_NAME: f64 = 26.0 * LETTER + 2.0 * SIDE;
/// A column that needs no more holds single words: zones, states.
const SHORT_WORDS: f64 = MAX_WHOLE_WORD as f64 * LETTER + 2.0 * SIDE;
/// Longer words are no words: addresses, digests.
const MAX_WHOLE_WORD: usize = 12;

/// Characters on a full line of a table.
pub(super) fn full_line(orientation: Orientation) -> usize {
    characters_in(room(orientation))
}

fn characters_in(points: f64) -> usize {
    (points / 4.36).round() as usize
}

fn room(orientation: Orientation) -> f64 {
    match orientation {
        Orientation::Portrait => PORTRAIT,
        Orientation::Landscape => LANDSCAPE,
    }
}

/// The column's width hint, or what its kind usually needs.
pub(super) fn characters(column: &Column) -> u16 {
    column
        .width
        .unwrap_or(match column.kind {
            ColumnKind::Text => 30,
            ColumnKind::Number { .. } => 8,
            ColumnKind::Date => 12,
            ColumnKind::Severity | ColumnKind::Status => 12,
            ColumnKind::Link => 19,
            ColumnKind::Identifier => 18,
        })
        .clamp(4, 200)
}

/// Of each column, all together no more than the page has.
pub(super) fn widths(columns: &[Column], rows: &[Vec<Cell>], orientation: Orientation) -> Vec<u16> {
    widths_within(room(orientation), columns, rows)
}

/// As [`widths`], where letters of [`measure`](crate::measure)'s sizes have so much `room`.
pub(crate) fn widths_within(room: f64, columns: &[Column], rows: &[Vec<Cell>]) -> Vec<u16> {
    let shares = shares(columns, rows, characters_in(room));
    let needs: Vec<f64> =
        columns.iter().enumerate().map(|(index, column)| need(index, column, rows)).collect();
    let is_first = first(columns, &needs, room);
    let mut widths: Vec<Option<f64>> =
        needs.iter().zip(is_first).map(|(need, is_first)| is_first.then_some(*need)).collect();
    loop {
        let left = room - widths.iter().flatten().sum::<f64>();
        let open = widths.iter().zip(&shares).filter(|(width, _)| width.is_none()).map(|(_, share)| share);
        let (count, open) = open.fold((0.0, 0.0), |(count, sum), share| (count + 1.0, sum + share));
        // Every column has its sides, however little is in it.
        let sides = (2.0 * SIDE).min(left / count);
        let share_of = |index: usize| sides + (left - sides * count) * shares[index] / open;
        let content =
            (0..columns.len()).filter(|&index| widths[index].is_none() && needs[index] <= share_of(index));
        let content: Vec<usize> = content.collect();
        if content.is_empty() {
            // Those that need more than their share, which they get.
            (0..columns.len()).for_each(|index| _ = widths[index].get_or_insert_with(|| share_of(index)));
            break;
        }
        content.into_iter().for_each(|index| widths[index] = Some(needs[index]));
    }
    let widths: Vec<f64> = widths.into_iter().flatten().collect();
    // What nobody needs makes the columns of words wider, so that the table is as wide as the page.
    let spare = (room - widths.iter().sum::<f64>()).max(0.0);
    let words: f64 =
        columns.iter().zip(&shares).filter(|(column, _)| !is_rigid(column)).map(|(_, share)| share).sum();
    // In whole points, and what one column loses by that the next one gets.
    let mut rounded = 0.0;
    let wider = widths.iter().zip(&shares).zip(columns).map(|((width, share), column)| {
        let exact = width + if is_rigid(column) { 0.0 } else { spare * share / words } + rounded;
        rounded = exact.fract();
        exact as u16
    });
    wider.collect()
}

/// What a column's entries need to stand on one line each, those of the first rows, and its title to break between words only.
fn need(index: usize, column: &Column, rows: &[Vec<Cell>]) -> f64 {
    let title = if is_kept_whole(column) {
        title_width(&column.title)
    } else {
        column.title.split_whitespace().filter_map(title_width).reduce(f64::max)
    };
    let estimate = |text: &str| sanitise::width(text) as f64 * LETTER;
    let entries = rows.iter().take(LOOKED_AT).filter_map(|row| {
        Some(match row.get(index)? {
            Cell::Empty => 0.0,
            Cell::Text(text) | Cell::Identifier(text) => text_width(text).unwrap_or_else(|| estimate(text)),
            Cell::Link(link) => text_width(&link.text).unwrap_or_else(|| estimate(&link.text)),
            Cell::Status(Status { label, tone: _ }) => {
                mark_width(label).unwrap_or_else(|| estimate(label) + 2.0 * SIDE)
            }
            Cell::Number(number) => {
                let decimals =
                    if let ColumnKind::Number { decimals } = column.kind { Some(decimals) } else { None };
                text_width(&words::number(number, decimals)).unwrap_or_default()
            }
            Cell::Date(date) => text_width(&words::date(*date)).unwrap_or_default(),
            Cell::Severity(_) => SEVERITY - 2.0 * SIDE,
        })
    });
    let least = match column.kind {
        ColumnKind::Severity => SEVERITY,
        ColumnKind::Date => DATE,
        _ => 0.0,
    };
    let most = if is_rigid(column) { MAX_SHARE as f64 * LETTER } else { f64::INFINITY };
    entries.chain(title).fold(0.0, f64::max).min(most).ceil().max(least - 2.0 * SIDE) + 2.0 * SIDE
}

/// What the column holds has one length and cannot be broken.
fn is_rigid(column: &Column) -> bool {
    matches!(column.kind, ColumnKind::Severity | ColumnKind::Date | ColumnKind::Number { .. })
}

/// Which columns get what they need before those of words share the rest: figures and dates, which cannot be broken, names, which are
/// no longer themselves when they are, and single words, the shortest first, as far as that leaves the others readable.
fn first(columns: &[Column], needs: &[f64], room: f64) -> Vec<bool> {
    let mut is_first: Vec<bool> = columns.iter().map(is_rigid).collect();
    let least = |is_first: &[bool]| -> f64 {
        let least = columns
            .iter()
            .zip(needs)
            .zip(is_first)
            .map(|((column, need), is_first)| if *is_first { *need } else { need.min(readable(column)) });
        least.sum()
    };
    if least(&is_first) > room {
        // Figures and dates still come first while they leave half of the page.
        let rigid: f64 = needs.iter().zip(&is_first).filter(|(_, first)| **first).map(|(need, _)| need).sum();
        return if 2.0 * rigid <= room { is_first } else { vec![false; columns.len()] };
    }
    let is_name = |index: &usize| {
        let longest = match columns[*index].kind {
            ColumnKind::Identifier | ColumnKind::Link => LONGEST_NAME,
            _ => SHORT_WORDS,
        };
        needs[*index] <= longest
    };
    let mut names: Vec<usize> = (0..columns.len()).filter(is_name).collect();
    names.sort_by(|one, other| needs[*one].total_cmp(&needs[*other]));
    for name in names {
        is_first[name] = true;
        if least(&is_first) > room {
            is_first[name] = false;
            break;
        }
    }
    is_first
}

/// In less than this, words are hard to read: half of what they asked for, and no less than a word.
fn readable(column: &Column) -> f64 {
    let letters = usize::from(characters(column) / 2).clamp(MAX_WHOLE_WORD, MAX_SHARE);
    letters as f64 * LETTER + 2.0 * SIDE
}

/// Columns of numbers are narrow; their titles need not be broken for that.
fn is_kept_whole(column: &Column) -> bool {
    matches!(column.kind, ColumnKind::Number { .. }) && column.title.chars().count() <= 14
}

/// In what proportion columns share a page. Those of words get room for their longest one: `production` broken in two is harder to
/// read than a narrower neighbour.
fn shares(columns: &[Column], rows: &[Vec<Cell>], line: usize) -> Vec<f64> {
    let full_line = line.saturating_sub(2 * columns.len()).max(1);
    let total: usize = columns.iter().map(|column| usize::from(characters(column))).sum();
    let share = |(index, column): (usize, &Column)| {
        let longest = rows
            .iter()
            .take(LOOKED_AT)
            .filter_map(|row| match row.get(index)? {
                Cell::Text(text) | Cell::Status(Status { label: text, tone: _ }) => {
                    text.split_whitespace().map(|word| word.chars().count()).max()
                }
                _ => None,
            })
            .max();
        // A table that is too wide is squeezed, and its columns with it.
        let needed = longest.unwrap_or(0).min(MAX_WHOLE_WORD) * total.max(full_line) / full_line;
        usize::from(characters(column)).max(needed).min(4 * MAX_SHARE) as f64
    };
    columns.iter().enumerate().map(share).collect()
}

/// Which columns stand side by side where a page is too narrow for all that they want (in characters, `line` of which it has):
/// places of columns, the leading `keys` in each part. Columns are squeezed by a third before a table is split.
pub(crate) fn strips(wanted: &[usize], keys: usize, line: usize) -> Vec<Vec<usize>> {
    let room = line * 4 / 3;
    if wanted.iter().sum::<usize>() <= room {
        return vec![(0..wanted.len()).collect()];
    }
    let keys = keys.min(wanted.len().saturating_sub(1)).min(3);
    let start: usize = wanted[..keys].iter().sum();
    let packed = |room: usize| {
        let mut strips: Vec<Vec<usize>> = Vec::new();
        let mut used = usize::MAX;
        for (index, wanted) in wanted.iter().enumerate().skip(keys) {
            if used.saturating_add(*wanted) > room {
                strips.push((0..keys).collect());
                used = start;
            }
            used += wanted;
            if let Some(strip) = strips.last_mut() {
                strip.push(index);
            }
        }
        strips
    };
    // As few parts as possible, and none of them much narrower than the others.
    let fewest = packed(room).len();
    (room / 2..room).map(packed).find(|strips| strips.len() == fewest).unwrap_or_else(|| packed(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths_of(columns: &[Column], row: Vec<Cell>) -> Vec<u16> {
        widths(columns, &[row], Orientation::Landscape)
    }

    #[test]
    fn a_column_gets_what_its_entries_need_and_prose_gets_what_is_left() {
        let columns = [
            Column::new("Severity", ColumnKind::Severity),
            Column::new("Asset", ColumnKind::Identifier).width(8),
            Column::new("What it is", ColumnKind::Text).width(20),
        ];
        let name = "app-000.eu-central-1.example.org";
        let row = vec![
            Cell::Severity(domain::Severity::High),
            Cell::identifier(name),
            Cell::text("Heap buffer overflow while decoding an image. ".repeat(20)),
        ];
        let [severity, asset, prose] = widths_of(&columns, row)[..] else { panic!("three columns") };
        assert_eq!(f64::from(severity), SEVERITY);
        assert!(f64::from(asset) >= text_width(name).unwrap() + 2.0 * SIDE, "{asset}");
        assert!(prose > 2 * asset, "{prose}");
    }

    #[test]
    fn titles_of_many_numbers_are_not_broken_while_the_words_beside_them_stay_readable() {
        let titles = ["Packages", "Critical", "High", "Medium", "Low", "Unrated", "Worst"];
        let mut columns = vec![
            Column::new("Asset", ColumnKind::Identifier).width(26),
            Column::new("System", ColumnKind::Text).width(20),
        ];
        columns.extend(titles.map(|title| Column::new(title, ColumnKind::Number { decimals: 0 }).width(8)));
        let mut row = vec![Cell::identifier("vm"), Cell::text("Debian GNU/Linux 12 (bookworm)")];
        row.extend(titles.map(|_| Cell::number(12.0)));
        let widths = widths(&columns, &[row], Orientation::Portrait);
        for (title, width) in titles.iter().zip(&widths[2..]) {
            assert!(
                f64::from(*width) + 1.0 >= title_width(title).unwrap() + 2.0 * SIDE,
                "{title}: {widths:?}"
            );
        }
    }

    #[test]
    fn the_number_of_a_vulnerability_stands_on_one_line() {
        let link = |text: &str| Cell::Link(domain::document::Link { text: text.into(), url: String::new() });
        let mut columns = vec![Column::new("Vulnerability", ColumnKind::Link)];
        columns.extend(vec![Column::new("What it is", ColumnKind::Text).width(40); 3]);
        let mut row = vec![link("CVE-2021-44228")];
        row.extend(vec![Cell::text("remote code execution through message lookups"); 3]);
        let widths = widths(&columns, &[row], Orientation::Portrait);
        assert!(f64::from(widths[0]) >= text_width("CVE-2021-44228").unwrap() + 2.0 * SIDE, "{widths:?}");
    }

    #[test]
    fn a_table_is_as_wide_as_the_page_however_much_its_columns_want() {
        let columns = vec![Column::new("Description", ColumnKind::Text).width(30); 7];
        for text in ["short".to_owned(), "a much longer text".repeat(9)] {
            let widths = widths_of(&columns, vec![Cell::text(text); 7]);
            let total: u16 = widths.iter().sum();
            assert!((733..=734).contains(&total), "{widths:?}");
        }
    }

    #[test]
    fn a_table_too_wide_for_a_page_is_split_and_repeats_its_key_columns() {
        assert_eq!(strips(&[40; 6], 1, 130), [vec![0, 1, 2, 3], vec![0, 4, 5]]);
        assert_eq!(strips(&[40; 2], 1, 130), [vec![0, 1]]);
        assert_eq!(strips(&[40], 1, 10), [vec![0]]);
    }

    #[test]
    fn a_table_that_is_a_little_too_wide_is_squeezed_rather_than_split() {
        assert_eq!(strips(&[40, 40, 40, 40], 0, 130), [vec![0, 1, 2, 3]]);
    }
}
