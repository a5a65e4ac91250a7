-- A job that is being cancelled will not do what it was for: who asks for the same work again gets a job of their own, not this one. That the
-- two do not run at once is the concurrency key's business.
drop index jobs_unique_key;
create unique index jobs_unique_key on jobs (kind, unique_key)
    where unique_key is not null and finished_at is null and not cancel_requested;
