-- Jobs: the record of everything that was accepted and what became of it. Redis only carries ids.
--
-- One row a job, millions over time; the indexes that the hot paths use are partial, so that finished rows
-- cost them nothing. State machine (anything else is refused by the trigger below):
--
--   scheduled ─┐                     ┌─> completed
--   available ─┴> dispatched ─> running ─┼─> retryable ─> dispatched …
--        ^            │          │   ├─> cancelled
--        └────────────┴──────────┘   └─> dead
--
-- Time is the database's clock throughout. `fence` rises with every dispatch; whoever writes with an older
-- one is late and changes nothing.
create sequence job_fences;
grant usage on sequence job_fences to plimsoll_system;

create table jobs (
    id              uuid primary key,
    -- Null: work of the installation itself, such as crawling a public feed.
    tenant_id       uuid references tenants (id),
    kind            text not null,
    -- Version of the payload's shape, so that an older worker leaves newer payloads alone.
    kind_version    integer not null default 1,
    queue           text not null,
    priority        smallint not null default 5 check (priority between 0 and 9),
    payload         jsonb not null,
    state           text not null default 'available'
                    check (state in ('scheduled', 'available', 'dispatched', 'running', 'retryable',
                                     'completed', 'cancelled', 'dead')),
    run_at          timestamptz not null default now(),
    attempt         integer not null default 0 check (attempt >= 0),
    max_attempts    integer not null check (max_attempts >= 1),
    -- Leases that ran out without a verdict, counted apart from failures.
    crashes         integer not null default 0 check (crashes >= 0),
    timeout_seconds integer not null check (timeout_seconds > 0),
    unique_key      text,
    -- At most one job with the same key runs at a time.
    concurrency_key text,
    fence           bigint,
    leased_by       text,
    leased_until    timestamptz,
    cancel_requested boolean not null default false,
    progress        smallint not null default 0 check (progress between 0 and 100),
    progress_note   text,
    result          jsonb,
    dead_reason     text check (dead_reason in ('exhausted', 'poison', 'invalid_payload', 'timeout', 'discarded')),
    last_error      text,
    requested_by    uuid,
    trace_context   text,
    created_at      timestamptz not null default now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    constraint jobs_lease_while_held check ((state in ('dispatched', 'running')) = (leased_until is not null)),
    constraint jobs_finished_when_final
        check ((state in ('completed', 'cancelled', 'dead')) = (finished_at is not null)),
    constraint jobs_dead_has_reason check ((state = 'dead') = (dead_reason is not null))
);
-- What may be dispatched, in the order it should be.
create index jobs_due_idx on jobs (queue, priority, run_at, id) where state in ('available', 'scheduled', 'retryable');
-- What somebody holds, by when the hold runs out.
create index jobs_leases_idx on jobs (leased_until) where state in ('dispatched', 'running');
create unique index jobs_unique_key on jobs (kind, unique_key)
    where unique_key is not null and state in ('scheduled', 'available', 'dispatched', 'running', 'retryable');
create index jobs_concurrency_idx on jobs (concurrency_key)
    where concurrency_key is not null and state in ('dispatched', 'running');
create index jobs_tenant_idx on jobs (tenant_id, created_at desc, id desc);
create index jobs_finished_idx on jobs (finished_at) where finished_at is not null;

alter table jobs enable row level security;
alter table jobs force row level security;
-- A tenant sees its own jobs and those of the installation (crawls of public feeds), and no other tenant's.
create policy tenant_rows on jobs to plimsoll_app
    using (tenant_id is null or tenant_id = app_tenant())
    with check (tenant_id is null or tenant_id = app_tenant());
create policy every_row on jobs to plimsoll_system using (true) with check (true);
grant select, insert on jobs to plimsoll_app;
grant update (cancel_requested) on jobs to plimsoll_app;
grant select, insert, update, delete on jobs to plimsoll_system;

create function jobs_check_transition() returns trigger language plpgsql as $$
begin
    if old.state <> new.state and not (old.state || '>' || new.state) = any (array[
        'scheduled>dispatched', 'scheduled>available', 'scheduled>cancelled',
        'available>dispatched', 'available>cancelled',
        'retryable>dispatched', 'retryable>available', 'retryable>cancelled',
        'dispatched>running', 'dispatched>available', 'dispatched>cancelled', 'dispatched>dead',
        'running>completed', 'running>retryable', 'running>scheduled', 'running>available',
        'running>cancelled', 'running>dead',
        'dead>available', 'cancelled>available']) then
        raise exception 'job % cannot go from % to %', old.id, old.state, new.state using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger jobs_transition before update of state on jobs
    for each row execute function jobs_check_transition();

-- COMMIT rings the doorbell: relays listen and dispatch at once. Identical notifications of one
-- transaction are folded by Postgres, so a bulk insert rings once for each queue.
create function jobs_announce() returns trigger language plpgsql as $$
begin
    perform pg_notify('plimsoll_jobs', queue) from (select distinct queue from added) as queues;
    return null;
end $$;
create trigger jobs_added after insert on jobs
    referencing new table as added for each statement execute function jobs_announce();

-- Every attempt of every job: who, when, and how it ended. Deleted with its job.
create table job_attempts (
    job_id      uuid not null references jobs (id) on delete cascade,
    fence       bigint not null,
    attempt     integer not null,
    worker      text not null,
    started_at  timestamptz not null default now(),
    ended_at    timestamptz,
    outcome     text check (outcome in ('completed', 'retry', 'snoozed', 'discarded', 'cancelled', 'interrupted',
                                        'timeout', 'crashed', 'dead')),
    error_class text,
    error       text,
    primary key (job_id, fence)
);
-- Readable through the job it belongs to: the policy on jobs decides.
alter table job_attempts enable row level security;
alter table job_attempts force row level security;
create policy attempts_of_visible_jobs on job_attempts for select to plimsoll_app
    using (exists (select from jobs where jobs.id = job_id));
create policy every_row on job_attempts to plimsoll_system using (true) with check (true);
grant select on job_attempts to plimsoll_app;
grant select, insert, update, delete on job_attempts to plimsoll_system;

-- Live workers, for the operator and for nothing else: leases alone decide who holds a job.
create table workers (
    name         text primary key,
    host         text not null,
    version      text not null,
    queues       text[] not null,
    slots        integer not null,
    started_at   timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
);
grant select on workers to plimsoll_app;
grant select, insert, update, delete on workers to plimsoll_system;

-- Recurring work of the installation. Few rows. `next_run_at` moves in the transaction that enqueues.
create table recurring_jobs (
    name             text primary key,
    kind             text not null,
    payload          jsonb not null,
    interval_seconds integer not null check (interval_seconds >= 60),
    enabled          boolean not null default true,
    next_run_at      timestamptz not null default now(),
    last_run_at      timestamptz
);
grant select on recurring_jobs to plimsoll_app;
grant select, insert, update, delete on recurring_jobs to plimsoll_system;
insert into recurring_jobs (name, kind, payload, interval_seconds, next_run_at)
values ('purge_expired', 'purge_expired', '{}', 86400, now() + interval '1 hour');

-- Idempotency-Key of requests that make a job: the same key and body give the same answer for a day.
create table idempotency_keys (
    tenant_id    uuid not null references tenants (id),
    route        text not null,
    key          text not null check (length(key) between 1 and 255),
    request_hash bytea not null,
    status       smallint not null,
    location     text,
    body         jsonb not null,
    created_at   timestamptz not null default now(),
    primary key (tenant_id, route, key)
);
create index idempotency_keys_created_idx on idempotency_keys (created_at);
call protect_tenant_rows('idempotency_keys');
grant select, insert, delete on idempotency_keys to plimsoll_app;
grant select, insert, update, delete on idempotency_keys to plimsoll_system;
