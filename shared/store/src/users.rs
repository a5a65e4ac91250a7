//! People and what they may do.
//!
//! How they prove who they are is [`crate::auth`]'s business, what follows is [`crate::sessions`]'.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use domain::{
    id::UserId,
    page::{Direction, Page, PageRequest},
};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::{Result, UnknownWord},
    paging,
    sql::{Conditions, contains_pattern},
};

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
#[error("role `{0}` is not one of read_only, analyst, admin (or viewer, developer)")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    /// Also reads the names that the other documented interfaces have for the same ranks.
    fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
        match word {
            "read_only" | "viewer" => Ok(Self::ReadOnly),
            "analyst" | "developer" => Ok(Self::Analyst),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownRole(word.to_owned())),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = UnknownRole;

    fn try_from(word: String) -> std::result::Result<Self, Self::Error> {
        word.parse()
    }
}

/// Where a person proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthProvider {
    /// Here, with a password.
    Internal,
    Ldap,
    Oidc,
}

impl AuthProvider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Internal, Self::Ldap, Self::Oidc];

    /// The word kept in the database and used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Ldap => "ldap",
            Self::Oidc => "oidc",
        }
    }
}

impl TryFrom<String> for AuthProvider {
    type Error = UnknownWord;

    fn try_from(word: String) -> std::result::Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == word)
            .ok_or(UnknownWord { what: "authentication provider", word })
    }
}

/// A person, as far as it matters to what they may do.
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

/// A person with all that is known about them.
#[derive(Debug, Clone, FromRow)]
pub struct UserDetail {
    #[sqlx(flatten)]
    pub user: User,
    #[sqlx(try_from = "String")]
    pub auth_provider: AuthProvider,
    pub theme_preference: String,
    pub created_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
}

/// What of a person a list shows.
macro_rules! detail {
    () => {
        "id, username, email, role, is_instance_admin, is_active, auth_provider, theme_preference, created_at, last_login_at"
    };
}

/// Columns that a list of people can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Username,
    Email,
    Role,
    CreatedAt,
    LastLoginAt,
}

/// Which people to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub role: Option<Role>,
    pub is_active: Option<bool>,
    /// In the username or the e-mail address, in any case.
    pub search: Option<String>,
}

/// A page of people.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    (sort, direction): (Sort, Direction),
    page: PageRequest,
) -> Result<Page<UserDetail>> {
    let column = match sort {
        Sort::Username => "lower(username)",
        Sort::Email => "lower(email)",
        Sort::Role => "array_position(array['read_only', 'analyst', 'admin'], role)",
        Sort::CreatedAt => "created_at",
        Sort::LastLoginAt => "last_login_at",
    };
    let select = concat!("select ", detail!(), " from users");
    let mut people = matching(tx, select, filter).page(column, direction, "id", page);
    let items: Vec<UserDetail> = people.build_query_as().fetch_all(&mut **tx).await?;
    let total = match paging::total_of_last_page(page, items.len()) {
        Some(total) => total,
        None => {
            let mut count = matching(tx, "select count(*) from users", filter).query;
            count.build_query_scalar().fetch_one(&mut **tx).await?
        }
    };
    Ok(Page::new(items, total, page))
}

fn matching(tx: &TenantTx, select: &'static str, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    conditions.also().push("tenant_id = ").push_bind(tx.tenant().0);
    if let Some(role) = filter.role {
        conditions.also().push("role = ").push_bind(role.as_str());
    }
    if let Some(is_active) = filter.is_active {
        conditions.also().push("is_active = ").push_bind(is_active);
    }
    if let Some(text) = &filter.search {
        let pattern = contains_pattern(text);
        let either = conditions.also().push("(username ilike ").push_bind(pattern.clone());
        either.push(" or email ilike ").push_bind(pattern).push(")");
    }
    conditions
}

/// A person who is to sign in with a password.
#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    pub username: &'a str,
    pub email: &'a str,
    pub password_hash: &'a str,
    pub role: Role,
}

/// Adds a person.
///
/// # Errors
/// [`crate::Error::Conflict`] with `users_username_key` or `users_email_key` when the name or the address is taken.
pub async fn insert(tx: &mut TenantTx, user: &NewUser<'_>) -> Result<UserDetail> {
    let tenant = tx.tenant();
    let user = sqlx::query_as(concat!(
        "insert into users (tenant_id, id, username, email, role, password_hash) values ($1, $2, $3, $4, $5, $6)
         returning ",
        detail!()
    ))
    .bind(tenant.0)
    .bind(UserId::new().0)
    .bind(user.username)
    .bind(user.email)
    .bind(user.role.as_str())
    .bind(user.password_hash)
    .fetch_one(&mut **tx)
    .await?;
    Ok(user)
}

/// One person of this tenant, active or not.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id.
pub async fn find(tx: &mut TenantTx, id: UserId) -> Result<UserDetail> {
    let tenant = tx.tenant();
    let user = sqlx::query_as(concat!("select ", detail!(), " from users where tenant_id = $1 and id = $2"))
        .bind(tenant.0)
        .bind(id.0)
        .fetch_one(&mut **tx)
        .await?;
    Ok(user)
}

/// What is to change about a person; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change<'a> {
    pub email: Option<&'a str>,
    pub role: Option<Role>,
    pub is_active: Option<bool>,
    pub is_instance_admin: Option<bool>,
    pub theme_preference: Option<&'a str>,
}

/// Changes what is known of a person. Whether somebody is left who administers is [`other_administrators`]' question, to be asked
/// before in the same transaction.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id; [`crate::Error::Conflict`] with
/// `users_email_key` when the address is taken.
pub async fn update(tx: &mut TenantTx, id: UserId, change: &Change<'_>) -> Result<UserDetail> {
    let tenant = tx.tenant();
    let user = sqlx::query_as(concat!(
        "update users
            set email = coalesce($3, email), role = coalesce($4, role), is_active = coalesce($5, is_active),
                is_instance_admin = coalesce($6, is_instance_admin), theme_preference = coalesce($7, theme_preference)
          where tenant_id = $1 and id = $2
      returning ",
        detail!()
    ))
    .bind(tenant.0)
    .bind(id.0)
    .bind(change.email)
    .bind(change.role.map(Role::as_str))
    .bind(change.is_active)
    .bind(change.is_instance_admin)
    .bind(change.theme_preference)
    .fetch_one(&mut **tx)
    .await?;
    Ok(user)
}

/// Who else administers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct OtherAdministrators {
    pub of_tenant: bool,
    pub of_installation: bool,
}

/// Whether anybody but this person administers the tenant, and the installation.
///
/// Until the end of the transaction no
/// other transaction gets an answer, so that two administrators cannot each remove the other.
///
/// # Errors
/// When the database cannot be reached.
pub async fn other_administrators(tx: &mut TenantTx, than: UserId) -> Result<OtherAdministrators> {
    const LOCK: i64 = 7_202_611_220_001;
    let tenant = tx.tenant();
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut **tx).await?;
    let others = sqlx::query_as(
        "select exists (select from users where tenant_id = $1 and role = 'admin' and is_active and id <> $2) as of_tenant,
                auth_other_instance_admin($2) as of_installation",
    )
    .bind(tenant.0)
    .bind(than.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(others)
}

/// The PHC string of a person's password; none when they sign in elsewhere.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has none of that id.
pub async fn password_hash(tx: &mut TenantTx, id: UserId) -> Result<Option<String>> {
    let tenant = tx.tenant();
    let hash = sqlx::query_scalar("select password_hash from users where tenant_id = $1 and id = $2")
        .bind(tenant.0)
        .bind(id.0)
        .fetch_one(&mut **tx)
        .await?;
    Ok(hash)
}

/// Gives a person another password. To people who sign in elsewhere none can be given.
///
/// # Errors
/// [`crate::Error::NotFound`] when this tenant has nobody of that id who signs in here.
pub async fn set_password_hash(tx: &mut TenantTx, id: UserId, hash: &str) -> Result<()> {
    let tenant = tx.tenant();
    let updated = sqlx::query(
        "update users set password_hash = $3 where tenant_id = $1 and id = $2 and auth_provider = 'internal'",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(hash)
    .execute(&mut **tx)
    .await?;
    if updated.rows_affected() == 0 { Err(crate::Error::NotFound) } else { Ok(()) }
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
    fn the_other_documents_names_are_read_too() {
        assert_eq!("viewer".parse(), Ok(Role::ReadOnly));
        assert_eq!("developer".parse(), Ok(Role::Analyst));
        assert!("Administrator".parse::<Role>().is_err());
    }

    #[test]
    fn an_admin_may_do_what_an_analyst_may() {
        assert!(Role::Admin > Role::Analyst && Role::Analyst > Role::ReadOnly);
    }
}
