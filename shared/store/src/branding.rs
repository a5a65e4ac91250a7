//! How an organization's pages and documents look: one record, whichever document it is asked for by.
//!
//! Pictures come here decoded and encoded anew by whoever took them in. What anybody may see goes through two SQL functions of the
//! migration, since nobody has signed in then.

use chrono::{DateTime, Utc};
use domain::document::{Branding as DocumentBranding, Colour, Colours, Image, ImageFormat};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgPool, types::Json};

use crate::{
    db::TenantTx,
    error::{Error, Result},
};

/// Pictures that there is a place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetType {
    /// For light grounds; the one on documents.
    LogoLight,
    /// For dark grounds.
    LogoDark,
    Favicon,
}

impl AssetType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::LogoLight, Self::LogoDark, Self::Favicon];

    /// The word in rows and addresses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LogoLight => "logo_light",
            Self::LogoDark => "logo_dark",
            Self::Favicon => "favicon",
        }
    }

    /// The type that `word` means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asset| asset.as_str() == word)
    }
}

/// What was chosen. `None` takes the product's own look; colours are written `#17324D`.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct Branding {
    pub company_name: Option<String>,
    pub industry: Option<String>,
    pub primary_color: Option<String>,
    pub secondary_color: Option<String>,
    pub accent_color: Option<String>,
    pub address: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub website: Option<String>,
    pub confidentiality_statement: Option<String>,
    pub disclaimer: Option<String>,
}

/// Which pictures there are, each by its SHA-256 in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assets {
    pub logo_light: Option<String>,
    pub logo_dark: Option<String>,
    pub favicon: Option<String>,
}

impl Assets {
    /// The digest of the picture at `place`.
    #[must_use]
    pub fn digest(&self, place: AssetType) -> Option<&str> {
        match place {
            AssetType::LogoLight => self.logo_light.as_deref(),
            AssetType::LogoDark => self.logo_dark.as_deref(),
            AssetType::Favicon => self.favicon.as_deref(),
        }
    }

    fn of(digests: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut assets = Self::default();
        for (place, digest) in digests {
            match AssetType::from_word(&place) {
                Some(AssetType::LogoLight) => assets.logo_light = Some(digest),
                Some(AssetType::LogoDark) => assets.logo_dark = Some(digest),
                Some(AssetType::Favicon) => assets.favicon = Some(digest),
                // The table takes no other.
                None => {}
            }
        }
        assets
    }
}

/// The record of a tenant.
#[derive(Debug, Clone)]
pub struct Record {
    pub branding: Branding,
    pub assets: Assets,
    /// What the organization is called where no name was chosen, and in addresses.
    pub organization: String,
    pub slug: String,
    /// When something was last changed. `None`: nothing ever was.
    pub changed_at: Option<DateTime<Utc>>,
}

/// Everything about the tenant's looks but the pictures themselves.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get(tx: &mut TenantTx) -> Result<Record> {
    let tenant = tx.tenant();
    let branding: Option<Branding> = sqlx::query_as(
        "select company_name, industry, primary_color, secondary_color, accent_color, address, phone, email, website,
                confidentiality_statement, disclaimer
           from branding where tenant_id = $1",
    )
    .bind(tenant.0)
    .fetch_optional(&mut **tx)
    .await?;
    let (organization, slug, changed_at): (String, String, Option<DateTime<Utc>>) = sqlx::query_as(
        "select t.display_name, t.slug,
                greatest((select b.changed_at from branding b where b.tenant_id = $1),
                         (select max(a.uploaded_at) from branding_assets a where a.tenant_id = $1))
           from tenants t where t.id = $1",
    )
    .bind(tenant.0)
    .fetch_one(&mut **tx)
    .await?;
    let digests: Vec<(String, String)> =
        sqlx::query_as("select asset_type, encode(sha256, 'hex') from branding_assets where tenant_id = $1")
            .bind(tenant.0)
            .fetch_all(&mut **tx)
            .await?;
    Ok(Record {
        branding: branding.unwrap_or_default(),
        assets: Assets::of(digests),
        organization,
        slug,
        changed_at,
    })
}

/// As [`get`], and nobody else changes the tenant's looks until the transaction ends.
///
/// # Errors
/// When the database cannot be reached.
pub async fn get_for_update(tx: &mut TenantTx) -> Result<Record> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('branding ' || $1, 0))")
        .bind(tx.tenant().to_string())
        .execute(&mut **tx)
        .await?;
    get(tx).await
}

/// Replaces what was chosen.
///
/// # Errors
/// When a text is longer than the table takes.
pub async fn set(tx: &mut TenantTx, branding: &Branding) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into branding (tenant_id, company_name, industry, primary_color, secondary_color, accent_color, address,
                               phone, email, website, confidentiality_statement, disclaimer)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (tenant_id) do update
            set company_name = excluded.company_name, industry = excluded.industry,
                primary_color = excluded.primary_color, secondary_color = excluded.secondary_color,
                accent_color = excluded.accent_color, address = excluded.address, phone = excluded.phone,
                email = excluded.email, website = excluded.website,
                confidentiality_statement = excluded.confidentiality_statement, disclaimer = excluded.disclaimer,
                changed_at = now()",
    )
    .bind(tenant.0)
    .bind(&branding.company_name)
    .bind(&branding.industry)
    .bind(&branding.primary_color)
    .bind(&branding.secondary_color)
    .bind(&branding.accent_color)
    .bind(&branding.address)
    .bind(&branding.phone)
    .bind(&branding.email)
    .bind(&branding.website)
    .bind(&branding.confidentiality_statement)
    .bind(&branding.disclaimer)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A picture that we have encoded ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub png: Vec<u8>,
    pub width: u32,
    pub height: u32,
}

/// Puts `picture` in a place, instead of the one that was there.
///
/// # Errors
/// When it is larger than the table takes.
pub async fn put_asset(tx: &mut TenantTx, place: AssetType, picture: &Picture) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into branding_assets (tenant_id, asset_type, png, sha256, width, height) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, asset_type) do update
            set png = excluded.png, sha256 = excluded.sha256, width = excluded.width, height = excluded.height,
                uploaded_at = now()",
    )
    .bind(tenant.0)
    .bind(place.as_str())
    .bind(&picture.png)
    .bind(Sha256::digest(&picture.png).as_slice())
    .bind(i32::try_from(picture.width).unwrap_or(i32::MAX))
    .bind(i32::try_from(picture.height).unwrap_or(i32::MAX))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes a picture away.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub async fn delete_asset(tx: &mut TenantTx, place: AssetType) -> Result<()> {
    let tenant = tx.tenant();
    let deleted = sqlx::query("delete from branding_assets where tenant_id = $1 and asset_type = $2")
        .bind(tenant.0)
        .bind(place.as_str())
        .execute(&mut **tx)
        .await?;
    if deleted.rows_affected() == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// What anybody may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicBranding {
    /// What the organization is called in addresses. `None`: it has chosen nothing, or there is no such.
    pub slug: Option<String>,
    pub company_name: Option<String>,
    pub primary_color: Option<String>,
    pub secondary_color: Option<String>,
    pub accent_color: Option<String>,
    pub assets: Assets,
}

/// What anybody may see of the organization `slug`, or of the oldest one.
///
/// # Errors
/// When the database cannot be reached.
pub async fn public(pool: &PgPool, slug: Option<&str>) -> Result<PublicBranding> {
    #[derive(FromRow)]
    struct Row {
        slug: String,
        company_name: Option<String>,
        primary_color: Option<String>,
        secondary_color: Option<String>,
        accent_color: Option<String>,
        assets: Option<Json<std::collections::BTreeMap<String, String>>>,
    }
    let row: Option<Row> = sqlx::query_as(
        "select slug, company_name, primary_color, secondary_color, accent_color, assets from public_branding($1)",
    )
    .bind(slug)
    .fetch_optional(pool)
    .await?;
    Ok(row.map_or_else(PublicBranding::default, |row| PublicBranding {
        slug: Some(row.slug),
        company_name: row.company_name,
        primary_color: row.primary_color,
        secondary_color: row.secondary_color,
        accent_color: row.accent_color,
        assets: Assets::of(row.assets.map(|Json(digests)| digests).unwrap_or_default()),
    }))
}

/// A picture as it is sent.
#[derive(Debug, Clone, FromRow)]
pub struct Asset {
    pub png: Vec<u8>,
    pub sha256: Vec<u8>,
}

/// A picture of the organization `slug`, or of the oldest one.
///
/// # Errors
/// [`Error::NotFound`] when it has none there, or when there is no such organization.
pub async fn public_asset(pool: &PgPool, slug: Option<&str>, place: AssetType) -> Result<Asset> {
    let asset = sqlx::query_as("select png, sha256 from public_branding_asset($1, $2)")
        .bind(slug)
        .bind(place.as_str())
        .fetch_one(pool)
        .await?;
    Ok(asset)
}

/// How the tenant's documents look, its logo with them.
///
/// # Errors
/// When the database cannot be reached.
pub async fn of_tenant(tx: &mut TenantTx) -> Result<DocumentBranding> {
    let tenant = tx.tenant();
    let Record { branding, organization, .. } = get(tx).await?;
    let png: Option<Vec<u8>> =
        sqlx::query_scalar("select png from branding_assets where tenant_id = $1 and asset_type = $2")
            .bind(tenant.0)
            .bind(AssetType::LogoLight.as_str())
            .fetch_optional(&mut **tx)
            .await?;
    // The table's constraints give every colour this form.
    let colour = |text: Option<String>| text.and_then(|text| text.parse::<Colour>().ok());
    let name = branding.company_name.unwrap_or(organization);
    let reachable = [branding.address, branding.phone, branding.email, branding.website];
    let reachable: Vec<String> = reachable.into_iter().flatten().map(|text| in_one_line(&text)).collect();
    Ok(DocumentBranding {
        logo: png.map(|data| Image { format: ImageFormat::Png, data, alt: format!("Logo of {name}") }),
        colours: Colours {
            primary: colour(branding.primary_color),
            secondary: colour(branding.secondary_color),
            accent: colour(branding.accent_color),
        },
        contact: (!reachable.is_empty()).then(|| format!("{name} · {}", reachable.join(" · "))),
        legal_statements: [branding.confidentiality_statement, branding.disclaimer]
            .into_iter()
            .flatten()
            .collect(),
    })
}

/// Addresses are typed in several lines.
fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_word() {
        for place in AssetType::ALL {
            assert_eq!(AssetType::from_word(place.as_str()), Some(place));
        }
        assert_eq!(AssetType::from_word("banner"), None);
    }

    #[test]
    fn an_address_of_several_lines_becomes_one() {
        assert_eq!(
            in_one_line("123 Industrial Blvd\r\n\n Manufacturing City "),
            "123 Industrial Blvd, Manufacturing City"
        );
    }
}
