//! Registries that ask who we are, mirrors, and a proxy on the way.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mote_agent::image::{ImageError, ImageRequest, Images, PullPolicy, Retry, Source};
use mote_registry::{Host, Identity, Proxies, PullSecret, PullSecrets};
use mote_tests::certificates::Authority;
use mote_tests::image::Image;
use mote_tests::link::{Link, Manner};
use mote_tests::registry::{Guard, LOGIN, Registry};
use mote_tests::token_server::TokenServer;

use crate::bench::{Bench, request};

/// Writes a docker configuration for `key` and lets the node find it.
fn log_in(bench: &mut Bench, key: &str, password: &str) -> Result<()> {
    let path = bench.path().join("config.json");
    let auth = BASE64_STANDARD.encode(format!("{}:{password}", LOGIN.0));
    fs::write(&path, format!("{{\"auths\":{{\"{key}\":{{\"auth\":\"{auth}\"}}}}}}"))?;
    bench.configure(|config| config.registries.credential_files = vec![path])
}

/// A registry behind `guard` that has the image `a:1`, and its reference there.
fn guarded(bench: &mut Bench, guard: &Guard<'_>) -> Result<(Registry, String)> {
    bench.registry.push(&Image::busybox()?, "team/a", "1")?;
    let registry = bench.registry.guarded(&bench.path().join("guarded"), guard)?;
    let reference = format!("{}/team/a:1", registry.host());
    Ok((registry, reference))
}

/// Nothing that a person sees of an error may hold a password.
fn refused(bench: &Bench, reference: &str) -> Result<ImageError> {
    let error = bench.refusal(reference)?;
    let (message, raw) = (error.message(), serde_json::to_string(&error)?);
    let auth = BASE64_STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
    for secret in [LOGIN.1, &auth] {
        ensure!(!message.contains(secret) && !raw.contains(secret), "{message}");
    }
    Ok(error)
}

fn pulls(bench: &Bench, reference: &str) -> Result<()> {
    let ensured = bench.ensure(reference, PullPolicy::Always)?;
    ensure!(matches!(ensured.source, Source::Pulled { .. }), "{ensured:?}");
    assert_eq!(bench.read(&ensured, "bin/busybox")?, fs::read("/bin/busybox")?);
    bench.holds_nothing_unfinished()
}

#[test]
fn a_registry_with_passwords_opens_to_what_dockers_file_holds() -> Result<()> {
    let mut bench = Bench::new()?;
    let (registry, reference) = guarded(&mut bench, &Guard::Password)?;
    bench.allow_plain(registry.host())?;
    let error = refused(&bench, &reference)?;
    let told = format!("there is none for {}/team/a", registry.host());
    assert!(error.message().contains(&told), "{}", error.message());
    assert_eq!((error.reason(), error.retry()), ("ErrImagePull", Retry::Later));

    log_in(&mut bench, &registry.host(), "wrong")?;
    let error = refused(&bench, &reference)?;
    assert!(error.message().contains(": UNAUTHORIZED"), "{}", error.message());

    // Of two that match, the longer is tried first, and the other opens.
    let wrong = BASE64_STANDARD.encode("nobody:wrong");
    log_in(&mut bench, &registry.host(), LOGIN.1)?;
    let path = bench.path().join("config.json");
    let text = fs::read_to_string(&path)?;
    let more = format!("{{\"auths\":{{\"{}/team\":{{\"auth\":\"{wrong}\"}},", registry.host());
    fs::write(&path, text.replace("{\"auths\":{", &more))?;
    pulls(&bench, &reference)
}

#[test]
fn a_pod_may_bring_dockers_older_form_and_hears_what_is_wrong_with_it() -> Result<()> {
    let mut bench = Bench::new()?;
    let (registry, reference) = guarded(&mut bench, &Guard::Password)?;
    bench.allow_plain(registry.host())?;
    let ask = |config: &str| {
        let (name, config) = ("registry".to_owned(), config.to_owned());
        let secrets = PullSecrets(vec![PullSecret { name, older: true, config }]);
        let request = ImageRequest { secrets, ..request(&reference, PullPolicy::Always) };
        bench.block(bench.puller.ensure(&request))
    };
    let auth = BASE64_STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
    let config = format!("{{\"{}\":{{\"auth\":\"{auth}\"}}}}", registry.host());
    let opened = ask(&config)?;
    ensure!(matches!(opened.source, Source::Pulled { .. }), "{opened:?}");
    // Nor is it passed over for what is here already: nobody would learn of it.
    let error = ask(config.trim_end_matches('}')).err().context("half of it")?;
    let told = "use imagePullSecret registry: it is not what docker writes (line 1, column ";
    ensure!(error.message().starts_with(told), "{}", error.message());
    assert_eq!((error.reason(), error.retry()), ("ErrImagePull", Retry::Later));
    Ok(())
}

#[test]
fn a_registry_with_a_token_server_opens_to_those_it_knows() -> Result<()> {
    let mut bench = Bench::new()?;
    let tokens = TokenServer::start(&bench.path().join("tokens"))?;
    let (registry, reference) = guarded(&mut bench, &Guard::Token(&tokens))?;
    bench.allow_plain(registry.host())?;
    bench.allow_plain(tokens.host())?;
    let error = refused(&bench, &reference)?;
    assert!(matches!(error, ImageError::Denied { .. }), "{error:?}");
    // The server repeats what it was shown.
    log_in(&mut bench, &registry.host(), "another-s3cret")?;
    let error = refused(&bench, &reference)?;
    assert!(error.message().contains("DENIED Basic [hidden]"), "{}", error.message());
    log_in(&mut bench, &registry.host(), LOGIN.1)?;
    pulls(&bench, &reference)?;
    log_in(&mut bench, "other.example", LOGIN.1)?;
    let other = reference.replace("team/a", "team/b");
    assert!(matches!(bench.refusal(&other)?, ImageError::Denied { .. }));
    Ok(())
}

#[test]
fn a_registry_of_an_own_authority_is_trusted_by_its_file_and_shown_our_certificate() -> Result<()> {
    let mut bench = Bench::new()?;
    let authority = Authority::new(&bench.path().join("ca"))?;
    let (registry, reference) = guarded(&mut bench, &Guard::Certificate(&authority))?;
    let trust = |ca: Option<PathBuf>, identity| {
        let host = registry.host();
        Host { host, ca, identity, ..Host::default() }
    };
    let stranger = refused(&bench, &reference)?;
    assert!(matches!(stranger, ImageError::Tls { .. }), "{stranger:?}");
    assert_eq!(stranger.retry(), Retry::Soon);

    let ca = Some(authority.certificate());
    let without = trust(ca.clone(), None);
    bench.configure(|config| config.registries.hosts.push(without))?;
    let unknown = refused(&bench, &reference)?;
    // The server says so after the handshake, which is over for us then.
    assert!(unknown.message().to_lowercase().contains("certificate"), "{}", unknown.message());

    let own = authority.issue("greenhouse-3")?;
    let identity = Identity { cert: own.certificate, key: own.key };
    let with = trust(ca, Some(identity.clone()));
    bench.configure(|config| {
        config.registries.hosts.pop();
        config.registries.hosts.push(with);
    })?;
    pulls(&bench, &reference)?;

    let absent = Identity { key: "/nonexistent/key.pem".into(), ..identity };
    bench.configure(|config| {
        config.registries.hosts.iter_mut().for_each(|host| host.identity = Some(absent.clone()));
    })?;
    let error = refused(&bench, &reference.replace("team/a", "team/b"))?;
    assert!(error.message().contains("/nonexistent/key.pem"), "{}", error.message());
    Ok(())
}

#[test]
fn a_proxy_leads_to_a_registry_that_only_it_can_find() -> Result<()> {
    let mut bench = Bench::new()?;
    let authority = Authority::new(&bench.path().join("ca"))?;
    let (registry, _) = guarded(&mut bench, &Guard::Tls(&authority))?;
    let proxy = Link::to(&registry.host(), Manner::Tunnels)?;
    let special =
        Host { host: "registry.test".into(), ca: Some(authority.certificate()), ..Host::default() };
    let between = format!("http://{}", proxy.host()).parse().ok();
    bench.configure(|config| {
        config.registries.hosts.push(special);
        config.registries.proxies = Proxies { https: between, ..Proxies::default() };
    })?;
    pulls(&bench, "registry.test/team/a:1")?;
    assert!(proxy.connections() > 0);
    Ok(())
}

#[test]
fn mirrors_serve_what_the_registry_itself_cannot() -> Result<()> {
    let mut bench = Bench::new()?;
    bench.registry.push(&Image::busybox()?, "library/a", "1")?;
    let mirror = bench.registry.host();
    let hub = Host {
        host: "hub.invalid".into(),
        mirrors: vec!["127.0.0.1:9".into(), mirror],
        ..Host::default()
    };
    bench.configure(|config| config.registries.hosts.push(hub))?;
    let reference = "hub.invalid/library/a:1";
    pulls(&bench, reference)?;
    let list = bench.block(mote_agent::image::Images::list(&bench.puller))?;
    assert_eq!(list[0].names, [reference]);
    // Where nobody can be asked, what is here serves.
    bench.registry.stop()?;
    let stale = bench.ensure(reference, PullPolicy::Always)?;
    ensure!(matches!(stale.source, Source::FallbackStale { .. }), "{stale:?}");
    Ok(())
}

#[test]
fn mirrors_that_send_something_else_block_no_image() -> Result<()> {
    let mut bench = Bench::new()?;
    let portal = TcpListener::bind("127.0.0.1:0")?;
    let page = portal.local_addr()?.to_string();
    std::thread::spawn(move || {
        let body = "<html>Please sign in</html>";
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 27\r\n\r\n";
        for stream in portal.incoming() {
            let mut stream = stream?;
            let _ = stream.read(&mut [0; 4096])?;
            stream.write_all([head, body].concat().as_bytes())?;
        }
        std::io::Result::Ok(())
    });
    let origin = Registry::start(&bench.path().join("origin"))?;
    let image = Image::busybox()?;
    let reference = origin.push(&image, "library/a", "1")?;
    // The mirror has the image, and a disk that forgets.
    bench.registry.push(&image, "library/a", "1")?;
    let good = &image.blobs().next().context("a layer")?.bytes;
    bench.registry.corrupt(image.layer_digest(0), &vec![0; good.len()])?;
    bench.allow_plain(page.clone())?;
    let mirrors = vec![page, bench.registry.host()];
    let host = Host { host: origin.host(), plain_http: true, mirrors, ..Host::default() };
    bench.configure(|config| config.registries.hosts.push(host))?;
    pulls(&bench, &reference)
}
