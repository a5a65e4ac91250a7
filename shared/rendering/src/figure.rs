//! Charts and diagrams as SVG: drawn once, shown by every format that has pictures.
//!
//! Text stays text, in the bundled fonts where they are at hand. Nothing needs its colours to be understood: names and
//! values stand beside the shapes. Start at [`chart`] and [`diagram`]; [`widths`] says which charts share a line.

mod canvas;
mod diagram;
mod marked;
mod parts;
mod png;
mod qr;
mod series;

use domain::document::{Block, Chart, Diagram, Document, Format, Number, Plot, Section, Tone};

pub(crate) use self::{
    canvas::escape,
    png::{check_png, isolated, rasterise},
    qr::code as qr_code,
};
use crate::{Options, RenderError, Rendered, prepare, theme, theme::Palette};
use canvas::{Canvas, Paint, polyline};

/// Points across, of a chart with the width of an upright page to itself.
pub(crate) const FULL: f64 = 488.0;
/// Two with a gutter between them make the full width.
pub(crate) const HALF: f64 = 229.0;

/// The document's main figure alone, marked as its pages are.
pub(crate) fn render(
    document: &Document,
    format: Format,
    options: &Options,
) -> Result<Rendered, RenderError> {
    let palette = Palette::of(&options.branding);
    let page = prepare::for_page(document);
    let svg = match page.main_figure() {
        Some(Block::Diagram(figure)) => diagram(figure, &palette),
        Some(Block::Chart(figure)) => chart(figure, &palette, FULL),
        _ => {
            return Err(RenderError::UnsupportedFormat { report: document.report_type.clone(), format });
        }
    };
    let svg = marked::marked(svg, &page, options.branding.contact.as_deref());
    let bytes = if format == Format::Png { rasterise(&svg, 2.0)? } else { svg.into_bytes() };
    Ok(Rendered::new(format, bytes))
}

pub(crate) fn chart(chart: &Chart, palette: &Palette, width: f64) -> String {
    let mut canvas = Canvas::default();
    let height = match &chart.plot {
        Plot::SeverityDonut { counts } => parts::donut(&mut canvas, counts, &chart.unit, width),
        Plot::Bars { bars } => parts::bars(&mut canvas, bars, palette, width),
        Plot::StackedBars { series, columns } => {
            series::stacked(&mut canvas, series, columns, palette, width)
        }
        Plot::Lines { points, lines, target } => {
            series::lines(&mut canvas, points, lines, target.as_ref(), palette, width)
        }
        Plot::Gauges { gauges } => parts::gauges(&mut canvas, gauges, width),
        Plot::HeatMap { columns, rows } => parts::heat_map(&mut canvas, columns, rows, palette, width),
        Plot::Sparklines { lines } => parts::sparklines(&mut canvas, lines, width),
    };
    canvas.finish(width, height, &chart.alt)
}

pub(crate) fn diagram(diagram: &Diagram, palette: &Palette) -> String {
    diagram::draw(diagram, palette)
}

/// Points across, as the drawing says itself.
pub(crate) fn width_of(svg: &str) -> f64 {
    measure_of(svg, "width").unwrap_or(FULL)
}

fn measure_of(svg: &str, name: &str) -> Option<f64> {
    let measure = svg.split_once(&format!(" {name}=\""))?.1.split('"').next()?;
    measure.parse().ok()
}

/// The same drawing, shown larger.
pub(crate) fn enlarged(svg: &str, factor: f64) -> String {
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    let mut shown = String::with_capacity(svg.len() + 16);
    for (index, part) in head.split("\" ").enumerate() {
        shown.push_str(if index > 0 { "\" " } else { "" });
        match part.split_once("=\"") {
            Some((name @ ("width" | "height"), size)) => {
                let size =
                    size.parse::<f64>().map_or_else(|_| size.to_owned(), |size| canvas::short(size * factor));
                shown.push_str(&format!("{name}=\"{size}"));
            }
            _ => shown.push_str(part),
        }
    }
    shown.push('>');
    shown.push_str(rest);
    shown
}

/// The earlier values of a key figure as a small line. Decoration: the values say nothing that the trend does not.
pub(crate) fn history(values: &[Number], tone: Tone) -> Option<String> {
    const WIDTH: f64 = 64.0;
    const HEIGHT: f64 = 16.0;
    let values: Vec<Option<f64>> = values.iter().map(Number::as_f64).collect();
    if values.len() < 2 {
        return None;
    }
    let points = spark([1.5, 1.5, WIDTH - 3.0, HEIGHT - 3.0], &values);
    let colour = theme::tone(tone).fill;
    let mut canvas = Canvas::default();
    canvas.stroke(&polyline(points.iter().flatten().copied()), 1.2, colour);
    if let Some([x, y]) = points.iter().flatten().last() {
        canvas.rect([x - 1.5, y - 1.5, 3.0, 3.0], 1.5, Paint::Exactly(colour));
    }
    Some(canvas.finish(WIDTH, HEIGHT, "Recent values"))
}

/// Places of the values in a frame of x, y, width and height; none where nothing was measured.
fn spark([x, y, width, height]: [f64; 4], values: &[Option<f64>]) -> Vec<Option<[f64; 2]>> {
    let known = || values.iter().flatten().copied();
    let low = known().fold(f64::INFINITY, f64::min);
    let range = known().fold(f64::NEG_INFINITY, f64::max) - low;
    let step = width / (values.len().max(2) - 1) as f64;
    let height_of = |value: f64| if range > 0.0 { (value - low) / range } else { 0.5 };
    let place = |(index, value): (usize, &Option<f64>)| {
        value.map(|value| [x + step * index as f64, y + height * (1.0 - height_of(value))])
    };
    values.iter().enumerate().map(place).collect()
}

/// The width of each chart of a section, by its place among the section's blocks: two that follow one another share the
/// line if both can do with half of it.
pub(crate) fn widths(section: &Section) -> Vec<Option<f64>> {
    let charts: Vec<Option<&Chart>> = section
        .blocks
        .iter()
        .map(|block| match block {
            Block::Chart(chart) => Some(chart),
            _ => None,
        })
        .collect();
    let mut widths = vec![None; charts.len()];
    let mut index = 0;
    while index < charts.len() {
        let Some(chart) = charts[index] else {
            index += 1;
            continue;
        };
        let pair =
            charts.get(index + 1).copied().flatten().is_some_and(|next| can_share(chart) && can_share(next));
        if pair {
            widths[index] = Some(HALF);
            widths[index + 1] = Some(HALF);
            index += 2;
        } else {
            widths[index] = Some(if gains_nothing(chart) { HALF } else { FULL });
            index += 1;
        }
    }
    widths
}

fn can_share(chart: &Chart) -> bool {
    match &chart.plot {
        Plot::SeverityDonut { .. } | Plot::Sparklines { .. } => true,
        Plot::Bars { bars } => parts::longest_label(bars) <= parts::LABELS,
        Plot::StackedBars { columns, series: _ } => columns.len() <= 8,
        Plot::Lines { points, lines, target: _ } => points.len() <= 12 && lines.len() <= 4,
        Plot::Gauges { gauges } => gauges.len() <= 2,
        Plot::HeatMap { columns, rows } => columns.len() <= 5 && rows.len() <= 8,
    }
}

/// Charts that a wider frame would only pull apart.
fn gains_nothing(chart: &Chart) -> bool {
    matches!(chart.plot, Plot::SeverityDonut { .. } | Plot::Bars { .. } | Plot::Sparklines { .. })
        && can_share(chart)
}

#[cfg(test)]
mod tests {
    use domain::document::{Bar, SeverityCount};

    use super::*;

    fn section(plots: Vec<Plot>) -> Section {
        let chart = |plot| {
            Block::Chart(Chart {
                id: String::new(),
                title: "T".into(),
                alt: "A".into(),
                unit: "findings".into(),
                plot,
            })
        };
        Section { blocks: plots.into_iter().map(chart).collect(), ..Section::new("s", "S") }
    }

    #[test]
    fn two_narrow_charts_share_a_line_and_a_third_stands_alone() {
        let bars = || Plot::Bars { bars: Vec::<Bar>::new() };
        let widths = widths(&section(vec![bars(), bars(), Plot::HeatMap { columns: vec![], rows: vec![] }]));
        assert_eq!(widths, [Some(HALF), Some(HALF), Some(FULL)]);
    }

    #[test]
    fn an_enlarged_drawing_keeps_its_inner_measures() {
        let svg = "<svg viewBox=\"0 0 10 5\" width=\"10\" height=\"5\"><rect width=\"3\"/></svg>";
        let larger = "<svg viewBox=\"0 0 10 5\" width=\"20\" height=\"10\"><rect width=\"3\"/></svg>";
        // The last attribute of the tag is followed by its end, not by another.
        assert_eq!(
            enlarged(&svg.replace("5\">", "5\" x=\"\">"), 2.0),
            larger.replace("10\">", "10\" x=\"\">")
        );
    }

    #[test]
    fn an_empty_donut_is_still_a_picture() {
        let counts = vec![SeverityCount { severity: domain::Severity::High, count: 0 }];
        let section = section(vec![Plot::SeverityDonut { counts }]);
        let Block::Chart(figure) = &section.blocks[0] else { unreachable!() };
        let svg = chart(figure, &Palette::default(), HALF);
        assert!(svg.contains("aria-label=\"A\"") && !svg.contains("NaN"), "{svg}");
    }
}
