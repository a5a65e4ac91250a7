//! The folder with the installation's private keys.
//!
//! They are files that only their owner may read, and not rows of the database: whoever gets hold of a dump of it, or
//! of a connection, still cannot sign. Each generation of keys is a folder of its own, `1`, `2` and so on, that appears all
//! at once; the highest one signs. When a new one is made the older one's private keys are removed and its root stays, so
//! that what it signed is verified as before.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use der::Decode;
use pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use ring::rand::SystemRandom;
use x509_cert::Certificate;

use crate::{
    Anchors, Identity, SignError, asn1,
    authority::{Authority, Pair},
    pack::PackIdentity,
    revocation::Evidence,
    sha256,
};

/// A key folder.
#[derive(Debug, Clone)]
pub struct Keyring {
    folder: PathBuf,
}

/// One set of keys in it.
#[derive(Debug, Clone)]
pub struct Generation {
    pub number: u32,
    pub authority: Authority,
}

/// A certificate in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCertificate {
    pub generation: u32,
    /// Of the generation that signs now.
    pub signs: bool,
    pub name: String,
    pub until: DateTime<Utc>,
    pub sha256: [u8; 32],
}

/// What a new generation keeps of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renew {
    /// Everything below the root. Whoever trusts the root need not be told.
    BelowRoot,
    /// The root too: the new one has to be handed to everybody who verifies without asking the server.
    WithRoot,
}

impl Keyring {
    /// The keys in `folder`, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The generation that signs; the first is made for `organization` if there is none.
    ///
    /// # Errors
    /// When the folder cannot be used, or what is in it cannot be read.
    pub fn current(&self, organization: &str, now: DateTime<Utc>) -> Result<Generation, SignError> {
        if let Some(number) = self.numbers()?.last() {
            return self.read(*number);
        }
        let made = self.store(1, &Authority::generate(organization, now)?);
        // Another process may have been first: then its keys are ours.
        match (made, self.numbers()?.last()) {
            (_, Some(number)) => self.read(*number),
            (Err(error), None) => Err(error),
            (Ok(()), None) => Err(self.missing()),
        }
    }

    /// Makes the next generation, and removes the private keys of the ones before.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub fn rotate(
        &self,
        organization: &str,
        renew: Renew,
        now: DateTime<Utc>,
    ) -> Result<Generation, SignError> {
        let before = self.current(organization, now)?;
        let next = match renew {
            Renew::BelowRoot => Authority::under(before.authority.root, now)?,
            Renew::WithRoot => Authority::generate(organization, now)?,
        };
        let number = before.number + 1;
        self.store(number, &next)?;
        for old in self.numbers()?.into_iter().filter(|old| *old < number) {
            for (_, file) in FILES {
                remove(&self.folder.join(old.to_string()).join(file))?;
            }
        }
        self.read(number)
    }

    /// The roots of all generations: DER, the latest first. Empty where nothing was signed yet.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn roots(&self) -> Result<Vec<Vec<u8>>, SignError> {
        let mut roots = Vec::new();
        for number in self.numbers()?.into_iter().rev() {
            let path = self.folder.join(number.to_string()).join(ROOT);
            let text = fs::read_to_string(&path).map_err(folder_error(&path))?;
            roots.extend(Anchors::read_pem(&text)?);
        }
        roots.dedup();
        Ok(roots)
    }

    /// What is in the folder, for people: the certificates of all generations, the latest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn certificates(&self) -> Result<Vec<KeptCertificate>, SignError> {
        let mut kept = Vec::new();
        let numbers = self.numbers()?;
        for number in numbers.iter().rev() {
            for (certificate, _) in FILES {
                let path = self.folder.join(number.to_string()).join(certificate);
                let text = fs::read_to_string(&path).map_err(folder_error(&path))?;
                let der = Anchors::read_pem(&text)?.remove(0);
                let parsed = Certificate::from_der(&der)?;
                let until = parsed.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
                kept.push(KeptCertificate {
                    generation: *number,
                    signs: numbers.last() == Some(number),
                    name: asn1::display_name(&parsed.tbs_certificate.subject),
                    until: i64::try_from(until)
                        .ok()
                        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
                        .unwrap_or_default(),
                    sha256: sha256(&[&der]),
                });
            }
        }
        Ok(kept)
    }

    fn numbers(&self) -> Result<Vec<u32>, SignError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(folder_error(&self.folder)(error)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(folder_error(&self.folder))?;
            numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, number: u32) -> Result<Generation, SignError> {
        let folder = self.folder.join(number.to_string());
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(folder_error(&path))
        };
        let pair = |certificate: &str, key: &str| {
            Ok::<_, SignError>(Pair { key: read(key)?, certificate: read(certificate)? })
        };
        let [root, issuing, seal, pack] = FILES;
        let authority = Authority {
            root: pair(root.0, root.1)?,
            issuing: pair(issuing.0, issuing.1)?,
            seal: pair(seal.0, seal.1)?,
            pack: pair(pack.0, pack.1)?,
        };
        Ok(Generation { number, authority })
    }

    /// Writes a generation beside the others and lets it appear under its number at once.
    fn store(&self, number: u32, authority: &Authority) -> Result<(), SignError> {
        make_private(&self.folder)?;
        let unfinished = self.folder.join(format!(".{}", hex::encode(random()?)));
        make_private(&unfinished)?;
        let pairs = [&authority.root, &authority.issuing, &authority.seal, &authority.pack];
        for ((certificate, key), pair) in FILES.into_iter().zip(pairs) {
            write_private(&unfinished.join(certificate), &pair.certificate)?;
            write_private(&unfinished.join(key), &pair.key)?;
        }
        let place = self.folder.join(number.to_string());
        // A folder that is there is not empty, and is not replaced.
        fs::rename(&unfinished, &place).map_err(|error| {
            let _ = remove_folder(&unfinished);
            folder_error(&place)(error)
        })
    }

    fn missing(&self) -> SignError {
        folder_error(&self.folder)(io::ErrorKind::NotFound.into())
    }
}

impl Generation {
    /// What signs PDFs, with fresh lists of revoked certificates.
    ///
    /// # Errors
    /// When a file is not what it should be.
    pub fn seal(&self, now: DateTime<Utc>) -> Result<Identity, SignError> {
        let chain = format!("{}{}", self.authority.seal.certificate, self.authority.issuing.certificate);
        let identity = Identity::from_pem(&self.authority.seal.key, &chain)?;
        let lists = self.authority.revocation_lists(now)?;
        Ok(identity.with_evidence(Evidence { lists, ..Evidence::default() }))
    }

    /// What signs packs.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn pack(&self) -> Result<PackIdentity, SignError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.authority.pack.key.as_bytes())
            .map_err(|error| SignError::Key(format!("no private key in PEM: {error}")))?;
        let chain = [&self.authority.pack, &self.authority.issuing]
            .into_iter()
            .map(|pair| CertificateDer::from_pem_slice(pair.certificate.as_bytes()).map(|der| der.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|error| SignError::Certificate(format!("not PEM: {error}")))?;
        PackIdentity::new(key.secret_pkcs8_der(), chain)
    }

    /// The root's certificate, DER.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn root(&self) -> Result<Vec<u8>, SignError> {
        Ok(Anchors::read_pem(&self.authority.root.certificate)?.remove(0))
    }
}

fn random() -> Result<[u8; 8], SignError> {
    let random = ring::rand::generate(&SystemRandom::new());
    Ok(random.map_err(|_| SignError::Key("no random numbers".into()))?.expose())
}

const ROOT: &str = "root.pem";
/// Certificate and private key of each.
const FILES: [(&str, &str); 4] = [
    (ROOT, "root.key.pem"),
    ("issuing.pem", "issuing.key.pem"),
    ("seal.pem", "seal.key.pem"),
    ("pack.pem", "pack.key.pem"),
];

fn make_private(folder: &Path) -> Result<(), SignError> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(folder_error(folder))
}

fn write_private(path: &Path, text: &str) -> Result<(), SignError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(folder_error(path))
}

fn remove(path: &Path) -> Result<(), SignError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(folder_error(path)(error)),
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<(), SignError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(folder_error(path)(error)),
        _ => Ok(()),
    }
}

fn folder_error(path: &Path) -> impl FnOnce(io::Error) -> SignError {
    let path = path.to_path_buf();
    move |source| SignError::Folder { path, source }
}
