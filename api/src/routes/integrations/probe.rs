//! Asking another system whether it is there and takes what we show it. One small request each, through the guarded way out and by the
//! code that pulls inventories.

use std::time::Duration;

use inventory::remote::{
    RemoteError,
    github::{Credential, Github as Hub},
    json_of, under,
    wazuh::Manager,
};
use runtime::egress::{Client, EgressError, HeaderValue, Request, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use store::integrations::{Ceph, Github, GithubAuth, Wazuh};

use crate::routes::tested::{Outcome, Trouble};

/// For the whole of a test.
const PATIENCE: Duration = Duration::from_secs(10);
/// The answers that are read are a page at most.
const LONGEST_ANSWER: u64 = 256 << 10;
/// The version of Ceph's API that is spoken.
const CEPH_VERSION: HeaderValue = HeaderValue::from_static("application/vnd.ceph.api.v1.0+json");

/// What may be asked: private networks only where an administrator of the installation named the address, or the host.
pub(super) fn client(may_be_private: bool, hosts: &[String]) -> Result<Client, EgressError> {
    inventory::remote::client(may_be_private, hosts, PATIENCE, LONGEST_ANSWER)
}

/// Signs in if the key is `user:password`, as the manager's API asks for, and asks who it is.
pub(super) async fn wazuh(client: &Client, settings: &Wazuh, key: Option<SecretString>) -> Outcome {
    let url = settings.url.as_deref().ok_or(Trouble::Missing("No address is set: set `url`."))?;
    let key = key.ok_or(Trouble::Missing("No key is set: set `api_key`."))?;
    let about = Manager::sign_in(client.clone(), url, key).await?.about().await?;
    Ok(format!("{} {} answers and takes the key.", shown(&about.title), shown(&about.api_version)))
}

/// Asks for the organization, for oneself where none is named, or for the app.
pub(super) async fn github(client: &Client, settings: &Github, secret: Option<SecretString>) -> Outcome {
    let credential = match settings.auth_type {
        GithubAuth::Pat => Credential::Token(secret.ok_or(Trouble::Missing("No token is set: set `pat`."))?),
        GithubAuth::App => {
            let id = settings.app_id.clone().ok_or(Trouble::Missing("No app is named: set `app_id`."))?;
            let key = secret.ok_or(Trouble::Missing("The app has no key: set `private_key`."))?;
            Credential::App { id, key }
        }
    };
    let mut github = Hub::new(client.clone(), &settings.url, credential)?;
    match github.subject(settings.org.as_deref()).await {
        Err(RemoteError::Status { status: 404, .. }) if settings.auth_type == GithubAuth::Pat => {
            Err(Trouble::Failed(
                "GitHub knows no such organization, or the token may not see it: check `org` and `url`."
                    .into(),
            ))
        }
        name => Ok(format!("GitHub answers and takes the credential: it is about `{}`.", shown(&name?))),
    }
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
        return Err(RemoteError::Refused { who: "Ceph", status: answer.status.as_u16() }.into());
    }
    let said: Value = json_of("Ceph", answer).await?;
    said["token"].as_str().ok_or(RemoteError::Strange { who: "Ceph" })?;
    Ok(format!("Ceph Manager answers and takes the password of `{}`.", shown(user)))
}

/// Words of a stranger, as part of a sentence of ours.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
