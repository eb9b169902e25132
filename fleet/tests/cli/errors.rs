//! What `mote` says when it cannot do its work.

use std::fs;

use crate::broker::Broker;
use crate::fleet::TestFleet;

#[test]
fn no_configuration_is_said_with_what_to_do() {
    let fleet = TestFleet::start();
    let nowhere = fleet.path("none").display().to_string();
    let error = fleet.mote(&["get", "pods", "--config", &nowhere]).failed();
    assert!(error.starts_with("error: no configuration: "), "{error}");
    assert!(error.contains("mote config set-context"), "{error}");
    let error = fleet.mote(&["get", "pods", "--context", "away"]).failed();
    assert!(error.starts_with("error: no context exists with the name: \"away\""), "{error}");
}

#[test]
fn usage_does_not_ask_for_what_a_variable_says() {
    let fleet = TestFleet::start();
    let error = fleet.mote(&["exec", "web"]).failed();
    assert!(error.contains("\nUsage: mote exec <POD> -- <COMMAND>..."), "{error}");
    let none = fleet.command(&["exec", "web"]).env_remove("MOTE_CONFIG").output();
    assert_eq!(String::from_utf8_lossy(&none.expect("mote runs").stderr), error);
    // What the variable says is less than what is said here, and nothing where it is empty.
    let config = fleet.path("config").display().to_string();
    for variable in ["", "/none"] {
        let arguments = ["config", "current-context", "--config", &config];
        let output = fleet.command(&arguments).env("MOTE_CONFIG", variable).output();
        assert_eq!(String::from_utf8_lossy(&output.expect("mote runs").stdout), "test\n");
    }
}

#[test]
fn what_is_done_to_pods_is_done_to_nothing_else() {
    let fleet = TestFleet::start();
    for (arguments, doing) in [
        (&["exec", "svc/web", "--", "date"][..], "exec into a container in"),
        (&["port-forward", "svc/web", "8080:80"], "forward a port of"),
        (&["logs", "svc/web"], "read the logs of"),
    ] {
        assert_eq!(
            fleet.mote(arguments).failed(),
            format!(
                "error: cannot {doing} `svc/web`: only pods can be named here; \
                 `mote describe service web` lists the pods that serve\n"
            )
        );
    }
    let error = fleet.mote(&["logs", "po/web"]).failed();
    assert_eq!(error, "Error from server (NotFound): pods \"web\" not found\n");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let fleet = TestFleet::start();
    fleet
        .mote(&["config", "set-context", "off", "--broker", "mqtt://127.0.0.1:1", "--fleet", "f"])
        .ok();
    let error = fleet.mote(&["get", "pods", "--context", "off"]).failed();
    assert_eq!(
        error,
        "The connection to the broker mqtt://127.0.0.1:1 was refused - did you specify the right host or port?\n"
    );
}

#[test]
fn a_broker_that_does_not_answer_is_not_waited_for() {
    let fleet = TestFleet::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("mqtt://{}", silent.local_addr().expect("bound"));
    fleet.mote(&["config", "set-context", "silent", "--broker", &url, "--fleet", "f"]).ok();
    let ran = fleet.mote(&["get", "pods", "--context", "silent", "--request-timeout", "1s"]);
    assert_eq!(
        ran.failed(),
        format!("error: no answer from the broker {url} within 1s (--request-timeout)\n")
    );
}

#[test]
fn a_broker_that_does_not_know_us_says_so() {
    let directory = tempfile::tempdir().expect("directory");
    fs::write(
        directory.path().join("acl"),
        "user anna\ntopic read mote/v1/lab/#\ntopic write mote/v1/lab/@all/reply/#\n",
    )
    .expect("write");
    let passwords = directory.path().join("passwords");
    fs::write(&passwords, "anna:secret\n").expect("write");
    let hashed = std::process::Command::new("mosquitto_passwd").arg("-U").arg(&passwords).status();
    assert!(hashed.expect("mosquitto_passwd is installed").success());
    // Started by root, mosquitto becomes another user, who must be able to read it all.
    let open = |path: &std::path::Path, mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    };
    open(directory.path(), 0o755);
    open(&passwords, 0o644);
    let broker = Broker::within(
        directory,
        "allow_anonymous false\npassword_file DIR/passwords\nacl_file DIR/acl\n",
    );
    let fleet = TestFleet::on(broker);
    let error = fleet.mote(&["get", "pods"]).failed();
    assert!(error.starts_with("error: You must be logged in to the broker"), "{error}");
    let password = fleet.file("password", "secret\n");
    fleet
        .mote(&[
            "config",
            "set-context",
            "test",
            "--username",
            "anna",
            "--password-file",
            &password,
        ])
        .ok();
    fleet.mote(&["get", "pods"]).ok();
    let file = fleet.file("web.yaml", &crate::fleet::pod("web", "a"));
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).failed();
    let error = error.strip_prefix("Warning: no node \"pi-7\" is known to the broker\n");
    assert_eq!(
        error,
        Some(
            "Error from server (Forbidden): the broker does not allow this user to publish to mote/v1/lab/pi-7/spec/pod/default/web\n"
        )
    );
}

#[test]
fn the_configuration_is_edited_as_with_kubectl() {
    let fleet = TestFleet::start();
    assert_eq!(fleet.mote(&["config", "current-context"]).ok(), "test\n");
    let out = fleet
        .mote(&["config", "set-context", "b", "--broker", "mqtt://b", "--fleet", "f", "-n", "web"])
        .ok();
    assert_eq!(out, "Context \"b\" created.\n");
    assert_eq!(fleet.mote(&["config", "use-context", "b"]).ok(), "Switched to context \"b\".\n");
    let table = fleet.mote(&["config", "get-contexts"]).ok();
    let headings: Vec<_> = table.lines().next().expect("headings").split_whitespace().collect();
    assert_eq!(headings, ["CURRENT", "NAME", "BROKER", "FLEET", "USER", "NAMESPACE"]);
    assert!(table.lines().any(|line| line.starts_with("*         b      mqtt://b")), "{table}");
    assert_eq!(fleet.mote(&["config", "get-contexts", "-o", "name"]).ok(), "test\nb\n");
    assert!(fleet.mote(&["config", "view"]).ok().contains("- broker: mqtt://b\n"));
    let error = fleet.mote(&["config", "use-context", "c"]).failed();
    assert_eq!(error, "error: no context exists with the name: \"c\"\n");
    let error =
        fleet.mote(&["config", "set-context", "d", "--broker", "b", "--fleet", "f"]).failed();
    assert!(error.contains("contexts[2].broker: must begin with mqtt:// or mqtts://"), "{error}");
}
