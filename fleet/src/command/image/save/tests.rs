use mote_registry::platform::Platform;

use super::*;
use crate::cli::Cli;
use clap::Parser as _;

fn args(words: &[&str]) -> SaveArgs {
    let all = [&["mote", "image", "save"], words].concat();
    match Cli::try_parse_from(all).unwrap().command {
        crate::cli::Command::Image(crate::cli::ImageCommand::Save(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_completed_sorted_and_there_once() {
    let names = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        references(&names).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let found = names(&["r.example/b:1", "busybox", "docker.io/library/busybox:latest"]).unwrap();
    assert_eq!(found, ["docker.io/library/busybox:latest", "r.example/b:1"]);
    let error = names(&["Busybox"]).unwrap_err();
    assert_eq!(error.to_string(), "image name \"Busybox\" is not valid");
    let many: Vec<String> = (0..300).map(|number| format!("r.example/a:{number}")).collect();
    assert!(matches!(references(&many), Err(SaveError::TooMany(300))));
}

#[test]
fn platforms_come_with_commas_or_several_times_and_all_is_all() {
    let of = |words: &[&str]| wanted(&args(&[&["a"], words].concat()).platform);
    let arm = || Platform::new("arm64", "");
    let both = Wanted::These(vec![arm(), Platform::new("arm", "v7")]);
    assert_eq!(of(&[]), Wanted::Only);
    assert_eq!(of(&["--platform", "linux/arm64"]), Wanted::These(vec![arm()]));
    assert_eq!(of(&["--platform", "linux/arm64,linux/arm/v7"]), both);
    assert_eq!(of(&["--platform", "linux/arm64", "--platform", "linux/arm/v7"]), both);
    assert_eq!(of(&["--platform", "linux/arm64,all"]), Wanted::All);
}

#[test]
fn credentials_and_proxies_are_where_docker_looks_for_them() {
    let files = |words: &[&str], variables: &[(&str, &str)]| {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        settings(&args(&[&["a"], words].concat()), variable).map(|(settings, _)| settings)
    };
    let file = |settings: Settings| settings.credential_files.first().cloned();
    let home = ("HOME", "/home/me");
    let of_home = Some(PathBuf::from("/home/me/.docker/config.json"));
    assert_eq!(file(files(&[], &[home]).unwrap()), of_home);
    let docker = [home, ("DOCKER_CONFIG", "/d")];
    assert_eq!(file(files(&[], &docker).unwrap()), Some("/d/config.json".into()));
    assert_eq!(
        file(files(&["--registry-config", "/dev/null"], &docker).unwrap()),
        Some("/dev/null".into())
    );
    let missing = files(&["--registry-config", "/nonexistent/x"], &docker).unwrap_err();
    assert_eq!(missing.to_string(), "read /nonexistent/x");
    let plain = files(&["--plain-http", "r.lan:5000"], &[("HTTPS_PROXY", "p.lan:3128")]).unwrap();
    assert!(plain.hosts[0].plain_http && plain.hosts[0].host == "r.lan:5000");
    assert_eq!(plain.proxies.https.unwrap().to_string(), "p.lan:3128");
}

#[test]
fn progress_says_how_much_of_how_much() {
    let progress = Progress::default();
    assert_eq!(line(&progress), "Asking the registry");
    progress.done.store(1_500_000, Ordering::Relaxed);
    progress.total.store(6_000_000, Ordering::Relaxed);
    assert_eq!(line(&progress), "Fetching 1.5MB of 6.0MB (25%)");
}
