-- APIs and schedulers, of which there may be any number: who is there, of which version. Workers have a table of their own.
create table processes (
    name         text primary key,
    part         text not null check (part in ('api', 'scheduler')),
    host         text not null,
    version      text not null,
    started_at   timestamptz not null default now(),
    heartbeat_at timestamptz not null default now()
);
grant select on processes to plimsoll_app, plimsoll_system;

-- A process says that it lives, or with `leaves` that it ends. Whoever has been silent for an hour is struck off.
create function process_speaks(speaker text, of_part text, on_host text, of_version text, leaves boolean) returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if leaves then
        delete from processes p where p.name = speaker;
        return;
    end if;
    insert into processes (name, part, host, version) values (speaker, of_part, on_host, of_version)
        on conflict (name) do update set heartbeat_at = now();
    delete from processes p where p.heartbeat_at < now() - interval '1 hour';
end $$;
grant insert, update, delete on processes to plimsoll_system;
grant create on schema public to plimsoll_system;
alter function process_speaks(text, text, text, text, boolean) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function process_speaks(text, text, text, text, boolean) from public;
grant execute on function process_speaks(text, text, text, text, boolean) to plimsoll_app, plimsoll_system;
