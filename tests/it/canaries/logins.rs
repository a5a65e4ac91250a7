//! Logins of an installation's own in the servers that all tests share, so that their passwords are canaries too.

use harness::{TestDb, services};
use secrecy::ExposeSecret;
use sqlx::{Connection, Executor, PgConnection};
use url::Url;
use uuid::Uuid;

use super::planted::Canaries;

/// Logins of its own in Postgres and in Redis, with passwords. Gone with the value.
pub(super) struct Logins {
    suffix: String,
    pub(super) worker_url: String,
    pub(super) api_url: String,
    pub(super) redis_url: String,
}

impl Logins {
    pub(super) async fn make(db: &TestDb, canaries: &mut Canaries) -> Self {
        let suffix = Uuid::new_v4().simple().to_string();
        let mut owner = PgConnection::connect(db.owner_url.expose_secret()).await.expect("the owner");
        let mut url_of = async |what: &str, roles: &str| {
            let (name, password) =
                (format!("canary_{what}_{suffix}"), canaries.plant(format!("{what}'s password in Postgres")));
            let create = format!("create role {name} login password '{password}' in role {roles}");
            owner.execute(sqlx::AssertSqlSafe(create)).await.expect("a login is made");
            with_login(db.owner_url.expose_secret(), &name, &password, "password")
        };
        let worker_url = url_of("worker", "plimsoll_app, plimsoll_system").await;
        let api_url = url_of("api", "plimsoll_app").await;
        let (name, password) = (format!("canary_{suffix}"), canaries.plant("password in Redis"));
        let mut redis = redis_of(&services().await.redis_url).await;
        let mut rules = vec!["on".to_owned(), format!(">{password}"), "allkeys".into(), "allcommands".into()];
        let mut allow = async |rules: &[String]| -> redis::RedisResult<()> {
            redis::cmd("ACL").arg("SETUSER").arg(&name).arg(rules).query_async(&mut redis).await
        };
        rules.push("allchannels".into());
        if allow(&rules).await.is_err() {
            // Redis 6.0 has no such word, and no such limit.
            rules.pop();
            allow(&rules).await.expect("a login is made");
        }
        let redis_url = with_login(&services().await.redis_url, &name, &password, "pass");
        Self { suffix, worker_url, api_url, redis_url }
    }

    pub(super) async fn remove(self, db: TestDb) {
        let mut owner = PgConnection::connect(&services().await.owner_url).await.expect("the owner");
        drop(db);
        for what in ["worker", "api"] {
            let drop = format!("drop role canary_{what}_{}", self.suffix);
            owner.execute(sqlx::AssertSqlSafe(drop)).await.expect("the login is removed");
        }
        let mut redis = redis_of(&services().await.redis_url).await;
        let deleted: redis::RedisResult<i64> = redis::cmd("ACL")
            .arg("DELUSER")
            .arg(format!("canary_{}", self.suffix))
            .query_async(&mut redis)
            .await;
        deleted.expect("the login is removed");
    }
}

pub(super) async fn redis_of(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("the address is sound");
    client.get_multiplexed_async_connection().await.expect("redis answers")
}

/// `url` with another login: where it names a socket, as parameters, the password's being called `parameter`.
fn with_login(url: &str, name: &str, password: &str, parameter: &str) -> String {
    let mut url = Url::parse(url).expect("a URL");
    if url.has_host() && url.host_str().is_some_and(|host| !host.is_empty()) {
        url.set_username(name).expect("a login may be named");
        url.set_password(Some(password)).expect("a password may be named");
        return url.into();
    }
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != "user" && key != parameter)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("user", name)
        .append_pair(parameter, password);
    url.into()
}
