-- The rows of long tables, frozen with their report: files in the artifact store that hold what the report's document does not.

-- One for each table of more than 15,000 rows in a report: some 40 MB compressed for a million. Named by the document (`row_file`), read when a
-- file for programs is made, gone with the report (by way of orphaned_objects), compared with their digests like artifacts.
create table frozen_rows (
    tenant_id   uuid not null,
    id          uuid primary key,
    report_id   uuid not null,
    byte_count  bigint not null,
    sha256      bytea not null check (length(sha256) = 32),
    -- Two tables of one report may have the same rows, and then have one file.
    storage_key text not null,
    created_at  timestamptz not null default now(),
    checked_at  timestamptz,
    damaged_at  timestamptz,
    constraint frozen_rows_report_fkey foreign key (tenant_id, report_id) references reports (tenant_id, id) on delete cascade
);
call protect_tenant_rows('frozen_rows');
grant select, insert on frozen_rows to plimsoll_app;

create index frozen_rows_report_idx on frozen_rows (tenant_id, report_id);
create index frozen_rows_storage_key_idx on frozen_rows (storage_key);
create index frozen_rows_unchecked_idx on frozen_rows (coalesce(checked_at, created_at));
