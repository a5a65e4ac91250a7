//! What serde says of a value that it cannot read, in words for whoever sent it: without the names of Rust's types, and with the value.

/// What `said` means of `value`, which is as it was sent.
pub(super) fn told(said: &str, value: Option<&str>) -> String {
    let shown = value.map_or_else(|| "the value".to_owned(), |value| format!("`{}`", shortened(value)));
    if let Some(rest) = said.strip_prefix("missing field ") {
        return format!("{} is missing: send it", first_word(rest));
    }
    if let Some(rest) = said.strip_prefix("duplicate field ") {
        return format!("{} is there twice: send it once", first_word(rest));
    }
    if let Some(rest) = said.strip_prefix("unknown field ") {
        let others = listed(rest);
        let name = first_word(rest);
        return match others.is_empty() {
            true => format!("there is no field {name} here, nor any other: leave it out"),
            false => format!("there is no field {name} here: there is {others}"),
        };
    }
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        return format!("{} is not one of {}", first_word(rest), listed(rest));
    }
    for beginning in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) =
            said.strip_prefix(beginning).and_then(|rest| rest.split_once(", expected "))
        {
            let found = value.map_or_else(|| format!("`{}`", of_found(found)), |_| shown);
            return format!("{found} cannot be used: it must be {}", wanted(expected));
        }
    }
    match said {
        "expected value" => {
            format!("{shown} cannot be used: it must be one of the words that are documented")
        }
        "invalid digit found in string" => format!("{shown} is not a whole number"),
        "number too large to fit in target type" => format!("{shown} is too large"),
        "number too small to fit in target type" => format!("{shown} is too small"),
        "invalid float literal" => format!("{shown} is not a number"),
        "provided string was not `true` or `false`" => format!("{shown} is neither true nor false"),
        "input contains invalid characters"
        | "premature end of input"
        | "trailing input"
        | "input is out of range" => {
            format!(
                "{shown} is not a day or time that there is: write it as in 2026-11-21 or 2026-11-21T10:00:00Z"
            )
        }
        _ if said.starts_with("UUID parsing failed") => {
            format!("{shown} is not a UUID, as in 550e8400-e29b-41d4-a716-446655440000")
        }
        _ if value.is_some_and(|value| names_one_of(said, value)) => said.to_owned(),
        _ if value.is_some() => format!("{shown} cannot be used: {said}"),
        _ => said.to_owned(),
    }
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

/// "`name`" of "`name`, expected …".
fn first_word(text: &str) -> &str {
    text.rsplit_once(", expected ")
        .or_else(|| text.split_once(", there are no"))
        .map_or(text, |(word, _)| word)
}

/// "a, b" of "…, expected one of `a`, `b`", and of "…, expected `a` or `b`".
fn listed(text: &str) -> String {
    let words = text.rsplit_once(", expected ").map_or("", |(_, words)| words);
    let words: Vec<&str> = words.split('`').skip(1).step_by(2).collect();
    words.join(", ")
}

/// `3` of "integer `3`".
fn of_found(found: &str) -> &str {
    let quoted = found.split_once('`').and_then(|(_, rest)| rest.rsplit_once('`'));
    quoted.map_or(found, |(value, _)| value)
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

/// So much of a value that its sender knows it again.
fn shortened(value: &str) -> String {
    const LONGEST: usize = 80;
    let value = value.replace('\0', "\\u0000");
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}
