-- Settings that the whole installation shares or an organization owns, and the alerts that it is told by.

-- How long finished things are kept, in days. One row; `overrides` holds the tables that differ. What each word means and which
-- rows are purged is in the code that purges.
create table retention (
    id             text primary key default 'installation' check (id = 'installation'),
    retention_days integer not null default 30 check (retention_days between 1 and 3650),
    overrides      jsonb not null default '{"dead_jobs": 90, "scan_runs": 90, "schedule_firings": 90}'
                   check (jsonb_typeof(overrides) = 'object'),
    changed_at     timestamptz not null default now()
);
insert into retention default values;
revoke all on retention from plimsoll_app, plimsoll_system;
grant select, update (retention_days, overrides, changed_at) on retention to plimsoll_app;
grant select on retention to plimsoll_system;

-- What somebody should know of and see to. Some a day; those that were acknowledged are purged. As long as nobody has
-- acknowledged one, the same thing happening again counts in its row instead of making another.
create table alerts (
    tenant_id       uuid not null references tenants (id),
    id              uuid primary key default uuid_v7(),
    alert_type      text not null check (alert_type ~ '^[a-z][a-z0-9_.-]{0,63}$'),
    severity        text not null check (severity in ('critical', 'high', 'medium', 'low', 'informational')),
    title           text not null check (length(title) between 1 and 200),
    message         text not null default '' check (length(message) <= 4000),
    -- What it is about, where the product raised it. Null: a person wrote it.
    subject         text,
    occurrences     integer not null default 1 check (occurrences >= 1),
    created_by      uuid,
    created_at      timestamptz not null default now(),
    last_raised_at  timestamptz not null default now(),
    acknowledged_at timestamptz,
    acknowledged_by uuid,
    constraint alerts_created_by_fkey foreign key (tenant_id, created_by) references users (tenant_id, id),
    constraint alerts_acknowledged_by_fkey foreign key (tenant_id, acknowledged_by) references users (tenant_id, id)
);
create index alerts_list_idx on alerts (tenant_id, created_at desc, id desc);
create unique index alerts_open_key on alerts (tenant_id, alert_type, subject)
    where acknowledged_at is null and subject is not null;
create index alerts_acknowledged_idx on alerts (acknowledged_at) where acknowledged_at is not null;
call protect_tenant_rows('alerts');
revoke all on alerts from plimsoll_app;
grant select, insert, update (severity, title, message, occurrences, last_raised_at, acknowledged_at, acknowledged_by)
    on alerts to plimsoll_app;

-- Tells `tenant`, or every organization if it is null. In the caller's transaction: what is undone was never told.
create function raise_alert(tenant uuid, alert_type text, severity text, title text, message text, subject text)
    returns void language sql as $$
    insert into alerts as known (tenant_id, alert_type, severity, title, message, subject)
    select t.id, alert_type, severity, left(title, 200), left(message, 4000), subject
      from tenants t where tenant is null or t.id = tenant
        on conflict (tenant_id, alert_type, subject) where acknowledged_at is null and subject is not null
        do update set occurrences = known.occurrences + 1, last_raised_at = now(), severity = excluded.severity,
                      title = excluded.title, message = excluded.message
$$;
revoke execute on function raise_alert(uuid, text, text, text, text, text) from public;
grant execute on function raise_alert(uuid, text, text, text, text, text) to plimsoll_app, plimsoll_system;

-- Trigger: a job that was taken for the cause of its workers' ends is never run again by itself.
create function alert_of_poison() returns trigger language plpgsql as $$
begin
    perform raise_alert(new.tenant_id, 'job_poisoned', 'high', 'A job ended its worker again and again',
        format('The job %s of the kind %s was running when its worker vanished %s times. It is dead and is not tried again until '
               'somebody retries it.', new.id, new.kind, new.crashes), new.id::text);
    return null;
end $$;
create trigger jobs_alert_of_poison after update of state on jobs for each row
    when (new.state = 'dead' and old.state <> 'dead' and new.dead_reason = 'poison')
    execute function alert_of_poison();

-- Organizations whose findings follow from what all share. For administrators of the installation, whose settings change them.
create function tenants_with_assets() returns setof uuid
    language sql stable security definer set search_path = public, pg_temp as $$
    select t.id from tenants t
     where app_sees_installation() and exists (select from assets a where a.tenant_id = t.id)
     order by t.id
$$;
grant create on schema public to plimsoll_system;
alter function tenants_with_assets() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function tenants_with_assets() from public;
grant execute on function tenants_with_assets() to plimsoll_app;

-- Whether the installation is being maintained. One row. The API looks before every change.
create table maintenance (
    id         text primary key default 'installation' check (id = 'installation'),
    enabled    boolean not null default false,
    changed_at timestamptz not null default now()
);
insert into maintenance default values;
revoke all on maintenance from plimsoll_app, plimsoll_system;
grant select, update (enabled, changed_at) on maintenance to plimsoll_app;
grant select on maintenance to plimsoll_system;

-- Triggers: workers begin nothing while it lasts, those that start meanwhile neither. Those that were told to drain do.
create function workers_rest() returns trigger language plpgsql as $$
begin
    update workers set wanted = case when new.enabled then 'quiet' else 'work' end
     where wanted = case when new.enabled then 'work' else 'quiet' end;
    return null;
end $$;
create trigger workers_rest after update of enabled on maintenance for each row
    when (new.enabled <> old.enabled) execute function workers_rest();

create function worker_starts_quiet() returns trigger language plpgsql as $$
begin
    new.wanted := 'quiet';
    return new;
end $$;
create function is_maintained() returns boolean language sql stable
    return (select enabled from maintenance);
create trigger worker_starts_quiet before insert on workers for each row
    when (new.wanted = 'work' and is_maintained()) execute function worker_starts_quiet();
grant execute on function is_maintained() to plimsoll_app, plimsoll_system;
