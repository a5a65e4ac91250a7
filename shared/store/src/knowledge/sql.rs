//! The statements of a merge.
//!
//! One statement a table compares what was staged with what is there: rows that differ are updated, new ones inserted, missing
//! ones deleted, and rows whose `content_hash` is the same are not touched, not even locked (`on conflict do update … where` would
//! lock them, and so write to every page). Locks of the source, and of tables that sources share, keep others from merging
//! meanwhile.

/// What a merge does first in a table whose rows are of all sources of the catalogue: rows name the sources that have them, and say what the first
/// one says. The source ($1) claims what it holds, and lets go of what it does not hold any more; where it was the first, the next one has to be
/// read again, whatever its validators say, since its words count now.
macro_rules! shared {
    ($table:literal) => {
        &[
            concat!(
                "update ",
                $table,
                " k set sources = k.sources || $1
                   from staged_",
                $table,
                " s where k.cve_id = s.cve_id and not $1 = any (k.sources)"
            ),
            concat!(
                "update sources set etag = null, last_modified = null, content_digest = null
                  where id in (select k.sources[2] from ",
                $table,
                " k
                                where k.sources[1] = $1 and cardinality(k.sources) > 1
                                  and not exists (select from staged_",
                $table,
                " s where s.cve_id = k.cve_id))"
            ),
            concat!(
                "update ",
                $table,
                " k set sources = array_remove(k.sources, $1)
                  where $1 = any (k.sources)
                    and not exists (select from staged_",
                $table,
                " s where s.cve_id = k.cve_id)"
            ),
        ]
    };
}

pub(super) const SHARED_KEV: &[&str] = shared!("kev");
pub(super) const SHARED_EPSS: &[&str] = shared!("epss");

pub(super) const CREATE_KEV: &str = "create temp table staged_kev on commit drop as
    select cve_id, vendor, product, name, description, required_action, date_added, due_date, ransomware, notes,
           content_hash
      from kev with no data";

pub(super) const COPY_KEV: &str =
    "copy staged_kev (cve_id, vendor, product, name, description, required_action,
    date_added, due_date, ransomware, notes, content_hash) from stdin";

pub(super) const MERGE_KEV: &str = "
    with changed as (
        update kev k
           set vendor = s.vendor, product = s.product, name = s.name, description = s.description,
               required_action = s.required_action, date_added = s.date_added, due_date = s.due_date,
               ransomware = s.ransomware, notes = s.notes, content_hash = s.content_hash
          from staged_kev s
         where k.cve_id = s.cve_id and k.sources[1] = $1 and k.content_hash <> s.content_hash
     returning 1
    ), added as (
        insert into kev (cve_id, vendor, product, name, description, required_action, date_added, due_date,
                         ransomware, notes, content_hash, sources)
        select cve_id, vendor, product, name, description, required_action, date_added, due_date, ransomware, notes,
               content_hash, array[$1]
          from staged_kev s
         where not exists (select from kev k where k.cve_id = s.cve_id)
     returning 1
    ), gone as (
        delete from kev k
         where k.sources = '{}' and not exists (select from staged_kev s where s.cve_id = k.cve_id)
     returning 1
    )
    select (select count(*) from added) as created, (select count(*) from changed) as updated,
           (select count(*) from gone) as removed";

pub(super) const CREATE_EPSS: &str = "create temp table staged_epss on commit drop as
    select cve_id, score, percentile from epss with no data";

pub(super) const COPY_EPSS: &str = "copy staged_epss (cve_id, score, percentile) from stdin";

pub(super) const MERGE_EPSS: &str = "
    with changed as (
        update epss e set score = s.score, percentile = s.percentile
          from staged_epss s
         where e.cve_id = s.cve_id and e.sources[1] = $1 and (e.score <> s.score or e.percentile <> s.percentile)
     returning 1
    ), added as (
        insert into epss (cve_id, score, percentile, sources)
        select cve_id, score, percentile, array[$1]
          from staged_epss s
         where not exists (select from epss e where e.cve_id = s.cve_id)
     returning 1
    ), gone as (
        delete from epss e
         where e.sources = '{}' and not exists (select from staged_epss s where s.cve_id = e.cve_id)
     returning 1
    )
    select (select count(*) from added) as created, (select count(*) from changed) as updated,
           (select count(*) from gone) as removed";

pub(super) const CREATE_CVES: &str = "create temp table staged_cves on commit drop as
    select cve_id, description, published_at, last_modified_at, nvd_status, cvss_v2_score, cvss_v31_score,
           cvss_v31_vector, cvss_v4_score, cvss_v4_vector, cwes, cve_references, has_exploit, content_hash
      from cves with no data";

pub(super) const COPY_CVES: &str =
    "copy staged_cves (cve_id, description, published_at, last_modified_at, nvd_status,
    cvss_v2_score, cvss_v31_score, cvss_v31_vector, cvss_v4_score, cvss_v4_vector, cwes, cve_references,
    has_exploit, content_hash) from stdin";

/// Nothing is removed: the NVD may have been asked for what changed lately.
pub(super) const MERGE_CVES: &str = "
    with changed as (
        update cves c
           set description = s.description, published_at = s.published_at, last_modified_at = s.last_modified_at,
               nvd_status = s.nvd_status, cvss_v2_score = s.cvss_v2_score, cvss_v31_score = s.cvss_v31_score,
               cvss_v31_vector = s.cvss_v31_vector, cvss_v4_score = s.cvss_v4_score,
               cvss_v4_vector = s.cvss_v4_vector, cwes = s.cwes, cve_references = s.cve_references,
               has_exploit = s.has_exploit, source_id = $1, content_hash = s.content_hash
          from staged_cves s
         where c.cve_id = s.cve_id and c.content_hash <> s.content_hash
     returning 1
    ), added as (
        insert into cves (cve_id, description, published_at, last_modified_at, nvd_status, cvss_v2_score,
                          cvss_v31_score, cvss_v31_vector, cvss_v4_score, cvss_v4_vector, cwes, cve_references,
                          has_exploit, source_id, content_hash)
        select cve_id, description, published_at, last_modified_at, nvd_status, cvss_v2_score, cvss_v31_score,
               cvss_v31_vector, cvss_v4_score, cvss_v4_vector, cwes, cve_references, has_exploit, $1, content_hash
          from staged_cves s
         where not exists (select from cves c where c.cve_id = s.cve_id)
     returning 1
    )
    select (select count(*) from added) as created, (select count(*) from changed) as updated, 0::bigint as removed";

pub(super) const CREATE_ADVISORIES: &str = "create temp table staged_advisories on commit drop as
    select external_id, cves, aliases, title, summary, severity, cvss_score, cvss_vector, published_at, modified_at,
           withdrawn_at, url, advisory_references, informational, content_hash
      from advisories with no data";

pub(super) const COPY_ADVISORIES: &str =
    "copy staged_advisories (external_id, cves, aliases, title, summary, severity,
    cvss_score, cvss_vector, published_at, modified_at, withdrawn_at, url, advisory_references, informational,
    content_hash) from stdin";

pub(super) const CREATE_RANGES: &str = "create temp table staged_ranges on commit drop as
    select ''::text as external_id, platform, package, vulnerability, state, tier, introduced, introduced_key, bound,
           bound_version, bound_key, note
      from affected_ranges with no data";

pub(super) const COPY_RANGES: &str =
    "copy staged_ranges (external_id, platform, package, vulnerability, state, tier,
    introduced, introduced_key, bound, bound_version, bound_key, note) from stdin";

/// Advisories whose ranges are to be written.
pub(super) const CREATE_TOUCHED: &str = "create temp table touched_advisories (
    id bigint not null, external_id text not null, is_new boolean not null) on commit drop";

pub(super) const COUNT_RANGES: &str = "
    select (select count(*) from affected_ranges r join advisories a on a.id = r.advisory_id where a.source_id = $1),
           (select count(*) from staged_ranges)";

pub(super) const MERGE_ADVISORIES: &str = "
    with changed as (
        update advisories a
           set cves = s.cves, aliases = s.aliases, title = s.title, summary = s.summary, severity = s.severity,
               cvss_score = s.cvss_score, cvss_vector = s.cvss_vector, published_at = s.published_at,
               modified_at = s.modified_at, withdrawn_at = s.withdrawn_at, url = s.url,
               advisory_references = s.advisory_references, informational = s.informational,
               content_hash = s.content_hash
          from staged_advisories s
         where a.source_id = $1 and a.external_id = s.external_id and a.content_hash <> s.content_hash
     returning a.id, a.external_id
    ), added as (
        insert into advisories (source_id, external_id, cves, aliases, title, summary, severity, cvss_score,
                                cvss_vector, published_at, modified_at, withdrawn_at, url, advisory_references,
                                informational, content_hash)
        select $1, external_id, cves, aliases, title, summary, severity, cvss_score, cvss_vector, published_at,
               modified_at, withdrawn_at, url, advisory_references, informational, content_hash
          from staged_advisories s
         where not exists (select from advisories a where a.source_id = $1 and a.external_id = s.external_id)
     returning id, external_id
    ), gone as (
        delete from advisories a
         where a.source_id = $1
           and not exists (select from staged_advisories s where s.external_id = a.external_id)
     returning 1
    ), touched as (
        insert into touched_advisories (id, external_id, is_new)
        select id, external_id, false from changed union all select id, external_id, true from added
    )
    select (select count(*) from added) as created, (select count(*) from changed) as updated,
           (select count(*) from gone) as removed";

pub(super) const DELETE_RANGES: &str =
    "delete from affected_ranges r using touched_advisories t where r.advisory_id = t.id and not t.is_new";

pub(super) const INSERT_RANGES: &str = "
    insert into affected_ranges (advisory_id, platform, package, vulnerability, state, tier, introduced,
                                 introduced_key, bound, bound_version, bound_key, note)
    select t.id, s.platform, s.package, s.vulnerability, s.state, s.tier, s.introduced, s.introduced_key, s.bound,
           s.bound_version, s.bound_key, s.note
      from touched_advisories t
      join staged_ranges s on s.external_id = t.external_id
     order by s.platform, s.package, s.vulnerability";
