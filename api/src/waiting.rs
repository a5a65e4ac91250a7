//! Waiting for a worker while a client can be expected to wait: `while patience.lasts().await { look }`.

use std::time::Duration;

use domain::{id::ReportId, report::ReportStatus};
use store::reports::{self, Report};
use tokio::time::{Instant, sleep};

use crate::{error::ApiError, extract::Actor};

/// How long that is, and how often we look.
const LONGEST: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Patience {
    until: Instant,
}

impl Patience {
    pub(crate) fn begin() -> Self {
        Self { until: Instant::now() + LONGEST }
    }

    /// True after a while, when it is time to look again. False when there is none left.
    pub(crate) async fn lasts(&self) -> bool {
        sleep(LOOK).await;
        Instant::now() < self.until
    }
}

/// The report once it is finished, well or badly, if a worker finishes it while the client can be expected to wait.
pub(crate) async fn finished<P>(actor: &Actor<P>, id: ReportId) -> Result<Option<Report>, ApiError> {
    let patience = Patience::begin();
    while patience.lasts().await {
        let report = reports::find(&mut actor.begin().await?, id).await?;
        if report.status != ReportStatus::Generating.as_str() {
            return Ok(Some(report));
        }
    }
    Ok(None)
}
