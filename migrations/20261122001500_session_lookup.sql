-- What every request asks, planned once for each connection: a function in SQL is planned with every call, which takes longer than it.

-- Who asks is found out before a tenant's transaction begins, for many requests at once (shared/store/src/session_lookup.rs). One of the
-- narrow questions past row-level security, as in the first migration and the identity's.
create function auth_sessions(tenants uuid[], session_ids uuid[], user_ids uuid[])
    returns table (place bigint, id uuid, username text, email text, role text, is_instance_admin boolean, is_active boolean)
    language plpgsql stable security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select asked.place, u.id, u.username, u.email, u.role, u.is_instance_admin, u.is_active
      from unnest(tenants, session_ids, user_ids) with ordinality as asked (tenant_id, session_id, user_id, place)
      join sessions s on s.tenant_id = asked.tenant_id and s.id = asked.session_id and s.user_id = asked.user_id
      join users u on u.tenant_id = s.tenant_id and u.id = s.user_id
     where s.ended_at is null and s.expires_at > now();
end $$;
grant create on schema public to plimsoll_system;
alter function auth_sessions(uuid[], uuid[], uuid[]) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function auth_sessions(uuid[], uuid[], uuid[]) from public;
grant execute on function auth_sessions(uuid[], uuid[], uuid[]) to plimsoll_app;

create or replace function auth_session_of_cookie(hash bytea)
    returns table (tenant_id uuid, id uuid, user_id uuid, expires_at timestamptz)
    language plpgsql stable security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
begin
    return query select s.tenant_id, s.id, s.user_id, s.expires_at from sessions s where s.cookie_hash = hash;
end $$;

create or replace function auth_api_key(key text)
    returns table (tenant_id uuid, id uuid, kind text, name text, secret_hash bytea, key_role text, scopes text[],
                   expires_at timestamptz, is_stale boolean, user_id uuid, username text, email text, role text,
                   is_instance_admin boolean, is_active boolean)
    language plpgsql stable security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select k.tenant_id, k.id, k.kind, k.name, k.secret_hash, k.role, k.scopes, k.expires_at,
           coalesce(k.last_used_at < now() - interval '1 minute', true),
           u.id, u.username, u.email, u.role, u.is_instance_admin, u.is_active
      from api_keys k
      join users u on u.tenant_id = k.tenant_id and u.id = k.user_id
     where k.public_id = key and k.revoked_at is null and k.expires_at > now();
end $$;

create or replace function audit_masked(value jsonb, secrets text[], left_out text[]) returns jsonb
    language plpgsql immutable parallel safe as $$
begin
    if value is null then
        return '{}';
    end if;
    return (select coalesce(jsonb_object_agg(key, case when key = any (secrets) and item <> 'null' then '"********"' else item end), '{}')
              from jsonb_each(value) as field (key, item)
             where key <> all (left_out));
end $$;
