-- Links that open a report's file without an account. A handful a report; purged a month after they have run out. The secret
-- in the address has 256 random bits and is kept as SHA-256: nobody can guess it, and a slow hash would add nothing.
create table shares (
    tenant_id      uuid not null,
    id             uuid primary key,
    report_id      uuid not null,
    token_hash     bytea not null constraint shares_token_key unique check (length(token_hash) = 32),
    created_by     uuid,
    created_at     timestamptz not null default now(),
    expires_at     timestamptz not null,
    revoked_at     timestamptz,
    opened_count   bigint not null default 0,
    last_opened_at timestamptz,
    constraint shares_report_fkey foreign key (tenant_id, report_id) references reports (tenant_id, id) on delete cascade,
    constraint shares_created_by_fkey foreign key (tenant_id, created_by) references users (tenant_id, id),
    constraint shares_expires_check check (expires_at <= created_at + interval '720 hours')
);
create index shares_report_idx on shares (tenant_id, report_id, created_at desc);
create index shares_expires_idx on shares (expires_at);
call protect_tenant_rows('shares');
grant select, insert on shares to plimsoll_app;
grant update (revoked_at, opened_count, last_opened_at) on shares to plimsoll_app;
grant select, insert, update, delete on shares to plimsoll_system;
call audit_table('shares', 'share', 'id', 'token_hash', 'opened_count,last_opened_at', true);

-- What a link opens is asked before a tenant is known, as in the first migration.
create function share_target(hash bytea) returns table (tenant_id uuid, share_id uuid, report_id uuid)
    language sql stable security definer set search_path = public, pg_temp as $$
    select s.tenant_id, s.id, s.report_id from shares s
     where s.token_hash = hash and s.revoked_at is null and s.expires_at > now()
$$;
grant create on schema public to plimsoll_system;
alter function share_target(bytea) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function share_target(bytea) from public;
grant execute on function share_target(bytea) to plimsoll_app;
