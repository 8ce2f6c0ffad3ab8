//! Who is told when a call is over: actions, triggers and receivers of callbacks.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use triplane_testkit::TempDir;
use triplane_testkit::json::{at, text};

use crate::platform::Platform;

#[tokio::test]
async fn an_action_gets_the_result_and_another_the_failure() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let annotations = json!({"async-on-success": "/_/good", "async-on-failure": "/_/bad"});
    let code = "function main(p) { return p.fail ? { error: 'no' } : { n: p.n } }";
    let _ = guest.create_annotated("works", code, annotations).await.expect(200);
    for name in ["good", "bad"] {
        guest.create(name, "function main(p) { return p }").await;
    }
    for (payload, told, expected) in [
        (json!({"n": 7}), "good", json!({"status": "success", "success": true, "result": {"n": 7}})),
        (
            json!({"fail": true}),
            "bad",
            json!({"status": "application error", "success": false, "result": {"error": "no"}}),
        ),
    ] {
        let id = guest.fire("works", payload).await;
        let list = format!("/api/v1/namespaces/_/activations?name={told}&docs=true");
        let record = triplane_testkit::wait_for(crate::platform::SOON, "it is told", async || {
            guest.0.get(&list).await.expect(200).json().get(0).cloned()
        })
        .await;
        assert_eq!(text(&record, "cause"), id);
        let result = at(&record, "response.result");
        assert_eq!((text(result, "activationId"), text(result, "action")), (id.as_str(), "/guest/works"));
        assert_eq!((text(result, "state"), at(result, "response")), ("done", &expected));
    }
}

#[tokio::test]
async fn a_trigger_is_fired_with_the_result_and_calls_the_actions_of_its_rules() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let put = async |path: &str, body: Value| {
        let path = format!("/api/v1/namespaces/_/{path}");
        let _ = guest.0.put(&path, &body).await.expect(200);
    };
    put("triggers/t", json!({"parameters": [{"key": "from", "value": "t"}]})).await;
    for name in ["one", "two"] {
        guest.create(name, "function main(p) { return p }").await;
        put(&format!("rules/{name}-rule"), json!({"trigger": "/_/t", "action": format!("/_/{name}")})).await;
    }
    let annotations = json!({"async-on-success": "trigger:/_/t"});
    let _ =
        guest.create_annotated("works", "function main() { return { n: 7 } }", annotations).await.expect(200);
    let id = guest.fire("works", json!({})).await;
    for name in ["one", "two"] {
        let list = format!("/api/v1/namespaces/_/activations?name={name}&docs=true");
        let record = triplane_testkit::wait_for(crate::platform::SOON, "the rule's action ran", async || {
            guest.0.get(&list).await.expect(200).json().get(0).cloned()
        })
        .await;
        let result = at(&record, "response.result");
        assert_eq!((text(result, "activationId"), text(result, "from")), (id.as_str(), "t"));
        assert_eq!(at(result, "response.result"), &json!({"n": 7}));
        let fired =
            guest.0.get(&format!("/api/v1/namespaces/_/activations/{}", text(&record, "cause"))).await;
        let fired = fired.expect(200).json();
        assert_eq!((text(&fired, "name"), text(&fired, "cause")), ("t", id.as_str()));
    }
}

/// An address of this machine that is not loopback, which no policy lets a callback reach.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.200:9").ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// What a receiver got: its head and its body.
struct Posted {
    head: String,
    body: String,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// Whether the signature is that of Standard Webhooks under a key as it is shown.
    fn is_signed_by(&self, key: &str) -> bool {
        let key = STANDARD.decode(key.strip_prefix("whsec_").unwrap()).unwrap();
        let message =
            format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(message.as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature") == signature
    }
}

/// Takes one post and answers it.
async fn receive(listener: &TcpListener, status: &str) -> Posted {
    let (stream, _) = listener.accept().await.unwrap();
    take(stream, status).await
}

async fn take(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str) -> Posted {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let posted = Posted { head: head.to_owned(), body: body.to_owned() };
            if posted.body.len() == posted.header("content-length").parse::<usize>().unwrap() {
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                return posted;
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the post is cut");
    }
}

#[tokio::test]
async fn a_callback_is_posted_signed_and_posted_again_when_the_receiver_fails() {
    let Some(ip) = own_address() else {
        println!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let directory = TempDir::new("callbacks");
    let platform = platform_that_reaches(ip, &directory, &[]).await;
    let guest = platform.guest();
    guest.create("works", "function main(p) { return p }").await;
    let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await.unwrap();
    let address = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let answer =
        guest.fire_with("works", json!({"n": 7}), &[("x-triplane-async-on-success", &address)]).await;
    let id = text(&answer.expect(202).json(), "activationId").to_owned();

    let first = receive(&listener, "503 Service Unavailable").await;
    let second = receive(&listener, "204 No Content").await;

    assert!(second.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{}", second.head);
    let body: Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!((text(&body, "activationId"), at(&body, "response.result")), (id.as_str(), &json!({"n": 7})));
    assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
    let key = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["async", "callback-key", "--ns", "guest"])
        .env("TRIPLANE_DATA", platform.data.path())
        .output()
        .unwrap();
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    assert!(first.is_signed_by(&key) && second.is_signed_by(&key), "{}", second.head);
    let record = guest.record(second.header("webhook-id")).await;
    assert_eq!(
        (text(&record, "cause"), at(&record, "response.result")),
        (id.as_str(), &json!({"status": 204}))
    );
}

/// A platform that may call back to an address of this machine.
async fn platform_that_reaches(ip: IpAddr, directory: &TempDir, environment: &[(&str, &str)]) -> Platform {
    let file = directory.path().join("triplane.toml");
    std::fs::write(&file, format!("[network]\negress = [\"{ip}\"]\n")).unwrap();
    Platform::set_up(|mut settings| {
        settings.arguments = vec!["--config".to_owned(), file.to_str().unwrap().to_owned()];
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.environment.extend(pairs);
        settings
    })
    .await
}

/// A receiver with a certificate of its own for an address, and the file that says to trust it.
fn trusted(ip: IpAddr, directory: &TempDir) -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed([ip.to_string()]).unwrap();
    let file = directory.path().join("trusted.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(std::sync::Arc::new(config)), file.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_callback_goes_to_an_https_receiver_that_is_trusted_and_to_no_other() {
    let Some(ip) = own_address() else {
        println!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let directory = TempDir::new("callbacks");
    let (acceptor, file) = trusted(ip, &directory);
    let (stranger, _) = trusted(ip, &TempDir::new("stranger"));
    let platform = platform_that_reaches(ip, &directory, &[("SSL_CERT_FILE", &file)]).await;
    let guest = platform.guest();
    guest.create("works", "function main(p) { return p }").await;
    let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await.unwrap();
    let address = format!("https://{}/hook", listener.local_addr().unwrap());
    let answer = guest.fire_with("works", json!({}), &[("x-triplane-async-on-success", &address)]).await;
    let id = text(&answer.expect(202).json(), "activationId").to_owned();

    let (stream, _) = listener.accept().await.unwrap();
    assert!(stranger.accept(stream).await.is_err(), "nobody vouches for it");
    let (stream, _) = listener.accept().await.unwrap();
    let posted = take(acceptor.accept(stream).await.unwrap(), "200 OK").await;

    let body: Value = serde_json::from_str(&posted.body).unwrap();
    assert_eq!(text(&body, "activationId"), id);
    let record = guest.record(posted.header("webhook-id")).await;
    assert_eq!(at(&record, "response.result"), &json!({"status": 200}));
}

#[tokio::test]
async fn a_callback_does_not_reach_the_machine_itself() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("works", "function main(p) { return p }").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let answer = guest.fire_with("works", json!({}), &[("x-triplane-async-on-success", &address)]).await;
    let _ = guest.record(text(&answer.expect(202).json(), "activationId")).await;
    let calls =
        format!("/api/v1/namespaces/_/async?action={}", address.replace(':', "%3A").replace('/', "%2F"));
    let call = triplane_testkit::wait_for(crate::platform::SOON, "it was tried", async || {
        let calls = guest.0.get(&calls).await.expect(200).json();
        calls.get(0).filter(|call| call["state"] == "retry").cloned()
    })
    .await;
    assert_eq!((text(&call, "action"), text(&call, "lastFailure")), (address.as_str(), "timeout"));
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("it came through"),
        () = std::future::ready(()) => {}
    }
}
