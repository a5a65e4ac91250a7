//! Packs: several files of one report in a ZIP, with a manifest that lists them and a signature of the manifest.
//!
//! `manifest.json` names every file with its size, media type and SHA-256, the inputs that the report was made from
//! and the versions of the catalogues. `manifest.json.sig` is the Ed25519 signature (RFC 8032) of its bytes, raw, and
//! `manifest.json.pem` the certificates of the key. The archive has one form only (see [`archive`]), so that the same content
//! gives the same bytes and no byte is without a meaning.

mod archive;

use chrono::{DateTime, Utc};
use der::Decode;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;

use crate::{
    Anchors, Refusal, SignError, Statement, asn1,
    chain::{self, Purpose},
    sha256,
    verify::Proof,
};

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.sig";
const CERTIFICATES: &str = "manifest.json.pem";

/// Version of [`Manifest`] as it stands in files.
const VERSION: u32 = 1;

/// A file to go into a pack.
#[derive(Debug, Clone)]
pub struct File<'a> {
    pub name: &'a str,
    pub media_type: &'a str,
    pub bytes: &'a [u8],
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
    let mut sorted: Vec<&File<'_>> = files.iter().collect();
    sorted.sort_unstable_by_key(|file| file.name);
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
    }
    let manifest = Manifest {
        version: VERSION,
        report: Statement { timestamped: false, ..statement.clone() },
        files: sorted
            .iter()
            .map(|file| Listed {
                name: file.name.to_owned(),
                size: file.bytes.len() as u64,
                media_type: file.media_type.to_owned(),
                sha256: hex::encode(sha256(&[file.bytes])),
            })
            .collect(),
        inputs: inputs.to_vec(),
    };
    let manifest =
        serde_json::to_vec_pretty(&manifest).map_err(|error| SignError::Certificate(error.to_string()))?;
    let signature = identity.key.sign(&manifest);
    let certificates = Anchors::write_pem(&identity.chain);
    let mut entries: Vec<(&str, &[u8])> =
        vec![(MANIFEST, &manifest), (SIGNATURE, signature.as_ref()), (CERTIFICATES, certificates.as_bytes())];
    entries.extend(sorted.iter().map(|file| (file.name, file.bytes)));
    archive::write(&entries)
}

/// Judges a pack.
pub(crate) fn verify(file: &[u8], anchors: &Anchors, now: DateTime<Utc>) -> Result<Proof, Refusal> {
    if !file.windows(SIGNATURE.len()).any(|window| window == SIGNATURE.as_bytes()) {
        return Err(Refusal::NotSigned);
    }
    let entries = archive::read(file)?;
    let [(MANIFEST, manifest), (SIGNATURE, signature), (CERTIFICATES, certificates), files @ ..] =
        entries.as_slice()
    else {
        return Err(Refusal::Changed);
    };
    let certificates = read_pem(certificates)?;
    let own = Certificate::from_der(&certificates[0]).map_err(|_| Refusal::Form)?;
    let key = own.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes();
    UnparsedPublicKey::new(&ED25519, key).verify(manifest, signature).map_err(|_| Refusal::Signature)?;
    let at = u64::try_from(now.timestamp()).unwrap_or(0);
    chain::check(&certificates, &anchors.seals, Purpose::Seal, at, &[])?;
    let manifest: Manifest = serde_json::from_slice(manifest)
        .ok()
        .filter(|read: &Manifest| read.version == VERSION)
        .ok_or(Refusal::NotOurs)?;
    if manifest.files.len() != files.len() {
        return Err(Refusal::Changed);
    }
    for (listed, (name, bytes)) in manifest.files.iter().zip(files) {
        let wrong = |why| Refusal::File { name: listed.name.clone(), why };
        if listed.name != *name {
            return Err(wrong("is missing, or another file stands in its place"));
        }
        if listed.size != bytes.len() as u64 || listed.sha256 != hex::encode(sha256(&[bytes])) {
            return Err(wrong("was changed after it was signed"));
        }
    }
    Ok(Proof {
        statement: manifest.report,
        certificate_name: asn1::display_name(&own.tbs_certificate.subject),
        fingerprint: sha256(&[&certificates[0]]),
        timestamp: None,
        revocation_checked: false,
        level: None,
        files: Some(files.len()),
    })
}

/// The certificates, if they are written as [`Anchors::write_pem`] writes them: it is outside of what is signed.
fn read_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::Form)?;
    let read = Anchors::read_pem(text).map_err(|_| Refusal::Form)?;
    if Anchors::write_pem(&read) == text { Ok(read) } else { Err(Refusal::Form) }
}
