//! `mote create`.

use serde_json::{Value, json};

use crate::fleet::TestFleet;

fn data(fleet: &TestFleet, what: &str) -> Value {
    let text = fleet.mote(&["get", what, "-o", "json"]).ok();
    serde_json::from_str(&text).expect("json")
}

#[test]
fn a_config_map_is_made_of_literals_and_files_once() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let text = fleet.file("app.conf", "level: debug\n");
    let bytes = fleet.path("raw");
    std::fs::write(&bytes, [0, 1, 255]).expect("write");
    let (file, raw) = (format!("--from-file={text}"), format!("--from-file=b={}", bytes.display()));
    let create = ["create", "cm", "web", "--from-literal=a=b=c", &file, &raw, "--node", "pi-7"];
    assert_eq!(fleet.mote(&create).ok(), "configmap/web created (node pi-7)\n");
    let map = data(&fleet, "cm/web");
    assert_eq!(map["data"], json!({ "a": "b=c", "app.conf": "level: debug\n" }));
    assert_eq!(map["binaryData"], json!({ "b": "AAH/" }));
    let error = "error: failed to create configmap: configmaps \"web\" already exists (pi-7)\n";
    assert_eq!(fleet.mote(&create).failed(), error);
    fleet.mote(&["delete", "cm", "web"]).ok();
    assert_eq!(fleet.mote(&create).ok(), "configmap/web created (node pi-7)\n");
}

/// A node tells of what it got from anybody; that says nothing of what was asked of it alone.
#[test]
fn what_is_for_all_is_in_the_way_of_nothing_for_one_node() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    let create = |value: &str, to: &[&str]| {
        let literal = format!("--from-literal=a={value}");
        let mut all = vec!["create", "cm", "web", &literal];
        all.extend(to);
        fleet.mote(&all)
    };
    create("far", &["--all-nodes"]).ok();
    let out = create("near", &["--node", "pi-7"]).ok();
    assert_eq!(out, "configmap/web created (node pi-7)\n");
    let map = fleet.mote(&["get", "cm", "web", "--node", "pi-7", "-o", "json"]).ok();
    let map: Value = serde_json::from_str(&map).expect("json");
    assert_eq!(map["data"], json!({ "a": "near" }));
    for (to, place) in [(&["--all-nodes"][..], "@all"), (&["--node", "pi-7"], "pi-7")] {
        let error = format!(
            "error: failed to create configmap: configmaps \"web\" already exists ({place})\n"
        );
        assert_eq!(create("new", to).failed(), error);
    }
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: b}\n";
    let file = fleet.file("x.yaml", manifest);
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-8"]).ok();
    assert_eq!(out, "configmap/web created (node pi-8)\n");
}

#[test]
fn what_the_broker_forgot_but_a_node_has_is_still_there() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let create = || fleet.mote(&["create", "cm", "web", "--from-literal=a=b", "--node", "pi-7"]);
    create().ok();
    let error = "error: failed to create configmap: configmaps \"web\" already exists (pi-7)\n";
    fleet.clear("pi-7/spec/configmap/default/web");
    assert_eq!(create().failed(), error);
}

#[test]
fn a_dry_run_prints_what_apply_takes() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let variables = fleet.file("app.env", "# one\nA=1\n\nB=x=y\n");
    let dry = ["--dry-run=client", "-o", "yaml", "-n", "lab"];
    let mut create = vec!["create", "configmap", "web", "--from-env-file", &variables];
    create.extend(dry);
    let yaml = fleet.mote(&create).ok();
    assert_eq!(
        yaml,
        "---\napiVersion: v1\ndata:\n  A: \"1\"\n  B: x=y\nkind: ConfigMap\nmetadata:\n  \
         name: web\n  namespace: lab\n"
    );
    let file = fleet.file("made.yaml", &yaml);
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    assert_eq!(out, "configmap/web created (node pi-7)\n");
    let mut create = vec!["create", "secret", "generic", "keys", "--from-literal=a=b"];
    create.extend(dry);
    let yaml = fleet.mote(&create).ok();
    assert!(yaml.contains("data:\n  a: Yg==\n") && yaml.contains("type: Opaque\n"), "{yaml}");
}

#[test]
fn secrets_have_the_keys_of_their_type() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let made = rcgen::generate_simple_self_signed(["web.example".to_owned()]).expect("made");
    let cert = fleet.file("tls.crt", &made.cert.pem());
    let key = fleet.file("tls.key", &made.signing_key.serialize_pem());
    let create = |arguments: &[&str]| {
        let mut all = vec!["create", "secret"];
        all.extend(arguments);
        all.extend(["--all-nodes"]);
        fleet.mote(&all)
    };
    let out = create(&["tls", "web", "--cert", &cert, "--key", &key]).ok();
    assert_eq!(out, "secret/web created (node pi-7)\n");
    assert_eq!(data(&fleet, "secret/web")["type"], "kubernetes.io/tls");
    let login = ["--docker-server=r.example", "--docker-username=u", "--docker-password=p"];
    let mut registry = vec!["docker-registry", "pull"];
    registry.extend(login);
    create(&registry).ok();
    let secret = data(&fleet, "secret/pull");
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    let encoded = secret["data"][".dockerconfigjson"].as_str().expect("text");
    let file = fleet.file("config.json", "{\"auths\":{}}");
    create(&["docker-registry", "file", "--from-file", &file]).ok();
    let of_file = data(&fleet, "secret/file");
    assert_eq!(of_file["data"][".dockerconfigjson"], "eyJhdXRocyI6e319");
    // {"auths":{"r.example":{"auth":"dTpw","password":"p","username":"u"}}}
    let expected = "eyJhdXRocyI6eyJyLmV4YW1wbGUiOnsiYXV0aCI6ImRUcHciLCJwYXNzd29yZCI6InAiLCJ1c2VybmFtZSI6InUifX19";
    assert_eq!(encoded, expected);
    let wrong = create(&["generic", "x", "--type=kubernetes.io/ssh-auth"]).failed();
    assert_eq!(wrong, "The Secret \"x\" is invalid: data[ssh-privatekey]: Required value\n");
    for login in ["--docker-server=r.example", "--docker-username=u"] {
        let wrong = create(&["docker-registry", "x", "--from-file", &file, login]);
        let flag = login.split_once('=').expect("a flag and its value").0;
        assert!(wrong.code == 1 && wrong.err.contains("cannot be used with"), "{wrong:?}");
        assert!(wrong.err.contains(flag), "{wrong:?}");
    }
    let wrong = create(&["docker-registry", "x", "--docker-username=u"]);
    assert!(wrong.code == 1 && wrong.err.contains("--docker-password"), "{wrong:?}");
}
