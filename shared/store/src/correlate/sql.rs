//! The statements of a correlation.

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
     order by h.platform, h.judged_name, h.judged_version";

pub(super) const CREATE_VERDICTS: &str = "create temp table verdicts (
        platform text not null, judged_name text not null, judged_version text not null, vulnerability text not null,
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

/// The findings that should be: the verdicts, spread over the assets. Of several versions of one package the worst counts. What is
/// installed of it is told by the names of its binary packages.
pub(super) const CREATE_FOUND: &str = "create temp table found on commit drop as
    with subjects as (
        select distinct platform, judged_name, judged_version from verdicts
    ), installed as (
        select p.asset_id, v.platform, v.judged_name, v.judged_version, v.judged_key,
               min(v.id) as package_version_id, to_jsonb(array_agg(distinct v.name order by v.name)) as binaries
          from subjects s
          join package_versions v
            on v.platform = s.platform and v.judged_name = s.judged_name and v.judged_version = s.judged_version
          join asset_packages p on p.package_version_id = v.id and p.tenant_id = $1
          join compared c on c.asset_id = p.asset_id and c.is_current
         group by p.asset_id, v.platform, v.judged_name, v.judged_version, v.judged_key
    )
    select distinct on (i.asset_id, ecosystem, package_name, d.vulnerability)
           i.asset_id, split_part(i.platform, ':', 1) as ecosystem, i.judged_name as package_name, d.vulnerability,
           i.package_version_id, i.judged_version as installed_version, d.fixed_version, d.advisory_id, d.confidence,
           d.vendor_state, d.severity, d.cvss_score, d.epss_score, d.is_kev, d.has_exploit, d.composite_score,
           d.evidence || jsonb_build_object('binaries', i.binaries) as evidence
      from installed i
      join verdicts d
        on d.platform = i.platform and d.judged_name = i.judged_name and d.judged_version = i.judged_version
     order by i.asset_id, ecosystem, package_name, d.vulnerability, d.confidence = 'confirmed' desc,
              d.composite_score desc, i.judged_key, i.package_version_id";

/// What is not as it was. `detail` of an update tells what changed that somebody would act on, from and to; an EPSS score that moved a
/// little is written, but is no event.
pub(super) const CREATE_CHANGES: &str = "create temp table changes on commit drop as
    select coalesce(f.id, uuid_v7()) as id,
           case when f.id is null then 'opened' when f.status = 'resolved' then 'reopened' else 'updated' end as event,
           case when f.id is null or f.status = 'resolved'
                then jsonb_build_object('installed_version', n.installed_version, 'fixed_version', n.fixed_version,
                                        'severity', n.severity, 'confidence', n.confidence)
                else (select jsonb_object_agg(key, jsonb_build_object('from', was.value, 'to', is_now.value))
                        from jsonb_each(jsonb_build_object(
                                 'installed_version', f.installed_version, 'fixed_version', f.fixed_version,
                                 'confidence', f.confidence, 'vendor_state', f.vendor_state, 'severity', f.severity,
                                 'cvss_score', f.cvss_score, 'is_kev', f.is_kev, 'has_exploit', f.has_exploit,
                                 'composite_score', f.composite_score)) as was
                        join jsonb_each(jsonb_build_object(
                                 'installed_version', n.installed_version, 'fixed_version', n.fixed_version,
                                 'confidence', n.confidence, 'vendor_state', n.vendor_state, 'severity', n.severity,
                                 'cvss_score', n.cvss_score, 'is_kev', n.is_kev, 'has_exploit', n.has_exploit,
                                 'composite_score', n.composite_score)) as is_now using (key)
                       where was.value <> is_now.value)
            end as detail,
           n.asset_id, n.ecosystem, n.package_name, n.vulnerability, n.package_version_id, n.installed_version,
           n.fixed_version, n.advisory_id, n.confidence, n.vendor_state, n.severity, n.cvss_score, n.epss_score,
           n.is_kev, n.has_exploit, n.composite_score, n.evidence
      from found n
      left join findings f
        on f.tenant_id = $1 and f.asset_id = n.asset_id and f.ecosystem = n.ecosystem
       and f.package_name = n.package_name and f.vulnerability = n.vulnerability
     where f.id is null
        or f.status = 'resolved'
        or (f.package_version_id, f.installed_version, f.fixed_version, f.advisory_id, f.confidence, f.vendor_state,
            f.severity, f.cvss_score, f.epss_score, f.is_kev, f.has_exploit, f.composite_score, f.evidence)
           is distinct from
           (n.package_version_id, n.installed_version, n.fixed_version, n.advisory_id, n.confidence, n.vendor_state,
            n.severity, n.cvss_score, n.epss_score, n.is_kev, n.has_exploit, n.composite_score, n.evidence)";

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
               last_confirmed_at = greatest(f.last_confirmed_at, c.confirmed_at),
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
          from compared c
         where f.tenant_id = $1 and f.asset_id = c.asset_id and c.is_current and f.status <> 'resolved'
           and not exists (select from found n
                            where n.asset_id = f.asset_id and n.ecosystem = f.ecosystem
                              and n.package_name = f.package_name and n.vulnerability = f.vulnerability)
     returning f.id, f.resolution, f.installed_version
    )
    insert into finding_events (tenant_id, finding_id, event, detail)
    select $1, id, 'resolved', jsonb_build_object('resolution', resolution, 'installed_version', installed_version)
      from resolved";
