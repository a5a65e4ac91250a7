//! What repositories depend on, from GitHub.

use chrono::Utc;
use inventory::remote::{
    RemoteError,
    github::{self, Credential, Github, LONGEST_ANSWER, PAGE, Repository},
};
use store::integrations::{Github as Settings, GithubAuth};

use super::{Pull, Said, Stopped, Thing};

/// No organization has more pages of repositories.
const MOST_PAGES: usize = 1000;
/// GitHub is asked once a day: silence of two is one that missed its turn.
const STALE_AFTER_HOURS: i32 = 48;

/// Asks for every repository of the organization, and for what each depends on.
pub(super) async fn pull(pull: &mut Pull<'_>) -> Result<(), Stopped> {
    let which = |settings: &Settings| match settings.auth_type {
        GithubAuth::Pat => "pat",
        GithubAuth::App => "private_key",
    };
    let (settings, secret, client) = pull.set_up(which, LONGEST_ANSWER).await?;
    let org = settings.org.as_deref().ok_or_else(|| pull.not_set_up())?;
    let credential = match settings.auth_type {
        GithubAuth::Pat => Credential::Token(secret),
        GithubAuth::App => {
            let id = settings.app_id.clone().ok_or_else(|| pull.not_set_up())?;
            Credential::App { id, key: secret }
        }
    };
    let mut github = Github::new(client, &settings.url, credential)?;
    github.install(org).await.map_err(of_organization)?;
    for page in 1..=MOST_PAGES {
        let listed = github.repositories(org, page).await.map_err(of_organization)?;
        let before = (page - 1) * PAGE;
        let total = listed.is_last.then_some(before + listed.repositories.len());
        for (number, repository) in (before + 1..).zip(&listed.repositories) {
            let item = repository.id.to_string();
            if pull.is_dealt_with(&item) {
                continue;
            }
            pull.go_on(number, total, "repository").await?;
            let said = ask(&mut github, &settings.url, org, repository).await;
            let said = pull.weigh(said)?;
            let name = format!("{org}/{}", repository.name);
            let thing =
                Thing { item: &item, name: &name, as_of: Utc::now(), stale_after_hours: STALE_AFTER_HOURS };
            pull.keep(&thing, said).await?;
        }
        pull.refuse(listed.refused);
        if listed.is_last {
            return Ok(());
        }
    }
    pull.refuse(vec![format!("the list of repositories goes on after {MOST_PAGES} pages")]);
    Ok(())
}

fn of_organization(error: RemoteError) -> Stopped {
    match error {
        RemoteError::Status { status: 404, .. } => Stopped::for_good(
            "GitHub knows no such organization, does not show it to this credential, or the app is not installed there (404)".into(),
            true,
        ),
        error => error.into(),
    }
}

async fn ask(
    github: &mut Github,
    url: &str,
    org: &str,
    repository: &Repository,
) -> Result<Said, RemoteError> {
    let sbom = match github.sbom(org, repository).await {
        Err(RemoteError::Status { status: 404, .. }) => {
            let why = "GitHub has no SBOM of it (404): its dependency graph is turned off, or the credential may not read its contents";
            return Ok(Said::Unreadable(why.into()));
        }
        answer => answer?,
    };
    let (url, org, repository) = (url.to_owned(), org.to_owned(), repository.clone());
    let read = tokio::task::spawn_blocking(move || github::inventory(&url, &org, &repository, &sbom)).await;
    Ok(match read {
        Ok(Ok(inventory)) => Said::Inventory(Box::new(inventory)),
        Ok(Err(error)) => Said::Unreadable(error.to_string()),
        Err(_) => Said::Unreadable("reading what GitHub says of it went wrong".into()),
    })
}
