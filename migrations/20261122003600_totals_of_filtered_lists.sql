-- Totals of filtered lists: by score, and by what is written of CVEs.

-- The composite score has one decimal, so that a tenant has some hundreds or thousands of these instead of tens.
alter table finding_counts add column composite_score real;

-- As before, by the score too; and folds only what is there more than once, so that folding costs what was written, not what is kept.
create or replace function count_findings() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, findings)
        select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, composite_score, count(*)
          from added group by 1, 2, 3, 4, 5, 6, 7;
    elsif tg_op = 'DELETE' then
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, findings)
        select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, composite_score, -count(*)
          from removed group by 1, 2, 3, 4, 5, 6, 7;
    else
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, findings)
        select tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, sum(n)
          from (select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null as is_fixable,
                       composite_score, 1 as n from added
                union all
                select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null,
                       composite_score, -1 from removed) as change
         group by 1, 2, 3, 4, 5, 6, 7 having sum(n) <> 0;
    end if;
    if folds_counts() then
        with many as (
            select status, severity, is_kev, has_exploit, is_fixable, composite_score
              from finding_counts where tenant_id = app_tenant()
             group by 1, 2, 3, 4, 5, 6 having count(*) > 1
        ), taken as (
            select c.ctid from finding_counts c join many using (status, severity, is_kev, has_exploit, is_fixable, composite_score)
             where c.tenant_id = app_tenant() for update of c skip locked
        ), folded as (
            delete from finding_counts c using taken where c.ctid = taken.ctid
         returning c.tenant_id, c.status, c.severity, c.is_kev, c.has_exploit, c.is_fixable, c.composite_score, c.findings
        )
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, findings)
        select tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, sum(findings)
          from folded group by 1, 2, 3, 4, 5, 6, 7 having sum(findings) <> 0;
    end if;
    return null;
end $$;

set local role plimsoll_system;
delete from finding_counts;
insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, composite_score, findings)
select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, composite_score, count(*)
  from findings group by 1, 2, 3, 4, 5, 6, 7;
reset role;
alter table finding_counts alter column composite_score set not null;

-- How often anything changed by which CVEs are found: what was counted before is right for as long as this is the same. Crawls change them,
-- a few statements every hour.
alter table list_counts drop constraint list_counts_list_check;
alter table list_counts add constraint list_counts_list_check
    check (list in ('alerts', 'assets', 'cve_changes', 'cves', 'reports', 'scan_runs'));
create function note_cve_change() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into list_counts (list, rows) values ('cve_changes', 1);
    if folds_counts() then
        with taken as (
            select ctid from list_counts where list = 'cve_changes' for update skip locked
        ), folded as (
            delete from list_counts c using taken where c.ctid = taken.ctid returning c.rows
        )
        insert into list_counts (list, rows) select 'cve_changes', sum(rows) from folded having sum(rows) > 0;
    end if;
    return null;
end $$;
grant create on schema public to plimsoll_system;
alter function note_cve_change() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function note_cve_change() from public;
create trigger note_change after insert or update or delete on cves for each statement execute function note_cve_change();
create trigger note_change after insert or update or delete on epss for each statement execute function note_cve_change();
create trigger note_change after insert or update or delete on kev for each statement execute function note_cve_change();

-- What findings are filtered by most stands in the index of their usual order, so that what is passed over on the way to a far page is found
-- to be one of them or not without its row.
drop index findings_score_idx;
create index findings_score_idx on findings (tenant_id, composite_score, id) include (status, severity, is_kev, has_exploit);
