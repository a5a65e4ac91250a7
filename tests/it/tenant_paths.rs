//! Addresses that name an organization: open to its own people and to administrators of the installation, to nobody else.

use harness::TestApp;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_organization_is_for_administrators_of_the_installation_and_leaves_a_trace_there()
 {
    let mut app = TestApp::set_up().await;
    let own = app.tenant().await;
    let reader = app.account(own, "reader", "read_only").await;
    let (_, stranger) = app.other_tenant("strangers", "admin").await;
    let report = json!({ "title": "Theirs", "report_type": "executive_summary", "format": "json" });

    let instance_admin = app.sign_in_as(Some(stranger.clone()));
    let theirs = app.post("/api/reports/generate", &report).await.expect(202).json();
    app.sign_in_as(instance_admin.clone());
    let ours = app.post("/api/reports/generate", &report).await.expect(202).json();
    app.run_jobs().await;
    let id = |report: &serde_json::Value| report["id"].as_str().expect("an id").to_owned();
    let (theirs, ours) = (id(&theirs), id(&ours));

    for kind in ["reports", "documents"] {
        let of_theirs = format!("/api/v1/tenants/strangers/{kind}/{theirs}/download");
        let of_ours = format!("/api/v1/tenants/acme-corp/{kind}/{ours}/download");
        app.sign_in_as(instance_admin.clone());
        app.get(&of_theirs).await.expect(200);
        app.get(&of_ours).await.expect(200);
        app.get(&format!("/api/v1/tenants/strangers/{kind}/{ours}/download")).await.expect(404);
        app.get(&format!("/api/v1/tenants/nobody/{kind}/{theirs}/download")).await.expect(404);
        app.sign_in_as(Some(stranger.clone()));
        app.get(&of_theirs).await.expect(200);
        app.get(&of_ours).await.expect(404);
        app.sign_in_as(Some(reader.clone()));
        app.get(&of_ours).await.expect(200);
        app.get(&of_theirs).await.expect(404);
    }

    // Who it was is in the trail of those whose report it is.
    app.sign_in_as(Some(stranger));
    let trail = app.get("/api/audit?action=report.download&actor=admin").await.expect(200).json();
    assert_eq!(trail["total"], 2, "{trail}");
}
