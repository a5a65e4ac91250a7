//! Sign finished reports: the key from its folder or brought, the time from an authority.
//!
//! The signature page is part of what is signed, so what it says has to be settled before there is a signature: a
//! [`Plan`] is made first, which asks the timestamp authority whether it answers, and the issuers of certificates whether
//! they were revoked ([`revocation`]). [`Sealer::seal`] then keeps to it. Packs are signed in [`pack`], with a key of their own.

pub(crate) mod pack;
mod revocation;

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, SubsecRound, Utc};
use domain::{
    document::{Document, Seal as SignaturePage},
    id::ReportId,
};
/// Why nothing was signed, and whether it may be tried again.
pub use queue::JobError;
use queue::OrDiscard;
use runtime::{
    config::{BroughtKey, Config, SealSettings, TimestampAuthority, TokenPlace},
    egress::{Client, HeaderValue, Policy, Request, header},
};
use secrecy::ExposeSecret;
use signing::{
    Anchors, Identity, SignError, Statement,
    keyring::Keyring,
    pdf::Seal,
    pkcs12,
    timestamp::{QUERY_TYPE, Query, Token},
    token::{Place, TokenKey},
    verify,
    verify::Proof,
};
use store::{
    SystemDb,
    signing_keys::{self, IssuedFile, Purpose},
};

use self::revocation::{Found, Revocations};

use crate::issue::hex;

/// How long the authority may take, and how long its answer may be.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
const LONGEST_REPLY: u64 = 64 << 10;

/// Signs on behalf of the installation.
#[derive(Debug, Clone)]
pub struct Sealer {
    keyring: Keyring,
    /// Whose name new keys bear.
    organization: String,
    settings: SealSettings,
    /// Trusted for timestamps.
    timestamp_roots: Arc<Vec<Vec<u8>>>,
    client: Client,
    revocations: Revocations,
    verify_url: String,
}

/// What will be signed, by whom, and whether with a timestamp.
#[derive(Debug)]
pub struct Plan {
    identity: Identity,
    statement: Statement,
    /// Name of the authority that has answered.
    authority: Option<String>,
    /// What is known of the signing certificate, as the end of what the page says of it.
    standing: &'static str,
    verify_url: String,
}

/// A file with its signature.
#[derive(Debug)]
pub struct Signed {
    pub bytes: Vec<u8>,
    pub sha256: [u8; 32],
    /// What the signature proves.
    pub proof: Proof,
}

impl Sealer {
    /// As `config` says. Touches no file: keys are made when the first report is signed.
    ///
    /// # Errors
    /// When a certificate in the settings cannot be read; the message names the setting.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let policy = Policy {
            allow_private: true,
            max_redirects: 0,
            idle_timeout: PATIENCE,
            total_timeout: PATIENCE,
            max_bytes: LONGEST_REPLY,
            ..Policy::administrator()
        };
        let settings = config.seal.clone();
        let timestamp_roots = match &settings.timestamps {
            Some(authority) => Anchors::read_pem(&authority.roots).context("TSA_ROOTS cannot be used")?,
            None => Vec::new(),
        };
        let sealer = Self {
            keyring: Keyring::new(&settings.key_dir),
            organization: config.organization_name.clone(),
            settings,
            timestamp_roots: Arc::new(timestamp_roots),
            client: Client::new(policy)?,
            revocations: Revocations::new()?,
            verify_url: format!("{}/api/v1/reports/verify", config.public_url()),
        };
        match sealer.brought() {
            // It may be put in later; until then jobs wait.
            Err(error @ SignError::Token(_)) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "no report can be signed yet"
                );
            }
            brought => drop(brought.context("the key of the SEAL_ settings cannot be used")?),
        }
        Ok(sealer)
    }

    /// Where anybody can have a file checked.
    #[must_use]
    pub fn verify_url(&self) -> &str {
        &self.verify_url
    }

    fn brought(&self) -> Result<Option<Identity>, SignError> {
        match &self.settings.brought {
            Some(brought) => brought_identity(brought).map(Some),
            None => Ok(None),
        }
    }

    /// Settles what the signature of `document` will say. Its content, of that digest, is final, but for the signature page.
    pub(crate) async fn plan(
        &self,
        report: &store::reports::Report,
        signed_by: String,
        document: &Document,
        content_sha256: [u8; 32],
    ) -> Result<Plan, JobError> {
        let identity = self.identity(Utc::now()).await?;
        self.plan_for(identity, statement(report, signed_by, document, content_sha256)).await
    }

    /// As a report's, for a document of whoever brings the key: settles what can be said beside `statement`.
    ///
    /// # Errors
    /// When the certificate was revoked, or there is no timestamp where the settings ask for one.
    pub async fn plan_for(&self, identity: Identity, statement: Statement) -> Result<Plan, JobError> {
        // A PDF's dates have seconds.
        let now = Utc::now().trunc_subsecs(0);
        let found = self.revocations.look_up(identity.chain(), identity.roots(), now).await;
        let found = found.map_err(|revoked| {
            JobError::discard(format!(
                "the report is not signed: {revoked}; get another certificate and name it in SEAL_CERTIFICATE or SEAL_PKCS12"
            ))
        })?;
        let standing = standing(&found);
        let mut identity = identity.with_evidence(found.evidence);
        let authority = self.ask_whether_it_answers(statement.content_sha256.as_bytes(), now).await?;
        let authority = authority.map(|(name, found)| {
            identity.add_evidence(found.evidence);
            name
        });
        let statement = Statement { timestamped: authority.is_some(), signed_at: now, ..statement };
        Ok(Plan { identity, statement, authority, standing, verify_url: self.verify_url.clone() })
    }

    async fn identity(&self, now: DateTime<Utc>) -> Result<Identity, JobError> {
        let sealer = self.clone();
        let identity = tokio::task::spawn_blocking(move || match sealer.brought()? {
            Some(identity) => Ok(identity),
            None => sealer.keyring.current(&sealer.organization, now)?.seal(now),
        });
        // Somebody may mend the folder, or the disk may have room again.
        identity.await?.map_err(|error: SignError| JobError::Retry(error.into()))
    }

    /// The name of the timestamp authority, if there is one within reach, and what is known of its certificates.
    async fn ask_whether_it_answers(
        &self,
        content: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<(String, Found)>, JobError> {
        let Some(authority) = &self.settings.timestamps else { return Ok(None) };
        let asked = async {
            let token = self.ask(authority, Query::new(content)?, now).await?;
            let found = self.revocations.look_up(&token.certificates, &self.timestamp_roots, now).await?;
            Ok::<_, anyhow::Error>((token.stamp.authority, found))
        };
        match asked.await {
            Ok((name, found)) => {
                standing(&found);
                Ok(Some((name, found)))
            }
            Err(error) if authority.required => {
                Err(error.context("no timestamp, and TSA_REQUIRED asks for one").into())
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no timestamp: the report says that it has none"
                );
                Ok(None)
            }
        }
    }

    async fn ask(
        &self,
        authority: &TimestampAuthority,
        query: Query,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Token> {
        let request = Request::post(authority.url.as_str(), query.der().to_vec())
            .header(header::CONTENT_TYPE, HeaderValue::from_static(QUERY_TYPE));
        let answer = self.client.send(request).await.context("the timestamp authority cannot be asked")?;
        anyhow::ensure!(answer.status.is_success(), "the timestamp authority answered {}", answer.status);
        let reply = answer.bytes().await.context("the timestamp authority's answer broke off")?;
        query
            .accept(&reply, &self.timestamp_roots, now)
            .context("the timestamp authority's answer is refused")
    }

    /// Signs `pdf` as planned. What comes out has passed the verifier, and its certificates are trusted from now on.
    pub(crate) async fn seal(
        &self,
        db: &SystemDb,
        pdf: Vec<u8>,
        plan: Plan,
    ) -> Result<(Vec<u8>, IssuedFile), JobError> {
        let (sealer, own) = (self.clone(), plan.identity.chain()[0].clone());
        let seals = tokio::task::spawn_blocking(move || sealer.seals(own));
        let seals = seals.await?.or_discard("the PDF cannot be signed")?;
        let Signed { bytes, sha256, proof } = self.sign(pdf, plan, &seals).await?;
        signing_keys::trust(db.pool(), Purpose::Seal, &seals).await?;
        signing_keys::trust(db.pool(), Purpose::Timestamp, &self.timestamp_roots).await?;
        let report = proof.statement.report_id.parse().or_discard("the report's id")?;
        let file = IssuedFile {
            sha256,
            report: ReportId(report),
            signed_at: proof.signed_at(),
            signed_by: proof.statement.signed_by,
            timestamp_authority: proof.timestamp.map(|stamp| stamp.authority),
            certificate_sha256: proof.fingerprint,
        };
        Ok((bytes, file))
    }

    /// Signs `pdf` as planned. What comes out has passed the verifier, who trusted `seals` (DER). Tells nobody.
    ///
    /// # Errors
    /// When the authority no longer answers, a token is gone, or the PDF cannot be signed.
    pub async fn sign(&self, pdf: Vec<u8>, plan: Plan, seals: &[Vec<u8>]) -> Result<Signed, JobError> {
        let Plan { identity, statement, .. } = plan;
        let timestamped = statement.timestamped;
        let seal = tokio::task::spawn_blocking(move || Seal::new(&pdf, &identity, &statement)).await?;
        let seal = match seal {
            // It was there when the plan was made, and will be again.
            Err(error @ SignError::Token(_)) => return Err(JobError::Retry(error.into())),
            seal => seal.or_discard("the PDF cannot be signed")?,
        };
        let token = match &self.settings.timestamps {
            Some(authority) if timestamped => {
                Some(self.ask(authority, seal.timestamp_query()?, Utc::now()).await?)
            }
            _ => None,
        };
        let anchors = Anchors { seals: seals.to_vec(), timestamps: self.timestamp_roots.to_vec() };
        let checked = tokio::task::spawn_blocking(move || {
            let bytes = seal.finish(token.as_ref())?;
            let verdict = verify(&bytes, &anchors, Utc::now());
            Ok::<_, SignError>((bytes, verdict))
        });
        let (bytes, verdict) = checked.await?.or_discard("the PDF cannot be signed")?;
        let proof = verdict.finding.or_discard("the signed file does not verify")?;
        Ok(Signed { bytes, sha256: verdict.sha256, proof })
    }

    /// What signatures are trusted by. A key that was brought is trusted by itself: whoever issued its certificate has issued others,
    /// to others.
    fn seals(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>, SignError> {
        if self.settings.brought.is_some() { Ok(vec![own]) } else { self.keyring.roots() }
    }
}

impl Plan {
    /// What stands on the signature page.
    #[must_use]
    pub fn page(&self) -> SignaturePage {
        SignaturePage {
            signer: self.statement.signed_by.clone(),
            organization: Some(self.statement.tenant.clone()),
            signed_at: self.statement.signed_at,
            reason: Some("Seals the report as it was issued: any change to the file afterwards shows.".into()),
            certificate: Some(format!(
                "{}, SHA-256 {}{}",
                self.identity.name(),
                hex(&self.identity.fingerprint()),
                self.standing
            )),
            timestamp: Some(match &self.authority {
                Some(authority) => format!("The time of the signature is attested by {authority} (RFC 3161)."),
                None => "None: no timestamp authority was reached, and the time is that of the server that signed."
                    .into(),
            }),
            content_sha256: self.statement.content_sha256.clone(),
            verify_url: self.verify_url.clone(),
        }
    }
}

/// What was found out about certificates, in words for people; what was not goes to the log too. Empty where none names a
/// place to ask.
fn standing(found: &Found) -> &'static str {
    if !found.asked {
        return "";
    }
    if found.missing.is_empty() {
        return ". That it was not revoked when this was signed is shown in this file.";
    }
    tracing::warn!(
        missing = found.missing.join("; "),
        "whether certificates were revoked is not known: the report is not signed for the long term (PAdES B-T, not B-LT)"
    );
    ". Whether it was revoked could not be found out when this was signed."
}

/// What is said of `report` wherever it is signed, now and without a timestamp.
pub(crate) fn statement(
    report: &store::reports::Report,
    signed_by: String,
    document: &Document,
    content_sha256: [u8; 32],
) -> Statement {
    let now = Utc::now().trunc_subsecs(0);
    Statement {
        report_type: report.report_type.clone(),
        title: document.cover.title.clone(),
        tenant: document.cover.organization.clone(),
        framework: report.framework.clone(),
        content_sha256: hex(&content_sha256),
        signed_by,
        ..Statement::new(report.id.to_string(), document.cover.generated_at, now)
    }
}

/// The key that the settings name. Reads a file if they name one.
///
/// # Errors
/// When it cannot be read or used.
pub fn brought_identity(brought: &BroughtKey) -> Result<Identity, SignError> {
    match brought {
        BroughtKey::Pem { key, certificates } => Identity::from_pem(key.expose_secret(), certificates),
        BroughtKey::Pkcs12 { path, password } => {
            let file =
                std::fs::read(path).map_err(|source| SignError::Folder { path: path.clone(), source })?;
            pkcs12::read(&file, password.expose_secret())
        }
        BroughtKey::Token { module, place, key, pin, certificates } => {
            let place = match place {
                TokenPlace::Label(label) => Place::Label(label.clone()),
                TokenPlace::Slot(number) => Place::Slot(*number),
            };
            let (module, label) = (module.clone(), key.clone());
            Identity::in_token(TokenKey { module, place, label, pin: pin.clone() }, certificates)
        }
    }
}

/// The certificate of that key, DER. A token is not asked for it.
///
/// # Errors
/// As [`brought_identity`].
pub fn brought_certificate(brought: &BroughtKey) -> Result<Vec<u8>, SignError> {
    match brought {
        BroughtKey::Token { certificates, .. } => Ok(Anchors::read_pem(certificates)?.remove(0)),
        other => Ok(brought_identity(other)?.chain()[0].clone()),
    }
}
