-- Where an organization may not keep its audit trail for ever: the oldest entries of a chain go, and a signed record of where it begins
-- now stays (`store::audit::cut`). The signature is made with the key of the scheduler, over entries that it has followed before, so that
-- `plimsoll audit verify` tells what was removed by policy from what somebody has removed.

-- At most one row a chain: the last entry that is gone, and the hash that the first one left stands on.
create table audit_cuts (
    chain     uuid primary key,
    sequence  bigint not null check (sequence > 0),
    hash      bytea not null check (length(hash) = 32),
    -- Everything that is gone was written before this, so many days before it was removed.
    before    timestamptz not null,
    days      integer not null check (days > 0),
    cut_at    timestamptz not null,
    -- Ed25519 over the six columns above, and the first eight bytes of the SHA-256 of the public key.
    signature bytea not null check (length(signature) = 64),
    key_id    bytea not null check (length(key_id) = 8)
);
revoke all on audit_cuts from plimsoll_app, plimsoll_system;
grant select, insert, update on audit_cuts to plimsoll_system;
grant delete on audit_entries to plimsoll_system;

-- Sealed is sealed, for the owner of the table too, and nothing goes but what a record says.
create or replace function audit_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.sequence is null
       and row(old.id, old.tenant_id, old.at, old.actor_id, old.actor, old.action, old.target_type, old.target_id,
               old.old_value, old.new_value, old.request_id, old.address)
           is not distinct from
           row(new.id, new.tenant_id, new.at, new.actor_id, new.actor, new.action, new.target_type, new.target_id,
               new.old_value, new.new_value, new.request_id, new.address) then
        return new;
    end if;
    if tg_op = 'DELETE' and exists (select from audit_cuts c where c.chain = old.chain and old.sequence <= c.sequence) then
        return old;
    end if;
    raise exception 'audit entries are only added, never changed or removed' using errcode = 'insufficient_privilege';
end $$;
