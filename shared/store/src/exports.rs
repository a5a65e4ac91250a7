//! Exports: all findings that a filter lets through, row after row, in memory that does not grow with their number.
//!
//! An [`Export`] reads from a cursor of the database, a batch at a time, so that a slow reader makes the database wait and not
//! us. Its connection is its own: a reader that takes an hour keeps none of the pool's, and when the export is dropped the connection is
//! closed, which ends the query. [`Request`] says what is wanted and is kept with reports that are made of it;
//! [`What`] has the columns. What a file looks like is up to `api` and `reports`.

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    finding::FindingStatus,
    id::{AssetId, TenantId},
};
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, Postgres, QueryBuilder, Row as _,
    postgres::PgRow,
};
use uuid::Uuid;

use crate::{
    cursor::{self, Cursor},
    db::{self, TenantTx},
    error::{Error, Result},
    findings::{self, Filter},
};

/// Rows of a batch: some half a megabyte.
const BATCH: usize = 2000;

/// What the rows of an export are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// One finding each: a vulnerability on a package of an asset.
    #[default]
    Findings,
    /// One vulnerability each, with what it touches.
    Vulnerabilities,
    /// One asset each, with what is wrong with it.
    Assets,
}

/// What somebody wants exported.
///
/// A filter that this build does not know is refused when it is read back: without it, more would be let through than was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    pub what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_id: Option<AssetId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cve_id: Option<String>,
    /// Of one of these; of any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_several")]
    pub status: Vec<FindingStatus>,
    /// As `status`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_several")]
    pub severity: Vec<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kev: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_exploit: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_available: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_score: Option<f32>,
}

/// Reads one word too: that is how exports were recorded while there could not be several.
fn one_or_several<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    words: D,
) -> std::result::Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words<T> {
        One(T),
        Several(Vec<T>),
    }
    Ok(match Words::deserialize(words)? {
        Words::One(word) => vec![word],
        Words::Several(words) => words,
    })
}

impl From<&Request> for Filter {
    fn from(request: &Request) -> Self {
        Self {
            asset: request.asset_id,
            vulnerability: request.cve_id.clone(),
            statuses: request.status.clone(),
            severities: request.severity.clone(),
            kev: request.kev,
            has_exploit: request.has_exploit,
            patch_available: request.patch_available,
            score: (request.min_score, request.max_score),
        }
    }
}

/// A column of an export.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// In files for programs.
    pub name: &'static str,
    /// In documents for people. Empty: it does not stand in them.
    pub title: &'static str,
    pub kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Id,
    /// Written by somebody: a name, a version, a note.
    Text,
    /// One of our own words.
    Word,
    Severity,
    Score,
    Count,
    Flag,
    Time,
}

/// A value of a row, as its column's [`Kind`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'r> {
    Null,
    Id(Uuid),
    Text(&'r str),
    Score(f32),
    Count(i64),
    Flag(bool),
    Time(DateTime<Utc>),
}

const fn column(name: &'static str, title: &'static str, kind: Kind) -> Column {
    Column { name, title, kind }
}

/// As `GET /api/vuln-matches` tells of findings.
const FINDINGS: &[Column] = &[
    column("id", "", Kind::Id),
    column("asset_id", "", Kind::Id),
    column("asset_hostname", "Asset", Kind::Text),
    column("cve_id", "Vulnerability", Kind::Text),
    column("ecosystem", "", Kind::Text),
    column("package_name", "Package", Kind::Text),
    column("installed_version", "Installed", Kind::Text),
    column("fixed_version", "Fixed in", Kind::Text),
    column("patch_available", "", Kind::Flag),
    column("confidence", "", Kind::Word),
    column("vendor_state", "", Kind::Word),
    column("severity", "Severity", Kind::Severity),
    column("cvss_score", "CVSS", Kind::Score),
    column("epss_score", "", Kind::Score),
    column("kev", "Exploited", Kind::Flag),
    column("has_exploit", "", Kind::Flag),
    column("composite_score", "Score", Kind::Score),
    column("status", "Status", Kind::Word),
    column("status_note", "", Kind::Text),
    column("first_seen_at", "First seen", Kind::Time),
    column("last_confirmed_at", "", Kind::Time),
    column("resolved_at", "", Kind::Time),
    column("resolution", "", Kind::Word),
];

const VULNERABILITIES: &[Column] = &[
    column("cve_id", "Vulnerability", Kind::Text),
    column("severity", "Severity", Kind::Severity),
    column("composite_score", "Score", Kind::Score),
    column("cvss_score", "CVSS", Kind::Score),
    column("epss_score", "", Kind::Score),
    column("kev", "Exploited", Kind::Flag),
    column("has_exploit", "Exploit known", Kind::Flag),
    column("patch_available", "Fix available", Kind::Flag),
    column("packages", "Packages", Kind::Text),
    column("assets", "Assets", Kind::Count),
    column("findings", "Findings", Kind::Count),
    column("first_seen_at", "First seen", Kind::Time),
];

const ASSETS: &[Column] = &[
    column("asset_id", "", Kind::Id),
    column("asset_hostname", "Asset", Kind::Text),
    column("os_name", "System", Kind::Text),
    column("risk_zone", "Zone", Kind::Word),
    column("findings", "Findings", Kind::Count),
    column("critical", "Critical", Kind::Count),
    column("high", "High", Kind::Count),
    column("medium", "Medium", Kind::Count),
    column("low", "Low", Kind::Count),
    column("unrated", "Unrated", Kind::Count),
    column("kev", "Exploited", Kind::Count),
    column("patch_available", "Fix available", Kind::Count),
    column("worst_score", "Worst", Kind::Score),
    column("last_seen_at", "Last seen", Kind::Time),
];

impl What {
    pub const ALL: [Self; 3] = [Self::Findings, Self::Vulnerabilities, Self::Assets];

    /// The word in requests and file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Vulnerabilities => "vulnerabilities",
            Self::Assets => "assets",
        }
    }

    /// The columns, in their order.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Findings => FINDINGS,
            Self::Vulnerabilities => VULNERABILITIES,
            Self::Assets => ASSETS,
        }
    }

    /// What stands before `where`, and what after it. The worst come first, and the order is always the same.
    fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Findings => (
                "select f.id, f.asset_id, a.hostname, f.vulnerability, f.ecosystem, f.package_name, f.installed_version,
                        f.fixed_version, f.fixed_version is not null, f.confidence, f.vendor_state, f.severity, f.cvss_score,
                        f.epss_score, f.is_kev, f.has_exploit, f.composite_score, f.status, f.status_note, f.first_seen_at,
                        case when f.status = 'resolved' then f.last_confirmed_at
                             else greatest(f.last_confirmed_at, a.correlated_at) end,
                        f.resolved_at, f.resolution
                   from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id",
                " order by f.composite_score desc, f.id",
            ),
            Self::Vulnerabilities => (
                "select f.vulnerability, (array_agg(f.severity order by f.composite_score desc, f.severity))[1],
                        max(f.composite_score), max(f.cvss_score), max(f.epss_score), bool_or(f.is_kev), bool_or(f.has_exploit),
                        bool_or(f.fixed_version is not null), string_agg(distinct f.package_name, ', '),
                        count(distinct f.asset_id), count(*), min(f.first_seen_at)
                   from findings f",
                " group by f.vulnerability order by max(f.composite_score) desc, f.vulnerability",
            ),
            Self::Assets => (
                "select a.id, a.hostname, coalesce(a.os_name, a.os_distro), a.risk_zone, count(*),
                        count(*) filter (where f.severity = 'critical'), count(*) filter (where f.severity = 'high'),
                        count(*) filter (where f.severity = 'medium'), count(*) filter (where f.severity = 'low'),
                        count(*) filter (where f.severity in ('none', 'unknown')), count(*) filter (where f.is_kev),
                        count(*) filter (where f.fixed_version is not null), max(f.composite_score), a.last_seen_at
                   from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id",
                " group by a.id order by max(f.composite_score) desc, a.id",
            ),
        }
    }

    /// The statement, with what stands before it.
    fn query(self, before: &str, tenant: TenantId, request: &Request) -> QueryBuilder<Postgres> {
        let (select, order) = self.sql();
        let begin = format!("{before}{select}");
        let mut query = findings::matching(tenant, begin, &request.into()).query;
        query.push(order);
        query
    }
}

/// A row of an export.
#[derive(Debug)]
pub struct Row {
    row: PgRow,
    columns: &'static [Column],
}

impl Row {
    /// The values, in the order of the columns.
    pub fn values(&self) -> impl Iterator<Item = Result<Value<'_>>> {
        self.columns.iter().enumerate().map(|(index, column)| self.value(index, column.kind))
    }

    fn value(&self, index: usize, kind: Kind) -> Result<Value<'_>> {
        let row = &self.row;
        let value = match kind {
            Kind::Id => row.try_get::<Option<Uuid>, _>(index)?.map(Value::Id),
            Kind::Text | Kind::Word | Kind::Severity => {
                row.try_get::<Option<&str>, _>(index)?.map(Value::Text)
            }
            Kind::Score => row.try_get::<Option<f32>, _>(index)?.map(Value::Score),
            Kind::Count => row.try_get::<Option<i64>, _>(index)?.map(Value::Count),
            Kind::Flag => row.try_get::<Option<bool>, _>(index)?.map(Value::Flag),
            Kind::Time => row.try_get::<Option<DateTime<Utc>>, _>(index)?.map(Value::Time),
        };
        Ok(value.unwrap_or(Value::Null))
    }
}

/// An export under way. Dropping it closes its connection.
#[derive(Debug)]
pub struct Export {
    connection: PgConnection,
    columns: &'static [Column],
}

impl Export {
    /// Begins to read what `request` lets through of `tenant`'s, as it is now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection can be had.
    pub async fn begin(pool: &PgPool, tenant: TenantId, request: &Request) -> Result<Self> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute("begin transaction read only").await?;
        // All of it will be read, and the server shall notice within a second when nobody reads any more.
        connection
            .execute("set local cursor_tuple_fraction = 1; set local client_connection_check_interval = '1s'")
            .await?;
        db::act_for(&mut connection, tenant).await?;
        let mut query = request.what.query("declare export no scroll cursor for ", tenant, request);
        query.build().persistent(false).execute(&mut connection).await?;
        Ok(Self { connection, columns: request.what.columns() })
    }

    /// The next rows. None: those before were the last.
    ///
    /// # Errors
    /// When the database breaks off.
    pub async fn next(&mut self) -> Result<Vec<Row>> {
        let statement = format!("fetch {BATCH} from export");
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut self.connection).await?;
        Ok(rows.into_iter().map(|row| Row { row, columns: self.columns }).collect())
    }

    /// Says goodbye to the database.
    ///
    /// # Errors
    /// When it has gone already.
    pub async fn end(self) -> Result<()> {
        self.connection.close().await.map_err(Error::from)
    }
}

/// All rows of an export within `tx`, for a document.
#[derive(Debug)]
pub struct Selection<'t> {
    cursor: Cursor<'t>,
    columns: &'static [Column],
}

impl<'t> Selection<'t> {
    /// Begins to read.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn begin(tx: &'t mut TenantTx, request: &Request) -> Result<Self> {
        let statement = request.what.query(cursor::DECLARE, tx.tenant(), request);
        Ok(Self { cursor: Cursor::of(tx, statement).await?, columns: request.what.columns() })
    }

    /// The next rows. None: those before were the last.
    ///
    /// # Errors
    /// When the database breaks off.
    pub async fn next(&mut self) -> Result<Vec<Row>> {
        let rows = self.cursor.batch().await?;
        Ok(rows.into_iter().map(|row| Row { row, columns: self.columns }).collect())
    }
}

/// How many findings of each severity there are, of those that `request` lets through.
///
/// # Errors
/// When the database cannot be read.
pub async fn count_by_severity(tx: &mut TenantTx, request: &Request) -> Result<Vec<(String, i64)>> {
    let begin = "select f.severity, count(*) from findings f";
    let mut query = findings::matching(tx.tenant(), begin, &request.into()).query;
    query.push(" group by f.severity");
    Ok(query.build_query_as().fetch_all(&mut **tx).await?)
}

/// How many findings `request` lets through; counting stops at `most`.
///
/// # Errors
/// When the database cannot be read.
pub async fn count_up_to(tx: &mut TenantTx, request: &Request, most: i64) -> Result<i64> {
    let begin = "select count(*) from (select from findings f";
    let mut query = findings::matching(tx.tenant(), begin, &request.into()).query;
    query.push(" limit ").push_bind(most).push(") as counted");
    Ok(query.build_query_scalar().fetch_one(&mut **tx).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_was_recorded_with_one_severity_is_read_as_one_with_several() {
        let read = |text| serde_json::from_str::<Request>(text);
        let one = read(r#"{"severity": "high", "status": "open"}"#).unwrap();
        assert_eq!(
            (one.severity.as_slice(), one.status.as_slice()),
            (&[Severity::High][..], &[FindingStatus::Open][..])
        );
        assert_eq!(one, read(r#"{"severity": ["high"], "status": ["open"]}"#).unwrap());
        assert!(read(r#"{"severity": "dreadful"}"#).is_err());
    }
}
