-- COMMIT rings the bell only while the relay that keeps it sleeps: NOTIFY makes commits wait for one another. Whoever need not ring shares the
-- lock until its transaction ends, so that the keeper does not fall asleep before what is added here can be seen (shared/queue/src/bell.rs).
create or replace function jobs_announce() returns trigger language plpgsql as $$
begin
    if not pg_try_advisory_xact_lock_shared(hashtextextended('plimsoll relay asleep', 0)) then
        perform pg_notify('plimsoll_jobs', queue) from (select distinct queue from added) as queues;
    end if;
    return null;
end $$;
