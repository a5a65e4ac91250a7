-- Reports, their rendered files, and what is sent out when they are done.

-- Reports: one row a request. Thousands.
create table reports (
    tenant_id    uuid not null references tenants (id),
    id           uuid primary key,
    title        text not null check (length(title) between 1 and 300),
    report_type  text not null,
    framework    text,
    format       text not null,
    options      jsonb not null default '{}',
    status       text not null default 'generating' check (status in ('generating', 'completed', 'failed')),
    job_id       uuid,
    requested_by uuid,
    error        text,
    -- The frozen document that every format is made from, and its SHA-256.
    document     jsonb,
    document_sha256 bytea,
    page_count   integer,
    created_at   timestamptz not null default now(),
    completed_at timestamptz,
    constraint reports_tenant_id_id_key unique (tenant_id, id),
    constraint reports_requested_by_fkey foreign key (tenant_id, requested_by) references users (tenant_id, id)
);
create index reports_created_idx on reports (tenant_id, created_at desc, id);
call protect_tenant_rows('reports');
grant select, insert, update, delete on reports to plimsoll_app;

-- Rendered files. The bytes lie in the artifact store under `storage_key`; they are immutable and checked against the digest before they leave.
create table artifacts (
    tenant_id   uuid not null,
    id          uuid primary key,
    report_id   uuid not null,
    format      text not null,
    file_name   text not null,
    media_type  text not null,
    byte_count  bigint not null,
    sha256      bytea not null check (length(sha256) = 32),
    storage_key text not null constraint artifacts_storage_key_key unique,
    created_at  timestamptz not null default now(),
    -- When the stored bytes were last compared with the digest, and since when they differ.
    checked_at  timestamptz,
    damaged_at  timestamptz,
    constraint artifacts_report_id_format_key unique (report_id, format),
    constraint artifacts_report_fkey foreign key (tenant_id, report_id) references reports (tenant_id, id) on delete cascade
);
call protect_tenant_rows('artifacts');
grant select, insert, update, delete on artifacts to plimsoll_app;

create index artifacts_unchecked_idx on artifacts (coalesce(checked_at, created_at));

-- Objects in the artifact store that no row refers to any more; removed by purge_expired after a day.
create table orphaned_objects (
    storage_key text primary key,
    since       timestamptz not null default now()
);
grant insert on orphaned_objects to plimsoll_app;
grant select, insert, update, delete on orphaned_objects to plimsoll_system;

-- E-mails on their way. One row a message, with the outcome for each recipient.
create table mails (
    tenant_id  uuid not null references tenants (id),
    id         uuid primary key,
    report_id  uuid,
    subject    text not null check (length(subject) between 1 and 300),
    recipients text[] not null check (cardinality(recipients) between 1 and 50),
    -- {address: {"state": "delivered" | "failed", "detail": …}}
    outcomes   jsonb not null default '{}',
    status     text not null default 'pending' check (status in ('pending', 'sent', 'partly_sent', 'failed')),
    created_at timestamptz not null default now(),
    sent_at    timestamptz,
    constraint mails_report_fkey foreign key (tenant_id, report_id) references reports (tenant_id, id)
);
create index mails_report_idx on mails (tenant_id, report_id);
create trigger forget_report before delete on reports for each row execute function forget_in('mails', 'report_id');
call protect_tenant_rows('mails');
grant select, insert, update on mails to plimsoll_app;

-- Webhook endpoints. Tens a tenant. The secret signs; it is shown once.
create table webhooks (
    tenant_id   uuid not null references tenants (id),
    id          uuid primary key,
    url         text not null check (length(url) between 8 and 2048),
    secret      text not null,
    events      text[] not null default '{}',
    enabled     boolean not null default true,
    disabled_reason text,
    created_at  timestamptz not null default now(),
    constraint webhooks_tenant_id_id_key unique (tenant_id, id)
);
call protect_tenant_rows('webhooks');
grant select, insert, update, delete on webhooks to plimsoll_app;

-- Deliveries: one event to one endpoint. `id` is the webhook-id of every attempt.
create table webhook_deliveries (
    tenant_id   uuid not null,
    id          uuid primary key,
    webhook_id  uuid not null,
    event       text not null,
    body        bytea not null,
    status      text not null default 'pending' check (status in ('pending', 'delivered', 'exhausted', 'disabled')),
    attempts    jsonb not null default '[]',
    created_at  timestamptz not null default now(),
    delivered_at timestamptz,
    constraint webhook_deliveries_webhook_fkey foreign key (tenant_id, webhook_id) references webhooks (tenant_id, id) on delete cascade
);
create index webhook_deliveries_created_idx on webhook_deliveries (created_at);
call protect_tenant_rows('webhook_deliveries');
grant select, insert, update on webhook_deliveries to plimsoll_app;
