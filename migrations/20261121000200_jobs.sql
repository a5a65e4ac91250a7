-- Jobs: the record of everything that was accepted and what became of it. Redis only carries ids.
--
-- One row a job, millions over time; the indexes that the hot paths use are partial, so that finished rows
-- cost them nothing. State machine (anything else is refused by the trigger below):
--
--   waiting ─┐ (for other jobs)
--   scheduled ─┐                     ┌─> completed
--   available ─┴> dispatched ─> running ─┼─> retryable ─> dispatched …
--        ^            │          │   ├─> cancelled
--        └────────────┴──────────┘   └─> dead
--
-- One table, not partitioned. Measured with ten million finished rows (4.4 GB with its indexes, attempts 1.5 GB) on two busy cores: a
-- dispatch of 500 jobs takes 1.4 times as long as with none, and removing a thousand finished jobs with their attempts takes
-- 0.15 to 0.2 s, so that retention removes some five thousand a second in steps that nobody waits behind. Every index that
-- dispatching reads is partial and stays at a few pages. Partitions would save the deletes, and cost the unique keys over all unfinished
-- jobs and the foreign keys.
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
                    check (state in ('waiting', 'scheduled', 'available', 'dispatched', 'running', 'retryable',
                                     'completed', 'cancelled', 'dead')),
    run_at          timestamptz not null default now(),
    attempt         integer not null default 0 check (attempt >= 0),
    max_attempts    integer not null check (max_attempts >= 1),
    -- Leases that ran out without a verdict, counted apart from failures.
    crashes         integer not null default 0 check (crashes >= 0),
    timeout_seconds integer not null check (timeout_seconds > 0),
    unique_key      text,
    -- At most one job with the same key runs at a time. Parked: met by a relay while another job had the key.
    concurrency_key text,
    parked          boolean not null default false,
    -- Whose turn it is to be counted on: the tenant, or all zeros for the installation.
    lane            uuid generated always as (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000')) stored,
    fence           bigint,
    leased_by       text,
    leased_until    timestamptz,
    cancel_requested boolean not null default false,
    progress        smallint not null default 0 check (progress between 0 and 100),
    progress_note   text,
    result          jsonb,
    dead_reason     text check (dead_reason in ('exhausted', 'poison', 'invalid_payload', 'timeout', 'discarded',
                                                 'dependency')),
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
-- The predicates differ so that each of the engine's look-ups implies one of them only: an index for each, and nothing for the planner
-- to get wrong when the statistics are of another hour.
-- What may be dispatched, in the order it should be: within a lane by priority, oldest first.
create index jobs_ready_idx on jobs (queue, lane, priority, run_at, id) where state = 'available' and not parked;
-- What waits for its time, by when it comes.
create index jobs_later_idx on jobs (run_at) where state in ('scheduled', 'retryable');
-- What waits for a key that another job has.
create index jobs_parked_idx on jobs (concurrency_key, priority, run_at, id) where state = 'available' and parked;
-- What somebody holds, by queue, and by when the hold runs out.
create index jobs_held_idx on jobs (queue, lane, state) where state in ('dispatched', 'running');
create index jobs_leases_idx on jobs (leased_until) where state in ('dispatched', 'running') and leased_until is not null;
create unique index jobs_unique_key on jobs (kind, unique_key) where unique_key is not null and finished_at is null;
create index jobs_concurrency_idx on jobs (concurrency_key) where concurrency_key is not null and leased_until is not null;
create index jobs_tenant_idx on jobs (tenant_id, created_at desc, id desc);
-- What retention removes, by state, the oldest first.
create index jobs_finished_idx on jobs (state, finished_at) where finished_at is not null;

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
        'waiting>available', 'waiting>scheduled', 'waiting>cancelled', 'waiting>dead',
        'scheduled>dispatched', 'scheduled>available', 'scheduled>cancelled',
        'available>dispatched', 'available>cancelled',
        'retryable>dispatched', 'retryable>available', 'retryable>cancelled',
        'dispatched>running', 'dispatched>available', 'dispatched>cancelled', 'dispatched>dead',
        'running>completed', 'running>retryable', 'running>scheduled', 'running>available',
        'running>cancelled', 'running>dead',
        'dead>available', 'dead>waiting', 'cancelled>available', 'cancelled>waiting']) then
        raise exception 'job % cannot go from % to %', old.id, old.state, new.state using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger jobs_transition before update of state on jobs
    for each row execute function jobs_check_transition();

-- Whoever gives up a key lets the next one in, whatever statement it was: the first of the parked jobs with that key is due again. A relay
-- parks a job while the holder may just be finishing, so relays also look for parked jobs whose key nobody has.
create function jobs_free_key() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update jobs set parked = false
     where id = (select id from jobs
                  where concurrency_key = old.concurrency_key and state = 'available' and parked
                  order by priority, run_at, id limit 1 for update skip locked);
    if found then
        perform pg_notify('plimsoll_jobs', old.queue);
    end if;
    return null;
end $$;
create trigger jobs_key_is_free after update of state on jobs for each row
    when (old.concurrency_key is not null and old.state in ('dispatched', 'running')
          and new.state not in ('dispatched', 'running'))
    execute function jobs_free_key();

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
                                        'left_to_newer', 'timeout', 'crashed', 'dead')),
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

-- Live workers, for the operator and for nothing else: leases alone decide who holds a job. The relay reads from it how many slots a
-- queue has. `wanted` is the operator's word, read with every heartbeat; `mode` is what the worker made of it.
create table workers (
    name         text primary key,
    host         text not null,
    version      text not null,
    queues       text[] not null,
    slots        integer not null,
    -- How many at once of queues[i]; rendering has fewer than the others.
    queue_slots  integer[] not null default '{}',
    wanted       text not null default 'work' check (wanted in ('work', 'quiet', 'drain')),
    mode         text not null default 'working' check (mode in ('working', 'quiet', 'draining')),
    started_at   timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
);
grant select on workers to plimsoll_app;
grant update (wanted) on workers to plimsoll_app;
grant select, insert, update, delete on workers to plimsoll_system;

-- What an operator may set for each queue while everything runs; one row for each queue, kept complete by the relay. Relays read it
-- before every dispatch. `revision` rises with every edit: a relay that sees a new one takes back what it sent by the older rules.
create table job_queues (
    queue          text primary key,
    paused_at      timestamptz,
    paused_by      uuid,
    -- At most so many at once over all workers; null: as many as there are slots.
    max_running    integer check (max_running > 0),
    -- At most so many at once of one tenant that has no figure of its own in job_shares.
    max_per_tenant integer check (max_per_tenant > 0),
    -- A token bucket: rate_jobs at once after a rest, and then no more than rate_jobs in rate_seconds.
    rate_jobs      integer check (rate_jobs > 0),
    rate_seconds   integer check (rate_seconds > 0),
    tokens         double precision not null default 0,
    refilled_at    timestamptz not null default now(),
    revision       bigint not null default 1,
    constraint job_queues_rate_is_whole check ((rate_jobs is null) = (rate_seconds is null))
);
insert into job_queues (queue) values ('ingest'), ('analysis'), ('rendering'), ('delivery'), ('maintenance');
grant select on job_queues to plimsoll_app;
grant update (paused_at, paused_by, max_running, max_per_tenant, rate_jobs, rate_seconds, tokens, refilled_at, revision)
    on job_queues to plimsoll_app;
grant select, insert, update, delete on job_queues to plimsoll_system;

-- Tenants that get more or less than an equal share; a tenant without a row has weight 1 and the queue's limit. The lane is the
-- tenant's id, or all zeros for the installation's own work. No foreign key: a share of nobody does no harm.
create table job_shares (
    lane          uuid primary key,
    weight        integer not null default 1 check (weight between 1 and 1000),
    -- At most so many at once on each queue; null: the queue's max_per_tenant.
    max_in_flight integer check (max_in_flight > 0)
);
grant select, insert, update, delete on job_shares to plimsoll_system;

-- What the queues hold, over all tenants and telling nothing of any. Oldest: by one probe for each lane and priority, whatever the backlog.
create function job_queue_load() returns table (queue text, due bigint, later bigint, dispatched bigint, running bigint, oldest_due timestamptz)
    language sql stable security definer set search_path = public, pg_temp as $$
    with recursive heads as (
        select q.queue, h.lane, h.priority, h.run_at
          from job_queues q
          cross join lateral (select j.lane, j.priority, j.run_at from jobs j
                               where j.state = 'available' and not j.parked and j.queue = q.queue
                               order by j.lane, j.priority, j.run_at, j.id limit 1) h
        union all
        select before.queue, h.lane, h.priority, h.run_at
          from heads before
          cross join lateral (select j.lane, j.priority, j.run_at from jobs j
                               where j.state = 'available' and not j.parked and j.queue = before.queue
                                 and (j.lane, j.priority) > (before.lane, before.priority)
                               order by j.lane, j.priority, j.run_at, j.id limit 1) h
    ), oldest as (select queue, min(run_at) as run_at from heads group by queue),
    waiting as (select j.queue, count(*) as jobs from jobs j where j.state = 'available' group by j.queue),
    later as (select j.queue, count(*) as jobs from jobs j where j.state in ('scheduled', 'retryable') group by j.queue),
    held as (select j.queue, count(*) filter (where j.state = 'dispatched') as dispatched,
                    count(*) filter (where j.state = 'running') as running
               from jobs j where j.state in ('dispatched', 'running') group by j.queue)
    select q.queue, coalesce(waiting.jobs, 0), coalesce(later.jobs, 0), coalesce(held.dispatched, 0), coalesce(held.running, 0),
           oldest.run_at
      from job_queues q
      left join oldest on oldest.queue = q.queue
      left join waiting on waiting.queue = q.queue
      left join later on later.queue = q.queue
      left join held on held.queue = q.queue
$$;

-- Shares name tenants, which the application's role sees one of.
create function job_share_set(of_lane uuid, new_weight integer, new_max_in_flight integer) returns void
    language sql security definer set search_path = public, pg_temp as $$
    insert into job_shares (lane, weight, max_in_flight) values (of_lane, new_weight, new_max_in_flight)
    on conflict (lane) do update set weight = excluded.weight, max_in_flight = excluded.max_in_flight
$$;
create function job_share_list() returns setof job_shares
    language sql stable security definer set search_path = public, pg_temp as $$
    select * from job_shares order by lane
$$;
grant create on schema public to plimsoll_system;
alter function jobs_free_key() owner to plimsoll_system;
alter function job_queue_load() owner to plimsoll_system;
alter function job_share_set(uuid, integer, integer) owner to plimsoll_system;
alter function job_share_list() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function job_queue_load(), job_share_set(uuid, integer, integer), job_share_list() from public;
grant execute on function job_queue_load(), job_share_set(uuid, integer, integer), job_share_list()
    to plimsoll_app, plimsoll_system;

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
