//! Read one submitted inventory into an asset and its packages, and have the asset compared.

use std::collections::BTreeMap;

use correlation::version::Scheme;
use domain::{
    id::{AssetId, ScanRunId, SubmissionId, TenantId},
    inventory::{InstalledPackage, Inventory, OperatingSystem},
};
use inventory::InventoryError;
use queue::{
    Attempt, Done, Handler, JobError,
    enqueue::{Origin, enqueue},
    error::DiscardIfMissing,
    jobs::{Correlate, IngestInventory},
};
use serde_json::{Value, json};
use store::{
    TenantTx,
    inventory::{self as inventories, Format, Package, Recorded, Submission},
    scan_runs::{self, Counts, Finish, NewRun, RunType, Status},
};

use super::judging;
use crate::{context::Context, issue::hex};

/// The platform of packages of which nobody says what system they are for.
const UNKNOWN_PLATFORM: &str = "unknown";

impl Handler<Context> for IngestInventory {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let mut submission = inventories::submission(&mut tx, self.submission_id)
            .await
            .discard_if_missing("the submission")?;
        let run = NewRun {
            tenant: Some(self.tenant_id),
            job: attempt.job,
            run_type: RunType::Inventory,
            source_slug: None,
        };
        let run = scan_runs::begin(&mut tx, &run).await?;
        tx.commit().await?;

        let payload = submission.payload.take();
        let ingestion = Ingestion { context, attempt, tenant: self.tenant_id, submission, run };
        let done = match payload {
            Some(payload) => ingestion.ingest(payload).await,
            None => ingestion.finish_already_read().await,
        };
        if let Err(error) = &done {
            super::record_failure(&context.db, run, error).await?;
        }
        done
    }
}

fn read(format: Format, payload: &[u8]) -> Result<Inventory, InventoryError> {
    match format {
        Format::HostReport => inventory::report::parse(payload),
        Format::CycloneDx => inventory::cyclonedx::parse(payload),
        Format::Spdx => inventory::spdx::parse(payload),
    }
}

/// One submission on its way into the tables.
struct Ingestion<'a> {
    context: &'a Context,
    attempt: &'a Attempt,
    tenant: TenantId,
    submission: Submission,
    run: ScanRunId,
}

impl Ingestion<'_> {
    async fn ingest(&self, payload: Vec<u8>) -> Result<Done, JobError> {
        self.attempt.progress(10, "reading");
        let Some(format) = Format::from_word(&self.submission.format) else {
            return self.refuse(&format!("`{}` is no known format", self.submission.format)).await;
        };
        match tokio::task::spawn_blocking(move || read(format, &payload)).await? {
            Ok(inventory) => self.keep(inventory).await,
            Err(error) => self.refuse(&error.to_string()).await,
        }
    }

    async fn keep(&self, inventory: Inventory) -> Result<Done, JobError> {
        let Inventory { asset, packages, skipped } = inventory;
        let packages: Vec<_> =
            packages.into_iter().map(|package| as_judged(asset.os.as_ref(), package)).collect();
        let platforms = platforms_without_advisories(&packages);
        self.attempt.progress(50, "storing");
        let mut tx = self.context.db.begin_as(self.tenant).await?;
        let recorded = inventories::record(&mut tx, &asset, self.submission.received_at, packages).await?;
        let provenance = json!({
            "format": self.submission.format,
            "sha256": hex(&self.submission.sha256),
            "skipped": skipped.len(),
            "platforms_without_advisories": platforms,
        });
        let (asset, end) = match recorded {
            Recorded::Current { asset, counts, .. } => {
                let job = Correlate { tenant_id: self.tenant, asset_id: Some(asset) };
                enqueue(&mut tx, Origin::tenant(self.tenant), &job).await?;
                (Some(asset), Finish { provenance, ..Finish::success(counts) })
            }
            Recorded::Outdated => {
                let counts = Counts { processed: 1, unchanged: 1, ..Counts::default() };
                (None, Finish { status: Status::Unchanged, provenance, ..Finish::success(counts) })
            }
        };
        inventories::close(&mut tx, self.id(), asset, &skipped).await?;
        self.finish(tx, asset, &end).await
    }

    /// The job was enqueued again for a submission that was read in the meantime.
    async fn finish_already_read(&self) -> Result<Done, JobError> {
        let tx = self.context.db.begin_as(self.tenant).await?;
        let end = Finish { status: Status::Unchanged, ..Finish::success(Counts::default()) };
        self.finish(tx, self.submission.asset_id.map(AssetId), &end).await
    }

    async fn finish(
        &self,
        mut tx: TenantTx,
        asset: Option<AssetId>,
        end: &Finish<'_>,
    ) -> Result<Done, JobError> {
        let end = Finish { bytes_read: self.submission.byte_count, ..end.clone() };
        scan_runs::finish(&mut tx, self.run, &end).await?;
        let result = json!({ "asset_id": asset, "status": end.status.as_str(), "packages": end.counts });
        let done = self.attempt.complete(&mut tx, result).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Nobody can read it, today or tomorrow: it is let go, and the run says why.
    async fn refuse(&self, why: &str) -> Result<Done, JobError> {
        let mut tx = self.context.db.begin_as(self.tenant).await?;
        inventories::close(&mut tx, self.id(), None, &[why.to_owned()]).await?;
        tx.commit().await?;
        Err(JobError::discard(why))
    }

    fn id(&self) -> SubmissionId {
        SubmissionId(self.submission.id)
    }
}

/// The package under the names by which advisories know it.
pub(super) fn as_judged(os: Option<&OperatingSystem>, package: InstalledPackage) -> Package {
    let platform = package.ecosystem.clone().unwrap_or_else(|| platform_of(os));
    let (judged_name, judged_version) = if judging::judges_sources(&platform) {
        let (name, version) = package.source();
        (name.into_owned(), version.to_owned())
    } else {
        (judging::name(&platform, &package.name), package.version.clone())
    };
    Package {
        judged_key: judging::key(&platform, &judged_version),
        judged_name,
        judged_version,
        platform,
        name: package.name,
        version: package.version,
        architecture: package.architecture.unwrap_or_default(),
        purl: package.purl,
    }
}

/// Whose advisories judge what the system itself installed. Of a system that we know none of, its name: the packages are kept and seen.
fn platform_of(os: Option<&OperatingSystem>) -> String {
    match os {
        Some(os) => os.platform().unwrap_or_else(|| format!("{}:{}", os.distro, os.version)),
        None => UNKNOWN_PLATFORM.to_owned(),
    }
}

/// The platforms whose versions nobody here understands, with how many packages: kept, and never judged.
fn platforms_without_advisories(packages: &[Package]) -> Value {
    let mut counts = BTreeMap::<&str, usize>::new();
    for package in packages.iter().filter(|package| Scheme::of_platform(&package.platform).is_none()) {
        *counts.entry(&package.platform).or_default() += 1;
    }
    json!(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> InstalledPackage {
        InstalledPackage {
            name: name.into(),
            version: version.into(),
            architecture: None,
            source_name: None,
            source_version: None,
            ecosystem: None,
            purl: None,
        }
    }

    fn system(distro: &str, version: &str) -> OperatingSystem {
        OperatingSystem { distro: distro.into(), version: version.into(), ..OperatingSystem::default() }
    }

    #[test]
    fn a_debian_package_is_judged_by_its_source() {
        let installed = InstalledPackage {
            source_name: Some("util-linux".into()),
            source_version: Some("2.38.1-5".into()),
            ..package("bsdutils", "1:2.38.1-5")
        };
        let judged = as_judged(Some(&system("debian", "12")), installed);
        assert_eq!(judged.platform, "Debian:12");
        assert_eq!((judged.judged_name.as_str(), judged.judged_version.as_str()), ("util-linux", "2.38.1-5"));
        assert!(judged.judged_key.is_some());
    }

    #[test]
    fn a_signed_kernel_is_judged_as_the_kernel_that_was_signed() {
        let kernel = |distro, version, source: &str, source_version: &str| {
            let installed = InstalledPackage {
                source_name: Some(source.into()),
                source_version: Some(source_version.into()),
                ..package("linux-image-generic", "6.1.119-1")
            };
            let judged = as_judged(Some(&system(distro, version)), installed);
            (judged.judged_name, judged.judged_version)
        };
        let judged = |name: &str| (name.to_owned(), "6.1.119-1".to_owned());
        assert_eq!(kernel("debian", "12", "linux-signed-amd64", "6.1.119+1"), judged("linux"));
        assert_eq!(kernel("debian", "11", "linux-signed-6.1-arm64", "6.1.119+1"), judged("linux-6.1"));
        assert_eq!(kernel("ubuntu", "22.04", "linux-signed", "6.1.119-1"), judged("linux"));
        assert_eq!(kernel("ubuntu", "22.04", "linux-signed-hwe-6.5", "6.1.119-1"), judged("linux-hwe-6.5"));
    }

    #[test]
    fn an_rpm_is_judged_by_itself() {
        let installed =
            InstalledPackage { source_name: Some("perl".into()), ..package("perl-Errno", "1.30") };
        let judged = as_judged(Some(&system("rocky", "9.4")), installed);
        assert_eq!((judged.platform.as_str(), judged.judged_name.as_str()), ("Rocky Linux:9", "perl-Errno"));
    }

    #[test]
    fn a_package_of_a_language_is_judged_by_its_ecosystem_under_the_name_it_compares() {
        let installed =
            InstalledPackage { ecosystem: Some("PyPI".into()), ..package("Zope.Interface", "5.0") };
        let judged = as_judged(Some(&system("debian", "12")), installed);
        assert_eq!((judged.platform.as_str(), judged.judged_name.as_str()), ("PyPI", "zope-interface"));
    }

    #[test]
    fn packages_of_an_unknown_system_are_kept_under_its_name() {
        let judged = as_judged(Some(&system("plan9", "4")), package("rc", "1"));
        assert_eq!((judged.platform.as_str(), judged.judged_key), ("plan9:4", None));
        assert_eq!(as_judged(None, package("rc", "1")).platform, "unknown");
    }
}
