-- Totals of filtered lists that nobody counts: alerts, assets, reports and runs, by the few words that each is filtered by most.

-- Whatever a row's list is filtered by, as text, in the order in which `count_list` is told of it below; null where the row has nothing there.
-- Some dozens of different ones a tenant and list; of runs, whose day is one of them, some hundreds.
alter table list_counts add column facets text[] not null default '{}';

-- Once in a while, one row of many for the same facets, of what all tenants share and of the tenant that acts.
create function fold_list_counts(counted text) returns void language sql set search_path = public, pg_temp as $$
    with many as (
        select tenant_id, facets from list_counts
         where list = counted and (tenant_id is null or tenant_id = app_tenant()) group by 1, 2 having count(*) > 1
    ), taken as (
        select c.ctid from list_counts c join many m on c.facets = m.facets and c.tenant_id is not distinct from m.tenant_id
         where c.list = counted and (c.tenant_id is null or c.tenant_id = app_tenant()) for update of c skip locked
    ), folded as (
        delete from list_counts c using taken where c.ctid = taken.ctid returning c.tenant_id, c.list, c.facets, c.rows
    )
    insert into list_counts (tenant_id, list, facets, rows)
    select tenant_id, list, facets, sum(rows) from folded group by 1, 2, 3 having sum(rows) <> 0
$$;

-- Counts the rows of `target` by `facets`, expressions over its columns, under the name `counted`: a function of its own, so that its
-- statements are planned once, and the triggers that call it. `tenant`: whose a row is.
create procedure count_list(target regclass, counted text, facets text, tenant text default 'tenant_id') language plpgsql as $$
begin
    execute format($function$
        create function count_%1$s() returns trigger language plpgsql security definer set search_path = public, pg_temp as $body$
        begin
            if tg_op = 'INSERT' then
                insert into list_counts (tenant_id, list, facets, rows)
                select %2$s, %3$L, array[%4$s]::text[], count(*) from added group by 1, 3;
            elsif tg_op = 'DELETE' then
                insert into list_counts (tenant_id, list, facets, rows)
                select %2$s, %3$L, array[%4$s]::text[], -count(*) from removed group by 1, 3;
            else
                insert into list_counts (tenant_id, list, facets, rows)
                select owner, %3$L, facets, sum(n)
                  from (select %2$s as owner, array[%4$s]::text[] as facets, 1 as n from added
                        union all
                        select %2$s, array[%4$s]::text[], -1 from removed) as change
                 group by 1, 3 having sum(n) <> 0;
            end if;
            if folds_counts() then
                perform fold_list_counts(%3$L);
            end if;
            return null;
        end $body$ $function$, counted, tenant, counted, facets);
    execute format('alter function count_%s() owner to plimsoll_system', counted);
    execute format('revoke execute on function count_%s() from public', counted);
    execute format('create trigger count_added after insert on %s referencing new table as added
                        for each statement execute function count_%s()', target, counted);
    execute format('create trigger count_removed after delete on %s referencing old table as removed
                        for each statement execute function count_%s()', target, counted);
    if facets <> '' then
        execute format('create trigger count_changed after update on %s referencing new table as added old table as removed
                            for each statement execute function count_%s()', target, counted);
    end if;
    set local role plimsoll_system;
    delete from list_counts where list = counted;
    execute format('insert into list_counts (tenant_id, list, facets, rows)
                    select %s, %L, array[%s]::text[], count(*) from %s group by 1, 3', tenant, counted, facets, target);
    reset role;
end $$;

do $$
declare
    counted text;
begin
    foreach counted in array '{alerts,assets,cves,reports,scan_runs}'::text[] loop
        execute format('drop trigger count_added on %I', counted);
        execute format('drop trigger count_removed on %I', counted);
    end loop;
end $$;
drop function count_rows();

grant create on schema public to plimsoll_system;
alter function fold_list_counts(text) owner to plimsoll_system;
revoke execute on function fold_list_counts(text) from public;
call count_list('cves', 'cves', '', 'null::uuid');
call count_list('alerts', 'alerts', 'severity, case when acknowledged_at is null then ''open'' else ''acknowledged'' end');
call count_list('assets', 'assets', 'os_distro, os_version');
call count_list('reports', 'reports', 'framework, status, report_type');
-- The day in UTC, as those who ask for runs name days.
call count_list('scan_runs', 'scan_runs', 'run_type, source_slug, status, to_char(started_at at time zone ''UTC'', ''YYYY-MM-DD'')');

-- How often anything changed by which assets are found besides: their names and tags. What was counted before is right for as long as this is
-- the same, and an inventory that says what the one before it said changes none of it.
alter table list_counts drop constraint list_counts_list_check;
alter table list_counts add constraint list_counts_list_check
    check (list in ('alerts', 'asset_changes', 'assets', 'cve_changes', 'cves', 'reports', 'scan_runs'));
create function note_asset_change() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into list_counts (tenant_id, list, rows) select distinct tenant_id, 'asset_changes', 1 from added;
    elsif tg_op = 'DELETE' then
        insert into list_counts (tenant_id, list, rows) select distinct tenant_id, 'asset_changes', 1 from removed;
    else
        insert into list_counts (tenant_id, list, rows)
        select distinct a.tenant_id, 'asset_changes', 1
          from added a join removed r on r.id = a.id
         where (a.sort_name, a.tags, a.os_distro, a.os_version) is distinct from (r.sort_name, r.tags, r.os_distro, r.os_version);
    end if;
    if folds_counts() then
        perform fold_list_counts('asset_changes');
    end if;
    return null;
end $$;
alter function note_asset_change() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function note_asset_change() from public;
create trigger note_added after insert on assets referencing new table as added
    for each statement execute function note_asset_change();
create trigger note_removed after delete on assets referencing old table as removed
    for each statement execute function note_asset_change();
create trigger note_changed after update on assets referencing new table as added old table as removed
    for each statement execute function note_asset_change();

-- Far pages of filtered findings in any order: what they are filtered by stands in the index of each order, so that what is passed over on the
-- way is found to be one of them or not without its row. With the column that an order's key is made of, for Postgres to see that it need not look.
alter table findings add column is_fixable boolean not null generated always as (fixed_version is not null) stored;
drop trigger audit on findings;
call audit_table('findings', 'finding', 'id', '', 'evidence,last_confirmed_at,is_fixable', true);
drop index findings_score_idx;
create index findings_score_idx on findings (tenant_id, composite_score, id)
    include (status, severity, is_kev, has_exploit, is_fixable);
drop index findings_first_seen_idx;
create index findings_first_seen_idx on findings (tenant_id, first_seen_at, id)
    include (composite_score, status, severity, is_kev, has_exploit, is_fixable);
drop index findings_cvss_idx;
create index findings_cvss_idx on findings (tenant_id, (case when cvss_score is null then -1 else cvss_score end), id)
    include (cvss_score, composite_score, status, severity, is_kev, has_exploit, is_fixable);
drop index findings_epss_idx;
create index findings_epss_idx on findings (tenant_id, (case when epss_score is null then -1 else epss_score end), id)
    include (epss_score, composite_score, status, severity, is_kev, has_exploit, is_fixable);
drop index findings_package_idx;
create index findings_package_idx on findings (tenant_id, package_name, id)
    include (composite_score, status, severity, is_kev, has_exploit, is_fixable);
drop index findings_resolved_idx;
create index findings_resolved_idx on findings (tenant_id, (case when resolved_at is null then '-infinity' else resolved_at end), id)
    include (resolved_at, composite_score, status, severity, is_kev, has_exploit, is_fixable);
drop index findings_status_idx;
create index findings_status_idx on findings (tenant_id, status, id)
    include (composite_score, severity, is_kev, has_exploit, is_fixable);

-- Few runs are of a source, and those are the crawls that all share: an organization's own are not passed over to find that out.
create index scan_runs_of_source_idx on scan_runs (owner, source_slug, started_at, id) where source_slug is not null;

-- Whoever looks for one person's doings, for one action or for one thing's history finds the few among millions. Without what the list is
-- ordered by: the few are sorted, and of the many the order's own index has fifty soon. So equal ones share an entry (8 MB a million for
-- actors and actions, 87 MB for targets), and writing one takes some 7 µs more of 20.
create index audit_entries_actor_idx on audit_entries (chain, actor);
create index audit_entries_action_idx on audit_entries (chain, action collate "C");
create index audit_entries_target_idx on audit_entries (chain, target_id) where target_id is not null;
