//! Packs: several files of one report in a ZIP, with a manifest that lists them and a signature of the manifest.
//!
//! `manifest.json` names every file with its size, media type and SHA-256, the inputs that the report was made from
//! and the versions of the catalogues. `manifest.json.sig` is the Ed25519 signature (RFC 8032) of its bytes, raw, and
//! `manifest.json.pem` the certificates of the key. The archive has one form only (see [`archive`]), so that the same content
//! gives the same bytes and no byte is without a meaning. Files go into a pack and come out of it piece by piece: memory does not grow
//! with them.

mod archive;

use std::io::{self, Read, Seek as _, Write};

use chrono::{DateTime, Utc};
use der::Decode;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;

use crate::{
    Anchors, Refusal, SignError, Statement, asn1,
    chain::{self, Purpose},
    sha256,
    verify::Proof,
};

use self::archive::Entry;
pub(crate) use self::archive::Stop;

const MANIFEST: &str = "manifest.json";
/// Without it a ZIP is not signed.
pub(crate) const SIGNATURE: &str = "manifest.json.sig";
const CERTIFICATES: &str = "manifest.json.pem";

/// Bytes of a pack: as far as an offset of ZIP without its 64-bit extension reaches.
pub const LARGEST: u64 = archive::LARGEST;
/// Bytes of what is read into memory: the list of 1000 files has less than 400 KB, of certificates there are two.
const LONGEST_MANIFEST: u32 = 4 << 20;
const LONGEST_CERTIFICATES: u32 = 64 << 10;
/// Of Ed25519 (RFC 8032, section 5.1.6).
const SIGNATURE_BYTES: u32 = 64;

/// Version of [`Manifest`] as it stands in files.
const VERSION: u32 = 1;

/// A file to go into a pack.
#[derive(Debug, Clone)]
pub struct File<'a> {
    pub name: &'a str,
    pub media_type: &'a str,
    pub bytes: &'a [u8],
}

/// As [`File`], of one that may be too large for memory.
#[derive(Debug)]
pub struct StoredFile<'a> {
    pub name: &'a str,
    pub media_type: &'a str,
    /// Read twice, from its beginning: to be listed, and to be packed.
    pub file: &'a std::fs::File,
}

struct Item<'a> {
    name: &'a str,
    media_type: &'a str,
    content: Content<'a>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Memory(&'a [u8]),
    File(&'a std::fs::File),
}

impl<'a> Content<'a> {
    fn read(self) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(bytes),
            Self::File(mut file) => {
                file.rewind()?;
                Box::new(file)
            }
        })
    }

    /// Digest, and what headers say of it under the name `name`.
    fn look(self, name: &str) -> Result<([u8; 32], Entry), SignError> {
        let (mut digest, mut crc, mut size) = (Sha256::new(), crc32fast::Hasher::new(), 0);
        archive::in_pieces(&mut self.read()?, |piece| {
            digest.update(piece);
            crc.update(piece);
            size += piece.len() as u64;
            Ok(())
        })?;
        let size = u32::try_from(size).map_err(|_| archive::too_large())?;
        Ok((digest.finalize().into(), Entry { name: name.to_owned(), size, crc: crc.finalize() }))
    }
}

/// Something that the report was made from: a table of findings, a catalogue, a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    /// Edition of a catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    report: Statement,
    files: Vec<Listed>,
    inputs: Vec<Input>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    size: u64,
    media_type: String,
    sha256: String,
}

/// The key that signs packs, with its certificates.
pub struct PackIdentity {
    key: Ed25519KeyPair,
    /// DER, its own certificate first, without the root.
    chain: Vec<Vec<u8>>,
}

/// Never prints the key.
impl std::fmt::Debug for PackIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PackIdentity").finish_non_exhaustive()
    }
}

impl PackIdentity {
    /// A PKCS#8 key (DER) with its certificates (DER, its own first).
    ///
    /// # Errors
    /// When the key is none for Ed25519, or not the certificate's.
    pub fn new(key: &[u8], chain: Vec<Vec<u8>>) -> Result<Self, SignError> {
        use ring::signature::KeyPair as _;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key)
            .map_err(|error| SignError::Key(error.to_string()))?;
        let own = chain.first().and_then(|der| Certificate::from_der(der).ok());
        let public = own
            .as_ref()
            .map(|own| own.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes());
        if public != Some(key.public_key().as_ref()) {
            return Err(SignError::Certificate("the first one is not that of the pack's key".into()));
        }
        Ok(Self { key, chain })
    }
}

/// Packs `files` and signs the manifest. The files are put in the order of their names.
///
/// # Errors
/// When a name cannot stand in a pack, or does so twice.
pub fn seal(
    files: &[File<'_>],
    inputs: &[Input],
    statement: &Statement,
    identity: &PackIdentity,
) -> Result<Vec<u8>, SignError> {
    let item = |&File { name, media_type, bytes }| Item { name, media_type, content: Content::Memory(bytes) };
    let mut pack = Vec::new();
    write(files.iter().map(item).collect(), inputs, statement, identity, &mut pack)?;
    Ok(pack)
}

/// As [`seal`], from files to `pack`.
///
/// # Errors
/// As [`seal`], and when a file cannot be read or changes meanwhile, or the pack cannot be written.
pub fn seal_stream(
    files: &[StoredFile<'_>],
    inputs: &[Input],
    statement: &Statement,
    identity: &PackIdentity,
    pack: &mut dyn Write,
) -> Result<(), SignError> {
    let item =
        |&StoredFile { name, media_type, file }| Item { name, media_type, content: Content::File(file) };
    write(files.iter().map(item).collect(), inputs, statement, identity, pack)
}

fn write(
    mut sorted: Vec<Item<'_>>,
    inputs: &[Input],
    statement: &Statement,
    identity: &PackIdentity,
    pack: &mut dyn Write,
) -> Result<(), SignError> {
    sorted.sort_unstable_by_key(|file| file.name);
    let (mut listed, mut entries) = (Vec::new(), Vec::new());
    for (index, file) in sorted.iter().enumerate() {
        let refuse = |why| SignError::Pack { name: file.name.to_owned(), why };
        if !archive::is_plain(file.name) || [MANIFEST, SIGNATURE, CERTIFICATES].contains(&file.name) {
            return Err(refuse(
                "a name is made of letters, digits, `.`, `_` and `-`, and is not the manifest's",
            ));
        }
        if index > 0 && sorted[index - 1].name == file.name {
            return Err(refuse("there are two of that name"));
        }
        let (digest, entry) = file.content.look(file.name)?;
        listed.push(Listed {
            name: file.name.to_owned(),
            size: entry.size.into(),
            media_type: file.media_type.to_owned(),
            sha256: hex::encode(digest),
        });
        entries.push(entry);
    }
    let manifest = Manifest {
        version: VERSION,
        report: Statement { timestamped: false, ..statement.clone() },
        files: listed,
        inputs: inputs.to_vec(),
    };
    let manifest =
        serde_json::to_vec_pretty(&manifest).map_err(|error| SignError::Certificate(error.to_string()))?;
    if manifest.len() as u64 > LONGEST_MANIFEST.into() {
        return Err(SignError::Pack { name: MANIFEST.into(), why: "it has more than 4 MiB" });
    }
    let signature = identity.key.sign(&manifest);
    let certificates = Anchors::write_pem(&identity.chain);
    let own: [(&str, &[u8]); 3] =
        [(MANIFEST, &manifest), (SIGNATURE, signature.as_ref()), (CERTIFICATES, certificates.as_bytes())];
    let first = own.iter().map(|(name, content)| Entry::of(name, content)).collect::<Result<Vec<_>, _>>()?;
    let contents = own.iter().map(|(_, content)| Content::Memory(content));
    let contents = contents.chain(sorted.iter().map(|file| file.content)).map(Content::read);
    archive::write(&[first, entries].concat(), contents.collect::<io::Result<_>>()?, pack)
}

/// Judges a pack.
pub(crate) fn verify(pack: impl Read, anchors: &Anchors, now: DateTime<Utc>) -> Result<Proof, Stop> {
    let mut pack = archive::Reader::new(pack);
    let manifest = pack.short(MANIFEST, LONGEST_MANIFEST)?;
    let signature = pack.short(SIGNATURE, SIGNATURE_BYTES)?;
    let certificates = read_pem(&pack.short(CERTIFICATES, LONGEST_CERTIFICATES)?)?;
    let own = Certificate::from_der(&certificates[0]).map_err(|_| Refusal::Form)?;
    let key = own.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes();
    UnparsedPublicKey::new(&ED25519, key).verify(&manifest, &signature).map_err(|_| Refusal::Signature)?;
    let at = u64::try_from(now.timestamp()).unwrap_or(0);
    chain::check(&certificates, &anchors.seals, Purpose::Seal, at, &[]).map_err(Refusal::from)?;
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .ok()
        .filter(|read: &Manifest| read.version == VERSION)
        .ok_or(Refusal::NotOurs)?;
    for listed in &manifest.files {
        let wrong = |why| Refusal::File { name: listed.name.clone(), why };
        let Some(entry) = pack.next()?.filter(|entry| entry.name == listed.name) else {
            return Err(wrong("is missing, or another file stands in its place").into());
        };
        let mut digest = Sha256::new();
        pack.content(&entry, |piece| digest.update(piece))?;
        if listed.size != u64::from(entry.size) || listed.sha256 != hex::encode(digest.finalize()) {
            return Err(wrong("was changed after it was signed").into());
        }
    }
    if pack.next()?.is_some() {
        return Err(Refusal::Changed.into());
    }
    Ok(Proof {
        statement: manifest.report,
        certificate_name: asn1::display_name(&own.tbs_certificate.subject),
        fingerprint: sha256(&[&certificates[0]]),
        timestamp: None,
        revocation_checked: false,
        level: None,
        files: Some(manifest.files.len()),
    })
}

/// The certificates, if they are written as [`Anchors::write_pem`] writes them: it is outside of what is signed.
fn read_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::Form)?;
    let read = Anchors::read_pem(text).map_err(|_| Refusal::Form)?;
    if Anchors::write_pem(&read) == text { Ok(read) } else { Err(Refusal::Form) }
}
