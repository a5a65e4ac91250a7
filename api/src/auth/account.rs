//! What a username, an e-mail address and a password have to be like.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use crate::{error::Problems, extract::shown};

/// Reads a password, which no log line shows from then on.
pub(crate) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// Notes what is wrong with a new account.
pub(crate) fn check(problems: &mut Problems, username: &str, email: &str, password: &SecretString) {
    check_username(problems, username);
    check_email(problems, email);
    check_password(problems, "password", password, username, email);
}

/// Notes what is wrong with a username.
pub(crate) fn check_username(problems: &mut Problems, username: &str) {
    let length = username.chars().count();
    problems.require((3..=64).contains(&length), "username", || {
        format!("{} has {length} characters, a username has 3 to 64", shown(username))
    });
    let odd = username.chars().find(|c| !c.is_alphanumeric() && !c.is_ascii_graphic());
    problems.require(odd.is_none(), "username", || {
        let odd = odd.map_or(0, u32::from);
        format!(
            "{} has U+{odd:04X} in it: a username consists of letters, digits and ASCII punctuation, without spaces and what cannot be seen",
            shown(username)
        )
    });
    problems.require(alphabets(username) <= 1, "username", || {
        format!("`{username}` has letters of different alphabets that look alike: keep to one")
    });
}

/// How many of the alphabets that share the looks of letters it takes from: an `а` of the Cyrillic one in `admin` would make another name
/// that reads the same wherever it is shown (Unicode Technical Report 36, section 2.1).
fn alphabets(text: &str) -> usize {
    let greek = |c: char| matches!(c, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}');
    let cyrillic =
        |c: char| matches!(c, '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}');
    let latin = |c: char| {
        c.is_ascii_alphabetic()
            || matches!(c, '\u{aa}' | '\u{ba}' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{ff21}'..='\u{ff5a}')
    };
    usize::from(text.contains(latin))
        + usize::from(text.contains(greek))
        + usize::from(text.contains(cyrillic))
}

/// Notes what is wrong with an e-mail address.
pub(crate) fn check_email(problems: &mut Problems, email: &str) {
    problems.require(is_email(email), "email", || {
        format!("`{email}` is not an e-mail address: write one like name@example.com")
    });
}

/// Notes what is wrong with a password: length, and nothing that everybody guesses first (NIST SP 800-63B, section
/// 5.1.1.2). Which kinds of characters it has is its owner's business.
pub(crate) fn check_password(
    problems: &mut Problems,
    field: &str,
    password: &SecretString,
    username: &str,
    email: &str,
) {
    let password = password.expose_secret();
    let length = password.chars().count();
    problems.require((8..=128).contains(&length), field, || {
        format!("a password has 8 to 128 characters, this one has {length}")
    });
    let local = email.split('@').next().unwrap_or_default();
    problems.require(!is_easily_guessed(password, &[username, local]), field, || {
        "this password is among the first that anybody would guess: take a few words that have nothing to do with each other"
            .into()
    });
}

/// What most people's passwords are made of, without what they add to it.
const COMMON: &[&str] = &[
    "abcdefgh",
    "access",
    "account",
    "admin",
    "administrator",
    "america",
    "angel",
    "asdfgh",
    "asdfghjkl",
    "azerty",
    "baseball",
    "basketball",
    "batman",
    "beautiful",
    "butterfly",
    "changeit",
    "changeme",
    "charlie",
    "chelsea",
    "chocolate",
    "computer",
    "company",
    "dallas",
    "default",
    "diamond",
    "dragon",
    "elephant",
    "football",
    "freedom",
    "fuckyou",
    "google",
    "guest",
    "hello",
    "helloworld",
    "hunter",
    "iloveyou",
    "internet",
    "jennifer",
    "jessica",
    "jordan",
    "killer",
    "letmein",
    "liverpool",
    "login",
    "lovely",
    "manager",
    "master",
    "michael",
    "michelle",
    "monkey",
    "mustang",
    "mypassword",
    "newpassword",
    "ninja",
    "nothing",
    "office",
    "oracle",
    "pass",
    "passw",
    "password",
    "passwort",
    "passphrase",
    "pepper",
    "plimsoll",
    "pokemon",
    "postgres",
    "princess",
    "private",
    "qazwsx",
    "qazwsxedc",
    "qweasdzxc",
    "querty",
    "qwert",
    "qwerty",
    "qwertyuiop",
    "qwertz",
    "ranger",
    "redis",
    "root",
    "samsung",
    "secret",
    "security",
    "server",
    "service",
    "shadow",
    "soccer",
    "spring",
    "starwars",
    "summer",
    "sunshine",
    "superman",
    "support",
    "sysadmin",
    "system",
    "temp",
    "temporary",
    "test",
    "tester",
    "testing",
    "testtest",
    "thomas",
    "thunder",
    "trustno",
    "user",
    "username",
    "victory",
    "welcome",
    "whatever",
    "windows",
    "winter",
    "zaqwsx",
    "zxcvbn",
    "zxcvbnm",
    "monday",
    "january",
    "december",
    "hockey",
    "yankees",
    "matrix",
];

/// Rows of keys and of the alphabet: whoever runs along one has not chosen much.
const ROWS: &[&str] = &[
    "01234567890123456789",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn",
    "1q2w3e4r5t6y7u8i9o0p",
];

fn is_easily_guessed(password: &str, own_words: &[&str]) -> bool {
    let lower = password.to_lowercase();
    let mut characters: Vec<char> = lower.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    let word = bare_word(&lower);
    let is_common = COMMON.contains(&word.as_str());
    let is_own = own_words.iter().any(|own| {
        let own = bare_word(&own.to_lowercase());
        own.chars().count() >= 3 && word == own
    });
    // A common word twice is as common.
    let half = word.get(..word.len() / 2).unwrap_or_default();
    let is_doubled = word.len().is_multiple_of(2) && word == half.repeat(2) && COMMON.contains(&half);
    characters.len() < 4 || ROWS.iter().any(|row| row.contains(&lower)) || is_common || is_own || is_doubled
}

/// `P@ssw0rd2024!` is `password`: without digits and signs around it, and with those within it read as letters.
fn bare_word(lower: &str) -> String {
    let decoration = |c: char| !c.is_alphabetic();
    // Signs that stand for letters count as such when they begin the word, digits behind it are decoration.
    let trimmed =
        lower.trim_end_matches(decoration).trim_start_matches(|c: char| decoration(c) && !"@$".contains(c));
    trimmed
        .chars()
        .map(|c| match c {
            '0' => 'o',
            '1' | '!' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            other => other,
        })
        .filter(|c| c.is_alphabetic())
        .collect()
}

/// `local@domain` without spaces, at most 254 bytes (RFC 5321, section 4.5.3.1.3). Whether mail arrives is
/// another question.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.len() <= 63
    };
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && local.chars().all(plain)
        && local.split('.').all(|part| !part.is_empty())
        && domain.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.')
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_addresses_are_told_from_other_texts() {
        for good in ["admin@example.com", "a.b+c@example.co.uk", "root@localhost", "zoë@münchen.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "admin",
            "@example.com",
            "a@",
            "a b@example.com",
            "a@b@c",
            "a@-b.c",
            "a..b@c.d",
            "a@b..c",
            "a@b.c\r\nBcc: x@y.z",
            "<a@b.c>",
            "a,b@c.d",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    fn objections(username: &str) -> usize {
        let mut problems = Problems::default();
        check_username(&mut problems, username);
        usize::from(problems.finish().is_err())
    }

    #[test]
    fn usernames_look_like_no_others() {
        for good in [
            "admin",
            "zoë.müller",
            "Ольга",
            "μαρία-2",
            "李小龍",
            "DOMAIN\\ada",
            "ada+ops@example.com",
            "user#EXT#",
        ] {
            assert_eq!(objections(good), 0, "{good}");
        }
        for bad in [
            "аdmin",
            "admin\u{200b}",
            "ad\u{202e}min",
            "\u{feff}admin",
            "two words",
            "tab\tbed",
            "αdmin",
            "ab",
            "ad\u{ad}min",
        ] {
            assert_eq!(objections(bad), 1, "{bad:?}");
        }
    }

    #[test]
    fn what_everybody_guesses_first_is_refused() {
        for guessed in [
            "password",
            "Password1",
            "P@ssw0rd2024!",
            "12345678",
            "87654321",
            "11111111",
            "abababab",
            "qwertyuiop",
            "1q2w3e4r",
            "letmein!!",
            "Welcome123",
            "passwordpassword",
            "Summer2026",
            "iloveyou",
            "adalovelace7",
        ] {
            assert!(is_easily_guessed(guessed, &["adalovelace", "ada"]), "{guessed}");
        }
    }

    #[test]
    fn what_somebody_thought_about_is_taken() {
        for good in [
            "securepassword",
            "secretpassword",
            "correct horse battery staple",
            "Xk3!vb90",
            "日本語のパスワード",
        ] {
            assert!(!is_easily_guessed(good, &["ada", "admin"]), "{good}");
        }
    }
}
