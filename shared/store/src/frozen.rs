//! What is frozen with a report: its document, how it looks, and an outline of it.
//!
//! Every file of the report is made from these, whenever somebody wants it: what changes later in the data or in the
//! organization's branding does not change a report that was issued.

use chrono::{DateTime, Utc};
use domain::{
    document::{Block, Branding, Control, Document, Image, ImageFormat, KeyFigure, RowFile, Section, Table},
    id::{ArtifactId, ReportId, TenantId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, types::Json};

use crate::{blob::Stored, db::TenantTx, error::Result};

/// All that a file is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    pub document: Document,
    /// Of all that it says, long tables to their last row ([`Document::content_sha256`]).
    pub sha256: [u8; 32],
    pub branding: Branding,
}

/// What lists and mails tell of a report, without the document, which may be large.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    pub title: String,
    pub organization: String,
    pub generated_at: DateTime<Utc>,
    pub key_figures: Vec<KeyFigure>,
    /// Those of the first level, in reading order, each followed by the controls in it.
    pub sections: Vec<Heading>,
    /// Rows of all tables together.
    pub rows: u64,
}

/// A section's place and name, or a control's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// Of the section; a control has that of the section it stands in.
    pub id: String,
    pub heading: String,
    /// As the framework writes it. None: it is a section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_id: Option<String>,
    /// How the control was judged, in the document's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Outline {
    fn of(document: &Document) -> Self {
        Self {
            title: document.cover.title.clone(),
            organization: document.cover.organization.clone(),
            generated_at: document.cover.generated_at,
            key_figures: document.key_figures.clone(),
            sections: document.sections.iter().flat_map(headings).collect(),
            rows: document.tables().map(Table::row_count).sum(),
        }
    }
}

fn headings(section: &Section) -> Vec<Heading> {
    fn controls<'s>(section: &'s Section, into: &mut Vec<&'s Control>) {
        into.extend(section.blocks.iter().filter_map(|block| match block {
            Block::Control(control) => Some(control),
            _ => None,
        }));
        section.sections.iter().for_each(|inner| controls(inner, into));
    }
    let mut found = Vec::new();
    controls(section, &mut found);
    let of_section =
        Heading { id: section.id.clone(), heading: section.heading.clone(), control_id: None, status: None };
    let of_control = |control: &Control| Heading {
        id: section.id.clone(),
        heading: control.title.clone(),
        control_id: Some(control.control_id.clone()),
        status: Some(control.status.label.clone()),
    };
    std::iter::once(of_section).chain(found.into_iter().map(of_control)).collect()
}

/// The branding as its column has it: the logo lies elsewhere, once for all reports that show it.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    branding: Branding,
    logo_alt: Option<String>,
}

#[derive(FromRow)]
struct Row {
    /// As text: sections within sections go deeper than a parser allows by default.
    document: Option<String>,
    document_sha256: Option<Vec<u8>>,
    branding: Option<Json<Kept>>,
    logo_format: Option<String>,
    logo: Option<Vec<u8>>,
}

impl Row {
    fn read(self) -> Result<Option<Frozen>> {
        let Some(document) = &self.document else { return Ok(None) };
        let document = read_deep(document)?;
        let (mut branding, alt) = match self.branding {
            Some(Json(kept)) => (kept.branding, kept.logo_alt.unwrap_or_default()),
            None => (Branding::default(), String::new()),
        };
        let format = match self.logo_format.as_deref() {
            Some("svg") => ImageFormat::Svg,
            _ => ImageFormat::Png,
        };
        branding.logo = self.logo.map(|data| Image { format, data, alt });
        let sha256 = self.document_sha256.unwrap_or_default().try_into().unwrap_or_default();
        Ok(Some(Frozen { document, sha256, branding }))
    }
}

/// How deep is deep enough, [`Document::check`] has said before.
fn read_deep<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let read = T::deserialize(&mut reader);
    Ok(read.map_err(|error| sqlx::Error::Decode(error.into()))?)
}

/// What the report's files are made from, once it was frozen.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has no such report.
pub async fn find(tx: &mut TenantTx, id: ReportId) -> Result<Option<Frozen>> {
    let tenant = tx.tenant();
    let row: Row = sqlx::query_as(
        "select r.document::text as document, r.document_sha256, r.branding, l.format as logo_format, l.data as logo
           from reports r left join frozen_logos l on l.tenant_id = r.tenant_id and l.sha256 = r.logo_sha256
          where r.tenant_id = $1 and r.id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    row.read()
}

/// What is told of the report, once it was frozen.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has no such report.
pub async fn outline(tx: &mut TenantTx, id: ReportId) -> Result<Option<Outline>> {
    let tenant = tx.tenant();
    let outline: Option<Json<Outline>> =
        sqlx::query_scalar("select outline from reports where tenant_id = $1 and id = $2")
            .bind(tenant.0)
            .bind(id.0)
            .fetch_one(&mut **tx)
            .await?;
    Ok(outline.map(|Json(outline)| outline))
}

/// Keeps the logo that reports show, once. To be committed before [`freeze`], whose snapshot would not see that another
/// report has kept the same.
///
/// # Errors
/// When the database refuses.
pub async fn keep_logo(tx: &mut TenantTx, branding: &Branding) -> Result<()> {
    let Some(logo) = &branding.logo else { return Ok(()) };
    let tenant = tx.tenant();
    let format = match logo.format {
        ImageFormat::Png => "png",
        ImageFormat::Svg => "svg",
    };
    sqlx::query(
        "insert into frozen_logos (tenant_id, sha256, format, data) values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(tenant.0)
    .bind(Sha256::digest(&logo.data).as_slice())
    .bind(format)
    .bind(&logo.data)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What the files of a report lie under in the artifact store, those with its rows among them.
#[must_use]
pub fn prefix(tenant: TenantId, report: ReportId) -> String {
    format!("{tenant}/{report}")
}

/// Where the artifact store has the rows of a long table.
#[must_use]
pub fn row_file_key(tenant: TenantId, report: ReportId, file: &RowFile) -> String {
    format!("{}/{}", prefix(tenant, report), file.name())
}

/// Freezes what every file of the report is made from, unless it was frozen before: a second attempt then renders the same bytes as
/// the first. Returns what is frozen.
///
/// `rows` are the row files that the document names, as they were stored.
///
/// # Errors
/// [`crate::Error::NotFound`] when the report was deleted meanwhile, [`crate::Error::Conflict`] when the logo is not kept.
pub async fn freeze(tx: &mut TenantTx, id: ReportId, frozen: Frozen, rows: &[Stored]) -> Result<Frozen> {
    let tenant = tx.tenant();
    let Frozen { mut document, sha256, branding } = frozen;
    document.detach_rows();
    let logo = branding.logo.as_ref();
    let kept = Kept {
        branding: Branding { logo: None, ..branding.clone() },
        logo_alt: logo.map(|logo| logo.alt.clone()),
    };
    let froze = sqlx::query(
        "update reports
            set document = $3, document_sha256 = $4, branding = $5, logo_sha256 = $6, outline = $7
          where tenant_id = $1 and id = $2 and document is null",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(Json(&document))
    .bind(sha256.as_slice())
    .bind(Json(kept))
    .bind(logo.map(|logo| Sha256::digest(&logo.data).to_vec()))
    .bind(Json(Outline::of(&document)))
    .execute(&mut **tx)
    .await?;
    // It may be large, and is there once more in a moment.
    drop(document);
    if froze.rows_affected() > 0 {
        for file in rows {
            sqlx::query(
                "insert into frozen_rows (tenant_id, id, report_id, byte_count, sha256, storage_key)
                 values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(tenant.0)
            .bind(ArtifactId::new().0)
            .bind(id.0)
            .bind(file.byte_count)
            .bind(file.sha256.as_slice())
            .bind(&file.key)
            .execute(&mut **tx)
            .await?;
        }
    }
    find(tx, id).await?.ok_or(crate::Error::NotFound)
}
