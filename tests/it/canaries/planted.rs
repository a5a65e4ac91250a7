//! Secrets that were planted, and whether they can be read somewhere.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use uuid::Uuid;

/// What was planted: what it is, and the secret.
#[derive(Default)]
pub(super) struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// A new secret: letters and digits, so that it looks the same in a URL, in JSON and in a shell.
    pub(super) fn plant(&mut self, what: impl Into<String>) -> String {
        let secret = format!("canary{}", Uuid::new_v4().simple());
        self.add(what, &secret);
        secret
    }

    /// One that somebody else has made.
    pub(super) fn add(&mut self, what: impl Into<String>, secret: &str) {
        assert!(secret.len() >= 12, "too short to be told from other text: {secret}");
        self.0.push((what.into(), secret.to_owned()));
    }

    /// Fails with each place where one of them can be read, as it is or in base64.
    pub(super) fn look_for(&self, places: &[(String, Vec<u8>)]) {
        let mut found = Vec::new();
        for (place, content) in places {
            let content = String::from_utf8_lossy(content);
            for (what, secret) in &self.0 {
                if let Some(at) = forms(secret).iter().find_map(|form| content.find(form)) {
                    let before = content[..at].char_indices().rev().nth(120).map_or(0, |(from, _)| from);
                    found.push(format!("the {what} is in {place}, behind {:?}", &content[before..at]));
                }
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The secret itself, and the middle of its base64 wherever in a longer text it stands.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{secret}", &"xx"[..before]));
        forms.push(encoded[4 * before.min(1)..encoded.len() - 4].to_owned());
    }
    forms
}

#[test]
fn a_secret_is_found_as_it_is_and_in_base64_wherever_it_begins() {
    let secret = "canary0123456789abcdef";
    for before in ["", "u", "us", "user:", "\0user\0"] {
        let sent = STANDARD_NO_PAD.encode(format!("{before}{secret} and more"));
        assert!(forms(secret).iter().any(|form| sent.contains(form)), "{sent}");
    }
    assert!(!forms(secret).iter().any(|form| "nothing of the kind".contains(form)));
}
