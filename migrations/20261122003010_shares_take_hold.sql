-- A share holds for what lies ready for the workers too, as a queue's own limits do: with a new revision relays take back what they sent by
-- the older rules, and send again by the new ones.
create function job_shares_take_hold() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update job_queues set revision = revision + 1;
    return null;
end $$;
grant create on schema public to plimsoll_system;
alter function job_shares_take_hold() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function job_shares_take_hold() from public;
create trigger job_shares_changed after insert or update or delete on job_shares
    for each statement execute function job_shares_take_hold();

-- The revision says nothing by itself: it is no change of a queue in the audit trail.
drop trigger audit on job_queues;
call audit_table('job_queues', 'queue', 'queue', '', 'tokens,refilled_at,revision', true);
