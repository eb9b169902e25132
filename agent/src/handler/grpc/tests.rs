use bytes::Bytes;
use h2::server;
use hyper::{HeaderMap, Response};
use tokio::net::TcpListener;

use super::*;
use crate::handler::tests::{Pod, answer as answer_http, closed_port, listen, target};

/// Nothing takes this long, however loaded the machine is.
const LIMIT: Duration = Duration::from_mins(1);

/// What the server says to one call.
#[derive(Clone, Default)]
struct Say {
    status: u16,
    message: &'static [u8],
    trailers: &'static [(&'static str, &'static str)],
    /// The trailers come instead of headers and message.
    trailers_only: bool,
}

/// A call as the server saw it: its headers, and its message.
struct Seen {
    headers: HeaderMap,
    path: String,
    message: Vec<u8>,
}

/// Serves one call with the `h2` crate, which nothing of the client is made of.
async fn serve(listener: &TcpListener, say: Say) -> Seen {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let (parts, mut body) = request.into_parts();
    let exchange = async {
        let mut message = Vec::new();
        while let Some(chunk) = body.data().await {
            message.extend_from_slice(&chunk.unwrap());
        }
        let trailers: HeaderMap = say
            .trailers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let mut head = Response::builder().status(say.status);
        // Twice, so that an encoder with a dynamic table would refer to it.
        head = head.header("content-type", "application/grpc").header("x-a", "b c d");
        let mut head = head.header("x-a", "b c d").body(()).unwrap();
        if say.trailers_only {
            head.headers_mut().extend(trailers);
            respond.send_response(head, true).unwrap();
        } else {
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(say.message), false).unwrap();
            stream.send_trailers(trailers).unwrap();
        }
        message
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut message = None;
    loop {
        tokio::select! {
            read = &mut exchange, if message.is_none() => message = Some(read),
            next = connection.accept() => if next.is_none_or(|next| next.is_err()) { break },
        }
    }
    let path = parts.uri.path().to_owned();
    Seen { headers: parts.headers, path, message: message.unwrap() }
}

async fn ask(service: &str, say: Say) -> (Outcome, Seen) {
    let (listener, port) = listen().await;
    let (pod, target) = (Pod::default(), target());
    tokio::join!(probe(&pod, &target, port, service, LIMIT), serve(&listener, say))
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];

#[tokio::test]
async fn a_real_server_that_serves_is_well() {
    let say = Say { status: 200, message: b"\0\0\0\0\x02\x08\x01", trailers: OK, ..Say::default() };
    let (outcome, seen) = ask("shop.Cart", say).await;
    assert_eq!(outcome, Outcome::Success);
    assert_eq!(seen.path, "/grpc.health.v1.Health/Check");
    assert_eq!(seen.message, *b"\0\0\0\0\x0b\x0a\x09shop.Cart");
    let header = |name: &str| seen.headers.get(name).unwrap().to_str().unwrap();
    assert_eq!(header("content-type"), "application/grpc");
    assert_eq!(header("te"), "trailers");
    assert_eq!(header("user-agent"), "kube-probe/1.32");
    assert_eq!(header("grpc-timeout"), "60000m");
}

#[tokio::test]
async fn a_long_name_of_a_service_is_asked_for_whole() {
    let say = Say { status: 200, message: b"\0\0\0\0\x02\x08\x01", trailers: OK, ..Say::default() };
    let service = "s".repeat(10_000);
    let (outcome, seen) = ask(&service, say).await;
    assert_eq!(outcome, Outcome::Success);
    assert_eq!(seen.message.len(), 5 + 3 + 10_000);
    let (pod, target, (_listener, port)) = (Pod::default(), target(), listen().await);
    let outcome = probe(&pod, &target, port, &"s".repeat(20_000), LIMIT).await;
    assert!(matches!(outcome, Outcome::Failure(_)), "{outcome:?}");
}

#[tokio::test]
async fn what_a_real_server_says_instead_is_told() {
    let serving = |message| Say { status: 200, message, trailers: OK, ..Say::default() };
    let only = |trailers| Say { status: 200, trailers, trailers_only: true, ..Say::default() };
    let failed = "error: health rpc probe failed: rpc error: code =";
    for (say, expected) in [
        (
            serving(b"\0\0\0\0\x02\x08\x02"),
            "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
        ),
        (serving(b"\0\0\0\0\0"), "service unhealthy (responded with \"UNKNOWN\")".to_owned()),
        (
            only(&[("grpc-status", "12"), ("grpc-message", "unknown service x%21")]),
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): unknown service x!"
                .to_owned(),
        ),
        (
            only(&[("grpc-status", "5"), ("grpc-message", "unknown service")]),
            format!("{failed} NotFound desc = unknown service"),
        ),
        (
            Say { status: 503, trailers_only: true, ..Say::default() },
            format!(
                "{failed} Unavailable desc = unexpected HTTP status code received from server: 503"
            ),
        ),
        (
            serving(b"nonsense"),
            format!("{failed} Internal desc = the answer is no HealthCheckResponse"),
        ),
    ] {
        let (outcome, _) = ask("", say).await;
        assert_eq!(outcome, Outcome::Failure(expected));
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_by_its_address() {
    let (pod, target, port) = (Pod::default(), target(), closed_port().await);
    let at = format!("127.0.0.1:{port}");
    let outcome = probe(&pod, &target, port, "", LIMIT).await;
    let refused = format!("dial tcp {at}: connect: connection refused");
    let text = format!("error: failed to connect service at \"{at}\": {refused}");
    assert_eq!(outcome, Outcome::Failure(text));
    let gone = Pod { is_gone: true, ..Pod::default() };
    let outcome = probe(&gone, &target, port, "", LIMIT).await;
    assert!(matches!(outcome, Outcome::Errored(_)), "{outcome:?}");
    // One that speaks something else.
    let (listener, port) = listen().await;
    let other = async {
        let (stream, _) = listener.accept().await.unwrap();
        answer_http(stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await
    };
    let (outcome, _) = tokio::join!(probe(&pod, &target, port, "", LIMIT), other);
    let Outcome::Failure(text) = outcome else { panic!("{outcome:?}") };
    let start = format!("error: failed to connect service at \"127.0.0.1:{port}\": ");
    assert!(text.starts_with(&start), "{text}");
}

#[tokio::test]
async fn a_server_that_is_too_slow_has_failed() {
    let (pod, target, (listener, port)) = (Pod::default(), target(), listen().await);
    let limit = Duration::from_millis(200);
    let outcome = probe(&pod, &target, port, "", limit).await;
    let at = format!("127.0.0.1:{port}");
    let within = format!("failed to connect service \"{at}\" within 200ms");
    let text = format!("timeout: {within}: context deadline exceeded");
    assert_eq!(outcome, Outcome::Failure(text));
    drop(listener);
    let (listener, port) = listen().await;
    let deaf = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = server::handshake(stream).await.unwrap();
        let _held = connection.accept().await;
        while connection.accept().await.is_some_and(|next| next.is_ok()) {}
    };
    let (outcome, ()) = tokio::join!(probe(&pod, &target, port, "", limit), deaf);
    let text = "timeout: health rpc did not complete within 200ms";
    assert_eq!(outcome, Outcome::Failure(text.into()));
}
