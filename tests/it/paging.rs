//! Long lists: a far page is what a reader of all rows would find there, and a total is what a count would say.

use futures::StreamExt;
use harness::TestApp;
use serde_json::Value;

const ASSETS: i64 = 40;
const FINDINGS: i64 = 4_000;

/// A tenant with four thousand findings of few different scores, so that many are equal.
async fn estate() -> TestApp {
    let app = TestApp::set_up().await;
    let tenant = app.tenant().await;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname)
         select $1, gen_random_uuid(), 'host', 'host-' || n from generate_series(1, 40) n",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('pkg-' || n || left($1::text, 0), 'UTF8')), 'Debian:12', 'pkg-' || n, '1.0', 'pkg-' || n, '1.0'
           from generate_series(1, 100) n",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               fixed_version, confidence, vendor_state, severity, cvss_score, is_kev, has_exploit, composite_score,
                               evidence, first_seen_at)
         select $1, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version,
                case when p.id % 3 = 0 then '1.1' end, 'confirmed', 'affected',
                (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], nullif(p.id % 11, 0), p.id % 10 = 0, p.id % 7 = 0,
                (p.id % 8)::real, '{}', now() - p.id * interval '1 hour'
           from assets a cross join package_versions p where a.tenant_id = $1",
    ] {
        sqlx::query(statement).bind(tenant.0).execute(app.db.pool()).await.expect("planted");
    }
    app
}

async fn page(app: &TestApp, query: &str) -> (Vec<String>, i64) {
    let page = app.get(&format!("/api/vuln-matches?{query}")).await.expect(200).json();
    let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
    let ids = page["data"].as_array().expect("rows").iter().map(id).collect();
    (ids, page["total"].as_i64().expect("a total"))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_order_and_filter_are_the_whole_list_cut_into_pieces() {
    let app = estate().await;
    for (query, order) in [
        ("sort=composite_score&sort_dir=desc", "composite_score desc, id desc"),
        ("sort=composite_score&sort_dir=asc", "composite_score, id"),
        ("sort=first_seen_at&sort_dir=desc", "first_seen_at desc, id desc"),
        ("sort=cvss_score&sort_dir=desc", "cvss_score desc nulls last, id desc"),
        ("sort=cvss_score&sort_dir=asc", "cvss_score nulls last, id"),
        ("sort=package_name&sort_dir=asc", "package_name, id"),
        ("sort=composite_score&sort_dir=desc&severity=high", "composite_score desc, id desc"),
    ] {
        let narrowed = if query.contains("severity") { "where severity = 'high'" } else { "" };
        let statement = format!("select id::text from findings {narrowed} order by {order}");
        let all: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(app.db.pool()).await.expect("read");
        let size = 130;
        // The farthest page first: what is walked to it is a help to the others, and must not change them.
        for number in (1..=all.len() / size + 2).rev() {
            let (ids, total) = page(&app, &format!("{query}&page_size={size}&page={number}")).await;
            let wanted: Vec<String> = all.iter().skip((number - 1) * size).take(size).cloned().collect();
            assert_eq!(ids, wanted, "{query}, page {number}");
            assert_eq!(total, i64::try_from(all.len()).expect("few"), "{query}, page {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_one_page_after_another_sees_every_row_once_whatever_goes_meanwhile() {
    let app = estate().await;
    let query = "sort=composite_score&sort_dir=desc&page_size=50";
    let before: Vec<String> =
        sqlx::query_scalar("select id::text from findings order by composite_score desc, id desc")
            .fetch_all(app.db.pool())
            .await
            .expect("read");
    // One is walked to from the beginning of the list, the other one from its end, when it is ten rows shorter.
    for (number, gone) in [(31, 0), (78, 10)] {
        let mut seen = page(&app, &format!("{query}&page={number}")).await.0;
        // Ten rows before it are gone: by numbers alone, the next page would begin ten rows too late.
        sqlx::query("delete from findings where id::text = any ($1)")
            .bind(&before[number..number + 10])
            .execute(app.db.pool())
            .await
            .expect("gone");
        let (next, total) = page(&app, &format!("{query}&page={}", number + 1)).await;
        seen.extend(next);
        let from = (number - 1) * 50 + gone;
        assert_eq!(seen, before[from..from + 100], "page {number} and the next");
        assert_eq!(usize::try_from(total).expect("few"), before.len() - gone - 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_cves_follow_whatever_changes_what_they_are_found_by() {
    let app = TestApp::set_up().await;
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(app.db.pool()).await.expect("done");
    };
    run("insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         values ('00000000-0000-7000-8000-00000000a000', 'planted', 'Planted', 'cve', 'nvd', 'http://127.0.0.1:1', 60)")
        .await;
    let filters = [
        ("search=OpenSSL", "description ilike '%openssl%'"),
        ("search=openssl&cvss_min=5", "description ilike '%openssl%' and base_score >= 5"),
        ("epss_min=0.4", "cve_id in (select cve_id from epss where score >= 0.4)"),
        ("kev=true", "cve_id in (select cve_id from kev)"),
    ];
    let agree = async |when: &str| {
        for (filter, condition) in filters {
            let statement = format!("select count(*) from cves where {condition}");
            let counted: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(app.db.pool())
                .await
                .expect("counted");
            // The second time from what was counted the first time.
            for _ in 0..2 {
                let page = app.get(&format!("/api/cves?{filter}&page_size=1")).await.expect(200).json();
                assert_eq!(page["total"], counted, "{filter} after {when}");
            }
        }
    };
    run("insert into cves (cve_id, description, cvss_v31_score, source_id, content_hash)
         select 'CVE-2024-' || (1000 + n), case when n % 2 = 0 then 'A flaw in OpenSSL' else 'Another' end, n % 10, id, '\\x00'
           from generate_series(1, 100) n, sources where slug = 'planted'")
        .await;
    agree("CVEs came").await;
    run("insert into epss (cve_id, score, percentile) select cve_id, base_score / 10, 0 from cves").await;
    run("insert into kev (cve_id, vendor, product, name, description, required_action, date_added, ransomware, notes, content_hash)
         select cve_id, '', '', '', '', '', now(), false, '', '\\x00' from cves where base_score > 7")
        .await;
    agree("EPSS and KEV came").await;
    let mut slow = store::db::begin_transaction(app.db.pool(), "begin").await.expect("a transaction");
    for statement in [
        "update cves set description = 'A flaw in OpenSSL' where base_score = 7",
        "update epss set score = 1 - score where score < 0.4",
        "delete from kev where cve_id < 'CVE-2024-1050'",
    ] {
        sqlx::query(statement).execute(&mut *slow).await.expect("done");
    }
    agree("changes that are not committed").await;
    slow.commit().await.expect("committed");
    agree("they are").await;
    run("delete from cves where cve_id < 'CVE-2024-1050'").await;
    agree("CVEs have gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_exact_whatever_adds_changes_and_removes_rows() {
    let app = estate().await;
    let tenant = app.tenant().await;
    let asset: String = sqlx::query_scalar("select id::text from assets order by id desc limit 1")
        .fetch_one(app.db.pool())
        .await
        .expect("one");
    let (of_asset, is_of_asset) = (
        format!("asset_id={asset}&status=open&min_score=2"),
        format!("asset_id = '{asset}' and status = 'open' and composite_score >= 2"),
    );
    let filters = [
        ("", "true"),
        ("status=open", "status = 'open'"),
        ("status=resolved", "status = 'resolved'"),
        ("severity=critical", "severity = 'critical'"),
        ("kev=true", "is_kev"),
        ("has_exploit=false&severity=low", "not has_exploit and severity = 'low'"),
        ("patch_available=true", "fixed_version is not null"),
        ("min_score=3&max_score=5", "composite_score between 3 and 5"),
        (
            "min_score=2.5&status=open&severity=low,high&kev=false",
            "composite_score >= 2.5 and status = 'open' and severity in ('low', 'high') and not is_kev",
        ),
        ("max_score=4&patch_available=false", "composite_score <= 4 and fixed_version is null"),
        ("max_score=6&sort=last_confirmed_at", "composite_score <= 6"),
        ("cve_id=CVE-2024-10005&min_score=1", "vulnerability = 'CVE-2024-10005' and composite_score >= 1"),
        (&of_asset, &is_of_asset),
    ];
    let agree = async |when: &str| {
        for (filter, condition) in filters {
            let statement = format!("select count(*) from findings where {condition}");
            let counted: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(app.db.pool())
                .await
                .expect("counted");
            assert_eq!(
                page(&app, &format!("{filter}&page_size=1")).await.1,
                counted,
                "{filter} after {when}"
            );
        }
    };
    agree("planting").await;
    assert_eq!(page(&app, "page_size=1").await.1, FINDINGS);
    // As many statements as it takes to fold more than once, in transactions that overlap, some of which come to nothing.
    let work = (0..40_i64).map(|n| {
        let db = app.db.app.clone();
        async move {
            let mut tx = db.begin(tenant).await.expect("a transaction");
            for statement in [
                "update findings set status = 'resolved', resolved_at = now() where package_version_id % 40 = $1",
                "update findings set severity = 'low', is_kev = not is_kev where package_version_id % 40 = $1",
                "update findings set composite_score = 9 - composite_score where package_version_id % 40 = $1",
                "delete from findings where package_version_id % 40 = $1 and package_version_id % 3 = 0",
            ] {
                sqlx::query(statement).bind(n).execute(&mut *tx).await.expect("done");
            }
            if n % 4 == 0 { drop(tx) } else { tx.commit().await.expect("committed") }
        }
    });
    futures::stream::iter(work).buffer_unordered(6).collect::<Vec<()>>().await;
    agree("much work").await;
    let asset = "delete from assets where id = (select id from assets order by id limit 1)";
    sqlx::query(asset).execute(app.db.pool()).await.expect("an asset goes with its findings");
    agree("an asset has gone").await;
    assert_eq!(app.get("/api/assets?page_size=1").await.expect(200).json()["total"], ASSETS - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_the_assets_that_a_cve_concerns_are_paged_and_counted_alike() {
    let app = estate().await;
    let tenant = app.tenant().await;
    for statement in [
        "insert into alerts (tenant_id, id, alert_type, severity, title, message, subject, created_at, acknowledged_at)
         select $1, gen_random_uuid(), 'custom', (array['high', 'low'])[1 + n % 2], 'alert', '', 'subject-' || n,
                now() - (n / 10) * interval '1 minute', case when n % 5 > 0 then now() end
           from generate_series(1, 1600) n",
        // One CVE of every asset, in two packages of different scores each, some of which are resolved.
        "update findings set vulnerability = 'CVE-2024-1', composite_score = (hashtext(id::text) & 7),
                status = case when asset_id < '80000000-0000-0000-0000-000000000000' then 'resolved' else 'in_review' end,
                resolved_at = case when asset_id < '80000000-0000-0000-0000-000000000000' then now() end
          where tenant_id = $1 and package_name in ('pkg-1', 'pkg-2')",
        "insert into sources (id, slug, name, category, feed, url, crawl_interval_minutes)
         select $1, 'planted', 'Planted', 'cve', 'nvd', 'http://127.0.0.1:1', 60",
        "insert into cves (cve_id, source_id, content_hash)
         select 'CVE-2024-1', id, '\\x00' from sources where $1 is not null limit 1",
    ] {
        sqlx::query(statement).bind(tenant.0).execute(app.db.pool()).await.expect("planted");
    }
    let newest = "from alerts where true order by created_at desc, id desc";
    let worst = "from (select asset_id as id, max(composite_score) as score from findings
                        where vulnerability = 'CVE-2024-1' and status <> 'resolved' group by 1) a order by score desc, id";
    let cases = [
        ("/api/alerts?", newest.to_owned()),
        ("/api/alerts?acknowledged=false&", newest.replace("true", "acknowledged_at is null")),
        (
            "/api/alerts?acknowledged=true&severity=LOW&",
            newest.replace("true", "acknowledged_at is not null and severity = 'low'"),
        ),
        ("/api/cves/CVE-2024-1/affected-assets?", worst.to_owned()),
        (
            "/api/assets?hostname=OST-1&",
            "from assets where hostname ilike '%ost-1%' order by lower(hostname), id".to_owned(),
        ),
    ];
    for (list, from) in cases {
        let statement = format!("select id::text {from}");
        let all: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(app.db.pool()).await.expect("read");
        assert!(all.len() > 5, "{list}: only {} rows", all.len());
        let size = all.len() / 12 + 1;
        for number in (1..=all.len() / size + 2).rev() {
            let page = app.get(&format!("{list}page_size={size}&page={number}")).await.expect(200).json();
            let ids: Vec<&str> =
                page["data"].as_array().expect("rows").iter().filter_map(|row| row["id"].as_str()).collect();
            let wanted: Vec<&String> = all.iter().skip((number - 1) * size).take(size).collect();
            assert_eq!(ids, wanted, "{list}, page {number}");
            assert_eq!(page["total"], all.len(), "{list}, page {number}");
        }
    }
    let one = app.get("/api/cves/CVE-2024-1/affected-assets?page_size=1").await.expect(200).json();
    assert_eq!(one["data"][0]["packages"], serde_json::json!(["pkg-1", "pkg-2"]));
    assert_eq!(one["data"][0]["statuses"], serde_json::json!(["in_review"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_folded_and_stay_few() {
    let app = estate().await;
    let tenant = app.tenant().await;
    for n in 0..300_i64 {
        let mut tx = app.db.app.begin(tenant).await.expect("a transaction");
        sqlx::query("update findings set is_kev = not is_kev where package_version_id = 1 + $1 % 100")
            .bind(n)
            .execute(&mut *tx)
            .await
            .expect("done");
        tx.commit().await.expect("committed");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from finding_counts")
        .fetch_one(app.db.pool())
        .await
        .expect("counted");
    // Without folding there were six hundred more than the fifty or so different ones.
    assert!(rows < 550, "{rows} rows are kept");
    assert_eq!(page(&app, "page_size=1").await.1, FINDINGS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_index_has_in_order_is_bounded_and_says_how_to_go_on() {
    let app = estate().await;
    let order = "sort=last_confirmed_at&sort_dir=desc&page_size=500";
    let ids = page(&app, order).await.0;
    let sorted: Vec<String> = sqlx::query_scalar(
        "select f.id::text from findings f join assets a on a.id = f.asset_id
          order by greatest(f.last_confirmed_at, a.correlated_at) desc, f.id desc limit 500",
    )
    .fetch_all(app.db.pool())
    .await
    .expect("read");
    assert_eq!(ids, sorted);
    for copy in ["b", "c"] {
        sqlx::query(
            "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id,
                                   installed_version, confidence, vendor_state, severity, composite_score, evidence)
             select tenant_id, gen_random_uuid(), asset_id, ecosystem, package_name, vulnerability || $1, package_version_id,
                    installed_version, confidence, vendor_state, severity, composite_score, evidence
               from findings where vulnerability !~ '[bc]$'",
        )
        .bind(copy)
        .execute(app.db.pool())
        .await
        .expect("planted");
    }
    let refused = app.get(&format!("/api/vuln-matches?{order}")).await.expect(422).json();
    let said = refused["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("10000") && said.contains("12000") && said.contains("asset_id"), "{refused}");
    let asset: String = sqlx::query_scalar("select id::text from assets limit 1")
        .fetch_one(app.db.pool())
        .await
        .expect("one");
    assert_eq!(page(&app, &format!("{order}&asset_id={asset}")).await.1, 300);

    app.get("/api/jobs?page=200&page_size=50").await.expect(200);
    let refused = app.get("/api/jobs?page=201&page_size=50").await.expect(422).json();
    assert!(refused.to_string().contains("next_cursor"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documents_spelling_asks_for_the_same_rows() {
    let app = estate().await;
    let usual = "sort=first_seen_at&sort_dir=desc&page=3&page_size=20&severity=high&severity=low";
    let (ids, total) = page(&app, usual).await;
    let counted: i64 = sqlx::query_scalar("select count(*) from findings where severity in ('high', 'low')")
        .fetch_one(app.db.pool())
        .await
        .expect("counted");
    assert_eq!((ids.len(), total), (20, counted));
    for query in [
        "sort=-first_seen_at&page=3&per_page=20&severity=HIGH,LOW",
        "sort=firstSeenAt:desc&page=3&limit=20&severity=High&severity=low",
        "sort_by=firstSeenAt&sort_order=DESC&offset=40&limit=20&severity=low,high",
        "sort=-firstSeenAt&skip=40&pageSize=20&severity=low&severity=high,low",
    ] {
        assert_eq!(page(&app, query).await, (ids.clone(), total), "{query}");
    }
    // Rows that no page of this size begins with.
    let (shifted, _) = page(&app, "sort=-first_seen_at&offset=47&limit=13&severity=high,low").await;
    assert_eq!(shifted, ids[7..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_two_documents_share_is_written_as_either_has_it_and_says_where_the_next_page_is() {
    let app = TestApp::set_up().await;
    sqlx::query(
        "insert into reports (tenant_id, id, title, report_type, format, status, created_at)
         select t.id, gen_random_uuid(), 'Posture ' || n, 'findings', 'pdf', 'failed', now() - n * interval '1 minute'
           from generate_series(1, 5) n, tenants t",
    )
    .execute(app.db.pool())
    .await
    .expect("planted");
    let mut path = "/api/reports?limit=2&sort=createdAt:desc&status=FAILED".to_owned();
    let mut titles = Vec::new();
    for number in 1..=3 {
        let page = app.get(&path).await.expect(200).json();
        assert_eq!(
            (&page["total"], &page["page"], &page["page_size"]),
            (&5.into(), &number.into(), &2.into())
        );
        assert_eq!(
            (&page["meta"]["totalPages"], &page["meta"]["pageSize"]),
            (&3.into(), &2.into()),
            "{page}"
        );
        assert_eq!(page["links"]["self"], path, "{page}");
        assert_eq!(page["links"]["prev"].is_null(), number == 1, "{page}");
        let rows = page["data"].as_array().expect("rows").iter();
        titles.extend(rows.map(|row| row["title"].as_str().expect("a title").to_owned()));
        match page["links"]["next"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => assert_eq!(number, 3, "{page}"),
        }
    }
    assert_eq!(titles, [1, 2, 3, 4, 5].map(|n| format!("Posture {n}")));
    let head = app.request(http::Method::HEAD, &path).body(axum::body::Body::empty()).expect("a request");
    let (head, whole) = (app.send(head).await, app.get(&path).await);
    assert_eq!(head.header("content-length"), Some(whole.bytes.len().to_string().as_str()));
    assert!(head.bytes.is_empty());
    let refused = app.get("/api/reports?limit=201").await.expect(422).json();
    assert!(refused["errors"][0]["message"].as_str().is_some_and(|said| said.contains("201")), "{refused}");
}
