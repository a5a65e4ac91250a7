//! Send a finished report to those of its recipients who do not have it yet.

use std::collections::BTreeMap;

use delivery::mail::{
    Attachment, MailError, Mailbox, Outgoing, address,
    template::{ReportReady, report_ready},
};
use domain::{document::Quantity, id::ReportId};
use queue::{Attempt, Done, Handler, JobError, OrDiscard, error::DiscardIfMissing, jobs::SendMail};
use runtime::metrics;
use serde_json::json;
use store::deliveries::{Mail, Outcome, Outcomes};

use crate::context::Context;

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
        if !waiting.is_empty() {
            let outgoing = compose(&self, context, &mail, waiting).await?;
            let sent =
                context.mailer.send(&outgoing).await.or_discard("no mail can be made of the report")?;
            runtime::failpoint!("mail-sent");
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

async fn compose(
    job: &SendMail,
    context: &Context,
    mail: &Mail,
    to: Vec<Mailbox>,
) -> Result<Outgoing, JobError> {
    let report_id =
        mail.report_id.map(ReportId).ok_or_else(|| JobError::discard("the report no longer exists"))?;
    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let artifact =
        store::reports::artifact(&mut tx, report_id).await.discard_if_missing("the report's file")?;
    let document = store::reports::document(&mut tx, report_id).await.discard_if_missing("the report")?;
    tx.commit().await?;
    let document = document.ok_or_else(|| JobError::discard("the report has no document"))?;
    let bytes = context.blobs.get(&artifact.storage_key, &artifact.sha256).await?;
    let figures: Vec<(String, String)> = document
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
    let words = report_ready(&ReportReady {
        title: &document.cover.title,
        organization: Some(&document.cover.organization),
        period: None,
        generated_at: document.cover.generated_at,
        data_as_of: None,
        figures: &figures,
        attachments: std::slice::from_ref(&artifact.file_name),
        download_url: Some(&format!("{}/api/reports/{report_id}/download", context.config.public_url())),
    });
    Ok(Outgoing {
        mail_id: job.mail_id.to_string(),
        to,
        subject: words.subject,
        text: words.text,
        html: Some(words.html),
        attachments: vec![Attachment {
            file_name: artifact.file_name,
            media_type: artifact.media_type,
            bytes,
        }],
        date: mail.created_at,
    })
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
