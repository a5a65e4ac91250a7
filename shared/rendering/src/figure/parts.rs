//! Charts without a time axis: donut, bars, gauges, heat map, sparklines. Each returns the height that it took.

use domain::{
    Severity,
    document::{Bar, Colour, Gauge, HeatCell, HeatRow, Number, SeverityCount, Sparkline},
};

use super::{
    canvas::{Canvas, Paint, Style, polyline, short, style},
    spark,
};
use crate::{
    theme::{self, Palette},
    words,
};

/// A ring's piece from `start` for `share` of the whole, both from 0 to 1 and clockwise from the top.
fn arc([x, y]: [f64; 2], outer: f64, inner: f64, start: f64, share: f64) -> String {
    let point = |radius: f64, turn: f64| {
        let angle = std::f64::consts::TAU * (turn - 0.25);
        format!("{} {}", short(x + radius * angle.cos()), short(y + radius * angle.sin()))
    };
    // A full circle in one arc would begin where it ends, and be nothing.
    let middle = start + share / 2.0;
    let end = start + share;
    let arc_to = |radius: f64, sweep: u8, to: f64| {
        format!("A{0} {0} 0 0 {sweep} {1}", short(radius), point(radius, to))
    };
    format!(
        "M{}{}{}L{}{}{}Z",
        point(outer, start),
        arc_to(outer, 1, middle),
        arc_to(outer, 1, end),
        point(inner, end),
        arc_to(inner, 0, middle),
        arc_to(inner, 0, start)
    )
}

pub(super) fn donut(canvas: &mut Canvas, counts: &[SeverityCount], unit: &str, width: f64) -> f64 {
    const SIZE: f64 = 104.0;
    let row = 17.0;
    let height = (row * counts.len() as f64).max(SIZE);
    let centre = [SIZE / 2.0, height / 2.0];
    let total: u64 = counts.iter().map(|entry| entry.count).sum();
    if total == 0 {
        canvas.area(&arc(centre, 51.0, 32.0, 0.0, 1.0), Paint::Hairline);
    }
    let mut start = 0.0;
    for entry in counts.iter().filter(|entry| entry.count > 0) {
        let share = entry.count as f64 / total as f64;
        canvas.area(&arc(centre, 51.0, 32.0, start, share), theme::severity(entry.severity).fill);
        if share < 1.0 {
            let [from, to] = [31.0, 52.0].map(|radius: f64| {
                let angle = std::f64::consts::TAU * (start - 0.25);
                [centre[0] + radius * angle.cos(), centre[1] + radius * angle.sin()]
            });
            canvas.line(from, to, 1.2, Paint::Paper);
        }
        start += share;
    }
    let figure = words::count(total);
    let size = (95.0 / figure.len() as f64).min(19.0);
    canvas.text(centre[0], centre[1] + 3.0, style(size, Paint::Ink).bold().middle(), &figure);
    let below = style(7.5, Paint::Muted).middle();
    canvas.text(centre[0], centre[1] + 14.0, below, &below.fit(unit, 56.0));

    let left = SIZE + 18.0;
    let right = width.min(left + 150.0);
    let top = (height - row * counts.len() as f64) / 2.0;
    for (index, entry) in counts.iter().enumerate() {
        let y = top + row * index as f64 + 11.5;
        let shades = theme::severity(entry.severity);
        canvas.rect([left, y - 6.5, 7.0, 7.0], 1.5, shades.fill);
        canvas.text(left + 12.0, y, style(8.5, Paint::Ink), shades.word);
        canvas.text(right - 31.0, y, style(8.5, Paint::Ink).bold().end(), &words::count(entry.count));
        canvas.text(right, y, style(8.0, Paint::Muted).end(), &share_of(entry.count, total));
    }
    height
}

fn share_of(count: u64, total: u64) -> String {
    match (count, total) {
        (_, 0) => "–".to_owned(),
        (1.., _) if count * 200 < total => "< 1 %".to_owned(),
        _ => format!("{} %", (count * 100 + total / 2) / total),
    }
}

const BAR_LABEL: Style = style(8.5, Paint::Ink);
/// What the names of bars may take of half a page; those who need more get a whole line.
pub(super) const LABELS: f64 = 132.0;

pub(super) fn longest_label(bars: &[Bar]) -> f64 {
    bars.iter().map(|bar| BAR_LABEL.width(&bar.label)).fold(0.0, f64::max)
}

pub(super) fn bars(canvas: &mut Canvas, bars: &[Bar], palette: &Palette, width: f64) -> f64 {
    const ROW: f64 = 17.0;
    let values: Vec<f64> = bars.iter().map(|bar| bar.value.as_f64().unwrap_or(0.0).max(0.0)).collect();
    let largest = values.iter().copied().fold(1e-9, f64::max);
    let label = BAR_LABEL;
    let labels = longest_label(bars).min((width * 0.42).max(LABELS));
    let value_of = |bar: &Bar| words::number(&bar.value, None);
    let numbers = bars.iter().map(|bar| label.bold().width(&value_of(bar))).fold(0.0, f64::max);
    let rated = bars.iter().any(|bar| bar.severity.is_some());
    let ratings = if rated { 40.0 } else { 0.0 };
    let left = labels + 8.0;
    let room = (width - left - numbers - ratings - 8.0).max(10.0);
    for (index, (bar, value)) in bars.iter().zip(values).enumerate() {
        let y = ROW * index as f64;
        let own = Paint::Secondary(palette.secondary);
        let fill = bar.severity.map_or(own, |severity| theme::severity(severity).fill.into());
        canvas.text(0.0, y + 11.0, label, &label.fit(&bar.label, labels + 0.01));
        canvas.rect([left, y + 3.5, (room * value / largest).max(0.8), 9.0], 1.5, fill);
        if let Some(severity) = bar.severity {
            canvas.text(
                width - numbers - 6.0,
                y + 11.0,
                style(7.5, Paint::Muted).end(),
                theme::severity(severity).word,
            );
        }
        canvas.text(width, y + 11.0, label.bold().end(), &value_of(bar));
    }
    if bars.is_empty() { nothing(canvas) } else { ROW * bars.len() as f64 }
}

fn nothing(canvas: &mut Canvas) -> f64 {
    canvas.text(0.0, 11.0, style(8.5, Paint::Muted), "No values.");
    17.0
}

pub(super) fn gauges(canvas: &mut Canvas, gauges: &[Gauge], width: f64) -> f64 {
    const CELL_HEIGHT: f64 = 92.0;
    if gauges.is_empty() {
        return nothing(canvas);
    }
    let per_row = ((width / 112.0).floor() as usize).clamp(1, gauges.len().max(1));
    let cell = width / per_row as f64;
    for (index, gauge) in gauges.iter().enumerate() {
        let middle = cell * ((index % per_row) as f64 + 0.5);
        let top = CELL_HEIGHT * (index / per_row) as f64;
        gauge_at(canvas, gauge, [middle, top + 54.0], cell - 8.0);
    }
    CELL_HEIGHT * gauges.len().div_ceil(per_row) as f64
}

/// A half circle around `centre`, the value inside, the name below.
fn gauge_at(canvas: &mut Canvas, gauge: &Gauge, centre: [f64; 2], room: f64) {
    let [low, high] = [&gauge.minimum, &gauge.maximum].map(|number| number.as_f64().unwrap_or(0.0));
    canvas.area(&arc(centre, 46.0, 36.0, -0.25, 0.5), Paint::Hairline);
    let value = gauge.value.as_ref().and_then(Number::as_f64);
    if let Some(value) = value.filter(|_| high > low) {
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        if share > 0.0 {
            canvas.area(&arc(centre, 46.0, 36.0, -0.25, share / 2.0), theme::tone(gauge.tone).fill);
        }
    }
    let shown = gauge.value.as_ref().map_or_else(|| "–".to_owned(), |value| words::number(value, None));
    let figure = style((68.0 / shown.chars().count() as f64 * 1.3).min(18.0), Paint::Ink).bold().middle();
    canvas.text(centre[0], centre[1] - 3.0, figure, &shown);
    let small = style(6.8, Paint::Muted).middle();
    canvas.text(centre[0] - 41.0, centre[1] + 8.0, small, &words::number(&gauge.minimum, None));
    canvas.text(centre[0] + 41.0, centre[1] + 8.0, small, &words::number(&gauge.maximum, None));
    let name = style(8.5, Paint::Ink).bold().middle();
    canvas.text(centre[0], centre[1] + 21.0, name, &name.fit(&gauge.label, room));
    if let Some(note) = &gauge.note {
        let below = style(7.5, Paint::Muted).middle();
        canvas.text(centre[0], centre[1] + 31.0, below, &below.fit(note, room));
    }
}

pub(super) fn heat_map(
    canvas: &mut Canvas,
    columns: &[String],
    rows: &[HeatRow],
    palette: &Palette,
    width: f64,
) -> f64 {
    const ROW: f64 = 21.0;
    let head = 16.0;
    let label = style(8.2, Paint::Ink);
    let labels = rows.iter().map(|row| label.width(&row.label)).fold(20.0, f64::max).min(width * 0.36) + 8.0;
    let cell = ((width - labels) / columns.len().max(1) as f64).min(96.0);
    let title = style(7.4, Paint::Muted).middle();
    for (index, column) in columns.iter().enumerate() {
        canvas.text(labels + cell * (index as f64 + 0.5), head - 6.0, title, &title.fit(column, cell - 3.0));
    }
    let largest = rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.value).max().unwrap_or(0);
    for (row_index, row) in rows.iter().enumerate() {
        let y = head + ROW * row_index as f64;
        canvas.text(0.0, y + 13.5, label, &label.fit(&row.label, labels - 8.0));
        for (index, heat) in row.cells.iter().enumerate() {
            let (fill, text) = heat_colours(*heat, largest, palette);
            let x = labels + cell * index as f64;
            canvas.rect([x + 0.75, y + 0.75, cell - 1.5, ROW - 1.5], 1.5, fill);
            let shown = heat.value.map_or_else(|| "–".to_owned(), words::count);
            canvas.text(x + cell / 2.0, y + 13.5, style(8.0, text).bold().middle(), &shown);
        }
    }
    if rows.is_empty() { nothing(canvas) } else { head + ROW * rows.len() as f64 }
}

/// Ground and letters of a cell.
fn heat_colours(cell: HeatCell, largest: u64, palette: &Palette) -> (Paint, Paint) {
    let Some(value) = cell.value else { return (Paint::Panel, Paint::Muted) };
    let ground = match (cell.severity, value) {
        (Some(severity), 0) => theme::severity(severity).tint,
        (Some(severity), _) => theme::severity(severity).fill,
        (None, 0) => return (Paint::Panel, Paint::Muted),
        (None, _) => theme::WHITE.mix(palette.primary, 0.12 + 0.82 * value as f64 / largest as f64),
    };
    (ground.into(), contrasting(ground).into())
}

/// White or ink, whichever is easier to read.
pub(super) fn letters_on(ground: Paint) -> Paint {
    match ground {
        Paint::Exactly(colour) => contrasting(colour).into(),
        Paint::Primary(_) | Paint::Secondary(_) => Paint::Paper,
        Paint::Ink | Paint::Muted | Paint::Hairline | Paint::Panel | Paint::Paper => Paint::Ink,
    }
}

fn contrasting(ground: Colour) -> Colour {
    if theme::WHITE.contrast(ground) >= theme::INK.contrast(ground) { theme::WHITE } else { theme::INK }
}

pub(super) fn sparklines(canvas: &mut Canvas, lines: &[Sparkline], width: f64) -> f64 {
    const ROW: f64 = 20.0;
    let label = style(8.5, Paint::Ink);
    let last = |line: &Sparkline| {
        line.values
            .iter()
            .flatten()
            .next_back()
            .map_or_else(|| "–".to_owned(), |value| words::number(value, None))
    };
    let labels =
        lines.iter().map(|line| label.width(&line.label)).fold(0.0, f64::max).min(width * 0.45) + 8.0;
    let numbers = lines.iter().map(|line| label.bold().width(&last(line))).fold(0.0, f64::max) + 8.0;
    for (index, line) in lines.iter().enumerate() {
        let y = ROW * index as f64;
        canvas.text(0.0, y + 13.0, label, &label.fit(&line.label, labels - 8.0));
        let values: Vec<Option<f64>> =
            line.values.iter().map(|value| value.as_ref().and_then(Number::as_f64)).collect();
        let points = spark([labels, y + 4.0, (width - labels - numbers).max(10.0), ROW - 8.0], &values);
        let colour = theme::tone(line.tone).fill;
        for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
            canvas.stroke(&polyline(run.iter().flatten().copied()), 1.3, colour);
        }
        if let Some([x, y]) = points.iter().flatten().next_back() {
            canvas.rect([x - 1.8, y - 1.8, 3.6, 3.6], 1.8, colour);
        }
        canvas.text(width, y + 13.0, label.bold().end(), &last(line));
    }
    if lines.is_empty() { nothing(canvas) } else { ROW * lines.len() as f64 }
}

/// What a series is coloured with.
pub(super) fn series_fill(severity: Option<Severity>, index: usize, palette: &Palette) -> Paint {
    match severity {
        Some(severity) => theme::severity(severity).fill.into(),
        None if palette.series(index) == palette.primary => Paint::Primary(palette.primary),
        None => palette.series(index).into(),
    }
}
