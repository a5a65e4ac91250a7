//! People and what they may do.
//!
//! How they prove who they are is [`crate::auth`]'s business.

use std::{fmt, str::FromStr};

use domain::id::UserId;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{db::TenantTx, error::Result};

/// What a person may do, from least to most: each role may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything of the tenant.
    ReadOnly,
    /// Also hands in inventories and judges findings.
    Analyst,
    /// Also changes settings, starts work by hand and deletes.
    Admin,
}

impl Role {
    /// All of them, least first.
    pub const ALL: [Self; 3] = [Self::ReadOnly, Self::Analyst, Self::Admin];

    /// The word kept in the database and used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A word that is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("role `{0}` is not one of read_only, analyst, admin")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == word).ok_or_else(|| UnknownRole(word.to_owned()))
    }
}

impl TryFrom<String> for Role {
    type Error = UnknownRole;

    fn try_from(word: String) -> std::result::Result<Self, Self::Error> {
        word.parse()
    }
}

/// A person.
#[derive(Debug, Clone, FromRow)]
pub struct User {
    pub id: Uuid,
    pub username: String,
    pub email: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    /// May also change what all tenants share, such as the vulnerability sources.
    pub is_instance_admin: bool,
    pub is_active: bool,
}

/// One person of this tenant, active or not.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id.
pub async fn find(tx: &mut TenantTx, id: UserId) -> Result<User> {
    let tenant = tx.tenant();
    let user = sqlx::query_as(
        "select id, username, email, role, is_instance_admin, is_active
           from users where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(user)
}

/// Notes that a person has just signed in.
///
/// # Errors
/// When the database refuses.
pub async fn record_sign_in(tx: &mut TenantTx, id: UserId) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("update users set last_login_at = now() where tenant_id = $1 and id = $2")
        .bind(tenant.0)
        .bind(id.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_reads_back_from_its_word() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }

    #[test]
    fn an_admin_may_do_what_an_analyst_may() {
        assert!(Role::Admin > Role::Analyst && Role::Analyst > Role::ReadOnly);
    }
}
