//! Wazuh, by the API of its manager (Wazuh documentation 4.x, "Server API reference").
//!
//! Signing in gives a token for a quarter of an hour; it is renewed where the manager says that it has run out. Lists come in pages of
//! 500. What a list says of its own length is held against what came: half a list of packages would look like a clean host.
//! Start at [`Manager::sign_in`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::inventory::{AssetIdentity, AssetKind, InstalledPackage, Inventory, OperatingSystem};
use runtime::egress::{Client, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::{RemoteError, bearer, json_of, secret_value, under};
use crate::entries::Entries;
use crate::normal::tidy;
use crate::purl::distro_id;
use crate::rules::{Skipped, package_problem, shown, text_problem};
use crate::{InventoryError, MAX_PACKAGES, MAX_TEXT_BYTES};

const WAZUH: &str = "Wazuh";
/// Entries of a list that are asked for at once: what the API gives unless it is asked for something else.
pub const PAGE: usize = 500;
/// What is asked for of an agent. The parts of `os` have to be named one by one: the API refuses `os` itself (error 1724).
const AGENT_FIELDS: &str =
    "id,name,status,lastKeepAlive,os.platform,os.name,os.version,os.major,os.minor,os.codename";
/// The longest answer that is read: a page of packages with long descriptions has less than a megabyte.
pub const LONGEST_ANSWER: u64 = 16 << 20;

/// A manager that has let us in.
#[derive(Debug)]
pub struct Manager {
    client: Client,
    url: String,
    /// A token, or `user:password`.
    key: SecretString,
    token: SecretString,
}

/// What a manager says of itself.
#[derive(Debug, Deserialize)]
pub struct About {
    pub title: String,
    #[serde(default)]
    pub api_version: String,
}

/// A host that the manager watches.
#[derive(Debug, Clone, Deserialize)]
pub struct Agent {
    /// Digits; of this manager, and given anew when a host is enrolled again.
    #[serde(deserialize_with = "agent_id")]
    pub id: String,
    /// The name that it was enrolled under, no other agent's at this manager.
    pub name: String,
    #[serde(default)]
    status: String,
    /// When it was last heard of. The manager itself says the year 9999.
    #[serde(rename = "lastKeepAlive")]
    last_keep_alive: Option<DateTime<Utc>>,
    os: Option<System>,
}

impl Agent {
    /// True when it was ever heard of: until then nothing is known of it.
    #[must_use]
    pub fn has_connected(&self) -> bool {
        !matches!(self.status.as_str(), "never_connected" | "pending")
    }

    /// When it was last heard of, by a clock that says `now`.
    #[must_use]
    pub fn heard_of_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.last_keep_alive.map_or(now, |at| at.min(now))
    }
}

/// Some of the agents.
#[derive(Debug)]
pub struct Agents {
    pub agents: Vec<Agent>,
    /// How many entries the page had, those that cannot be read among them.
    pub listed: usize,
    /// How many there are in all.
    pub total: usize,
    /// Why entries cannot be read.
    pub refused: Vec<String>,
}

/// The system of a host, in the words of `os-release(5)` on Linux.
#[derive(Debug, Clone, Default, Deserialize)]
struct System {
    platform: Option<String>,
    name: Option<String>,
    version: Option<String>,
    major: Option<String>,
    minor: Option<String>,
    codename: Option<String>,
}

/// What the inventory module of an agent says of its system.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Host {
    os: Option<System>,
    /// Of the kernel.
    release: Option<String>,
    architecture: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    version: Option<String>,
    architecture: Option<String>,
    format: Option<String>,
    source: Option<String>,
}

/// Everything that the manager lists as installed on one host.
#[derive(Debug, Default)]
pub struct Packages {
    listed: Vec<(usize, Listed)>,
    refused: Vec<(usize, String)>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Items<T> {
    affected_items: Entries<T>,
    total_affected_items: usize,
    #[serde(default)]
    total_failed_items: usize,
}

impl Manager {
    /// Signs in if the key is `user:password`, as the manager asks for; anything else is taken for a token.
    ///
    /// # Errors
    /// When the manager does not answer or does not take the key.
    pub async fn sign_in(client: Client, url: &str, key: SecretString) -> Result<Self, RemoteError> {
        let mut manager = Self { client, url: url.to_owned(), token: key.clone(), key };
        if manager.key_is_a_login() {
            manager.token = manager.fresh_token().await?;
        }
        Ok(manager)
    }

    /// Asks the manager what it is.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn about(&mut self) -> Result<About, RemoteError> {
        let answer: Answer<About> = self.read("/").await?;
        Ok(answer.data)
    }

    /// The agents from number `offset` on, at most [`PAGE`].
    ///
    /// # Errors
    /// When the manager does not say.
    pub async fn agents(&mut self, offset: usize) -> Result<Agents, RemoteError> {
        let path = format!("/agents?select={AGENT_FIELDS}&sort=id&limit={PAGE}&offset={offset}");
        let Items { affected_items: items, total_affected_items: total, .. } = self.items(&path).await?;
        Ok(Agents {
            listed: items.len(),
            total,
            refused: items
                .refused
                .into_iter()
                .map(|(index, reason)| format!("agent {}: {}", offset + index + 1, shown(&reason)))
                .collect(),
            agents: items.read.into_iter().map(|(_, agent)| agent).collect(),
        })
    }

    /// What is known of the agent's system; nothing where its inventory module has not said it yet.
    ///
    /// # Errors
    /// When the manager does not say.
    pub async fn host(&mut self, agent: &Agent) -> Result<Option<Host>, RemoteError> {
        let items: Items<Host> = self.items(&format!("/syscollector/{}/os", agent.id)).await?;
        Ok(items.affected_items.read.into_iter().next().map(|(_, host)| host))
    }

    /// Everything that is installed on the agent, page by page. `None` when the list was another one with each page, or did not come
    /// to its end: what is missing in it need not be missing on the host.
    ///
    /// # Errors
    /// When the manager does not say.
    pub async fn packages(&mut self, agent: &Agent) -> Result<Option<Packages>, RemoteError> {
        let mut packages = Packages::default();
        let mut expected = None;
        loop {
            let offset = packages.listed.len() + packages.refused.len();
            let path = format!("/syscollector/{}/packages?limit={PAGE}&offset={offset}", agent.id);
            let Items { affected_items: items, total_affected_items: total, .. } =
                self.items::<Listed>(&path).await?;
            if *expected.get_or_insert(total) != total || total > MAX_PACKAGES {
                return Ok(None);
            }
            let came = items.len();
            packages.listed.extend(items.read.into_iter().map(|(index, listed)| (offset + index, listed)));
            packages.refused.extend(items.refused.into_iter().map(|(index, why)| (offset + index, why)));
            match offset + came {
                so_far if so_far == total => return Ok(Some(packages)),
                so_far if so_far > total || came == 0 => return Ok(None),
                _ => {}
            }
        }
    }

    async fn items<T: DeserializeOwned>(&mut self, path: &str) -> Result<Items<T>, RemoteError> {
        let answer: Answer<Items<T>> = self.read(path).await?;
        // A manager of a cluster that could not ask one of the others says so here, with 200.
        match answer.data.total_failed_items {
            0 => Ok(answer.data),
            _ => Err(RemoteError::Strange { who: WAZUH }),
        }
    }

    async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, RemoteError> {
        let mut answer = self.get(path).await?;
        if answer.status == StatusCode::UNAUTHORIZED && self.key_is_a_login() {
            self.token = self.fresh_token().await?;
            answer = self.get(path).await?;
        }
        json_of(WAZUH, answer).await
    }

    async fn get(&self, path: &str) -> Result<Response, RemoteError> {
        let request =
            Request::get(under(&self.url, path)).header(header::AUTHORIZATION, bearer(&self.token)?);
        Ok(self.client.send(request).await?)
    }

    fn key_is_a_login(&self) -> bool {
        self.key.expose_secret().contains(':')
    }

    async fn fresh_token(&self) -> Result<SecretString, RemoteError> {
        let login = STANDARD.encode(self.key.expose_secret());
        let request = Request::post(under(&self.url, "/security/user/authenticate"), "")
            .header(header::AUTHORIZATION, secret_value(&format!("Basic {login}"))?);
        let answer: Answer<Token> = json_of(WAZUH, self.client.send(request).await?).await?;
        Ok(answer.data.token.into())
    }
}

/// The inventory of one host. Its external id is the agent's name: the number is given anew when a host is enrolled again.
///
/// # Errors
/// When the agent has no usable name, or no package is left: a host without packages is one that was not looked at.
pub fn inventory(agent: &Agent, host: Option<Host>, packages: Packages) -> Result<Inventory, InventoryError> {
    const REMEDY: &str = "enrol the agent under another name";
    // The longest name that DNS allows (RFC 1035, section 2.3.4).
    if let Some(rule) = text_problem(&agent.name, 253) {
        return Err(InventoryError::Invalid {
            what: "the agent's name",
            value: shown(&agent.name),
            rule,
            remedy: REMEDY,
        });
    }
    let mut skipped = Skipped::default();
    let total = packages.listed.len() + packages.refused.len();
    for (index, reason) in packages.refused {
        skipped.push(|| format!("package {}: {}", index + 1, shown(&reason)));
    }
    let mut installed = Vec::with_capacity(packages.listed.len());
    for (index, listed) in packages.listed {
        let package = installed_package(listed);
        match package_problem(&package) {
            Some(problem) => {
                skipped.push(|| format!("package {} (`{}`): {problem}", index + 1, shown(&package.name)));
            }
            None => installed.push(package),
        }
    }
    if installed.is_empty() {
        return Err(InventoryError::Empty {
            document: "agent's inventory",
            finding: match skipped.first() {
                None => "lists no packages".into(),
                Some(first) => format!("has no usable package among {total}; {first}"),
            },
            remedy: "see that the agent's syscollector module is turned on and has scanned the host",
        });
    }
    tidy(&mut installed);
    let Host { os, release, architecture } = host.unwrap_or_default();
    let asset = AssetIdentity {
        kind: AssetKind::Host,
        hostname: agent.name.clone(),
        external_id: Some(format!("wazuh:{}", agent.name)),
        os: os.as_ref().or(agent.os.as_ref()).and_then(operating_system),
        kernel: stated(release),
        architecture: stated(architecture),
    };
    Ok(Inventory { asset, packages: installed, skipped: skipped.into_lines() })
}

/// Which advisories judge the package follows from its format: that of a distribution is the system's, any other has a world of its own.
fn installed_package(listed: Listed) -> InstalledPackage {
    let ecosystem = match listed.format.as_deref().map(str::trim) {
        None | Some("" | "deb" | "rpm" | "apk") => None,
        Some("pypi") => Some("PyPI"),
        Some("npm") => Some("npm"),
        // A snap, a Windows program: kept under its format, so that it is seen, and judged by nobody.
        Some(other) => Some(other),
    };
    let (source_name, source_version) = match listed.source.as_deref().and_then(|text| text.split_once('(')) {
        Some((name, version)) => (Some(name.trim().to_owned()), version.trim().strip_suffix(')')),
        None => (listed.source.as_deref().map(|name| name.trim().to_owned()), None),
    };
    InstalledPackage {
        name: listed.name.trim().to_owned(),
        version: listed.version.unwrap_or_default().trim().to_owned(),
        architecture: listed.architecture,
        source_version: source_version.map(str::to_owned),
        source_name: source_name.filter(|_| ecosystem.is_none()),
        ecosystem: ecosystem.map(str::to_owned),
        purl: None,
    }
}

/// The system as `os-release(5)` has it: Wazuh appends the release's name to the version (`24.04.1 LTS (Noble Numbat)`).
fn operating_system(system: &System) -> Option<OperatingSystem> {
    let distro = distro_id(&stated(system.platform.clone())?);
    let first_word = |text: &String| text.split_whitespace().next().map(str::to_owned);
    let version = stated(system.version.clone()).as_ref().and_then(first_word).unwrap_or_default();
    let version = match (stated(system.major.clone()), stated(system.minor.clone())) {
        // Its advisories go by year and month, the version has the point release behind them.
        (Some(major), Some(minor)) if distro == "ubuntu" => format!("{major}.{minor}"),
        _ => version,
    };
    Some(OperatingSystem {
        distro,
        version,
        codename: stated(system.codename.clone()),
        name: match (stated(system.name.clone()), stated(system.version.clone())) {
            (Some(name), Some(version)) => stated(Some(format!("{name} {version}"))),
            (name, _) => name,
        },
    })
}

/// A text that says something: Wazuh writes a blank where it knows nothing.
fn stated(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| text_problem(text, MAX_TEXT_BYTES).is_none())
}

/// Digits, which cannot leave their place in a path.
fn agent_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if (1..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(id);
    }
    Err(serde::de::Error::custom(format_args!("its id `{}` is not a number", shown(&id))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn package(listed: Value) -> InstalledPackage {
        installed_package(from_value(listed).unwrap())
    }

    fn platform(system: Value) -> Option<String> {
        operating_system(&from_value(system).unwrap())?.platform()
    }

    #[test]
    fn a_system_has_the_release_that_its_advisories_go_by() {
        let ubuntu = json!({ "platform": "ubuntu", "version": "24.04.1 LTS (Noble Numbat)", "major": "24", "minor": "04" });
        assert_eq!(platform(ubuntu).as_deref(), Some("Ubuntu:24.04"));
        let debian =
            json!({ "platform": "debian", "version": "12 (bookworm)", "major": "12", "codename": " " });
        assert_eq!(platform(debian).as_deref(), Some("Debian:12"));
        let alpine = json!({ "platform": "alpine", "version": "3.20.3", "major": "3", "minor": "20" });
        assert_eq!(platform(alpine).as_deref(), Some("Alpine:v3.20"));
        let rocky = json!({ "platform": "rocky", "version": "9.4 (Blue Onyx)" });
        assert_eq!(platform(rocky).as_deref(), Some("Rocky Linux:9"));
        assert_eq!(platform(json!({ "platform": "windows", "version": "10.0.19045" })), None);
        assert_eq!(platform(json!({ "name": "something" })), None);
    }

    #[test]
    fn a_package_belongs_to_the_system_or_to_the_world_of_its_format() {
        let deb = package(
            json!({ "name": "gcc", "version": "4:12.2.0-3", "format": "deb", "source": "gcc-defaults (1.203)" }),
        );
        assert_eq!(deb.source(), ("gcc-defaults".into(), "1.203"));
        assert_eq!(deb.ecosystem, None);
        let blank = package(
            json!({ "name": "bash", "version": "5.2", "format": "deb", "source": " ", "vendor": " " }),
        );
        let mut tidied = vec![blank];
        tidy(&mut tidied);
        assert_eq!(tidied[0].source(), ("bash".into(), "5.2"));
        let ecosystem =
            |format: &str| package(json!({ "name": "x", "version": "1", "format": format })).ecosystem;
        assert_eq!(ecosystem("pypi").as_deref(), Some("PyPI"));
        assert_eq!(ecosystem("snap").as_deref(), Some("snap"), "no package of the distribution");
        assert_eq!(ecosystem("win").as_deref(), Some("win"));
    }

    #[test]
    fn an_agent_was_last_heard_of_in_the_past() {
        let agent = |body: Value| -> Agent { from_value(body).unwrap() };
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let manager = agent(
            json!({ "id": "000", "name": "m", "status": "active", "lastKeepAlive": "9999-12-31T23:59:59+00:00" }),
        );
        assert_eq!(manager.heard_of_at(now), now);
        let silent = agent(
            json!({ "id": "001", "name": "s", "status": "disconnected", "lastKeepAlive": "2026-01-01T00:00:00Z" }),
        );
        assert_eq!(silent.heard_of_at(now).to_rfc3339(), "2026-01-01T00:00:00+00:00");
        assert!(silent.has_connected());
        assert!(!agent(json!({ "id": "002", "name": "n", "status": "never_connected" })).has_connected());
    }
}
