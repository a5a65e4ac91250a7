//! Access tokens, which we sign, and refresh tokens, which are only numbers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use domain::id::{SessionId, TenantId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use runtime::{config::Lifetimes, secrets::Keys as SecretKeys, seldom::Seldom};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use store::auth::SigningKey;
use uuid::Uuid;

use crate::error::ApiError;

const ISSUER: &str = "plimsoll";
const AUDIENCE: &str = "plimsoll-api";
/// The media type of access tokens: RFC 9068, section 2.1. Nothing else that we might sign one day can pass
/// for one.
const TYPE: &str = "at+jwt";
/// How far the clocks of two of our machines may be apart, seconds.
const LEEWAY: u64 = 10;
/// How soon a key that was added or removed is noticed.
const KEYS_AGE: Duration = Duration::from_secs(60);
/// How often unknown key ids make us look for new keys.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an access token says: RFC 7519, section 4.1, the tenant, and the session (`sid` of OpenID Connect Front-Channel
/// Logout 1.0, section 3).
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    tid: Uuid,
    sid: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Who an access token was given to, in which session, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Signs and verifies access tokens with the installation's keys, which all API processes share.
pub(crate) struct AccessTokens {
    lifetimes: Lifetimes,
    secrets: SecretKeys,
    look: Seldom,
    keys: Mutex<Option<Arc<Keys>>>,
}

struct Keys {
    loaded: Instant,
    /// None when there is none yet, or when it has served its time.
    signing: Option<(Uuid, EncodingKey)>,
    verifying: HashMap<Uuid, DecodingKey>,
}

impl AccessTokens {
    pub(crate) fn new(lifetimes: Lifetimes, secrets: SecretKeys) -> Self {
        Self { lifetimes, secrets, look: Seldom::every(LOOK_EVERY), keys: Mutex::new(None) }
    }

    /// A token for `user`, good from now and as long as the session goes on.
    pub(crate) async fn issue(
        &self,
        pool: &PgPool,
        tenant: TenantId,
        user: UserId,
        session: SessionId,
    ) -> Result<String, ApiError> {
        let mut keys = self.keys(pool, KEYS_AGE).await?;
        if keys.signing.is_none() {
            let secret = SecretString::from(hex::encode(rand::random::<[u8; 32]>()));
            store::auth::add_signing_key(
                pool,
                &self.secrets,
                Uuid::now_v7(),
                &secret,
                self.lifetimes.signing_key,
            )
            .await?;
            keys = self.keys(pool, Duration::ZERO).await?;
        }
        let (id, key) = keys.signing.as_ref().context("there is no signing key although one was added")?;
        let now = Utc::now();
        let expires_at = now + self.lifetimes.access_token;
        Ok(sign(*id, key, Identity { tenant, user, session, expires_at }, now)?)
    }

    /// Who `token` was given to.
    pub(crate) async fn verify(&self, pool: &PgPool, token: &str) -> Result<Identity, ApiError> {
        const REFUSED: ApiError = ApiError::Unauthenticated("The access token is not valid: sign in again");
        let Some(id) = key_id(token) else { return Err(REFUSED) };
        let mut keys = self.keys(pool, KEYS_AGE).await?;
        if !keys.verifying.contains_key(&id) && self.look.may() {
            keys = self.keys(pool, Duration::ZERO).await?;
        }
        let Some(key) = keys.verifying.get(&id) else { return Err(REFUSED) };
        match check(token, key) {
            Ok(identity) => Ok(identity),
            Err(error) if *error.kind() == jsonwebtoken::errors::ErrorKind::ExpiredSignature => {
                Err(ApiError::Unauthenticated("The access token has expired: use the refresh token"))
            }
            Err(_) => Err(REFUSED),
        }
    }

    /// The keys, not older than `age`.
    async fn keys(&self, pool: &PgPool, age: Duration) -> Result<Arc<Keys>, ApiError> {
        let fresh = |kept: &Option<Arc<Keys>>| kept.clone().filter(|keys| keys.loaded.elapsed() < age);
        if let Some(keys) = fresh(&self.keys.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(keys);
        }
        let rows = store::auth::signing_keys(pool, &self.secrets).await?;
        let signing = rows.first().filter(|key| key.age < self.lifetimes.signing_key.as_secs_f64());
        // Another process may have signed with it until it noticed.
        let served = (self.lifetimes.access_token + KEYS_AGE).as_secs_f64() + LEEWAY as f64;
        let verifying = rows.iter().filter(|key| key.superseded.is_none_or(|since| since < served));
        let keys = Arc::new(Keys {
            loaded: Instant::now(),
            signing: signing.map(|key| (key.id, EncodingKey::from_secret(bytes(key)))),
            verifying: verifying.map(|key| (key.id, DecodingKey::from_secret(bytes(key)))).collect(),
        });
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }
}

fn bytes(key: &SigningKey) -> &[u8] {
    key.secret.expose_secret().as_bytes()
}

fn sign(key_id: Uuid, key: &EncodingKey, identity: Identity, now: DateTime<Utc>) -> anyhow::Result<String> {
    let header =
        Header { typ: Some(TYPE.into()), kid: Some(key_id.to_string()), ..Header::new(Algorithm::HS256) };
    let now = now.timestamp();
    let claims = Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: identity.user.0,
        tid: identity.tenant.0,
        sid: identity.session.0,
        iat: now,
        nbf: now,
        exp: identity.expires_at.timestamp(),
    };
    Ok(jsonwebtoken::encode(&header, &claims, key)?)
}

/// The key that `token` says it was signed with, if it is an access token at all.
fn key_id(token: &str) -> Option<Uuid> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let is_ours = header.alg == Algorithm::HS256 && header.typ.as_deref() == Some(TYPE);
    is_ours.then_some(header.kid?)?.parse().ok()
}

fn check(token: &str, key: &DecodingKey) -> jsonwebtoken::errors::Result<Identity> {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.leeway = LEEWAY;
    rules.validate_nbf = true;
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    let Claims { sub, tid, sid, exp, .. } = jsonwebtoken::decode::<Claims>(token, key, &rules)?.claims;
    Ok(Identity {
        tenant: TenantId(tid),
        user: UserId(sub),
        session: SessionId(sid),
        expires_at: DateTime::from_timestamp(exp, 0).unwrap_or(DateTime::UNIX_EPOCH),
    })
}

/// A refresh token, or the value of a session's cookie: 256 random bits. We keep its SHA-256, which needs no
/// salt since nobody can guess the secret.
pub(crate) struct OpaqueToken(String);

impl OpaqueToken {
    /// A new one.
    pub(crate) fn generate() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// One that a client sent.
    pub(crate) fn received(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What is kept of it.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The token itself, to be handed to its owner.
    pub(crate) fn reveal(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Given {
        id: Uuid,
        secret: [u8; 32],
        tenant: TenantId,
        user: UserId,
        session: SessionId,
    }

    fn given() -> Given {
        Given {
            id: Uuid::now_v7(),
            secret: rand::random(),
            tenant: TenantId::new(),
            user: UserId::new(),
            session: SessionId::new(),
        }
    }

    impl Given {
        fn token(&self, now: DateTime<Utc>) -> String {
            let key = EncodingKey::from_secret(&self.secret);
            let Self { tenant, user, session, .. } = *self;
            let identity = Identity { tenant, user, session, expires_at: now + HOUR };
            sign(self.id, &key, identity, now).expect("signed")
        }

        fn check(&self, token: &str) -> Option<Identity> {
            key_id(token).filter(|id| *id == self.id)?;
            check(token, &DecodingKey::from_secret(&self.secret)).ok()
        }

        /// A token with other words than ours, rightly signed.
        fn forged(&self, header: &Header, claims: &serde_json::Value) -> String {
            jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(&self.secret)).expect("signed")
        }
    }

    #[test]
    fn a_token_says_who_it_was_given_to() {
        let given = given();
        let identity = given.check(&given.token(Utc::now())).expect("valid");
        assert_eq!(
            (identity.tenant, identity.user, identity.session),
            (given.tenant, given.user, given.session)
        );
    }

    #[test]
    fn a_token_is_good_between_its_times_only() {
        let given = given();
        assert!(given.check(&given.token(Utc::now() - 2 * HOUR)).is_none(), "expired");
        assert!(given.check(&given.token(Utc::now() + HOUR)).is_none(), "not yet");
    }

    #[test]
    fn a_token_of_another_key_or_with_another_byte_is_refused() {
        let given = given();
        let other = Given { secret: rand::random(), ..given };
        let token = given.token(Utc::now());
        assert!(other.check(&token).is_none());
        let altered = token.replacen('.', ".e30", 1);
        assert!(given.check(&altered).is_none());
    }

    #[test]
    fn a_token_for_something_else_is_refused() {
        let given = given();
        let now = Utc::now().timestamp();
        let header = Header {
            typ: Some(TYPE.into()),
            kid: Some(given.id.to_string()),
            ..Header::new(Algorithm::HS256)
        };
        let claims = serde_json::json!({"iss": ISSUER, "aud": AUDIENCE, "sub": given.user, "tid": given.tenant,
                                        "sid": given.session, "iat": now, "nbf": now, "exp": now + 60});
        assert!(given.check(&given.forged(&header, &claims)).is_some());
        for (name, value) in [("iss", "somebody"), ("aud", "something"), ("sub", "nobody"), ("sid", "none")] {
            let mut other = claims.clone();
            other[name] = value.into();
            assert!(given.check(&given.forged(&header, &other)).is_none(), "{name}");
            other.as_object_mut().expect("an object").remove(name);
            assert!(given.check(&given.forged(&header, &other)).is_none(), "without {name}");
        }
        let plain = Header { typ: Some("JWT".into()), ..header.clone() };
        assert!(given.check(&given.forged(&plain, &claims)).is_none(), "another type of token");
        let longer = Header { alg: Algorithm::HS512, ..header.clone() };
        assert!(given.check(&given.forged(&longer, &claims)).is_none(), "another algorithm");
        let foreign = Header { kid: Some(Uuid::now_v7().to_string()), ..header };
        assert!(given.check(&given.forged(&foreign, &claims)).is_none(), "a key that is not ours");
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let given = given();
        let token = given.token(Utc::now());
        let body = token.split('.').nth(1).expect("three parts");
        let header =
            URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"{TYPE}","kid":"{}"}}"#, given.id));
        assert!(given.check(&format!("{header}.{body}.")).is_none());
    }

    #[test]
    fn opaque_tokens_are_long_and_different() {
        let (one, two) = (OpaqueToken::generate(), OpaqueToken::generate());
        assert_ne!(one.sha256(), two.sha256());
        assert_eq!(one.reveal().len(), 43);
    }
}
