//! GitHub, or a GitHub Enterprise Server (GitHub REST API, version 2022-11-28).
//!
//! Of an organization's repositories GitHub knows what they depend on, as far as their manifests and lock files say, and hands it out as
//! an SBOM in SPDX. Who we are is a token, or an app with a key, which asks for a token of its installation in the organization and
//! for another one when that has run out, after an hour. Requests go one after the other, as GitHub asks for. Start at [`Github::new`].

use bytes::Bytes;
use chrono::Utc;
use domain::inventory::{AssetIdentity, AssetKind, Inventory};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use runtime::egress::{Client, HeaderName, HeaderValue, Request, Response, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{RemoteError, USUAL_PAUSE, bearer, good, pause_of, under};
use crate::entries::Entries;
use crate::rules::shown;
use crate::{InventoryError, spdx};

const GITHUB: &str = "GitHub";
/// The version of the API that is spoken.
const VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
/// Repositories that are asked for at once: as many as GitHub gives.
pub const PAGE: usize = 100;
/// The longest answer that is read: an SBOM has some hundred bytes for each dependency.
pub const LONGEST_ANSWER: u64 = 64 << 20;

/// How we prove who we are.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A personal access token.
    Token(SecretString),
    /// A GitHub App, with its private key in PEM.
    App { id: String, key: SecretString },
}

/// GitHub, and who we are there.
#[derive(Debug)]
pub struct Github {
    client: Client,
    url: String,
    credential: Credential,
    /// The organization in which the app is installed, once it was asked for.
    installed_in: Option<String>,
    token: SecretString,
}

/// A repository of the organization.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository {
    /// Stays what it is when the repository is renamed.
    pub id: u64,
    /// Cannot leave its place in a path.
    #[serde(deserialize_with = "repository_name")]
    pub name: String,
}

/// Some of the repositories.
#[derive(Debug)]
pub struct Repositories {
    pub repositories: Vec<Repository>,
    /// No page follows.
    pub is_last: bool,
    /// Why entries cannot be read.
    pub refused: Vec<String>,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

impl Github {
    /// Asks nobody yet. An app speaks for itself until [`Self::install`].
    ///
    /// # Errors
    /// [`RemoteError::Key`] when the app's key is none.
    pub fn new(client: Client, url: &str, credential: Credential) -> Result<Self, RemoteError> {
        let token = match &credential {
            Credential::Token(token) => token.clone(),
            Credential::App { id, key } => app_token(id, key)?,
        };
        Ok(Self { client, url: url.to_owned(), credential, installed_in: None, token })
    }

    /// What the credential is about: the organization, oneself where none is named, or the app ("Get an organization", "Get the
    /// authenticated user", "Get the authenticated app").
    ///
    /// # Errors
    /// When GitHub does not say. `Status` with 404: it knows no such organization, or does not show it to us.
    pub async fn subject(&mut self, org: Option<&str>) -> Result<String, RemoteError> {
        let path = match (&self.credential, org) {
            (Credential::App { .. }, _) => "/app".to_owned(),
            (Credential::Token(_), Some(org)) => format!("/orgs/{org}"),
            (Credential::Token(_), None) => "/user".to_owned(),
        };
        let said: Value = decoded(self.get(&path).await?).await?;
        let name = said["login"].as_str().or(said["slug"].as_str());
        name.map(str::to_owned).ok_or(RemoteError::Strange { who: GITHUB })
    }

    /// From here on an app speaks for its installation in `org`; for a token there is nothing to do.
    ///
    /// # Errors
    /// `Status` with 404 when the app is not installed there.
    pub async fn install(&mut self, org: &str) -> Result<(), RemoteError> {
        let Credential::App { id, key } = &self.credential else { return Ok(()) };
        self.token = app_token(id, key)?;
        let path = format!("/orgs/{org}/installation");
        let installation: Installation = decoded(self.get(&path).await?).await?;
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        let request = self.about_to(Request::post(under(&self.url, &path), ""))?;
        let token: Token = decoded(self.client.send(request).await?).await?;
        self.token = token.token.into();
        self.installed_in = Some(org.to_owned());
        Ok(())
    }

    /// A page of the organization's repositories, by number from 1, [`PAGE`] at most ("List organization repositories").
    ///
    /// # Errors
    /// When GitHub does not say.
    pub async fn repositories(&mut self, org: &str, page: usize) -> Result<Repositories, RemoteError> {
        let path = format!("/orgs/{org}/repos?per_page={PAGE}&page={page}&sort=created&direction=asc");
        let answer = self.ask(&path).await?;
        // Whether there is another page is all that is taken from the link: where it leads is known.
        let is_last = !answer.header(header::LINK).is_some_and(|link| link.contains("rel=\"next\""));
        let entries: Entries<Repository> = decoded(answer).await?;
        let refused = entries.refused.into_iter();
        Ok(Repositories {
            is_last,
            refused: refused
                .map(|(index, why)| format!("repository {}: {}", (page - 1) * PAGE + index + 1, shown(&why)))
                .collect(),
            repositories: entries.read.into_iter().map(|(_, repository)| repository).collect(),
        })
    }

    /// What the repository depends on, as it came ("Export a software bill of materials (SBOM) for a repository"): for [`inventory`].
    ///
    /// # Errors
    /// When GitHub does not say. `Status` with 404: its dependency graph is turned off, or it is not shown to us.
    pub async fn sbom(&mut self, org: &str, repository: &Repository) -> Result<Bytes, RemoteError> {
        let path = format!("/repos/{org}/{}/dependency-graph/sbom", repository.name);
        let answer = self.ask(&path).await?;
        body(answer).await
    }

    /// Asks once more with a new token where that of an installation has run out.
    async fn ask(&mut self, path: &str) -> Result<Response, RemoteError> {
        let answer = self.get(path).await?;
        match self.installed_in.clone() {
            Some(org) if answer.status == StatusCode::UNAUTHORIZED => {
                self.install(&org).await?;
                self.get(path).await
            }
            _ => Ok(answer),
        }
    }

    async fn get(&self, path: &str) -> Result<Response, RemoteError> {
        let request = self.about_to(Request::get(under(&self.url, path)))?;
        Ok(self.client.send(request).await?)
    }

    fn about_to(&self, request: Request) -> Result<Request, RemoteError> {
        Ok(request
            .header(header::AUTHORIZATION, bearer(&self.token)?)
            .header(header::ACCEPT, HeaderValue::from_static("application/vnd.github+json"))
            .header(HeaderName::from_static("x-github-api-version"), VERSION))
    }
}

/// The body of a good answer. A secondary limit can be a 403 that says so in its text alone (GitHub REST API, "Rate limits": wait
/// for at least a minute).
async fn body(answer: Response) -> Result<Bytes, RemoteError> {
    let may_be_limited = answer.status == StatusCode::FORBIDDEN;
    let headers = answer.headers.clone();
    if !may_be_limited || pause_of(answer.status, &headers, Utc::now().timestamp()).is_some() {
        return Ok(good(GITHUB, answer)?.bytes().await?);
    }
    let said: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
    match said["message"].as_str() {
        Some(why) if why.to_ascii_lowercase().contains("rate limit") => {
            Err(RemoteError::Wait { who: GITHUB, pause: USUAL_PAUSE })
        }
        _ => Err(RemoteError::Refused { who: GITHUB, status: StatusCode::FORBIDDEN.as_u16() }),
    }
}

async fn decoded<T: DeserializeOwned>(answer: Response) -> Result<T, RemoteError> {
    serde_json::from_slice(&body(answer).await?).map_err(|_| RemoteError::Strange { who: GITHUB })
}

/// The inventory that an SBOM of [`Github::sbom`] is of. It may have no packages: GitHub knows of none.
///
/// # Errors
/// When it is no SBOM.
pub fn inventory(
    url: &str,
    org: &str,
    repository: &Repository,
    sbom: &[u8],
) -> Result<Inventory, InventoryError> {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let asset = AssetIdentity {
        kind: AssetKind::Software,
        hostname: format!("{org}/{}", repository.name),
        external_id: Some(format!("github:{host}/{}", repository.id)),
        os: None,
        kernel: None,
        architecture: None,
    };
    spdx::of_github(sbom, asset)
}

/// A token that says we are the app, for ten minutes (GitHub documentation, "Generating a JSON Web Token for a GitHub App").
fn app_token(app: &str, key: &SecretString) -> Result<SecretString, RemoteError> {
    let key = EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).map_err(|_| RemoteError::Key)?;
    let now = Utc::now().timestamp();
    let claims = json!({ "iat": now - 60, "exp": now + 540, "iss": app });
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key);
    Ok(token.map_err(|_| RemoteError::Key)?.into())
}

fn repository_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=100).contains(&name.len()) && name.chars().all(is_plain) && !matches!(name.as_str(), "." | "..") {
        return Ok(name);
    }
    Err(serde::de::Error::custom(format_args!("`{}` is not the name of a repository", shown(&name))))
}
