//! `plimsoll audit`: has anybody tampered with the audit trail?

use std::path::Path;

use anyhow::{Context as _, anyhow};
use chrono::DateTime;
use runtime::config::Config;
use store::{
    audit::{
        self, INSTALLATION, Noted, Verified,
        chain::{Cut, PublicKey, SealingKey},
    },
    db,
};
use uuid::Uuid;

use crate::{
    exit::{Exit, Failure},
    installation::Installation,
    terminal,
};

/// Look after the audit trail.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(Verify),
}

/// Look through every entry: is any changed, missing, moved or cut off?
///
/// Ends with 0 when every chain is whole, with 1 when one is not. Prints how far each chain goes and the hash there: kept elsewhere and given
/// to --noted later, it shows that nobody has put an older state back.
#[derive(Debug, clap::Args)]
struct Verify {
    /// The public key to trust, as the scheduler logs it: 64 hexadecimal digits. Otherwise that of AUDIT_KEY_FILE.
    #[arg(long, value_name = "HEX")]
    public_key: Option<String>,
    /// CHAIN:NUMBER:HASH as printed by an earlier run; may be given for several chains.
    #[arg(long, value_name = "NOTE", value_parser = noted)]
    noted: Vec<Noted>,
    /// Print one JSON object per chain.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    let Command::Verify(arguments) = &arguments.command;
    let home = config.home.clone();
    let trusted = trusted(arguments, &config.audit_key_file)?;
    let Some(Installation { config, .. }) = Installation::find(config)? else {
        let sentence = format!(
            "DATABASE_URL and REDIS_URL are not set and no `plimsoll up` runs in {}: start it and ask again",
            home.display()
        );
        return Err(Failure::new(Exit::Unavailable, anyhow!(sentence)));
    };
    let url =
        config.database_url.as_ref().context("DATABASE_URL is not set: the trail is in that database")?;
    let mut connection = db::connect_once(url).await.map_err(Failure::unavailable)?;
    db::act_as_system(&mut connection).await.map_err(Failure::unavailable)?;
    let chains =
        audit::verify(&mut connection, &trusted, &arguments.noted).await.map_err(Failure::unavailable)?;
    let flawed = chains.iter().filter(|chain| chain.outcome.is_err()).count();
    for chain in &chains {
        terminal::result(if arguments.json { as_json(chain) } else { in_words(chain) });
    }
    match flawed {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Failure, anyhow!("{flawed} of {} chains are not whole", chains.len()))),
    }
}

fn trusted(arguments: &Verify, key_file: &Path) -> Result<PublicKey, Failure> {
    let refuse = |why: anyhow::Error| Failure::new(Exit::Config, why);
    if let Some(hex) = &arguments.public_key {
        let why = || refuse(anyhow!("--public-key `{hex}` is not 64 hexadecimal digits"));
        return PublicKey::from_hex(hex).ok_or_else(why);
    }
    let key = SealingKey::load(key_file)
        .with_context(|| format!("no key to trust in {}: give --public-key", key_file.display()));
    key.map(|key| key.public()).map_err(refuse)
}

fn in_words(chain: &Verified) -> String {
    let name = &chain.name;
    let waiting = match chain.unsealed {
        0 => String::new(),
        count => format!("; {count} not sealed yet"),
    };
    let before = chain.cut.as_ref().map_or_else(String::new, |Cut { removed, .. }| {
        format!(
            "; the {} before them, older than {}, were removed by policy after {} days",
            removed.sequence,
            day(removed.before_micros),
            removed.days
        )
    });
    match (&chain.outcome, &chain.head) {
        (Ok(last), Some(head)) => format!(
            "ok        {name}: {} entries, sealed {}{before}{waiting}\n          note: {}:{last}:{}",
            last - removed(chain),
            day(head.sealed_at_micros),
            spelled(chain.chain),
            hex::encode(&head.hash)
        ),
        (Ok(_), None) => format!("ok        {name}: no sealed entries{waiting}"),
        (Err(flaw), _) => format!("TAMPERED  {name}: {flaw}{waiting}"),
    }
}

/// How many entries of the chain are gone by policy.
fn removed(chain: &Verified) -> i64 {
    chain.cut.as_ref().map_or(0, |cut| cut.removed.sequence)
}

fn day(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn as_json(chain: &Verified) -> String {
    let head = chain.head.as_ref();
    serde_json::json!({
        "chain": spelled(chain.chain),
        "name": chain.name,
        "whole": chain.outcome.is_ok(),
        "entries": chain.outcome.as_ref().ok().map(|last| last - removed(chain)),
        "removed_by_policy": removed(chain),
        "flaw": chain.outcome.as_ref().err().map(ToString::to_string),
        "unsealed": chain.unsealed,
        "head": head.map(|head| hex::encode(&head.hash)),
        "key_id": head.map(|head| hex::encode(&head.key_id)),
    })
    .to_string()
}

fn spelled(chain: Uuid) -> String {
    if chain == INSTALLATION { "installation".to_owned() } else { chain.to_string() }
}

fn noted(text: &str) -> Result<Noted, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [chain, number, hash] = parts[..] else {
        return Err("it has three parts, CHAIN:NUMBER:HASH".into());
    };
    let chain = match chain {
        "installation" => INSTALLATION,
        id => id.parse().map_err(|_| format!("`{id}` is neither `installation` nor an id"))?,
    };
    let number = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    let hash = hex::decode(hash).ok().and_then(|hash| hash.try_into().ok());
    Ok((chain, number, hash.ok_or("the hash has 64 hexadecimal digits")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_chain_a_number_and_a_hash() {
        let hash = "ab".repeat(32);
        assert_eq!(noted(&format!("installation:7:{hash}")), Ok((INSTALLATION, 7, [0xab; 32])));
        for wrong in [
            "",
            "installation:7",
            &format!("x:7:{hash}"),
            &format!("installation:x:{hash}"),
            "installation:7:ab",
        ] {
            assert!(noted(wrong).is_err(), "{wrong}");
        }
    }
}
