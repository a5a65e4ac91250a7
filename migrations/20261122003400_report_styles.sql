-- How an organization wants its reports of one type: the order and wording of their sections, and what stands on every page. Read when a
-- report's data is frozen, so that a later change does not touch reports that were issued; what a request says comes before it.
create table report_styles (
    tenant_id   uuid not null references tenants (id),
    report_type text not null check (length(report_type) between 1 and 100),
    options     jsonb not null check (jsonb_typeof(options) = 'object' and pg_column_size(options) <= 1048576),
    changed_at  timestamptz not null default now(),
    primary key (tenant_id, report_type)
);
call protect_tenant_rows('report_styles');
revoke all on report_styles from plimsoll_app;
grant select, insert, update, delete on report_styles to plimsoll_app;
grant select on report_styles to plimsoll_system;
call audit_table('report_styles', 'report_style', 'report_type', '', 'changed_at');
