-- Tenants, the people in them, and the two database roles that everything runs as.
--
-- plimsoll_app     what requests run as: sees the rows of one tenant, the one named by the transaction's
--                  app.tenant_id; without it, none.
-- plimsoll_system  what the relay, the rescue and the crawlers run as: sees every tenant, owns nothing.
--
-- Neither is a superuser, an owner or allowed to bypass row-level security. Logins are granted one of
-- them; a pool takes its role with SET ROLE as it connects. Roles belong to the cluster, not to one
-- database, hence the guard against two databases being migrated at once.
do $$
begin
    perform pg_advisory_xact_lock(7202611210001);
    if not exists (select from pg_roles where rolname = 'plimsoll_app') then
        create role plimsoll_app nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'plimsoll_system') then
        create role plimsoll_system nologin;
    end if;
    execute format('grant plimsoll_app, plimsoll_system to %I', current_user);
end $$;

grant usage on schema public to plimsoll_app, plimsoll_system;
alter default privileges in schema public grant select, insert, update, delete on tables to plimsoll_system;
alter default privileges in schema public grant usage on sequences to plimsoll_app, plimsoll_system;

-- The tenant that the current transaction acts for; null when none was named.
create function app_tenant() returns uuid language sql stable parallel safe
    return nullif(current_setting('app.tenant_id', true), '')::uuid;

-- Puts the second wall around a tenant-owned table: the application role sees the current tenant's rows
-- only, the system role all of them, and the owner too is held to the policies.
create procedure protect_tenant_rows(target regclass) language plpgsql as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('create policy tenant_rows on %s to plimsoll_app
                        using (tenant_id = app_tenant()) with check (tenant_id = app_tenant())', target);
    execute format('create policy every_row on %s to plimsoll_system using (true) with check (true)', target);
end $$;

-- Trigger: rows of the table TG_ARGV[0] stay when what their column TG_ARGV[1] names is deleted, and name nothing then. `on
-- delete set null (column)`, which says the same, came with Postgres 15; without the column it would forget the tenant too.
create function forget_in() returns trigger language plpgsql as $$
begin
    execute format('update %I set %2$I = null where tenant_id = $1 and %2$I = $2', tg_argv[0], tg_argv[1])
        using old.tenant_id, old.id;
    return old;
end $$;

-- Organizations. Few rows: one on most installations.
create table tenants (
    id           uuid primary key,
    slug         text not null constraint tenants_slug_key unique
                 check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    display_name text not null check (length(display_name) between 1 and 200),
    created_at   timestamptz not null default now()
);
alter table tenants enable row level security;
alter table tenants force row level security;
create policy own_tenant on tenants for select to plimsoll_app using (id = app_tenant());
create policy every_row on tenants to plimsoll_system using (true) with check (true);
grant select on tenants to plimsoll_app;

-- People. Names and addresses are unique over the whole installation, since a sign-in names no tenant.
-- Whoever signs in elsewhere is known by what that place calls them (issuer and subject), never by an address,
-- which can be given to somebody else.
create table users (
    tenant_id         uuid not null references tenants (id),
    id                uuid primary key,
    username          text not null check (length(username) between 3 and 64),
    email             text not null check (length(email) between 3 and 254),
    role              text not null check (role in ('admin', 'analyst', 'read_only')),
    is_instance_admin boolean not null default false,
    auth_provider     text not null default 'internal' check (auth_provider in ('internal', 'ldap', 'oidc')),
    issuer            text,
    subject           text,
    password_hash     text,
    is_active         boolean not null default true,
    theme_preference  text not null default 'system' check (theme_preference in ('system', 'light', 'dark')),
    created_at        timestamptz not null default now(),
    last_login_at     timestamptz,
    constraint users_tenant_id_id_key unique (tenant_id, id),
    constraint users_identity_key unique (issuer, subject),
    constraint users_identity_check check ((auth_provider = 'internal') = (issuer is null and subject is null)),
    constraint users_password_check check (auth_provider = 'internal' or password_hash is null)
);
create unique index users_username_key on users (lower(username));
create unique index users_email_key on users (lower(email));
create index users_tenant_idx on users (tenant_id, username);
call protect_tenant_rows('users');
grant select, insert, update on users to plimsoll_app;

-- Sign-ins. Access tokens name one and are worth nothing once it has ended, on every node at once; its refresh
-- tokens and its cookie end with it. Purged when expired.
create table sessions (
    tenant_id   uuid not null,
    id          uuid primary key,
    user_id     uuid not null,
    cookie_hash bytea constraint sessions_cookie_key unique check (length(cookie_hash) = 32),
    started_at  timestamptz not null default now(),
    expires_at  timestamptz not null,
    ended_at    timestamptz,
    constraint sessions_tenant_id_id_key unique (tenant_id, id),
    constraint sessions_user_fkey foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade
);
create index sessions_user_idx on sessions (tenant_id, user_id) where ended_at is null;
create index sessions_expires_idx on sessions (expires_at);
call protect_tenant_rows('sessions');
grant select, insert, update on sessions to plimsoll_app;

-- Refresh tokens, one row each, kept after use so that a second use is recognised as theft and ends the whole
-- session.
create table refresh_tokens (
    tenant_id   uuid not null,
    token_hash  bytea primary key check (length(token_hash) = 32),
    session_id  uuid not null,
    issued_at   timestamptz not null default now(),
    expires_at  timestamptz not null,
    used_at     timestamptz,
    constraint refresh_tokens_session_fkey
        foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);
create index refresh_tokens_session_idx on refresh_tokens (tenant_id, session_id);
call protect_tenant_rows('refresh_tokens');
grant select, insert, update on refresh_tokens to plimsoll_app;

-- Signing keys for access tokens. The newest one signs; an older one verifies until the last token that it
-- signed has ended. A handful of rows: purged some days after they were superseded.
create table signing_keys (
    id         uuid primary key,
    secret     bytea not null check (length(secret) >= 32),
    created_at timestamptz not null default now()
);
grant select, insert on signing_keys to plimsoll_app;

-- One row, the secret that first-run set-up asks for (its SHA-256) until it is done.
create table installation (
    only_row         boolean primary key default true check (only_row),
    setup_token_hash bytea,
    set_up_at        timestamptz,
    created_at       timestamptz not null default now()
);
insert into installation default values;
grant select on installation to plimsoll_app;

-- What must be asked before a tenant is known. Each function answers one narrow question and runs as
-- plimsoll_system; the application role has no other way past its own tenant.
create function auth_user_by_login(login text)
    returns table (tenant_id uuid, id uuid, username text, email text, role text, is_instance_admin boolean,
                   auth_provider text, password_hash text, is_active boolean)
    language sql stable security definer set search_path = public, pg_temp as $$
    select u.tenant_id, u.id, u.username, u.email, u.role, u.is_instance_admin, u.auth_provider, u.password_hash,
           u.is_active
      from users u
     where lower(u.username) = lower(login)
$$;

create function auth_tenant_of_refresh_token(hash bytea) returns uuid
    language sql stable security definer set search_path = public, pg_temp as $$
    select t.tenant_id from refresh_tokens t where t.token_hash = hash
$$;

create function auth_is_set_up() returns boolean
    language sql stable security definer set search_path = public, pg_temp as $$
    select exists (select from users) or exists (select from installation where set_up_at is not null)
$$;

-- Creates the first tenant and its administrator, once: the row lock makes every other caller wait and
-- then see that it is done. Returns false to all but the winner, and to a wrong set-up token.
create function auth_set_up(new_tenant uuid, slug text, display_name text, new_user uuid, username text,
                            email text, password_hash text) returns boolean
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform from installation where set_up_at is null for update;
    if not found or exists (select from users) then
        return false;
    end if;
    insert into tenants (id, slug, display_name) values (new_tenant, slug, display_name);
    insert into users (tenant_id, id, username, email, role, is_instance_admin, password_hash)
    values (new_tenant, new_user, username, email, 'admin', true, password_hash);
    update installation set set_up_at = now(), setup_token_hash = null;
    return true;
end $$;

grant create on schema public to plimsoll_system;
alter function auth_user_by_login(text) owner to plimsoll_system;
alter function auth_tenant_of_refresh_token(bytea) owner to plimsoll_system;
alter function auth_is_set_up() owner to plimsoll_system;
alter function auth_set_up(uuid, text, text, uuid, text, text, text) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on all functions in schema public from public;
grant execute on function app_tenant() to plimsoll_app, plimsoll_system;
grant execute on function auth_user_by_login(text), auth_tenant_of_refresh_token(bytea), auth_is_set_up(),
    auth_set_up(uuid, text, text, uuid, text, text, text) to plimsoll_app;
grant select, insert, update, delete on all tables in schema public to plimsoll_system;
