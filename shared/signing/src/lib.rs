//! Sign finished files, and judge signed ones: PDF by PAdES baseline B-T or B-LT (ETSI EN 319 142-1), packs by Ed25519.
//!
//! The same code verifies for the command line and for the API, so that both always agree. Takes bytes and gives
//! bytes: rendering comes before, storing after, and what has to be fetched, a timestamp (RFC 3161) and word on
//! revoked certificates ([`revocation`]), are questions that the caller carries to the authorities and answers that it
//! brings back. Only [`keyring`] touches files, the folder with the private keys, and only [`token`] talks to devices.
//!
//! To sign a PDF: [`pdf::Seal::new`], send [`pdf::Seal::timestamp_query`], [`pdf::Seal::finish`]. To sign a pack:
//! [`pack::seal`]. To judge either: [`verify::verify`]. Both have a companion for packs that are larger than memory, [`pack::seal_stream`] and
//! [`verify::verify_stream`].

mod asn1;
pub mod authority;
mod chain;
mod cms;
pub mod identity;
pub mod keyring;
pub mod pack;
pub mod pdf;
pub mod pkcs12;
pub mod revocation;
pub mod statement;
pub mod timestamp;
pub mod token;
pub mod verify;

pub use chain::{Anchors, ChainError};
pub use identity::Identity;
pub use statement::Statement;
pub use verify::{Refusal, Verdict, verify};

/// Why a file could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the PDF is not laid out as expected: {0}")]
    Layout(#[from] pdf::LayoutError),
    #[error("the key cannot be used: {0}")]
    Key(String),
    #[error(transparent)]
    Token(#[from] token::TokenError),
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    #[error("`{path}` cannot be used as the place of keys")]
    Folder { path: std::path::PathBuf, source: std::io::Error },
    #[error("the timestamp authority's answer is refused: {0}")]
    Timestamp(#[from] timestamp::TimestampError),
    #[error(
        "the signature takes {needed} bytes and {reserved} are reserved: use a shorter certificate chain"
    )]
    NoRoom { needed: usize, reserved: usize },
    #[error("cannot be encoded")]
    Encode(#[from] der::Error),
    #[error("a pack cannot hold `{name}`: {why}")]
    Pack { name: String, why: &'static str },
    #[error("a file for the pack cannot be read, or the pack not be written")]
    PackFile(#[from] std::io::Error),
}

/// Takes the SHA-256 of `parts` as if they stood in one piece.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
