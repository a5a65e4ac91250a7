//! Long answers, a batch at a time: a cursor of the database, within the transaction that it is opened in, and so of one moment.

use sqlx::{AssertSqlSafe, FromRow, Postgres, QueryBuilder, postgres::PgRow};

use crate::{db::TenantTx, error::Result};

/// Rows of a batch: some quarter of a megabyte.
const BATCH: usize = 1000;

/// What the statement of a cursor begins with.
pub(crate) const DECLARE: &str = "declare rows no scroll cursor for ";

/// An answer that is being read. One at a time in a transaction, and nothing else is asked meanwhile.
#[derive(Debug)]
pub struct Cursor<'t> {
    tx: &'t mut TenantTx,
}

impl<'t> Cursor<'t> {
    /// Begins to read what `statement` answers. Its `$1` is the tenant.
    ///
    /// # Errors
    /// When the database refuses the statement.
    pub async fn open(tx: &'t mut TenantTx, statement: &'static str) -> Result<Self> {
        let tenant = tx.tenant();
        begin(tx).await?;
        sqlx::query(AssertSqlSafe(format!("{DECLARE}{statement}")))
            .bind(tenant.0)
            .persistent(false)
            .execute(&mut **tx)
            .await?;
        Ok(Self { tx })
    }

    /// As [`Self::open`], of a statement that begins with [`DECLARE`].
    pub(crate) async fn of(tx: &'t mut TenantTx, mut statement: QueryBuilder<Postgres>) -> Result<Self> {
        begin(tx).await?;
        statement.build().persistent(false).execute(&mut **tx).await?;
        Ok(Self { tx })
    }

    /// The next rows. None: those before were the last, and the cursor is closed.
    ///
    /// # Errors
    /// When the database breaks off.
    pub async fn next<T: for<'r> FromRow<'r, PgRow>>(&mut self) -> Result<Vec<T>> {
        Ok(self.batch().await?.iter().map(T::from_row).collect::<sqlx::Result<_>>()?)
    }

    pub(crate) async fn batch(&mut self) -> Result<Vec<PgRow>> {
        let fetch = format!("fetch {BATCH} from rows");
        let rows = sqlx::query(AssertSqlSafe(fetch)).persistent(false).fetch_all(&mut **self.tx).await?;
        if rows.is_empty() {
            sqlx::query("close rows").execute(&mut **self.tx).await?;
        }
        Ok(rows)
    }
}

/// All of it will be read: a plan that brings the first rows early and the last ones late is no use.
async fn begin(tx: &mut TenantTx) -> Result<()> {
    sqlx::query("set local cursor_tuple_fraction = 1").execute(&mut **tx).await?;
    Ok(())
}
