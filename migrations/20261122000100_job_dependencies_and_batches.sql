-- Jobs that wait for other jobs, work that is done once in a period, and what operators may do to jobs.
--
-- A job in state `waiting` has `pending_dependencies` of the jobs it waits for left. The counter falls in the
-- transaction that ends one of them, whichever statement that is: completion, cancellation, a verdict or a rescue.
-- A batch is a job of the kind `finish_batch` that waits for its members; its progress is read off the rows below.
--
-- Whoever changes more than one job takes locks in one order: rows that do not wait, then the lock named in
-- jobs_lock_waiting(), then rows that wait. So ends of many jobs, cancellations and retries cannot block each other.
alter table jobs
    -- As unique_key, but only a job that has not begun counts.
    add column fold_key text,
    add column pending_dependencies integer not null default 0 check (pending_dependencies >= 0),
    -- Somebody waits, or has waited, for this one. Lets the trigger below cost nothing to all others.
    add column has_dependents boolean not null default false,
    -- A waiting job waits no longer than until then.
    add column wait_until timestamptz,
    add constraint jobs_waits_for_something check ((state = 'waiting') = (pending_dependencies > 0));
create index jobs_fold_idx on jobs (kind, fold_key)
    where fold_key is not null and state in ('waiting', 'scheduled', 'available', 'retryable');
create index jobs_wait_until_idx on jobs (wait_until) where state = 'waiting' and wait_until is not null;
-- What an operator looks for among millions that went well.
create index jobs_failed_idx on jobs (tenant_id, created_at desc, id desc) where state in ('dead', 'cancelled');
create index jobs_waiting_idx on jobs (tenant_id, created_at desc, id desc) where state = 'waiting';
create index jobs_batches_idx on jobs (tenant_id, created_at desc, id desc) where kind = 'finish_batch';

-- What each live build can do: {"correlate": 1, …}, the newest version of each kind's payload that it reads.
alter table workers add column kinds jsonb not null default '{}';

-- True in a transaction of an administrator of the installation who asked for the jobs of every tenant.
create function app_sees_installation() returns boolean language sql stable parallel safe
    return coalesce(current_setting('app.installation', true), '') = 'on';
create policy installation_rows on jobs for select to plimsoll_app using (app_sees_installation());

-- Whether this transaction may cancel and retry jobs of that tenant; null is the installation.
create function app_may_change_jobs(of_tenant uuid) returns boolean language sql stable parallel safe
    return current_setting('role') = 'plimsoll_system' or app_sees_installation()
        or coalesce(of_tenant = app_tenant(), false);

-- Who waits for whom, and what came of it. As many rows as there are dependencies; deleted with the job that waits.
-- `depends_on` may outlive its job, which retention removes by its own age.
create table job_dependencies (
    job_id      uuid not null references jobs (id) on delete cascade,
    depends_on  uuid not null,
    -- When the other one is cancelled or dead: fail as well, run anyway, or wait until somebody has retried it.
    -- first_attempt: run anyway, and do not wait for a second attempt either.
    on_failure  text not null check (on_failure in ('fail', 'run', 'wait', 'first_attempt')),
    outcome     text check (outcome in ('completed', 'cancelled', 'dead', 'went_on')),
    resolved_at timestamptz,
    primary key (job_id, depends_on),
    constraint job_dependencies_resolved check ((outcome is null) = (resolved_at is null))
);
create index job_dependencies_awaited_idx on job_dependencies (depends_on);
alter table job_dependencies enable row level security;
alter table job_dependencies force row level security;
create policy dependencies_of_visible_jobs on job_dependencies for select to plimsoll_app
    using (exists (select from jobs where jobs.id = job_id));
create policy every_row on job_dependencies to plimsoll_system using (true) with check (true);
grant select on job_dependencies to plimsoll_app;
grant select, insert, update, delete on job_dependencies to plimsoll_system;

-- A dependency is given to a job that waits and that nobody waits for: so no cycle can come about, whoever writes.
-- Marks the other job, and holds its row so that it cannot end unnoticed until this transaction does.
create function job_dependencies_check() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update jobs set has_dependents = true where id = new.depends_on;
    if not found then
        raise exception 'job % depends on %, which does not exist', new.job_id, new.depends_on
            using errcode = 'foreign_key_violation';
    end if;
    perform from jobs where id = new.job_id and state = 'waiting' and not has_dependents for update;
    if not found then
        raise exception 'job % cannot be given a dependency: it does not wait, or others wait for it', new.job_id
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger job_dependencies_are_acyclic before insert on job_dependencies
    for each row execute function job_dependencies_check();

-- Held by whoever lets waiting jobs go or makes jobs wait, until the transaction ends.
create function jobs_lock_waiting() returns void language sql as $$
    select pg_advisory_xact_lock(7202611220001)
$$;

-- A job that others wait for has ended, or an attempt at it has.
create function jobs_settle_dependents() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    ready text;
begin
    perform jobs_lock_waiting();
    for ready in
        with settled as (
            update job_dependencies d
               set outcome = case when new.finished_at is null then 'went_on' else new.state end, resolved_at = now()
             where d.depends_on = new.id and d.resolved_at is null
               and (new.state = 'completed' or d.on_failure = 'first_attempt'
                    or (new.finished_at is not null and d.on_failure <> 'wait'))
         returning d.job_id, d.on_failure = 'fail' and new.state <> 'completed' as fails
        ), moved as (
            update jobs j
               set state = case when s.fails then 'dead'
                                when j.pending_dependencies > 1 then 'waiting'
                                when j.run_at > now() then 'scheduled'
                                else 'available' end,
                   pending_dependencies = case when s.fails then 0 else j.pending_dependencies - 1 end,
                   dead_reason = case when s.fails then 'dependency' end,
                   finished_at = case when s.fails then now() end,
                   last_error = case when s.fails
                                     then format('it depends on %s %s, which is %s', new.kind, new.id, new.state)
                                     else j.last_error end
              from settled s
             where j.id = s.job_id and j.state = 'waiting'
         returning j.queue, j.state
        )
        select distinct moved.queue from moved where moved.state = 'available'
    loop
        perform pg_notify('plimsoll_jobs', ready);
    end loop;
    return null;
end $$;
create trigger jobs_settled after update of state on jobs for each row
    when (new.has_dependents and old.state <> new.state and (new.finished_at is not null or old.state = 'running'))
    execute function jobs_settle_dependents();

-- Makes `dependent`, which was inserted as waiting, wait for `children`. Returns its state: what has ended already counts.
create function jobs_depend(dependent uuid, children uuid[], failure text, patience_seconds double precision) returns text
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    state_now text;
    unseen    uuid;
begin
    select child into unseen from unnest(children) as child
     where not exists (select from jobs j where j.id = child
                          and (j.tenant_id is null or app_may_change_jobs(j.tenant_id)))
     limit 1;
    if found then
        raise exception 'job % depends on %, which does not exist', dependent, unseen
            using errcode = 'foreign_key_violation';
    end if;
    insert into job_dependencies (job_id, depends_on, on_failure)
    select dependent, j.id, failure from jobs j where j.id = any (children) order by j.state = 'waiting', j.id;
    update job_dependencies d
       set outcome = case when j.finished_at is null then 'went_on' else j.state end, resolved_at = now()
      from jobs j
     where d.job_id = dependent and j.id = d.depends_on
       and (j.state = 'completed' or (j.finished_at is not null and d.on_failure <> 'wait')
            or (j.state = 'retryable' and d.on_failure = 'first_attempt'));
    update jobs j
       set state = case when edges.fails then 'dead' when edges.pending > 0 then 'waiting'
                        when j.run_at > now() then 'scheduled' else 'available' end,
           pending_dependencies = case when edges.fails then 0 else edges.pending end,
           wait_until = now() + make_interval(secs => patience_seconds),
           dead_reason = case when edges.fails then 'dependency' end,
           finished_at = case when edges.fails then now() end,
           last_error = case when edges.fails then 'it depends on a job that had failed already' end
      from (select count(*) filter (where outcome is null) as pending,
                   coalesce(bool_or(on_failure = 'fail' and outcome in ('cancelled', 'dead')), false) as fails
              from job_dependencies where job_id = dependent) as edges
     where j.id = dependent
 returning j.state into state_now;
    return state_now;
end $$;

-- Lets those go that have waited long enough. Called by every rescue; costs a look at an index when there is nothing to do.
create function jobs_stop_waiting() returns bigint
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    ready    text;
    released bigint := 0;
begin
    if not exists (select from jobs where state = 'waiting' and wait_until < now()) then
        return 0;
    end if;
    perform jobs_lock_waiting();
    for ready in
        with overdue as (
            update jobs set state = 'available', pending_dependencies = 0, run_at = now()
             where state = 'waiting' and wait_until < now()
         returning id, queue
        ), noted as (
            update job_dependencies d set outcome = 'went_on', resolved_at = now()
              from overdue where d.job_id = overdue.id and d.resolved_at is null
        )
        select overdue.queue from overdue
    loop
        released := released + 1;
        perform pg_notify('plimsoll_jobs', ready);
    end loop;
    return released;
end $$;

-- The job of that kind and fold_key that has not begun, if there is one, made due by `due_at` at the latest. It cannot begin
-- before this transaction ends; and of two transactions that ask, the second sees what the first has done.
create function jobs_fold(of_kind text, of_key text, due_at timestamptz) returns uuid
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    folded uuid;
begin
    perform pg_advisory_xact_lock(hashtextextended('plimsoll fold ' || of_kind || ' ' || of_key, 0));
    select id into folded from jobs
     where kind = of_kind and fold_key = of_key and state in ('waiting', 'scheduled', 'available', 'retryable')
       and not cancel_requested
     order by created_at, id limit 1 for update skip locked;
    update jobs
       set run_at = due_at, state = case when state = 'scheduled' and due_at <= now() then 'available' else state end
     where id = folded and state in ('waiting', 'scheduled') and run_at > due_at;
    return folded;
end $$;

-- Cancels what has not ended: at once what nobody runs, and otherwise by asking the worker. Returns what it changed.
create function jobs_cancel(wanted uuid[]) returns table (job_id uuid, new_state text)
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    for pass in 1..2 loop
        if pass = 2 then
            exit when not exists (select from jobs j where j.id = any (wanted) and j.state = 'waiting');
            perform jobs_lock_waiting();
        end if;
        for job_id, new_state in
            with asked as (
                select j.id from jobs j
                 where j.id = any (wanted) and j.finished_at is null and not j.cancel_requested
                   and (pass = 2 or j.state <> 'waiting') and app_may_change_jobs(j.tenant_id)
                 order by j.id for update
            )
            update jobs j
               set cancel_requested = true,
                   state = case when j.state = 'running' then j.state else 'cancelled' end,
                   leased_until = case when j.state = 'running' then j.leased_until end,
                   pending_dependencies = 0,
                   finished_at = case when j.state <> 'running' then now() end
              from asked where j.id = asked.id
         returning j.id, j.state
        loop
            if new_state = 'running' then
                perform pg_notify('plimsoll_cancel', job_id::text);
            end if;
            return next;
        end loop;
    end loop;
end $$;

-- Begins again what is dead or cancelled, with all its attempts, and does at once what waits to be tried again. What died of a
-- job that is retried comes back with it, and waits for it. Returns what it changed; `conflict` for a job whose
-- unique key another unfinished job has.
create function jobs_retry(wanted uuid[]) returns table (job_id uuid, new_state text)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    pending integer;
    of_queue text;
begin
    for job_id, new_state, of_queue in
        update jobs j set state = 'available', run_at = now()
         where j.id in (select r.id from jobs r
                         where r.id = any (wanted) and r.state = 'retryable' and app_may_change_jobs(r.tenant_id)
                         order by r.id for update)
           and j.state = 'retryable'
     returning j.id, j.state, j.queue
    loop
        perform pg_notify('plimsoll_jobs', of_queue);
        return next;
    end loop;
    perform jobs_lock_waiting();
    for job_id, of_queue in
        with recursive again as (
            select j.id from jobs j
             where j.id = any (wanted) and j.state in ('dead', 'cancelled') and app_may_change_jobs(j.tenant_id)
             union
            select parent.id
              from again
              join job_dependencies d on d.depends_on = again.id and d.on_failure = 'fail'
              join jobs parent on parent.id = d.job_id and parent.dead_reason = 'dependency'
        )
        select j.id, j.queue from jobs j
         where j.id in (select again.id from again) and j.state in ('dead', 'cancelled') order by j.id for update
    loop
        begin
            update job_dependencies d
               set outcome = case when child.state = 'completed' then 'completed' end,
                   resolved_at = case when child.state = 'completed' then now() end
              from jobs child
             where d.job_id = jobs_retry.job_id and child.id = d.depends_on
               and d.on_failure in ('fail', 'wait') and d.outcome is distinct from 'completed';
            select count(*) into pending from job_dependencies d
             where d.job_id = jobs_retry.job_id and d.resolved_at is null;
            update jobs j
               set state = case when pending > 0 then 'waiting' else 'available' end, pending_dependencies = pending,
                   wait_until = null, attempt = 0, crashes = 0, cancel_requested = false, parked = false, run_at = now(),
                   progress = 0, progress_note = null, dead_reason = null, finished_at = null
             where j.id = jobs_retry.job_id
         returning j.state into new_state;
            perform pg_notify('plimsoll_jobs', of_queue);
        exception when unique_violation then
            new_state := 'conflict';
        end;
        return next;
    end loop;
end $$;

-- Work that is done at most once in a period: which job did it, and until when no other will. One row for each key; purged
-- when the period is over. Keys carry the tenant's id, as unique_key does.
create table job_periods (
    tenant_id uuid references tenants (id),
    kind      text not null,
    key       text not null,
    job_id    uuid not null,
    until     timestamptz not null,
    primary key (kind, key)
);
create index job_periods_until_idx on job_periods (until);
alter table job_periods enable row level security;
alter table job_periods force row level security;
create policy tenant_rows on job_periods to plimsoll_app
    using (tenant_id is null or tenant_id = app_tenant())
    with check (tenant_id is null or tenant_id = app_tenant());
create policy every_row on job_periods to plimsoll_system using (true) with check (true);
grant select, insert, update on job_periods to plimsoll_app;
grant select, insert, update, delete on job_periods to plimsoll_system;

grant create on schema public to plimsoll_system;
alter function job_dependencies_check() owner to plimsoll_system;
alter function jobs_settle_dependents() owner to plimsoll_system;
alter function jobs_depend(uuid, uuid[], text, double precision) owner to plimsoll_system;
alter function jobs_stop_waiting() owner to plimsoll_system;
alter function jobs_fold(text, text, timestamptz) owner to plimsoll_system;
alter function jobs_cancel(uuid[]) owner to plimsoll_system;
alter function jobs_retry(uuid[]) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function app_sees_installation(), app_may_change_jobs(uuid), jobs_lock_waiting(),
    jobs_depend(uuid, uuid[], text, double precision), jobs_stop_waiting(), jobs_fold(text, text, timestamptz), jobs_cancel(uuid[]),
    jobs_retry(uuid[]) from public;
grant execute on function app_sees_installation(), app_may_change_jobs(uuid), jobs_depend(uuid, uuid[], text, double precision),
    jobs_fold(text, text, timestamptz), jobs_cancel(uuid[]), jobs_retry(uuid[]) to plimsoll_app, plimsoll_system;
grant execute on function jobs_lock_waiting(), jobs_stop_waiting() to plimsoll_system;
