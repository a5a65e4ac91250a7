//! The bell that a transaction rings when it has added jobs, so that a relay looks at once.
//!
//! It is a NOTIFY, and those make commits wait for one another: Postgres puts them in order under one lock and keeps it until the commit is
//! on the disk, where commits without share the way there. So it is rung only while it is needed, which advisory locks tell exactly:
//!
//! - One relay is the keeper, by a lock that lasts as long as its connection. The others sleep and look as they would without a bell.
//! - The keeper holds `plimsoll relay asleep` while it sleeps. A transaction that adds jobs tries to share that lock until its end: where it
//!   cannot, the keeper sleeps and is rung for (`jobs_announce` in the migrations).
//! - The keeper gets the lock only when no transaction has it any more, and looks once more before it sleeps: what was added without a ring is
//!   committed by then.

use sqlx::{PgPool, postgres::PgListener};

use crate::pool::beside;

/// A relay's end of it.
pub(crate) struct Bell {
    listener: PgListener,
    is_keeper: bool,
    is_asleep: bool,
}

/// What becomes of a wish to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Whoever adds jobs rings, and has since before the last look.
    Sound,
    /// Whoever adds jobs rings from now on: look once more.
    Begun,
    /// Somebody is adding jobs without ringing: look again soon.
    NotYet,
}

impl Bell {
    /// Listens, by a connection like those of `pool` and not among them: it ends with the bell, and its locks with it.
    pub(crate) async fn hang(pool: &PgPool) -> sqlx::Result<Self> {
        let mut listener = PgListener::connect_with(&beside(pool, 1, &[])).await?;
        listener.listen("plimsoll_jobs").await?;
        Ok(Self { listener, is_keeper: false, is_asleep: false })
    }

    /// There is nothing to do: may the relay sleep?
    pub(crate) async fn sleep(&mut self) -> sqlx::Result<Sleep> {
        if self.is_asleep {
            return Ok(Sleep::Sound);
        }
        if !self.is_keeper {
            self.is_keeper = self.try_lock("plimsoll relay keeper").await?;
            if !self.is_keeper {
                return Ok(Sleep::Sound);
            }
        }
        self.is_asleep = self.try_lock("plimsoll relay asleep").await?;
        Ok(if self.is_asleep { Sleep::Begun } else { Sleep::NotYet })
    }

    /// There is something to do: nobody need ring.
    pub(crate) async fn wake(&mut self) -> sqlx::Result<()> {
        if std::mem::take(&mut self.is_asleep) {
            sqlx::query("select pg_advisory_unlock(hashtextextended('plimsoll relay asleep', 0))")
                .execute(&mut self.listener)
                .await?;
        }
        Ok(())
    }

    /// Waits until it is rung. Everything that rang meanwhile is answered with one look. False: the connection is gone, and the locks with it.
    pub(crate) async fn rung(&mut self) -> sqlx::Result<bool> {
        let heard = self.listener.try_recv().await?;
        while let Some(_also) = self.listener.next_buffered() {}
        Ok(heard.is_some())
    }

    async fn try_lock(&mut self, what: &str) -> sqlx::Result<bool> {
        sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(what)
            .fetch_one(&mut self.listener)
            .await
    }
}
