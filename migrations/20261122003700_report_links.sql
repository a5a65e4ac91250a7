-- Links in the history of reports (seed 002), beside those that people make: one for each report that the history was asked for, for 31 days
-- after it was finished. The history shows the same link each time, and the hash is all that is kept of it: its token is derived from a key,
-- not drawn (`store::report_links`).
alter table shares
    add column kind text not null default 'share' check (kind in ('share', 'history')),
    drop constraint shares_expires_check,
    add constraint shares_expires_check
        check (expires_at <= created_at + case kind when 'history' then interval '744 hours' else interval '720 hours' end);

-- The one kind has an address of its own, which the other does not open.
create or replace function share_target(hash bytea) returns table (tenant_id uuid, share_id uuid, report_id uuid)
    language sql stable security definer set search_path = public, pg_temp as $$
    select s.tenant_id, s.id, s.report_id from shares s
     where s.token_hash = hash and s.kind = 'share' and s.revoked_at is null and s.expires_at > now()
$$;

-- Of this other kind it is told when a link has run out, to who has it.
create function report_link_target(hash bytea, report uuid) returns table (tenant_id uuid, share_id uuid, has_run_out boolean)
    language sql stable security definer set search_path = public, pg_temp as $$
    select s.tenant_id, s.id, s.expires_at <= now() from shares s
     where s.token_hash = hash and s.kind = 'history' and s.report_id = report and s.revoked_at is null
$$;
grant create on schema public to plimsoll_system;
alter function report_link_target(bytea, uuid) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function report_link_target(bytea, uuid) from public;
grant execute on function report_link_target(bytea, uuid) to plimsoll_app;
