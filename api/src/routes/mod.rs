//! The table of contents: every path, one file per resource.
//!
//! A file has its types first, then the handlers in the order list, create, get, update, delete, actions, and
//! its `router()` last. To add an endpoint, write the handler and name it in the file's `router()`; the
//! OpenAPI document follows.

use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

mod alerts;
mod api_keys;
mod assets;
mod audit;
mod auth;
mod branding;
mod cves;
mod docs;
mod export;
mod health;
mod integrations;
mod inventory;
mod jobs;
mod organizations;
mod queue_shares;
mod queues;
mod report_history;
mod reports;
mod retention;
mod scan_runs;
mod schedules;
mod scoring;
mod system;
mod tenant_reports;
mod tested;
mod users;
mod verify;
mod vuln_matches;
mod vuln_sources;
mod webhooks;
mod workers;

pub(crate) use webhooks::EVENTS;

/// Everything that is answered within seconds.
pub(crate) fn quick() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .merge(alerts::router())
        .merge(api_keys::router())
        .merge(assets::router())
        .merge(audit::router())
        .merge(auth::router())
        .merge(branding::router())
        .merge(cves::router())
        .merge(export::router())
        .merge(health::router())
        .merge(integrations::router())
        .merge(jobs::router())
        .merge(organizations::router())
        .merge(queue_shares::router())
        .merge(queues::router())
        .merge(report_history::router())
        .merge(reports::router())
        .merge(retention::router())
        .merge(scan_runs::router())
        .merge(schedules::router())
        .merge(scoring::router())
        .merge(system::router())
        .merge(tenant_reports::router())
        .merge(users::router())
        .merge(vuln_matches::router())
        .merge(vuln_sources::router())
        .merge(webhooks::router())
        .merge(workers::router())
}

/// What may take as long as a slow line needs for a large body.
pub(crate) fn uploads() -> OpenApiRouter<AppState> {
    inventory::router().merge(verify::router())
}

/// The pages that explain the API, which the OpenAPI document does not list.
pub(crate) fn documentation() -> axum::Router<AppState> {
    docs::router()
}
