//! What actions reach: the platform's API, and not what else the machine has.

use serde_json::json;
use triplane_testkit::TempDir;

use crate::platform::Platform;

/// Asks the API under the address that it was told, and the admin listener under the one that only the machine has.
const ASK: &str = "async function main(p) {
    const ask = url => fetch(url).then(r => r.status, e => (e.cause && e.cause.code) || String(e))
    return { host: process.env.__OW_API_HOST, api: await ask(process.env.__OW_API_HOST + '/api/v1'),
             admin: await ask(p.admin) }
}";

#[tokio::test]
async fn an_action_reaches_the_api_and_not_the_admin_listener() {
    let platform = Platform::start().await;
    let ready = platform.server.admin.get("/readyz").await.expect(200).json();
    let guest = platform.guest();
    guest.create("asks", ASK).await;
    let admin = format!("{}/healthz", platform.server.admin.base());
    let result = guest.result("asks", json!({ "admin": admin })).await;
    assert_eq!(result["api"], json!(200), "{result}");
    if ready["roles"]["node"]["isolation"]["network"] == json!("enforced") {
        assert_eq!(result["admin"], json!("ECONNREFUSED"), "{result}");
    } else {
        println!("SKIPPED: networks are not isolated here: {ready}");
    }
}

#[tokio::test]
async fn an_operator_may_leave_actions_no_network() {
    let directory = TempDir::new("network");
    let file = directory.path().join("triplane.toml");
    std::fs::write(&file, "[network]\negress = \"none\"\n").unwrap();
    let platform = Platform::with(&["--config", file.to_str().unwrap()]).await;
    let guest = platform.guest();
    guest.create("asks", ASK).await;
    let result = guest.result("asks", json!({"admin": "http://127.0.0.1:1/"})).await;
    assert_ne!(result["api"], json!(200), "{result}");
    let interfaces = "function main() { return { names: Object.keys(require('os').networkInterfaces()) } }";
    guest.create("lists", interfaces).await;
    assert_eq!(guest.result("lists", json!({})).await, json!({"names": ["lo"]}));
}
