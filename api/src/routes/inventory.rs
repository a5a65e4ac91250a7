//! Handing in what is installed: host reports and SBOMs.
//!
//! Only what says whose packages they are is read here, so that nonsense is refused at once; the packages are
//! read by the job, which skips and names those that it cannot use.

use domain::inventory::OperatingSystem;
use queue::{enqueue, jobs::IngestInventory};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use sha2::{Digest, Sha256};
use store::inventory::{self, Format};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, FieldError, Problems},
    extract::{Actor, Analyst, Upload, parse, shown},
    idempotency::{Begun, IdempotencyKey},
    openapi::{BadBody, Conflicting, SignedIn},
    reply::{Accepted, JobAccepted},
    state::AppState,
};

/// The longest name of a host, bytes (RFC 1035, section 2.3.4).
const LONGEST_HOSTNAME: usize = 253;

/// What the agent on a host found.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "hostname": "web-1", "machine_id": "8c1f0e4a5b6d47e8", "agent_version": "0.1.0",
    "os": {"distro": "debian", "version": "12", "codename": "bookworm", "name": "Debian GNU/Linux 12 (bookworm)"},
    "kernel": "6.1.0-28-amd64", "architecture": "x86_64",
    "packages": [{"name": "libssl3", "version": "3.0.11-1~deb12u2", "architecture": "amd64", "source_name": "openssl",
                  "source_version": "3.0.11-1~deb12u2", "ecosystem": null, "purl": null}]}))]
struct HostReport {
    /// What the host calls itself.
    #[schema(min_length = 1, max_length = 253)]
    hostname: String,
    /// A stable id of the machine that outlives a rename.
    #[serde(rename = "machine_id")]
    _machine_id: Option<String>,
    /// The version of the agent that wrote this.
    #[serde(rename = "agent_version")]
    _agent_version: Option<String>,
    #[schema(value_type = HostSystem)]
    os: OperatingSystem,
    /// As `uname -r` prints it.
    #[serde(rename = "kernel")]
    _kernel: Option<String>,
    /// As `uname -m` prints it.
    #[serde(rename = "architecture")]
    _architecture: Option<String>,
    /// Everything that is installed: what is missing here is gone from the asset.
    #[schema(value_type = Vec<HostPackage>, min_items = 1)]
    packages: Vec<IgnoredAny>,
}

/// The parts of os-release(5) that identify a distribution's release.
#[derive(ToSchema)]
#[schema(as = OperatingSystem)]
#[expect(dead_code, reason = "describes `domain::inventory::OperatingSystem` in the OpenAPI document")]
struct HostSystem {
    /// `ID`.
    #[schema(example = "debian", min_length = 1)]
    distro: String,
    /// `VERSION_ID`.
    #[schema(example = "12")]
    version: String,
    /// `VERSION_CODENAME`.
    #[schema(example = "bookworm")]
    codename: Option<String>,
    /// `PRETTY_NAME`.
    name: Option<String>,
}

/// One installed package.
#[derive(ToSchema)]
#[schema(as = InstalledPackage)]
#[expect(dead_code, reason = "describes `domain::inventory::InstalledPackage` in the OpenAPI document")]
struct HostPackage {
    /// As the package manager calls it.
    #[schema(example = "libssl3")]
    name: String,
    /// As the package manager writes it, epoch and revision included.
    #[schema(example = "3.0.11-1~deb12u2")]
    version: String,
    /// That it was built for, as the package manager writes it.
    architecture: Option<String>,
    /// The source package it was built from, where that has another name.
    source_name: Option<String>,
    /// The source package's version, where it differs from the binary's.
    source_version: Option<String>,
    /// The language ecosystem in OSV spelling (`crates.io`, `npm`, `PyPI` …); null for packages of the
    /// operating system.
    ecosystem: Option<String>,
    /// Its package URL, where the agent knows one.
    purl: Option<String>,
}

/// A CycloneDX document. More members are read than are described here.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
    "metadata": {"component": {"type": "application", "name": "shop", "version": "2.1.0"}},
    "components": [{"type": "library", "name": "lodash", "version": "4.17.20", "purl": "pkg:npm/lodash@4.17.20"}]}))]
struct CycloneDx {
    /// By this the document is known for CycloneDX.
    #[serde(rename = "bomFormat")]
    #[schema(pattern = "^CycloneDX$")]
    bom_format: String,
    /// 1.2 to 1.7.
    #[serde(rename = "specVersion")]
    #[schema(pattern = "^1\\.[2-7]$", example = "1.5")]
    spec_version: String,
    /// What the subject is made of.
    #[serde(default)]
    #[schema(value_type = Vec<Object>, min_items = 1, required)]
    components: Vec<IgnoredAny>,
}

/// An SPDX document. More members are read than are described here.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "shop",
    "packages": [{"SPDXID": "SPDXRef-1", "name": "lodash", "versionInfo": "4.17.20",
                  "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                    "referenceLocator": "pkg:npm/lodash@4.17.20"}]}]}))]
struct Spdx {
    /// 2.2 or 2.3.
    #[serde(rename = "spdxVersion")]
    #[schema(pattern = "^SPDX-2\\.[23]$", example = "SPDX-2.3")]
    spdx_version: String,
    /// What the subject is made of.
    #[serde(default)]
    #[schema(value_type = Vec<Object>, min_items = 1, required)]
    packages: Vec<IgnoredAny>,
}

/// What tells one kind of SBOM from the other.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "spdxVersion")]
    spdx_version: Option<IgnoredAny>,
}

/// An inventory that was taken in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "status": "queued",
                          "submission_id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7b"}))]
struct InventoryAccepted {
    #[serde(flatten)]
    job: JobAccepted,
    /// Of what was handed in; it is kept as it came.
    submission_id: Uuid,
}

/// Hand in a host's packages
///
/// What `plimsoll agent report` posts. The asset is found by its machine id, or by its name where there is
/// none. Its packages become those of the report, and are then compared with what is known. The body may be
/// as large as the setting `INVENTORY_MAX_BYTES` says.
#[utoipa::path(post, path = "/api/inventory/reports", tag = "inventory", request_body = HostReport,
    params(IdempotencyKey),
    responses((status = 202, body = InventoryAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Conflicting, BadBody))]
async fn submit_report(
    actor: Actor<Analyst>,
    key: IdempotencyKey,
    upload: Upload,
) -> Result<Accepted<InventoryAccepted>, ApiError> {
    take_in(actor, key, upload, check_report).await
}

/// Hand in an SBOM
///
/// A CycloneDX or an SPDX document in JSON. Its subject becomes an asset of the kind `software`.
#[utoipa::path(post, path = "/api/inventory/sboms", tag = "inventory", params(IdempotencyKey),
    request_body(content((CycloneDx = "application/json"), (CycloneDx = "application/vnd.cyclonedx+json"),
                         (Spdx = "application/spdx+json"))),
    responses((status = 202, body = InventoryAccepted,
               headers(("Location" = String, description = "Where to ask about the job."))),
              SignedIn, Conflicting, BadBody))]
async fn submit_sbom(
    actor: Actor<Analyst>,
    key: IdempotencyKey,
    upload: Upload,
) -> Result<Accepted<InventoryAccepted>, ApiError> {
    take_in(actor, key, upload, check_sbom).await
}

async fn take_in(
    actor: Actor<Analyst>,
    key: IdempotencyKey,
    upload: Upload,
    check: fn(&[u8]) -> Result<Format, ApiError>,
) -> Result<Accepted<InventoryAccepted>, ApiError> {
    let bytes = upload.bytes.clone();
    let checked =
        tokio::task::spawn_blocking(move || check(&bytes).map(|format| (format, Sha256::digest(&bytes))));
    let (format, sha256) = checked.await.map_err(anyhow::Error::from)??;
    let mut work = match key.begin(actor.begin().await?, &sha256.as_slice()).await? {
        Begun::Before(answer) => return Ok(Accepted::Before(answer)),
        Begun::Now(work) => work,
    };
    let submission_id = inventory::submit(&mut work, format, &upload.bytes).await?;
    let ingest = IngestInventory { tenant_id: actor.tenant, submission_id };
    let job = enqueue(&mut work, actor.origin(), &ingest).await?;
    let body = InventoryAccepted { job: JobAccepted::new(job.id), submission_id: submission_id.0 };
    work.accept(job.id, body).await
}

fn check_report(bytes: &[u8]) -> Result<Format, ApiError> {
    let report: HostReport = parse(bytes)?;
    let mut problems = Problems::default();
    let hostname = report.hostname.trim();
    let names_a_host =
        (1..=LONGEST_HOSTNAME).contains(&hostname.len()) && !hostname.contains(char::is_control);
    problems.require(names_a_host, "hostname", || {
        format!(
            "{} is no host name, which has 1 to {LONGEST_HOSTNAME} bytes and no control characters: give the host one",
            shown(hostname)
        )
    });
    problems.require(!report.os.distro.trim().is_empty(), "os -> distro", || {
        "`` is no distribution: write the `ID` of /etc/os-release".into()
    });
    problems.require(!report.packages.is_empty(), "packages", || {
        "is empty, which would make the host look clean: see that the agent may read the package database"
            .into()
    });
    problems.finish()?;
    Ok(Format::HostReport)
}

fn check_sbom(bytes: &[u8]) -> Result<Format, ApiError> {
    match parse::<Kind>(bytes)?.spdx_version {
        Some(_) => check_spdx(bytes),
        None => check_cyclonedx(bytes),
    }
}

fn check_spdx(bytes: &[u8]) -> Result<Format, ApiError> {
    let spdx: Spdx = parse(bytes)?;
    let mut problems = Problems::default();
    problems.require(matches!(spdx.spdx_version.as_str(), "SPDX-2.2" | "SPDX-2.3"), "spdxVersion", || {
        format!("{} cannot be read: write the document as SPDX-2.2 or SPDX-2.3", shown(&spdx.spdx_version))
    });
    if spdx.packages.is_empty() {
        let message = "there are none, which would make the software look clean: list what it is made of";
        problems.add(FieldError::value("body -> packages", message));
    }
    problems.finish()?;
    Ok(Format::Spdx)
}

fn check_cyclonedx(bytes: &[u8]) -> Result<Format, ApiError> {
    let bom: CycloneDx = parse(bytes)?;
    let mut problems = Problems::default();
    problems.require(bom.bom_format == "CycloneDX", "bomFormat", || {
        format!("{} is something else: send a CycloneDX document", shown(&bom.bom_format))
    });
    problems.require(
        matches!(bom.spec_version.as_str(), "1.2" | "1.3" | "1.4" | "1.5" | "1.6" | "1.7"),
        "specVersion",
        || format!("{} cannot be read: write the document as CycloneDX 1.2 to 1.7", shown(&bom.spec_version)),
    );
    if bom.components.is_empty() {
        let message = "there are none, which would make the software look clean: list what it is made of";
        problems.add(FieldError::value("body -> components", message));
    }
    problems.finish()?;
    Ok(Format::CycloneDx)
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(submit_report)).routes(routes!(submit_sbom))
}

#[cfg(test)]
mod tests {
    use utoipa::{
        PartialSchema,
        openapi::{RefOr, schema::Schema},
    };

    use super::*;

    fn example<T: PartialSchema>() -> serde_json::Value {
        match T::schema() {
            RefOr::T(Schema::Object(object)) => object.example.expect("an example"),
            _ => panic!("not an object"),
        }
    }

    fn fields(refused: Result<Format, ApiError>) -> Vec<String> {
        match refused {
            Err(ApiError::Invalid(errors)) => errors.into_iter().map(|error| error.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documented_report_is_one_that_the_worker_reads() {
        let example = example::<HostReport>();
        assert!(check_report(example.to_string().as_bytes()).is_ok());
        let report: domain::inventory::HostReport =
            serde_json::from_value(example.clone()).expect("a report");
        assert_eq!(serde_json::to_value(report).expect("serialises"), example, "a member is missing");
    }

    #[test]
    fn a_report_must_say_whose_packages_and_which() {
        let refused =
            check_report(br#"{"hostname": " ", "os": {"distro": "", "version": ""}, "packages": []}"#);
        assert_eq!(fields(refused), ["body -> hostname", "body -> os -> distro", "body -> packages"]);
        assert_eq!(fields(check_report(b"{}")), ["body -> hostname"]);
    }

    #[test]
    fn a_wrong_package_does_not_refuse_the_report() {
        let report =
            br#"{"hostname": "h", "os": {"distro": "debian", "version": "12"}, "packages": [{"name": 7}]}"#;
        assert!(check_report(report).is_ok());
    }

    #[test]
    fn an_sbom_is_told_from_other_json() {
        assert!(check_sbom(example::<CycloneDx>().to_string().as_bytes()).is_ok());
        assert!(matches!(check_sbom(example::<Spdx>().to_string().as_bytes()), Ok(Format::Spdx)));
        assert_eq!(fields(check_sbom(br#"{"spdxVersion": "SPDX-2.3"}"#)), ["body -> packages"]);
        assert_eq!(fields(check_sbom(br#"{"spdxVersion": 3, "packages": [1]}"#)), ["body -> spdxVersion"]);
        assert_eq!(fields(check_sbom(br#"{"name": "shop"}"#)), ["body -> bomFormat"]);
        let refused = check_sbom(br#"{"bomFormat": "CycloneDX", "specVersion": "9.9", "components": []}"#);
        assert_eq!(fields(refused), ["body -> specVersion", "body -> components"]);
        assert_eq!(fields(check_sbom(b"[1, 2, 3]")), ["body"]);
    }
}
