//! The server: what surrounds the routes, and its life from the port to the last answer.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{Router, extract::Request, middleware, middleware::Next};
use runtime::{
    config::Config,
    health::{self, Pulse},
};
use store::{
    db::Login,
    processes::{Part, Process},
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, Predicate, predicate::DefaultPredicate},
    normalize_path::NormalizePath,
};

use crate::{
    connections, dialect,
    extract::Pace,
    layers, limit,
    patience::Allowance,
    revalidation::revalidate,
    routes,
    state::{AppState, database_url},
};

/// How often the database is asked whether it is there, for the admin port, and since when it must have answered.
const ASK_EVERY: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(6);

/// The whole API as a service. `/api/cves/` and `/api/cves` are the same path; no answer is ever a redirect
/// from one to the other.
pub fn app(state: AppState) -> Router {
    let patience = state.patience;
    let allow = |allowance: Allowance| {
        let pace = Pace::of(&patience, allowance);
        middleware::from_fn(move |request: Request, next: Next| {
            layers::give_up(allowance.answer, pace, request, next)
        })
    };
    let announce = middleware::from_fn_with_state(state.clone(), limit::announce);
    let keep_still = middleware::from_fn_with_state(state.clone(), layers::keep_still);
    let (quick, _) = routes::quick().split_for_parts();
    let (uploads, _) = routes::uploads().split_for_parts();
    let routes = quick
        .layer(allow(patience.ordinary))
        .merge(uploads.layer(allow(patience.upload)))
        .merge(routes::documentation())
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(keep_still)
        .layer(announce)
        .layer(middleware::from_fn(revalidate))
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn(layers::identify))
                .layer(middleware::from_fn(layers::secure))
                .option_layer(layers::other_sites(&state.config))
                .layer(
                    CompressionLayer::new()
                        .compress_when(DefaultPredicate::new().and(layers::may_be_compressed)),
                )
                .layer(middleware::from_fn(dialect::write))
                .layer(CatchPanicLayer::custom(layers::after_panic)),
        )
        .with_state(state);
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes))
}

/// Listens on `API_LISTEN` and serves until `stop` is cancelled.
///
/// # Errors
/// When the API cannot start; the message names the setting and the remedy.
pub async fn serve(config: Arc<Config>, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = bind(config.api_listen).await?;
    serve_on(listener, config, stop).await
}

/// Takes the port. Port 0 takes any that is free; the listener knows which.
///
/// # Errors
/// When it cannot be had; the message says what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or set API_LISTEN to a free port"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: set API_LISTEN to a higher one and put a proxy in front"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: set API_LISTEN to 127.0.0.1 or 0.0.0.0 and a port"
            }
            _ => "set API_LISTEN to another address or port",
        };
        anyhow::Error::new(error).context(format!("API_LISTEN={address} cannot be used: {remedy}"))
    })
}

/// Serves on `listener` until `stop` is cancelled, then finishes what is under way, for `SHUTDOWN_GRACE_SECONDS` at most.
///
/// It is not ready any more from the moment of `stop`, and takes requests for
/// `SHUTDOWN_DELAY_SECONDS` more, since whoever sends them learns of it a little later.
///
/// # Errors
/// When the database is not one that the API should run on; the message says what to do.
pub async fn serve_on(
    listener: TcpListener,
    config: Arc<Config>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    let database = health::pulse("postgres", READY_WITHIN);
    let state = AppState::new(config.clone(), stop.child_token())?;
    let server = connections::answer(listener, state.clone(), async {
        stop.cancelled().await;
        sleep(config.shutdown_delay).await;
    });
    if config.debug {
        tracing::warn!("DEBUG is on: request limits are off");
    }
    tracing::info!(%address, documentation = format!("{}/api/docs", config.public_url()), "the API listens");

    let too_late = async {
        stop.cancelled().await;
        sleep(config.shutdown_delay + config.shutdown_grace).await;
    };
    let process = Process::new(Part::Api);
    tokio::select! {
        () = server => {}
        problem = trouble_with_database(&config, &state, &database) => return Err(problem),
        never = process.speak(state.db.shared()) => match never {},
        never = store::log_level::follow(state.db.shared()) => match never {},
        never = store::db::show_pool("api", state.db.shared()) => match never {},
        never = queue::measure::count_written(state.db.shared()) => match never {},
        () = too_late => tracing::warn!("some requests were cut short, they took longer than SHUTDOWN_GRACE_SECONDS"),
    }
    process.leave(state.db.shared()).await;
    tracing::info!("the API has stopped");
    Ok(())
}

/// Resolves only if the database is there and is not one to run on. While it is away, requests are answered
/// with 503 and `pulse` does not beat.
async fn trouble_with_database(config: &Config, state: &AppState, pulse: &Pulse) -> anyhow::Error {
    loop {
        match inspect(config, state).await {
            Ok(Inspected::Sound) => break,
            Ok(Inspected::Away(error)) => {
                pulse.turn();
                tracing::warn!(error = format!("{error:#}"), "the database cannot be reached, trying again");
                sleep(Duration::from_secs(5)).await;
            }
            Err(problem) => return problem,
        }
    }
    loop {
        match timeout(ASK_EVERY, store::jobs::count_schedules(state.db.shared())).await {
            Ok(Ok(_)) => pulse.beat(),
            _ => pulse.turn(),
        }
        sleep(ASK_EVERY).await;
    }
}

enum Inspected {
    Sound,
    Away(anyhow::Error),
}

async fn inspect(config: &Config, state: &AppState) -> anyhow::Result<Inspected> {
    let (setting, url) = database_url(config)?;
    let mut connection = match store::db::connect_once(url).await {
        Ok(connection) => connection,
        Err(error) if error.is_transient() => return Ok(Inspected::Away(error.into())),
        Err(error) => {
            return Err(error)
                .context(format!("{setting} cannot be used: check user, password and database"));
        }
    };
    // Not every login may read what was migrated; then the first request tells.
    if let Ok(false) = store::migrate::is_current(&mut connection).await {
        bail!(
            "the database's schema is not the one of this version: run `plimsoll migrate`, then start again"
        );
    }
    store::secrets::check(&mut connection, &state.secrets).await?;
    let volatile = store::db::volatile_settings(&mut connection).await?.join(" and ");
    if !volatile.is_empty() {
        if !config.allow_volatile_database {
            bail!(
                "Postgres runs with {volatile} off, so that a power cut can take back what was accepted: turn it on, or set \
                 ALLOW_VOLATILE_DATABASE=true where nothing matters"
            );
        }
        tracing::warn!("Postgres runs with {volatile} off: a power cut can take back what was accepted");
    }
    let rights = store::db::excessive_rights(&mut connection, Login::Api).await?;
    if rights.is_empty() {
        return Ok(Inspected::Sound);
    }
    let (found, remedy) =
        (rights.join(", "), "give the API a login of its own that is granted plimsoll_app only");
    if setting == "API_DATABASE_URL" && !config.debug {
        bail!("API_DATABASE_URL gives the API too many rights ({found}): {remedy}");
    }
    tracing::warn!(
        "{found}: the API sets itself the role plimsoll_app, but {remedy} and name it in API_DATABASE_URL"
    );
    Ok(Inspected::Sound)
}
