//! What the tests sign, and with what.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use signing::{
    Anchors, Identity, Refusal, Statement, authority::Authority, keyring::Generation, pdf::Seal, verify,
};

use crate::authority::TimestampAuthority;

/// Keys, an authority that timestamps, and who is trusted.
pub(crate) struct Site {
    pub(crate) generation: Generation,
    pub(crate) timestamps: TimestampAuthority,
    pub(crate) anchors: Anchors,
    pub(crate) now: DateTime<Utc>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::at(Utc::now())
    }

    /// Its keys were made then, and then is now.
    pub(crate) fn at(now: DateTime<Utc>) -> Self {
        let generation = Generation { number: 1, authority: Authority::generate("Acme Corp", now).unwrap() };
        let timestamps = TimestampAuthority::new("Example");
        let anchors = Anchors {
            seals: vec![generation.root().unwrap()],
            timestamps: Anchors::read_pem(&timestamps.root_pem).unwrap(),
        };
        Self { generation, timestamps, anchors, now }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.generation.seal(self.now).unwrap()
    }

    /// Signed with a timestamp.
    pub(crate) fn signed(&self) -> Vec<u8> {
        self.sign(&self.identity(), &Statement { timestamped: true, ..statement(self.now) })
    }

    /// Signed without one.
    pub(crate) fn unstamped(&self) -> Vec<u8> {
        self.sign(&self.identity(), &statement(self.now))
    }

    pub(crate) fn sign(&self, identity: &Identity, statement: &Statement) -> Vec<u8> {
        let seal = Seal::new(&pdf(), identity, statement).unwrap();
        if !statement.timestamped {
            return seal.finish(None).unwrap();
        }
        let query = seal.timestamp_query().unwrap();
        let reply = self.timestamps.reply(query.der(), self.now);
        let token = query.accept(&reply, &self.anchors.timestamps, self.now).unwrap();
        seal.finish(Some(&token)).unwrap()
    }

    pub(crate) fn refusal(&self, file: &[u8]) -> Refusal {
        self.refusal_at(file, self.now)
    }

    pub(crate) fn refusal_at(&self, file: &[u8], now: DateTime<Utc>) -> Refusal {
        verify(file, &self.anchors, now).finding.expect_err("refused")
    }

    pub(crate) fn accepts(&self, file: &[u8]) -> bool {
        verify(file, &self.anchors, self.now).finding.is_ok()
    }

    pub(crate) fn years(&self, years: i64) -> DateTime<Utc> {
        self.now + TimeDelta::days(365 * years)
    }
}

pub(crate) fn statement(now: DateTime<Utc>) -> Statement {
    Statement {
        report_type: "executive_summary".into(),
        title: "November posture".into(),
        tenant: "Acme Corp".into(),
        framework: Some("soc2".into()),
        content_sha256: "ab".repeat(32),
        signed_by: "compliance@acme.com".into(),
        ..Statement::new("0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7c", now, now)
    }
}

/// A file of one revision with two pages, one of which has an annotation, laid out as Typst does it.
pub(crate) fn pdf() -> Vec<u8> {
    let objects = [
        "<</Type/Catalog/Pages 2 0 R/Lang(en)>>",
        "<</Type/Pages/Count 2/Kids[3 0 R 4 0 R]>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595.2756 841.8898]/Annots[6 0 R]/Contents 5 0 R/Resources<<>>>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595.2756 841.8898]/Resources<<>>>>",
        "<</Length 34>>\nstream\n0.2 0.4 0.6 rg 72 72 200 300 re f\nendstream",
        "<</Type/Annot/Subtype/Link/Rect[10 10 20 20]/F 4/A<</S/URI/URI(https://example.com)>>>>",
    ];
    let mut file = "%PDF-1.7\n%\u{80}\u{80}\n\n".to_owned();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f\r\n", objects.len() + 1);
    for (index, object) in objects.iter().enumerate() {
        write!(table, "{:010} 00000 n\r\n", file.len()).unwrap();
        write!(file, "{} 0 obj\n{object}\nendobj\n\n", index + 1).unwrap();
    }
    let start = file.len();
    write!(
        file,
        "{table}trailer\n<</Size {}/Root 1 0 R/ID[(a)(b)]>>\nstartxref\n{start}\n%%EOF",
        objects.len() + 1
    )
    .unwrap();
    file.into_bytes()
}

/// Where `needle` begins for the last time.
pub(crate) fn last(file: &[u8], needle: &str) -> usize {
    file.windows(needle.len()).rposition(|window| window == needle.as_bytes()).expect("it is in the file")
}

/// The file with `from` replaced by `to` where it stands for the last time.
pub(crate) fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = last(file, from);
    [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
}
