//! What serde says of a value that it cannot read, in words for whoever sent it: without the names of Rust's types, and with the value.

/// `value` in a sentence: as much of it as its sender needs to know it again.
pub(crate) fn shown(value: &str) -> String {
    const LONGEST: usize = 80;
    let value = value.replace('\0', "\\u0000");
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &value[..end]),
        None => format!("`{value}`"),
    }
}

/// An address in a sentence, without the password that it may carry.
pub(crate) fn shown_address(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => shown(&format!("{scheme}://…{}", &rest[at..])),
        None => shown(address),
    }
}

/// Whether the value of `field` must not be shown to anybody, not even to who sent it.
pub(super) fn is_secret(field: &str) -> bool {
    let name = field.rsplit(" -> ").find(|name| name.parse::<usize>().is_err()).unwrap_or(field);
    name == "pat"
        || name.ends_with("key")
        || ["password", "secret", "token"].iter().any(|word| name.contains(word))
}

/// What `said` means of the value that is `shown` so.
pub(super) fn told(said: &str, shown: &str) -> String {
    if let Some(rest) = said.strip_prefix("missing field ") {
        return format!("{} is missing: send it", named(rest));
    }
    if let Some(rest) = said.strip_prefix("duplicate field ") {
        return format!("{} is there twice: send it once", named(rest));
    }
    if let Some(rest) = said.strip_prefix("unknown field ") {
        let (name, others) = (named(rest), listed(rest));
        return match others.is_empty() {
            true => format!("there is no field {name} here, nor any other: leave it out"),
            false => format!("there is no field {name} here: there is {others}"),
        };
    }
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        return format!("{} is not one of {}", named(rest), listed(rest));
    }
    if let Some((_, expected)) = parts(said) {
        return format!("{shown} cannot be used: it must be {}", wanted(expected));
    }
    match said {
        "expected value" => format!("{shown} cannot be used: it must be {}", wanted("variant identifier")),
        "invalid digit found in string" => format!("{shown} is not a whole number"),
        "number too large to fit in target type" => format!("{shown} is too large"),
        "number too small to fit in target type" => format!("{shown} is too small"),
        "invalid float literal" => format!("{shown} is not a number"),
        "provided string was not `true` or `false`" => format!("{shown} is neither true nor false"),
        "input contains invalid characters"
        | "premature end of input"
        | "trailing input"
        | "input is out of range"
        | "input is not enough for unique date and time" => {
            format!(
                "{shown} is not a day or time that there is: write one as in 2026-11-21 or 2026-11-21T10:00:00Z"
            )
        }
        _ if said.starts_with("UUID parsing failed") => format!("{shown} is not {}", wanted("a UUID string")),
        _ if said.starts_with("data did not match any variant") => {
            format!("{shown} cannot be used: it has none of the forms that are documented")
        }
        _ if names_one_of(said, shown.trim_matches('`')) => said.to_owned(),
        _ => format!("{shown} cannot be used: {said}"),
    }
}

/// What was found and what was expected, where `said` tells of both.
fn parts(said: &str) -> Option<(&str, &str)> {
    let beginnings = ["invalid type: ", "invalid value: ", "invalid length "];
    beginnings.iter().find_map(|beginning| said.strip_prefix(beginning))?.split_once(", expected ")
}

/// The number, text or truth value that was found, where `said` tells of one.
pub(super) fn found_in(said: &str) -> Option<&str> {
    let (found, _) = parts(said)?;
    let (begin, end) = (found.find(['`', '"'])?, found.rfind(['`', '"'])?);
    found.get(begin + 1..end)
}

/// Whether `said` names `value`, or one of the values that it is made of.
fn names_one_of(said: &str, value: &str) -> bool {
    said.contains(value) || value.split(',').any(|one| said.contains(&format!("`{}`", one.trim())))
}

/// The kind of problem that `said` tells of, as [`crate::error::FieldError`] has it.
pub(super) fn kind_of(said: &str) -> &'static str {
    match said {
        said if said.starts_with("missing field") => "missing",
        said if said.starts_with("unknown field") => "extra_forbidden",
        said if said.starts_with("duplicate field") => "duplicate",
        said if said.starts_with("invalid type") => "type_error",
        _ => "value_error",
    }
}

/// "`name`" of "`name`, expected …", as much of it as is shown of any value.
fn named(text: &str) -> String {
    let end = text
        .rfind("`, expected ")
        .or_else(|| text.rfind("`, there are no"))
        .map_or(text.len(), |end| end + 1);
    let name = &text[..end];
    shown(name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(name))
}

/// "a, b" of "…, expected one of `a`, `b`", and of "…, expected `a` or `b`".
fn listed(text: &str) -> String {
    let words = text.rsplit_once(", expected ").map_or("", |(_, words)| words);
    let words: Vec<&str> = words.split('`').skip(1).step_by(2).collect();
    words.join(", ")
}

/// What serde expected.
fn wanted(expected: &str) -> String {
    let whole = |least: &str, most: &str| format!("a whole number from {least} to {most}");
    match expected {
        "a string" | "a borrowed string" | "str" | "string" => "a text".into(),
        "a boolean" => "true or false".into(),
        "u8" => whole("0", &u8::MAX.to_string()),
        "u16" => whole("0", &u16::MAX.to_string()),
        "u32" => whole("0", &u32::MAX.to_string()),
        "u64" | "usize" => "a whole number, not below 0".into(),
        "i8" => whole(&i8::MIN.to_string(), &i8::MAX.to_string()),
        "i16" => whole(&i16::MIN.to_string(), &i16::MAX.to_string()),
        "i32" => whole(&i32::MIN.to_string(), &i32::MAX.to_string()),
        "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "unit" => "null".into(),
        "variant identifier" | "string or map" => "one of the words that are documented".into(),
        "a UUID string" | "a formatted UUID string" => {
            "a UUID, as in 550e8400-e29b-41d4-a716-446655440000".into()
        }
        "a formatted date string" => "a day, as in 2026-11-21".into(),
        _ if expected.contains("date and time") => "a time, as in 2026-11-21T10:00:00Z".into(),
        _ if expected.starts_with("a sequence") || expected.starts_with("a tuple") => "a list".into(),
        _ if expected.starts_with("a map") || expected.starts_with("struct ") => "an object".into(),
        _ if expected.starts_with("enum ") || expected.contains("variant") => {
            "one of the words that are documented".into()
        }
        _ => expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_says_is_told_without_the_names_of_rusts_types() {
        for (said, meant) in [
            ("invalid type: integer `3`, expected a string", "`3` cannot be used: it must be a text"),
            (
                "invalid type: null, expected u32",
                "`3` cannot be used: it must be a whole number from 0 to 4294967295",
            ),
            (
                "invalid value: integer `400`, expected u8",
                "`3` cannot be used: it must be a whole number from 0 to 255",
            ),
            ("invalid type: string \"x\", expected f32", "`3` cannot be used: it must be a number"),
            ("invalid type: map, expected a sequence", "`3` cannot be used: it must be a list"),
            (
                "invalid type: sequence, expected struct CreateUser",
                "`3` cannot be used: it must be an object",
            ),
            ("invalid length 3, expected a tuple of size 2", "`3` cannot be used: it must be a list"),
            ("unknown variant `b`, expected `a`", "`b` is not one of a"),
            ("unknown variant `b, expected`, expected one of `a`, `c`", "`b, expected` is not one of a, c"),
            ("unknown field `b`, expected `a` or `c`", "there is no field `b` here: there is a, c"),
            (
                "unknown field `b`, there are no fields",
                "there is no field `b` here, nor any other: leave it out",
            ),
            ("missing field `name`", "`name` is missing: send it"),
            ("duplicate field `name`", "`name` is there twice: send it once"),
            ("invalid digit found in string", "`3` is not a whole number"),
            ("premature end of input", "`3` is not a day or time that there is"),
            ("UUID parsing failed: invalid length", "`3` is not a UUID, as in 550e8400"),
            ("severity `3` is not one of these", "severity `3` is not one of these"),
            ("it is even", "`3` cannot be used: it is even"),
        ] {
            let told = told(said, "`3`");
            assert!(told.starts_with(meant), "{said}: {told}");
        }
    }

    #[test]
    fn an_address_is_told_without_its_password() {
        assert_eq!(shown_address("https://hooks.example.com/a@b"), "`https://hooks.example.com/a@b`");
        assert_eq!(shown_address("https://ada:sesame@example.com/x"), "`https://…@example.com/x`");
        assert_eq!(shown_address("no address"), "`no address`");
    }

    #[test]
    fn long_values_are_told_by_their_beginnings_and_secrets_not_at_all() {
        assert_eq!(shown("a\0b"), "`a\\u0000b`");
        assert_eq!(shown(&"ä".repeat(81)), format!("`{}…`", "ä".repeat(80)));
        for field in [
            "body -> password",
            "body -> new_password",
            "body -> api_key",
            "body -> pat",
            "body -> tokens -> 3",
        ] {
            assert!(is_secret(field), "{field}");
        }
        for field in ["body -> path", "body -> name", "query -> status"] {
            assert!(!is_secret(field), "{field}");
        }
    }
}
