-- The audit trail: who did what to what, with what it was before and is now.
--
-- Nobody has to remember to write it: triggers do, in the transaction of the change. A transaction says who acts in
-- app.actor_id, app.actor, app.request_id and app.address. What is no change of a row (a sign-in, a download, a refusal) is written
-- by audit_note(). Neither role may write, change or delete entries otherwise.
--
-- Entries are appended without waiting for each other. Within a second or so a sealer gives those of each chain (a chain for each
-- tenant, one for the installation) consecutive numbers and hashes, each over the one before, and signs the head with a key that is not
-- in the database. What was sealed can then not be edited, removed, reordered or cut off without being noticed
-- (`plimsoll audit verify`). Millions of rows; never purged.

create function app_text(name text) returns text language sql stable parallel safe
    return nullif(current_setting('app.' || name, true), '');

create table audit_entries (
    id          uuid primary key default uuid_v7(),
    tenant_id   uuid references tenants (id),
    -- The tenant's id, or zeros for the installation's own chain.
    chain       uuid not null generated always as (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000')) stored,
    at          timestamptz not null default clock_timestamp(),
    -- Null, and `system` as the name: the product itself, on nobody's behalf.
    actor_id    uuid,
    actor       text not null,
    action      text not null check (length(action) between 3 and 100),
    target_type text not null check (length(target_type) between 1 and 64),
    target_id   text,
    old_value   jsonb,
    new_value   jsonb,
    request_id  text,
    address     text,
    sequence    bigint,
    hash        bytea check (length(hash) = 32),
    constraint audit_entries_sealed check ((sequence is null) = (hash is null))
);
create unique index audit_entries_chain_key on audit_entries (chain, sequence) where sequence is not null;
create index audit_entries_unsealed_idx on audit_entries (chain, at, id) where sequence is null;
create index audit_entries_list_idx on audit_entries (chain, at desc, id desc);

-- How far each chain is sealed, and who vouches for it.
create table audit_heads (
    chain     uuid primary key,
    sequence  bigint not null check (sequence >= 0),
    hash      bytea not null check (length(hash) = 32),
    sealed_at timestamptz not null,
    -- Ed25519 over the four columns above, and the first eight bytes of the SHA-256 of the public key.
    signature bytea not null check (length(signature) = 64),
    key_id    bytea not null check (length(key_id) = 8)
);

alter table audit_entries enable row level security;
alter table audit_entries force row level security;
-- The installation's own chain is for its administrators.
create policy tenant_rows on audit_entries for select to plimsoll_app
    using (tenant_id = app_tenant() or (tenant_id is null and app_text('instance_admin') = 'yes'));
create policy every_row on audit_entries to plimsoll_system using (true) with check (true);
revoke all on audit_entries, audit_heads from plimsoll_app, plimsoll_system;
grant select on audit_entries to plimsoll_app;
grant select, insert, update (sequence, hash) on audit_entries to plimsoll_system;
grant select, insert, update on audit_heads to plimsoll_system;

-- Sealed is sealed, for the owner of the table too.
create function audit_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.sequence is null
       and row(old.id, old.tenant_id, old.at, old.actor_id, old.actor, old.action, old.target_type, old.target_id,
               old.old_value, old.new_value, old.request_id, old.address)
           is not distinct from
           row(new.id, new.tenant_id, new.at, new.actor_id, new.actor, new.action, new.target_type, new.target_id,
               new.old_value, new.new_value, new.request_id, new.address) then
        return new;
    end if;
    raise exception 'audit entries are only added, never changed or removed' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_keep before update or delete on audit_entries for each row execute function audit_keep();
create trigger audit_keep_all before truncate on audit_entries execute function audit_keep();

-- What the values of a row say, without what nobody may read: secrets are named as there, and no more.
create function audit_masked(value jsonb, secrets text[], left_out text[]) returns jsonb
    language sql immutable parallel safe
    return (select coalesce(jsonb_object_agg(key, case when key = any (secrets) and item <> 'null' then '"********"' else item end), '{}')
              from jsonb_each(value) as field (key, item)
             where key <> all (left_out));

-- Trigger: writes what happened to a row. TG_ARGV: what kind of thing a row is, its key column, the columns that are secret, the columns
-- that say nothing (how often it was used, say). An update that touches only these is no change.
create function audit_row() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
declare
    secrets  text[] := string_to_array(tg_argv[2], ',');
    left_out text[] := string_to_array(tg_argv[3], ',');
    before   jsonb;
    after    jsonb;
    was      jsonb := '{}';
    is_now   jsonb := '{}';
    owner    uuid;
begin
    if tg_op <> 'INSERT' then before := to_jsonb(old); end if;
    if tg_op <> 'DELETE' then after := to_jsonb(new); end if;
    owner := case when tg_argv[0] = 'organization' then coalesce(after, before) ->> 'id'
                  else coalesce(after, before) ->> 'tenant_id' end;
    if tg_op = 'UPDATE' then
        -- What changed, and of secrets that they did: their masks are the same before and after.
        select coalesce(jsonb_object_agg(o.key, o.value), '{}'), coalesce(jsonb_object_agg(o.key, after -> o.key), '{}')
          into was, is_now
          from jsonb_each(before) as o
         where o.value is distinct from after -> o.key and o.key <> all (left_out);
        if was = '{}' then
            return null;
        end if;
        was := audit_masked(was, secrets, left_out);
        is_now := audit_masked(is_now, secrets, left_out);
    else
        was := audit_masked(before, secrets, left_out);
        is_now := audit_masked(after, secrets, left_out);
    end if;
    insert into audit_entries (tenant_id, actor_id, actor, action, target_type, target_id, old_value, new_value, request_id, address)
    values (owner, app_text('actor_id')::uuid, coalesce(app_text('actor'), 'system'),
            tg_argv[0] || case tg_op when 'INSERT' then '.create' when 'UPDATE' then '.update' else '.delete' end, tg_argv[0],
            coalesce(after, before) ->> tg_argv[1],
            case when tg_op <> 'INSERT' then was end, case when tg_op <> 'DELETE' then is_now end,
            app_text('request_id'), app_text('address'));
    return null;
end $$;

-- Puts the triggers on a table. `by_people`: only what somebody asked for is written, not what crawls and comparisons do.
create procedure audit_table(target regclass, kind text, key text, secrets text default '', left_out text default '',
                             by_people boolean default false) language plpgsql as $$
begin
    execute format('create trigger audit after insert or update or delete on %s for each row %s
                        execute function audit_row(%L, %L, %L, %L)',
                   target, case when by_people then 'when (app_text(''actor'') is not null)' else '' end,
                   kind, key, secrets, left_out);
end $$;

-- What is no change of a row.
create function audit_note(actor_id uuid, actor text, action text, target_type text, target_id text, detail jsonb,
                           tenant uuid default app_tenant()) returns void
    language sql security definer set search_path = public, pg_temp as $$
    insert into audit_entries (tenant_id, actor_id, actor, action, target_type, target_id, new_value, request_id, address)
    values (tenant, actor_id, actor, action, target_type, target_id, detail, app_text('request_id'), app_text('address'))
$$;

grant create on schema public to plimsoll_system;
alter function audit_row() owner to plimsoll_system;
alter function audit_note(uuid, text, text, text, text, jsonb, uuid) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function audit_row(), audit_note(uuid, text, text, text, text, jsonb, uuid) from public;
grant execute on function app_text(text), audit_masked(jsonb, text[], text[]),
    audit_note(uuid, text, text, text, text, jsonb, uuid) to plimsoll_app, plimsoll_system;

call audit_table('tenants', 'organization', 'id');
call audit_table('users', 'user', 'id', 'password_hash', 'last_login_at,theme_preference');
call audit_table('api_keys', 'api_key', 'id', 'secret_hash', 'last_used_at');
call audit_table('webhooks', 'webhook', 'id', 'secret');
call audit_table('schedules', 'schedule', 'id', '', 'next_run_at,time_zone_version,done_until,last_job_id');
call audit_table('sources', 'vuln_source', 'id', '',
    'etag,last_modified,content_digest,merged_by,content_label,content_as_of,record_count,next_crawl_at,last_crawled_at,last_success_at,last_crawl_status,last_error');
call audit_table('job_queues', 'queue', 'queue', '', 'tokens,refilled_at', true);
call audit_table('job_shares', 'queue_share', 'lane', '', '', true);
call audit_table('assets', 'asset', 'id', '', 'last_seen_at,correlated_at', true);
call audit_table('findings', 'finding', 'id', '', 'evidence,last_confirmed_at', true);
call audit_table('reports', 'report', 'id', '', 'document,document_sha256,status,page_count,completed_at,error,job_id', true);
call audit_table('inventory_submissions', 'inventory', 'id', '', 'payload', true);
call audit_table('retention', 'retention', 'id', '', 'changed_at');
call audit_table('alerts', 'alert', 'id', '', '', true);
call audit_table('maintenance', 'maintenance', 'id', '', 'changed_at');
