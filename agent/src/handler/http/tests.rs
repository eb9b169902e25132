use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::handler::tests::{Pod, answer, closed_port, listen, read_head, serve, target};
use crate::pod::handler::Port;

/// Nothing takes this long, however loaded the machine is.
const LIMIT: Duration = Duration::from_mins(1);

fn get(path: &str) -> HttpGet {
    let (host, path) = (String::new(), path.to_owned());
    HttpGet { host, port: Port::Number(1), path, https: false, headers: vec![] }
}

fn https(path: &str) -> HttpGet {
    HttpGet { https: true, ..get(path) }
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(location: &str) -> String {
    response("302 Found", &format!("Location: {location}\r\n"), "moved")
}

/// Probes a server that gives these answers; gives the outcome and what it was asked.
async fn ask(get: &HttpGet, texts: &[String]) -> (Outcome, Vec<String>) {
    let (listener, port) = listen().await;
    ask_at(get, &listener, port, texts).await
}

async fn ask_at(
    get: &HttpGet,
    listener: &TcpListener,
    port: u16,
    texts: &[String],
) -> (Outcome, Vec<String>) {
    let (pod, target) = (Pod::default(), target());
    tokio::join!(probe(&pod, &target, get, port, LIMIT), serve(listener, texts))
}

fn acceptor() -> TlsAcceptor {
    let certified = generate_simple_self_signed(vec!["somebody.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn the_status_decides() {
    for (status, success) in [
        ("200 OK", true),
        ("204 No Content", true),
        ("399 Odd", true),
        ("400 Bad Request", false),
        ("503 Unavailable", false),
    ] {
        let (outcome, _) = ask(&get("/"), &[response(status, "", "secret")]).await;
        let code = status.get(..3).unwrap();
        match outcome {
            Outcome::Success | Outcome::Warning(_) => assert!(success, "{status}"),
            Outcome::Failure(text) => {
                assert!(!success, "{status}");
                assert_eq!(text, format!("HTTP probe failed with statuscode: {code}"));
            }
            Outcome::Errored(text) => panic!("{status}: {text}"),
        }
    }
}

#[tokio::test]
async fn a_request_says_who_asks_and_asks_for_no_more() {
    let (listener, port) = listen().await;
    let asked = HttpGet {
        headers: vec![("X-Token".into(), "a".into()), ("X-Token".into(), "b".into())],
        ..get("/health z?full=1#top")
    };
    let ok = [response("200 OK", "", "")];
    let (outcome, heads) = ask_at(&asked, &listener, port, &ok).await;
    assert_eq!(outcome, Outcome::Success);
    let mut lines: Vec<_> = heads[0].trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET /health%20z?full=1 HTTP/1.1");
    lines.sort_unstable();
    let host = format!("Host: 127.0.0.1:{port}");
    let expected = [
        "Accept: */*",
        "Connection: close",
        &host,
        "User-Agent: kube-probe/1.32",
        "X-Token: a",
        "X-Token: b",
    ];
    assert_eq!(lines, expected);
    let named = HttpGet { headers: vec![("Host".into(), "web.example".into())], ..get("/") };
    let (_, heads) = ask(&named, &ok).await;
    assert!(heads[0].contains("Host: web.example\r\n"), "{}", heads[0]);
    assert_eq!(heads[0].matches("Host: ").count(), 1);
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host() {
    let (listener, port) = listen().await;
    let asked = HttpGet { headers: vec![("Host".into(), "web.example".into())], ..get("/a/b") };
    let texts = [
        redirect("c?d"),
        redirect(&format!("http://127.0.0.1:{port}/e")),
        response("200 OK", "", "here"),
    ];
    let (outcome, heads) = ask_at(&asked, &listener, port, &texts).await;
    assert_eq!(outcome, Outcome::Success);
    let lines: Vec<_> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
    assert_eq!(lines, ["GET /a/b HTTP/1.1", "GET /a/c?d HTTP/1.1", "GET /e HTTP/1.1"]);
    // The name that was asked for stays until the server names itself.
    assert!(heads[1].contains("Host: web.example\r\n"), "{}", heads[1]);
    assert!(heads[2].contains(&format!("Host: 127.0.0.1:{port}\r\n")), "{}", heads[2]);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let terminated = "Probe terminated redirects, Response body: moved";
    let (outcome, heads) = ask(&get("/"), &[redirect("http://elsewhere.example/")]).await;
    assert_eq!((outcome, heads.len()), (Outcome::Warning(terminated.into()), 1));
    // And without a place to go there is nothing to follow.
    let (outcome, _) = ask(&get("/"), &[response("302 Found", "", "moved")]).await;
    assert_eq!(outcome, Outcome::Warning(terminated.into()));
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let texts: Vec<_> = (0..10).map(|_| redirect("/again")).collect();
    let (outcome, heads) = ask(&get("/again"), &texts).await;
    let text = "Get \"/again\": stopped after 10 redirects";
    assert_eq!((outcome, heads.len()), (Outcome::Failure(text.into()), 10));
}

#[tokio::test]
async fn a_long_body_is_not_read_to_its_end() {
    let endless = format!("HTTP/1.1 302 Found\r\n\r\n{}", "x".repeat(1024 * 1024));
    let (outcome, _) = ask(&get("/"), &[endless]).await;
    let Outcome::Warning(text) = outcome else { panic!("{outcome:?}") };
    let start = "Probe terminated redirects, Response body: ".len();
    assert_eq!(text.len(), start + 10 * 1024);
}

#[tokio::test]
async fn why_there_is_no_answer_is_told_in_the_kubelets_words() {
    let (pod, target, port) = (Pod::default(), target(), closed_port().await);
    let outcome = probe(&pod, &target, &get("/x"), port, LIMIT).await;
    let text = format!(
        "Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!(outcome, Outcome::Failure(text));
    let (listener, port) = listen().await;
    let (outcome, _) = ask_at(&get("/"), &listener, port, &[String::new()]).await;
    assert_eq!(outcome, Outcome::Failure(format!("Get \"http://127.0.0.1:{port}/\": EOF")));
    let asked = HttpGet { headers: vec![("X-A".into(), "a\nb".into())], ..get("/") };
    let outcome = probe(&pod, &target, &asked, port, LIMIT).await;
    let text = "net/http: invalid header field value for \"X-A\"";
    assert_eq!(outcome, Outcome::Failure(format!("Get \"http://127.0.0.1:{port}/\": {text}")));
    let gone = Pod { is_gone: true, ..Pod::default() };
    let outcome = probe(&gone, &target, &get("/"), port, LIMIT).await;
    assert!(matches!(outcome, Outcome::Errored(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_is_too_slow_has_failed() {
    let (listener, port) = listen().await;
    let (pod, target, asked) = (Pod::default(), target(), get("/slow"));
    let limit = Duration::from_millis(200);
    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        // Until the client hangs up.
        read_head(&mut stream).await
    };
    let (outcome, _) = tokio::join!(probe(&pod, &target, &asked, port, limit), silent);
    let over = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let text = format!("Get \"http://127.0.0.1:{port}/slow\": {over}");
    assert_eq!(outcome, Outcome::Failure(text));
    let halting = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        tokio::io::AsyncWriteExt::write_all(&mut stream, begun).await.unwrap();
        read_head(&mut stream).await
    };
    let (outcome, _) = tokio::join!(probe(&pod, &target, &asked, port, limit), halting);
    let over = "(Client.Timeout or context cancellation while reading body)";
    assert_eq!(outcome, Outcome::Failure(format!("context deadline exceeded {over}")));
}

#[tokio::test]
async fn tls_is_spoken_with_whoever_answers() {
    let (listener, port) = listen().await;
    let (pod, target, asked) = (Pod::default(), target(), https("/"));
    let served = async {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor().accept(stream).await.unwrap();
        answer(stream, &response("200 OK", "", "")).await
    };
    let (outcome, head) = tokio::join!(probe(&pod, &target, &asked, port, LIMIT), served);
    assert_eq!(outcome, Outcome::Success);
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
}

/// Answers a handshake of TLS as HTTP servers do.
async fn refuse_tls(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let bad = response("400 Bad Request", "", "speak HTTP");
    tokio::io::AsyncWriteExt::write_all(&mut stream, bad.as_bytes()).await.unwrap();
    // Closing with unread bytes would reset the connection under the answer.
    while tokio::io::AsyncReadExt::read_u8(&mut stream).await.is_ok() {}
}

#[tokio::test]
async fn a_server_without_tls_fails_a_probe() {
    let (listener, port) = listen().await;
    let (pod, target, asked) = (Pod::default(), target(), https("/"));
    let (outcome, ()) =
        tokio::join!(probe(&pod, &target, &asked, port, LIMIT), refuse_tls(&listener));
    let text = "http: server gave HTTP response to HTTPS client";
    assert_eq!(outcome, Outcome::Failure(format!("Get \"https://127.0.0.1:{port}/\": {text}")));
}

#[tokio::test]
async fn a_hook_without_tls_is_repeated_without_its_password() {
    let (listener, port) = listen().await;
    let headers = vec![("Authorization".into(), "Basic x".into()), ("X-A".into(), "1".into())];
    let (pod, target, asked) = (Pod::default(), target(), HttpGet { headers, ..https("/stop") });
    let served = async {
        refuse_tls(&listener).await;
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, &response("200 OK", "", "")).await
    };
    let (result, head) = tokio::join!(hook(&pod, &target, &asked, port), served);
    let host = format!("127.0.0.1:{port}");
    assert_eq!(result, Ok(HookDone::OverHttp { host }));
    assert!(head.starts_with("GET /stop HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("User-Agent: kube-lifecycle/1.32\r\n"), "{head}");
    assert!(head.contains("X-A: 1\r\n") && !head.contains("Authorization"), "{head}");
}

#[tokio::test]
async fn a_hook_does_not_care_for_the_status() {
    let (listener, port) = listen().await;
    let (pod, target, asked) = (Pod::default(), target(), get("/"));
    let texts = [response("500 Broken", "", "")];
    let (result, _) = tokio::join!(hook(&pod, &target, &asked, port), serve(&listener, &texts));
    assert_eq!(result, Ok(HookDone::AsAsked));
    drop(listener);
    let error = hook(&pod, &target, &asked, port).await.expect_err("nobody listens");
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(error.to_string(), format!("Get \"http://127.0.0.1:{port}/\": {refused}"));
}
