//! Organizations: the tenants themselves.

use chrono::{DateTime, Utc};
use domain::{
    id::{TenantId, UserId},
    page::{Page, PageRequest},
};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result};

/// An organization.
#[derive(Debug, Clone, FromRow)]
pub struct Organization {
    pub id: Uuid,
    /// Its name in addresses.
    pub slug: String,
    pub display_name: String,
    pub created_at: DateTime<Utc>,
    /// People who may sign in.
    pub users: i64,
}

/// The organization of the transaction.
///
/// # Errors
/// When the database cannot be reached.
pub async fn own(tx: &mut TenantTx) -> Result<Organization> {
    let tenant = tx.tenant();
    let organization = sqlx::query_as(
        "select t.id, t.slug, t.display_name, t.created_at,
                (select count(*) from users u where u.tenant_id = $1 and u.is_active) as users
           from tenants t where t.id = $1",
    )
    .bind(tenant.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(organization)
}

/// Gives the organization of the transaction another name for people.
///
/// # Errors
/// When the database refuses.
pub async fn rename(tx: &mut TenantTx, display_name: &str) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query("update tenants set display_name = $2 where id = $1")
        .bind(tenant.0)
        .bind(display_name)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A page of all organizations, by slug. Only for administrators of the installation.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list_all(pool: &PgPool, page: PageRequest) -> Result<Page<Organization>> {
    #[derive(FromRow)]
    struct Row {
        #[sqlx(flatten)]
        organization: Organization,
        total: i64,
    }
    let ask = async |limit: i64, offset: i64| {
        sqlx::query_as::<_, Row>(
            "select id, slug, display_name, created_at, users, total from instance_organizations($1::integer, $2)",
        )
        .bind(limit)
        .bind(offset)
        .fetch_all(pool)
        .await
    };
    let rows = ask(page.limit(), page.offset()).await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None => ask(1, 0).await?.first().map_or(0, |row| row.total),
    };
    Ok(Page::new(rows.into_iter().map(|row| row.organization).collect(), total, page))
}

/// The organization that is called `slug` in addresses. Only for administrators of the installation.
///
/// # Errors
/// [`crate::Error::NotFound`] when there is none.
pub async fn id_of(pool: &PgPool, slug: &str) -> Result<TenantId> {
    let id: Option<Uuid> =
        sqlx::query_scalar("select instance_organization($1)").bind(slug).fetch_one(pool).await?;
    id.map(TenantId).ok_or(crate::Error::NotFound)
}

/// A new organization and its first administrator.
#[derive(Debug, Clone)]
pub struct NewOrganization<'a> {
    pub id: TenantId,
    pub slug: &'a str,
    pub display_name: &'a str,
    pub user: UserId,
    pub username: &'a str,
    pub email: &'a str,
    pub password_hash: &'a str,
}

/// Makes an organization. Only for administrators of the installation.
///
/// # Errors
/// [`crate::Error::Conflict`] when slug, username or e-mail address is taken.
pub async fn insert(pool: &PgPool, organization: &NewOrganization<'_>) -> Result<()> {
    sqlx::query("select instance_add_organization($1, $2, $3, $4, $5, $6, $7)")
        .bind(organization.id.0)
        .bind(organization.slug)
        .bind(organization.display_name)
        .bind(organization.user.0)
        .bind(organization.username)
        .bind(organization.email)
        .bind(organization.password_hash)
        .execute(pool)
        .await?;
    Ok(())
}
