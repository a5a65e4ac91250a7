//! A key that never leaves its token: a smart card, a hardware security module, or a service that looks like one to
//! PKCS#11 (OASIS, version 2.40 and later).
//!
//! The maker's module is a library that is loaded into this process. Each signature opens a session of its own and finds
//! token and key anew, so that a token may be taken out and put back; some modules notice that only when they are
//! initialized again, which is done when the token is not found. A wrong PIN is tried once and not again: tokens lock
//! themselves after a few. Messages name the settings, since it is an operator who reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
};
use der::{Encode, Sequence, asn1::Uint};
use secrecy::{ExposeSecret, SecretString};

use crate::{identity::Kind, sha256};

/// Where a key is, and what opens it.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// The maker's library.
    pub module: PathBuf,
    pub place: Place,
    /// The private key's label (`CKA_LABEL`).
    pub label: String,
    pub pin: SecretString,
}

/// How the token is told from others that the module knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By its own label, wherever it is put in.
    Label(String),
    /// By the number of its slot.
    Slot(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(formatter, "token `{label}`"),
            Self::Slot(number) => write!(formatter, "token in slot {number}"),
        }
    }
}

/// What stands between us and a signature. Each may pass, but for the PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "the module `{path}` cannot be loaded: name the library that came with the token in SEAL_TOKEN_MODULE"
    )]
    Module { path: PathBuf, source: Error },
    #[error(
        "there is no {place}: put it in, start the service that it stands for, or name another one in SEAL_TOKEN"
    )]
    Absent { place: Place },
    #[error(
        "there are {count} tokens of the label `{label}`: name the slot in SEAL_TOKEN_SLOT instead of SEAL_TOKEN"
    )]
    Ambiguous { label: String, count: usize },
    #[error(
        "the {place} refused the PIN, which is not tried again so that the token does not lock itself: put the right one in \
         SEAL_TOKEN_PIN and restart"
    )]
    Pin { place: Place },
    #[error("the {place} is locked, or leaves one more try of the PIN: unlock it with its maker's tool")]
    Locked { place: Place },
    #[error(
        "the {place} has {count} private keys of the label `{label}`: name one that is there once in SEAL_TOKEN_KEY"
    )]
    Key { place: Place, label: String, count: usize },
    #[error(
        "the key `{label}` of the {place} is not that of SEAL_CERTIFICATE: name the right key in SEAL_TOKEN_KEY, or the right \
         certificate"
    )]
    OtherKey { place: Place, label: String },
    #[error("the {place} does not answer as it should")]
    Failed { place: Place, source: Error },
}

/// A module is initialized once in a process. Whoever has a session holds on to the map, so that none is initialized again
/// under it.
static MODULES: RwLock<BTreeMap<PathBuf, Pkcs11>> = RwLock::new(BTreeMap::new());

/// Digests of token and PIN that do not go together.
static REFUSED: Mutex<BTreeSet<[u8; 32]>> = Mutex::new(BTreeSet::new());

impl TokenKey {
    /// Makes sure that the token is there, that the PIN opens it and that it has the key.
    ///
    /// # Errors
    /// When one of these is not so.
    pub fn check(&self) -> Result<(), TokenError> {
        self.with_key(|_, _| Ok(()))
    }

    /// Signs `message`, by the algorithm that goes with a key of this kind.
    pub(crate) fn sign(&self, kind: Kind, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        self.with_key(|session, key| {
            let sign = |mechanism, data: &[u8]| {
                session.sign(&mechanism, key, data).map_err(|source| self.failed(source))
            };
            match kind.digest(message) {
                // What all tokens have: they are given the digest, and return two numbers of equal length.
                Some(digest) => self.two_numbers(&sign(Mechanism::Ecdsa, &digest)?),
                None => sign(Mechanism::Sha256RsaPkcs, message),
            }
        })
    }

    fn with_key<T>(
        &self,
        work: impl Fn(&Session, ObjectHandle) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let attempt = || {
            let modules = MODULES.read().unwrap_or_else(PoisonError::into_inner);
            let module = modules.get(&self.module).ok_or_else(|| self.failed(Error::NullFunctionPointer))?;
            let session = self.open(module)?;
            work(&session, self.find(&session)?)
        };
        load(&self.module, Load::IfMissing)?;
        match attempt() {
            Err(TokenError::Absent { .. } | TokenError::Failed { .. }) => {
                load(&self.module, Load::Again)?;
                attempt()
            }
            done => done,
        }
    }

    /// ECDSA-Sig-Value (RFC 5480, appendix A) of a token's two numbers.
    fn two_numbers(&self, raw: &[u8]) -> Result<Vec<u8>, TokenError> {
        #[derive(Sequence)]
        struct Value {
            r: Uint,
            s: Uint,
        }
        let (r, s) = raw.split_at(raw.len() / 2);
        let value = (|| Value { r: Uint::new(r)?, s: Uint::new(s)? }.to_der())();
        value.map_err(|_| self.failed(Error::InvalidValue))
    }

    fn open(&self, module: &Pkcs11) -> Result<Session, TokenError> {
        let slot = self.slot(module)?;
        let failed = |source| self.failed(source);
        let told = module.get_token_info(slot).map_err(failed)?;
        let session = module.open_ro_session(slot).map_err(failed)?;
        let attempt = sha256(&[
            told.serial_number().as_bytes(),
            told.label().as_bytes(),
            self.pin.expose_secret().as_bytes(),
        ]);
        // One at a time, so that several threads cannot try the same wrong PIN.
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.contains(&attempt) {
            return Err(TokenError::Pin { place: self.place.clone() });
        }
        if told.user_pin_locked() || told.user_pin_final_try() {
            return Err(TokenError::Locked { place: self.place.clone() });
        }
        match session.login(UserType::User, Some(&self.pin)) {
            // Logged in is the process, not the session.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::PinExpired,
                _,
            )) => {
                refused.insert(attempt);
                Err(TokenError::Pin { place: self.place.clone() })
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => {
                Err(TokenError::Locked { place: self.place.clone() })
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    fn slot(&self, module: &Pkcs11) -> Result<Slot, TokenError> {
        let slots = module.get_slots_with_token().map_err(|source| self.failed(source))?;
        let absent = || TokenError::Absent { place: self.place.clone() };
        match &self.place {
            Place::Slot(number) => slots.into_iter().find(|slot| slot.id() == *number).ok_or_else(absent),
            Place::Label(label) => {
                // A token that is taken out while we look is not the one that is looked for.
                let is_it = |slot: &Slot| {
                    module.get_token_info(*slot).is_ok_and(|told| told.label().trim_end() == label)
                };
                let found: Vec<Slot> = slots.into_iter().filter(is_it).collect();
                match found.as_slice() {
                    [] => Err(absent()),
                    [only] => Ok(*only),
                    several => Err(TokenError::Ambiguous { label: label.clone(), count: several.len() }),
                }
            }
        }
    }

    fn find(&self, session: &Session) -> Result<ObjectHandle, TokenError> {
        let wanted =
            [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(self.label.as_bytes().to_vec())];
        let found = session.find_objects(&wanted).map_err(|source| self.failed(source))?;
        match found.as_slice() {
            [only] => Ok(*only),
            other => Err(TokenError::Key {
                place: self.place.clone(),
                label: self.label.clone(),
                count: other.len(),
            }),
        }
    }

    fn failed(&self, source: Error) -> TokenError {
        match source {
            Error::Pkcs11(
                RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::DeviceRemoved
                | RvError::SlotIdInvalid,
                _,
            ) => TokenError::Absent { place: self.place.clone() },
            source => TokenError::Failed { place: self.place.clone(), source },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    IfMissing,
    Again,
}

fn load(path: &Path, load: Load) -> Result<(), TokenError> {
    let there = || MODULES.read().unwrap_or_else(PoisonError::into_inner).contains_key(path);
    if load == Load::IfMissing && there() {
        return Ok(());
    }
    let unusable = |source| TokenError::Module { path: path.to_path_buf(), source };
    let mut modules = MODULES.write().unwrap_or_else(PoisonError::into_inner);
    let module = match modules.remove(path) {
        // Somebody else was first.
        Some(module) if load == Load::IfMissing => {
            modules.insert(path.to_path_buf(), module);
            return Ok(());
        }
        Some(module) => {
            // What has lost its device may refuse this too; initializing it tells.
            let _ = module.clone().finalize();
            module
        }
        None => Pkcs11::new(path).map_err(unusable)?,
    };
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By another name of the same file.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
            modules.insert(path.to_path_buf(), module);
            Ok(())
        }
        Err(source) => Err(unusable(source)),
    }
}
