//! The Postgres and the Redis that tests run against: the ones named by `TEST_DATABASE_URL` and `TEST_REDIS_URL`, else private ones.

use plimsoll::embedded::{Attached, attach_or_start, folder_for_tests};
use tokio::sync::OnceCell;

/// Addresses of running servers.
#[derive(Debug)]
pub struct Services {
    /// A superuser's address of some database; tests make databases of their own beside it.
    pub owner_url: String,
    pub redis_url: String,
    _attached: Option<Attached>,
}

/// The servers, started when they are first asked for.
///
/// # Panics
/// When they cannot be started; the message says what is missing.
pub async fn services() -> &'static Services {
    static SERVICES: OnceCell<Services> = OnceCell::const_new();
    SERVICES
        .get_or_init(|| async {
            #[expect(clippy::disallowed_methods, reason = "tests may be pointed at other servers")]
            let given = (std::env::var("TEST_DATABASE_URL"), std::env::var("TEST_REDIS_URL"));
            if let (Ok(owner_url), Ok(redis_url)) = given {
                return Services { owner_url, redis_url, _attached: None };
            }
            let attached = attach_or_start(&folder_for_tests()).await.expect("the servers for tests start");
            Services {
                owner_url: attached.owner_url.clone(),
                redis_url: attached.redis_url.clone(),
                _attached: Some(attached),
            }
        })
        .await
}
