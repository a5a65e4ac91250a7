-- Every order that a list can be asked for has an index, by its key and what tells equal rows apart, both the same way: a page is entered
-- in the middle of it (`store::paging`). Where a row may have nothing to be ordered by, the key is less than any other instead of null.
--
-- Where rows are tenants', a key is made without functions, `coalesce` among them: what might tell of rows that are not one's own may not be
-- asked before row-level security was, so that no index would be entered by it.

-- Findings.
drop index findings_cvss_idx;
drop index findings_epss_idx;
create index findings_cvss_idx on findings (tenant_id, (case when cvss_score is null then -1 else cvss_score end), id);
create index findings_epss_idx on findings (tenant_id, (case when epss_score is null then -1 else epss_score end), id);
create index findings_package_idx on findings (tenant_id, package_name, id);
create index findings_resolved_idx on findings (tenant_id, (case when resolved_at is null then '-infinity' else resolved_at end), id);
create index findings_status_idx on findings (tenant_id, status, id);

-- CVEs, and what EPSS says of them.
create index cves_cvss_v31_idx on cves (coalesce(cvss_v31_score, -1), cve_id);
create index cves_cvss_v4_idx on cves (coalesce(cvss_v4_score, -1), cve_id);
drop index epss_score_idx;
create index epss_score_idx on epss (score, cve_id);
create index epss_percentile_idx on epss (percentile, cve_id);

-- Assets by name whatever the case.
alter table assets add column sort_name text not null generated always as (lower(hostname)) stored;
drop index assets_hostname_idx;
create index assets_name_idx on assets (tenant_id, sort_name, id);
drop trigger audit on assets;
call audit_table('assets', 'asset', 'id', '', 'last_seen_at,correlated_at,sort_name', true);

-- Runs. Millions where many machines report: one each time one does, for ninety days. `owner` is the tenant, or zeros for crawls that all
-- share, so that each list is two stretches of an index.
alter table scan_runs add column owner uuid not null
    generated always as (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000')) stored;
drop index scan_runs_source_idx;
drop index scan_runs_started_idx;
-- What retention removes, the oldest first.
create index scan_runs_age_idx on scan_runs (started_at);
create index scan_runs_started_idx on scan_runs (owner, started_at, id);
create index scan_runs_completed_idx on scan_runs
    (owner, (case when completed_at is null then '-infinity' else completed_at end), id);
create index scan_runs_status_idx on scan_runs (owner, status, id);
create index scan_runs_source_idx on scan_runs (owner, (case when source_slug is null then '' else source_slug end), id);
create index scan_runs_type_idx on scan_runs (owner, run_type, id);
create index scan_runs_records_idx on scan_runs (owner, records_processed, id);

-- Reports. What a report's status is stands in its row, so that it can be ordered and filtered by: a job that ended without a verdict on
-- its report has failed it, and one that is tried again makes it after all.
create function reports_follow_job() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if new.state in ('dead', 'cancelled') then
        update reports
           set status = 'failed', error = coalesce(error, new.last_error, 'its job was cancelled'), completed_at = now()
         where job_id = new.id and status = 'generating';
    else
        update reports set status = 'generating', error = null, completed_at = null
         where job_id = new.id and status = 'failed';
    end if;
    return null;
end $$;
create trigger reports_follow after update of state on jobs for each row
    when (new.kind = 'render_report' and old.state <> new.state
          and (new.state in ('dead', 'cancelled')) <> (old.state in ('dead', 'cancelled')))
    execute function reports_follow_job();
set local role plimsoll_system;
update reports r set status = 'failed', error = coalesce(r.error, j.last_error), completed_at = j.finished_at
  from jobs j where j.id = r.job_id and r.status = 'generating' and j.state in ('dead', 'cancelled');
reset role;
create index reports_job_idx on reports (job_id);
drop index reports_created_idx;
create index reports_created_idx on reports (tenant_id, created_at, id);
create index reports_type_idx on reports (tenant_id, report_type, id);
create index reports_status_idx on reports (tenant_id, status, id);
create index reports_title_idx on reports (tenant_id, title, id);

-- How many there are, without counting them.
alter table list_counts drop constraint list_counts_list_check;
alter table list_counts add constraint list_counts_list_check check (list in ('assets', 'cves', 'reports', 'scan_runs'));
create trigger count_added after insert on reports referencing new table as added
    for each statement execute function count_rows('reports');
create trigger count_removed after delete on reports referencing old table as removed
    for each statement execute function count_rows('reports');
create trigger count_added after insert on scan_runs referencing new table as added
    for each statement execute function count_rows('scan_runs');
create trigger count_removed after delete on scan_runs referencing old table as removed
    for each statement execute function count_rows('scan_runs');
set local role plimsoll_system;
insert into list_counts (tenant_id, list, rows) select tenant_id, 'reports', count(*) from reports group by 1;
insert into list_counts (tenant_id, list, rows) select tenant_id, 'scan_runs', count(*) from scan_runs group by 1;
reset role;

grant create on schema public to plimsoll_system;
alter function reports_follow_job() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function reports_follow_job() from public;
