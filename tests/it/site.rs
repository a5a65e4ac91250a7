//! An installation with two workers and two schedulers, and an operator at its command line.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
};

use domain::id::{JobId, TenantId};
use harness::{
    Program,
    deed::{Act, Deed},
    eventually,
};
use queue::{enqueue, enqueue::Origin};
use runtime::egress::Method;
use serde_json::{Value, json};

use crate::programs::{Programs, SOON, WITH_DEEDS};

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) results: String,
    pub(crate) remarks: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), results: text(output.stdout), remarks: text(output.stderr) }
    }
}

/// An installation in which nothing comes by itself, with two workers and two schedulers.
pub(crate) struct Site {
    pub(crate) programs: Programs,
    pub(crate) second_worker: Program,
    _second_scheduler: Program,
    pub(crate) tenant: TenantId,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let programs = Programs::start_for_deeds(&[]).await;
        let tenant = programs.tenant().await;
        let second_worker = programs.another("worker").await;
        let second_scheduler = programs.another("scheduler").await;
        Self { programs, second_worker, _second_scheduler: second_scheduler, tenant }
    }

    /// Types `line`, whose words have no spaces in them.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(WITH_DEEDS);
        command
            .arg0("plimsoll")
            .args(line.split_whitespace())
            .env_clear()
            .env("PLIMSOLL_URL", format!("http://{}", self.programs.api.api))
            .env("PLIMSOLL_TOKEN", self.programs.token())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn types(&self, line: &str) -> Said {
        self.command(line).output().expect("it starts").into()
    }

    /// What `line` prints, when it ends well.
    #[track_caller]
    pub(crate) fn reads(&self, line: &str) -> String {
        let said = self.types(line);
        assert_eq!(said.code, Some(0), "{line}: {said:?}");
        said.results
    }

    /// What `line` prints as JSON.
    #[track_caller]
    pub(crate) fn reads_json(&self, line: &str) -> Value {
        serde_json::from_str(&self.reads(&format!("{line} --json"))).expect("JSON")
    }

    /// The first words of the rows that `line` prints below the headings.
    #[track_caller]
    pub(crate) fn rows(&self, line: &str) -> Vec<String> {
        let printed = self.reads(line);
        printed.lines().skip(1).filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// Records a deed of the organization, and commits.
    pub(crate) async fn accept(&self, act: Act) -> JobId {
        self.accept_for(Origin::tenant(self.tenant), act).await
    }

    pub(crate) async fn accept_for(&self, origin: Origin, act: Act) -> JobId {
        let mut tx = self.programs.db.system.begin().await.expect("a transaction");
        let job = enqueue(&mut tx, origin, &Deed::of(act)).await.expect("accepted").id;
        tx.commit().await.expect("committed");
        job
    }

    pub(crate) async fn state(&self, job: JobId) -> String {
        let state = sqlx::query_scalar("select state from jobs where id = $1").bind(job.0);
        state.fetch_one(self.programs.db.pool()).await.expect("it is there")
    }

    pub(crate) async fn until(&self, job: JobId, state: &str) {
        eventually(&format!("{job} being {state}"), SOON, || async {
            (self.state(job).await == state).then_some(())
        })
        .await;
    }

    /// Waits until `show` of the job says `words`.
    pub(crate) async fn until_shown(&self, job: JobId, words: &str) {
        eventually(&format!("`{words}` of {job}"), SOON, || async {
            self.reads(&format!("jobs show {job}")).contains(words).then_some(())
        })
        .await;
    }

    /// How often the job was begun.
    pub(crate) async fn begun(&self, job: JobId) -> i64 {
        let begun = sqlx::query_scalar("select count(*) from deeds_begun where job_id = $1").bind(job.0);
        begun.fetch_one(self.programs.db.pool()).await.expect("counted")
    }

    pub(crate) async fn report(&self) -> JobId {
        let request = json!({ "title": "Typed", "report_type": "executive_summary", "format": "json" });
        let (status, accepted) =
            self.programs.send(Method::POST, "/api/reports/generate", &[], &request).await;
        assert_eq!(status, 202, "{accepted}");
        self.programs.until_completed(&accepted["job_id"]).await;
        JobId(accepted["job_id"].as_str().expect("an id").parse().expect("an id"))
    }
}
