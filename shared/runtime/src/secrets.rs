//! Secrets that have to be read again, such as those of webhooks: sealed before they are stored.
//!
//! Each secret is encrypted with a data key of its own, and that key with a *key-encryption key* which is in a file or in the environment and
//! never in the database (envelope encryption; AES-256-GCM both times, NIST SP 800-38D). What is encrypted is bound to its [`Place`]: put
//! into another row, another column or another tenant's table, it cannot be opened. Changing the key-encryption key means to wrap the data
//! keys anew; the secrets themselves stay as they are.
//!
//! Which of several key-encryption keys is the current one is the database's to say, so that all processes agree: that, and what is kept
//! there, is `store::secrets`. Start at [`Keys`].

mod file;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest,
    hkdf::{HKDF_SHA256, Prk},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};

use crate::config::SecretsKey;

/// The first byte of all that is sealed: how the rest is to be read.
const FORM: u8 = 1;
const KEY_LEN: usize = 32;
const ID_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Form, id of the key-encryption key, nonce, data key and tag.
const WRAPPED_LEN: usize = 1 + ID_LEN + NONCE_LEN + KEY_LEN + TAG_LEN;
/// What the key for tokens is derived with, so that it has nothing in common with the one that encrypts (RFC 5869, section 2.3).
const TOKENS: &[u8] = b"plimsoll tokens 1";

/// Which key-encryption key something was wrapped with: the first eight bytes of a SHA-256 over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl TryFrom<&[u8]> for KeyId {
    type Error = SecretError;

    fn try_from(bytes: &[u8]) -> Result<Self, SecretError> {
        bytes.try_into().map(Self).map_err(|_| SecretError::Damaged)
    }
}

/// Why a secret cannot be sealed or opened. Never tells the secret or a key.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("a secret was sealed with the key {0}, which this process does not have: see SECRETS_KEY_FILE")]
    UnknownKey(KeyId),
    /// Altered, moved to another place, or sealed by another key of the same id, which no two have.
    #[error("a secret cannot be opened: it was altered, or it is not where it was sealed for")]
    Refused,
    #[error("a secret is not in a form that this version reads")]
    Damaged,
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error("{0}")]
    Key(String),
    /// Nothing that was sealed could be opened.
    #[error(
        "the secrets in this database are sealed with the key {current}, and {source_of_ours} has {ours}: put the right key there, from \
         the backup or from where the other processes have it; if it is lost for good, `plimsoll secrets forget` gives the secrets up"
    )]
    WrongKey { current: KeyId, ours: String, source_of_ours: String },
    #[error("the file with the keys for secrets, {}, cannot be used", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Where a secret stands. It can be opened there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The tenant's id; `None`: it belongs to the installation.
    pub tenant: Option<[u8; 16]>,
    pub table: &'static str,
    pub column: &'static str,
    /// Names the row within table and tenant.
    pub row: &'a str,
}

impl Place<'_> {
    /// Each part with its length in front, so that no two places are written alike.
    fn associated_data(&self) -> Vec<u8> {
        let mut written = b"plimsoll secret 1\n".to_vec();
        written.push(u8::from(self.tenant.is_some()));
        written.extend(self.tenant.unwrap_or_default());
        for part in [self.table, self.column, self.row] {
            written.extend((part.len() as u64).to_be_bytes());
            written.extend(part.as_bytes());
        }
        written
    }
}

/// A secret as it is stored: in two columns, since the second is written anew when the key-encryption key changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub secret: Vec<u8>,
    /// The data key, wrapped.
    pub key: Vec<u8>,
}

/// A key-encryption key.
#[derive(Clone)]
struct Key {
    id: KeyId,
    cipher: Arc<LessSafeKey>,
    tokens: hmac::Key,
}

impl Key {
    fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let mut hashed = digest::Context::new(&digest::SHA256);
        hashed.update(b"plimsoll key-encryption key\n");
        hashed.update(bytes);
        let id = hashed.finish().as_ref()[..ID_LEN].try_into().expect("a SHA-256 has more than eight bytes");
        // The key is random, so that there is nothing to extract before.
        let tokens = Prk::new_less_safe(HKDF_SHA256, bytes)
            .expand(&[TOKENS], hmac::HMAC_SHA256)
            .expect("HKDF gives far more than the 32 bytes of one key")
            .into();
        Self { id: KeyId(id), cipher: Arc::new(cipher(bytes)), tokens }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.id)
    }
}

/// The key-encryption keys of an installation. Cheap to clone.
///
/// Those in a file are read again when a key is asked for that was not there: so one that was added is known to running processes.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: RwLock<Vec<Key>>,
    /// Where they were read; `None`: in the environment.
    file: Option<PathBuf>,
}

impl Keys {
    /// The keys that the settings name.
    ///
    /// # Errors
    /// As [`Self::parse`] and [`Self::open`].
    pub fn load(named: &SecretsKey) -> Result<Self, SecretError> {
        match named {
            SecretsKey::Given(text) => Self::parse(text)
                .map_err(|error| SecretError::Key(format!("SECRETS_KEY cannot be used: {error}"))),
            SecretsKey::File(path) => Self::open(path),
        }
    }

    /// As [`Self::load`], for looking only: makes no file.
    ///
    /// # Errors
    /// As [`Self::load`], also when there is no file.
    pub fn look(named: &SecretsKey) -> Result<Self, SecretError> {
        match named {
            SecretsKey::Given(_) => Self::load(named),
            SecretsKey::File(path) => Ok(Self::of(file::read(path)?, Some(path.clone()))),
        }
    }

    /// That `current` is the key they should have and do not.
    #[must_use]
    pub fn are_wrong(&self, current: KeyId) -> SecretError {
        let ours = self.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        SecretError::WrongKey { current, ours, source_of_ours: self.source() }
    }

    /// The keys in `text`, one or more with spaces, commas or line ends between, the newest first; each the base64 of 32 random bytes. Lines
    /// that begin with `#` say nothing.
    ///
    /// # Errors
    /// When one is no such key, or there is none; the message does not show it.
    pub fn parse(text: &SecretString) -> Result<Self, SecretError> {
        Ok(Self::of(file::parse(text.expose_secret())?, None))
    }

    /// The keys in the file `path`, which not everybody may read. Where there is no file one with a new key is made.
    ///
    /// # Errors
    /// When it cannot be read or written, can be read by everybody, or holds something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SecretError> {
        let path = path.into();
        let keys = file::read_or_create(&path)?;
        Ok(Self::of(keys, Some(path)))
    }

    fn of(keys: Vec<Key>, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared { keys: RwLock::new(keys), file }))
    }

    /// Where they are kept, for messages.
    #[must_use]
    pub fn source(&self) -> String {
        self.0.file.as_ref().map_or_else(|| "SECRETS_KEY".into(), |path| path.display().to_string())
    }

    /// The newest key: what a database without any begins with, and what a rotation goes to.
    #[must_use]
    pub fn newest(&self) -> KeyId {
        self.known()[0].id
    }

    /// Every key, the newest first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.known().iter().map(|key| key.id).collect()
    }

    /// Makes a key, puts it in front of the file, and returns its id. Nothing is sealed with it until the database says that it is the current
    /// one.
    ///
    /// # Errors
    /// When the file cannot be written, or the keys are not in a file.
    pub fn add(&self) -> Result<KeyId, SecretError> {
        let Some(path) = &self.0.file else {
            return Err(SecretError::Key(
                "SECRETS_KEY holds the keys: put a new one in front of it (`plimsoll secrets generate` prints one), restart every process, \
                 and ask again"
                    .into(),
            ));
        };
        file::add(path)?;
        self.look_again()?;
        Ok(self.newest())
    }

    /// Seals `secret` for `place` with the key-encryption key `with`.
    ///
    /// # Errors
    /// [`SecretError::UnknownKey`] when this process does not have that key.
    pub fn seal(&self, with: KeyId, place: &Place<'_>, secret: &[u8]) -> Result<Sealed, SecretError> {
        let key = self.find(with)?;
        let data_key = random::<KEY_LEN>()?;
        let mut sealed = vec![FORM];
        sealed.extend(encrypt(&cipher(&data_key), &place.associated_data(), secret)?);
        Ok(Sealed { secret: sealed, key: wrap(&key, &data_key)? })
    }

    /// The secret that was sealed for `place`.
    ///
    /// # Errors
    /// When it is not what was sealed there, or this process does not have the key.
    pub fn unseal(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Vec<u8>, SecretError> {
        let data_key = self.unwrap_key(&sealed.key)?;
        let Some((&FORM, rest)) = sealed.secret.split_first() else { return Err(SecretError::Damaged) };
        decrypt(&cipher(&data_key), &place.associated_data(), rest)
    }

    /// `wrapped`, a data key, wrapped with `with` instead of whatever it is.
    ///
    /// # Errors
    /// As [`Self::seal`] and [`Self::unseal`].
    pub fn rewrap(&self, with: KeyId, wrapped: &[u8]) -> Result<Vec<u8>, SecretError> {
        let data_key = self.unwrap_key(wrapped)?;
        wrap(&self.find(with)?, &data_key)
    }

    /// 256 bits for `place` that nobody can tell without the key-encryption key `with`, and that are the same whenever they are asked for: for a
    /// token that has to be shown again although nothing but its hash is kept (HMAC-SHA-256, RFC 2104).
    ///
    /// # Errors
    /// [`SecretError::UnknownKey`] when this process does not have that key.
    pub fn token(&self, with: KeyId, place: &Place<'_>) -> Result<[u8; 32], SecretError> {
        let tag = hmac::sign(&self.find(with)?.tokens, &place.associated_data());
        Ok(tag.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    fn unwrap_key(&self, wrapped: &[u8]) -> Result<[u8; KEY_LEN], SecretError> {
        let id = wrapped_with(wrapped)?;
        let (head, rest) = wrapped.split_at(1 + ID_LEN);
        let data_key = decrypt(&self.find(id)?.cipher, head, rest)?;
        data_key.try_into().map_err(|_| SecretError::Damaged)
    }

    /// The key `id`; if it is not known, after looking into the file again.
    fn find(&self, id: KeyId) -> Result<Key, SecretError> {
        let known = || self.known().iter().find(|key| key.id == id).cloned();
        if let Some(key) = known() {
            return Ok(key);
        }
        self.look_again()?;
        known().ok_or(SecretError::UnknownKey(id))
    }

    /// Whether this process has the key `id`.
    #[must_use]
    pub fn has(&self, id: KeyId) -> bool {
        self.find(id).is_ok()
    }

    fn look_again(&self) -> Result<(), SecretError> {
        if let Some(path) = &self.0.file {
            let found = file::read(path)?;
            *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
        Ok(())
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Vec<Key>> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new key-encryption key, as it is written.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate() -> Result<SecretString, SecretError> {
    file::generate().map(SecretString::from)
}

/// Which key-encryption key the data key `wrapped` was wrapped with.
///
/// # Errors
/// When it is no wrapped data key.
pub fn wrapped_with(wrapped: &[u8]) -> Result<KeyId, SecretError> {
    if wrapped.len() != WRAPPED_LEN || wrapped[0] != FORM {
        return Err(SecretError::Damaged);
    }
    KeyId::try_from(&wrapped[1..=ID_LEN])
}

fn wrap(key: &Key, data_key: &[u8; KEY_LEN]) -> Result<Vec<u8>, SecretError> {
    let mut wrapped = vec![FORM];
    wrapped.extend(key.id.0);
    let encrypted = encrypt(&key.cipher, &wrapped, data_key)?;
    wrapped.extend(encrypted);
    Ok(wrapped)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes"))
}

/// A random nonce, then ciphertext and tag. A data key encrypts once, a key-encryption key far less often than the 2³² times that
/// random nonces are good for (SP 800-38D, section 8.3).
fn encrypt(cipher: &LessSafeKey, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, SecretError> {
    let nonce = random::<NONCE_LEN>()?;
    let mut text = plain.to_vec();
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut text)
        .map_err(|_| SecretError::Damaged)?;
    let mut encrypted = nonce.to_vec();
    encrypted.extend(text);
    Ok(encrypted)
}

fn decrypt(cipher: &LessSafeKey, associated: &[u8], encrypted: &[u8]) -> Result<Vec<u8>, SecretError> {
    let (nonce, text) = encrypted.split_first_chunk::<NONCE_LEN>().ok_or(SecretError::Damaged)?;
    let mut text = text.to_vec();
    let plain = cipher
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(associated), &mut text)
        .map_err(|_| SecretError::Refused)?;
    Ok(plain.to_vec())
}

fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SecretError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> =
        Place { tenant: Some([7; 16]), table: "webhooks", column: "secret", row: "0199f8a2" };

    fn keys(count: usize) -> Keys {
        let text = (0..count).map(|_| file::generate().expect("random")).collect::<Vec<_>>().join("\n");
        Keys::parse(&SecretString::from(text)).expect("keys")
    }

    #[test]
    fn a_secret_opens_where_it_was_sealed_for_and_nowhere_else() {
        let keys = keys(1);
        let sealed = keys.seal(keys.newest(), &PLACE, b"whsec_1").expect("sealed");
        assert_eq!(keys.unseal(&PLACE, &sealed).expect("opened"), b"whsec_1");
        for elsewhere in [
            Place { tenant: Some([8; 16]), ..PLACE },
            Place { tenant: None, ..PLACE },
            Place { table: "sources", ..PLACE },
            Place { column: "url", ..PLACE },
            Place { row: "0199f8a3", ..PLACE },
            Place { column: "secret0", row: "199f8a2", ..PLACE },
        ] {
            let refused = keys.unseal(&elsewhere, &sealed);
            assert!(matches!(refused, Err(SecretError::Refused)), "{elsewhere:?}");
        }
    }

    #[test]
    fn two_seals_of_one_secret_have_nothing_in_common() {
        let keys = keys(1);
        let [one, two] = [(); 2].map(|()| keys.seal(keys.newest(), &PLACE, b"same").expect("sealed"));
        assert!(one.secret != two.secret && one.key[9..] != two.key[9..]);
        let mixed = Sealed { secret: one.secret, key: two.key };
        assert!(matches!(keys.unseal(&PLACE, &mixed), Err(SecretError::Refused)));
    }

    #[test]
    fn a_token_is_the_same_each_time_and_another_for_each_place_and_key() {
        let both = keys(2);
        let [one, other] = both.ids()[..] else { panic!("two keys") };
        let token = |with, place: &Place<'_>| both.token(with, place).expect("the key is there");
        assert_eq!(token(one, &PLACE), token(one, &PLACE));
        assert_ne!(token(one, &PLACE), token(other, &PLACE));
        for elsewhere in [
            Place { tenant: Some([8; 16]), ..PLACE },
            Place { row: "0199f8a3", ..PLACE },
            Place { column: "secret0", row: "199f8a2", ..PLACE },
        ] {
            assert_ne!(token(one, &PLACE), token(one, &elsewhere), "{elsewhere:?}");
        }
        let unknown = keys(1).token(one, &PLACE);
        assert!(matches!(unknown, Err(SecretError::UnknownKey(id)) if id == one));
    }

    #[test]
    fn any_altered_bit_is_noticed() {
        let keys = keys(1);
        let sealed = keys.seal(keys.newest(), &PLACE, b"secret").expect("sealed");
        for at in 0..sealed.secret.len() {
            let mut altered = sealed.clone();
            altered.secret[at] ^= 1;
            assert!(keys.unseal(&PLACE, &altered).is_err(), "byte {at} of the secret");
        }
        for at in 0..sealed.key.len() {
            let mut altered = sealed.clone();
            altered.key[at] ^= 1;
            assert!(keys.unseal(&PLACE, &altered).is_err(), "byte {at} of the key");
        }
        for short in [Sealed { secret: vec![], ..sealed.clone() }, Sealed { key: vec![1], ..sealed }] {
            assert!(matches!(keys.unseal(&PLACE, &short), Err(SecretError::Damaged)));
        }
    }

    #[test]
    fn after_wrapping_anew_the_old_key_is_needed_no_more() {
        let both = keys(2);
        let [new, old] = both.ids()[..] else { panic!("two keys") };
        let sealed = both.seal(old, &PLACE, b"secret").expect("sealed");
        let rewrapped = Sealed { key: both.rewrap(new, &sealed.key).expect("rewrapped"), ..sealed };
        assert_eq!(wrapped_with(&rewrapped.key).expect("a key"), new);
        let only_new = Keys::of(vec![both.known()[0].clone()], None);
        assert_eq!(only_new.unseal(&PLACE, &rewrapped).expect("opened"), b"secret");
        let only_old = Keys::of(vec![both.known()[1].clone()], None);
        assert!(matches!(only_old.unseal(&PLACE, &rewrapped), Err(SecretError::UnknownKey(id)) if id == new));
    }

    #[test]
    fn a_key_that_was_added_to_the_file_is_found_by_those_who_have_read_it_before() {
        let folder = Folder::new("added");
        let (one, other) = (folder.keys(), folder.keys());
        let old = one.newest();
        let new = one.add().expect("added");
        assert_eq!(one.ids(), [new, old]);
        let sealed = one.seal(new, &PLACE, b"secret").expect("sealed");
        assert_eq!(other.unseal(&PLACE, &sealed).expect("opened"), b"secret");
    }

    #[test]
    fn nothing_that_is_printed_tells_a_key() {
        let text = file::generate().expect("random");
        let keys = Keys::parse(&SecretString::from(text.clone())).expect("a key");
        assert!(!format!("{keys:?}").contains(&text[..8]));
        assert!(keys.add().expect_err("there is no file").to_string().contains("SECRETS_KEY"));
    }

    /// A folder of its own, gone with the value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("plimsoll-secrets-{name}-{}", std::process::id())))
        }

        fn keys(&self) -> Keys {
            Keys::open(self.0.join("keys/secrets.key")).expect("the file is made")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // What cannot be removed is the machine's to clean up.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
