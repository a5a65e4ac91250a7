//! The engine's own connections, apart from those that handlers use up.

use sqlx::{PgPool, postgres::PgPoolOptions};

/// For statements that are few, always the same, and look things up by index: planned once, and so whatever the statistics of the moment
/// say of a table that is empty at one minute and holds a million rows at the next.
///
/// Where many rows are looked up at once, the statements say `jobs.id = any (array[asked.id])`, which can be answered from the index only.
/// Postgres may turn an equality round, and does when an ANALYZE found the table empty: then reading the whole index, and for each of its
/// rows all that was asked, looks as cheap as a look-up (measured: 500 jobs a second instead of 8,000). No other index may hold
/// the id as a column to search by, since beside such statistics that one looks as good as the primary key.
pub(crate) const BY_INDEX: [(&str, &str); 6] = [
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// A pool beside `pool`, to the same database with the same login, as `plimsoll_system`, with `settings` of Postgres for each connection.
///
/// Claims and renewals must not queue behind handlers that hold every connection: their leases would run out.
pub(crate) fn beside(pool: &PgPool, connections: u32, settings: &[(&str, &str)]) -> PgPool {
    let options = (*pool.connect_options()).clone();
    let options = options.options([("role", "plimsoll_system")]).options(settings.iter().copied());
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(pool.options().get_acquire_timeout())
        .connect_lazy_with(options)
}
