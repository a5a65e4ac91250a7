//! What an operator asks the API.

use harness::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_with_what_they_have_in_hand_and_whether_they_live() {
    let app = TestApp::set_up().await;
    sqlx::query(
        "insert into workers (name, host, version, queues, slots, heartbeat_at)
         values ('alive', 'a', '1', '{rendering}', 2, now()), ('gone', 'b', '1', '{ingest}', 4, now() - interval '5 minutes')",
    )
    .execute(app.db.pool())
    .await
    .expect("two workers");
    let page = app.get("/api/workers").await.expect(200).json();
    assert_eq!(page["total"], 2);
    assert_eq!((&page["data"][0]["name"], &page["data"][0]["alive"]), (&"alive".into(), &true.into()));
    assert_eq!((&page["data"][1]["name"], &page["data"][1]["alive"]), (&"gone".into(), &false.into()));
    assert_eq!(page["data"][0]["running"], 0);
}
