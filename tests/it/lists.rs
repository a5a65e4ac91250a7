//! Long lists, in every order that they can be asked for: their pages are the list cut into pieces, and a far page costs what a near one does.

use domain::page::{
    Direction::{self, Ascending, Descending},
    PageRequest,
};
use harness::TestDb;
use sqlx::{Executor, PgConnection};
use store::{TenantTx, assets, audit, cves, findings, reports, scan_runs};

/// A list in an order.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Findings(findings::Sort),
    Cves(cves::Sort),
    Runs(scan_runs::Sort),
    Reports(reports::Sort),
    Assets,
    Audit { with_installation: bool },
}

/// Each list and order, with what Postgres sorts the whole of it by. `dir` stands for the direction.
const LISTS: &[(Asked, &str)] = &[
    (Asked::Findings(findings::Sort::CompositeScore), "findings order by composite_score dir, id dir"),
    (Asked::Findings(findings::Sort::CvssScore), "findings order by cvss_score dir nulls last, id dir"),
    (Asked::Findings(findings::Sort::EpssScore), "findings order by epss_score dir nulls last, id dir"),
    (Asked::Findings(findings::Sort::FirstSeenAt), "findings order by first_seen_at dir, id dir"),
    (Asked::Findings(findings::Sort::ResolvedAt), "findings order by resolved_at dir nulls last, id dir"),
    (Asked::Findings(findings::Sort::PackageName), "findings order by package_name dir, id dir"),
    (Asked::Findings(findings::Sort::Status), "findings order by status dir, id dir"),
    (Asked::Cves(cves::Sort::CveId), "cves order by cve_id dir"),
    (Asked::Cves(cves::Sort::PublishedAt), "cves order by published_at dir nulls last, cve_id dir"),
    (Asked::Cves(cves::Sort::LastModifiedAt), "cves order by last_modified_at dir nulls last, cve_id dir"),
    (Asked::Cves(cves::Sort::CvssV31Score), "cves order by cvss_v31_score dir nulls last, cve_id dir"),
    (Asked::Cves(cves::Sort::CvssV4Score), "cves order by cvss_v4_score dir nulls last, cve_id dir"),
    (
        Asked::Cves(cves::Sort::EpssScore),
        "cves left join epss using (cve_id) order by score dir nulls last, cve_id dir",
    ),
    (
        Asked::Cves(cves::Sort::EpssPercentile),
        "cves left join epss using (cve_id) order by percentile dir nulls last, cve_id dir",
    ),
    (Asked::Runs(scan_runs::Sort::StartedAt), "scan_runs order by started_at dir, id dir"),
    (Asked::Runs(scan_runs::Sort::CompletedAt), "scan_runs order by completed_at dir nulls last, id dir"),
    (Asked::Runs(scan_runs::Sort::Status), "scan_runs order by status dir, id dir"),
    (Asked::Runs(scan_runs::Sort::SourceSlug), "scan_runs order by source_slug dir nulls last, id dir"),
    (Asked::Runs(scan_runs::Sort::RunType), "scan_runs order by run_type dir, id dir"),
    (Asked::Runs(scan_runs::Sort::RecordsProcessed), "scan_runs order by records_processed dir, id dir"),
    (Asked::Reports(reports::Sort::CreatedAt), "reports order by created_at dir, id dir"),
    (Asked::Reports(reports::Sort::ReportType), "reports order by report_type dir, id dir"),
    (Asked::Reports(reports::Sort::Status), "reports order by status dir, id dir"),
    (Asked::Reports(reports::Sort::Title), "reports order by title dir, id dir"),
    (Asked::Assets, "assets order by lower(hostname), id"),
    (
        Asked::Audit { with_installation: false },
        "audit_entries where tenant_id is not null order by at desc, id desc",
    ),
    (Asked::Audit { with_installation: true }, "audit_entries order by at desc, id desc"),
];

impl Asked {
    fn directions(self) -> &'static [Direction] {
        match self {
            Self::Assets | Self::Audit { .. } => &[Descending],
            _ => &[Descending, Ascending],
        }
    }

    /// What EPSS does not know comes behind what it does either way.
    fn is_in_two_parts(self) -> bool {
        matches!(self, Self::Cves(cves::Sort::EpssScore | cves::Sort::EpssPercentile))
    }

    /// The ids on a page, and how many rows the list says it has.
    async fn page(self, tx: &mut TenantTx, direction: Direction, page: PageRequest) -> (Vec<String>, i64) {
        match self {
            Self::Findings(sort) => {
                let page = findings::list(tx, &findings::Filter::default(), (sort, direction), page).await;
                ids(page, |row| row.id.to_string())
            }
            Self::Cves(sort) => {
                let page = cves::list(tx, &cves::Filter::default(), (sort, direction), page).await;
                ids(page, |row| row.cve_id.clone())
            }
            Self::Runs(sort) => {
                let page = scan_runs::list(tx, &scan_runs::Filter::default(), (sort, direction), page).await;
                ids(page, |row| row.id.to_string())
            }
            Self::Reports(sort) => {
                let page = reports::list(tx, &reports::Filter::default(), (sort, direction), page).await;
                ids(page, |row| row.id.to_string())
            }
            Self::Assets => {
                let page = assets::list(tx, &assets::Filter::default(), page).await;
                ids(page, |row| row.id.to_string())
            }
            Self::Audit { with_installation } => {
                let filter = audit::Filter { with_installation, ..audit::Filter::default() };
                ids(audit::list(tx, &filter, page).await, |row| row.id.to_string())
            }
        }
    }
}

fn ids<T>(page: store::Result<domain::page::Page<T>>, id: impl Fn(&T) -> String) -> (Vec<String>, i64) {
    let page = page.expect("a page");
    (page.items.iter().map(id).collect(), page.total)
}

/// A tenant whose lists have `rows` rows each: many equal ones, and some with nothing to be ordered by.
struct Estate {
    db: TestDb,
    owner: PgConnection,
    tenant: domain::id::TenantId,
}

impl Estate {
    async fn of(rows: i32) -> Self {
        let db = TestDb::new().await;
        let tenant = db.tenant("acme").await;
        let mut owner = store::db::connect_once(&db.owner_url).await.expect("the owner may connect");
        let source =
            "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
             values ('00000000-0000-7000-8000-00000000a000', 'planted', 'Planted', 'cve', 'nvd', 'http://127.0.0.1:1', 60)";
        owner.execute(source).await.expect("a source");
        let plant = [
            "insert into cves (cve_id, published_at, last_modified_at, cvss_v31_score, cvss_v4_score, source_id, content_hash)
             select 'CVE-2024-' || (10000 + n), case when n % 9 > 0 then now() - n % 300 * interval '1 day' end,
                    case when n % 8 > 0 then now() - n % 200 * interval '1 day' end, nullif(n % 11, 0), nullif(n % 4, 0),
                    '00000000-0000-7000-8000-00000000a000', '\\x00'
               from generate_series(1, $1) n",
            "insert into epss (cve_id, score, percentile)
             select 'CVE-2024-' || (10000 + n), (n % 50) / 50.0, (n % 70) / 70.0 from generate_series(1, $1) n where n % 2 > 0",
            "insert into assets (tenant_id, id, kind, hostname)
             select t.id, gen_random_uuid(), 'host', case when n % 2 = 0 then 'Host-' else 'host-' end || n
               from generate_series(1, $1) n, tenants t",
            "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
             select sha256(convert_to('pkg-' || n, 'UTF8')), 'Debian:12', 'pkg-' || n, '1.0', 'pkg-' || n, '1.0'
               from generate_series(1, $1 / 100) n",
            "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                                   confidence, vendor_state, severity, cvss_score, epss_score, is_kev, composite_score, evidence, status,
                                   resolved_at, first_seen_at)
             select a.tenant_id, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version,
                    'confirmed', 'affected', (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], nullif(p.id % 11, 0),
                    case when p.id % 3 > 0 then (p.id % 10) / 10.0 end, p.id % 10 = 0, (p.id % 8)::real, '{}',
                    case when p.id % 5 = 0 then 'resolved' else 'open' end, case when p.id % 5 = 0 then now() end,
                    now() - p.id * interval '1 hour'
               from (select tenant_id, id from assets order by id limit 100) a cross join package_versions p",
            "insert into scan_runs (id, tenant_id, run_type, source_slug, status, started_at, completed_at, records_processed)
             select gen_random_uuid(), case when n % 3 > 0 then t.id end,
                    (array['source_crawl', 'inventory', 'correlation'])[1 + n % 3], case when n % 3 = 0 then 'planted' end,
                    case when n % 10 = 0 then 'running' else 'success' end, now() - n / 4 * interval '1 minute',
                    case when n % 10 > 0 then now() - n / 5 * interval '1 minute' end, n % 40
               from generate_series(1, $1) n, tenants t",
            "insert into reports (tenant_id, id, title, report_type, format, status, created_at)
             select t.id, gen_random_uuid(), 'Posture ' || n % 60, (array['findings', 'executive_summary'])[1 + n % 2], 'pdf',
                    (array['generating', 'completed', 'failed'])[1 + n % 3], now() - n / 3 * interval '1 minute'
               from generate_series(1, $1) n, tenants t",
            "insert into audit_entries (tenant_id, at, actor, action, target_type, sequence, hash)
             select case when n % 4 > 0 then t.id end, now() - (n / 6) * interval '1 minute', 'ada', 'user.update', 'user',
                    row_number() over (partition by n % 4 > 0 order by n desc), sha256('')
               from generate_series(1, $1) n, tenants t",
        ];
        for statement in plant {
            sqlx::query(statement).bind(rows).execute(&mut owner).await.expect("planted");
        }
        owner.execute("analyze").await.expect("looked at");
        Self { db, owner, tenant }
    }

    /// As an administrator of the installation, whose trail is one of two chains.
    async fn begin(&self) -> TenantTx {
        let by = audit::By { actor: "ada".into(), is_instance_admin: true, ..audit::By::default() };
        self.db.app.begin_by(self.tenant, &by).await.expect("a transaction")
    }
}

/// Asks for the pages of `size` rows that `numbers` makes of the number of all rows, of every list in every order.
async fn expect_pieces(estate: &mut Estate, size: u32, numbers: impl Fn(u32) -> Vec<u32>) {
    for (asked, order) in LISTS {
        for direction in asked.directions() {
            let word = if *direction == Descending { " desc" } else { " asc" };
            let id = if matches!(asked, Asked::Cves(_)) { "cve_id" } else { "id::text" };
            let statement = format!("select {id} from {}", order.replace(" dir", word));
            let all: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_all(&mut estate.owner)
                .await
                .expect("sorted");
            assert!(all.len() > 2_000, "{asked:?}: {} rows", all.len());
            let rows = u32::try_from(all.len()).expect("few");
            let mut tx = estate.begin().await;
            for number in numbers(rows) {
                let place = format!("{asked:?} {direction:?}, page {number}");
                let (ids, total) = asked.page(&mut tx, *direction, PageRequest::numbered(number, size)).await;
                let wanted = all.iter().skip((number - 1) as usize * size as usize).take(size as usize);
                assert!(ids.iter().eq(wanted), "{place}");
                assert_eq!(total, i64::from(rows), "{place}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_every_list_in_every_order_are_the_whole_list_cut_into_pieces() {
    const SIZE: u32 = 470;
    let mut estate = Estate::of(3_000).await;
    // The farthest first: the walk to it is a help to the others, and must not change them.
    expect_pieces(&mut estate, SIZE, |rows| (1..=rows / SIZE + 2).rev().collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_page_is_the_same_from_wherever_it_is_come_to() {
    const SIZE: u32 = 50;
    let mut estate = Estate::of(21_000).await;
    // From the beginning of the list, from its end, from the mark before, and from the one behind.
    expect_pieces(&mut estate, SIZE, |rows| {
        let of = |percent: u32| rows * percent / 100 / SIZE;
        vec![of(49), rows / SIZE, of(60), of(85), rows / SIZE + 3]
    })
    .await;
}

/// Rows and entries of indexes that this connection has looked at, in any table.
pub(crate) async fn looked_at(tx: &mut TenantTx) -> i64 {
    sqlx::query_scalar(
        "select sum(pg_stat_get_xact_tuples_returned(oid))::bigint from pg_class
          where relnamespace = 'public'::regnamespace and relkind in ('r', 'i')",
    )
    .fetch_one(&mut **tx)
    .await
    .expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_however_far_is_read_from_an_index_and_its_total_is_not_counted() {
    const ROWS: i32 = 20_000;
    /// Five hundred or so entries of an index behind a mark, and fifty rows with what is joined to them. Or rather more entries of another
    /// index, where the planner of so small a table thinks that as good.
    const FEW: i64 = 7_000;
    let estate = Estate::of(ROWS).await;
    let mut too_many = Vec::new();
    for (asked, _) in LISTS {
        for direction in asked.directions() {
            let (_, total) = asked.page(&mut estate.begin().await, *direction, PageRequest::default()).await;
            let last = u32::try_from(total).expect("few") / 50;
            for number in [1, 150, last] {
                let mut tx = estate.begin().await;
                // So few rows are read faster whole than some of them by an index; of a million that is not so.
                tx.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
                    .await
                    .expect("set");
                // Who comes first leaves marks on the way, and what is read then begins somewhere between them.
                let before = looked_at(&mut tx).await;
                asked.page(&mut tx, *direction, PageRequest::numbered(number, 50)).await;
                let first = looked_at(&mut tx).await - before;
                if number == last && *direction == Descending && !asked.is_in_two_parts() && first >= FEW {
                    too_many.push(format!("{asked:?}: {first} rows were looked at on the way from its end"));
                }
                let page = PageRequest::numbered(number.max(2) - 1, 50);
                let before = looked_at(&mut tx).await;
                let (ids, _) = asked.page(&mut tx, *direction, page).await;
                let looked_at = looked_at(&mut tx).await - before;
                let place = format!("{asked:?} {direction:?}, page {} of {last}", page.page());
                assert_eq!(ids.len(), 50, "{place}");
                if !(1..FEW).contains(&looked_at) {
                    too_many.push(format!("{place}: {looked_at} of {total} rows were looked at"));
                }
            }
        }
    }
    assert!(too_many.is_empty(), "{too_many:#?}");
}
