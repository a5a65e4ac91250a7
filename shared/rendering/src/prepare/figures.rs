//! Charts and diagrams: so many parts as fit on a page, and labels that can be shown.

use std::collections::HashSet;

use domain::document::{
    Bar, Chart, Diagram, Edge, Gauge, Group, HeatRow, Line, Node, Plot, Series, Sparkline, StackedColumn,
    Target,
};

use super::{PHRASE, PROSE, Place, set_drawn, set_required};

/// A chart must fit on a page, whatever its labels.
const MAX_BARS: usize = 15;
const MAX_SERIES: usize = 8;
const MAX_GAUGES: usize = 8;
const MAX_POINTS: usize = 120;
const MAX_HEAT_ROWS: usize = 24;
const MAX_HEAT_COLUMNS: usize = 16;
/// The layout's time grows with the square of these.
const MAX_NODES: usize = 120;
const MAX_EDGES: usize = 300;

pub(super) fn set_chart(chart: &mut Chart) {
    let Chart { id: _, title, alt, unit, plot } = chart;
    set_required(title, PHRASE, "Chart");
    set_required(alt, Place { line: usize::MAX, ..PROSE }, title);
    set_drawn(unit);
    match plot {
        Plot::SeverityDonut { counts: _ } => {}
        Plot::Bars { bars } => {
            shorten(bars, MAX_BARS, title);
            bars.iter_mut().for_each(|Bar { label, value: _, severity: _ }| set_drawn(label));
        }
        Plot::StackedBars { series, columns } => {
            shorten(series, MAX_SERIES, title);
            let kept = series.len();
            for Series { name, severity: _ } in series {
                set_drawn(name);
            }
            columns.drain(..columns.len().saturating_sub(MAX_POINTS));
            for StackedColumn { label, values } in columns {
                set_drawn(label);
                values.truncate(kept);
            }
        }
        Plot::Lines { points, lines, target } => {
            shorten(lines, MAX_SERIES, title);
            let surplus = points.len().saturating_sub(MAX_POINTS);
            points.drain(..surplus);
            points.iter_mut().for_each(set_drawn);
            for Line { name, severity: _, values } in lines {
                set_drawn(name);
                values.drain(..surplus);
            }
            if let Some(Target { label, value: _ }) = target {
                set_drawn(label);
            }
        }
        Plot::Gauges { gauges } => {
            shorten(gauges, MAX_GAUGES, title);
            for Gauge { label, value: _, minimum: _, maximum: _, tone: _, note } in gauges {
                set_drawn(label);
                note.iter_mut().for_each(set_drawn);
            }
        }
        Plot::HeatMap { columns, rows } => {
            shorten(rows, MAX_HEAT_ROWS, title);
            shorten(columns, MAX_HEAT_COLUMNS, title);
            columns.iter_mut().for_each(set_drawn);
            for HeatRow { label, cells } in rows {
                set_drawn(label);
                cells.truncate(columns.len());
            }
        }
        Plot::Sparklines { lines } => {
            shorten(lines, MAX_BARS, title);
            for Sparkline { label, values, tone: _ } in lines {
                set_drawn(label);
                values.drain(..values.len().saturating_sub(MAX_POINTS));
            }
        }
    }
}

/// Keep the first ones, and say so in the title.
fn shorten<T>(parts: &mut Vec<T>, most: usize, title: &mut String) {
    if parts.len() > most {
        *title = format!("{title} (the first {most} of {})", parts.len());
        parts.truncate(most);
    }
}

pub(super) fn set_diagram(diagram: &mut Diagram) {
    let Diagram { id: _, title, alt, direction: _, groups, nodes, edges } = diagram;
    set_required(title, PHRASE, "Diagram");
    set_required(alt, Place { line: usize::MAX, ..PROSE }, title);
    if nodes.len() > MAX_NODES {
        *title = format!("{title} (the first {MAX_NODES} of {} elements)", nodes.len());
        nodes.truncate(MAX_NODES);
        let kept: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        edges.retain(|edge| kept.contains(edge.from.as_str()) && kept.contains(edge.to.as_str()));
    }
    edges.truncate(MAX_EDGES);
    // Ids only tie the parts together; they are not drawn.
    for Group { id: _, label, parent: _, tone: _ } in groups {
        set_drawn(label);
    }
    for Node { id: _, label, detail, shape: _, tone: _, group: _ } in nodes {
        set_drawn(label);
        detail.iter_mut().for_each(set_drawn);
    }
    for Edge { from: _, to: _, label, dashed: _ } in edges {
        label.iter_mut().for_each(set_drawn);
    }
}
