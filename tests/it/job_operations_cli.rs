//! `plimsoll jobs …` and `plimsoll schedules …` as an operator types them, while one API, two workers and two schedulers run: what is printed, and what
//! comes of it.

use std::{collections::BTreeSet, path::Path};

use domain::id::JobId;
use harness::{
    deed::{Act, Deed},
    eventually,
};
use queue::{
    After, OnFailure,
    batches::enqueue_batch,
    enqueue::{Origin, enqueue_after},
};
use serde_json::json;

use crate::{
    programs::SOON,
    site::{Said, Site},
};

fn open(gate: &Path) {
    std::fs::write(gate, "").expect("the gate opens");
}

fn ids(jobs: &[JobId]) -> BTreeSet<String> {
    jobs.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_by_every_filter_shown_with_their_timeline_and_followed() {
    let site = Site::start().await;
    let report = site.report().await;
    let given_up = site.accept(Act::Panic).await;
    site.until(given_up, "dead").await;
    let shared = site.accept_for(Origin::INSTALLATION, Act::Nothing).await;
    site.until(shared, "completed").await;
    let tenant = site.tenant;
    for (filter, expected) in [
        ("", vec![report, given_up, shared]),
        ("--kind render_report", vec![report]),
        ("--queue rendering", vec![report]),
        ("--state dead", vec![given_up]),
        ("--status failed", vec![given_up]),
        ("--status completed", vec![report, shared]),
        ("--dead-reason exhausted", vec![given_up]),
        ("--dead-reason poison", vec![]),
        ("--text ASKED", vec![given_up]),
        ("--tenant installation", vec![shared]),
        (&format!("--tenant {tenant}"), vec![report, given_up]),
        ("--since 1h", vec![report, given_up, shared]),
        ("--since 2020-01-01", vec![report, given_up, shared]),
        ("--until 2020-01-01T00:00:00Z", vec![]),
        ("--queue maintenance --state completed", vec![shared]),
    ] {
        let listed: BTreeSet<_> = site.rows(&format!("jobs list {filter}")).into_iter().collect();
        assert_eq!(listed, ids(&expected), "{filter}");
    }
    assert_eq!(site.reads("jobs list --dead-reason poison"), "no jobs\n");
    let newest = site.types("jobs list --limit 1");
    assert!(newest.results.contains(&shared.to_string()), "{newest:?}");
    assert_eq!(newest.remarks, "these are the newest 1: --limit shows more\n");
    let of_all = site.reads("jobs list --tenant all");
    let whose = |job: JobId| {
        let row = of_all.lines().find(|row| row.starts_with(&job.to_string())).expect("it is listed");
        row.split_whitespace().nth(1).expect("a column").to_owned()
    };
    assert_eq!((whose(shared), whose(report)), ("installation".to_owned(), tenant.to_string()));

    let shown = site.reads(&format!("jobs show {given_up}"));
    for words in
        ["dead: exhausted, attempt 4 of 4", &format!("for       {tenant}"), "what to do: ", "finished"]
    {
        assert!(shown.contains(words), "`{words}` is not in\n{shown}");
    }
    let attempts: Vec<_> = shown.lines().filter(|line| line.contains("  panic  ")).collect();
    assert_eq!(attempts.len(), 4, "{shown}");
    assert!(attempts[3].starts_with("4 ") && attempts[3].contains(" dead "), "{shown}");
    let as_json = site.reads_json(&format!("jobs show {given_up}"));
    assert_eq!(
        (&as_json["dead_reason"], as_json["attempts"].as_array().map(Vec::len)),
        (&json!("exhausted"), Some(4))
    );
    let told = site.types(&format!("jobs follow {given_up}"));
    assert_eq!(told.code, Some(1), "{told:?}");
    let begun = told.results.lines().filter(|line| line.contains(" begun by ")).count();
    assert_eq!(begun, 4, "what has happened already is told as well: {told:?}");
    assert!(told.results.ends_with(&format!("{given_up} test_deed dead: exhausted\n")), "{told:?}");

    // One that waits for another, which waits for a file.
    let gate = site.programs.file();
    let first = site.accept(Act::WaitFor(gate.clone())).await;
    let mut tx = site.programs.db.system.begin().await.expect("a transaction");
    let after = After { jobs: &[first], on_failure: OnFailure::Wait, at_most: None };
    let second = enqueue_after(&mut tx, Origin::tenant(tenant), &Deed::of(Act::Nothing), after).await;
    tx.commit().await.expect("committed");
    let second = second.expect("accepted").id;
    site.until(first, "running").await;
    let shown = site.reads(&format!("jobs show {second}"));
    let why = format!("not running: It waits for test_deed {first}, which is running.");
    assert!(shown.contains(&why) && shown.contains("\nwaits for:\n"), "{shown}");
    assert!(site.reads(&format!("jobs show {first}")).contains("\nwaited for by:\n"));
    let too_soon = site.types(&format!("jobs wait {second} --timeout 0"));
    assert_eq!(too_soon.code, Some(75), "{too_soon:?}");
    assert!(too_soon.remarks.contains("not ended after 0 s: It waits for"), "{too_soon:?}");
    let following = site.command(&format!("jobs follow {second}")).spawn().expect("it starts");
    open(&gate);
    assert_eq!(site.reads(&format!("jobs wait {second}")), format!("{second} test_deed completed\n"));
    let told = Said::from(following.wait_with_output().expect("it ends"));
    assert_eq!((told.code, told.remarks.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.results.contains("attempt 1 begun by "), "{told:?}");
    assert!(told.results.ends_with(&format!("{second} test_deed completed\n")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_cancelled_and_retried_by_id_and_by_filter() {
    let site = Site::start().await;
    let gate = site.programs.file();
    let running = site.accept(Act::WaitFor(gate.clone())).await;
    site.until(running, "running").await;
    site.reads(&format!("jobs cancel {running}"));
    let waited = site.types(&format!("jobs wait {running}"));
    assert_eq!(
        (waited.code, waited.remarks.as_str()),
        (Some(1), "plimsoll: it was cancelled\n"),
        "{waited:?}"
    );
    assert_eq!(site.reads_json(&format!("jobs show {running}"))["attempts"][0]["outcome"], "cancelled");
    let again = site.types(&format!("jobs cancel {running}"));
    assert_eq!(again.code, Some(0), "twice is the same as once: {again:?}");
    open(&gate);
    site.reads(&format!("jobs retry {running}"));
    site.reads(&format!("jobs wait {running}"));
    assert_eq!(site.begun(running).await, 2);
    let done = site.types(&format!("jobs retry {running}"));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.remarks.contains("The job is completed: it cannot be retried"), "{done:?}");

    let mut given_up = Vec::new();
    for _ in 0..3 {
        given_up.push(site.accept(Act::Panic).await);
    }
    for job in &given_up {
        site.until(*job, "dead").await;
    }
    // From here on nothing is begun, so that what is changed stays as it is.
    site.reads("jobs queues pause maintenance");
    let by_reason = "--queue maintenance --dead-reason exhausted --text asked --since 1h";
    assert_eq!(site.reads(&format!("jobs retry {by_reason} --dry-run")), "3 jobs\n");
    let nobody = site.types(&format!("jobs retry {by_reason}"));
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.remarks.contains("retry 3 jobs? There is nobody to ask: say --yes"), "{nobody:?}");
    for job in &given_up {
        assert_eq!(site.state(*job).await, "dead", "nothing was changed");
    }
    assert_eq!(site.reads(&format!("jobs retry {by_reason} --yes")), "3 jobs changed\n");
    for job in &given_up {
        assert_eq!(site.state(*job).await, "available");
    }
    let [first, others @ ..] = &given_up[..] else { unreachable!("there are three") };
    assert!(
        site.reads(&format!("jobs cancel {first}")).contains(" cancelled "),
        "at once, since nobody runs it"
    );
    assert_eq!(site.reads("jobs cancel --queue maintenance --yes"), "2 jobs changed\n");
    for job in others {
        assert_eq!(site.state(*job).await, "cancelled");
    }
    assert_eq!(
        site.reads("jobs retry --queue maintenance --dry-run"),
        "0 jobs of your organization; what all share, such as crawls, is named by --tenant installation\n"
    );
    assert_eq!(site.reads("jobs retry --queue maintenance --state cancelled --yes"), "3 jobs changed\n");
    assert_eq!(site.reads("jobs cancel --tenant all --queue maintenance --yes"), "3 jobs changed\n");
    let noted: i64 = sqlx::query_scalar(
        "select count(*) from audit_entries where action in ('job.cancel', 'job.retry') and target_type = 'jobs'",
    )
    .fetch_one(site.programs.db.pool())
    .await
    .expect("counted");
    assert_eq!(noted, 4, "who changed many jobs at once is in the audit trail");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_paused_resumed_and_limited_and_shares_are_set_while_they_work() {
    let site = Site::start().await;
    let queues = site.rows("jobs queues");
    assert_eq!(queues, ["ingest", "analysis", "rendering", "delivery", "maintenance"]);

    let rated = site.reads("jobs queues limit maintenance --rate 1/3600");
    assert!(rated.contains("1 in 3600 s"), "{rated}");
    let jobs = [site.accept(Act::Nothing).await, site.accept(Act::Nothing).await];
    let held_back = eventually("one of two to be held back", SOON, || async {
        let is_held =
            |job: &&JobId| site.reads(&format!("jobs show {job}")).contains("begins at most 1 in 3600 s");
        let held: Vec<_> = jobs.iter().filter(is_held).collect();
        (held.len() == 1).then(|| *held[0])
    })
    .await;
    let other = if held_back == jobs[0] { jobs[1] } else { jobs[0] };
    site.until(other, "completed").await;
    site.reads("jobs queues limit maintenance --rate none");
    site.until(held_back, "completed").await;

    let paused = site.reads("jobs queues pause maintenance");
    assert!(paused.contains("paused since "), "{paused}");
    let job = site.accept(Act::Nothing).await;
    site.until_shown(job, "The queue `maintenance` has been paused since ").await;
    let queue = site.reads_json("jobs queues list");
    let maintenance = &queue["data"].as_array().expect("a list")[4];
    assert_eq!((&maintenance["paused"], &maintenance["due"]), (&json!(true), &json!(1)), "{maintenance}");
    assert_eq!(site.begun(job).await, 0);
    assert!(site.reads("jobs queues resume maintenance").contains(" open "));
    site.reads(&format!("jobs wait {job}"));

    let gate = site.programs.file();
    for (limit, lifted, reason) in [
        (
            "jobs queues limit maintenance --max-running 1",
            "jobs queues limit maintenance --max-running none",
            "is held to 1 at once",
        ),
        (
            "jobs queues limit maintenance --max-per-tenant 1",
            "jobs queues limit maintenance --max-per-tenant none",
            "does 1 at once for one organization",
        ),
        (
            &format!("jobs share {} --weight 2 --max-in-flight 1", site.tenant),
            &format!("jobs share {} --end", site.tenant),
            "does 1 at once for one organization",
        ),
    ] {
        site.reads(limit);
        let jobs =
            [site.accept(Act::WaitFor(gate.clone())).await, site.accept(Act::WaitFor(gate.clone())).await];
        let second = eventually("one of two to wait for the other", SOON, || async {
            let (first, second) = (site.state(jobs[0]).await, site.state(jobs[1]).await);
            match (first.as_str(), second.as_str()) {
                ("running", _) => Some(jobs[1]),
                (_, "running") => Some(jobs[0]),
                _ => None,
            }
        })
        .await;
        site.until_shown(second, reason).await;
        assert_eq!(site.begun(second).await, 0, "{limit}");
        if limit.contains("share") {
            let shares = site.reads("jobs shares");
            let row = shares.lines().nth(1).expect("one is set").split_whitespace().collect::<Vec<_>>();
            assert_eq!(row, [site.tenant.to_string().as_str(), "2", "1"]);
        }
        site.reads(lifted);
        site.until(second, "running").await;
        open(&gate);
        for job in jobs {
            site.reads(&format!("jobs wait {job}"));
        }
        std::fs::remove_file(&gate).expect("it closes again");
    }
    assert_eq!(site.reads("jobs shares"), "everybody has an equal share\n");
    let limits = site.reads_json("jobs queues")["data"][4]["limits"].clone();
    assert_eq!(limits, json!({ "max_running": null, "max_per_tenant": null, "rate": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_seen_at_work_made_quiet_and_drained_and_batches_are_followed_and_cancelled() {
    let mut site = Site::start().await;
    let names = site.rows("jobs workers");
    assert_eq!(names.len(), 2, "{names:?}");
    let gate = site.programs.file();
    let job = site.accept(Act::WaitFor(gate.clone())).await;
    site.until(job, "running").await;
    let seen = site.reads("jobs workers list");
    let in_hand = seen.split("in hand:").nth(1).expect("somebody has it in hand");
    assert!(in_hand.contains(&job.to_string()) && in_hand.contains("test_deed"), "{seen}");

    for name in &names {
        let answer = site.reads(&format!("jobs workers quiet {name}"));
        assert!(answer.contains("quiet"), "{answer}");
    }
    let quiet = || async {
        let workers = site.reads_json("jobs workers");
        workers["data"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|worker| worker["mode"] == "quiet")
            .then_some(())
    };
    eventually("quiet", SOON, quiet).await;
    let next = site.accept(Act::Nothing).await;
    site.until_shown(next, "All 2 workers of the queue `maintenance` were told to take nothing new").await;
    open(&gate);
    site.reads(&format!("jobs wait {job}"));
    assert_eq!(site.begun(next).await, 0, "what runs is finished, and nothing is begun");
    site.reads(&format!("jobs workers resume {}", names[0]));
    site.reads(&format!("jobs wait {next}"));
    let shown = site.reads_json(&format!("jobs show {next}"));
    assert_eq!(shown["attempts"][0]["worker"], names[0].as_str(), "the other one is quiet still");

    // A batch of two, of which one is in hand and nobody is let at the other.
    site.reads("jobs queues limit maintenance --max-running 1");
    let gate = site.programs.file();
    let members =
        [site.accept(Act::WaitFor(gate.clone())).await, site.accept(Act::WaitFor(gate.clone())).await];
    let mut tx = site.programs.db.system.begin().await.expect("a transaction");
    let batch =
        enqueue_batch(&mut tx, Origin::tenant(site.tenant), "typed", &members).await.expect("accepted").id;
    tx.commit().await.expect("committed");
    eventually("one member at work", SOON, || async {
        (site.reads_json(&format!("jobs batches show {batch}"))["running"] == 1).then_some(())
    })
    .await;
    let listed = site.reads("jobs batches");
    assert!(listed.contains(&batch.to_string()) && listed.contains("0% of 2"), "{listed}");
    let shown = site.reads(&format!("jobs batches show {batch}"));
    assert!(members.iter().all(|member| shown.contains(&member.to_string())), "{shown}");
    let following = site.command(&format!("jobs batches follow {batch}")).spawn().expect("it starts");
    site.reads(&format!("jobs batches cancel {batch}"));
    for member in members {
        site.until(member, "cancelled").await;
    }
    let told = Said::from(following.wait_with_output().expect("it ends"));
    assert_eq!(told.code, Some(1), "{told:?}");
    let last = told.results.lines().last().unwrap_or_default();
    assert_eq!(last, "failed 100%: of 2 jobs 0 completed, 0 failed, 2 cancelled, 0 running", "{told:?}");
    site.reads("jobs queues limit maintenance --max-running none");

    // Whichever of the two processes `names[1]` is, one ends and the other goes on.
    site.reads(&format!("jobs workers drain {}", names[1]));
    let ended = eventually("the end of a process", SOON, || {
        let ended = [site.programs.worker.ended(), site.second_worker.ended()];
        async move { ended.into_iter().flatten().next() }
    })
    .await;
    assert_eq!(ended, Some(0));
    let last = site.accept(Act::Nothing).await;
    site.reads(&format!("jobs wait {last}"));
    let alive = site.reads_json("jobs workers")["data"].clone();
    let alive = alive.as_array().expect("a list").iter().filter(|worker| worker["alive"] == true);
    assert_eq!(alive.map(|worker| &worker["name"]).collect::<Vec<_>>(), [names[0].as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_seen_turned_on_and_off_and_run_and_what_cannot_be_done_is_refused_with_a_remedy() {
    let site = Site::start().await;
    assert!(site.rows("schedules list").contains(&"retention".to_owned()));
    assert!(site.reads("schedules enable retention").starts_with("retention is on, next 20"));
    let shown = site.reads("schedules show retention");
    assert_eq!(shown.lines().filter(|line| line.contains("T03:15:00")).count(), 5, "{shown}");
    assert_eq!(site.reads("schedules disable retention"), "retention is off\n");
    let job = site.reads("schedules run retention").trim().to_owned();
    assert_eq!(site.reads(&format!("jobs wait {job}")), format!("{job} purge_expired completed\n"));
    assert!(site.reads("schedules show retention").contains("enqueued by hand"));
    let preview = site.types("schedules preview @daily --zone America/New_York");
    assert_eq!(preview.results.lines().count(), 6, "{preview:?}");

    let done = site.accept(Act::Nothing).await;
    site.until(done, "completed").await;
    let nobody = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a";
    for (line, code, words) in [
        ("jobs show xyz".to_owned(), 2, "invalid value 'xyz'"),
        ("jobs list --since yesterday".to_owned(), 2, "nor an age such as 90m, 2h or 7d"),
        ("jobs list --limit 0".to_owned(), 2, "--limit"),
        ("jobs list --kind nonsense".to_owned(), 1, "there is crawl_source"),
        ("jobs list --queue nonsense".to_owned(), 1, "is not one of ingest, analysis, rendering"),
        (
            "jobs list --tenant acme".to_owned(),
            1,
            "`acme` is not one of all, installation, or an organization's id",
        ),
        (format!("jobs show {nobody}"), 1, "plimsoll jobs list names those that it may"),
        (format!("jobs wait {nobody}"), 1, "there is no job"),
        (format!("jobs follow {nobody}"), 1, "there is no job"),
        (format!("jobs batches show {done}"), 1, "plimsoll jobs batches lists them"),
        (format!("jobs cancel {done}"), 1, "The job is completed: it cannot be cancelled"),
        ("jobs retry".to_owned(), 2, "or by a filter such as --kind: nothing is changed without"),
        ("jobs cancel --tenant all".to_owned(), 2, "nothing is changed without"),
        (format!("jobs cancel {done} --kind send_mail"), 2, "by their ids or by a filter, not by both"),
        ("jobs queues pause nonsense".to_owned(), 1, "there is no queue `nonsense`: there are ingest"),
        (
            "jobs queues limit delivery".to_owned(),
            2,
            "name a limit: --max-running, --max-per-tenant or --rate",
        ),
        (
            "jobs queues limit delivery --rate often".to_owned(),
            2,
            "`often` is not a rate such as 10/60, or none",
        ),
        ("jobs queues limit delivery --max-running 0".to_owned(), 1, "max_running"),
        (
            "jobs workers drain nobody".to_owned(),
            1,
            "there is no worker `nobody`: plimsoll jobs workers lists them",
        ),
        (format!("jobs share {nobody} --weight 2"), 1, "there is no organization for"),
        (format!("jobs share {} --end", site.tenant), 1, "plimsoll jobs shares lists those that there are"),
        (format!("jobs share {}", site.tenant), 2, "say what to set: --weight, --max-in-flight or --end"),
        ("schedules show nonsense".to_owned(), 1, "`plimsoll schedules list` names them"),
        ("jobs list --token-file /dev/null".to_owned(), 77, "401"),
        ("jobs list --url http://127.0.0.1:1".to_owned(), 69, "cannot be reached"),
    ] {
        let said = site.types(&line);
        assert_eq!(said.code, Some(code), "{line}: {said:?}");
        assert!(said.remarks.contains(words), "{line}: {said:?}");
        assert_eq!(said.results, "", "{line}: what is refused prints no result");
    }
    let mut nobody = site.command("jobs list");
    let said = Said::from(nobody.env_remove("PLIMSOLL_TOKEN").output().expect("it starts"));
    assert_eq!(said.code, Some(78), "{said:?}");
    assert!(said.remarks.contains("give --token-file, or set PLIMSOLL_TOKEN"), "{said:?}");
}
