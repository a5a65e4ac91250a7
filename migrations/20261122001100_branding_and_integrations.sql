-- How an organization's pages and documents look, which systems it works with, and how the secrets of all that are kept.

-- How it looks. At most one row a tenant; what is null takes the product's own look, and the name that of the organization.
create table branding (
    tenant_id       uuid primary key references tenants (id),
    company_name    text check (length(company_name) between 1 and 200),
    industry        text check (length(industry) between 1 and 200),
    primary_color   text check (primary_color ~ '^#[0-9A-F]{6}$'),
    secondary_color text check (secondary_color ~ '^#[0-9A-F]{6}$'),
    accent_color    text check (accent_color ~ '^#[0-9A-F]{6}$'),
    address         text check (length(address) between 1 and 500),
    phone           text check (length(phone) between 1 and 100),
    email           text check (length(email) between 3 and 254),
    website         text check (length(website) between 8 and 2048),
    confidentiality_statement text check (length(confidentiality_statement) between 1 and 4000),
    disclaimer      text check (length(disclaimer) between 1 and 4000),
    changed_at      timestamptz not null default now()
);
call protect_tenant_rows('branding');
revoke all on branding from plimsoll_app;
grant select, insert, update on branding to plimsoll_app;
call audit_table('branding', 'branding', 'tenant_id', '', 'changed_at');

-- Its pictures, as files that we have written ourselves: decoded and encoded anew. At most three a tenant, of two mebibytes each, and read
-- with a report's data in one transaction, hence here and not in the artifact store.
create table branding_assets (
    tenant_id   uuid not null references tenants (id),
    asset_type  text not null check (asset_type in ('logo_light', 'logo_dark', 'favicon')),
    png         bytea not null check (length(png) between 1 and 2097152),
    sha256      bytea not null check (length(sha256) = 32),
    width       integer not null check (width between 1 and 4096),
    height      integer not null check (height between 1 and 4096),
    uploaded_at timestamptz not null default now(),
    primary key (tenant_id, asset_type)
);
call protect_tenant_rows('branding_assets');
revoke all on branding_assets from plimsoll_app;
grant select, insert, update, delete on branding_assets to plimsoll_app;
call audit_table('branding_assets', 'branding_asset', 'asset_type', '', 'png,uploaded_at');

-- What anybody may see of it, before a tenant is known: what a sign-in page shows. Without a slug that of the oldest tenant. A tenant
-- that has chosen nothing looks like one that there is not.
create function public_branding(wanted text)
    returns table (slug text, company_name text, primary_color text, secondary_color text, accent_color text, assets jsonb)
    language sql stable security definer set search_path = public, pg_temp as $$
    with chosen as (
        select t.id, t.slug from tenants t
         where t.slug = wanted or wanted is null
         order by t.created_at, t.id limit 1)
    select c.slug, b.company_name, b.primary_color, b.secondary_color, b.accent_color,
           (select jsonb_object_agg(a.asset_type, encode(a.sha256, 'hex'))
              from branding_assets a where a.tenant_id = c.id)
      from chosen c
      left join branding b on b.tenant_id = c.id
     where b.tenant_id is not null or exists (select from branding_assets a where a.tenant_id = c.id)
$$;

create function public_branding_asset(wanted text, kind text) returns table (png bytea, sha256 bytea)
    language sql stable security definer set search_path = public, pg_temp as $$
    select a.png, a.sha256
      from branding_assets a
     where a.asset_type = kind
       and a.tenant_id = (select t.id from tenants t where t.slug = wanted or wanted is null
                           order by t.created_at, t.id limit 1)
$$;

grant create on schema public to plimsoll_system;
alter function public_branding(text) owner to plimsoll_system;
alter function public_branding_asset(text, text) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function public_branding(text), public_branding_asset(text, text) from public;
grant execute on function public_branding(text), public_branding_asset(text, text) to plimsoll_app;

-- Secrets that must be read again are sealed before they get here (`runtime::secrets`): a column of the first kind holds one, encrypted with a
-- data key of its own; a column of the second kind beside it that data key, wrapped with a key-encryption key that is not in the database.
-- Every column of the second kind, in whichever table, takes part in a rotation, which wraps it anew and leaves the first as it is.
create domain sealed_secret as bytea check (length(value) >= 29 and get_byte(value, 0) = 1);
create domain wrapped_key as bytea check (length(value) = 69 and get_byte(value, 0) = 1);

-- The key-encryption keys that were ever used here: ids, and something encrypted with each, by which another key is told from it. The current
-- one wraps the data keys of new secrets. A handful of rows; they stay.
create table secret_keys (
    id          bytea primary key check (length(id) = 8),
    check_value sealed_secret not null,
    check_key   bytea not null check (length(check_key) = 69),
    is_current  boolean not null,
    created_at  timestamptz not null default now()
);
create unique index secret_keys_current_key on secret_keys (is_current) where is_current;
revoke all on secret_keys from plimsoll_app, plimsoll_system;
-- Whoever is first registers the first key; only the rotation, which runs as plimsoll_system, changes which is current.
grant select, insert on secret_keys to plimsoll_app;
grant select, insert, update (is_current) on secret_keys to plimsoll_system;

-- What was stored in the clear until now. Keys that sign access tokens are made anew by themselves. A webhook's secret is known to its receiver,
-- who has to be given another: it is switched off until it is registered again.
delete from signing_keys;
alter table signing_keys
    drop column secret,
    add column secret     sealed_secret not null,
    add column secret_key wrapped_key not null;

alter table webhooks
    drop column secret,
    add column secret     sealed_secret,
    add column secret_key wrapped_key;
set local role plimsoll_system;
update webhooks
   set enabled = false, disabled_reason = 'its secret was not kept when secrets began to be sealed: register it again';
reset role;
alter table webhooks
    add constraint webhooks_secret_check check ((secret is null) = (secret_key is null) and (secret is not null or not enabled));
drop trigger audit on webhooks;
call audit_table('webhooks', 'webhook', 'id', 'secret', 'secret_key');

-- Keys that sources of vulnerability data ask for, at most one each.
create table source_keys (
    source_id  uuid primary key references sources (id) on delete cascade,
    secret     sealed_secret not null,
    secret_key wrapped_key not null
);
revoke all on source_keys from plimsoll_app;
grant select, insert, update, delete on source_keys to plimsoll_app;
call audit_table('source_keys', 'vuln_source_key', 'source_id', 'secret', 'secret_key');

-- The systems that an organization works with: the settings of each that are no secrets. At most three rows a tenant. `may_be_private`: the
-- address was set by an administrator of the installation, and may lie in a private network.
create table integrations (
    tenant_id      uuid not null references tenants (id),
    name           text not null check (name in ('wazuh', 'github', 'ceph')),
    settings       jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
    may_be_private boolean not null default false,
    changed_at     timestamptz not null default now(),
    primary key (tenant_id, name)
);
call protect_tenant_rows('integrations');
revoke all on integrations from plimsoll_app;
grant select, insert, update on integrations to plimsoll_app;
call audit_table('integrations', 'integration', 'name', '', 'changed_at');

create table integration_secrets (
    tenant_id   uuid not null,
    integration text not null,
    name        text not null check (name in ('api_key', 'pat', 'private_key', 'password')),
    secret      sealed_secret not null,
    secret_key  wrapped_key not null,
    primary key (tenant_id, integration, name),
    constraint integration_secrets_integration_fkey
        foreign key (tenant_id, integration) references integrations (tenant_id, name) on delete cascade
);
call protect_tenant_rows('integration_secrets');
revoke all on integration_secrets from plimsoll_app;
grant select, insert, update, delete on integration_secrets to plimsoll_app;
call audit_table('integration_secrets', 'integration_secret', 'integration', 'secret', 'secret_key');
