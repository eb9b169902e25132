//! Keys and credentials as docker writes them, and as nobody should.

use proptest::prelude::*;

use super::*;

fn keyring(text: &str) -> Keyring {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    Keyring::load(&[directory.path().join("absent"), path])
}

fn users(keyring: &Keyring, image: &str) -> Vec<String> {
    keyring.matching(image).into_iter().map(|one| one.user).collect()
}

#[test]
fn keys_match_as_a_kubelet_matches_them() {
    let cases = [
        ("r.example", "r.example/a/b", true),
        ("https://r.example/v2/", "r.example/a", true),
        ("http://r.example/v1/team", "r.example/team2/x", true),
        ("r.example/team", "r.example/other", false),
        ("r.example:5000", "r.example/a", false),
        ("r.example", "r.example:5000/a", false),
        ("R.Example:5000", "r.example:5000/a", true),
        ("*.example", "r.example/a", true),
        ("*.example", "a.r.example/a", false),
        ("*.r.example", "r.example/a", false),
        ("[qr]?.example", "rx.example/a", true),
        ("[::1]:5000", "[::1]:5000/a", true),
    ];
    for (key, image, expected) in cases {
        assert_eq!(key_matches(&normalise(key), image), expected, "{key} and {image}");
    }
}

#[test]
fn all_that_match_are_tried_the_longest_key_first() {
    let entry = |user: &str| format!("{{\"username\":\"{user}\",\"password\":\"p\"}}");
    let keyring = keyring(&format!(
        "{{\"auths\":{{\"r.example\":{},\"r.example/team\":{},\"*.example\":{}}}}}",
        entry("host"),
        entry("team"),
        entry("any")
    ));
    assert_eq!(users(&keyring, "r.example/team/x"), ["team", "host", "any"]);
    assert_eq!(users(&keyring, "r.example/x"), ["host", "any"]);
    assert!(users(&keyring, "other.test/x").is_empty());
}

#[test]
fn docker_hub_has_a_key_of_its_own() {
    let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"}}}"#;
    let keyring = keyring(hub);
    assert_eq!(users(&keyring, "docker.io/library/busybox"), ["user"]);
    assert!(users(&keyring, "r.example/busybox").is_empty());
}

#[test]
fn auth_counts_more_than_a_name_and_may_lack_its_padding() {
    for auth in ["YTpiOmM=", "YTpiOmM"] {
        let text = format!("{{\"auths\":{{\"r\":{{\"username\":\"x\",\"auth\":\"{auth}\"}}}}}}");
        let credential = keyring(&text).matching("r/i").remove(0);
        assert_eq!((credential.user.as_str(), credential.password.as_str()), ("a", "b:c"));
        assert_eq!(credential.basic(), "Basic YTpiOmM=");
        assert!(!format!("{credential:?} {:?}", credential.basic()).contains("b:c"));
    }
}

#[test]
fn the_first_usable_file_counts_and_others_are_told_without_their_contents() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("config.json");
    let older = directory.path().join(".dockercfg");
    std::fs::write(&broken, r#"{"auths":{"r":{"password":["hunter2"]}}}"#).unwrap();
    std::fs::write(&older, r#"{"r":{"auth":"YTpi"},"s":{"auth":"?hunter2"}}"#).unwrap();
    let keyring = Keyring::load(&[broken.clone(), older]);
    assert_eq!(users(&keyring, "r/i"), ["a"]);
    let told = keyring.passed_over().join("\n");
    assert_eq!(keyring.passed_over().len(), 2, "{told}");
    assert!(told.contains(&broken.display().to_string()) && told.contains("line 1"), "{told}");
    assert!(told.contains("\"s\"") && !told.contains("hunter2"), "{told}");
}

#[test]
fn what_a_pod_brings_is_tried_before_what_the_node_has() {
    let entry = |user: &str| format!("{{\"r.example\":{{\"username\":\"{user}\"}}}}");
    let secret = |name: &str, older, config| PullSecret { name: name.into(), older, config };
    let secrets = PullSecrets(vec![
        secret("new", false, format!("{{\"auths\":{}}}", entry("pod"))),
        secret("old", true, entry("older")),
        secret("none", false, r#"{"auths":{"s.example":{}}}"#.into()),
    ]);
    let node = keyring(&format!("{{\"auths\":{}}}", entry("node")));
    let keyring = node.after(&secrets).unwrap();
    assert_eq!(users(&keyring, "r.example/x"), ["pod", "older", "node"]);
    assert!(users(&keyring, "other.test/x").is_empty());
    let told = keyring.passed_over().join("\n");
    assert!(told.starts_with("imagePullSecret none: the entry for \"s.example\""), "{told}");
    assert_eq!(format!("{secrets:?}"), "[\"new\", \"old\", \"none\"]");
}

#[test]
fn a_secret_that_docker_did_not_write_is_told_by_name_and_without_what_it_holds() {
    let after = |older, config: &str| {
        let good = r#"{"auths":{"r.example":{"username":"u"}}}"#.to_owned();
        let good = PullSecret { name: "good".into(), older: false, config: good };
        let bad = PullSecret { name: "bad".into(), older, config: config.into() };
        let malformed = Keyring::default().after(&PullSecrets(vec![good, bad])).unwrap_err();
        assert_eq!(malformed.name, "bad");
        assert!(!malformed.problem.contains("hunter2"), "{}", malformed.problem);
        malformed.problem
    };
    let place = "it is not what docker writes (line 1, column 1)";
    assert_eq!(after(false, "hunter2"), place);
    assert_eq!(after(true, "hunter2"), place);
    assert!(after(true, r#"{"r":"hunter2"}"#).starts_with("it is not what docker writes"));
    for auth in ["?hunter2", "aHVudGVyMg=="] {
        let config = format!("{{\"auths\":{{\"r\":{{\"auth\":\"{auth}\"}}}}}}");
        assert!(after(false, &config).starts_with("`auth` of \"r\" is not"), "{auth}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in ".{0,200}", key in ".{0,40}", image in ".{0,40}") {
        let keyring = keyring(&text);
        let _ = keyring.matching(&image);
        let _ = key_matches(&normalise(&key), &image);
    }
}
