//! The pages that explain the API: Swagger UI, ReDoc, and the document that both read. All of it comes with
//! the program: the pages work without a network, and their content security policy lets nothing in from
//! outside.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderName, header},
    response::{Html, IntoResponse},
    routing::get,
};
use utoipa_swagger_ui::Config;

use crate::{error::ApiError, extract::Path, openapi::openapi, state::AppState};

const DOCUMENT: &str = "/api/openapi.json";
const KEEP: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=3600");

/// Scripts and styles of our own; ReDoc also runs its search in a worker that it makes from a blob, and both
/// write styles into the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self' blob:; child-src blob:; \
                      style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SWAGGER: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll API</title>
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
<link rel="stylesheet" href="/api/docs/index.css">
<link rel="icon" href="/api/docs/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/docs/swagger-ui-bundle.js" charset="utf-8"></script>
<script src="/api/docs/swagger-ui-standalone-preset.js" charset="utf-8"></script>
<script src="/api/docs/swagger-initializer.js" charset="utf-8"></script>
</body>
</html>
"#;

const REDOC: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll API reference</title>
<link rel="icon" href="/api/docs/favicon-32x32.png" sizes="32x32">
<style>body { margin: 0; padding: 0 } img[src^="https://"] { display: none }</style>
</head>
<body>
<redoc spec-url="/api/openapi.json"></redoc>
<script src="/api/redoc/redoc.standalone.js" charset="utf-8"></script>
</body>
</html>
"#;

/// ReDoc, as its makers publish it; see `assets/README.md`.
static REDOC_SCRIPT: &[u8] = include_bytes!("../../assets/redoc.standalone.js");

static OPENAPI: LazyLock<Bytes> =
    LazyLock::new(|| openapi().to_json().expect("a document of strings and numbers serialises").into());

async fn swagger() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(SWAGGER))
}

async fn swagger_file(Path(name): Path<String>) -> Result<impl IntoResponse, ApiError> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        Arc::new(
            Config::from(DOCUMENT).persist_authorization(false).try_it_out_enabled(true).deep_linking(true),
        )
    });
    let file = utoipa_swagger_ui::serve(&name, CONFIG.clone())
        .map_err(|error| anyhow::anyhow!("a file of Swagger UI: {error}"))?
        .filter(|_| name != "index.html")
        .ok_or(ApiError::NotFound)?;
    Ok(([(header::CONTENT_TYPE, file.content_type), (KEEP.0, KEEP.1.into())], file.bytes))
}

async fn redoc() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(REDOC))
}

async fn redoc_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), KEEP], REDOC_SCRIPT)
}

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI.clone())
}

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/docs", get(swagger))
        .route("/api/docs/{file}", get(swagger_file))
        .route("/api/redoc", get(redoc))
        .route("/api/redoc/redoc.standalone.js", get(redoc_script))
        .route(DOCUMENT, get(document))
}
