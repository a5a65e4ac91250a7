-- How programs prove who they are, and signing in at somebody else's door.

-- API keys of organizations (`hg_ak_`) and personal tokens (`hg_pat_`). The secret part is kept as SHA-256: it
-- has more than 160 random bits, so nobody can guess it and a slow hash would add nothing. `role` is the most that
-- the key may do; a personal token may also do no more than its person may at the moment. Tens of rows a
-- tenant; revoked ones stay, so that it can be told what a key was.
create table api_keys (
    tenant_id    uuid not null,
    id           uuid primary key,
    kind         text not null check (kind in ('organization', 'personal')),
    name         text not null check (length(name) between 1 and 100),
    public_id    text not null constraint api_keys_public_id_key unique check (length(public_id) = 8),
    secret_hash  bytea not null check (length(secret_hash) = 32),
    role         text not null check (role in ('admin', 'analyst', 'read_only')),
    scopes       text[] not null default '{}',
    user_id      uuid not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    constraint api_keys_user_fkey foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade
);
create index api_keys_list_idx on api_keys (tenant_id, created_at desc, id);
create index api_keys_user_idx on api_keys (tenant_id, user_id);
call protect_tenant_rows('api_keys');
grant select, insert, update on api_keys to plimsoll_app;

-- Sign-ins that were sent to the OpenID provider and have not come back: what must be the same then. Of no
-- tenant yet. Gone when they are answered, once, or ten minutes later.
create table oidc_sign_ins (
    state_hash    bytea primary key check (length(state_hash) = 32),
    nonce         text not null,
    code_verifier text not null,
    expires_at    timestamptz not null
);
create index oidc_sign_ins_expires_idx on oidc_sign_ins (expires_at);
grant select, insert, delete on oidc_sign_ins to plimsoll_app;

-- What must be asked before a tenant is known, as in the first migration.
create function auth_session_of_cookie(hash bytea)
    returns table (tenant_id uuid, id uuid, user_id uuid, expires_at timestamptz)
    language sql stable security definer set search_path = public, pg_temp as $$
    select s.tenant_id, s.id, s.user_id, s.expires_at from sessions s where s.cookie_hash = hash
$$;

create function auth_api_key(key text)
    returns table (tenant_id uuid, id uuid, kind text, name text, secret_hash bytea, key_role text, scopes text[],
                   expires_at timestamptz, is_stale boolean, user_id uuid, username text, email text, role text,
                   is_instance_admin boolean, is_active boolean)
    language sql stable security definer set search_path = public, pg_temp as $$
    select k.tenant_id, k.id, k.kind, k.name, k.secret_hash, k.role, k.scopes, k.expires_at,
           coalesce(k.last_used_at < now() - interval '1 minute', true),
           u.id, u.username, u.email, u.role, u.is_instance_admin, u.is_active
      from api_keys k
      join users u on u.tenant_id = k.tenant_id and u.id = k.user_id
     where k.public_id = key and k.revoked_at is null and k.expires_at > now()
$$;

-- The account of whoever signed in elsewhere, made at the first time. A role that is given replaces the one before: it
-- comes from groups that are kept there. Nothing is returned, and nothing done, when the name or the address belongs
-- to somebody else, or when there is no such tenant. Without a slug it is the oldest tenant.
create function auth_sign_in_elsewhere(provider text, their_issuer text, their_subject text, new_id uuid, slug text,
                                       their_username text, their_email text, their_role text)
    returns table (tenant_id uuid, id uuid, username text, email text, role text, is_instance_admin boolean,
                   auth_provider text, password_hash text, is_active boolean)
    language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    home uuid;
begin
    update users u
       set role = coalesce(their_role, u.role),
           email = case when exists (select from users o where lower(o.email) = lower(their_email) and o.id <> u.id)
                        then u.email else their_email end
     where u.issuer = their_issuer and u.subject = their_subject;
    if not found then
        select t.id into home from tenants t
         where auth_sign_in_elsewhere.slug is null or t.slug = auth_sign_in_elsewhere.slug
         order by t.created_at, t.id limit 1;
        if home is not null then
            insert into users (tenant_id, id, username, email, role, auth_provider, issuer, subject)
            values (home, new_id, their_username, their_email, coalesce(their_role, 'read_only'), provider,
                    their_issuer, their_subject)
            on conflict do nothing;
        end if;
    end if;
    return query
        select u.tenant_id, u.id, u.username, u.email, u.role, u.is_instance_admin, u.auth_provider,
               u.password_hash, u.is_active
          from users u where u.issuer = their_issuer and u.subject = their_subject;
end $$;

-- Whether anybody but this person administers the installation.
create function auth_other_instance_admin(than uuid) returns boolean
    language sql stable security definer set search_path = public, pg_temp as $$
    select exists (select from users u where u.is_instance_admin and u.is_active and u.role = 'admin' and u.id <> than)
$$;

-- Organizations as administrators of the installation see them. The API asks for that right before it calls.
create function instance_organizations(most integer, skipped bigint)
    returns table (id uuid, slug text, display_name text, created_at timestamptz, users bigint, total bigint)
    language sql stable security definer set search_path = public, pg_temp as $$
    select t.id, t.slug, t.display_name, t.created_at,
           (select count(*) from users u where u.tenant_id = t.id and u.is_active), count(*) over ()
      from tenants t order by t.slug limit most offset skipped
$$;

create function instance_add_organization(new_id uuid, new_slug text, new_name text, new_user uuid, username text,
                                          email text, password_hash text) returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into tenants (id, slug, display_name) values (new_id, new_slug, new_name);
    insert into users (tenant_id, id, username, email, role, password_hash)
    values (new_id, new_user, username, email, 'admin', password_hash);
end $$;

create policy rename_own_tenant on tenants for update to plimsoll_app
    using (id = app_tenant()) with check (id = app_tenant());
grant update (display_name) on tenants to plimsoll_app;

grant create on schema public to plimsoll_system;
alter function auth_session_of_cookie(bytea) owner to plimsoll_system;
alter function auth_api_key(text) owner to plimsoll_system;
alter function auth_sign_in_elsewhere(text, text, text, uuid, text, text, text, text) owner to plimsoll_system;
alter function auth_other_instance_admin(uuid) owner to plimsoll_system;
alter function instance_organizations(integer, bigint) owner to plimsoll_system;
alter function instance_add_organization(uuid, text, text, uuid, text, text, text) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function auth_session_of_cookie(bytea), auth_api_key(text),
    auth_sign_in_elsewhere(text, text, text, uuid, text, text, text, text), auth_other_instance_admin(uuid),
    instance_organizations(integer, bigint),
    instance_add_organization(uuid, text, text, uuid, text, text, text) from public;
grant execute on function auth_session_of_cookie(bytea), auth_api_key(text),
    auth_sign_in_elsewhere(text, text, text, uuid, text, text, text, text), auth_other_instance_admin(uuid),
    instance_organizations(integer, bigint),
    instance_add_organization(uuid, text, text, uuid, text, text, text) to plimsoll_app;
