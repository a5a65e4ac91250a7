-- Addresses that name an organization are open to administrators of the installation whichever they name.
create function instance_organization(wanted text) returns uuid
    language sql stable security definer set search_path = public, pg_temp as $$
    select id from tenants where slug = wanted
$$;
grant create on schema public to plimsoll_system;
alter function instance_organization(text) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function instance_organization(text) from public;
grant execute on function instance_organization(text) to plimsoll_app;
