//! Signing in at the OpenID provider.

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::auth;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{
        DepartureCookie,
        oidc::{Departure, Provider, SIGN_IN_TIME},
        sign_in::{self, SignedInAs},
    },
    error::ApiError,
    extract::{Json, SignInAttempt},
    openapi::{Anyone, BadBody, Conflicting, Limited, Missing, UpstreamFails},
    state::AppState,
};

/// Where to send the browser, and what will come back with it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"authorization_url": "https://keycloak.example.com/realms/corp/protocol/openid-connect/auth?...",
                          "state": "random-state-token", "nonce": "random-nonce-token"}))]
struct Authorization {
    /// Where the browser is to go: the provider's own page, with all its parameters.
    authorization_url: String,
    /// To be kept by the front end, and sent as `expected_state`.
    state: String,
    /// To be kept by the front end, and sent as `nonce`.
    nonce: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"code": "auth-code-from-provider", "state": "random-state-token",
                          "expected_state": "random-state-token", "nonce": "random-nonce-token"}))]
struct Callback {
    /// As the provider sent it with the browser.
    code: String,
    /// As the provider sent it with the browser.
    state: String,
    /// As the front end kept it: it shows that the same browser set out.
    expected_state: String,
    /// As the front end kept it.
    nonce: String,
}

/// Where to sign in with OpenID Connect
///
/// 404 while no provider is set; 502 when it cannot be reached. The answer sets a cookie, for ten minutes, by which the same browser is known when it
/// comes back.
#[utoipa::path(get, path = "/api/auth/oidc/authorize", tag = "auth", security(()),
    responses((status = 200, body = Authorization), Anyone, Missing, Limited, UpstreamFails))]
async fn authorize_oidc(
    _: SignInAttempt,
    State(app): State<AppState>,
) -> Result<impl IntoResponse, ApiError> {
    let Departure { url, state, kept } = provider(&app)?.depart().await?;
    auth::remember_oidc_sign_in(app.db.shared(), &Sha256::digest(&state), &kept, SIGN_IN_TIME).await?;
    let cookie = DepartureCookie::set(&app.config, &state, SIGN_IN_TIME.as_secs());
    let answer = Authorization { authorization_url: url.into(), state, nonce: kept.nonce };
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)))
}

/// Sign in with what the OpenID provider sent back
///
/// Within ten minutes and once. A browser has to be the one that set out, which its cookie shows. Somebody who comes for the first time gets an account; 409 when its username or e-mail
/// address belongs to another one.
#[utoipa::path(post, path = "/api/auth/oidc/callback", tag = "auth", security(()), request_body = Callback,
    responses((status = 200, body = SignedInAs),
              (status = 401, description = "The sign-in is unknown, over, or not the one that was begun.",
               body = crate::error::ErrorBody),
              (status = 403, description = "In no group that may use this installation.", body = crate::error::ErrorBody),
              Anyone, Missing, Conflicting, BadBody, Limited, UpstreamFails))]
async fn complete_oidc(
    SignInAttempt(by): SignInAttempt,
    State(app): State<AppState>,
    headers: HeaderMap,
    Json(request): Json<Callback>,
) -> Result<Json<SignedInAs>, ApiError> {
    const NOT_BEGUN: ApiError =
        ApiError::Unauthenticated("This sign-in was not begun here, is over or was used: sign in again");
    let provider = provider(&app)?;
    if request.state != request.expected_state {
        return Err(ApiError::BadRequest(
            "state is not expected_state: this sign-in was begun in another browser".into(),
        ));
    }
    if !DepartureCookie::shows(&app.config, &headers, &request.state) {
        return Err(NOT_BEGUN);
    }
    let state = Sha256::digest(&request.state);
    let kept = auth::take_oidc_sign_in(app.db.shared(), &state).await?.ok_or(NOT_BEGUN)?;
    if kept.nonce != request.nonce {
        return Err(NOT_BEGUN);
    }
    let account = sign_in::by_provider(&app, provider, &request.code, &kept).await?;
    Ok(Json(sign_in::begin(&app, account, by).await?))
}

fn provider(app: &AppState) -> Result<&Provider, ApiError> {
    app.oidc.as_ref().ok_or(ApiError::NotFound)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(authorize_oidc)).routes(routes!(complete_oidc))
}
