//! The statements of a correlation.

/// How the statements below are planned and run. The cursor is read to its end, so that a plan which starts quickly is of no use; one
/// asset and all of a tenant need plans that differ, so that none is kept; sorts get more memory than a request's would.
pub(super) const SETTINGS: &[&str] = &[
    "set local cursor_tuple_fraction = 1",
    "set local plan_cache_mode = force_custom_plan",
    "set local work_mem = '64MB'",
    "set local jit = off",
];

/// For one asset: its few hundred packages are looked up one by one, in an index that is in memory, faster than all ranges are read.
pub(super) const PREFER_LOOKUPS: &str = "set local random_page_cost = 1.1";

/// The assets that are compared, as they were last seen. Whoever's inventory is read while we compare is not among those who are
/// merged: what we judged is not what it has.
pub(super) const CREATE_COMPARED: &str = "create temp table compared on commit drop as
    select id as asset_id, last_seen_at, correlated_at as confirmed_at, false as is_current
      from assets
     where tenant_id = $1 and ($2::uuid is null or id = $2)";

pub(super) const CREATE_JUDGED_OF_ASSET: &str = "create temp table judged on commit drop as
    select distinct v.platform, v.judged_name, v.judged_version, v.judged_key
      from asset_packages p
      join package_versions v on v.id = p.package_version_id
     where p.tenant_id = $1 and p.asset_id = $2";

pub(super) const CREATE_JUDGED_OF_TENANT: &str = "create temp table judged on commit drop as
    select distinct v.platform, v.judged_name, v.judged_version, v.judged_key
      from package_versions v
     where exists (select from asset_packages p where p.package_version_id = v.id and p.tenant_id = $1)";

/// `hits` has the problems of a package of which some range contains its version, or cannot be compared with it. It may have too
/// many, never too few: the engine decides. A range that names one version and not ours says nothing, so it is left out: of such
/// there may be hundreds.
pub(super) const DECLARE_CANDIDATES: &str = "declare candidates no scroll cursor for
    with hits as materialized (
        select distinct j.platform, j.judged_name, j.judged_version, j.judged_key, r.vulnerability
          from judged j
          join affected_ranges r on r.platform = j.platform and r.package = j.judged_name
          join advisories a on a.id = r.advisory_id and a.withdrawn_at is null and not a.informational
         where r.state <> 'not_affected'
           and case
               when j.judged_key is null then true
               when r.introduced_key > j.judged_key then false
               when r.bound = 'unbounded' then true
               when r.bound = 'exactly' then r.bound_key = j.judged_key or r.bound_version = j.judged_version
               when r.bound_key is null then true
               when r.bound = 'fixed' then j.judged_key < r.bound_key
               else j.judged_key <= r.bound_key
               end
    )
    select h.platform, h.judged_name, h.judged_version, h.judged_key, h.vulnerability, r.advisory_id, s.slug as source,
           r.tier, r.state, r.introduced, r.introduced_key, r.bound, r.bound_version, r.bound_key, r.note,
           a.severity as advisory_severity, a.cvss_score as advisory_cvss, c.base_score, e.score as epss,
           k.cve_id is not null as is_kev, coalesce(c.has_exploit, false) as has_exploit
      from hits h
      join affected_ranges r
        on r.platform = h.platform and r.package = h.judged_name and r.vulnerability = h.vulnerability
      join advisories a on a.id = r.advisory_id and a.withdrawn_at is null and not a.informational
      join sources s on s.id = a.source_id
      left join cves c on c.cve_id = h.vulnerability
      left join epss e on e.cve_id = h.vulnerability
      left join kev k on k.cve_id = h.vulnerability
     where c.nvd_status is distinct from 'Rejected'
       and not (r.bound = 'exactly' and r.bound_key is distinct from h.judged_key
                and r.bound_version <> h.judged_version and h.judged_key is not null)
     order by h.platform, h.judged_name, h.judged_key, h.judged_version";

/// Numbered in the order of the candidates: of two versions of a package the lower one first.
pub(super) const CREATE_VERDICTS: &str = "create temp table verdicts (
        id bigint generated always as identity primary key, platform text not null, judged_name text not null, judged_version text not null, vulnerability text not null,
        advisory_id bigint not null, fixed_version text, confidence text not null, vendor_state text not null,
        severity text not null, cvss_score real, epss_score real, is_kev boolean not null,
        has_exploit boolean not null, composite_score real not null, evidence jsonb not null
    ) on commit drop";

pub(super) const COPY_VERDICTS: &str = "copy verdicts (platform, judged_name, judged_version, vulnerability, advisory_id,
    fixed_version, confidence, vendor_state, severity, cvss_score, epss_score, is_kev, has_exploit, composite_score,
    evidence) from stdin";

/// Locks the assets until the end, and drops those whose inventory was read since [`CREATE_COMPARED`]. Reading an inventory locks the
/// asset too, so from here on nobody's packages change.
pub(super) const LOCK_COMPARED: &str = "
    with locked as (
        update assets a set correlated_at = now()
          from compared c
         where a.tenant_id = $1 and a.id = c.asset_id and a.last_seen_at = c.last_seen_at
     returning a.id
    )
    update compared c set is_current = true from locked where locked.id = c.asset_id";

/// The package versions that there are verdicts on.
///
/// This table and the next two are small steps on purpose: once analysed they are joined in a way that fits their size, be it one asset
/// or all. Right after a first inventory the server's statistics know nothing of `asset_packages` yet; joined to the verdicts in one
/// statement, it was taken for a table of a few rows, and every package compared with every verdict.
pub(super) const CREATE_AFFECTED: &str = "create temp table affected on commit drop as
    select v.id, v.platform, v.judged_name, v.judged_version, v.name
      from (select distinct platform, judged_name, judged_version from verdicts) as s
      join package_versions v
        on v.platform = s.platform and v.judged_name = s.judged_name and v.judged_version = s.judged_version";

/// However wrong the estimate, a package of an asset is looked up here and not searched for.
pub(super) const INDEX_AFFECTED: &str = "create unique index on affected (id)";

/// What the compared assets have of them, told by the names of its binary packages.
pub(super) const CREATE_INSTALLED: &str = "create temp table installed on commit drop as
    select p.asset_id, v.platform, v.judged_name, v.judged_version, min(v.id) as package_version_id,
           to_jsonb(array_agg(distinct v.name order by v.name)) as binaries
      from affected v
      join asset_packages p on p.package_version_id = v.id and p.tenant_id = $1
      join compared c on c.asset_id = p.asset_id and c.is_current
     group by p.asset_id, v.platform, v.judged_name, v.judged_version";

/// The findings that the compared assets have, the resolved ones too.
pub(super) const CREATE_EXISTING: &str = "create temp table existing on commit drop as
    select f.id, f.asset_id, f.ecosystem, f.package_name, f.vulnerability, f.status, c.confirmed_at
      from findings f
      join compared c on c.asset_id = f.asset_id and c.is_current
     where f.tenant_id = $1 and ($2::uuid is null or f.asset_id = $2)";

/// The findings that should be: the verdicts, spread over the assets. Of several versions of one package the worst counts.
pub(super) const CREATE_FOUND: &str = "create temp table found on commit drop as
    with ranked as materialized (
        select id, platform, judged_name, judged_version,
               dense_rank() over (order by split_part(platform, ':', 1), judged_name, vulnerability) as problem,
               row_number() over (order by confidence = 'confirmed' desc, composite_score desc, id) as rank
          from verdicts
    ), worst as (
        select distinct on (i.asset_id, r.problem) i.asset_id, r.id as verdict_id, i.package_version_id, i.binaries
          from installed i
          join ranked r
            on r.platform = i.platform and r.judged_name = i.judged_name and r.judged_version = i.judged_version
         order by i.asset_id, r.problem, r.rank
    )
    select w.asset_id, w.verdict_id, w.package_version_id, w.binaries, e.id as finding_id
      from worst w
      join verdicts d on d.id = w.verdict_id
      left join existing e
        on e.asset_id = w.asset_id and e.ecosystem = split_part(d.platform, ':', 1)
       and e.package_name = d.judged_name and e.vulnerability = d.vulnerability";

/// What is not as it was. `detail` of an update tells what changed that somebody would act on, from and to. That EPSS moves nearly every
/// score a little every day is written, but is no event.
pub(super) const CREATE_CHANGES: &str = "create temp table changes on commit drop as
    select coalesce(f.id, uuid_v7()) as id,
           case when f.id is null then 'opened' when f.status = 'resolved' then 'reopened' else 'updated' end as event,
           case when f.id is null or f.status = 'resolved'
                then jsonb_build_object('installed_version', d.judged_version, 'fixed_version', d.fixed_version,
                                        'severity', d.severity, 'confidence', d.confidence)
                else (select jsonb_object_agg(key, jsonb_build_object('from', was.value, 'to', is_now.value))
                        from jsonb_each(jsonb_build_object(
                                 'installed_version', f.installed_version, 'fixed_version', f.fixed_version,
                                 'confidence', f.confidence, 'vendor_state', f.vendor_state, 'severity', f.severity,
                                 'cvss_score', f.cvss_score, 'is_kev', f.is_kev, 'has_exploit', f.has_exploit)) as was
                        join jsonb_each(jsonb_build_object(
                                 'installed_version', d.judged_version, 'fixed_version', d.fixed_version,
                                 'confidence', d.confidence, 'vendor_state', d.vendor_state, 'severity', d.severity,
                                 'cvss_score', d.cvss_score, 'is_kev', d.is_kev, 'has_exploit', d.has_exploit)) as is_now
                       using (key)
                       where was.value <> is_now.value)
            end as detail,
           n.asset_id, split_part(d.platform, ':', 1) as ecosystem, d.judged_name as package_name, d.vulnerability,
           n.package_version_id, d.judged_version as installed_version, d.fixed_version, d.advisory_id, d.confidence,
           d.vendor_state, d.severity, d.cvss_score, d.epss_score, d.is_kev, d.has_exploit, d.composite_score,
           d.evidence || jsonb_build_object('binaries', n.binaries) as evidence
      from found n
      join verdicts d on d.id = n.verdict_id
      left join findings f on f.tenant_id = $1 and f.id = n.finding_id
     where f.id is null
        or f.status = 'resolved'
        or (f.package_version_id, f.installed_version, f.fixed_version, f.advisory_id, f.confidence, f.vendor_state,
            f.severity, f.cvss_score, f.epss_score, f.is_kev, f.has_exploit, f.composite_score)
           is distinct from
           (n.package_version_id, d.judged_version, d.fixed_version, d.advisory_id, d.confidence, d.vendor_state,
            d.severity, d.cvss_score, d.epss_score, d.is_kev, d.has_exploit, d.composite_score)
        or f.evidence <> d.evidence || jsonb_build_object('binaries', n.binaries)";

pub(super) const COUNT_CHANGES: &str = "
    select count(*) filter (where event = 'opened'), count(*) filter (where event = 'updated'),
           count(*) filter (where event = 'reopened')
      from changes";

pub(super) const OPEN: &str = "
    insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id,
                          installed_version, fixed_version, advisory_id, confidence, vendor_state, severity,
                          cvss_score, epss_score, is_kev, has_exploit, composite_score, evidence)
    select $1, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
           fixed_version, advisory_id, confidence, vendor_state, severity, cvss_score, epss_score, is_kev, has_exploit,
           composite_score, evidence
      from changes
     where event = 'opened'
     order by id";

pub(super) const UPDATE: &str = "
    update findings f
       set package_version_id = n.package_version_id, installed_version = n.installed_version,
           fixed_version = n.fixed_version, advisory_id = n.advisory_id, confidence = n.confidence,
           vendor_state = n.vendor_state, severity = n.severity, cvss_score = n.cvss_score,
           epss_score = n.epss_score, is_kev = n.is_kev, has_exploit = n.has_exploit,
           composite_score = n.composite_score, evidence = n.evidence, last_confirmed_at = now(),
           status = case when f.status = 'resolved' then 'open' else f.status end,
           resolved_at = null, resolution = null
      from changes n
     where f.tenant_id = $1 and f.id = n.id and n.event <> 'opened'";

pub(super) const NOTE_CHANGES: &str = "
    insert into finding_events (tenant_id, finding_id, event, detail)
    select $1, id, event, detail from changes where detail is not null";

/// Findings of the compared assets that are no more, and why: the package is gone, another version of it is there, or the version is the
/// same and what is known of it changed. They were last confirmed when their asset was last compared.
pub(super) const RESOLVE: &str = "
    with resolved as (
        update findings f
           set status = 'resolved', resolved_at = now(),
               last_confirmed_at = greatest(f.last_confirmed_at, e.confirmed_at),
               resolution = case
                   when not exists (
                       select from asset_packages p
                         join package_versions v on v.id = p.package_version_id
                        where p.tenant_id = $1 and p.asset_id = f.asset_id and v.judged_name = f.package_name
                          and split_part(v.platform, ':', 1) = f.ecosystem)
                   then 'package removed'
                   when not exists (
                       select from asset_packages p
                         join package_versions v on v.id = p.package_version_id
                        where p.tenant_id = $1 and p.asset_id = f.asset_id and v.judged_name = f.package_name
                          and split_part(v.platform, ':', 1) = f.ecosystem
                          and v.judged_version = f.installed_version)
                   then 'fixed'
                   else 'advisory withdrawn or changed' end
          from existing e
         where f.tenant_id = $1 and f.id = e.id and e.status <> 'resolved' and f.status <> 'resolved'
           and not exists (select from found n where n.finding_id = e.id)
     returning f.id, f.resolution, f.installed_version
    )
    insert into finding_events (tenant_id, finding_id, event, detail)
    select $1, id, 'resolved', jsonb_build_object('resolution', resolution, 'installed_version', installed_version)
      from resolved";
