//! What makes the trail tamper-evident: a hash for each entry, over the one before, and a signed head; and where its oldest entries were
//! removed by policy, a signed beginning.
//!
//! Pure: entries in, hashes and verdicts out. The key is an Ed25519 pair in a file that only the scheduler reads, so that whoever can write
//! to the database still cannot vouch for what they wrote.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;
use uuid::Uuid;

/// The hash that the first entry of a chain stands on.
pub const BEGINNING: [u8; 32] = [0; 32];

/// An entry as it is hashed: every column as Postgres says it, so that nothing depends on how a value is read.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Sealable {
    pub id: Uuid,
    pub tenant_id: Option<Uuid>,
    /// Microseconds since 1970.
    pub at_micros: i64,
    pub actor_id: Option<Uuid>,
    pub actor: String,
    pub action: String,
    pub target_type: String,
    pub target_id: Option<String>,
    pub old_value: Option<String>,
    pub new_value: Option<String>,
    pub request_id: Option<String>,
    pub address: Option<String>,
}

impl Sealable {
    /// SHA-256 over the hash before, the number in the chain and the columns, each with its length in front and a mark whether it is there.
    #[must_use]
    pub fn hash(&self, before: &[u8], sequence: i64) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(before);
        digest.update(sequence.to_be_bytes());
        let (id, tenant, actor) = (Some(self.id), self.tenant_id, self.actor_id);
        for uuid in [id, tenant, actor] {
            field(&mut digest, uuid.as_ref().map(|uuid| &uuid.as_bytes()[..]));
        }
        field(&mut digest, Some(&self.at_micros.to_be_bytes()));
        for text in [Some(&self.actor), Some(&self.action), Some(&self.target_type)] {
            field(&mut digest, text.map(String::as_bytes));
        }
        for text in [&self.target_id, &self.old_value, &self.new_value, &self.request_id, &self.address] {
            field(&mut digest, text.as_deref().map(str::as_bytes));
        }
        digest.finalize().into()
    }
}

fn field(digest: &mut Sha256, value: Option<&[u8]>) {
    digest.update([u8::from(value.is_some())]);
    let value = value.unwrap_or_default();
    digest.update((value.len() as u64).to_be_bytes());
    digest.update(value);
}

/// How far a chain is sealed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Head {
    pub chain: Uuid,
    pub sequence: i64,
    pub hash: Vec<u8>,
    /// Microseconds since 1970.
    pub sealed_at_micros: i64,
    pub signature: Vec<u8>,
    pub key_id: Vec<u8>,
}

impl Head {
    fn signed(chain: Uuid, sequence: i64, hash: &[u8], sealed_at_micros: i64) -> Vec<u8> {
        let mut message = b"plimsoll audit head 1\n".to_vec();
        message.extend(chain.as_bytes());
        message.extend(sequence.to_be_bytes());
        message.extend(sealed_at_micros.to_be_bytes());
        message.extend(hash);
        message
    }
}

/// The oldest entries of a chain, which were removed because they need not be kept.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Removed {
    pub chain: Uuid,
    /// The number and the hash of the last of them: what the first one left stands on.
    pub sequence: i64,
    pub hash: Vec<u8>,
    /// All of them were written before this. Microseconds since 1970, as is the next.
    pub before_micros: i64,
    /// For how many days entries were to be kept then.
    pub days: i32,
    pub cut_at_micros: i64,
}

impl Removed {
    fn signed(&self) -> Vec<u8> {
        let mut message = b"plimsoll audit cut 1\n".to_vec();
        message.extend(self.chain.as_bytes());
        for number in [self.sequence, self.before_micros, self.cut_at_micros, i64::from(self.days)] {
            message.extend(number.to_be_bytes());
        }
        message.extend(&self.hash);
        message
    }
}

/// Where a chain begins, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Cut {
    #[sqlx(flatten)]
    pub removed: Removed,
    pub signature: Vec<u8>,
    pub key_id: Vec<u8>,
}

/// Signs heads. Debug shows the public half only.
pub struct SealingKey(Ed25519KeyPair);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("SealingKey").field(&self.public().id_text()).finish()
    }
}

/// Checks what a [`SealingKey`] signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl SealingKey {
    /// The key in `path` (PKCS #8, DER). Where there is none yet it is made, readable by its owner only.
    ///
    /// # Errors
    /// When the file cannot be read or written, holds something else, or can be read by others.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match Self::load(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(path)?;
                // Of several that start at once, one has written it.
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// The key in `path`.
    ///
    /// # Errors
    /// When the file cannot be read, holds something else, or can be read by others.
    pub fn load(path: &Path) -> io::Result<Self> {
        let der = fs::read(path)?;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            let why =
                format!("{} can be read by others (mode {:o}): chmod 600", path.display(), mode & 0o777);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ed25519KeyPair::from_pkcs8(&der).map(Self).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is no Ed25519 key in PKCS #8", path.display()),
            )
        })
    }

    fn create(path: &Path) -> io::Result<()> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let draft = folder.join(format!(".{}", Uuid::new_v4()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(pkcs8.as_ref())?;
        file.sync_all()?;
        // Fails when another was faster, whose key it is then.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// The half that may be known.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("an Ed25519 public key has 32 bytes"))
    }

    /// The head of `chain` at `sequence`.
    #[must_use]
    pub fn sign(&self, chain: Uuid, sequence: i64, hash: [u8; 32], sealed_at_micros: i64) -> Head {
        let signature = self.0.sign(&Head::signed(chain, sequence, &hash, sealed_at_micros));
        Head {
            chain,
            sequence,
            hash: hash.to_vec(),
            sealed_at_micros,
            signature: signature.as_ref().to_vec(),
            key_id: self.public().id().to_vec(),
        }
    }

    /// The record that `removed` is gone by policy. Only for entries that were followed and found whole.
    #[must_use]
    pub fn sign_cut(&self, removed: Removed) -> Cut {
        let signature = self.0.sign(&removed.signed()).as_ref().to_vec();
        Cut { removed, signature, key_id: self.public().id().to_vec() }
    }
}

impl PublicKey {
    /// From 64 hexadecimal digits, as [`Self::to_hex`] gives them.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first eight bytes of its SHA-256.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        let digest = Sha256::digest(self.0);
        digest[..8].try_into().expect("a SHA-256 has more than eight bytes")
    }

    /// [`Self::id`] in hexadecimal digits.
    #[must_use]
    pub fn id_text(&self) -> String {
        hex::encode(self.id())
    }

    /// Whether this key signed `head`.
    #[must_use]
    pub fn vouches_for(&self, head: &Head) -> bool {
        let message = Head::signed(head.chain, head.sequence, &head.hash, head.sealed_at_micros);
        self.has_signed(&message, &head.signature)
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// What is wrong with a chain. The first thing that is found: what comes after it stands on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("entry {0} is missing: the one after it is there")]
    Missing(i64),
    #[error("entry {sequence} ({id}) is not what was sealed: it, or one before it, was changed or moved")]
    Changed { sequence: i64, id: Uuid },
    #[error("the chain ends at {found}, and its signed head says {signed}: the end was cut off")]
    Cut { found: i64, signed: i64 },
    #[error("the chain goes on to {found}, beyond its signed head at {signed}")]
    Beyond { found: i64, signed: i64 },
    #[error("the head's hash is not that of entry {0}")]
    OtherHead(i64),
    #[error("there are sealed entries and no head")]
    NoHead,
    #[error("the head is not signed by the key {trusted} but by {found}")]
    OtherKey { trusted: String, found: String },
    #[error("the signature of the head is wrong")]
    BadSignature,
    #[error(
        "the entries up to {sequence} are gone, and the record that they were removed by policy is not signed by the key {trusted}"
    )]
    ForgedCut { sequence: i64, trusted: String },
    #[error("at entry {sequence} the hash was noted as {noted}, and now it is {found}")]
    OtherThanNoted { sequence: i64, noted: String, found: String },
}

/// Follows a chain from its beginning.
#[derive(Debug)]
pub struct Check {
    next: i64,
    hash: [u8; 32],
    noted: Option<(i64, [u8; 32])>,
}

impl Check {
    /// `noted`: what somebody wrote down of this chain earlier, a number and the hash there.
    #[must_use]
    pub fn new(noted: Option<(i64, [u8; 32])>) -> Self {
        Self { next: 1, hash: BEGINNING, noted }
    }

    /// The chain does not begin at the beginning: `cut` says where, before any entry is looked at.
    ///
    /// # Errors
    /// When the key does not vouch for it.
    pub fn begin_after(&mut self, cut: &Cut, trusted: &PublicKey) -> Result<(), Flaw> {
        let sequence = cut.removed.sequence;
        let hash = <[u8; 32]>::try_from(cut.removed.hash.as_slice()).ok();
        match hash.filter(|_| trusted.has_signed(&cut.removed.signed(), &cut.signature)) {
            Some(hash) => {
                (self.next, self.hash) = (sequence + 1, hash);
                self.compare_with_noted(sequence)
            }
            None => Err(Flaw::ForgedCut { sequence, trusted: trusted.id_text() }),
        }
    }

    /// The next sealed entry, with its number and the hash that it was sealed with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn entry(&mut self, sequence: i64, hash: &[u8], entry: &Sealable) -> Result<(), Flaw> {
        if sequence != self.next {
            return Err(Flaw::Missing(self.next));
        }
        let found = entry.hash(&self.hash, sequence);
        if found != hash {
            return Err(Flaw::Changed { sequence, id: entry.id });
        }
        self.hash = found;
        self.next += 1;
        self.compare_with_noted(sequence)
    }

    fn compare_with_noted(&self, sequence: i64) -> Result<(), Flaw> {
        match self.noted {
            Some((at, noted)) if at == sequence && noted != self.hash => {
                let (noted, found) = (hex::encode(noted), hex::encode(self.hash));
                Err(Flaw::OtherThanNoted { sequence, noted, found })
            }
            _ => Ok(()),
        }
    }

    /// The end: the number of the last entry.
    ///
    /// # Errors
    /// When `head` does not vouch for exactly these.
    pub fn end(self, head: Option<&Head>, trusted: &PublicKey) -> Result<i64, Flaw> {
        let found = self.next - 1;
        if let Some((noted, _)) = self.noted.filter(|(at, _)| *at > found) {
            return Err(Flaw::Cut { found, signed: noted });
        }
        let Some(head) = head else {
            return if found == 0 { Ok(0) } else { Err(Flaw::NoHead) };
        };
        if head.key_id != trusted.id() {
            return Err(Flaw::OtherKey { trusted: trusted.id_text(), found: hex::encode(&head.key_id) });
        }
        if !trusted.vouches_for(head) {
            return Err(Flaw::BadSignature);
        }
        match head.sequence {
            signed if signed > found => Err(Flaw::Cut { found, signed }),
            signed if signed < found => Err(Flaw::Beyond { found, signed }),
            signed if head.hash != self.hash => Err(Flaw::OtherHead(signed)),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &str) -> Sealable {
        Sealable {
            id: Uuid::new_v4(),
            tenant_id: None,
            at_micros: 1,
            actor_id: None,
            actor: "ada".into(),
            action: action.into(),
            target_type: "user".into(),
            target_id: None,
            old_value: None,
            new_value: Some("{}".into()),
            request_id: None,
            address: None,
        }
    }

    #[test]
    fn what_is_absent_and_what_is_empty_are_told_apart() {
        let absent = entry("user.create");
        let empty = Sealable { target_id: Some(String::new()), ..absent.clone() };
        let moved = Sealable { target_id: absent.new_value.clone(), new_value: None, ..absent.clone() };
        let hashes = [&absent, &empty, &moved].map(|entry| entry.hash(&BEGINNING, 1));
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2] && hashes[1] != hashes[2]);
    }

    #[test]
    fn a_key_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys/audit.key");
        let first = SealingKey::load_or_create(&path).expect("made").public();
        assert_eq!(SealingKey::load_or_create(&path).expect("kept").public(), first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened to others");
        let refused = SealingKey::load(&path).expect_err("too open").to_string();
        assert!(refused.contains("mode 644") && refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_chain_begins_where_a_signed_record_says_and_nowhere_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let [ours, theirs] =
            ["a", "b"].map(|name| SealingKey::load_or_create(&folder.path().join(name)).expect("a key"));
        let (first, second) = (entry("user.create"), entry("user.delete"));
        let hash = first.hash(&BEGINNING, 1);
        let next = second.hash(&hash, 2);
        let removed = Removed {
            chain: Uuid::nil(),
            sequence: 1,
            hash: hash.to_vec(),
            before_micros: 7,
            days: 90,
            cut_at_micros: 9,
        };
        let cut = ours.sign_cut(removed.clone());
        let begin = |cut: &Cut, noted| {
            let mut check = Check::new(noted);
            check.begin_after(cut, &ours.public()).map(|()| check)
        };
        let mut check = begin(&cut, Some((1, hash))).expect("signed by us");
        check.entry(2, &next, &second).expect("stands on what is gone");
        assert_eq!(check.end(Some(&ours.sign(Uuid::nil(), 2, next, 8)), &ours.public()), Ok(2));
        assert!(matches!(begin(&cut, Some((1, next))), Err(Flaw::OtherThanNoted { sequence: 1, .. })));
        let longer = Cut { removed: Removed { days: 91, ..removed.clone() }, ..cut.clone() };
        for forged in [longer, theirs.sign_cut(removed)] {
            assert!(matches!(begin(&forged, None), Err(Flaw::ForgedCut { sequence: 1, .. })));
        }
        assert_eq!(Check::new(None).entry(2, &next, &second), Err(Flaw::Missing(1)), "without a record");
    }

    #[test]
    fn a_head_of_another_key_or_of_other_entries_does_not_vouch() {
        let folder = tempfile::tempdir().expect("a folder");
        let [ours, theirs] =
            ["a", "b"].map(|name| SealingKey::load_or_create(&folder.path().join(name)).expect("a key"));
        let (first, second) = (entry("user.create"), entry("user.delete"));
        let hash = first.hash(&BEGINNING, 1);
        let follow = || {
            let mut check = Check::new(None);
            check.entry(1, &hash, &first).expect("as sealed");
            check
        };
        let head = ours.sign(Uuid::nil(), 1, hash, 7);
        assert_eq!(follow().end(Some(&head), &ours.public()), Ok(1));
        assert!(matches!(follow().end(Some(&head), &theirs.public()), Err(Flaw::OtherKey { .. })));
        let forged = Head { sealed_at_micros: 8, ..head.clone() };
        assert_eq!(follow().end(Some(&forged), &ours.public()), Err(Flaw::BadSignature));
        assert_eq!(Check::new(None).end(Some(&head), &ours.public()), Err(Flaw::Cut { found: 0, signed: 1 }));
        let changed = Sealable { actor: "eve".into(), ..first.clone() };
        let id = changed.id;
        assert_eq!(Check::new(None).entry(1, &hash, &changed), Err(Flaw::Changed { sequence: 1, id }));
        assert_eq!(follow().entry(3, &hash, &second), Err(Flaw::Missing(2)));
    }
}
