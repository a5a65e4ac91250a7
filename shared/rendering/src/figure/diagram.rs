//! Boxes and arrows: `dagre` says where, this draws.

use std::collections::{HashMap, HashSet};

use dagre::{
    EdgeLabel, LayoutOptions, NodeLabel, RankDir,
    graph::{Graph, GraphOptions},
};
use domain::document::{Diagram, Edge, Flow, Group, Node, Shape};

use super::canvas::{Canvas, Paint, Style, polyline, short, style};
use crate::theme::{self, Palette};

const LABEL: Style = style(8.5, Paint::Exactly(theme::INK)).bold();
const DETAIL: Style = style(7.2, Paint::Exactly(theme::MUTED));
const EDGE: Style = style(7.2, Paint::Muted);
const FRAME: Style = style(7.6, Paint::Muted).bold();
const MAX_WIDTH: f64 = 132.0;
const LINE: f64 = 11.0;
/// Around everything, so that no stroke is cut.
const MARGIN: f64 = 8.0;

/// A node with its text broken into lines.
struct Sized<'a> {
    node: &'a Node,
    label: Vec<String>,
    detail: Vec<String>,
    width: f64,
    height: f64,
}

impl<'a> Sized<'a> {
    fn new(node: &'a Node) -> Self {
        let label = LABEL.wrap(&node.label, MAX_WIDTH - 16.0, 2);
        let detail = DETAIL.wrap(node.detail.as_deref().unwrap_or_default(), MAX_WIDTH - 16.0, 2);
        let widths =
            label.iter().map(|line| LABEL.width(line)).chain(detail.iter().map(|line| DETAIL.width(line)));
        let width = widths.fold(44.0, f64::max) + 18.0;
        let caps = if node.shape == Shape::Store { 8.0 } else { 0.0 };
        let height = (label.len() + detail.len()).max(1) as f64 * LINE + 13.0 + caps;
        Self { node, label, detail, width, height }
    }
}

pub(super) fn draw(diagram: &Diagram, palette: &Palette) -> String {
    let nodes: Vec<Sized<'_>> = diagram.nodes.iter().map(Sized::new).collect();
    let groups = used_groups(diagram);
    let mut graph = graph_of(diagram, &nodes, &groups);
    let options = LayoutOptions {
        rankdir: if diagram.direction == Flow::Right { RankDir::LR } else { RankDir::TB },
        nodesep: 26.0,
        edgesep: 12.0,
        ranksep: 34.0,
        ..LayoutOptions::default()
    };
    if !nodes.is_empty() {
        dagre::layout(&mut graph, Some(options));
    }

    let mut canvas = Canvas::default();
    let mut bounds = Bounds::default();
    for group in &groups {
        if let Some(placed) = graph.node(&key("g", &group.id)) {
            bounds.add(frame_of(placed));
        }
    }
    for (index, sized) in nodes.iter().enumerate() {
        if let Some(placed) = graph.node(&format!("n{index}")) {
            bounds.add([centre(placed)[0], centre(placed)[1], sized.width, sized.height]);
        }
    }
    let paths: Vec<Arrow<'_>> = arrows(diagram, &graph).collect();
    paths.iter().flat_map(|arrow| &arrow.path).for_each(|[x, y]| bounds.add([*x, *y, 0.0, 0.0]));

    let origin = [MARGIN - bounds.left, MARGIN - bounds.top];
    let moved = |[x, y]: [f64; 2]| [x + origin[0], y + origin[1]];
    for group in &groups {
        if let Some(placed) = graph.node(&key("g", &group.id)) {
            let [x, y, width, height] = frame_of(placed);
            let [x, y] = moved([x - width / 2.0, y - height / 2.0]);
            draw_frame(&mut canvas, group, [x, y, width, height]);
        }
    }
    for Arrow { edge, path, .. } in &paths {
        draw_arrow(&mut canvas, edge, path.iter().copied().map(moved).collect());
    }
    for (index, sized) in nodes.iter().enumerate() {
        if let Some(placed) = graph.node(&format!("n{index}")) {
            draw_node(&mut canvas, sized, moved(centre(placed)), palette);
        }
    }
    for Arrow { edge, label_at, .. } in &paths {
        if let (Some(label), Some(place)) = (&edge.label, label_at) {
            draw_label(&mut canvas, label, moved(*place));
        }
    }
    let [width, height] = bounds.size().map(|side| side + 2.0 * MARGIN);
    canvas.finish(width, height, &diagram.alt)
}

/// Groups that hold a node, directly or further in, and that no group of theirs holds in turn.
fn used_groups(diagram: &Diagram) -> Vec<&Group> {
    let by_id: HashMap<&str, &Group> =
        diagram.groups.iter().map(|group| (group.id.as_str(), group)).collect();
    let mut used: HashSet<&str> = HashSet::new();
    for node in &diagram.nodes {
        let mut next = node.group.as_deref();
        while let Some(group) = next.and_then(|id| by_id.get(id)) {
            if !used.insert(&group.id) {
                break;
            }
            next = group.parent.as_deref();
        }
    }
    let is_round = |group: &&Group| {
        let mut seen = HashSet::new();
        let mut next = Some(group.id.as_str());
        while let Some(id) = next {
            if !seen.insert(id) {
                return true;
            }
            next = by_id.get(id).and_then(|group| group.parent.as_deref());
        }
        false
    };
    diagram.groups.iter().filter(|group| used.contains(group.id.as_str()) && !is_round(group)).collect()
}

/// Names of our own: those of the document could collide with one another or with the layout's.
fn key(kind: &str, id: &str) -> String {
    format!("{kind}:{id}")
}

fn graph_of(diagram: &Diagram, nodes: &[Sized<'_>], groups: &[&Group]) -> Graph<NodeLabel, EdgeLabel> {
    let mut graph = Graph::with_options(GraphOptions { directed: true, multigraph: true, compound: true });
    let is_drawn = |id: &str| groups.iter().any(|group| group.id == id);
    for group in groups {
        graph.set_node(key("g", &group.id), Some(NodeLabel::default()));
    }
    for group in groups {
        if let Some(parent) = group.parent.as_deref().filter(|id| is_drawn(id)) {
            graph.set_parent(&key("g", &group.id), Some(&key("g", parent)));
        }
    }
    for (index, sized) in nodes.iter().enumerate() {
        let label = NodeLabel { width: sized.width, height: sized.height, ..NodeLabel::default() };
        graph.set_node(format!("n{index}"), Some(label));
        if let Some(group) = sized.node.group.as_deref().filter(|id| is_drawn(id)) {
            graph.set_parent(&format!("n{index}"), Some(&key("g", group)));
        }
    }
    for (index, [from, to]) in ends(diagram).into_iter().enumerate() {
        let text = diagram.edges[index].label.as_deref().unwrap_or_default();
        let mut label = EdgeLabel::default();
        if !text.is_empty() {
            label.width = EDGE.width(&EDGE.fit(text, 110.0)) + 8.0;
            label.height = 12.0;
        }
        graph.set_edge(format!("n{from}"), format!("n{to}"), Some(label), Some(&format!("e{index}")));
    }
    graph
}

/// The two nodes of each arrow, by their place in the list.
fn ends(diagram: &Diagram) -> Vec<[usize; 2]> {
    let places: HashMap<&str, usize> =
        diagram.nodes.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
    let place = |id: &str| places.get(id).copied().unwrap_or(0);
    diagram.edges.iter().map(|edge| [place(&edge.from), place(&edge.to)]).collect()
}

/// An arrow with its way and the middle of its label.
struct Arrow<'a> {
    edge: &'a Edge,
    path: Vec<[f64; 2]>,
    label_at: Option<[f64; 2]>,
}

fn arrows<'a>(
    diagram: &'a Diagram,
    graph: &'a Graph<NodeLabel, EdgeLabel>,
) -> impl Iterator<Item = Arrow<'a>> {
    ends(diagram).into_iter().zip(&diagram.edges).enumerate().filter_map(|(index, ([from, to], edge))| {
        let placed = graph.edge(&format!("n{from}"), &format!("n{to}"), Some(&format!("e{index}")))?;
        let path = placed.points.iter().map(|point| [point.x, point.y]).collect();
        Some(Arrow { edge, path, label_at: placed.x.zip(placed.y).map(|(x, y)| [x, y]) })
    })
}

fn centre(placed: &NodeLabel) -> [f64; 2] {
    [placed.x.unwrap_or(0.0), placed.y.unwrap_or(0.0)]
}

/// Middle, width and height.
fn frame_of(placed: &NodeLabel) -> [f64; 4] {
    let [x, y] = centre(placed);
    [x, y, placed.width, placed.height]
}

struct Bounds {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { left: f64::INFINITY, top: f64::INFINITY, right: f64::NEG_INFINITY, bottom: f64::NEG_INFINITY }
    }
}

impl Bounds {
    fn add(&mut self, [x, y, width, height]: [f64; 4]) {
        self.left = self.left.min(x - width / 2.0);
        self.right = self.right.max(x + width / 2.0);
        self.top = self.top.min(y - height / 2.0);
        self.bottom = self.bottom.max(y + height / 2.0);
    }

    fn size(&self) -> [f64; 2] {
        [(self.right - self.left).max(1.0), (self.bottom - self.top).max(1.0)]
            .map(|side| if side.is_finite() { side } else { 1.0 })
    }
}

fn draw_frame(canvas: &mut Canvas, group: &Group, [x, y, width, height]: [f64; 4]) {
    let shades = theme::tone(group.tone);
    canvas.shape(&rounded([x, y, width, height], 4.0), Paint::Panel, 0.8, shades.fill);
    canvas.text(x + 8.0, y + 12.0, FRAME, &FRAME.fit(&group.label, width - 12.0));
}

fn rounded([x, y, width, height]: [f64; 4], radius: f64) -> String {
    let [left, top, right, bottom, r] = [x, y, x + width, y + height, radius].map(short);
    let [inner_left, inner_top] = [x + radius, y + radius].map(short);
    let [inner_right, inner_bottom] = [x + width - radius, y + height - radius].map(short);
    let arc = format!("A{r} {r} 0 0 1 ");
    format!(
        "M{inner_left} {top}H{inner_right}{arc}{right} {inner_top}V{inner_bottom}{arc}{inner_right} {bottom}\
         H{inner_left}{arc}{left} {inner_bottom}V{inner_top}{arc}{inner_left} {top}Z"
    )
}

fn draw_node(canvas: &mut Canvas, sized: &Sized<'_>, [x, y]: [f64; 2], palette: &Palette) {
    let shades = theme::tone(sized.node.tone);
    let stroke =
        if sized.node.tone == domain::document::Tone::Neutral { palette.primary } else { shades.fill };
    let (width, height) = (sized.width, sized.height);
    let frame = [x - width / 2.0, y - height / 2.0, width, height];
    let ground = Paint::Exactly(if shades.tint == theme::PANEL { theme::WHITE } else { shades.tint });
    let mut top = frame[1];
    match sized.node.shape {
        Shape::Box => canvas.shape(&rounded(frame, 3.0), ground, 1.0, stroke),
        Shape::Actor => canvas.shape(&rounded(frame, (height / 2.0).min(14.0)), ground, 1.0, stroke),
        Shape::Store => {
            let (left, right, bottom, half) = (frame[0], frame[0] + width, frame[1] + height, width / 2.0);
            let arc = |sweep: u8, to: [f64; 2]| {
                format!("A{} 5 0 0 {sweep} {} {}", short(half), short(to[0]), short(to[1]))
            };
            let body = format!(
                "M{} {}{}V{}{}Z",
                short(left),
                short(top + 5.0),
                arc(1, [right, top + 5.0]),
                short(bottom - 5.0),
                arc(1, [left, bottom - 5.0])
            );
            canvas.shape(&body, ground, 1.0, stroke);
            let rim = format!("M{} {}{}", short(left), short(top + 5.0), arc(0, [right, top + 5.0]));
            canvas.stroke(&rim, 1.0, stroke);
            top += 8.0;
        }
    }
    let lines = (sized.label.len() + sized.detail.len()) as f64;
    let bottom = frame[1] + height;
    let mut baseline = f64::midpoint(top, bottom) - lines * LINE / 2.0 + 8.2;
    for (style, lines) in [(LABEL, &sized.label), (DETAIL, &sized.detail)] {
        for line in lines {
            canvas.text(x, baseline, style.middle(), line);
            baseline += LINE;
        }
    }
}

fn draw_arrow(canvas: &mut Canvas, edge: &Edge, path: Vec<[f64; 2]>) {
    let [.., before, tip] = path.as_slice() else { return };
    let (dx, dy) = (tip[0] - before[0], tip[1] - before[1]);
    let length = dx.hypot(dy).max(1e-6);
    let (dx, dy) = (dx / length, dy / length);
    let head = polyline([
        *tip,
        [tip[0] - 6.5 * dx - 2.8 * dy, tip[1] - 6.5 * dy + 2.8 * dx],
        [tip[0] - 6.5 * dx + 2.8 * dy, tip[1] - 6.5 * dy - 2.8 * dx],
    ]);
    let way = smooth(&path);
    if edge.dashed {
        canvas.dashed(&way, 1.0, Paint::Muted);
    } else {
        canvas.stroke(&way, 1.0, Paint::Muted);
    }
    canvas.area(&format!("{head}Z"), Paint::Muted);
}

/// Straight ends, and curves around the points between them.
fn smooth(points: &[[f64; 2]]) -> String {
    let [first, inner @ .., last] = points else { return String::new() };
    let place = |[x, y]: [f64; 2]| format!("{} {}", short(x), short(y));
    let mut path = format!("M{}", place(*first));
    for (index, point) in inner.iter().enumerate() {
        let next = inner.get(index + 1).unwrap_or(last);
        let half = [f64::midpoint(point[0], next[0]), f64::midpoint(point[1], next[1])];
        path.push_str(&format!("Q{} {}", place(*point), place(half)));
    }
    path.push('L');
    path.push_str(&place(*last));
    path
}

fn draw_label(canvas: &mut Canvas, label: &str, [x, y]: [f64; 2]) {
    let text = EDGE.fit(label, 110.0);
    let width = EDGE.width(&text) + 6.0;
    canvas.rect([x - width / 2.0, y - 6.0, width, 12.0], 2.0, Paint::Paper);
    canvas.text(x, y + 2.6, EDGE.middle(), &text);
}

#[cfg(test)]
mod tests {
    use domain::document::Tone;

    use super::*;

    fn diagram(nodes: usize, edges: &[(usize, usize)], groups: usize) -> Diagram {
        let group = |index: usize| Group {
            id: format!("group {index}"),
            label: format!("Zone {index}"),
            parent: (index % 3 == 2).then(|| format!("group {}", index - 1)),
            tone: Tone::Neutral,
        };
        let node = |index: usize| Node {
            id: format!("node {index}"),
            label: format!("Service {index}"),
            detail: index.is_multiple_of(2).then(|| "10.0.0.1".to_owned()),
            shape: [Shape::Box, Shape::Store, Shape::Actor][index % 3],
            tone: Tone::Neutral,
            group: (groups > 0 && !index.is_multiple_of(4)).then(|| format!("group {}", index % groups)),
        };
        let edge = |&(from, to): &(usize, usize)| Edge {
            from: format!("node {from}"),
            to: format!("node {to}"),
            label: from.is_multiple_of(2).then(|| "TLS 443".to_owned()),
            dashed: to.is_multiple_of(2),
        };
        Diagram {
            id: String::new(),
            title: "Network".into(),
            alt: "Network".into(),
            direction: Flow::Down,
            groups: (0..groups).map(group).collect(),
            nodes: (0..nodes).map(node).collect(),
            edges: edges.iter().map(edge).collect(),
        }
    }

    #[test]
    fn the_same_diagram_is_drawn_the_same_way_every_time() {
        let diagram = diagram(12, &[(0, 1), (1, 2), (2, 0), (3, 4), (5, 6), (6, 7), (0, 11), (3, 3)], 4);
        let palette = Palette::default();
        let first = draw(&diagram, &palette);
        assert!((0..20).all(|_| draw(&diagram, &palette) == first));
        assert!(!first.contains("NaN") && !first.contains("inf"), "{first}");
    }

    #[test]
    fn no_shape_of_graph_defeats_the_layout() {
        let mut state = 7_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        for round in 0..120 {
            let nodes = below(25);
            let count = if nodes == 0 { 0 } else { below(40) };
            let edges: Vec<_> = (0..count).map(|_| (below(nodes), below(nodes))).collect();
            let svg = draw(&diagram(nodes, &edges, round % 6), &Palette::default());
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn groups_that_hold_one_another_are_left_out() {
        let mut diagram = diagram(4, &[(1, 2)], 2);
        diagram.groups[0].parent = Some("group 1".into());
        diagram.groups[1].parent = Some("group 0".into());
        assert!(!draw(&diagram, &Palette::default()).contains("Zone"));
    }
}
