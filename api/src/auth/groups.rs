//! What the groups that are kept elsewhere say about somebody's role.

use runtime::config::GroupRoles;
use store::users::Role;

use crate::error::ApiError;

/// The role that `groups` give; `None` when no group is named in the settings, and roles are kept here.
pub(super) fn role(roles: &GroupRoles, groups: &[String]) -> Result<Option<Role>, ApiError> {
    let is_in = |wanted: &Option<String>| {
        wanted.as_ref().is_some_and(|wanted| groups.iter().any(|group| plain(group) == plain(wanted)))
    };
    let by_rank =
        [(&roles.admin, Role::Admin), (&roles.analyst, Role::Analyst), (&roles.read_only, Role::ReadOnly)];
    if let Some((_, role)) = by_rank.iter().find(|(group, _)| is_in(group)) {
        return Ok(Some(*role));
    }
    if roles.read_only.is_some() {
        return Err(ApiError::Forbidden("You are in no group that may use this installation".into()));
    }
    Ok((*roles != GroupRoles::default()).then_some(Role::ReadOnly))
}

/// A name or DN without what makes no difference: case, and spaces around the parts of a DN.
fn plain(group: &str) -> String {
    let parts = |text: &str, separator: &str| -> String {
        text.split(separator).map(str::trim).collect::<Vec<_>>().join(separator)
    };
    parts(&parts(&group.to_lowercase(), ","), "=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(roles: &GroupRoles, groups: &[&str]) -> Option<Option<Role>> {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        role(roles, &groups).ok()
    }

    #[test]
    fn the_highest_group_counts() {
        let roles = GroupRoles {
            admin: Some("cn=admins,ou=groups,dc=example".into()),
            analyst: Some("analysts".into()),
            read_only: None,
        };
        assert_eq!(of(&roles, &["analysts", "CN=Admins, OU=groups, DC=example"]), Some(Some(Role::Admin)));
        assert_eq!(of(&roles, &["Analysts"]), Some(Some(Role::Analyst)));
        assert_eq!(of(&roles, &["cn=admins"]), Some(Some(Role::ReadOnly)), "everybody else reads");
    }

    #[test]
    fn with_a_group_of_readers_others_stay_outside() {
        let roles = GroupRoles { read_only: Some("staff".into()), ..GroupRoles::default() };
        assert_eq!(of(&roles, &["staff"]), Some(Some(Role::ReadOnly)));
        assert_eq!(of(&roles, &["visitors"]), None);
    }

    #[test]
    fn without_groups_the_role_is_kept_here() {
        assert_eq!(of(&GroupRoles::default(), &["admins"]), Some(None));
    }
}
