-- A share is set by job_share_set; here it ends, and its tenant is again one among equals.
create function job_share_drop(of_lane uuid) returns boolean
    language sql security definer set search_path = public, pg_temp as $$
    with dropped as (delete from job_shares where lane = of_lane returning lane)
    select exists (select from dropped)
$$;
grant create on schema public to plimsoll_system;
alter function job_share_drop(uuid) owner to plimsoll_system;
revoke create on schema public from plimsoll_system;
revoke execute on function job_share_drop(uuid) from public;
grant execute on function job_share_drop(uuid) to plimsoll_app, plimsoll_system;
