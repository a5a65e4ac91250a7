-- What each tenant runs, and what is wrong with it.

-- A UUIDv7 (RFC 9562, section 5.7) for rows that one statement makes by the thousand: like the ids made by the programs they are
-- roughly ordered by time, which keeps inserts on the right-hand edge of an index.
create function uuid_v7() returns uuid language sql volatile as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid
$$;

-- Assets: hosts, images, repositories. Up to some 100,000 a tenant.
create table assets (
    tenant_id     uuid not null references tenants (id),
    id            uuid primary key,
    kind          text not null check (kind in ('host', 'software')),
    hostname      text not null check (length(hostname) between 1 and 512),
    external_id   text,
    os_distro     text,
    os_version    text,
    os_codename   text,
    os_name       text,
    platform      text,
    kernel        text,
    architecture  text,
    risk_zone     text not null default 'dev'
                  check (risk_zone in ('dev', 'staging', 'production', 'dmz', 'internal', 'restricted')),
    tags          text[] not null default '{}',
    first_seen_at timestamptz not null default now(),
    -- When the inventory was handed in that its packages are from; an older one that is read later changes nothing.
    last_seen_at  timestamptz not null default now(),
    -- When findings were last compared with what is known; what is open then was confirmed then.
    correlated_at timestamptz,
    constraint assets_tenant_id_id_key unique (tenant_id, id)
);
-- One asset for one identity: the machine's own id where it has one, its name where not.
create unique index assets_identity_key on assets (tenant_id, kind, coalesce(external_id, lower(hostname)));
create index assets_hostname_idx on assets (tenant_id, lower(hostname), id);
call protect_tenant_rows('assets');
grant select, insert, update, delete on assets to plimsoll_app;

-- Inventories handed in, from acceptance until they were read (the payload is dropped then, the digest stays).
create table inventory_submissions (
    tenant_id   uuid not null references tenants (id),
    id          uuid primary key,
    format      text not null check (format in ('host_report', 'cyclonedx')),
    payload     bytea,
    sha256      bytea not null,
    byte_count  bigint not null,
    asset_id    uuid,
    received_at timestamptz not null default now(),
    ingested_at timestamptz,
    skipped     text[] not null default '{}',
    constraint inventory_submissions_asset_fkey foreign key (tenant_id, asset_id) references assets (tenant_id, id)
);
create index inventory_submissions_asset_idx on inventory_submissions (tenant_id, asset_id);
create trigger forget_asset before delete on assets
    for each row execute function forget_in('inventory_submissions', 'asset_id');
create index inventory_submissions_received_idx on inventory_submissions (received_at);
call protect_tenant_rows('inventory_submissions');
grant select, insert, update on inventory_submissions to plimsoll_app;

-- Distinct packages over the whole estate: eight million installations are some hundred thousand of these. Names and versions of packages are
-- public knowledge, but which of them a tenant has is not: this table is reached through asset_packages only.
-- `judged_*` is what advisories speak of: the source package on Debian, Ubuntu and Alpine.
-- `identity` is the SHA-256 of all that the row says of the package: a name and a version may each be a thousand bytes long, more than an
-- index entry holds, and no tenant's words (a purl) may end up in another's row.
create table package_versions (
    id             bigint generated always as identity primary key,
    identity       bytea not null constraint package_versions_identity_key unique check (length(identity) = 32),
    platform       text not null,
    name           text not null,
    version        text not null,
    architecture   text not null default '',
    judged_name    text not null,
    judged_version text not null,
    judged_key     bytea,
    purl           text
);
create index package_versions_judged_idx on package_versions (platform, judged_name);
grant select, insert on package_versions to plimsoll_app;
grant select, insert, update, delete on package_versions to plimsoll_system;

-- What is installed where. Millions of rows.
create table asset_packages (
    tenant_id          uuid not null,
    asset_id           uuid not null,
    package_version_id bigint not null references package_versions (id),
    first_seen_at      timestamptz not null default now(),
    primary key (asset_id, package_version_id),
    constraint asset_packages_asset_fkey foreign key (tenant_id, asset_id) references assets (tenant_id, id) on delete cascade
);
create index asset_packages_package_idx on asset_packages (package_version_id) include (tenant_id, asset_id);
call protect_tenant_rows('asset_packages');
grant select, insert, delete on asset_packages to plimsoll_app;

-- Findings: one vulnerability on one package (by name, so that an upgrade which is still affected keeps its history) of one asset.
-- The name is the one that advisories speak of; which of its binary packages are installed is in the evidence. `ecosystem` is the platform
-- without its release (`Debian`, `npm`): one name may be a package of several, and an upgrade of the system does not make it another.
-- Millions of rows: lists use the score index. An unchanged finding is never rewritten; when an open one was last confirmed is the asset's correlated_at.
create table findings (
    tenant_id          uuid not null,
    id                 uuid primary key,
    asset_id           uuid not null,
    ecosystem          text not null,
    package_name       text not null,
    vulnerability      text not null,
    package_version_id bigint not null references package_versions (id),
    installed_version  text not null,
    fixed_version      text,
    advisory_id        bigint references advisories (id) on delete set null,
    confidence         text not null check (confidence in ('confirmed', 'undecided')),
    -- What the source says of the package: affected, deferred, wont_fix …
    vendor_state       text not null,
    severity           text not null check (severity in ('critical', 'high', 'medium', 'low', 'none', 'unknown')),
    cvss_score         real,
    epss_score         real,
    is_kev             boolean not null default false,
    has_exploit        boolean not null default false,
    composite_score    real not null check (composite_score between 0 and 10),
    -- Why this is a finding: advisory, range, compared version, rule.
    evidence           jsonb not null,
    status             text not null default 'open' check (status in ('open', 'in_review', 'accepted_risk', 'resolved')),
    status_note        text,
    first_seen_at      timestamptz not null default now(),
    last_confirmed_at  timestamptz not null default now(),
    resolved_at        timestamptz,
    resolution         text,
    constraint findings_tenant_id_id_key unique (tenant_id, id),
    constraint findings_resolved_has_time check ((status = 'resolved') = (resolved_at is not null)),
    constraint findings_accepted_has_note check (status <> 'accepted_risk' or status_note is not null),
    constraint findings_identity_key unique (asset_id, ecosystem, package_name, vulnerability),
    constraint findings_asset_fkey foreign key (tenant_id, asset_id) references assets (tenant_id, id) on delete cascade
);
create index findings_score_idx on findings (tenant_id, composite_score desc, id);
create index findings_vulnerability_idx on findings (tenant_id, vulnerability);
create index findings_asset_idx on findings (tenant_id, asset_id, composite_score desc);
-- For the foreign key: an advisory that its source takes out must not look through all findings.
create index findings_advisory_idx on findings (advisory_id);
call protect_tenant_rows('findings');
grant select, insert, update, delete on findings to plimsoll_app;

-- The history of each finding: opened, changed, resolved, reopened, triaged; and by what.
create table finding_events (
    tenant_id  uuid not null,
    finding_id uuid not null,
    at         timestamptz not null default now(),
    event      text not null check (event in ('opened', 'updated', 'resolved', 'reopened', 'triaged')),
    detail     jsonb not null default '{}',
    actor      uuid,
    constraint finding_events_finding_fkey foreign key (tenant_id, finding_id)
        references findings (tenant_id, id) on delete cascade
);
create index finding_events_finding_idx on finding_events (finding_id, at);
call protect_tenant_rows('finding_events');
grant select, insert on finding_events to plimsoll_app;
