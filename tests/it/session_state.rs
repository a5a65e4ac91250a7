//! What one transaction leaves on its connection for whoever gets that next: nothing, by the words of our SQL.
//!
//! To Postgres a pool's connection is one session, whoever has it. Settings, roles, prepared statements, temporary tables and advisory
//! locks last as long as the session unless the statement says otherwise (`set local`, `set_config(…, true)`, `pg_advisory_xact_lock`,
//! `on commit drop`). That a tenant does not last either is tried on a real pool in `isolation.rs`.

use std::{fs, path::Path};

use crate::architecture::program_sources;

/// What may last nevertheless: file or folder, the words, and why nobody else comes by it.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("shared/store/src/db.rs", "set role plimsoll_app", "said of each connection of the pool as it is made"),
    (
        "shared/store/src/db.rs",
        "set role plimsoll_system",
        "said of each connection of the pool as it is made, and of those in no pool",
    ),
    ("shared/store/src/db.rs", "prepare plimsoll_act", "of each connection of the pools as it is made"),
    ("shared/store/src/secrets.rs", "pg_advisory_lock", "held over many transactions, by who rotates"),
    ("shared/store/src/secrets.rs", "pg_advisory_unlock", "of the same"),
    ("plimsoll/src/commands/", "secrets::rotate(", "a command's connection ends with the command"),
    ("plimsoll/src/commands/", "act_as_system(", "a command's connection ends with the command"),
    ("shared/queue/src/bell.rs", "pg_try_advisory_lock", "the bell's connection is in no pool of others"),
    ("shared/queue/src/bell.rs", "pg_advisory_unlock", "the bell's connection is in no pool of others"),
    ("migrations/", "reset role", "migrations have a connection of their own"),
    ("api/src/server.rs", "set api_listen to", "words for people"),
    ("plimsoll/src/commands/doctor/redis.rs", "set it to", "words for people, about Redis"),
];

/// Functions of ours that leave something on the connection they are given.
const OURS: &[&str] = &["db::act_as_system(", "secrets::rotate("];

/// What follows `set` in a statement whose effect ends with the transaction (PostgreSQL, SET, SET TRANSACTION, SET CONSTRAINTS).
const SET_FOR_NOW: &[&str] = &["local", "transaction", "constraints"];
/// What begins a statement whose effect lasts.
const LASTING: &[&str] = &["reset", "discard", "prepare", "deallocate", "listen", "unlisten", "load"];
/// After these words a statement begins in PL/pgSQL.
const BEFORE_STATEMENTS: &[&str] = &["begin", "then", "else", "loop"];

/// The words in `source` (Rust or SQL) that leave something on a connection, in lower case.
fn left_behind(source: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("--");
    let text = source.lines().filter(is_code).collect::<Vec<_>>().join("\n").to_ascii_lowercase();
    let mut found = Vec::new();
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices(is_of_word).filter(|(at, _)| !text[..*at].ends_with(is_of_word)) {
        let (before, here) = (&text[..at], &text[at..]);
        let word = here.split(|c| !is_of_word(c)).next().expect("a split has a first part");
        let mut next = here.split_whitespace().skip(1);
        let (second, third) = (next.next().unwrap_or_default(), next.next().unwrap_or_default());
        let begins = || begins_statement(before);
        let lasts = match word {
            "set" if here.starts_with("set ") && !SET_FOR_NOW.contains(&second) => {
                let is_setting = ["session", "role", "time"].contains(&second)
                    || second.contains('=')
                    || ["=", "to"].contains(&third);
                is_setting && begins()
            }
            "set_config" => arguments(here).is_some_and(|given| given.len() == 3 && given[2] != "true"),
            "create" if ["temp", "temporary"].contains(&second) => {
                !here.split([';', '"']).next().unwrap_or_default().contains("on commit drop")
            }
            "with" => second.trim_matches('"') == "hold",
            "pgadvisorylock" => true,
            lock if lock.starts_with("pg_") && lock.contains("advisory") => !lock.contains("_xact_"),
            lasting => LASTING.contains(&lasting) && here[lasting.len()..].starts_with(' ') && begins(),
        };
        if lasts {
            found.push([word, second, third].join(" "));
        }
    }
    found.extend(OURS.iter().filter(|call| text.contains(*call)).map(|call| (*call).to_owned()));
    found
}

/// Whether what follows `before` is the beginning of a statement.
fn begins_statement(before: &str) -> bool {
    let before = before.trim_end_matches(|c: char| c.is_whitespace() || c == '\\');
    before.is_empty()
        || before.ends_with(['"', ';', '$'])
        || BEFORE_STATEMENTS.iter().any(|word| before.ends_with(word))
}

/// The arguments of the call that `text` begins with.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let inside = text.split_once('(')?.1;
    let (mut depth, mut from, mut given) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                given.push(inside[from..at].trim());
                from = at + 1;
                if c == ')' {
                    return Some(given);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn nothing_that_lasts_longer_than_a_transaction_is_left_on_a_pools_connection() {
    let mut files = program_sources();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    for entry in fs::read_dir(migrations).expect("a folder").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a migration");
        files.push((format!("migrations/{}", entry.file_name().display()), text));
    }
    let mut used = vec![false; EXCEPTIONS.len()];
    for (file, text) in files {
        for words in left_behind(&text) {
            let exception = EXCEPTIONS
                .iter()
                .position(|(place, said, _)| file.starts_with(place) && words.contains(said))
                .unwrap_or_else(|| {
                    panic!(
                        "{file} says `{words}`, which lasts longer than its transaction: say `set local`, `set_config(…, true)`, \
                         `pg_advisory_xact_lock` or `on commit drop`, or name it in EXCEPTIONS with a reason"
                    )
                });
            used[exception] = true;
        }
    }
    for ((place, said, _), used) in EXCEPTIONS.iter().zip(used) {
        assert!(used, "`{said}` in {place} is there no more: take it from EXCEPTIONS");
    }
}

#[test]
fn what_lasts_is_told_from_what_ends_with_the_transaction() {
    for lasts in [
        "query(\"set app.tenant_id = $1\")",
        "query(\"SET ROLE plimsoll_app\")",
        "\"set jit=off\"",
        "\"begin; \\\n set session characteristics as transaction read only\"",
        "format!(\"set {name} to '{value}'\")",
        "\"select set_config('app.tenant_id', coalesce($1, ''), false)\"",
        "\"select set_config('app.tenant_id', $1, is_local => $2)\"",
        "\"select pg_advisory_lock($1)\"",
        "\"select pg_try_advisory_lock_shared(7)\"",
        "\"create temp table seen (id uuid)\"",
        "\"declare rows no scroll cursor with hold for select 1\"",
        "\"listen jobs\"",
        "begin\n    set work_mem = '1GB';\nend",
        "db::act_as_system(&mut connection)",
    ] {
        assert_eq!(left_behind(lasts).len(), 1, "{lasts}: {:?}", left_behind(lasts));
    }
    for ends in [
        "query(\"set local role plimsoll_app\")",
        "\"begin isolation level repeatable read; set local work_mem = '64MB'\"",
        "\"set transaction read only\"",
        "\"update jobs set state = 'available' where id = $1\"",
        "\"select set_config('app.tenant_id', coalesce($1, ''), true)\"",
        "settings.set_config(Arc::clone(tls))",
        "\"select pg_advisory_xact_lock($1), pg_try_advisory_xact_lock_shared(7)\"",
        "\"create temp table seen on commit drop as select 1\"",
        "// \"set role plimsoll_app\"",
        "create function f() returns void language sql set search_path = '' as $$ select 1 $$;",
    ] {
        assert_eq!(left_behind(ends), [""; 0], "{ends}");
    }
}
