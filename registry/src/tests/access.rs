//! Names and passwords, mirrors, and a proxy in between.

use super::*;

/// A file of docker's with these entries of key, name and password.
fn docker_config(entries: &[(&str, &str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, user, password)| {
            format!("\"{key}\":{{\"username\":\"{user}\",\"password\":\"{password}\"}}")
        })
        .collect();
    std::fs::write(&path, format!("{{\"auths\":{{{}}}}}", entries.join(","))).unwrap();
    (directory, path)
}

fn settings_of(hosts: &[&Server]) -> Settings {
    client(hosts).client.transport().settings().clone()
}

const BASIC: &str = "www-authenticate: Basic realm=\"x\"";
/// `good:secret`
const GOOD: &str = "Basic Z29vZDpzZWNyZXQ=";

#[test]
fn each_matching_name_is_tried_until_one_opens_and_is_kept() {
    let server = Server::new(|request| match request.header("authorization") {
        Some(GOOD) => answer("200 OK", &[], MANIFEST),
        _ => answer("401 Unauthorized", &[BASIC], b""),
    });
    let host = server.host();
    let longer = format!("{host}/a");
    let (_directory, file) = docker_config(&[(&longer, "bad", "wrong"), (&host, "good", "secret")]);
    let settings = Settings { credential_files: vec![file], ..settings_of(&[&server]) };
    let mut client = Registry::new(settings, &PullSecrets::default()).unwrap();
    client.manifest(&reference(&server), None).unwrap();
    client.manifest(&reference(&server), None).unwrap();
    let shown: Vec<_> = server
        .seen()
        .iter()
        .map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    let bad = Some("Basic YmFkOndyb25n".to_owned());
    assert_eq!(shown, [None, bad, Some(GOOD.to_owned()), Some(GOOD.to_owned())]);
}

#[test]
fn a_token_server_is_shown_the_name_and_nobody_hears_the_password_back() {
    let tokens = Server::new(|request| match request.header("authorization") {
        Some(GOOD) => answer("200 OK", &[], br#"{"token":"t0ken"}"#),
        _ => answer("401 Unauthorized", &[], b"no such user with the password secret"),
    });
    let realm = tokens.host();
    let registry = Server::new(move |request| {
        if request.header("authorization") == Some("Bearer t0ken") {
            return answer("200 OK", &[], MANIFEST);
        }
        let challenge = format!("www-authenticate: Bearer realm=\"http://{realm}/token\"");
        answer("401 Unauthorized", &[&challenge], b"")
    });
    let ask = |user: &str| {
        let (_directory, file) = docker_config(&[(&registry.host(), user, "secret")]);
        let settings =
            Settings { credential_files: vec![file], ..settings_of(&[&registry, &tokens]) };
        Registry::new(settings, &PullSecrets::default())
            .unwrap()
            .manifest(&reference(&registry), None)
    };
    assert!(ask("good").is_ok());
    let asked = tokens.seen().remove(0).line;
    assert_eq!(asked, "GET /token?scope=repository%3Aa%2Fb%3Apull&account=good HTTP/1.1");
    let error = chain(&ask("evil").err().unwrap());
    let told =
        format!("with the entry for {}: no such user with the password [hidden]", registry.host());
    assert!(error.contains(&told), "{error}");
}

#[test]
fn what_opened_one_repository_is_kept_while_others_are_asked_for() {
    let mut made = 0;
    let tokens = Server::new(move |_| {
        made += 1;
        answer("200 OK", &[], format!("{{\"token\":\"t0ken-{made}\"}}").as_bytes())
    });
    let realm = tokens.host();
    let registry = Server::new(move |request| match request.header("authorization") {
        Some(token) if request.line.contains("/secret/") => {
            answer("403 Forbidden", &[], format!("{token} and t0ken-1").as_bytes())
        }
        Some(_) => answer("200 OK", &[], MANIFEST),
        None => {
            let challenge = format!("www-authenticate: Bearer realm=\"http://{realm}/token\"");
            answer("401 Unauthorized", &[&challenge], b"")
        }
    });
    let mut client = client(&[&registry, &tokens]);
    let mut ask = |repository: String| {
        let reference = format!("{}/{repository}:1", registry.host());
        client.manifest(&reference.parse().unwrap(), None)
    };
    // More than the secrets that are remembered.
    for _ in 0..2 {
        (0..80).for_each(|number| drop(ask(format!("r{number}")).unwrap()));
    }
    assert_eq!(tokens.seen().len(), 80);
    let error = chain(&ask("a/secret/b".to_owned()).err().unwrap());
    assert_eq!(error, "Bearer [hidden] and [hidden]");
}

#[test]
fn mirrors_are_asked_in_order_and_a_download_goes_on_at_the_next() {
    let data = vec![7; 50_000];
    let half = data.clone();
    let broken = Server::new(move |request| {
        if request.line.contains("/blobs/") {
            // It begins well, and then is gone for good.
            return match request.header("range") {
                None => {
                    let mut bytes = answer("200 OK", &[], &half);
                    bytes.truncate(bytes.len() - 20_000);
                    bytes
                }
                Some(_) => answer("410 Gone", &[], b""),
            };
        }
        answer("200 OK", &[], MANIFEST)
    });
    let empty = Server::new(|_| answer("404 Not Found", &[], b""));
    let whole = data.clone();
    let registry = Server::new(move |request| {
        let from: usize =
            match request.header("range").and_then(|range| range.strip_prefix("bytes=")) {
                Some(range) => range.trim_end_matches('-').parse().unwrap(),
                None => 0,
            };
        let range = format!("content-range: bytes {from}-49999/50000");
        answer("206 Partial Content", &[&range], &whole[from..])
    });
    let mut settings = settings_of(&[&registry, &broken, &empty]);
    settings.hosts[0].mirrors = vec![empty.host(), broken.host()];
    let mut client = Registry::new(settings, &PullSecrets::default()).unwrap();
    let reference = reference(&registry);
    client.manifest(&reference, None).unwrap();
    let mut read = Vec::new();
    client.blob(&reference, &Descriptor::of(&data), 0).read_to_end(&mut read).unwrap();
    assert!(read == data);
    let ns = format!("ns={}", registry.host().replace(':', "%3A"));
    assert_eq!(broken.seen()[0].line, format!("GET /v2/a/b/manifests/1?{ns} HTTP/1.1"));
    // Only what was missing, and nothing about mirrors.
    let asked = registry.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("range"), Some("bytes=30000-"));
    assert!(!asked[0].line.contains("ns="));
    let told = client.passed_over().join("\n");
    assert!(told.contains(&format!("mirror {}: no such manifest", empty.host())), "{told}");
    assert!(
        told.contains(&format!("mirror {}", broken.host())) && told.contains("end of file"),
        "{told}"
    );
}

#[test]
fn a_mirror_that_sends_something_else_is_passed_over() {
    const PORTAL: &[u8] = b"<html>Please sign in</html>";
    let good = vec![7; 50_000];
    let blobs = |content: Vec<u8>| {
        move |request: &Request| {
            let is_blob = request.line.contains("/blobs/");
            answer("200 OK", &[], if is_blob { &content } else { MANIFEST })
        }
    };
    let portal = Server::new(|_| answer("200 OK", &["content-type: text/html"], PORTAL));
    let empty = Server::new(|_| answer("200 OK", &[], b"{}"));
    let liar = Server::new(blobs(vec![8; 50_000]));
    let registry = Server::new(blobs(good.clone()));
    let mut settings = settings_of(&[&registry, &portal, &empty, &liar]);
    settings.hosts[0].mirrors = vec![portal.host(), empty.host(), liar.host()];
    let mut client = Registry::new(settings, &PullSecrets::default()).unwrap();
    let reference = reference(&registry);
    assert_eq!(client.manifest(&reference, None).unwrap().bytes, MANIFEST);
    assert!(registry.seen().is_empty(), "the third mirror has one");
    let descriptor = Descriptor::of(&good);
    let mut fetch = |offset| {
        let mut read = Vec::new();
        client.blob(&reference, &descriptor, offset).read_to_end(&mut read).unwrap();
        let actual = Digest::of(&read);
        let wrong = Mismatch { expected: descriptor.digest, actual, length: 50_000 };
        (read == good, client.tries_another(&wrong))
    };
    // Its start was kept: that may be what is wrong, so the mirror gets a chance alone.
    assert_eq!(fetch(40_000), (false, true));
    assert_eq!(fetch(0), (false, true));
    assert_eq!(liar.seen().len(), 3);
    assert_eq!(fetch(0), (true, false), "and after the registry there is nobody");
    let told = client.passed_over().join("\n");
    for (server, why) in
        [(&portal, "parse JSON"), (&empty, "media type"), (&liar, "expected sha256")]
    {
        let mirror = format!("mirror {}: ", server.host());
        let line = told.lines().find(|line| line.starts_with(&mirror)).unwrap_or_default();
        assert!(line.contains(why), "{told}");
    }
}

#[test]
fn bytes_of_two_mirrors_are_not_held_against_the_second() {
    let good = vec![7; 50_000];
    // Chunked, so that nobody sees how long it is: a page, and then nothing more.
    let portal = Server::new(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n<html\r\n0\r\n\r\n".to_vec()
    });
    let content = good.clone();
    let registry = Server::new(move |_| answer("200 OK", &[], &content));
    let mut settings = settings_of(&[&registry, &portal]);
    settings.hosts[0].mirrors = vec![portal.host()];
    let mut client = Registry::new(settings, &PullSecrets::default()).unwrap();
    let (reference, descriptor) = (reference(&registry), Descriptor::of(&good));
    let mut read = Vec::new();
    client.blob(&reference, &descriptor, 0).read_to_end(&mut read).unwrap();
    assert!(read.starts_with(b"<html\x07") && read.len() == 50_000);
    let wrong = Mismatch { expected: descriptor.digest, actual: Digest::of(&read), length: 50_000 };
    assert!(client.tries_another(&wrong), "the registry sent the rest only");
    read.clear();
    client.blob(&reference, &descriptor, 0).read_to_end(&mut read).unwrap();
    assert!(read == good);
}

#[test]
fn the_registrys_own_answer_counts_where_mirrors_fail() {
    let mirror = Server::new(|_| answer("503 Service Unavailable", &[], b""));
    let registry = Server::new(|_| answer("404 Not Found", &[], b""));
    let mut settings = settings_of(&[&registry, &mirror]);
    settings.hosts[0].mirrors = vec![mirror.host()];
    let error = refused(settings, &reference(&registry));
    assert!(matches!(error, RegistryError::NotFound));
}

/// Settings with a proxy at `proxy` that shows a name.
fn through(proxy: &Server, hosts: Vec<Host>) -> Settings {
    let proxy: Option<Proxy> = format!("http://good:secret@{}", proxy.host()).parse().ok();
    let proxies = Proxies { https: proxy.clone(), http: proxy, except: Vec::new() };
    Settings { hosts, proxies, ..settings_of(&[]) }
}

#[test]
fn a_proxy_is_asked_for_plain_requests_and_for_tunnels() {
    let proxy = Server::new(|request| {
        if request.line.starts_with("CONNECT ") {
            return answer("403 Forbidden", &[], b"");
        }
        answer("200 OK", &[], MANIFEST)
    });
    // No name server knows it: the proxy does.
    let plain = Host { host: "r.invalid:5000".into(), plain_http: true, ..Host::default() };
    let mut client = Registry::new(through(&proxy, vec![plain]), &PullSecrets::default()).unwrap();
    client.manifest(&"r.invalid:5000/a:1".parse().unwrap(), None).unwrap();
    let secure: Reference = "s.invalid/a:1".parse().unwrap();
    let error = client.manifest(&secure, None).err().unwrap();
    let told = format!("proxy {} answered 403 when asked for s.invalid", proxy.host());
    assert!(chain(&error).contains(&told), "{}", chain(&error));
    assert!(error.is_transient());
    let seen = proxy.seen();
    assert_eq!(seen[0].line, "GET http://r.invalid:5000/v2/a/manifests/1 HTTP/1.1");
    assert_eq!(seen[1].line, "CONNECT s.invalid:443 HTTP/1.1");
    for request in &seen {
        assert_eq!(request.header("proxy-authorization"), Some(GOOD), "{}", request.line);
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn nobody_to_whom_a_registry_redirects_is_shown_its_password() {
    let thief = Server::new(|_| answer("200 OK", &[], br#"{"token":"x"}"#));
    let realm = format!("www-authenticate: Bearer realm=\"http://{}/steal\"", thief.host());
    let (storage_says, registry_says) = (realm.clone(), realm);
    let storage = Server::new(move |_| answer("401 Unauthorized", &[&storage_says], b""));
    let cdn = storage.host();
    let registry = Server::new(move |request| {
        if request.line.contains("/blobs/") {
            let location = format!("location: http://{cdn}/x");
            return answer("307 Temporary Redirect", &[&location], b"");
        }
        answer("401 Unauthorized", &[&registry_says], b"")
    });
    let (_directory, file) = docker_config(&[(&registry.host(), "good", "secret")]);
    let settings = Settings { credential_files: vec![file], ..settings_of(&[&registry, &storage]) };
    let mut client = Registry::new(settings, &PullSecrets::default()).unwrap();
    let reference = reference(&registry);
    let error = client.blob(&reference, &Descriptor::of(b"x"), 0).read_to_end(&mut Vec::new());
    assert!(error.is_err());
    // Nor does one go by plain HTTP to whom nobody allowed it.
    let error = client.manifest(&reference, None).err().unwrap();
    assert!(chain(&error).contains("by plain HTTP"), "{}", chain(&error));
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
}

#[test]
fn a_name_that_may_not_see_an_image_is_not_the_last_to_be_tried() {
    let server = Server::new(|request| match request.header("authorization") {
        Some(GOOD) => answer("200 OK", &[], MANIFEST),
        Some(_) => answer("404 Not Found", &[], b""),
        None => answer("401 Unauthorized", &["www-authenticate: Negotiate", BASIC], b""),
    });
    let longer = format!("{}/a", server.host());
    let (_directory, file) =
        docker_config(&[(&longer, "other", "wrong"), (&server.host(), "good", "secret")]);
    let settings = Settings { credential_files: vec![file], ..settings_of(&[&server]) };
    Registry::new(settings, &PullSecrets::default())
        .unwrap()
        .manifest(&reference(&server), None)
        .unwrap();
}

#[test]
fn secrets_are_hidden_before_texts_are_cut_and_in_the_words_of_json() {
    let password = "hunter2-and-\"quotes\"";
    let echo = [&b"x".repeat(185)[..], br#" password hunter2-and-\"quotes\" "#].concat();
    let server = Server::new(move |request| match request.header("authorization") {
        None => answer("401 Unauthorized", &[BASIC], b""),
        Some(_) => answer("403 Forbidden", &[], &echo),
    });
    let escaped = password.replace('"', "\\\"");
    let (_directory, file) = docker_config(&[(&server.host(), "dop_v1_a_secret_token", &escaped)]);
    let settings = Settings { credential_files: vec![file], ..settings_of(&[&server]) };
    let text = chain(&refused(settings, &reference(&server)));
    assert!(!text.contains("hunter2") && !text.contains("dop_v1"), "{text}");
}

#[test]
fn secrets_in_the_words_of_urls_and_pages_are_hidden() {
    let echo = b"<a href=\"/login?p=p%40ss%2fw%C3%B6rd\">p@ss&#x2f;w&#246;rd</a>";
    let server = Server::new(move |request| match request.header("authorization") {
        None => answer("401 Unauthorized", &[BASIC], b""),
        Some(_) => answer("403 Forbidden", &[], echo),
    });
    let (_directory, file) = docker_config(&[(&server.host(), "somebody", "p@ss/w\u{f6}rd")]);
    let settings = Settings { credential_files: vec![file], ..settings_of(&[&server]) };
    let text = chain(&refused(settings, &reference(&server)));
    assert!(text.contains("<a href=\"/login?p=[hidden]\">[hidden]</a>"), "{text}");
}

#[test]
fn a_registry_that_refuses_ranges_sends_the_whole_again() {
    let data = vec![7; 50_000];
    for refusal in ["416 Range Not Satisfiable", "403 Forbidden", "206 Partial Content"] {
        let whole = data.clone();
        let server = Server::new(move |request| match request.header("range") {
            Some(_) => answer(refusal, &[], b""),
            None => answer("200 OK", &[], &whole),
        });
        let mut client = client(&[&server]);
        let reference = reference(&server);
        let mut read = Vec::new();
        client.blob(&reference, &Descriptor::of(&data), 20_000).read_to_end(&mut read).unwrap();
        assert!(read == data[20_000..], "{refusal}");
    }
}
