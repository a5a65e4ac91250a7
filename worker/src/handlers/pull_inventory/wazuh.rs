//! Hosts, from a manager of Wazuh.

use chrono::Utc;
use inventory::remote::{
    RemoteError,
    wazuh::{self, Agent, LONGEST_ANSWER, Manager},
};
use store::integrations::Wazuh;

use super::{Pull, Said, Stopped, Thing};

/// No manager has more agents.
const MOST_AGENTS: usize = 200_000;

/// Asks for every agent, and for what is installed on each.
pub(super) async fn pull(pull: &mut Pull<'_>) -> Result<(), Stopped> {
    let (settings, key, client) = pull.set_up::<Wazuh>(|_| "api_key", LONGEST_ANSWER).await?;
    let url = settings.url.as_deref().ok_or_else(|| pull.not_set_up())?;
    let mut manager = Manager::sign_in(client, url, key).await?;
    let mut listed = 0;
    loop {
        let page = manager.agents(listed).await?;
        for (number, agent) in (listed + 1..).zip(&page.agents) {
            if pull.is_dealt_with(&agent.id) {
                continue;
            }
            pull.go_on(number, Some(page.total), "agent").await?;
            let said = ask(&mut manager, agent).await;
            let said = pull.weigh(said)?;
            let thing = Thing {
                item: &agent.id,
                name: &agent.name,
                as_of: agent.heard_of_at(Utc::now()),
                stale_after_hours: settings.staleness_threshold_hours,
            };
            pull.keep(&thing, said).await?;
        }
        pull.refuse(page.refused);
        listed += page.listed;
        if listed >= page.total {
            return Ok(());
        }
        if page.listed == 0 || listed >= MOST_AGENTS {
            pull.refuse(vec![format!("the list of agents ends after {listed} of {}", page.total)]);
            return Ok(());
        }
    }
}

async fn ask(manager: &mut Manager, agent: &Agent) -> Result<Said, RemoteError> {
    if !agent.has_connected() {
        return Ok(Said::Nothing);
    }
    let host = manager.host(agent).await?;
    let Some(packages) = manager.packages(agent).await? else {
        return Ok(Said::Unreadable("its list of packages changed while it was read".into()));
    };
    Ok(match wazuh::inventory(agent, host, packages) {
        Ok(inventory) => Said::Inventory(Box::new(inventory)),
        Err(error) => Said::Unreadable(error.to_string()),
    })
}
