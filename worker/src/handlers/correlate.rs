//! Compare a tenant's packages with everything known, and open, confirm or resolve findings.

use std::collections::BTreeMap;

use correlation::{
    matcher::{self, Bound, Outcome, Range, Rule, Subject, Tier, Version},
    score::{self, Inputs, Weights},
};
use domain::{Severity, advisory::State, finding::Confidence, id::ScanRunId};
use queue::{Attempt, Done, Handler, JobError, jobs::Correlate};
use serde_json::{Value, json};
use store::{
    correlate::{self, Candidate, Verdict},
    scan_runs::{self, Finish, NewRun, RunType, Status},
    sources,
};
use tracing::info;

use crate::context::Context;

/// The composite score of what nobody has rated in any way: the middle of the scale. Counted as zero it would look harmless.
const UNRATED: f32 = 5.0;

impl Handler<Context> for Correlate {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let run = NewRun {
            tenant: Some(self.tenant_id),
            job: attempt.job,
            run_type: RunType::Correlation,
            source_slug: None,
        };
        let run = scan_runs::begin(&mut tx, &run).await?;
        tx.commit().await?;

        let done = compare(&self, context, attempt, run).await;
        if let Err(error) = &done {
            super::record_failure(&context.db, run, error).await?;
        }
        done
    }
}

/// Everything that comes of a comparison, in one transaction.
async fn compare(
    job: &Correlate,
    context: &Context,
    attempt: &Attempt,
    run: ScanRunId,
) -> Result<Done, JobError> {
    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let weights = sources::weights(&mut tx).await?;
    let weights = Weights { cvss: weights.nvd, epss: weights.epss, kev: weights.kev, ..Weights::default() };
    let subjects = correlate::begin(&mut tx, job.asset_id).await?;
    attempt.progress(10, "comparing");
    let mut waiting = Vec::new();
    loop {
        let candidates = correlate::next(&mut tx).await?;
        let is_end = candidates.is_empty();
        waiting.extend(candidates);
        let complete = if is_end { std::mem::take(&mut waiting) } else { all_but_last_subject(&mut waiting) };
        if !complete.is_empty() {
            let verdicts = tokio::task::spawn_blocking(move || verdicts(&complete, &weights)).await?;
            correlate::stage(&mut tx, &verdicts).await?;
        }
        if is_end {
            break;
        }
    }
    attempt.progress(60, "merging");
    let changes = correlate::merge(&mut tx, job.asset_id).await?;
    let counts = changes.counts(subjects);
    let status = if counts.is_change() { Status::Success } else { Status::Unchanged };
    let provenance = json!({ "asset_id": job.asset_id, "assets": changes.assets });
    let end = Finish { status, provenance, ..Finish::success(counts) };
    scan_runs::finish(&mut tx, run, &end).await?;
    let result = json!({
        "packages": subjects,
        "assets": changes.assets,
        "opened": changes.opened,
        "updated": changes.updated,
        "reopened": changes.reopened,
        "resolved": changes.resolved,
        "unchanged": changes.unchanged,
    });
    let done = attempt.complete(&mut tx, result).await?;
    tx.commit().await?;
    info!(subjects, ?changes, "correlated");
    Ok(done)
}

/// Takes the candidates of all packages but the last, of which more may follow.
fn all_but_last_subject(candidates: &mut Vec<Candidate>) -> Vec<Candidate> {
    let Some(last) = candidates.last() else { return Vec::new() };
    let start = candidates.iter().rposition(|candidate| subject(candidate) != subject(last));
    let rest = candidates.split_off(start.map_or(0, |index| index + 1));
    std::mem::replace(candidates, rest)
}

fn subject(candidate: &Candidate) -> (&str, &str, &str) {
    (&candidate.platform, &candidate.judged_name, &candidate.judged_version)
}

/// Judges packages by their candidates, which come package by package.
fn verdicts(candidates: &[Candidate], weights: &Weights) -> Vec<Verdict> {
    candidates
        .chunk_by(|one, next| subject(one) == subject(next))
        .flat_map(|of_one| judge(of_one, weights))
        .collect()
}

fn judge(candidates: &[Candidate], weights: &Weights) -> Vec<Verdict> {
    let Some(first) = candidates.first() else { return Vec::new() };
    let version = Version { text: &first.judged_version, key: first.judged_key.as_deref() };
    let package = Subject { platform: &first.platform, package: &first.judged_name, version };
    let ranges: Vec<Range<'_>> = candidates.iter().map(range).collect();
    let mut said = BTreeMap::<&str, Vec<&Candidate>>::new();
    for candidate in candidates {
        said.entry(&candidate.vulnerability).or_default().push(candidate);
    }
    let verdicts = matcher::judge(&package, &ranges);
    verdicts
        .iter()
        .filter_map(|verdict| finding(verdict, said.get(verdict.vulnerability)?, weights))
        .collect()
}

/// The finding that a verdict makes of what was `said` of its vulnerability; `None` for what is not affected.
fn finding(verdict: &matcher::Verdict<'_>, said: &[&Candidate], weights: &Weights) -> Option<Verdict> {
    let (confidence, fixed_version, state) = match verdict.outcome {
        Outcome::NotAffected => return None,
        Outcome::Affected { fixed_version, state } => (Confidence::Confirmed, fixed_version, state),
        Outcome::Undecided { why: Rule::UnderInvestigation } => {
            (Confidence::Undecided, None, State::UnderInvestigation)
        }
        Outcome::Undecided { .. } => (Confidence::Undecided, None, State::Affected),
    };
    let evidence = &verdict.evidence;
    let deciding = said.iter().find(|candidate| candidate.advisory_id == evidence.advisory)?;
    let of_others = said.iter().filter_map(|candidate| candidate.advisory_cvss);
    let cvss_score = deciding.base_score.or(deciding.advisory_cvss).or(of_others.reduce(f32::max));
    let rated = |candidate: &Candidate| candidate.advisory_severity.as_deref()?.parse::<Severity>().ok();
    let in_words = rated(deciding).or(said.iter().filter_map(|candidate| rated(candidate)).min());
    let inputs = Inputs {
        cvss: cvss_score,
        severity: in_words,
        epss: deciding.epss,
        kev: deciding.is_kev,
        exploit: deciding.has_exploit,
    };
    Some(Verdict {
        platform: deciding.platform.clone(),
        judged_name: deciding.judged_name.clone(),
        judged_version: deciding.judged_version.clone(),
        vulnerability: verdict.vulnerability.to_owned(),
        advisory_id: evidence.advisory,
        fixed_version: fixed_version.map(str::to_owned),
        confidence,
        vendor_state: state.as_str(),
        severity: cvss_score.map(Severity::of_score).or(in_words).unwrap_or(Severity::Unknown),
        cvss_score,
        epss_score: deciding.epss,
        is_kev: deciding.is_kev,
        has_exploit: deciding.has_exploit,
        composite_score: score::composite(&inputs, weights).unwrap_or(UNRATED),
        evidence: with_note(json!(evidence), said, evidence),
    })
}

/// Adds the source's own remark on the range that decided.
fn with_note(mut value: Value, said: &[&Candidate], evidence: &matcher::Evidence<'_>) -> Value {
    let deciding = said.iter().filter(|candidate| {
        let range = range(candidate);
        candidate.advisory_id == evidence.advisory && matcher::Stated::from(&range) == evidence.range
    });
    if let Some(note) = deciding.filter_map(|candidate| candidate.note.as_deref()).next() {
        value["note"] = note.into();
    }
    value
}

fn range(candidate: &Candidate) -> Range<'_> {
    let key = candidate.bound_key.as_deref();
    let end = candidate.bound_version.as_deref().map(|text| Version { text, key });
    let bound = match (candidate.bound.as_str(), end) {
        ("fixed", Some(version)) => Bound::Fixed(version),
        ("last_affected", Some(version)) => Bound::LastAffected(version),
        ("exactly", Some(version)) => Bound::Exactly(version),
        _ => Bound::Unbounded,
    };
    let introduced = candidate.introduced.as_deref();
    Range {
        advisory: candidate.advisory_id,
        source: &candidate.source,
        vulnerability: &candidate.vulnerability,
        tier: match candidate.tier {
            1 => Tier::Distro,
            2 => Tier::Ecosystem,
            _ => Tier::Cpe,
        },
        state: State::from_word(&candidate.state).unwrap_or(State::Affected),
        introduced: introduced.map(|text| Version { text, key: candidate.introduced_key.as_deref() }),
        bound,
    }
}
