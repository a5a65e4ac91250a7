//! Remove what has outlived its purpose; the policy stands in `store::purge`.

use queue::{Attempt, Done, Handler, JobError, jobs::PurgeExpired};
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::context::Context;

impl Handler<Context> for PurgeExpired {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let pool = context.db.pool();
        let retention =
            store::retention::get(&mut *pool.acquire().await.map_err(store::Error::from)?).await?;
        let mut removed = Map::new();
        for rule in store::purge::POLICY {
            attempt.progress(50, rule.what);
            removed.insert(rule.what.to_owned(), json!(rule.apply(pool, &retention).await?));
        }
        let mut objects = 0;
        for key in store::purge::orphaned_objects(pool).await? {
            let Some(orphan) = store::purge::hold_orphan(pool, &key).await? else { continue };
            match context.blobs.delete(&key).await {
                Ok(()) => {
                    orphan.gone().await?;
                    objects += 1;
                }
                // Tried again tomorrow; one stubborn file must not keep the others.
                Err(error) => warn!(key, %error, "cannot remove an orphaned object"),
            }
        }
        removed.insert("orphaned objects".to_owned(), json!(objects));
        let mut tx = context.db.begin().await?;
        let done = attempt.complete(&mut tx, json!({ "removed": Value::Object(removed) })).await?;
        tx.commit().await?;
        Ok(done)
    }
}
