//! Sources of vulnerability data: the catalogue of public ones, their settings, and how the last visit went.

use chrono::{DateTime, Utc};
use domain::{
    id::SourceId,
    page::{Direction, Page, PageRequest},
    source::FeedKind,
};
use runtime::egress::Url;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    scan_runs::{Counts, Status},
    sql::Conditions,
};

/// A source to be registered.
#[derive(Debug, Clone, Copy)]
pub struct SourceSpec {
    pub slug: &'static str,
    pub name: &'static str,
    /// `cve`, `exploit`, `advisory` or `scoring`.
    pub category: &'static str,
    pub feed: FeedKind,
    pub url: &'static str,
    pub interval_minutes: i32,
}

const HOURLY: i32 = 60;
const DAILY: i32 = 24 * 60;

const fn osv(slug: &'static str, name: &'static str, url: &'static str) -> SourceSpec {
    SourceSpec { slug, name, category: "advisory", feed: FeedKind::Osv, url, interval_minutes: 6 * HOURLY }
}

const fn alpine(slug: &'static str, name: &'static str, url: &'static str) -> SourceSpec {
    let interval_minutes = 2 * HOURLY;
    SourceSpec { slug, name, category: "advisory", feed: FeedKind::AlpineSecdb, url, interval_minutes }
}

/// The public sources that a new installation starts with.
pub const PUBLIC: &[SourceSpec] = &[
    SourceSpec {
        slug: "nvd",
        name: "National Vulnerability Database",
        category: "cve",
        feed: FeedKind::Nvd,
        url: "https://services.nvd.nist.gov/rest/json/cves/2.0",
        interval_minutes: DAILY,
    },
    SourceSpec {
        slug: "cisa-kev",
        name: "CISA Known Exploited Vulnerabilities",
        category: "exploit",
        feed: FeedKind::CisaKev,
        url: "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
        interval_minutes: HOURLY,
    },
    SourceSpec {
        slug: "epss",
        name: "FIRST EPSS",
        category: "scoring",
        feed: FeedKind::Epss,
        url: "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
        interval_minutes: 6 * HOURLY,
    },
    SourceSpec {
        slug: "debian-tracker",
        name: "Debian Security Tracker",
        category: "advisory",
        feed: FeedKind::DebianTracker,
        url: "https://security-tracker.debian.org/tracker/data/json",
        interval_minutes: 2 * HOURLY,
    },
    alpine(
        "alpine-secdb-v3-20-main",
        "Alpine v3.20 main (secdb)",
        "https://secdb.alpinelinux.org/v3.20/main.json",
    ),
    alpine(
        "alpine-secdb-v3-20-community",
        "Alpine v3.20 community (secdb)",
        "https://secdb.alpinelinux.org/v3.20/community.json",
    ),
    alpine(
        "alpine-secdb-v3-21-main",
        "Alpine v3.21 main (secdb)",
        "https://secdb.alpinelinux.org/v3.21/main.json",
    ),
    alpine(
        "alpine-secdb-v3-21-community",
        "Alpine v3.21 community (secdb)",
        "https://secdb.alpinelinux.org/v3.21/community.json",
    ),
    alpine(
        "alpine-secdb-v3-22-main",
        "Alpine v3.22 main (secdb)",
        "https://secdb.alpinelinux.org/v3.22/main.json",
    ),
    alpine(
        "alpine-secdb-v3-22-community",
        "Alpine v3.22 community (secdb)",
        "https://secdb.alpinelinux.org/v3.22/community.json",
    ),
    osv("osv-ubuntu", "Ubuntu (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/Ubuntu/all.zip"),
    osv("osv-alpine", "Alpine (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/Alpine/all.zip"),
    osv(
        "osv-almalinux",
        "AlmaLinux (OSV)",
        "https://osv-vulnerabilities.storage.googleapis.com/AlmaLinux/all.zip",
    ),
    osv(
        "osv-rocky-linux",
        "Rocky Linux (OSV)",
        "https://osv-vulnerabilities.storage.googleapis.com/Rocky%20Linux/all.zip",
    ),
    osv(
        "osv-crates-io",
        "crates.io (OSV)",
        "https://osv-vulnerabilities.storage.googleapis.com/crates.io/all.zip",
    ),
    osv("osv-npm", "npm (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/npm/all.zip"),
    osv("osv-pypi", "PyPI (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"),
    osv("osv-go", "Go (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/Go/all.zip"),
    osv("osv-maven", "Maven (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/Maven/all.zip"),
    osv("osv-nuget", "NuGet (OSV)", "https://osv-vulnerabilities.storage.googleapis.com/NuGet/all.zip"),
    osv(
        "osv-rubygems",
        "RubyGems (OSV)",
        "https://osv-vulnerabilities.storage.googleapis.com/RubyGems/all.zip",
    ),
    osv(
        "osv-packagist",
        "Packagist (OSV)",
        "https://osv-vulnerabilities.storage.googleapis.com/Packagist/all.zip",
    ),
];

/// The sources of a snapshot folder, and the part of the folder that each reads. Alpine is in its OSV part.
const SNAPSHOT: &[(SourceSpec, &str)] = &[
    (PUBLIC[0], "nvd"),
    (PUBLIC[1], "kev.json"),
    (PUBLIC[2], "epss.csv.gz"),
    (PUBLIC[3], "debian.json"),
    (osv("osv", "Open Source Vulnerabilities", "file:///"), "osv"),
];

/// A source as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct Source {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub category: String,
    pub feed: String,
    pub url: String,
    pub crawl_interval_minutes: i32,
    pub enabled: bool,
    pub priority_weight: f32,
    pub notes: String,
    pub accept_shrink: bool,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub content_digest: Option<String>,
    pub merged_by: Option<String>,
    pub content_label: Option<String>,
    pub content_as_of: Option<DateTime<Utc>>,
    pub record_count: i64,
    pub next_crawl_at: DateTime<Utc>,
    pub last_crawled_at: Option<DateTime<Utc>>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub last_crawl_status: Option<String>,
    pub last_error: Option<String>,
}

impl Source {
    /// The id, as jobs name it.
    #[must_use]
    pub fn id(&self) -> SourceId {
        SourceId(self.id)
    }

    /// The format of its content.
    ///
    /// # Errors
    /// [`Error::Database`] when the row has a word of a later version.
    pub fn feed(&self) -> Result<FeedKind> {
        self.feed.parse().map_err(|error| Error::Database(sqlx::Error::Decode(Box::new(error))))
    }
}

/// Which sources are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub category: Option<String>,
    pub enabled: Option<bool>,
}

macro_rules! select {
    ($conditions:literal) => {
        concat!(
            "select id, slug, name, category, feed, url, crawl_interval_minutes, enabled, priority_weight, notes,
                    accept_shrink, etag, last_modified, content_digest, merged_by, content_label, content_as_of,
                    record_count, last_crawled_at, last_success_at, last_crawl_status, last_error,
                    (select next_run_at from schedules where source_id = sources.id) as next_crawl_at
               from sources",
            $conditions
        )
    };
}

/// A page of the sources, by slug.
///
/// # Errors
/// When the database refuses.
pub async fn list(connection: &mut PgConnection, filter: &Filter, page: PageRequest) -> Result<Page<Source>> {
    let wanted = |select: &'static str| {
        let mut conditions = Conditions::after(select);
        if let Some(category) = &filter.category {
            conditions.also().push("category = ").push_bind(category.clone());
        }
        if let Some(enabled) = filter.enabled {
            conditions.also().push("enabled = ").push_bind(enabled);
        }
        conditions
    };
    let total: i64 =
        wanted("select count(*) from sources").query.build_query_scalar().fetch_one(&mut *connection).await?;
    let items = wanted(select!(""))
        .page("slug", Direction::Ascending, "id", page)
        .build_query_as()
        .fetch_all(connection)
        .await?;
    Ok(Page::new(items, total, page))
}

/// One source.
///
/// # Errors
/// [`Error::NotFound`] when there is none of that id.
pub async fn find(connection: &mut PgConnection, id: SourceId) -> Result<Source> {
    let source = sqlx::query_as(select!(" where id = $1")).bind(id.0).fetch_one(connection).await?;
    Ok(source)
}

/// All that are to be crawled by themselves.
///
/// # Errors
/// When the database cannot be reached.
pub async fn enabled(connection: &mut PgConnection) -> Result<Vec<SourceId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from sources where enabled order by slug")
        .fetch_all(connection)
        .await?;
    Ok(ids.into_iter().map(SourceId).collect())
}

/// The id of the source that `slug` names.
///
/// # Errors
/// [`Error::NotFound`] when there is none of that slug.
pub async fn id_of(connection: &mut PgConnection, slug: &str) -> Result<SourceId> {
    let id =
        sqlx::query_scalar("select id from sources where slug = $1").bind(slug).fetch_one(connection).await?;
    Ok(SourceId(id))
}

/// Settings to be changed; `None` leaves one as it is.
#[derive(Debug, Clone, Default)]
pub struct Update {
    pub enabled: Option<bool>,
    /// 5 to 43,200.
    pub crawl_interval_minutes: Option<i32>,
    /// 0.0 to 10.0.
    pub priority_weight: Option<f32>,
    pub notes: Option<String>,
    /// The next content may hold far less than the last.
    pub accept_shrink: Option<bool>,
}

/// Changes the settings of a source. One that gets another interval is next crawled by the new one.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Conflict`] with the constraint that a value breaks.
pub async fn update(connection: &mut PgConnection, id: SourceId, update: &Update) -> Result<()> {
    let changed = sqlx::query(
        "update sources
            set enabled = coalesce($2, enabled),
                crawl_interval_minutes = coalesce($3, crawl_interval_minutes),
                priority_weight = coalesce($4, priority_weight),
                notes = coalesce($5, notes),
                accept_shrink = coalesce($6, accept_shrink)
          where id = $1",
    )
    .bind(id.0)
    .bind(update.enabled)
    .bind(update.crawl_interval_minutes)
    .bind(update.priority_weight)
    .bind(&update.notes)
    .bind(update.accept_shrink)
    .execute(connection)
    .await?;
    if changed.rows_affected() == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// Registers `sources`; those whose slug is known already stay as they are. Returns how many were new.
///
/// # Errors
/// When the database refuses.
pub async fn ensure(connection: &mut PgConnection, sources: &[SourceSpec]) -> Result<u64> {
    fn column<T>(sources: &[SourceSpec], value: impl Fn(&SourceSpec) -> T) -> Vec<T> {
        sources.iter().map(value).collect()
    }
    let added = sqlx::query(
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         select id, slug, name, category, feed, url, minutes
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[])
                as new (id, slug, name, category, feed, url, minutes)
             on conflict (slug) do nothing",
    )
    .bind(column(sources, |_| SourceId::new().0))
    .bind(column(sources, |source| source.slug))
    .bind(column(sources, |source| source.name))
    .bind(column(sources, |source| source.category))
    .bind(column(sources, |source| source.feed.as_str()))
    .bind(column(sources, |source| source.url))
    .bind(column(sources, |source| source.interval_minutes))
    .execute(connection)
    .await?;
    Ok(added.rows_affected())
}

/// Has the sources of a snapshot read from `folder`, a `file:` URL that ends in a slash, and turns all others off.
///
/// For a machine without a network. What comes from another place than before may hold less, so that a small snapshot is not taken
/// for a feed that shrank.
///
/// # Errors
/// When the database refuses.
pub async fn use_snapshot(connection: &mut PgConnection, folder: &Url) -> Result<()> {
    let specs: Vec<SourceSpec> = SNAPSHOT.iter().map(|(spec, _)| *spec).collect();
    ensure(connection, &specs).await?;
    let slugs: Vec<&str> = specs.iter().map(|spec| spec.slug).collect();
    let urls: Vec<String> = SNAPSHOT
        .iter()
        .map(|(_, part)| folder.join(part).expect("a plain file name can be added to any file: URL").into())
        .collect();
    sqlx::query(
        "update sources
            set enabled = true, url = snapshot.url, etag = null, last_modified = null, content_digest = null,
                record_count = 0, accept_shrink = true
           from unnest($1::text[], $2::text[]) as snapshot (slug, url)
          where sources.slug = snapshot.slug and sources.url <> snapshot.url",
    )
    .bind(&slugs)
    .bind(&urls)
    .execute(&mut *connection)
    .await?;
    sqlx::query("update sources set enabled = (slug = any($1)) where enabled <> (slug = any($1))")
        .bind(&slugs)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a source's content says of itself, and how it was fetched.
#[derive(Debug, Clone, Default)]
pub struct ContentFacts {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// SHA-256 in lower-case hex.
    pub digest: Option<String>,
    pub label: Option<String>,
    pub as_of: Option<DateTime<Utc>>,
}

/// Records in the transaction of the merge that `content` was merged by this version of the program.
///
/// # Errors
/// When the database refuses.
pub async fn mark_merged(
    connection: &mut PgConnection,
    id: SourceId,
    content: &ContentFacts,
    counts: &Counts,
) -> Result<()> {
    sqlx::query(
        "update sources
            set etag = $2, last_modified = $3, content_digest = $4, content_label = $5, content_as_of = $6,
                record_count = $7, merged_by = $8, accept_shrink = false, last_crawled_at = now(),
                last_success_at = now(), last_crawl_status = $9, last_error = null
          where id = $1",
    )
    .bind(id.0)
    .bind(&content.etag)
    .bind(&content.last_modified)
    .bind(&content.digest)
    .bind(&content.label)
    .bind(content.as_of)
    .bind(counts.processed)
    .bind(runtime::VERSION)
    .bind(if counts.is_change() { Status::Success } else { Status::Unchanged }.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Records a visit that found nothing new. The validators are those to send next time.
///
/// # Errors
/// When the database refuses.
pub async fn mark_unchanged(
    connection: &mut PgConnection,
    id: SourceId,
    etag: Option<&str>,
    last_modified: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "update sources
            set etag = $2, last_modified = $3, last_crawled_at = now(), last_success_at = now(),
                last_crawl_status = 'unchanged', last_error = null
          where id = $1",
    )
    .bind(id.0)
    .bind(etag)
    .bind(last_modified)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records a visit that brought nothing usable; what was merged before stays. `status` is `Failed` or `Quarantined`.
///
/// # Errors
/// When the database refuses.
pub async fn mark_failed(
    connection: &mut PgConnection,
    id: SourceId,
    status: Status,
    error: &str,
) -> Result<()> {
    sqlx::query(
        "update sources set last_crawled_at = now(), last_crawl_status = $2, last_error = $3 where id = $1",
    )
    .bind(id.0)
    .bind(status.as_str())
    .bind(error)
    .execute(connection)
    .await?;
    Ok(())
}

/// How much the sources of each kind count in a score; a kind without a source counts 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    pub nvd: f32,
    pub epss: f32,
    pub kev: f32,
}

/// The weights as the sources' settings have them.
///
/// # Errors
/// When the database refuses.
pub async fn weights(connection: &mut PgConnection) -> Result<Weights> {
    let set: Vec<(String, f32)> =
        sqlx::query_as("select feed, max(priority_weight) from sources group by feed")
            .fetch_all(connection)
            .await?;
    let of = |kind: FeedKind| {
        set.iter().find(|(feed, _)| feed == kind.as_str()).map_or(1.0, |(_, weight)| *weight)
    };
    Ok(Weights { nvd: of(FeedKind::Nvd), epss: of(FeedKind::Epss), kev: of(FeedKind::CisaKev) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_source_has_a_slug_of_its_own_and_a_web_address() {
        let mut slugs: Vec<_> = PUBLIC.iter().map(|source| source.slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), PUBLIC.len());
        for source in PUBLIC {
            assert!(Url::parse(source.url).is_ok_and(|url| url.scheme() == "https"), "{}", source.url);
        }
    }

    #[test]
    fn a_snapshot_reads_each_kind_of_feed_once_but_what_its_osv_part_has_anyway() {
        let mut kinds: Vec<_> = SNAPSHOT.iter().map(|(source, _)| source.feed.as_str()).collect();
        kinds.sort_unstable();
        let mut all = FeedKind::ALL.map(FeedKind::as_str).to_vec();
        all.retain(|kind| *kind != FeedKind::AlpineSecdb.as_str());
        all.sort_unstable();
        assert_eq!(kinds, all);
    }
}
