-- Alerts that nobody has acknowledged are few among many that somebody has.
create index alerts_unseen_idx on alerts (tenant_id, created_at, id) where acknowledged_at is null;

-- How many there are, without counting them.
alter table list_counts drop constraint list_counts_list_check;
alter table list_counts add constraint list_counts_list_check
    check (list in ('alerts', 'assets', 'cves', 'reports', 'scan_runs'));
create trigger count_added after insert on alerts referencing new table as added
    for each statement execute function count_rows('alerts');
create trigger count_removed after delete on alerts referencing old table as removed
    for each statement execute function count_rows('alerts');
set local role plimsoll_system;
insert into list_counts (tenant_id, list, rows) select tenant_id, 'alerts', count(*) from alerts group by 1;
reset role;

-- Which assets a CVE concerns, and how badly, is in the index alone: the worst of a hundred thousand are found without their rows.
drop index findings_vulnerability_idx;
create index findings_vulnerability_idx on findings (tenant_id, vulnerability, asset_id) include (composite_score, status);
