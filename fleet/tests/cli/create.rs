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
    let wrong = create(&["docker-registry", "x", "--docker-username=u"]);
    assert!(wrong.code == 1 && wrong.err.contains("--docker-password"), "{wrong:?}");
}
