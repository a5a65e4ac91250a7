-- A job that is retried stands for its key again: not beside another one that does the same work, whichever of the three keys says so.
--
-- The key of a period stands with the job, so that a retry knows it.
alter table jobs add column period_key text;

-- Begins a period of `of_key` with `job`, or leaves the present one as it is. Returns the job whose period it is now. Whoever asks for a key
-- waits for whoever asked before, so that each sees what the other has done.
create function jobs_begin_period(of_tenant uuid, of_kind text, of_key text, job uuid, seconds double precision) returns uuid
    language plpgsql set search_path = public, pg_temp as $$
declare
    holder uuid;
begin
    perform pg_advisory_xact_lock(hashtextextended('plimsoll period ' || of_kind || ' ' || of_key, 0));
    insert into job_periods as period (tenant_id, kind, key, job_id, until)
    values (of_tenant, of_kind, of_key, job, now() + make_interval(secs => seconds))
        on conflict (kind, key) do update set job_id = excluded.job_id, until = excluded.until
         where period.until <= now()
            or exists (select from jobs j
                        where j.id = period.job_id and (j.state in ('cancelled', 'dead') or j.cancel_requested))
 returning period.job_id into holder;
    if holder is null then
        select period.job_id into holder from job_periods period where period.kind = of_kind and period.key = of_key;
    end if;
    return holder;
end $$;

-- Whether another job does what `again` is for, or, of a key for a period, has done it. Takes the locks that whoever asks for the same work
-- takes, but waits for nobody: who has them is asking at this moment.
create function jobs_work_is_taken(again jobs) returns boolean
    language plpgsql set search_path = public, pg_temp as $$
begin
    if again.fold_key is not null then
        if not pg_try_advisory_xact_lock(hashtextextended('plimsoll fold ' || again.kind || ' ' || again.fold_key, 0))
           or exists (select from jobs j
                       where j.kind = again.kind and j.fold_key = again.fold_key and j.id <> again.id
                         and j.state in ('waiting', 'scheduled', 'available', 'retryable') and not j.cancel_requested) then
            return true;
        end if;
    end if;
    if again.period_key is not null then
        return not pg_try_advisory_xact_lock(hashtextextended('plimsoll period ' || again.kind || ' ' || again.period_key, 0))
            or exists (select from job_periods period
                        where period.kind = again.kind and period.key = again.period_key
                          and period.job_id <> again.id and period.until > now()
                          and not exists (select from jobs j
                                           where j.id = period.job_id
                                             and (j.state in ('cancelled', 'dead') or j.cancel_requested)));
    end if;
    return false;
end $$;

-- As before; `conflict` now is also the answer for a job of whose fold key another one has not begun, and of whose period another one is.
create or replace function jobs_retry(wanted uuid[]) returns table (job_id uuid, new_state text)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    pending  integer;
    of_queue text;
    job      jobs;
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
    for job in
        with recursive again as (
            select j.id from jobs j
             where j.id = any (wanted) and j.state in ('dead', 'cancelled') and app_may_change_jobs(j.tenant_id)
             union
            select parent.id
              from again
              join job_dependencies d on d.depends_on = again.id and d.on_failure = 'fail'
              join jobs parent on parent.id = d.job_id and parent.dead_reason = 'dependency'
        )
        select j.* from jobs j
         where j.id in (select again.id from again) and j.state in ('dead', 'cancelled') order by j.id for update
    loop
        job_id := job.id;
        new_state := 'conflict';
        if not jobs_work_is_taken(job) then
            begin
                update job_dependencies d
                   set outcome = case when child.state = 'completed' then 'completed' end,
                       resolved_at = case when child.state = 'completed' then now() end
                  from jobs child
                 where d.job_id = job.id and child.id = d.depends_on
                   and d.on_failure in ('fail', 'wait') and d.outcome is distinct from 'completed';
                select count(*) into pending from job_dependencies d where d.job_id = job.id and d.resolved_at is null;
                update jobs j
                   set state = case when pending > 0 then 'waiting' else 'available' end, pending_dependencies = pending,
                       wait_until = null, attempt = 0, crashes = 0, cancel_requested = false, parked = false, run_at = now(),
                       progress = 0, progress_note = null, dead_reason = null, finished_at = null
                 where j.id = job.id
             returning j.state into new_state;
                -- Whoever asks for the work of a period that is not over is given this job.
                update job_periods period set job_id = job.id
                 where period.kind = job.kind and period.key = job.period_key and period.until > now();
                perform pg_notify('plimsoll_jobs', job.queue);
            exception when unique_violation then
                new_state := 'conflict';
            end;
        end if;
        return next;
    end loop;
end $$;

grant create on schema public to plimsoll_system;
alter function jobs_begin_period(uuid, text, text, uuid, double precision) owner to plimsoll_system;
alter function jobs_work_is_taken(jobs) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function jobs_begin_period(uuid, text, text, uuid, double precision), jobs_work_is_taken(jobs) from public;
grant execute on function jobs_begin_period(uuid, text, text, uuid, double precision) to plimsoll_app, plimsoll_system;
