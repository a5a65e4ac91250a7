//! Ask whether certificates were revoked, before something is signed with them.
//!
//! Where to ask stands in the certificates. They are the administrator's: brought by a setting, or of the timestamp
//! authority of another, so that these addresses are asked as that authority is, through the guarded client. An answer is
//! kept until its issuer has a newer one. What it means is `signing::revocation`'s to say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::egress::{Client, EgressError, HeaderValue, Policy, Request, header};
use signing::revocation::{Evidence, Form, QUERY_TYPE, Source, Standing, Subject, subjects};

/// How long an address may take, and how long its answer may be: a list of 25,000 certificates.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: u64 = 1 << 20;
/// What is kept is asked for anew so long before it runs out: rendering comes between asking and signing.
const AHEAD: TimeDelta = TimeDelta::minutes(15);
/// An address that failed is left alone for so long.
const GRACE: TimeDelta = TimeDelta::minutes(5);
/// Answers kept. An installation signs with one chain, and its timestamp authority with a few.
const MOST_KEPT: usize = 64;

/// Asks, and remembers.
#[derive(Debug, Clone)]
pub(super) struct Revocations {
    client: Client,
    kept: Arc<Mutex<HashMap<Question, Kept>>>,
}

/// Where, and for responders about what.
type Question = (Source, Vec<u8>);

#[derive(Debug, Clone)]
enum Kept {
    Answer(Vec<u8>),
    Failure { at: DateTime<Utc>, why: String },
}

/// What could be found out about a chain.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) evidence: Evidence,
    /// Whether any of the certificates says where it can be asked for.
    pub(super) asked: bool,
    /// What is not known, in words.
    pub(super) missing: Vec<String>,
}

/// An issuer has taken a certificate back.
#[derive(Debug, thiserror::Error)]
#[error(
    "the certificate `{name}` (serial number {serial}) was revoked on {since} ({reason}), says {address}"
)]
pub(super) struct Revoked {
    name: String,
    serial: String,
    since: DateTime<Utc>,
    reason: &'static str,
    address: String,
}

impl Revocations {
    /// Touches no network yet.
    pub(super) fn new() -> Result<Self, EgressError> {
        let policy = Policy {
            connect_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            total_timeout: PATIENCE,
            max_bytes: LONGEST,
            ..Policy::administrator()
        };
        Ok(Self { client: Client::new(policy)?, kept: Arc::default() })
    }

    /// Asks for each certificate of `chain` (DER) at the places that it names, until one answers. `known` are
    /// certificates that may have issued them.
    ///
    /// # Errors
    /// When one was revoked.
    pub(super) async fn look_up(
        &self,
        chain: &[Vec<u8>],
        known: &[Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Found, Revoked> {
        let mut found = Found::default();
        let mut silent = Vec::new();
        for subject in subjects(chain, known) {
            let sources = subject.sources();
            if sources.is_empty() {
                silent.push(format!("`{}` names no place to ask", subject.name()));
                continue;
            }
            found.asked = true;
            let mut reasons = Vec::new();
            for source in sources {
                match self.ask(&subject, &source, now).await {
                    Ok((Standing::Good { .. }, answer)) => {
                        found.evidence.add(source.form, answer);
                        reasons.clear();
                        break;
                    }
                    Ok((Standing::Revoked { since, reason }, _)) => {
                        let (name, serial) = (subject.name(), subject.serial());
                        return Err(Revoked { name, serial, since, reason, address: source.address });
                    }
                    Err(error) => reasons.push(format!("{}: {error:#}", source.address)),
                }
            }
            if !reasons.is_empty() {
                found.missing.push(format!("`{}`: {}", subject.name(), reasons.join("; ")));
            }
            // Whoever checks the answer needs it.
            found.evidence.certificates.extend(subject.issuer().filter(|issuer| !chain.contains(issuer)));
        }
        if found.asked {
            found.missing.extend(silent);
            for certificate in chain {
                if !found.evidence.certificates.contains(certificate) {
                    found.evidence.certificates.push(certificate.clone());
                }
            }
        }
        Ok(found)
    }

    async fn ask(
        &self,
        subject: &Subject,
        source: &Source,
        now: DateTime<Utc>,
    ) -> anyhow::Result<(Standing, Vec<u8>)> {
        let query = match source.form {
            Form::Response => subject.query()?,
            Form::List => Vec::new(),
        };
        let question = (source.clone(), query);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&question).cloned();
        match kept {
            Some(Kept::Answer(answer)) => {
                let standing = subject.judge(source.form, &answer, now);
                if let Ok(Standing::Good { until }) = standing
                    && until > now + AHEAD
                {
                    return Ok((Standing::Good { until }, answer));
                }
            }
            Some(Kept::Failure { at, why }) if now - at < GRACE => anyhow::bail!(why),
            _ => {}
        }
        let asked = async {
            let answer = self.fetch(&question).await?;
            let standing = subject.judge(source.form, &answer, now).context("the answer is refused")?;
            Ok((standing, answer))
        };
        let asked: anyhow::Result<_> = asked.await;
        let keep = match &asked {
            Ok((_, answer)) => Kept::Answer(answer.clone()),
            Err(error) => Kept::Failure { at: now, why: format!("{error:#}") },
        };
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_KEPT {
            all.clear();
        }
        all.insert(question, keep);
        asked
    }

    async fn fetch(&self, (source, query): &Question) -> anyhow::Result<Vec<u8>> {
        let request = match source.form {
            Form::Response => Request::post(source.address.as_str(), query.clone())
                .header(header::CONTENT_TYPE, HeaderValue::from_static(QUERY_TYPE)),
            Form::List => Request::get(source.address.as_str()),
        };
        let answer = self.client.send(request).await?;
        anyhow::ensure!(answer.status.is_success(), "answered {}", answer.status);
        Ok(answer.bytes().await?.to_vec())
    }
}
