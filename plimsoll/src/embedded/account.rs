//! Under which account the servers run. Never as root: Postgres refuses to, and Redis should.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Error;

/// An account of the machine, from `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Best first. `postgres` and `redis` come with the packages; `nobody` is everywhere.
const CANDIDATES: [&str; 3] = ["postgres", "redis", "nobody"];

/// The account to drop to, or `None` when this process is not root and its own account will do.
///
/// A folder that already belongs to an account keeps it, whatever has been installed since.
pub(super) fn to_drop_to(postgres_directory: &Path) -> Result<Option<Account>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = parse(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    let present = fs::metadata(postgres_directory).ok().map(|directory| directory.uid());
    let owner = accounts.iter().find(|account| account.user != 0 && Some(account.user) == present);
    let candidate =
        || CANDIDATES.iter().find_map(|name| accounts.iter().find(|account| account.name == *name));
    owner.or_else(candidate).cloned().map(Some).ok_or(Error::NoAccount)
}

fn parse(passwd: &str) -> Vec<Account> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Account { name, user, group })
    };
    passwd.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_and_broken_lines_skipped() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\n# note\nhalf:x\npostgres:x:101:104:,,,:/var/lib:/bin/sh\n";
        let names: Vec<_> =
            parse(passwd).into_iter().map(|account| (account.name, account.user, account.group)).collect();
        assert_eq!(names, [("root".to_owned(), 0, 0), ("postgres".to_owned(), 101, 104)]);
    }
}
