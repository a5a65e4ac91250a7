//! Asking another system whether it is there and takes what we show it. One small request each, through the guarded way out.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use runtime::egress::{Client, EgressError, HeaderValue, Policy, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use store::integrations::{Ceph, Github, GithubAuth, Wazuh};

use crate::routes::tested::{Outcome, Trouble};

/// For the whole of a test.
const PATIENCE: Duration = Duration::from_secs(10);
/// The answers that are read are a page at most.
const LONGEST_ANSWER: u64 = 256 << 10;
/// The version of GitHub's API that is spoken.
const GITHUB_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
/// And of Ceph's.
const CEPH_VERSION: HeaderValue = HeaderValue::from_static("application/vnd.ceph.api.v1.0+json");

/// What may be asked: private networks only where an administrator of the installation named the address, or the host.
pub(super) fn client(may_be_private: bool, hosts: &[String]) -> Result<Client, EgressError> {
    Client::new(Policy {
        allow_private: may_be_private,
        allow_hosts: hosts.to_vec(),
        total_timeout: PATIENCE,
        max_bytes: LONGEST_ANSWER,
        ..Policy::tenant()
    })
}

/// Signs in if the key is `user:password`, as the manager's API asks for, and asks who it is (Wazuh documentation, "Server API reference").
pub(super) async fn wazuh(client: &Client, settings: &Wazuh, key: Option<SecretString>) -> Outcome {
    let url = settings.url.as_deref().ok_or(Trouble::Missing("No address is set: set `url`."))?;
    let key = key.ok_or(Trouble::Missing("No key is set: set `api_key`."))?;
    let token = match key.expose_secret().split_once(':') {
        None => key.clone(),
        Some(_) => {
            let login = STANDARD.encode(key.expose_secret());
            let request = Request::post(under(url, "/security/user/authenticate"), Bytes::new())
                .header(header::AUTHORIZATION, secret_value(&format!("Basic {login}"))?);
            let said = json_of("Wazuh", client.send(request).await?).await?;
            let token = said["data"]["token"].as_str();
            token.ok_or_else(|| strange("Wazuh"))?.into()
        }
    };
    let request = Request::get(under(url, "/")).header(header::AUTHORIZATION, bearer(&token)?);
    let said = json_of("Wazuh", client.send(request).await?).await?;
    let about = &said["data"];
    let title = about["title"].as_str().ok_or_else(|| strange("Wazuh"))?;
    Ok(format!(
        "{} {} answers and takes the key.",
        shown(title),
        shown(about["api_version"].as_str().unwrap_or_default())
    ))
}

/// Asks for the organization, for oneself where none is named, or for the app (GitHub REST API, "Get an organization", "Get the authenticated
/// user", "Get the authenticated app").
pub(super) async fn github(client: &Client, settings: &Github, secret: Option<SecretString>) -> Outcome {
    let (path, token) = match settings.auth_type {
        GithubAuth::Pat => {
            let token = secret.ok_or(Trouble::Missing("No token is set: set `pat`."))?;
            let path = settings.org.as_ref().map_or_else(|| "/user".into(), |org| format!("/orgs/{org}"));
            (path, token)
        }
        GithubAuth::App => {
            let app = settings.app_id.as_deref().ok_or(Trouble::Missing("No app is named: set `app_id`."))?;
            let key = secret.ok_or(Trouble::Missing("The app has no key: set `private_key`."))?;
            ("/app".into(), app_token(app, &key)?)
        }
    };
    let request = Request::get(under(&settings.url, &path))
        .header(header::AUTHORIZATION, bearer(&token)?)
        .header(header::ACCEPT, HeaderValue::from_static("application/vnd.github+json"))
        .header(header::HeaderName::from_static("x-github-api-version"), GITHUB_VERSION);
    let answer = client.send(request).await?;
    if answer.status == StatusCode::NOT_FOUND && settings.auth_type == GithubAuth::Pat {
        return Err(Trouble::Failed(
            "GitHub knows no such organization, or the token may not see it: check `org` and `url`.".into(),
        ));
    }
    let said = json_of("GitHub", answer).await?;
    let name = said["login"].as_str().or(said["slug"].as_str()).ok_or_else(|| strange("GitHub"))?;
    Ok(format!("GitHub answers and takes the credential: it is about `{}`.", shown(name)))
}

/// A token that says we are the app, for ten minutes (GitHub documentation, "Generating a JSON Web Token for a GitHub App").
fn app_token(app: &str, key: &SecretString) -> Result<SecretString, Trouble> {
    let refused = |_| Trouble::Failed("The private key cannot be used: it must be an RSA key in PEM.".into());
    let key = EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).map_err(refused)?;
    let now = Utc::now().timestamp();
    let claims = json!({ "iat": now - 60, "exp": now + 540, "iss": app });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map_err(refused)?;
    Ok(token.into())
}

/// Signs in (Ceph documentation, "Ceph RESTful API", "Auth").
pub(super) async fn ceph(client: &Client, settings: &Ceph, password: Option<SecretString>) -> Outcome {
    let url = settings.url.as_deref().ok_or(Trouble::Missing("No address is set: set `url`."))?;
    let user = settings.username.as_deref().ok_or(Trouble::Missing("No user is set: set `username`."))?;
    let password = password.ok_or(Trouble::Missing("No password is set: set `password`."))?;
    let login = json!({ "username": user, "password": password.expose_secret() });
    let request = Request::post(under(url, "/api/auth"), login.to_string())
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::ACCEPT, CEPH_VERSION);
    let answer = client.send(request).await?;
    if answer.status == StatusCode::BAD_REQUEST {
        return Err(refused("Ceph", answer.status));
    }
    let said = json_of("Ceph", answer).await?;
    said["token"].as_str().ok_or_else(|| strange("Ceph"))?;
    Ok(format!("Ceph Manager answers and takes the password of `{}`.", shown(user)))
}

/// `path` below `url`, whether or not that ends in a slash.
fn under(url: &str, path: &str) -> String {
    format!("{}{path}", url.trim_end_matches('/'))
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Trouble> {
    secret_value(&format!("Bearer {}", token.expose_secret()))
}

fn secret_value(text: &str) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Trouble::Failed("The secret has characters that no header can carry.".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body of a good answer.
async fn json_of(who: &str, answer: Response) -> Result<Value, Trouble> {
    match answer.status {
        status if status.is_success() => {
            let body = answer.bytes().await?;
            serde_json::from_slice(&body).map_err(|_| strange(who))
        }
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(refused(who, status)),
        status => Err(Trouble::Failed(format!(
            "{who} answers with {}: is this the address of its API?",
            status.as_u16()
        ))),
    }
}

fn refused(who: &str, status: StatusCode) -> Trouble {
    Trouble::Failed(format!("{who} answers and refuses the credential ({}).", status.as_u16()))
}

fn strange(who: &str) -> Trouble {
    Trouble::Failed(format!("Something answers, but not as {who} does: is this the address of its API?"))
}

/// Words of a stranger, as part of a sentence of ours.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
