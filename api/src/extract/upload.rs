//! Bodies that are large and kept as they came.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use domain::id::TenantId;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{body, json};
use crate::{error::ApiError, state::AppState};

/// A JSON body of at most `INVENTORY_MAX_BYTES`. A few are held at once and the others wait, so that memory
/// is bounded whatever is sent. Stands after the [`super::Actor`] in a handler's signature.
pub(crate) struct Upload {
    pub(crate) bytes: Bytes,
    _turn: Turn,
}

impl FromRequest<AppState> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        json::expect_json(&parts.headers)?;
        let whose = parts.extensions.get::<TenantId>();
        let tenant = *whose.ok_or_else(|| anyhow::anyhow!("an upload is read before its actor is known"))?;
        let busy = || ApiError::Unavailable(anyhow::anyhow!("too many inventories are being received"));
        let turn = timeout(app.patience.turn, app.uploads.take(tenant)).await.map_err(|_| busy())?;
        let turn = turn.map_err(|_| busy())?;
        let bytes = body::read(&parts.headers, body, app.config.inventory_max_bytes).await?;
        Ok(Self { bytes, _turn: turn })
    }
}

/// Turns at holding a large body in memory. No tenant has more than its share of them at once, so that one
/// whose lines are slow leaves room for the others.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    share: usize,
    /// Of tenants that have a turn or wait for one.
    shares: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// Given back when it is dropped.
pub(crate) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_share: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new(all: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), share, shares: Mutex::default() }
    }

    /// Waits for a turn, first within `tenant`'s share.
    pub(crate) async fn take(&self, tenant: TenantId) -> Result<Turn, AcquireError> {
        let of_share = self.share_of(tenant).acquire_owned().await?;
        let of_all = self.all.clone().acquire_owned().await?;
        Ok(Turn { _of_all: of_all, _of_share: of_share })
    }

    fn share_of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has a turn, or waits for one, holds the share as well.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        shares.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(self.share))).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_tenant_gets_its_share_and_leaves_the_rest_to_the_others() {
        let turns = Turns::new(4, 2);
        let [ours, theirs] = [1, 2].map(|id| TenantId(Uuid::from_u128(id)));
        let take = |tenant| turns.take(tenant).now_or_never().map(|turn| turn.expect("never closed"));
        let (first, second) = (take(ours), take(ours));
        assert!(first.is_some() && second.is_some());
        assert!(take(ours).is_none(), "a third");
        let others = [take(theirs), take(theirs)];
        assert!(others.iter().all(Option::is_some));
        drop(first);
        assert!(take(ours).is_some());
        drop((second, others));
        drop(take(theirs));
        let shares = turns.shares.lock().expect("nobody panicked");
        assert_eq!(shares.len(), 1, "who has nothing under way is forgotten");
    }
}
