-- Whoever writes a job writes one that has not begun: a request, as before, and the engine itself. Where a job goes from there is
-- `jobs_check_transition`'s to say, so that no statement of either login makes a state that no transition led to.
drop policy jobs_begin_at_the_beginning on jobs;
create policy jobs_begin_at_the_beginning on jobs as restrictive for insert to plimsoll_app, plimsoll_system
    with check (state in ('waiting', 'scheduled', 'available') and attempt = 0 and crashes = 0 and progress = 0 and progress_note is null
                and fence is null and leased_by is null and started_at is null and result is null and last_error is null
                and not cancel_requested and not parked and not has_dependents);

-- Requests change jobs by `jobs_cancel` and `jobs_retry`, which ask whose job it is. By this right they could have cancelled what all share.
revoke update (cancel_requested) on jobs from plimsoll_app;
