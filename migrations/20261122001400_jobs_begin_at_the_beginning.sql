-- What a request may write into the queue: jobs that have not begun. Where a job goes from there is `jobs_check_transition`'s to say,
-- and its columns are the engine's to write; without this the application's login could insert one that is completed already, with a result
-- that nobody worked out.
create policy jobs_begin_at_the_beginning on jobs as restrictive for insert to plimsoll_app
    with check (state in ('waiting', 'scheduled', 'available') and attempt = 0 and crashes = 0 and progress = 0
                and fence is null and leased_by is null and result is null and not cancel_requested and not parked);
