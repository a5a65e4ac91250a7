//! Addresses that mean the same to us and to every mail server.
//!
//! The grammar of RFC 5322 allows quoted local parts, comments, routes and lists, in which servers have been made to read
//! another recipient than the sender saw. Accepted here is what people have: a dot-atom, `@`, a host name.

use lettre::Address;
use lettre::message::Mailbox;

use super::MailError;
use super::message::one_line;

/// The limits of RFC 5321, section 4.5.3.1, and of a path without its angle brackets.
const MAX_LOCAL_BYTES: usize = 64;
const MAX_ADDRESS_BYTES: usize = 254;

/// Read `address` or `Display Name <address>`.
///
/// # Errors
///
/// [`MailError::Permanent`] naming the address and what is wrong with it.
pub fn parse(text: &str) -> Result<Mailbox, MailError> {
    let text = text.trim();
    let (name, address) = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => {
            (display_name(name.trim()).map_err(|problem| refused(text, problem))?, address)
        }
        None => (String::new(), text),
    };
    let (local, domain) = parts(address)?;
    let address = Address::new(local, domain).map_err(|error| refused(address, &error.to_string()))?;
    Ok(Mailbox::new(Some(name).filter(|name| !name.is_empty()), address))
}

/// The name in front of an address, which is not to look like another address.
fn display_name(written: &str) -> Result<String, &'static str> {
    let quoted = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let (name, special) = quoted.map_or((written, "<>\"@,;"), |name| (name, "<>\""));
    if name.chars().any(|character| character.is_control() || special.contains(character)) {
        return Err("the name in front of it is not plain, or has to be in quotes");
    }
    Ok(one_line(name))
}

/// The same mailbox, once its address has passed the rules and its name can do no harm.
pub(super) fn checked(mailbox: &Mailbox) -> Result<Mailbox, MailError> {
    parts(mailbox.email.as_ref())?;
    let name = mailbox.name.as_deref().map(one_line).filter(|name| !name.is_empty());
    Ok(Mailbox::new(name, mailbox.email.clone()))
}

/// Local part and domain of an address that passes the rules.
fn parts(address: &str) -> Result<(&str, &str), MailError> {
    let problem = |problem: &str| Err(refused(address, problem));
    let Some((local, domain)) = address.rsplit_once('@') else {
        return problem("it has no `@`");
    };
    if !address.is_ascii() {
        return problem("it has letters outside ASCII: write the domain in its `xn--` form");
    }
    if local.len() > MAX_LOCAL_BYTES || address.len() > MAX_ADDRESS_BYTES {
        return problem("it is longer than mail servers accept");
    }
    let is_atom = |atom: &str, allowed: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || allowed.contains(char::from(byte)))
    };
    if !local.split('.').all(|atom| is_atom(atom, "!#$%&'*+-/=?^_`{|}~")) {
        return problem("the part before `@` is not plain");
    }
    let is_label = |label: &str| {
        is_atom(label, "-") && !label.starts_with('-') && !label.ends_with('-') && label.len() < 64
    };
    if !domain.split('.').all(is_label) {
        return problem("the part after `@` is no host name");
    }
    Ok((local, domain))
}

fn refused(address: &str, problem: &str) -> MailError {
    let shown: String = address.chars().take(80).flat_map(char::escape_debug).collect();
    MailError::Permanent(format!("`{shown}` is no address to send to: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_read_with_and_without_a_name() {
        assert_eq!(parse(" ann@example.org ").unwrap().to_string(), "ann@example.org");
        let named = parse("\"Müller, Ann\" <ann.m+reports@mail.example.org>").unwrap();
        assert_eq!(named.name.as_deref(), Some("Müller, Ann"));
        assert_eq!(named.email.to_string(), "ann.m+reports@mail.example.org");
        assert_eq!(parse("root@localhost").unwrap().email.domain(), "localhost");
    }

    #[test]
    fn one_address_can_not_smuggle_another() {
        for address in [
            "a@example.org,b@example.org",
            "a@example.org;b@example.org",
            "a@example.org b@example.org",
            "a@example.org\r\nRCPT TO:<b@example.org>",
            "a@example.org>\r\nDATA",
            "\"a b\"@example.org",
            "\"a@evil.example\"@example.org",
            "<a@example.org>,<b@example.org>",
            "a@[127.0.0.1]",
            "@relay.example:a@example.org",
            "a@example.org ORCPT=rfc822;b",
            "a\0@example.org",
            "a@",
            "@example.org",
            "a",
            "",
            "a..b@example.org",
            ".a@example.org",
            "a@-example.org",
            "a@example..org",
            "аnn@example.org",
            "a@exämple.org",
        ] {
            assert!(matches!(parse(address), Err(MailError::Permanent(_))), "{address:?}");
        }
        assert!(parse(&format!("{}@example.org", "a".repeat(65))).is_err());
        assert!(parse(&format!("a@{}.org", "b".repeat(260))).is_err());
    }

    #[test]
    fn a_name_is_one_line_of_text() {
        assert!(parse("Ann\r\nBcc: eve <ann@example.org>").is_err());
        let dangerous = Mailbox::new(Some("A\r\n\r\nbody".into()), "ann@example.org".parse().unwrap());
        assert_eq!(checked(&dangerous).unwrap().name.as_deref(), Some("A body"));
    }
}
