//! Timestamps of RFC 3161: somebody else's word on when a signature existed.
//!
//! [`Query`] is what goes to the authority (`POST`, `application/timestamp-query`), its [`Query::accept`] judges what
//! came back by the same rules as a verifier will years later, so that nothing is embedded that would be refused.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use cms::content_info::ContentInfo;
use der::{
    Decode, Encode, Tag, Tagged,
    asn1::{Int, OctetString},
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    SignError,
    asn1::{self, MessageImprint, TimeStampReq, TimeStampResp, TstInfo},
    chain::{self, ChainError, Purpose},
    cms as message, sha256,
};

/// How far the authority's clock may be ahead of ours.
const LEEWAY: Duration = Duration::minutes(5);

/// For the request's `Content-Type` (RFC 3161, section 3.4).
pub const QUERY_TYPE: &str = "application/timestamp-query";

/// A question to a timestamp authority.
#[derive(Debug, Clone)]
pub struct Query {
    imprint: MessageImprint,
    nonce: Int,
    der: Vec<u8>,
}

/// When something existed, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub time: DateTime<Utc>,
    /// Name of the authority's certificate.
    pub authority: String,
}

/// A token that has been judged, to be embedded.
#[derive(Debug, Clone)]
pub struct Token {
    pub stamp: Stamp,
    /// Of the authority, DER, its own first, without the root.
    pub certificates: Vec<Vec<u8>>,
    pub(crate) der: Vec<u8>,
}

/// Why an authority's answer, or a token in a file, is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error("it is not a timestamp as RFC 3161 describes it")]
    Form,
    #[error("the authority refused, with status {0}")]
    Refused(u8),
    #[error("it answers another question")]
    OtherQuestion,
    #[error("it is of another signature")]
    OtherSignature,
    #[error("its signature does not hold")]
    Signature,
    #[error("it lies in the future")]
    Future,
    #[error("{0}")]
    Chain(#[from] ChainError),
}

impl Query {
    /// Asks for a timestamp of `message`, of which only the SHA-256 leaves the house.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn new(message: &[u8]) -> Result<Self, SignError> {
        let mut nonce = [0; 8];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SignError::Key("no random numbers".into()))?;
        // A positive INTEGER in its shortest form.
        nonce[0] = nonce[0] & 0x7f | 0x40;
        let imprint = MessageImprint {
            hash_algorithm: asn1::algorithm(asn1::SHA256, true),
            hashed_message: OctetString::new(sha256(&[message]))?,
        };
        let nonce = Int::new(&nonce)?;
        let der = TimeStampReq {
            version: 1,
            message_imprint: imprint.clone(),
            req_policy: None,
            nonce: Some(nonce.clone()),
            cert_req: true,
        }
        .to_der()?;
        Ok(Self { imprint, nonce, der })
    }

    /// The body of the request.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Judges the authority's answer. `anchors` are the certificates (DER) that timestamps are trusted from, `now` is the
    /// time by our own clock.
    ///
    /// # Errors
    /// When it is no grant, not an answer to this question, or nothing that a verifier would accept.
    pub fn accept(
        &self,
        reply: &[u8],
        anchors: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Token, TimestampError> {
        let reply = TimeStampResp::from_der(reply).map_err(|_| TimestampError::Form)?;
        if reply.status.status > 1 {
            return Err(TimestampError::Refused(reply.status.status));
        }
        let token = reply.token.ok_or(TimestampError::Form)?;
        let info = info_of(&token)?;
        if info.nonce.as_ref() != Some(&self.nonce)
            || info.message_imprint.hashed_message != self.imprint.hashed_message
        {
            return Err(TimestampError::OtherQuestion);
        }
        let at = seconds(time_of(&info)?);
        let lean = lean(&token, anchors, at)?;
        let (stamp, certificates) =
            check_imprint(&lean, self.imprint.hashed_message.as_bytes(), anchors, now)?;
        Ok(Token { stamp, certificates, der: lean })
    }
}

/// Judges the token `der` in a file: of `signature`, from one of `anchors`, not in the future. Returns the certificates
/// that it came with too.
pub(crate) fn check(
    der: &[u8],
    signature: &[u8],
    anchors: &[Vec<u8>],
    now: DateTime<Utc>,
) -> Result<(Stamp, Vec<Vec<u8>>), TimestampError> {
    check_imprint(der, &sha256(&[signature]), anchors, now)
}

fn check_imprint(
    der: &[u8],
    imprint: &[u8],
    anchors: &[Vec<u8>],
    now: DateTime<Utc>,
) -> Result<(Stamp, Vec<Vec<u8>>), TimestampError> {
    let read = message::read(der, asn1::ID_TST_INFO).map_err(|_| TimestampError::Form)?;
    let content = read.content.as_deref().ok_or(TimestampError::Form)?;
    read.check(asn1::ID_TST_INFO, &[content]).map_err(|_| TimestampError::Signature)?;
    let info = TstInfo::from_der(content).map_err(|_| TimestampError::Form)?;
    if info.version != 1 || info.message_imprint.hash_algorithm.oid != asn1::SHA256 {
        return Err(TimestampError::Form);
    }
    if info.message_imprint.hashed_message.as_bytes() != imprint {
        return Err(TimestampError::OtherSignature);
    }
    let time = time_of(&info)?;
    if time > now + LEEWAY {
        return Err(TimestampError::Future);
    }
    chain::check(&read.certificates, anchors, Purpose::Timestamp, seconds(time), &[])?;
    let stamp = Stamp { time, authority: asn1::display_name(&read.signer().tbs_certificate.subject) };
    Ok((stamp, read.certificates))
}

/// The token with only those certificates that lead to an anchor.
fn lean(token: &ContentInfo, anchors: &[Vec<u8>], at: u64) -> Result<Vec<u8>, TimestampError> {
    let form = |_| TimestampError::Form;
    let der = token.to_der().map_err(form)?;
    let all = message::with_certificates(&der, &certificates_of(token)?).map_err(|_| TimestampError::Form)?;
    let read = message::read(&all, asn1::ID_TST_INFO).map_err(|_| TimestampError::Form)?;
    let (own, others) = read.certificates.split_first().ok_or(TimestampError::Form)?;
    let mut kept = chain::path(own, others, anchors, Purpose::Timestamp, at)?;
    kept.insert(0, own.clone());
    message::with_certificates(&der, &kept).map_err(|_| TimestampError::Form)
}

fn certificates_of(token: &ContentInfo) -> Result<Vec<Vec<u8>>, TimestampError> {
    use cms::{cert::CertificateChoices, signed_data::SignedData};
    let content: SignedData = token.content.decode_as().map_err(|_| TimestampError::Form)?;
    let sent = content.certificates.iter().flat_map(|set| set.0.iter());
    sent.filter_map(|choice| match choice {
        CertificateChoices::Certificate(certificate) => {
            Some(certificate.to_der().map_err(|_| TimestampError::Form))
        }
        CertificateChoices::Other(_) => None,
    })
    .collect()
}

fn info_of(token: &ContentInfo) -> Result<TstInfo, TimestampError> {
    use cms::signed_data::SignedData;
    let form = |_| TimestampError::Form;
    let content: SignedData = token.content.decode_as().map_err(form)?;
    let octets = content.encap_content_info.econtent.ok_or(TimestampError::Form)?;
    let octets: OctetString = octets.decode_as().map_err(form)?;
    TstInfo::from_der(octets.as_bytes()).map_err(form)
}

/// `YYYYMMDDhhmmss[.f…]Z`: RFC 3161, section 2.4.2.
fn time_of(info: &TstInfo) -> Result<DateTime<Utc>, TimestampError> {
    if info.gen_time.tag() != Tag::GeneralizedTime {
        return Err(TimestampError::Form);
    }
    let text = std::str::from_utf8(info.gen_time.value()).map_err(|_| TimestampError::Form)?;
    let parsed = NaiveDateTime::parse_from_str(text, "%Y%m%d%H%M%S%.fZ").map_err(|_| TimestampError::Form)?;
    Ok(parsed.and_utc())
}

fn seconds(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}
