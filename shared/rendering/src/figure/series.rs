//! Charts over time: stacked columns and lines, with axis, grid and legend. Each returns the height that it took.

use domain::document::{Line, Number, Series, StackedColumn, Target};

use super::{
    canvas::{Canvas, Paint, polyline, style},
    parts::{letters_on, series_fill},
};
use crate::{theme::Palette, words};

/// Height of the part between the highest and the lowest grid line.
const PLOT: f64 = 106.0;
/// Room above it for the totals of columns.
const HEAD: f64 = 14.0;
const LABELS: f64 = 16.0;
const LEGEND_ROW: f64 = 14.0;

/// The grid: from where to where in steps that people count in, and where that is on the canvas.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    left: f64,
}

impl Axis {
    fn new(low: f64, high: f64) -> Self {
        let step = step_of((high - low).max(1e-9));
        let low = (low / step).floor() * step;
        let high = ((high / step).ceil() * step).max(low + step);
        let mut axis = Self { low, high, step, left: 0.0 };
        let label = style(7.0, Paint::Muted);
        axis.left = axis.ticks().map(|tick| label.width(&tick_label(tick))).fold(12.0, f64::max) + 7.0;
        axis
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round() as u32;
        let (low, step) = (self.low, self.step);
        (0..=count).map(move |index| low + step * f64::from(index))
    }

    fn y(&self, value: f64) -> f64 {
        HEAD + PLOT * (1.0 - (value - self.low) / (self.high - self.low))
    }

    fn draw(&self, canvas: &mut Canvas, width: f64) {
        let label = style(7.0, Paint::Muted).end();
        for tick in self.ticks() {
            let y = self.y(tick);
            canvas.line(
                [self.left, y],
                [width, y],
                if tick == self.low { 0.8 } else { 0.4 },
                Paint::Hairline,
            );
            canvas.text(self.left - 5.0, y + 2.5, label, &tick_label(tick));
        }
    }
}

fn tick_label(value: f64) -> String {
    Number::from_f64(value).map_or_else(String::new, |value| words::number(&value, None))
}

/// The next of 1, 2, 5, 10, 20, 50 … that is at least a quarter of the range.
fn step_of(range: f64) -> f64 {
    let mut step = 10_f64.powf((range / 4.0).log10().floor());
    for factor in [2.0, 2.5, 2.0] {
        if step * 4.0 >= range * 0.999 {
            break;
        }
        step *= factor;
    }
    step
}

/// Names of the points below the axis, as many as fit.
fn point_labels<'a>(
    canvas: &mut Canvas,
    labels: impl ExactSizeIterator<Item = &'a str> + Clone,
    place: impl Fn(usize) -> f64,
    slot: f64,
) {
    let label = style(7.5, Paint::Muted).middle();
    let widest = labels.clone().map(|text| label.width(text)).fold(1.0, f64::max).min(70.0);
    let every = ((widest + 4.0) / slot.max(0.1)).ceil().max(1.0) as usize;
    for (index, text) in labels.enumerate() {
        if index % every == 0 {
            canvas.text(place(index), HEAD + PLOT + 11.0, label, &label.fit(text, slot * every as f64));
        }
    }
}

/// Names of the series; `mark` draws what stands before each. Returns the height that it took.
fn legend(
    canvas: &mut Canvas,
    names: &[&str],
    [left, top]: [f64; 2],
    width: f64,
    mark: impl Fn(&mut Canvas, usize, [f64; 2]),
) -> f64 {
    let label = style(8.0, Paint::Ink);
    let (mut x, mut row) = (left, 0.0);
    for (index, name) in names.iter().enumerate() {
        let name = label.fit(name, width - left - 14.0);
        let needed = label.width(&name) + 26.0;
        if x > left && x + needed - 12.0 > width {
            x = left;
            row += 1.0;
        }
        let y = top + row * LEGEND_ROW + 9.0;
        mark(canvas, index, [x, y]);
        canvas.text(x + 12.0, y, label, &name);
        x += needed;
    }
    LEGEND_ROW * (row + 1.0)
}

pub(super) fn stacked(
    canvas: &mut Canvas,
    series: &[Series],
    columns: &[StackedColumn],
    palette: &Palette,
    width: f64,
) -> f64 {
    let totals: Vec<u64> = columns.iter().map(|column| column.values.iter().sum()).collect();
    let axis = Axis::new(0.0, totals.iter().copied().max().unwrap_or(0).max(1) as f64);
    axis.draw(canvas, width);
    let slot = (width - axis.left) / columns.len().max(1) as f64;
    let bar = (slot * 0.62).min(34.0);
    let fills: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(index, series)| series_fill(series.severity, index, palette))
        .collect();
    for (index, column) in columns.iter().enumerate() {
        let middle = axis.left + slot * (index as f64 + 0.5);
        let mut below = 0;
        // The first series, the worst, lies at the bottom.
        for (value, fill) in column.values.iter().zip(&fills).filter(|(value, _)| **value > 0) {
            let [top, bottom] = [below + value, below].map(|sum| axis.y(sum as f64));
            canvas.rect([middle - bar / 2.0, top, bar, (bottom - top - 0.5).max(0.4)], 0.0, *fill);
            let number = style(6.8, letters_on(*fill)).middle();
            let text = words::count(*value);
            if bottom - top > 9.0 && number.width(&text) < bar - 1.0 {
                canvas.text(middle, f64::midpoint(top, bottom) + 2.3, number, &text);
            }
            below += value;
        }
        let total = style(7.5, Paint::Ink).bold().middle();
        let text = words::count(totals[index]);
        if total.width(&text) < slot {
            canvas.text(middle, axis.y(totals[index] as f64) - 3.5, total, &text);
        }
    }
    let labels = columns.iter().map(|column| column.label.as_str());
    point_labels(canvas, labels, |index| axis.left + slot * (index as f64 + 0.5), slot);
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let top = HEAD + PLOT + LABELS;
    top + legend(canvas, &names, [axis.left, top], width, |canvas, index, [x, y]| {
        canvas.rect([x, y - 6.5, 7.0, 7.0], 1.5, fills[index]);
    })
}

pub(super) fn lines(
    canvas: &mut Canvas,
    points: &[String],
    lines: &[Line],
    target: Option<&Target>,
    palette: &Palette,
    width: f64,
) -> f64 {
    let values = |line: &Line| -> Vec<Option<f64>> {
        line.values.iter().map(|value| value.as_ref().and_then(Number::as_f64)).collect()
    };
    let level = target.and_then(|target| target.value.as_f64());
    let all: Vec<f64> = lines.iter().flat_map(values).flatten().chain(level).collect();
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    // A line may begin above zero where that shows more; columns may not.
    let (low, high) = if all.is_empty() { (0.0, 1.0) } else { (low, high) };
    let axis = Axis::new(if low >= 0.0 && low < high * 0.6 { 0.0 } else { low }, high);
    axis.draw(canvas, width);
    let slot = (width - axis.left - 12.0) / (points.len().max(2) - 1) as f64;
    let x = |index: usize| axis.left + 6.0 + slot * index as f64;
    if let (Some(level), Some(target)) = (level, target) {
        let y = axis.y(level);
        canvas.dashed(&polyline([[axis.left, y], [width, y]]), 0.9, Paint::Muted);
        let label = style(7.2, Paint::Muted);
        canvas.text(axis.left + 4.0, y - 3.0, label, &label.fit(&target.label, width / 2.0));
    }
    let fill = |index: usize| series_fill(lines[index].severity, index, palette);
    for (index, line) in lines.iter().enumerate() {
        let places: Vec<Option<[f64; 2]>> = values(line)
            .iter()
            .enumerate()
            .map(|(at, value)| value.map(|value| [x(at), axis.y(value)]))
            .collect();
        for run in places.split(Option::is_none).filter(|run| !run.is_empty()) {
            canvas.stroke(&polyline(run.iter().flatten().copied()), 1.6, fill(index));
        }
        let marked = points.len() <= 31;
        for place in places.iter().flatten().filter(|_| marked) {
            canvas.area(&marker(index, *place), fill(index));
        }
    }
    point_labels(canvas, points.iter().map(String::as_str), x, slot);
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let top = HEAD + PLOT + LABELS;
    top + legend(canvas, &names, [axis.left, top], width, |canvas, index, [x, y]| {
        canvas.line([x - 1.0, y - 3.0], [x + 9.0, y - 3.0], 1.4, fill(index));
        canvas.area(&marker(index, [x + 4.0, y - 3.0]), fill(index));
    })
}

/// A shape of its own for each line, for eyes and printers without colour.
fn marker(index: usize, [x, y]: [f64; 2]) -> String {
    let corners: &[[f64; 2]] = match index % 4 {
        0 => &[[-2.2, -2.2], [2.2, -2.2], [2.2, 2.2], [-2.2, 2.2]],
        1 => &[[0.0, -3.0], [2.8, 2.2], [-2.8, 2.2]],
        2 => &[[0.0, -3.1], [3.1, 0.0], [0.0, 3.1], [-3.1, 0.0]],
        _ => &[[0.0, 3.0], [2.8, -2.2], [-2.8, -2.2]],
    };
    let mut path = polyline(corners.iter().map(|[dx, dy]| [x + dx, y + dy]));
    path.push('Z');
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_that_people_count_in() {
        assert_eq!(
            [3.9, 4.0, 17.0, 468.0, 0.4].map(step_of),
            [1.0, 1.0, 5.0, 200.0, 0.1].map(|step: f64| step)
        );
    }

    #[test]
    fn an_axis_holds_its_values_between_its_ends() {
        let axis = Axis::new(0.0, 702.0);
        assert!(axis.high >= 702.0 && axis.ticks().count() <= 6);
        assert!(axis.y(702.0) >= HEAD && axis.y(0.0) <= HEAD + PLOT);
        assert_eq!(Axis::new(5.0, 5.0).y(5.0), HEAD + PLOT);
    }
}
