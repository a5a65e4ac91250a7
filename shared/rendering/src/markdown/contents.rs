//! Contents of a Markdown file: links to headings, by the names that readers give them.

use std::{collections::HashMap, fmt::Write};

use super::{Body, heading};

/// Sections of the first two levels, as links to the names that GitHub and those after it give to headings.
pub(super) fn write_contents(out: &mut String, title: &str, body: &Body) {
    heading(out, 2, CONTENTS);
    let names = names_of_headings([title, CONTENTS], &body.text);
    for (level, place) in body.sections.iter().filter(|(level, _)| *level <= 3) {
        let Some((title, name)) = names.get(place) else { continue };
        let _ = writeln!(out, "{}- [{title}](#{name})", "  ".repeat(level - 2));
    }
    out.push('\n');
}

const CONTENTS: &str = "Contents";

/// Title and name of each heading by its place: small letters, digits and hyphens for blanks, numbered where two are alike.
/// Others stand `before` the text.
fn names_of_headings<'t>(before: [&str; 2], text: &'t str) -> HashMap<usize, (&'t str, String)> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut name = |title: &str| {
        let name = name_of_heading(title);
        let seen = taken.entry(name.clone()).or_default();
        *seen += 1;
        if *seen == 1 { name } else { format!("{name}-{}", *seen - 1) }
    };
    for title in before {
        name(title);
    }
    let mut names = HashMap::new();
    let (mut place, mut fence) = (0, "");
    for line in text.split_inclusive('\n') {
        let start = place;
        place += line.len();
        let line = line.trim_end();
        let backticks = line.len() - line.trim_start_matches('`').len();
        if fence.is_empty() && backticks >= 3 {
            fence = &line[..backticks];
        } else if line == fence {
            fence = "";
        } else if fence.is_empty()
            && let Some(title) =
                line.strip_prefix('#').and_then(|rest| rest.trim_start_matches('#').strip_prefix(' '))
        {
            names.insert(start, (title, name(title)));
        }
    }
    names
}

fn name_of_heading(title: &str) -> String {
    let kept = |character: &char| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_');
    title.replace("<br>", "").to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_names_that_github_gives_them() {
        let text = "## Where we stand?\n\n```text\n# no heading\n```\n\n### AC\\_2 (1) \\<b\\>\n\n## Where we stand\n\n## Contents\n";
        let mut found: Vec<_> = names_of_headings(["Report", CONTENTS], text).into_iter().collect();
        found.sort_unstable();
        let names: Vec<String> = found.into_iter().map(|(_, (_, name))| name).collect();
        assert_eq!(names, ["where-we-stand", "ac_2-1-b", "where-we-stand-1", "contents-1"]);
    }
}
