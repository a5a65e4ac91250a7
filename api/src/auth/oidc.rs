//! Signing in at an OpenID provider: authorization code with PKCE (RFC 7636, S256), as OpenID Connect Core 1.0 and RFC 9700
//! have it.
//!
//! State, nonce and verifier are kept by us, for ten minutes and one use; what the front end repeats of them is compared and
//! never trusted. A person is known by issuer and subject, never by an address. Whatever the provider does wrong is
//! [`ApiError::Upstream`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, PublicKeyUse},
};
use runtime::{
    config::{Config, Oidc as Settings},
    egress::{Client, HeaderValue, Policy, Request, header},
    seldom::Seldom,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use store::auth::OidcSignIn;
use url::{Url, form_urlencoded};

use crate::error::ApiError;

/// How long somebody may take at the provider.
pub(crate) const SIGN_IN_TIME: Duration = Duration::from_secs(600);
/// How old what we know of the provider may be, and how often an unknown key makes us ask again.
const KNOWN_AGE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How far the provider's clock may be from ours, seconds.
const LEEWAY: u64 = 60;
/// What an ID token may be signed with: never with a secret that we share, never with nothing.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// A provider.
pub(crate) struct Provider {
    settings: Settings,
    redirect_url: String,
    http: Client,
    look: Seldom,
    known: Mutex<Option<Arc<Known>>>,
}

/// What the provider publishes.
struct Known {
    loaded: Instant,
    metadata: Metadata,
    keys: Vec<Jwk>,
}

/// OpenID Connect Discovery 1.0, section 3, as far as we need it.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
    access_token: String,
}

#[derive(Deserialize)]
struct TokenError {
    error: String,
}

/// Somebody on the way to the provider: where to, and what is to come back.
pub(crate) struct Departure {
    pub(crate) url: Url,
    pub(crate) state: String,
    pub(crate) kept: OidcSignIn,
}

/// Somebody whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) subject: String,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) groups: Vec<String>,
}

impl Provider {
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub(crate) fn new(settings: Settings, config: &Config) -> anyhow::Result<Self> {
        let policy = Policy {
            max_redirects: 0,
            total_timeout: Duration::from_secs(10),
            max_bytes: 1 << 20,
            ..Policy::administrator()
        };
        let redirect_url = settings
            .redirect_url
            .as_ref()
            .map_or_else(|| format!("{}/auth/callback", config.public_url()), Url::to_string);
        let (http, look) = (Client::new(policy)?, Seldom::every(LOOK_EVERY));
        Ok(Self { settings, redirect_url, http, look, known: Mutex::default() })
    }

    /// The settings that say what groups and new people get.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends somebody to the provider.
    pub(crate) async fn depart(&self) -> Result<Departure, ApiError> {
        let known = self.known(KNOWN_AGE).await.map_err(ApiError::Upstream)?;
        let [state, nonce, code_verifier] =
            [(); 3].map(|()| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&code_verifier));
        let mut url = Url::parse(&known.metadata.authorization_endpoint)
            .context("the provider's authorization endpoint")
            .map_err(ApiError::Upstream)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_url)
            .append_pair("scope", &self.settings.scopes)
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Departure { url, state, kept: OidcSignIn { nonce, code_verifier } })
    }

    /// The person for whom `code` was given out, in answer to the departure of which `kept` is what we kept.
    pub(super) async fn arrive(&self, code: &str, kept: &OidcSignIn) -> Result<Person, ApiError> {
        let known = self.known(KNOWN_AGE).await.map_err(ApiError::Upstream)?;
        let Some(answer) = self.redeem(&known.metadata, code, kept).await.map_err(ApiError::Upstream)? else {
            return Err(ApiError::Unauthenticated("The provider does not know this code: sign in again"));
        };
        self.person(known, &answer, &kept.nonce).await.map_err(ApiError::Upstream)
    }

    /// Exchanges the code; `None` when the provider says that it is not good.
    async fn redeem(
        &self,
        metadata: &Metadata,
        code: &str,
        kept: &OidcSignIn,
    ) -> anyhow::Result<Option<TokenAnswer>> {
        let request = self.token_request(metadata, code, kept)?;
        let answer = self.http.send(request).await.context("the provider's token endpoint")?;
        let status = answer.status;
        let body = answer.bytes().await.context("the provider's token endpoint")?;
        if status.is_success() {
            return Ok(Some(serde_json::from_slice(&body).context("the provider's tokens")?));
        }
        match serde_json::from_slice::<TokenError>(&body) {
            Ok(told) if told.error == "invalid_grant" => Ok(None),
            Ok(told) => Err(anyhow!("the provider's token endpoint says {status}, {}", told.error)),
            Err(_) => Err(anyhow!("the provider's token endpoint says {status}")),
        }
    }

    fn token_request(&self, metadata: &Metadata, code: &str, kept: &OidcSignIn) -> anyhow::Result<Request> {
        let Settings { client_id, client_secret, .. } = &self.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.redirect_url)
            .append_pair("code_verifier", &kept.code_verifier);
        let mut basic = None;
        match client_secret {
            // RFC 6749, section 2.3.1: Basic, with both parts encoded, unless the provider takes only the form.
            Some(secret) if takes_basic(metadata) => {
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(client_id), encoded(secret.expose_secret()));
                basic = Some(format!("Basic {}", STANDARD.encode(pair)));
            }
            Some(secret) => {
                form.append_pair("client_id", client_id).append_pair("client_secret", secret.expose_secret());
            }
            None => {
                form.append_pair("client_id", client_id);
            }
        }
        let request = Request::post(&metadata.token_endpoint, form.finish())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .header(header::ACCEPT, HeaderValue::from_static("application/json"));
        let Some(basic) = basic else { return Ok(request) };
        let mut value = HeaderValue::try_from(basic).context("the client's secret")?;
        value.set_sensitive(true);
        Ok(request.header(header::AUTHORIZATION, value))
    }

    async fn person(&self, known: Arc<Known>, answer: &TokenAnswer, nonce: &str) -> anyhow::Result<Person> {
        let mut claims = self.id_claims(&known, &answer.id_token, nonce).await?;
        let subject = text(&claims, "sub").filter(|sub| (1..=255).contains(&sub.len()));
        let subject = subject.context("the ID token has no usable sub")?;
        let wanted = ["email", "preferred_username", self.settings.groups_claim.as_str()];
        if let Some(endpoint) = &known.metadata.userinfo_endpoint
            && wanted.iter().any(|claim| !claims.contains_key(*claim))
        {
            let more = self.user_info(endpoint, &answer.access_token).await?;
            ensure!(
                text(&more, "sub").as_ref() == Some(&subject),
                "the provider's user info is of somebody else"
            );
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        let email =
            text(&claims, "email").context("the provider tells no e-mail address: add it to OIDC_SCOPES")?;
        let username = text(&claims, "preferred_username")
            .filter(|name| !name.contains(char::is_whitespace))
            .unwrap_or_else(|| email.clone());
        let groups = match claims.get(&self.settings.groups_claim) {
            Some(Value::Array(groups)) => {
                groups.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(Value::String(group)) => vec![group.clone()],
            _ => Vec::new(),
        };
        Ok(Person { subject, username, email, groups })
    }

    /// The claims of an ID token that is the provider's, for us, and an answer to our question (OpenID Connect Core 1.0,
    /// section 3.1.3.7).
    async fn id_claims(&self, known: &Known, token: &str, nonce: &str) -> anyhow::Result<Map<String, Value>> {
        let header = jsonwebtoken::decode_header(token).context("the ID token is no JWT that we read")?;
        ensure!(ALGORITHMS.contains(&header.alg), "the ID token is signed with {:?}", header.alg);
        let key = match find_key(&known.keys, header.kid.as_deref()) {
            Some(key) => key.clone(),
            // The provider may have a new key.
            None => {
                let age = if self.look.may() { Duration::ZERO } else { KNOWN_AGE };
                let known = self.known(age).await?;
                find_key(&known.keys, header.kid.as_deref()).context("the ID token's key is unknown")?.clone()
            }
        };
        let mut rules = Validation::new(header.alg);
        rules.leeway = LEEWAY;
        rules.validate_nbf = true;
        rules.set_issuer(&[&self.settings.issuer]);
        rules.set_audience(&[&self.settings.client_id]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &DecodingKey::from_jwk(&key)?, &rules)
            .context("the ID token is not valid")?
            .claims;
        ensure!(text(&claims, "nonce").as_deref() == Some(nonce), "the ID token answers another question");
        // Section 2: where there are several audiences, it says which of them asked.
        let is_shared =
            claims.get("aud").and_then(Value::as_array).is_some_and(|audience| audience.len() > 1);
        let asked = text(&claims, "azp");
        let is_ours = asked.as_ref().map_or(!is_shared, |asked| *asked == self.settings.client_id);
        ensure!(is_ours, "the ID token was given to another client");
        Ok(claims)
    }

    async fn user_info(&self, endpoint: &str, access_token: &str) -> anyhow::Result<Map<String, Value>> {
        let mut value =
            HeaderValue::try_from(format!("Bearer {access_token}")).context("the access token")?;
        value.set_sensitive(true);
        self.get(Request::get(endpoint).header(header::AUTHORIZATION, value)).await.context("user info")
    }

    /// What the provider publishes, not older than `age`.
    async fn known(&self, age: Duration) -> anyhow::Result<Arc<Known>> {
        let kept = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = kept.filter(|known| known.loaded.elapsed() < age) {
            return Ok(known);
        }
        let issuer = &self.settings.issuer;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata: Metadata = self.get(Request::get(address)).await.context("the provider's metadata")?;
        if metadata.issuer != *issuer {
            bail!("the provider calls itself `{}`, and OIDC_ISSUER is `{issuer}`", metadata.issuer);
        }
        let set: KeySet = self.get(Request::get(&metadata.jwks_uri)).await.context("the provider's keys")?;
        // Kinds of keys that we do not know are nothing to us.
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        let known = Arc::new(Known { loaded: Instant::now(), metadata, keys });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    async fn get<T: DeserializeOwned>(&self, request: Request) -> anyhow::Result<T> {
        let request = request.header(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.http.send(request).await?;
        ensure!(answer.status.is_success(), "the provider says {}", answer.status);
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}

fn takes_basic(metadata: &Metadata) -> bool {
    let methods = metadata.token_endpoint_auth_methods_supported.as_ref();
    methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
}

/// The key of that id; without an id the only one there is.
fn find_key<'a>(keys: &'a [Jwk], id: Option<&str>) -> Option<&'a Jwk> {
    let signs = |key: &&Jwk| matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    match id {
        Some(id) => keys.iter().filter(signs).find(|key| key.common.key_id.as_deref() == Some(id)),
        None => keys.iter().find(signs).filter(|_| keys.len() == 1),
    }
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name)?.as_str().map(str::to_owned)
}
