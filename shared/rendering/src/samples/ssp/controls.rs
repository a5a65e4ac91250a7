//! The controls, family by family, and how far each of them is.

use std::sync::LazyLock;

use domain::document::{
    Answer, Block, Choice, Control, ControlPart, EvidenceItem, Fact, ListItem, Section, Status, Tone,
};

use super::{day, text};

/// `control,family,title` of the controls that FedRAMP asks of a system of high impact (NIST SP 800-53 Rev. 5).
const CONTROLS: &str = include_str!("../../../../../templates/samples/ssp_controls.csv");

pub(super) const STATES: [(&str, Tone); 5] = [
    ("Implemented", Tone::Good),
    ("Partially implemented", Tone::Caution),
    ("Planned", Tone::Bad),
    ("Alternative implementation", Tone::Neutral),
    ("Not applicable", Tone::Neutral),
];

const ORIGINS: [&str; 4] = [
    "Service provider corporate",
    "Service provider system specific",
    "Shared with the customer",
    "Inherited",
];

const ROLES: [&str; 5] =
    ["Platform operations", "Security engineering", "Human resources", "Facilities", "ISSO"];

pub(super) struct Entry {
    id: String,
    family: String,
    title: String,
}

pub(super) static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut reader = csv::Reader::from_reader(CONTROLS.as_bytes());
    let entry = |record: csv::StringRecord| {
        let field = |index: usize| record.get(index).unwrap_or_default().to_owned();
        Entry { id: field(0), family: field(1), title: field(2) }
    };
    reader.records().filter_map(Result::ok).map(entry).collect()
});

/// Most are implemented; which are not follows from the place in the list, so that the sample never changes.
pub(super) fn state(index: usize) -> usize {
    match index % 23 {
        5 | 17 => 1,
        11 => 2,
        14 => 3,
        20 => 4,
        _ => 0,
    }
}

pub(super) fn counts() -> [u64; 5] {
    let mut counts = [0; 5];
    (0..ENTRIES.len()).for_each(|index| counts[state(index)] += 1);
    counts
}

pub(super) fn families() -> Vec<(&'static str, Vec<usize>)> {
    let mut families: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, entry) in ENTRIES.iter().enumerate() {
        match families.last_mut() {
            Some((family, indices)) if *family == entry.family => indices.push(index),
            _ => families.push((&entry.family, vec![index])),
        }
    }
    families
}

pub(super) fn controls() -> Section {
    let sections = families()
        .into_iter()
        .enumerate()
        .map(|(number, (family, indices))| Section {
            blocks: indices.into_iter().map(|index| Block::Control(control(index))).collect(),
            ..Section::new(format!("family-{}", number + 1), family)
        })
        .collect();
    let paragraph = format!(
        "How each of the {} controls of the baseline is met, family by family. Choices that apply are ticked.",
        ENTRIES.len()
    );
    Section {
        blocks: vec![Block::text(paragraph)],
        sections,
        ..Section::new("controls", "Control implementation")
    }
}

fn control(index: usize) -> Control {
    let Entry { id, family, title } = &ENTRIES[index];
    let (label, tone) = STATES[state(index)];
    let role = ROLES[index % ROLES.len()];
    let lower = title.to_lowercase();
    let choice = |label: &str, words: &[&str], chosen: usize| Choice {
        label: label.to_owned(),
        answers: words
            .iter()
            .enumerate()
            .map(|(at, word)| Answer { label: (*word).to_owned(), applies: at == chosen })
            .collect(),
    };
    let states: Vec<&str> = STATES.iter().map(|(word, _)| *word).collect();
    let is_open = matches!(tone, Tone::Caution | Tone::Bad);
    let point = |words: String, items: Vec<ListItem>| ListItem { content: vec![text(words)], items };
    let part = |letter: char, words: String| ControlPart {
        label: Some(format!("Part {letter}")),
        status: None,
        content: vec![text(words)],
    };
    Control {
        control_id: id.clone(),
        title: title.clone(),
        status: Status { label: label.to_owned(), tone },
        facts: vec![
            Fact::text("Responsible role", role),
            Fact::text("Last assessed", format!("2025-0{}-15", index % 9 + 1)),
        ],
        choices: vec![
            choice("Implementation status", &states, state(index)),
            choice("Control origination", &ORIGINS, index % ORIGINS.len()),
        ],
        parameters: if index.is_multiple_of(3) {
            vec![Fact::text(format!("{id}(a)(1)"), "at least annually and after significant changes")]
        } else {
            Vec::new()
        },
        statement: vec![
            point(
                format!("Define what {lower} asks of the system and who answers for it:"),
                vec![
                    point(format!("name the roles of {}; and", family.to_lowercase()), vec![]),
                    point("keep the record for three years.".to_owned(), vec![]),
                ],
            ),
            point(format!("Review {lower} at the frequency that the organization has set."), vec![]),
        ],
        implementation: vec![
            part(
                'a',
                format!(
                    "{role} keeps the procedure for {lower} in the service handbook. Changes are reviewed by a second person and recorded with the ticket that asked for them."
                ),
            ),
            part(
                'b',
                format!(
                    "The review of {lower} runs on the first working day of each quarter. Its result is filed with the evidence below, and deviations become items of the plan of action."
                ),
            ),
        ],
        evidence: vec![EvidenceItem {
            title: format!("{id} review record"),
            detail: Some("exported from the ticket system".to_owned()),
            collected_on: Some(day(2025, 9, 1 + (index % 28) as u32)),
            sha256: index.is_multiple_of(5).then(|| {
                format!("{:016x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1)).repeat(4)
            }),
        }],
        gaps: if is_open {
            vec![text("The last two regions still follow the previous procedure.")]
        } else {
            Vec::new()
        },
        remediation: is_open.then(|| {
            format!("Roll the procedure for {lower} out to the remaining regions by 31 October 2025.")
        }),
        references: Vec::new(),
    }
}
