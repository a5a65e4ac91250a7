//! The main job over the API: feeds in, this machine's packages in, reports, a mail and a webhook out.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use delivery::webhook::WebhookSecret;
use runtime::config::SealSettings;
use secrecy::SecretString;
use serde_json::{Value, json};
use signing::Anchors;
use tokio::time::{Instant, sleep, timeout};

use super::receiver::{self, Receiver};
use super::steps::Steps;
use crate::commands::api_client::ApiClient;
use crate::commands::{agent, verify};
use crate::exit::Failure;

/// No step of the demo takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const ADMINISTRATOR: &str = "admin";

/// What the demo works with.
#[derive(Debug)]
pub(super) struct Setting {
    /// Where its files go.
    pub(super) folder: PathBuf,
    /// The folder that holds the host whose packages are read: `/`, or an image.
    pub(super) root: PathBuf,
    /// Who gets a mail, if anybody.
    pub(super) recipient: Option<String>,
    /// Where mails go that are not sent.
    pub(super) outbox: Option<PathBuf>,
    /// How people reach the API.
    pub(super) public_url: String,
    /// What signs the reports.
    pub(super) seal: SealSettings,
}

/// Do it all, telling each step, and say at the end where everything is.
pub(super) async fn tell(server: &str, setting: &Setting, steps: &mut Steps) -> Result<(), Failure> {
    let mut api = ApiClient::new(server)?;
    steps.begin("waiting for the API");
    until_ready(&api).await?;
    let password = sign_in(&mut api, setting, steps).await?;
    crawl_feeds(&api, steps).await?;
    let host = read_packages(&api, &setting.root, steps).await?;
    name_findings(&api, steps).await?;
    let reports = make_reports(&api, setting, &host, steps).await?;
    steps.end();
    for path in &reports {
        steps.tell(&format!("Report:        {}", path.display()));
    }
    if let [.., path] = reports.as_slice() {
        let root = root_file(setting);
        steps.tell(&format!("Verify:        plimsoll verify {} --root {}", path.display(), root.display()));
    }
    let url = &setting.public_url;
    steps.tell(&format!("API:           {url}/api/docs"));
    steps.tell(&format!("Administrator: {ADMINISTRATOR}, password {password}"));
    Ok(())
}

async fn until_ready(api: &ApiClient) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match api.get("/readyz").await {
            Ok(_) => return Ok(()),
            Err(failure) if Instant::now() > deadline => return Err(failure),
            Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
}

/// Create the administrator, or sign in as the one that an earlier demo created here. Returns the password.
async fn sign_in(api: &mut ApiClient, setting: &Setting, steps: &mut Steps) -> Result<String, Failure> {
    steps.begin("signing in");
    let file = setting.folder.join("administrator-password");
    let (path, password) = match fs::read_to_string(&file) {
        Ok(password) => ("/api/auth/login", password.trim().to_owned()),
        Err(_) => ("/api/auth/setup", hex::encode(rand::random::<[u8; 12]>())),
    };
    let mut request = json!({ "username": ADMINISTRATOR, "password": password });
    if path == "/api/auth/setup" {
        request["email"] = json!("admin@localhost.localdomain");
    }
    let signed_in = api.post(path, &request).await.map_err(|failure| Failure {
        error: failure.error.context(format!(
            "cannot sign in as the demo's administrator; if this data folder is not the demo's alone, set PLIMSOLL_HOME \
             to a new one ({} has the password that was tried)",
            file.display()
        )),
        ..failure
    })?;
    // Written once it is true, and never printed to a file that others may read.
    write_private(&file, &password).with_context(|| format!("cannot write {}", file.display()))?;
    api.sign_in(SecretString::from(text(&signed_in, "access_token")?.to_owned()));
    steps.done(format!("administrator       {ADMINISTRATOR}"));
    Ok(password)
}

fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{content}")
}

async fn crawl_feeds(api: &ApiClient, steps: &mut Steps) -> Result<(), Failure> {
    let sources = api.get("/api/config/vuln-sources?enabled=true&page_size=100").await?;
    let mut crawls = Vec::new();
    for source in list(&sources, "data")? {
        let slug = text(source, "slug")?.to_owned();
        let job = api.post(&format!("/api/scan-runs/trigger/{slug}"), &json!({})).await?;
        crawls.push((slug, text(&job, "job_id")?.to_owned()));
    }
    for (slug, job) in crawls {
        steps.begin(&format!("crawling {slug}"));
        let job = wait_for(api, &job, steps).await?;
        let latest =
            format!("/api/scan-runs?run_type=source_crawl&status=success&source_slug={slug}&page_size=1");
        let runs = api.get(&latest).await?;
        let Some(run) = list(&runs, "data")?.first() else { continue };
        let (rows, changed) = (&run["records_processed"], change(run));
        let news = if job["result"]["status"] == "unchanged" { "nothing new".to_owned() } else { changed };
        steps.tell(&format!(
            "{:<90} {:>5.1} s",
            format!("feed {slug:<14} {rows:>6} records, {news}"),
            seconds(run)
        ));
    }
    Ok(())
}

/// What a run changed, in words.
fn change(run: &Value) -> String {
    let counts =
        [("created", "new"), ("updated", "changed"), ("removed", "gone"), ("rejected", "unreadable")];
    let said = counts.iter().filter_map(|(field, word)| {
        let count = run[format!("records_{field}")].as_i64().filter(|count| *count > 0)?;
        Some(format!("{count} {word}"))
    });
    said.collect::<Vec<_>>().join(", ")
}

/// How long a run took, by the database's clock.
fn seconds(run: &Value) -> f64 {
    let at = |field: &str| run[field].as_str()?.parse::<DateTime<Utc>>().ok();
    match (at("started_at"), at("completed_at")) {
        (Some(began), Some(ended)) => (ended - began).as_seconds_f64(),
        _ => 0.0,
    }
}

/// Hand in the packages of this machine, or of the image below `root`, as `plimsoll agent report` does. Returns the host's name.
async fn read_packages(api: &ApiClient, root: &Path, steps: &mut Steps) -> Result<String, Failure> {
    steps.begin(if root == Path::new("/") {
        "reading this machine's packages"
    } else {
        "reading the packages"
    });
    let root = root.to_owned();
    let read = tokio::task::spawn_blocking(move || inventory::host::read(&root));
    let report = read.await.context("reading was cut short")?.context("cannot read the inventory")?;
    let body = serde_json::to_vec(&report).context("cannot write the report as JSON")?;
    let accepted = api.post_bytes(agent::PATH, body).await?;
    wait_for(api, text(&accepted, "job_id")?, steps).await?;
    let os = report.os.name.as_deref().unwrap_or(&report.os.distro);
    steps.done(format!("host {}  {} packages, {os}", report.hostname, report.packages.len()));
    steps.begin("comparing packages with advisories");
    until_correlated(api).await?;
    Ok(report.hostname)
}

/// Wait until no comparison is on its way: reading an inventory and crawling a feed each cause one.
async fn until_correlated(api: &ApiClient) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut left = 0;
        for status in ["queued", "running"] {
            let jobs = api.get(&format!("/api/jobs?kind=correlate&status={status}&page_size=1")).await?;
            left += jobs["total"].as_i64().unwrap_or(0);
        }
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(anyhow!("{left} comparisons are not done after {} s", PATIENCE.as_secs()).into());
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn name_findings(api: &ApiClient, steps: &mut Steps) -> Result<(), Failure> {
    let mut counts = Vec::new();
    let mut total = 0;
    for severity in domain::Severity::ALL {
        let page = api.get(&format!("/api/vuln-matches?status=open&severity={severity}&page_size=1")).await?;
        let count = page["total"].as_i64().unwrap_or(0);
        total += count;
        if count > 0 {
            counts.push(format!("{count} {severity}"));
        }
    }
    steps.done(format!("findings            {total} open: {}", counts.join(", ")));
    let exploited = api.get("/api/vuln-matches?status=open&kev=true&page_size=100").await?;
    let mut names = Vec::new();
    for finding in list(&exploited, "data")? {
        names.push(format!("{} in {}", text(finding, "cve_id")?, text(finding, "package_name")?));
    }
    names.sort_unstable();
    names.dedup();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    steps.tell(&format!("known exploited     {names}"));
    Ok(())
}

/// Two reports as PDF: one mailed, both announced to a webhook. Returns where they lie.
async fn make_reports(
    api: &ApiClient,
    setting: &Setting,
    host: &str,
    steps: &mut Steps,
) -> Result<Vec<PathBuf>, Failure> {
    steps.begin("registering a webhook");
    forget_old_receivers(api).await?;
    let mut receiver = Receiver::listen().await?;
    let webhook =
        api.post("/api/webhooks", &json!({ "url": receiver.url, "events": ["report.generated"] })).await?;
    let secret: WebhookSecret = text(&webhook, "secret")?.parse().context("the webhook's secret is none")?;

    let mut requested = Vec::new();
    for (report_type, title) in
        [("executive_summary", "Executive summary"), ("technical", "Technical report")]
    {
        let mut request = json!({
            "title": format!("{title} for {host}"),
            "report_type": report_type,
            "format": "pdf",
            "options": { "signed": true },
        });
        if report_type == "executive_summary"
            && let Some(recipient) = &setting.recipient
        {
            request["recipients"] = json!([recipient]);
        }
        requested.push((report_type, api.post("/api/reports/generate", &request).await?));
    }
    let mut files = Vec::new();
    for (report_type, accepted) in &requested {
        steps.begin(&format!("rendering {report_type}"));
        wait_for(api, text(accepted, "job_id")?, steps).await?;
        let (path, pages) = fetch(api, text(accepted, "report_id")?, &setting.folder).await?;
        let signer = verified(&path, setting)?;
        steps.done(format!("report              {report_type}, {pages} pages, signed by {signer}"));
        files.push(path);
    }
    steps.begin("delivering the webhook");
    for _ in &requested {
        match timeout(PATIENCE, receiver.next_event(&secret)).await.context("the webhook was not called")? {
            Some(event) => steps.done(format!("webhook             {event}, its signature verifies")),
            None => {
                return Err(anyhow!("the webhook was called with a signature that does not verify").into());
            }
        }
    }
    // Its receiver ends with the demo.
    api.delete(&format!("/api/webhooks/{}", text(&webhook, "id")?)).await?;
    follow_mail(api, setting, steps).await?;
    Ok(files)
}

/// Delete the webhooks of demos that were cut short: nobody listens there any more.
async fn forget_old_receivers(api: &ApiClient) -> Result<(), Failure> {
    let webhooks = api.get("/api/webhooks?page_size=100").await?;
    for webhook in list(&webhooks, "data")? {
        let url = text(webhook, "url")?;
        if url.starts_with("http://127.0.0.1:") && url.ends_with(receiver::PATH) {
            api.delete(&format!("/api/webhooks/{}", text(webhook, "id")?)).await?;
        }
    }
    Ok(())
}

/// Download a finished report. Returns where it lies, and its number of pages.
async fn fetch(api: &ApiClient, report: &str, folder: &Path) -> Result<(PathBuf, Value), Failure> {
    let detail = api.get(&format!("/api/reports/{report}")).await?;
    let file = api.download(&format!("/api/reports/{report}/download")).await?;
    if file.media_type != "application/pdf" || !file.bytes.starts_with(b"%PDF-") {
        return Err(anyhow!("the report is no PDF but {}", file.media_type).into());
    }
    // The name comes from a server: only its last part may become a file's name.
    let name = detail["artifact"]["file_name"].as_str().and_then(|name| Path::new(name).file_name());
    let path = folder.join(name.context("the report's file has no name")?);
    fs::write(&path, &file.bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, detail["page_count"].clone()))
}

/// Check a report as `plimsoll verify` does, and leave what it takes to do so again. Returns in whose name it is signed.
fn verified(path: &Path, setting: &Setting) -> Result<String, Failure> {
    let anchors = verify::installation_anchors(&setting.seal)?;
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let verdict = signing::verify(&file, &anchors, Utc::now());
    let proof =
        verdict.finding.with_context(|| format!("the signature of {} does not hold", path.display()))?;
    let root = root_file(setting);
    let text = Anchors::write_pem(&anchors.seals);
    fs::write(&root, text).with_context(|| format!("cannot write {}", root.display()))?;
    Ok(proof.statement.signed_by)
}

fn root_file(setting: &Setting) -> PathBuf {
    setting.folder.join("root.pem")
}

async fn follow_mail(api: &ApiClient, setting: &Setting, steps: &mut Steps) -> Result<(), Failure> {
    let Some(recipient) = &setting.recipient else {
        steps.tell("mail                none: name somebody with --mail-to, since there is a mail server");
        return Ok(());
    };
    steps.begin("sending the mail");
    let jobs = api.get("/api/jobs?kind=send_mail&page_size=1").await?;
    let job = list(&jobs, "data")?.first().context("no mail was queued")?;
    wait_for(api, text(job, "id")?, steps).await?;
    steps.done(match &setting.outbox {
        Some(outbox) => format!("mail to {recipient}  written to {} (no SMTP_HOST)", outbox.display()),
        None => format!("mail to {recipient}  sent"),
    });
    Ok(())
}

/// Wait for a job's end, showing its progress. An end other than completion is a failure.
async fn wait_for(api: &ApiClient, job: &str, steps: &Steps) -> Result<Value, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = api.get(&format!("/api/jobs/{job}")).await?;
        match seen["status"].as_str() {
            Some("completed") => return Ok(seen),
            Some(end @ ("failed" | "cancelled")) => {
                let kind = seen["kind"].as_str().unwrap_or("job");
                let why = seen["last_error"].as_str().unwrap_or("no reason given");
                return Err(anyhow!("{kind} {job} {end}: {why}").into());
            }
            _ => {}
        }
        steps.at(seen["progress"].as_u64().unwrap_or(0), seen["progress_note"].as_str().unwrap_or_default());
        if Instant::now() > deadline {
            let why = seen["last_error"].as_str().unwrap_or("it has not failed either");
            return Err(anyhow!("job {job} is not done after {} s: {why}", PATIENCE.as_secs()).into());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    match value[field].as_str() {
        Some(text) => Ok(text),
        None => bail!("the server's answer has no text in `{field}`"),
    }
}

fn list<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a Vec<Value>> {
    value[field].as_array().with_context(|| format!("the server's answer has no list in `{field}`"))
}
