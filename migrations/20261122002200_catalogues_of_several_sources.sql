-- KEV and EPSS are one row a CVE, whichever sources have it. A row goes when the last of them does not have it any more, and says what the
-- first of them says: so two sources of one catalogue, the public one and a mirror of one's own say, do not take each other's rows away.
alter table kev add column sources uuid[] not null default '{}';
alter table epss add column sources uuid[] not null default '{}';

-- Every source says with its next content which rows it has, whether that changed or not.
update sources set etag = null, last_modified = null, content_digest = null where feed in ('cisa-kev', 'epss');

-- Trigger: a source that is taken out of the database has no rows any more.
create function sources_let_go() returns trigger language plpgsql as $$
begin
    update kev set sources = array_remove(sources, old.id) where old.id = any (sources);
    delete from kev where sources = '{}';
    update epss set sources = array_remove(sources, old.id) where old.id = any (sources);
    delete from epss where sources = '{}';
    return null;
end $$;
create trigger let_go after delete on sources for each row
    when (old.feed in ('cisa-kev', 'epss')) execute function sources_let_go();
