//! Who is in a session: asked with every request, and for many requests with one statement.
//!
//! Requests that come while the database is being asked wait, and the next statement asks for all of them. Alone, a request waits for
//! nobody; a thousand at once cost a few dozen statements. Whoever gets the turn asks for everybody; when its request is given up meanwhile,
//! the others ask again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::id::{SessionId, TenantId, UserId};
use sqlx::{FromRow, PgPool};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{
    error::{Error, Result},
    users::User,
};

/// When a statement takes longer than this, a second one may begin beside it: when one hangs, the others go on. Until then whoever comes
/// waits with the others, and costs what one does.
const SLOW: Duration = Duration::from_millis(20);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// A session as an access token or a cookie names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    pub tenant: TenantId,
    pub session: SessionId,
    pub user: UserId,
}

/// The requests that wait.
#[derive(Debug)]
pub struct SessionLookup {
    waiting: Mutex<Vec<Waiting>>,
    turn: Semaphore,
    turn_beside: Semaphore,
}

#[derive(Debug)]
struct Waiting {
    key: SessionKey,
    answer: oneshot::Sender<Result<Option<User>>>,
}

impl Default for SessionLookup {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Semaphore::new(1), turn_beside: Semaphore::new(1) }
    }
}

impl SessionLookup {
    /// Whose session this is, if it goes on; active or not.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn user(&self, pool: &PgPool, key: SessionKey) -> Result<Option<User>> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.lock().push(Waiting { key, answer });
            tokio::select! {
                biased;
                answer = &mut answered => if let Ok(answer) = answer { return answer },
                () = self.ask_for_all(pool) => if let Ok(answer) = answered.await { return answer },
            }
            // Whoever had asked for this one was given up.
        }
    }

    async fn ask_for_all(&self, pool: &PgPool) {
        let turn = match timeout(SLOW, self.turn.acquire()).await {
            Ok(turn) => turn,
            Err(_) => self.turn_beside.acquire().await,
        };
        // They are never closed.
        let Ok(_turn) = turn else { return };
        let asked = std::mem::take(&mut *self.lock());
        if asked.is_empty() {
            return;
        }
        let keys: Vec<SessionKey> = asked.iter().map(|asked| asked.key).collect();
        let found = timeout(PATIENCE, ask(pool, &keys)).await;
        let mut found = found.unwrap_or_else(|_| Err(Error::Unavailable(sqlx::Error::PoolTimedOut)));
        for (place, Waiting { answer, .. }) in asked.into_iter().enumerate() {
            let user = match &mut found {
                Ok(found) => Ok(found.remove(&place)),
                Err(error) => Err(like(error)),
            };
            // Who is not there any more needs no answer.
            let _gone = answer.send(user);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(FromRow)]
struct Found {
    /// From one on.
    place: i64,
    #[sqlx(flatten)]
    user: User,
}

/// The people, by the place of their key among `keys`.
async fn ask(pool: &PgPool, keys: &[SessionKey]) -> Result<HashMap<usize, User>> {
    let found: Vec<Found> = sqlx::query_as(
        "select place, id, username, email, role, is_instance_admin, is_active from auth_sessions($1, $2, $3)",
    )
    .bind(keys.iter().map(|key| key.tenant.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.session.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.user.0).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    let place = |found: &Found| usize::try_from(found.place - 1).ok();
    Ok(found.into_iter().filter_map(|found| Some((place(&found)?, found.user))).collect())
}

/// One failure, told to each that it concerns.
fn like(error: &Error) -> Error {
    match error {
        Error::Unavailable(_) => Error::Unavailable(sqlx::Error::PoolTimedOut),
        other => Error::Database(sqlx::Error::Protocol(other.to_string())),
    }
}
