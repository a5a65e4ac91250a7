-- Schedules: what comes round by itself, and the record of each time it came.
--
-- Every recurring thing is a row of `schedules`, the built-in ones too. Few rows: tens a tenant, one for each source. When a
-- cron expression comes is worked out in Rust (`queue::schedule`), so that the preview and the scheduler agree; `next_run_at`
-- is the result, and null asks for it to be worked out. `schedule_firings` has one row for each nominal time, written
-- in the transaction of the job it made: that, and nothing else, is why no number of schedulers makes two.
create table schedules (
    id              uuid primary key default gen_random_uuid(),
    -- Null: for the installation itself.
    tenant_id       uuid references tenants (id),
    name            text not null check (length(name) between 1 and 100),
    kind            text not null,
    -- Version of the payload's shape, as in `jobs`.
    kind_version    integer not null default 1,
    payload         jsonb not null default '{}',
    cron            text check (length(cron) between 1 and 256),
    -- A name of the IANA database, never an offset.
    time_zone       text not null default 'UTC',
    interval_minutes integer check (interval_minutes between 1 and 525600),
    enabled         boolean not null default true,
    -- Why the scheduler gave it up.
    disabled_reason text,
    catch_up        text not null default 'last' check (catch_up in ('skip', 'last', 'all')),
    catch_up_window_minutes integer not null default 1440 check (catch_up_window_minutes between 1 and 10080),
    overlap         text not null default 'skip' check (overlap in ('allow', 'skip', 'queue_one')),
    -- Comes with the program: may be changed and turned off, not deleted.
    is_built_in     boolean not null default false,
    -- The source whose interval this is; its settings decide.
    source_id       uuid constraint schedules_source_id_key unique references sources (id) on delete cascade,
    next_run_at     timestamptz,
    -- Release of the time zone database that `next_run_at` was worked out with.
    time_zone_version text,
    -- Nominal times up to this one have been dealt with.
    done_until timestamptz,
    -- The last job it made.
    last_job_id     uuid,
    created_by      uuid,
    created_at      timestamptz not null default now(),
    constraint schedules_one_timetable check ((cron is null) <> (interval_minutes is null)),
    -- A tenant's schedule works for that tenant.
    constraint schedules_payload_of_tenant check (payload ->> 'tenant_id' is not distinct from tenant_id::text)
);
-- `nulls not distinct` would say it shorter, and needs Postgres 15.
create unique index schedules_name_key
    on schedules (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), lower(name));
create index schedules_due_idx on schedules (next_run_at) where enabled;

alter table schedules enable row level security;
alter table schedules force row level security;
-- A tenant sees its own and those of the installation, as it does jobs.
create policy tenant_rows on schedules to plimsoll_app
    using (tenant_id is null or tenant_id = app_tenant())
    with check (tenant_id is null or tenant_id = app_tenant());
create policy every_row on schedules to plimsoll_system using (true) with check (true);
grant select, insert, update, delete on schedules to plimsoll_app;
grant select, insert, update, delete on schedules to plimsoll_system;

-- What became of each nominal time. Kept for ninety days.
create table schedule_firings (
    schedule_id  uuid not null references schedules (id) on delete cascade,
    -- The time it was for. For a run that somebody asked for: when they did.
    nominal_at   timestamptz not null,
    fired_at     timestamptz not null default now(),
    -- enqueued: it made a job. joined: the same work was waiting or running, and that is its job. waiting: it makes one when the
    -- one before is finished. skipped: the one before was not finished. missed: no scheduler ran then, nor until `missed_until`.
    outcome      text not null check (outcome in ('enqueued', 'joined', 'waiting', 'skipped', 'missed')),
    job_id       uuid,
    missed_until timestamptz,
    requested_by uuid,
    primary key (schedule_id, nominal_at),
    constraint schedule_firings_job check ((outcome in ('enqueued', 'joined')) = (job_id is not null)),
    constraint schedule_firings_missed check ((outcome = 'missed') = (missed_until is not null))
);
create index schedule_firings_waiting_idx on schedule_firings (schedule_id) where outcome = 'waiting';
create index schedule_firings_fired_idx on schedule_firings (fired_at);
-- Readable through the schedule it belongs to: the policy on schedules decides.
alter table schedule_firings enable row level security;
alter table schedule_firings force row level security;
create policy firings_of_visible_schedules on schedule_firings to plimsoll_app
    using (exists (select from schedules where schedules.id = schedule_id))
    with check (exists (select from schedules where schedules.id = schedule_id));
create policy every_row on schedule_firings to plimsoll_system using (true) with check (true);
grant select, insert, update on schedule_firings to plimsoll_app;
grant select, insert, update, delete on schedule_firings to plimsoll_system;

-- Crawls: each source has the schedule that its settings ask for. A source that is new or has moved is crawled at once, one
-- with a shorter interval by that.
alter table sources drop column next_crawl_at;

create function sources_keep_schedule() returns trigger language plpgsql as $$
declare
    has_moved constant boolean := tg_op = 'UPDATE' and new.url is distinct from old.url;
    this_second constant timestamptz := date_trunc('second', now());
begin
    insert into schedules (name, kind, payload, interval_minutes, enabled, is_built_in, source_id, next_run_at)
    values ('crawl ' || new.slug, 'crawl_source', jsonb_build_object('source_id', new.id), new.crawl_interval_minutes,
            new.enabled, true, new.id, this_second)
        on conflict (source_id) do update
       set interval_minutes = excluded.interval_minutes,
           enabled = excluded.enabled,
           next_run_at = case
               when has_moved then this_second
               when schedules.interval_minutes <> excluded.interval_minutes
                    then least(schedules.next_run_at, this_second + make_interval(mins => excluded.interval_minutes))
               -- What was turned off has missed nothing.
               when not schedules.enabled then greatest(schedules.next_run_at, this_second)
               else schedules.next_run_at end;
    return null;
end $$;
create trigger sources_schedule after insert or update of enabled, crawl_interval_minutes, url on sources
    for each row execute function sources_keep_schedule();

-- Correlation: every night for each tenant, for what no crawl or inventory has set off.
create function tenants_have_schedules() returns trigger language plpgsql as $$
begin
    insert into schedules (tenant_id, name, kind, payload, cron, is_built_in)
    values (new.id, 'nightly correlation', 'correlate', jsonb_build_object('tenant_id', new.id, 'asset_id', null),
            '30 2 * * *', true);
    return null;
end $$;
create trigger tenants_schedules after insert on tenants for each row execute function tenants_have_schedules();

-- What is there already. The owner of the schema is held to the policies like everybody: plimsoll_system sees every tenant.
set local role plimsoll_system;
-- Housekeeping of the installation.
insert into schedules (name, kind, cron, is_built_in)
values ('retention', 'purge_expired', '15 3 * * *', true),
       ('integrity of stored files', 'verify_artifacts', '45 3 * * *', true);
insert into schedules (name, kind, payload, interval_minutes, enabled, is_built_in, source_id, next_run_at)
select 'crawl ' || slug, 'crawl_source', jsonb_build_object('source_id', id), crawl_interval_minutes, enabled, true, id, date_trunc('second', now())
  from sources;
insert into schedules (tenant_id, name, kind, payload, cron, is_built_in)
select id, 'nightly correlation', 'correlate', jsonb_build_object('tenant_id', id, 'asset_id', null), '30 2 * * *', true
  from tenants;
reset role;
