-- What is frozen with a report besides its document: how it looks, and an outline of it that is read without the document.

-- Logos of reports that were made, each once. Some kilobytes, at most two mebibytes; an organization changes its logo every few years. Removed
-- when no report refers to it any more (purge_expired).
create table frozen_logos (
    tenant_id uuid not null references tenants (id),
    sha256    bytea not null check (length(sha256) = 32),
    format    text not null check (format in ('png', 'svg')),
    data      bytea not null,
    primary key (tenant_id, sha256)
);
call protect_tenant_rows('frozen_logos');
revoke all on frozen_logos from plimsoll_app;
grant select, insert on frozen_logos to plimsoll_app;
grant select, delete on frozen_logos to plimsoll_system;
call audit_table('frozen_logos', 'frozen_logo', 'sha256', '', 'data', true);

-- The branding as it was when the report was made, its logo by digest, so that a file that is made later looks like the first. The outline has
-- what lists and mails tell of a report; the document itself may take fifty megabytes.
alter table reports
    add column branding jsonb,
    add column logo_sha256 bytea,
    add column outline jsonb,
    add constraint reports_logo_fkey foreign key (tenant_id, logo_sha256) references frozen_logos (tenant_id, sha256);
create index reports_logo_idx on reports (tenant_id, logo_sha256) where logo_sha256 is not null;

drop trigger audit on reports;
call audit_table('reports', 'report', 'id', '',
    'document,document_sha256,branding,logo_sha256,outline,status,page_count,completed_at,error,job_id', true);
