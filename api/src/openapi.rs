//! The OpenAPI document: made of the handlers, with what they share written once.

mod examples;

use std::collections::{BTreeMap, BTreeSet};

use utoipa::{
    IntoResponses, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
        Schema, SecurityRequirement, Type,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    dialect::Dialect,
    error::{ErrorBody, FieldError, RateLimitedBody, ValidationErrorBody, shape},
    extract, reply, routes,
};

const BEARER: &str = "bearer";
const API_KEY: &str = "api-key";
const COOKIE: &str = "session-cookie";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plimsoll",
        description = "Self-hosted vulnerability and compliance reporting.\n\n\
            **Signing in.** `POST /api/auth/login` gives an access token for thirty minutes and a refresh \
            token for one use; send the access token as `Authorization: Bearer`. Programs send a key \
            (`hg_ak_…` of an organization, `hg_pat_…` of a person) there or as `X-API-Key`; browsers may keep \
            the session in a cookie. When there are several, `Authorization` decides alone.\n\n\
            **Lists** answer `{data, total, page, page_size, total_pages}` and take `page` (from 1) and \
            `page_size` (1 to 500); paths that other documents have write them as those do. Every spelling is read everywhere: \
            `per_page` and `limit` are `page_size`, `offset` and `skip` count rows instead of pages, `sort=-created_at` and \
            `sort=createdAt:desc` are `sort=created_at&sort_dir=desc`, a filter that takes several values takes them repeated or \
            with commas between them, and words are read in any case. A parameter that there is no word for is refused, so that a typo \
            in a filter's name cannot pass for a clean result.\n\n\
            **Work** that takes time answers 202 with a `job_id` once it is safely recorded. Follow `Location`, \
            or listen to `/api/jobs/{job_id}/events`. With an `Idempotency-Key` such a request can be repeated \
            without being done twice.\n\n\
            **Limits** hold for sign-ins (by address), for requests that change something and for exports (by person or \
            key). An answer to a request that was counted says in `X-RateLimit-*`, `RateLimit-Policy` and `RateLimit` how \
            much is left.\n\n\
            **Errors** are `{\"detail\": …}`, for invalid input with `errors` that name each field. Every \
            answer carries `X-Request-Id`, which is also in the server's log.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Signing in and out, oneself, and the first administrator."),
        (name = "users", description = "People and what they may do."),
        (name = "api-keys", description = "What programs show instead of a password."),
        (name = "organizations", description = "The tenants of this installation."),
        (name = "assets", description = "Hosts and software whose packages are known."),
        (name = "findings", description = "Vulnerabilities found on assets: `vuln-matches`."),
        (name = "cves", description = "What the world knows about vulnerabilities."),
        (name = "inventory", description = "Handing in what is installed."),
        (name = "sources", description = "Where vulnerability data comes from, and the runs that fetch it."),
        (name = "reports", description = "Documents about all of this."),
        (name = "jobs", description = "Background work and its progress."),
        (name = "schedules", description = "What comes round by itself, and when."),
        (name = "webhooks", description = "Addresses that are told when something happens."),
        (name = "settings", description = "What people choose for their organization or for the whole installation."),
        (name = "alerts", description = "What somebody should know of and see to."),
        (name = "system", description = "Health, and work started by hand."),
    )
)]
struct Shared;

/// The OpenAPI document of everything that this build serves.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Shared::openapi();
    document.info.version = runtime::VERSION.to_owned();
    document.merge(routes::quick().into_openapi());
    document.merge(routes::uploads().into_openapi());
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `access_token` of `POST /api/auth/login`."));
    for (name, scheme) in [
        (BEARER, SecurityScheme::Http(bearer.build())),
        (
            API_KEY,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-API-Key",
                "A key, `hg_ak_…` or `hg_pat_…`.",
            ))),
        ),
        (
            COOKIE,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                "next-auth.session-token",
                "The console's session; behind https with the prefix `__Host-`.",
            ))),
        ),
    ] {
        components.security_schemes.insert(name.into(), scheme.into());
    }
    components.responses.extend(refusals());
    for (name, schema) in [
        (ErrorBody::name(), ErrorBody::schema()),
        (ValidationErrorBody::name(), ValidationErrorBody::schema()),
        (FieldError::name(), FieldError::schema()),
        (RateLimitedBody::name(), RateLimitedBody::schema()),
    ] {
        components.schemas.insert(name.into(), schema);
    }
    // Public operations say so themselves, with an empty requirement.
    let any_of =
        [BEARER, API_KEY, COOKIE].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
    document.security = Some(any_of.into());
    limit_writes(&mut document);
    reshape(&mut document);
    write_lists(&mut document);
    describe(&mut document);
    examples::show(&mut document);
    document
}

/// Every answer that an operation describes itself, with its status.
fn responses(document: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = (&str, &mut Response)> {
    let items = document.paths.paths.values_mut();
    let operations = items
        .flat_map(|item| [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]);
    let answers = operations.flatten().flat_map(|operation| &mut operation.responses.responses);
    answers.filter_map(|(status, response)| match response {
        RefOr::T(response) => Some((status.as_str(), response)),
        RefOr::Ref(_) => None,
    })
}

/// The standard wants a description of every response (OpenAPI 3.1, section 4.8.17.1): where the schema says all, the status does. A schema
/// describes text, though: bytes are what their media type says (section 4.8.14.2).
fn describe(document: &mut utoipa::openapi::OpenApi) {
    for (status, response) in responses(document) {
        if response.description.is_empty() {
            response.description = match status {
                "201" => "What was made.",
                "202" => "The work is recorded and will be done.",
                "204" => "Done; there is nothing to say.",
                _ => "What was asked for.",
            }
            .into();
        }
        for (media_type, content) in &mut response.content {
            let is_binary =
                ["application/pdf", "application/octet-stream", "image/png"].contains(&media_type.as_str());
            if let RefOr::T(content) = content
                && is_binary
            {
                content.schema = None;
            }
        }
    }
}

/// Refusals are written as the document of their path has them (see [`crate::dialect`]).
fn reshape(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    let named = components.responses.clone();
    for (name, schema) in [
        (StatusError::name(), StatusError::schema()),
        (CodedError::name(), CodedError::schema()),
        (CodedErrorBody::name(), CodedErrorBody::schema()),
        (ReportError::name(), ReportError::schema()),
        (ReportErrorBody::name(), ReportErrorBody::schema()),
        (Issue::name(), Issue::schema()),
    ] {
        components.schemas.insert(name.into(), schema);
    }
    for (path, item) in &mut document.paths.paths {
        let Some(schema) = shape::schema_of(Dialect::of(path)) else { continue };
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for (status, response) in
            operations.into_iter().flatten().flat_map(|one| &mut one.responses.responses)
        {
            if !status.starts_with(['4', '5']) {
                continue;
            }
            if let RefOr::Ref(reference) = response {
                let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
                if let Some(shared) = named.get(name) {
                    *response = shared.clone();
                }
            }
            if let RefOr::T(response) = response
                && let Some(RefOr::T(content)) = response.content.get_mut("application/json")
            {
                content.schema = Some(Ref::from_schema_name(schema).into());
            }
        }
    }
}

/// Lists are asked for and written as the document of their path has them (see [`crate::dialect`]): handlers say `Listing` and `Page`.
fn write_lists(document: &mut utoipa::openapi::OpenApi) {
    let schemas = &mut document.components.get_or_insert_with(Components::new).schemas;
    let (mut replaced, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in &mut document.paths.paths {
        let Some(operation) = &mut item.get else { continue };
        let dialect = Dialect::of(path);
        if let Some(parameters) = &mut operation.parameters {
            extract::respell(parameters, dialect);
        }
        let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { continue };
        let Some(RefOr::T(content)) = answer.content.get_mut("application/json") else { continue };
        let Some(RefOr::Ref(schema)) = &content.schema else { continue };
        let name = schema.ref_location.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(item) = name.strip_prefix("Page_") else { continue };
        let Some((prefix, envelope, member)) = reply::page::schema_of(dialect) else {
            kept.insert(name);
            continue;
        };
        let items = schemas.get(&name).and_then(|page| member_of(page, "data")).cloned();
        let (Some(items), RefOr::T(Schema::Object(mut envelope))) = (items, envelope) else { continue };
        envelope.properties.insert(member.to_owned(), items);
        let written = format!("{prefix}_{item}");
        content.schema = Some(Ref::from_schema_name(&written).into());
        schemas.insert(written, RefOr::T(envelope.into()));
        replaced.insert(name);
    }
    for name in replaced.difference(&kept) {
        schemas.remove(name);
    }
}

fn member_of<'a>(schema: &'a RefOr<Schema>, name: &str) -> Option<&'a RefOr<Schema>> {
    match schema {
        RefOr::T(Schema::Object(object)) => object.properties.get(name),
        _ => None,
    }
}

/// A refusal of seed 001's paths.
#[derive(ToSchema)]
#[schema(example = json!({"detail": "Resource not found", "status": "error", "code": "NOT_FOUND"}))]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct StatusError {
    /// What is wrong, in a sentence.
    detail: String,
    /// `error`.
    status: String,
    /// The same in a word that stays the same: `NOT_FOUND`.
    code: String,
    /// For invalid input: each field with what is wrong.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// Seconds to wait, of a 429.
    #[schema(required = false)]
    retry_after: u64,
}

/// A refusal of the paths of seeds 002 and 003.
#[derive(ToSchema)]
#[schema(example = json!({"error": {"code": "NOT_FOUND", "message": "Resource not found", "details": {}}}))]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct CodedError {
    error: CodedErrorBody,
}

/// What is refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct CodedErrorBody {
    /// A word that stays the same.
    code: String,
    /// What is wrong, in a sentence.
    message: String,
    /// What there is to know of it: `errors` of invalid input, `retry_after` of a 429.
    details: serde_json::Map<String, serde_json::Value>,
}

/// A refusal of the paths that seeds 000 and 004 share: as either writes it.
#[derive(ToSchema)]
#[schema(example = json!({"detail": "Resource not found", "error": {"code": "NOT_FOUND", "message": "Resource not found"}}))]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct ReportError {
    /// What is wrong, in a sentence.
    detail: String,
    /// For invalid input: each field with what is wrong.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// Seconds to wait, of a 429.
    #[schema(required = false)]
    retry_after: u64,
    error: ReportErrorBody,
}

/// What is refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct ReportErrorBody {
    /// A word that stays the same.
    code: String,
    /// The same sentence as `detail`.
    message: String,
    /// For invalid input.
    #[schema(required = false)]
    issues: Vec<Issue>,
}

/// One thing that is wrong with the input.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct Issue {
    /// Where, as `recipients.0`.
    path: String,
    /// What is wrong, what the rule is, and what to do.
    message: String,
}

/// Every operation that changes something may come too often (see [`crate::limit`]).
fn limit_writes(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in
            [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
        {
            let limited = || RefOr::Ref(Ref::from_response_name("RateLimited"));
            operation.responses.responses.entry("429".into()).or_insert_with(limited);
        }
    }
}

/// What a request can be refused with, by the name that the types below refer to.
fn refusals() -> Vec<(String, RefOr<Response>)> {
    let body = |description: &str, body: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(body))).build();
        ResponseBuilder::new().description(description).content("application/json", content)
    };
    let error = |description: &str| body(description, "ErrorBody");
    let seconds = |description: &str| {
        let integer: Schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).into();
        HeaderBuilder::new().schema(Some(integer)).description(Some(description)).build()
    };
    let text = |description: &str| {
        let text: Schema = ObjectBuilder::new().schema_type(Type::String).into();
        HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
    };
    // Also on every other answer to a request that was counted.
    let standing = |response: ResponseBuilder| {
        response
            .header("X-RateLimit-Limit", seconds("How many there may be in a window."))
            .header("X-RateLimit-Remaining", seconds("How many are left."))
            .header("X-RateLimit-Reset", seconds("When there will be more, in Unix seconds."))
            .header("RateLimit-Policy", text("Every limit that counts here: `q` in `w` seconds."))
            .header(
                "RateLimit",
                text("What is left of each, `r`, and the seconds until there will be more, `t`."),
            )
    };
    let later = |response: ResponseBuilder| response.header("Retry-After", seconds("Seconds to wait."));
    let named = [
        (
            "BadRequest",
            error("The request makes no sense as it is, or its body ended before it was complete."),
        ),
        ("Unauthenticated", error("There is no valid credential.")),
        ("Forbidden", error("The role, or the key's scopes, do not allow it.")),
        ("NotFound", error("There is none of that id, or not for you.")),
        ("Conflict", error("It contradicts what is there already.")),
        ("TooSlow", error("The body did not come in time.")),
        ("TooLarge", error("The body is too large.")),
        ("UnsupportedMediaType", error("The body is not declared to be what is wanted, or is compressed.")),
        (
            "Invalid",
            body("Validation error: each field with what is wrong and what to do.", "ValidationErrorBody"),
        ),
        ("RateLimited", standing(later(body("Too many requests.", "RateLimitedBody")))),
        ("Internal", error("A fault of ours. It is in the log under `X-Request-Id`.")),
        ("BadGateway", error("A service that is needed for it failed.")),
        (
            "Unavailable",
            later(error(
                "The database cannot be reached for now, or nothing may be changed while the installation is being maintained.",
            )),
        ),
    ];
    named.into_iter().map(|(name, response)| (name.to_owned(), response.build().into())).collect()
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $group:ident = $($status:literal $name:literal),+;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $group;

        impl IntoResponses for $group {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([$(($status.to_owned(), RefOr::Ref(Ref::from_response_name($name)))),+])
            }
        }
    )*};
}

refusals! {
    /// What may happen to anybody.
    Anyone = "500" "Internal", "503" "Unavailable";
    /// What may happen to whoever has to be signed in. Reading, too, may be more than a key's scopes allow.
    SignedIn = "401" "Unauthenticated", "403" "Forbidden", "500" "Internal", "503" "Unavailable";
    /// The id may name nothing.
    Missing = "404" "NotFound";
    /// A parameter may break its rule.
    Invalid = "422" "Invalid";
    /// What may be wrong with a body, of whatever media type.
    BadBody = "400" "BadRequest", "408" "TooSlow", "413" "TooLarge", "415" "UnsupportedMediaType", "422" "Invalid";
    /// It may contradict what is there; also an `Idempotency-Key` that was used for something else.
    Conflicting = "409" "Conflict";
    /// It may need somebody else's service.
    UpstreamFails = "502" "BadGateway";
    /// It may come too often.
    Limited = "429" "RateLimited";
}
