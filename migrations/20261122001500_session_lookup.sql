-- Who asks is found out before a tenant's transaction begins, with one question: this is the fourth of its kind, after the first migration's
-- and the identity's.
create function auth_session(of_tenant uuid, session uuid, of_user uuid)
    returns table (id uuid, username text, email text, role text, is_instance_admin boolean, is_active boolean)
    language sql stable security definer set search_path = public, pg_temp as $$
    select u.id, u.username, u.email, u.role, u.is_instance_admin, u.is_active
      from sessions s
      join users u on u.tenant_id = s.tenant_id and u.id = s.user_id
     where s.tenant_id = of_tenant and s.id = session and s.user_id = of_user
       and s.ended_at is null and s.expires_at > now()
$$;
grant create on schema public to plimsoll_system;
alter function auth_session(uuid, uuid, uuid) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function auth_session(uuid, uuid, uuid) from public;
grant execute on function auth_session(uuid, uuid, uuid) to plimsoll_app;
