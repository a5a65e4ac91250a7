//! The authorization boundary as a diagram, and who works within it.

use domain::document::{
    Block, Cell, CodeBlock, Column, ColumnKind, Diagram, Edge, Flow, Group, List, ListItem, Node, Section,
    Shape, Status, Table, Tone,
};

use super::text;

pub(super) fn boundary() -> Section {
    let node = |id: &str, label: &str, detail: &str, shape: Shape, tone: Tone, group: Option<&str>| Node {
        id: id.to_owned(),
        label: label.to_owned(),
        detail: Some(detail.to_owned()),
        shape,
        tone,
        group: group.map(str::to_owned),
    };
    let group = |id: &str, label: &str, parent: Option<&str>| Group {
        id: id.to_owned(),
        label: label.to_owned(),
        parent: parent.map(str::to_owned),
        tone: Tone::Neutral,
    };
    let edge = |from: &str, to: &str, label: &str, dashed: bool| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        label: Some(label.to_owned()),
        dashed,
    };
    let diagram = Diagram {
        id: "boundary".to_owned(),
        title: "Authorization boundary".to_owned(),
        alt: "Operators reach a gateway in the public zone over TLS; it forwards to scheduler and telemetry in the private zone, which keep their data in two stores. Logs leave to the monitoring service outside the boundary.".to_owned(),
        direction: Flow::Down,
        groups: vec![
            group("boundary", "Authorization boundary", None),
            group("public", "Public zone", Some("boundary")),
            group("private", "Private zone", Some("boundary")),
        ],
        nodes: vec![
            node("operator", "Operator", "PIV, managed laptop", Shape::Actor, Tone::Neutral, None),
            node("gateway", "Gateway", "gw-01, gw-02", Shape::Box, Tone::Neutral, Some("public")),
            node("scheduler", "Pump scheduler", "FIPS 140-3 modules", Shape::Box, Tone::Neutral, Some("private")),
            node("telemetry", "Telemetry", "MQTT broker", Shape::Box, Tone::Caution, Some("private")),
            node("plans", "Plans", "PostgreSQL, encrypted", Shape::Store, Tone::Neutral, Some("private")),
            node("series", "Time series", "90 days", Shape::Store, Tone::Neutral, Some("private")),
            node("monitoring", "Monitoring service", "FedRAMP High, inherited", Shape::Actor, Tone::Good, None),
        ],
        edges: vec![
            edge("operator", "gateway", "TLS 1.3, 443", false),
            edge("gateway", "scheduler", "mTLS", false),
            edge("gateway", "telemetry", "mTLS", false),
            edge("scheduler", "plans", "TLS, 5432", false),
            edge("telemetry", "series", "TLS, 5432", false),
            edge("scheduler", "monitoring", "logs", true),
            edge("telemetry", "monitoring", "logs", true),
        ],
    };
    let item = |words: &str, items: &[&str]| ListItem {
        items: items.iter().map(|words| ListItem::from(vec![text(*words)])).collect(),
        ..ListItem::from(vec![text(words)])
    };
    Section {
        blocks: vec![
            Block::text("Everything inside the outer frame is authorized together. What lies outside is inherited or used under its own authorization."),
            Block::Diagram(diagram),
            Block::List(List {
                ordered: false,
                items: vec![
                    item("Ports open to the outside", &["443 over TLS 1.3 at the gateway", "no other"]),
                    item("Data that crosses the boundary", &["operator sessions", "logs without personal data"]),
                ],
            }),
            Block::Code(CodeBlock {
                caption: Some("Packet filter of the gateway, shortened".to_owned()),
                text: "table inet filter {\n  chain input {\n    type filter hook input priority 0; policy drop;\n    ct state established,related accept\n    tcp dport 443 accept\n  }\n}".to_owned(),
            }),
        ],
        ..Section::new("boundary", "Authorization boundary")
    }
}

pub(super) fn roles() -> Section {
    let columns = vec![
        Column::new("Role", ColumnKind::Text).width(26),
        Column::new("Name", ColumnKind::Text).width(20),
        Column::new("Privilege", ColumnKind::Status).width(14),
        Column::new("Functions", ColumnKind::Text).width(46),
    ];
    let row = |role: &str, name: &str, privileged: bool, functions: &str| {
        let (label, tone) =
            if privileged { ("Privileged", Tone::Caution) } else { ("Standard", Tone::Neutral) };
        vec![
            Cell::text(role),
            Cell::text(name),
            Cell::Status(Status { label: label.to_owned(), tone }),
            Cell::text(functions),
        ]
    };
    let rows = vec![
        row("System owner", "Dana Whitfield", false, "Accountable for the system and its budget"),
        row(
            "Information system security officer",
            "Ilse Brandt",
            true,
            "Reviews access, logs and changes; keeps this plan",
        ),
        row(
            "Platform operator",
            "Six persons",
            true,
            "Deploys, patches and restores; no access to plans of customers",
        ),
        row("Customer operator", "Customers", false, "Schedules pumps and valves of their own sites"),
    ];
    Section {
        blocks: vec![Block::Table(Table { key_columns: 1, ..Table::new("roles", columns, rows) })],
        ..Section::new("roles", "Roles and privileges")
    }
}
