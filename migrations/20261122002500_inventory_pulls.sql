-- Inventories that are pulled: what other systems say is installed, asked for at an interval.

-- What the last pull made of each thing that an integration knows: an agent of Wazuh, a repository of GitHub. One row each, up to some
-- 100,000 a tenant. Written in the transaction in which its packages are kept: `job_id` is the pull that dealt with it last, and an attempt
-- goes on with what has not got its job's. What a whole pull no longer came across is taken out; its asset stays, and grows stale.
create table pulled_items (
    tenant_id        uuid not null references tenants (id),
    integration      text not null check (integration in ('wazuh', 'github')),
    -- The integration's own id of it.
    item             text not null check (length(item) between 1 and 256),
    name             text not null check (length(name) between 1 and 512),
    -- Null: nothing of it was ever kept.
    asset_id         uuid,
    job_id           uuid not null,
    -- created, changed, unchanged: what became of its asset. empty: it has nothing installed, and never had. absent: the integration
    -- has never heard of it. unreadable: what is kept of it is from before.
    outcome          text not null check (outcome in ('created', 'changed', 'unchanged', 'empty', 'absent', 'unreadable')),
    problem          text check (length(problem) between 1 and 500),
    packages         integer not null default 0,
    packages_added   integer not null default 0,
    packages_removed integer not null default 0,
    packages_skipped integer not null default 0,
    dealt_with_at    timestamptz not null default now(),
    primary key (tenant_id, integration, item),
    constraint pulled_items_problem check ((outcome = 'unreadable') = (problem is not null)),
    constraint pulled_items_asset_fkey foreign key (tenant_id, asset_id) references assets (tenant_id, id) on delete cascade
);
create index pulled_items_asset_idx on pulled_items (tenant_id, asset_id);
call protect_tenant_rows('pulled_items');
revoke all on pulled_items from plimsoll_app;
grant select, insert, update, delete on pulled_items to plimsoll_app;

-- After how many hours of silence an asset counts as stale: a day, unless the integration that watches it was set otherwise.
alter table assets add column stale_after_hours integer not null default 24 check (stale_after_hours between 1 and 8760);
drop trigger audit on assets;
call audit_table('assets', 'asset', 'id', '', 'last_seen_at,correlated_at,sort_name,stale_after_hours', true);

-- A run can bring a part of what it was to bring.
alter table scan_runs drop constraint scan_runs_status_check,
    add constraint scan_runs_status_check
        check (status in ('running', 'success', 'partial', 'unchanged', 'failed', 'quarantined')) not valid;
alter table scan_runs validate constraint scan_runs_status_check;

-- SBOMs come in SPDX too.
alter table inventory_submissions drop constraint inventory_submissions_format_check,
    add constraint inventory_submissions_format_check check (format in ('host_report', 'cyclonedx', 'spdx'));

-- Pulls: each integration that is set up, with an address and what it asks for, has the schedule that its settings ask for. It is pulled at
-- once when it is new, has moved or has got another secret, and sooner when its interval becomes shorter.
alter table schedules
    add column integration text check (integration in ('wazuh', 'github')),
    add constraint schedules_integration_has_tenant check (integration is null or tenant_id is not null),
    add constraint schedules_integration_key unique (tenant_id, integration);

create function keep_pull_schedule(tenant uuid, wanted text, at_once boolean) returns void language plpgsql as $$
declare
    this_second constant timestamptz := date_trunc('second', now());
    title text := 'pull ' || wanted;
    minutes integer;
begin
    select case wanted when 'wazuh' then coalesce((i.settings ->> 'poll_interval_minutes')::integer, 15) else 1440 end
      into minutes
      from integrations i
     where i.tenant_id = tenant and i.name = wanted
       and (wanted = 'wazuh' and i.settings ->> 'url' is not null
            or wanted = 'github' and i.settings ->> 'org' is not null
               and (i.settings ->> 'auth_type' is distinct from 'app' or i.settings ->> 'app_id' is not null))
       and exists (select from integration_secrets s
                    where s.tenant_id = tenant and s.integration = wanted
                      and s.name = case when wanted = 'wazuh' then 'api_key'
                                        when i.settings ->> 'auth_type' = 'app' then 'private_key' else 'pat' end);
    if minutes is null then
        delete from schedules where tenant_id = tenant and integration = wanted;
        return;
    end if;
    -- Somebody may have given one of their own this name.
    if exists (select from schedules s
                where s.tenant_id = tenant and lower(s.name) = title and s.integration is distinct from wanted) then
        title := title || ' ' || left(gen_random_uuid()::text, 8);
    end if;
    insert into schedules (tenant_id, name, kind, payload, interval_minutes, is_built_in, integration, next_run_at)
    values (tenant, title, 'pull_inventory', jsonb_build_object('tenant_id', tenant, 'integration', wanted), minutes, true, wanted,
            this_second)
        on conflict on constraint schedules_integration_key do update
       set interval_minutes = excluded.interval_minutes,
           next_run_at = case
               when not schedules.enabled then schedules.next_run_at
               when at_once then this_second
               when schedules.interval_minutes <> excluded.interval_minutes
                    then least(schedules.next_run_at, this_second + make_interval(mins => excluded.interval_minutes))
               else schedules.next_run_at end
     where at_once or schedules.interval_minutes <> excluded.interval_minutes;
end $$;

create function integrations_keep_schedule() returns trigger language plpgsql as $$
declare
    had constant jsonb := case when tg_op = 'UPDATE' then old.settings end;
    hours constant integer := (new.settings ->> 'staleness_threshold_hours')::integer;
begin
    if new.name not in ('wazuh', 'github') then
        return null;
    end if;
    perform keep_pull_schedule(new.tenant_id, new.name,
        tg_op = 'UPDATE' and (had -> 'url', had -> 'org', had -> 'auth_type', had -> 'app_id') is distinct from
            (new.settings -> 'url', new.settings -> 'org', new.settings -> 'auth_type', new.settings -> 'app_id'));
    if hours is not null and tg_op = 'UPDATE' and hours is distinct from (had ->> 'staleness_threshold_hours')::integer then
        update assets set stale_after_hours = hours
         where tenant_id = new.tenant_id and stale_after_hours <> hours
           and id in (select p.asset_id from pulled_items p where p.tenant_id = new.tenant_id and p.integration = new.name);
    end if;
    return null;
end $$;
create trigger integrations_schedule after insert or update of settings on integrations
    for each row execute function integrations_keep_schedule();

-- Wrapping a secret anew, which changes `secret_key` alone, is none of this.
create function integration_secrets_keep_schedule() returns trigger language plpgsql as $$
declare
    changed constant integration_secrets := case when tg_op = 'DELETE' then old else new end;
begin
    if changed.integration in ('wazuh', 'github') then
        perform keep_pull_schedule(changed.tenant_id, changed.integration, tg_op <> 'DELETE');
    end if;
    return null;
end $$;
create trigger integration_secrets_schedule after insert or delete or update of secret on integration_secrets
    for each row execute function integration_secrets_keep_schedule();

-- What is set up already. The owner of the schema is held to the policies like everybody: plimsoll_system sees every tenant.
set local role plimsoll_system;
do $$
begin
    perform keep_pull_schedule(i.tenant_id, i.name, true) from integrations i where i.name in ('wazuh', 'github');
end $$;
reset role;
