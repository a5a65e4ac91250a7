-- What is filtered by most often is found in the order of the list, also where that order has it last: the known exploited ones, and each
-- severity.
create index findings_kev_idx on findings (tenant_id, composite_score, id) where is_kev;
create index findings_severity_idx on findings (tenant_id, severity, composite_score, id);
