-- What lies in the artifact store and is nobody's. Whoever stores an object says so beforehand, in orphaned_objects, and here the word is taken
-- back in the very transaction that refers to it: what was stored and never came to be referred to (a crash, a cancelled job, a lost fence) is
-- removed a day later like what is referred to no more.
create function object_is_referred_to() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'DELETE' or (tg_op = 'UPDATE' and old.storage_key <> new.storage_key) then
        insert into orphaned_objects (storage_key) values (old.storage_key)
        on conflict (storage_key) do update set since = now();
    end if;
    if tg_op <> 'DELETE' then
        delete from orphaned_objects where storage_key = new.storage_key;
    end if;
    return null;
end
$$;

create trigger artifacts_refer after insert or delete or update of storage_key on artifacts
    for each row execute function object_is_referred_to();
create trigger frozen_rows_refer after insert or delete or update of storage_key on frozen_rows
    for each row execute function object_is_referred_to();

grant create on schema public to plimsoll_system;
alter function object_is_referred_to() owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function object_is_referred_to() from public;

revoke insert on orphaned_objects from plimsoll_app;
