//! Send a finished report to those of its recipients who do not have it yet.

use std::collections::BTreeMap;

use delivery::mail::{
    Attachment, MailError, Mailbox, Outgoing, address,
    template::{FileLink, ReportReady, report_ready},
};
use domain::{
    document::Quantity,
    id::{ReportId, ShareId, UserId},
    report::MAIL_LINK_DAYS,
};
use queue::{Attempt, Done, Handler, JobError, OrDiscard, error::DiscardIfMissing, jobs::SendMail};
use runtime::metrics;
use serde_json::json;
use store::{
    TenantTx,
    deliveries::{Mail, Outcome, Outcomes},
    reports::Report,
    shares::{self, Share},
};

use crate::{
    context::Context,
    issue::{download_url, hex},
};

impl Handler<Context> for SendMail {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let mail = store::deliveries::mail(&mut tx, self.mail_id).await.discard_if_missing("the mail")?;
        tx.commit().await?;
        let mut outcomes = mail.outcomes.0.clone();
        let mut waiting: Vec<Mailbox> = Vec::new();
        for recipient in &mail.recipients {
            if outcomes.contains_key(recipient) {
                continue;
            }
            match address::parse(recipient) {
                Ok(mailbox) => waiting.push(mailbox),
                Err(error) => {
                    outcomes.insert(recipient.clone(), Outcome::Failed { detail: error.to_string() });
                }
            }
        }
        let mut postponed = None;
        // A link that nobody got is of no use to anybody who should have it.
        let mut unread = None;
        if !waiting.is_empty() {
            let (outgoing, link) = compose(&self, context, &mail, waiting).await?;
            let sent =
                context.mailer.send(&outgoing).await.or_discard("no mail can be made of the report")?;
            runtime::failpoint!("mail-sent");
            unread = link.filter(|_| sent.iter().all(|sent| sent.result.is_err()));
            for sent in sent {
                let recipient = recorded_as(&mail, &sent.recipient);
                let class = sent.result.as_ref().map_or_else(MailError::class, |_| "delivered");
                metrics::MAIL_ATTEMPTS.add([class.into()], 1);
                match sent.result {
                    Ok(_) => {
                        outcomes.insert(recipient, Outcome::Delivered);
                    }
                    // A wrong setting is mended by somebody, and then the mail should still go out.
                    Err(error) if !matches!(error, MailError::Permanent { .. }) && !attempt.is_last => {
                        postponed = Some(error);
                    }
                    Err(error) => {
                        outcomes.insert(recipient, Outcome::Failed { detail: error.to_string() });
                    }
                }
            }
        }
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        if let Some((report, share)) = unread {
            store::shares::revoke(&mut tx, report, share).await?;
        }
        store::deliveries::record_outcomes(&mut tx, self.mail_id, &outcomes).await?;
        if let Some(error) = postponed {
            // What did go out is remembered, so that nobody gets it twice.
            tx.commit().await?;
            return Err(error.into());
        }
        let done = attempt.complete(&mut tx, summary(&outcomes)).await?;
        tx.commit().await?;
        Ok(done)
    }
}

/// The mail, and the link in it if its file is too large to be attached.
async fn compose(
    job: &SendMail,
    context: &Context,
    mail: &Mail,
    to: Vec<Mailbox>,
) -> Result<(Outgoing, Option<(ReportId, ShareId)>), JobError> {
    let report_id =
        mail.report_id.map(ReportId).ok_or_else(|| JobError::discard("the report no longer exists"))?;
    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let report = store::reports::find(&mut tx, report_id).await.discard_if_missing("the report")?;
    let artifact =
        store::reports::artifact(&mut tx, report_id).await.discard_if_missing("the report's file")?;
    let outline = store::frozen::outline(&mut tx, report_id).await.discard_if_missing("the report")?;
    let outline = outline.ok_or_else(|| JobError::discard("the report has no document"))?;
    let is_too_large =
        usize::try_from(artifact.byte_count).is_ok_and(|size| size > context.mailer.most_attached());
    let link = if is_too_large { Some(share(&mut tx, context, &report).await?) } else { None };
    tx.commit().await?;
    let attachments = if is_too_large {
        Vec::new()
    } else {
        vec![Attachment {
            file_name: artifact.file_name.clone(),
            media_type: artifact.media_type,
            bytes: context.blobs.get(&artifact.storage_key, &artifact.sha256).await?,
        }]
    };
    let figures: Vec<(String, String)> = outline
        .key_figures
        .iter()
        .map(|figure| {
            let value = match &figure.value {
                Quantity::Number(number) => number.to_string(),
                Quantity::Text(text) => text.clone(),
            };
            (figure.label.clone(), value)
        })
        .collect();
    let names: Vec<String> = attachments.iter().map(|file| file.file_name.clone()).collect();
    let words = report_ready(&ReportReady {
        title: &outline.title,
        organization: Some(&outline.organization),
        period: None,
        generated_at: outline.generated_at,
        data_as_of: None,
        figures: &figures,
        attachments: &names,
        download_url: Some(&download_url(context, report_id)),
        link: link.as_ref().map(|link| FileLink {
            file_name: &artifact.file_name,
            url: &link.url,
            until: link.share.expires_at,
        }),
    });
    let outgoing = Outgoing {
        mail_id: job.mail_id.to_string(),
        to,
        subject: words.subject,
        text: words.text,
        html: Some(words.html),
        attachments,
        date: mail.created_at,
    };
    Ok((outgoing, link.map(|link| (report_id, ShareId(link.share.id)))))
}

struct Link {
    share: Share,
    url: String,
}

/// A link to the report's file, like those that people make: listed, counted, and revocable.
async fn share(tx: &mut TenantTx, context: &Context, report: &Report) -> Result<Link, JobError> {
    let token = hex(&rand::random::<[u8; 32]>());
    let by = report.requested_by.map(UserId);
    let share =
        shares::insert(tx, ReportId(report.id), &shares::hash(&token), MAIL_LINK_DAYS * 24, by).await?;
    let url = format!("{}/api/reports/shared/{token}", context.config.public_url());
    Ok(Link { share, url })
}

/// The recipient as the mail's row spells it.
fn recorded_as(mail: &Mail, mailbox: &Mailbox) -> String {
    mail.recipients
        .iter()
        .find(|recipient| address::parse(recipient).is_ok_and(|parsed| parsed.email == mailbox.email))
        .cloned()
        .unwrap_or_else(|| mailbox.email.to_string())
}

fn summary(outcomes: &Outcomes) -> serde_json::Value {
    let words: BTreeMap<_, _> = outcomes
        .iter()
        .map(|(recipient, outcome)| {
            let word = match outcome {
                Outcome::Delivered => "delivered",
                Outcome::Failed { .. } => "failed",
            };
            (recipient, word)
        })
        .collect();
    json!({ "recipients": words })
}
