//! `os-release(5)`: assignments in the syntax of a shell, without its expansions.

use domain::inventory::OperatingSystem;

/// The fields that identify a release. `ID` is `linux` where the file has none, as the manual page says; a rolling release
/// has no `VERSION_ID`, and its version stays empty.
pub(super) fn parse(text: &str) -> OperatingSystem {
    let field = |name: &str| {
        text.lines().rev().find_map(|line| assignment(line, name)).filter(|value| !value.is_empty())
    };
    OperatingSystem {
        distro: field("ID").unwrap_or_else(|| "linux".into()),
        version: field("VERSION_ID").unwrap_or_default(),
        codename: field("VERSION_CODENAME"),
        name: field("PRETTY_NAME"),
    }
}

/// The value, when the line assigns to `name`.
fn assignment(line: &str, name: &str) -> Option<String> {
    let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
    Some(unquoted(value))
}

fn unquoted(value: &str) -> String {
    if let Some(literal) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return literal.to_owned();
    }
    let escaped = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut plain = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_are_the_shells() {
        let os = parse("# comment\nID='weird'\nVERSION_ID=\"1\"\nPRETTY_NAME=\"A \\\"quoted\\\" \\$name\"\n");
        assert_eq!(os.distro, "weird");
        assert_eq!(os.version, "1");
        assert_eq!(os.name.as_deref(), Some("A \"quoted\" $name"));
        assert_eq!(os.codename, None);
    }

    #[test]
    fn a_name_that_only_begins_alike_is_another_field() {
        let os = parse("ID_LIKE=debian\nVERSION_ID_X=9\nID=ubuntu\n");
        assert_eq!((os.distro.as_str(), os.version.as_str()), ("ubuntu", ""));
    }

    #[test]
    fn the_last_assignment_counts_as_it_does_in_a_shell() {
        assert_eq!(parse("ID=one\nID=two\n").distro, "two");
    }

    #[test]
    fn nonsense_is_some_linux() {
        assert_eq!(parse("=\n\"\n'\nID").distro, "linux");
    }
}
