-- How jobs ended that no worker's verdict ended: cancelled before one began, or given up for one that they needed, or for the workers that
-- they took down. Workers count what they end; these ends are counted from here, by whichever scheduler takes the rows away.
-- A handful of rows, for a second or two; written in the transaction that ends the job, whichever statement that is.
create table job_ends (
    id     bigint generated always as identity primary key,
    queue  text not null,
    kind   text not null,
    -- cancelled or dead.
    state  text not null,
    reason text
);
revoke all on job_ends from public, plimsoll_app;
grant select, insert, delete on job_ends to plimsoll_system;

create function jobs_note_end() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into job_ends (queue, kind, state, reason) values (new.queue, new.kind, new.state, new.dead_reason);
    return null;
end $$;
grant create on schema public to plimsoll_system;
alter function jobs_note_end() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function jobs_note_end() from public;
-- Of running jobs only rescues end one without its worker, and they count a crash.
create trigger jobs_ended_by_itself after update of state on jobs for each row
    when (new.state in ('cancelled', 'dead') and old.state <> new.state
          and (old.state <> 'running' or new.crashes > old.crashes))
    execute function jobs_note_end();
