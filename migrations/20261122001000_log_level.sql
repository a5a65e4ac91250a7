-- How much the processes say in their logs, as chosen at runtime. One row. Every process looks at it every two seconds.
create table log_level (
    id         text primary key default 'installation' check (id = 'installation'),
    -- Null: as much as each process's LOG_LEVEL says.
    level      text check (level in ('debug', 'info', 'warn', 'error')),
    changed_at timestamptz not null default now()
);
insert into log_level default values;
grant select, update (level, changed_at) on log_level to plimsoll_app;
grant select, update (level, changed_at) on log_level to plimsoll_system;
call audit_table('log_level', 'log_level', 'id', '', 'changed_at');
