-- Signed reports: whom the verifier trusts, and what was issued.

-- Certificates that signatures and timestamps are trusted from: the roots of this installation's keys, or the very
-- certificate that was brought; the roots of timestamp authorities. A handful. None is ever removed by itself, so
-- that what was signed before keys were renewed is verified as before. Public data: the private keys are files.
create table trust_anchors (
    sha256        bytea primary key check (length(sha256) = 32),
    purpose       text not null check (purpose in ('seal', 'timestamp')),
    certificate   bytea not null,
    first_used_at timestamptz not null default now()
);
grant select on trust_anchors to plimsoll_app;
grant select, insert, update, delete on trust_anchors to plimsoll_system;

-- The ledger of signed files, one row each. It outlives the reports, whose rows are deleted in time while their files
-- go on to be shown to people: hence no foreign key. What the verifier finds in a file must agree with it.
create table issued_files (
    tenant_id    uuid not null references tenants (id),
    sha256       bytea primary key check (length(sha256) = 32),
    report_id    uuid not null,
    signed_by    text not null,
    signed_at    timestamptz not null,
    timestamp_authority text,
    certificate_sha256  bytea not null check (length(certificate_sha256) = 32),
    issued_at    timestamptz not null default now()
);
create index issued_files_report_idx on issued_files (report_id);
call protect_tenant_rows('issued_files');
grant select, insert on issued_files to plimsoll_app;
grant select, insert, update, delete on issued_files to plimsoll_system;

-- Anybody may ask whether a file is one that was issued, without naming a tenant: the digest of the file, or the
-- report that it claims to be. What else is known of it stands in the file.
create function issued_file(digest bytea, report uuid) returns table (is_file boolean, is_report boolean)
    language sql stable security definer set search_path = public, pg_temp as $$
    select exists (select from issued_files f where f.sha256 = digest and f.report_id = report),
           exists (select from issued_files f where f.report_id = report)
$$;
grant create on schema public to plimsoll_system;
alter function issued_file(bytea, uuid) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function issued_file(bytea, uuid) from public;
grant execute on function issued_file(bytea, uuid) to plimsoll_app;
