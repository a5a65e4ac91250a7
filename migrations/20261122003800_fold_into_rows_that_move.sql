-- A request is folded into a job that waits though somebody holds its row, as long as they do not begin or cancel it. A relay that parks
-- it or finds it due, or the end of a job that had its concurrency key, only move it among those that wait: it was passed over then, and
-- a second one with its key stood beside it.
--
-- So of those who lock a row that waits, who begins or cancels the job does it `for update`; who moves it, `for no key update` (as any
-- update does); and who folds, `for key share`: that shuts out the first and not the others. Nobody waits here for a row. Passed over is
-- also, for that moment, what somebody retries by hand between two attempts: it has begun before. And nothing that folds may wait for others with
-- `fail`: their end makes it dead as one that moves it does (`jobs_settle_dependents`).
create or replace function jobs_fold(of_kind text, of_key text, due_at timestamptz) returns uuid
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    folded uuid;
begin
    perform pg_advisory_xact_lock(hashtextextended('plimsoll fold ' || of_kind || ' ' || of_key, 0));
    select id into folded from jobs
     where kind = of_kind and fold_key = of_key and state in ('waiting', 'scheduled', 'available', 'retryable')
       and not cancel_requested
     order by created_at, id limit 1 for key share skip locked;
    -- Who holds a job that is not due yet finds it due.
    update jobs
       set run_at = due_at, state = case when state = 'scheduled' and due_at <= now() then 'available' else state end
     where id = (select id from jobs
                  where id = folded and state in ('waiting', 'scheduled') and run_at > due_at for no key update skip locked);
    return folded;
end $$;

create or replace function jobs_free_key() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update jobs set parked = false
     where id = (select id from jobs
                  where concurrency_key = old.concurrency_key and state = 'available' and parked
                  order by priority, run_at, id limit 1 for no key update skip locked);
    if found then
        perform pg_notify('plimsoll_jobs', old.queue);
    end if;
    return null;
end $$;
