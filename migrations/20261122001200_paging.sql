-- Long lists: how many rows there are without counting them, and orders that a page can be entered in the middle of.
--
-- A count is the sum of its changes. Each statement that adds or removes rows writes how many more or fewer there are now, in rows of
-- its own, so that nobody waits for anybody who has not committed yet. Once in a while such a statement also folds what it finds into
-- one row. The sum over a tenant's rows is exact in every snapshot.

-- Findings by what they are filtered by most. Some hundreds of rows a tenant.
create table finding_counts (
    tenant_id   uuid not null,
    status      text not null,
    severity    text not null,
    is_kev      boolean not null,
    has_exploit boolean not null,
    is_fixable  boolean not null,
    -- So many more than without this row.
    findings    bigint not null
);
create index finding_counts_tenant_idx on finding_counts (tenant_id);
call protect_tenant_rows('finding_counts');
grant select on finding_counts to plimsoll_app;

-- Rows of other lists, by the list's name. Null: of what all tenants share.
create table list_counts (
    tenant_id uuid,
    list      text not null check (list in ('assets', 'cves')),
    -- So many more than without this row.
    rows      bigint not null
);
create index list_counts_list_idx on list_counts (list, tenant_id);
alter table list_counts enable row level security;
alter table list_counts force row level security;
create policy tenant_rows on list_counts for select to plimsoll_app using (tenant_id is null or tenant_id = app_tenant());
create policy every_row on list_counts to plimsoll_system using (true) with check (true);
grant select on list_counts to plimsoll_app;

-- Whether this statement is one of those that fold: one in twenty, but none whose snapshot is older than it is.
create function folds_counts() returns boolean language sql volatile as $$
    select random() < 0.05 and current_setting('transaction_isolation') = 'read committed'
$$;

create function count_findings() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, findings)
        select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, count(*)
          from added group by 1, 2, 3, 4, 5, 6;
    elsif tg_op = 'DELETE' then
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, findings)
        select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, -count(*)
          from removed group by 1, 2, 3, 4, 5, 6;
    else
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, findings)
        select tenant_id, status, severity, is_kev, has_exploit, is_fixable, sum(n)
          from (select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null as is_fixable, 1 as n from added
                union all
                select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, -1 from removed) as change
         group by 1, 2, 3, 4, 5, 6 having sum(n) <> 0;
    end if;
    if folds_counts() then
        with taken as (
            select ctid from finding_counts where tenant_id = app_tenant() for update skip locked
        ), folded as (
            delete from finding_counts c using taken where c.ctid = taken.ctid
         returning c.tenant_id, c.status, c.severity, c.is_kev, c.has_exploit, c.is_fixable, c.findings
        )
        insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, findings)
        select tenant_id, status, severity, is_kev, has_exploit, is_fixable, sum(findings)
          from folded group by 1, 2, 3, 4, 5, 6 having sum(findings) <> 0;
    end if;
    return null;
end $$;

-- Trigger: TG_ARGV is the list's name.
create function count_rows() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
declare
    counted text := tg_argv[0];
begin
    if counted = 'cves' and tg_op = 'INSERT' then
        insert into list_counts (tenant_id, list, rows) select null, counted, count(*) from added having count(*) > 0;
    elsif counted = 'cves' then
        insert into list_counts (tenant_id, list, rows) select null, counted, -count(*) from removed having count(*) > 0;
    elsif tg_op = 'INSERT' then
        insert into list_counts (tenant_id, list, rows) select tenant_id, counted, count(*) from added group by 1;
    else
        insert into list_counts (tenant_id, list, rows) select tenant_id, counted, -count(*) from removed group by 1;
    end if;
    if folds_counts() then
        with taken as (
            select ctid from list_counts
             where list = counted and (tenant_id is null or tenant_id = app_tenant()) for update skip locked
        ), folded as (
            delete from list_counts c using taken where c.ctid = taken.ctid returning c.tenant_id, c.list, c.rows
        )
        insert into list_counts (tenant_id, list, rows)
        select tenant_id, list, sum(rows) from folded group by 1, 2 having sum(rows) <> 0;
    end if;
    return null;
end $$;

grant create on schema public to plimsoll_system;
alter function count_findings() owner to plimsoll_system;
alter function count_rows() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function count_findings(), count_rows(), folds_counts() from public;
grant execute on function folds_counts() to plimsoll_system;

create trigger count_added after insert on findings referencing new table as added
    for each statement execute function count_findings();
create trigger count_changed after update on findings referencing new table as added old table as removed
    for each statement execute function count_findings();
create trigger count_removed after delete on findings referencing old table as removed
    for each statement execute function count_findings();
create trigger count_added after insert on assets referencing new table as added
    for each statement execute function count_rows('assets');
create trigger count_removed after delete on assets referencing old table as removed
    for each statement execute function count_rows('assets');
create trigger count_added after insert on cves referencing new table as added
    for each statement execute function count_rows('cves');
create trigger count_removed after delete on cves referencing old table as removed
    for each statement execute function count_rows('cves');

insert into finding_counts (tenant_id, status, severity, is_kev, has_exploit, is_fixable, findings)
select tenant_id, status, severity, is_kev, has_exploit, fixed_version is not null, count(*)
  from findings group by 1, 2, 3, 4, 5, 6;
insert into list_counts (tenant_id, list, rows) select tenant_id, 'assets', count(*) from assets group by 1;
insert into list_counts (tenant_id, list, rows) select null, 'cves', count(*) from cves having count(*) > 0;

-- Orders whose key and tie-breaker go the same way, so that "after this row" is one comparison that an index begins at.
drop index findings_score_idx;
create index findings_score_idx on findings (tenant_id, composite_score, id);
create index findings_first_seen_idx on findings (tenant_id, first_seen_at, id);
-- What is not rated comes last: in descending order that is where -1 is.
create index findings_cvss_idx on findings (tenant_id, coalesce(cvss_score, -1), id);
create index findings_epss_idx on findings (tenant_id, coalesce(epss_score, -1), id);
drop index cves_published_idx;
drop index cves_modified_idx;
create index cves_published_idx on cves (coalesce(published_at, '-infinity'), cve_id);
create index cves_modified_idx on cves (coalesce(last_modified_at, '-infinity'), cve_id);
