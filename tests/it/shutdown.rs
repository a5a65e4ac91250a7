//! Stopping: what is under way is finished, and a second signal means now.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use harness::{Program, eventually};
use runtime::egress::Method;
use serde_json::Value;

use crate::programs::{Programs, SOON};

async fn exit_code(program: &mut Program) -> Option<i32> {
    let program = std::cell::RefCell::new(program);
    eventually("the end of the process", SOON, || async { program.borrow_mut().ended() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_behind_a_balancer_that_asks_for_readiness() {
    let programs = Programs::start(&[("SHUTDOWN_DELAY_SECONDS", "5")]).await;
    let programs = Arc::new(programs);
    let (ready, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (programs, ready, answered) = (programs.clone(), ready.clone(), answered.clone());
            tokio::spawn(async move {
                while ready.load(Ordering::SeqCst) {
                    let (status, answer) =
                        programs.send(Method::GET, "/api/assets/", &[], &Value::Null).await;
                    assert_eq!(status, 200, "{answer}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    eventually("load", SOON, || async { (answered.load(Ordering::SeqCst) > 50).then_some(()) }).await;
    programs.api.signal("TERM");
    let said =
        eventually("the end of readiness", SOON, || async { programs.api.probe("/readyz").err() }).await;
    assert!(said.to_string().contains("stopping"), "{said}");
    ready.store(false, Ordering::SeqCst);
    for client in clients {
        client.await.expect("every request was answered");
    }
    let mut programs = Arc::into_inner(programs).expect("nobody else has it");
    assert_eq!(exit_code(&mut programs.api).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_program_is_in_the_status_while_it_lives_and_ends_with_0_when_asked_once() {
    let mut programs = Programs::start(&[]).await;
    let roles = eventually("three processes", SOON, || async {
        let (_, status) = programs.send(Method::GET, "/api/system/status", &[], &Value::Null).await;
        let nodes = status["nodes"].as_array()?.iter();
        let alive = nodes.filter(|node| node["alive"] == true && node["version"] == runtime::VERSION);
        let roles: BTreeSet<String> = alive.filter_map(|node| Some(node["role"].as_str()?.into())).collect();
        (roles.len() == 3).then_some(roles)
    });
    assert_eq!(roles.await, ["api", "scheduler", "worker"].map(String::from).into());
    for program in [&programs.api, &programs.worker, &programs.scheduler] {
        program.signal("TERM");
    }
    for program in [&mut programs.api, &mut programs.worker, &mut programs.scheduler] {
        assert_eq!(exit_code(program).await, Some(0), "{}", program.log());
    }
    let left: i64 =
        sqlx::query_scalar("select (select count(*) from processes) + (select count(*) from workers)")
            .fetch_one(programs.db.pool())
            .await
            .expect("counted");
    assert_eq!(left, 0, "whoever ends in order signs off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_api_at_once() {
    let mut programs = Programs::start(&[("SHUTDOWN_DELAY_SECONDS", "600")]).await;
    programs.api.signal("TERM");
    eventually("the end of readiness", SOON, || async { programs.api.probe("/readyz").err() }).await;
    programs.api.signal("INT");
    assert_eq!(exit_code(&mut programs.api).await, Some(130));
}
