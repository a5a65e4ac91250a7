//! What programs and commands say that cannot do anything with their settings.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Output},
};

use runtime::config::SETTINGS;

use super::planted::Canaries;
use crate::programs::PROGRAM;

const COMMANDS: &str = env!("CARGO_BIN_EXE_worker-under-test");

/// What a command says, on both channels.
fn said(what: &str, output: &Output) -> (String, Vec<u8>) {
    assert!(!output.status.success(), "{what} ends as if all were well");
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(!said.is_empty(), "{what} says nothing");
    (format!("what {what} says"), said)
}

/// What those programs and commands say that cannot do anything with these settings.
fn refusals(programs: &[&str], commands: &[&str], settings: &[(&str, String)]) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = programs.iter().map(|program| {
        let mut command = Command::new(PROGRAM);
        command.arg(program);
        (program, command)
    });
    let commands = commands.iter().map(|name| {
        let mut command = Command::new(COMMANDS);
        command.arg0("plimsoll").arg(name);
        (name, command)
    });
    programs
        .chain(commands)
        .map(|(name, mut command)| {
            command
                .env("PLIMSOLL_HOME", folder.path())
                .env("API_LISTEN", "127.0.0.1:0")
                .env("LOG_LEVEL", "trace");
            command.envs(settings.iter().map(|(name, value)| (name, value)));
            said(name, &command.output().expect("it starts"))
        })
        .collect()
}

#[test]
fn a_secret_that_cannot_be_used_is_not_said() {
    let mut canaries = Canaries::default();
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    let settings: Vec<_> = secrets.map(|setting| (setting.name, canaries.plant(setting.name))).collect();
    assert!(settings.len() > 8);
    let commands = ["check-config", "doctor", "migrate"];
    canaries.look_for(&refusals(&["api", "worker", "scheduler"], &commands, &settings));
}

#[test]
fn the_password_of_a_server_that_does_not_answer_is_not_said() {
    let mut canaries = Canaries::default();
    let mut settings = Vec::new();
    for name in ["DATABASE_URL", "API_DATABASE_URL", "MIGRATION_DATABASE_URL"] {
        settings.push((name, format!("postgres://plimsoll:{}@127.0.0.1:1/plimsoll", canaries.plant(name))));
    }
    settings.push(("REDIS_URL", format!("redis://plimsoll:{}@127.0.0.1:1/0", canaries.plant("REDIS_URL"))));
    canaries.look_for(&refusals(&["worker", "scheduler"], &["doctor", "migrate"], &settings));
}
