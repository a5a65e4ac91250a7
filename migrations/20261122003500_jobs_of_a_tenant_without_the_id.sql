-- Beside the primary key no index may answer a look-up of a job by its id. Where an ANALYZE found the table empty (which a queue is at
-- times), every way through an index costs the planner the same, and it took this one: all of it was read for each job.
--
-- Jobs of one moment were told apart here by the id. Now each row has a moment of its own.
drop index jobs_tenant_idx;
create index jobs_tenant_idx on jobs (tenant_id, created_at desc);
alter table jobs alter column created_at set default clock_timestamp();
