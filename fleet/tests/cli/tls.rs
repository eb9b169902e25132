//! `mote` over TLS, with a broker that wants to know who it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::broker::Broker;
use crate::fleet::TestFleet;

/// An authority that vouches for names.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes certificate and key for a name.
    fn vouch(&self, name: &str, folder: &Path, file: &str) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec![name.into()]).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        write(&folder.join(format!("{file}.pem")), &certificate.pem());
        write(&folder.join(format!("{file}.key")), &key.serialize_pem());
    }
}

/// Started by root, mosquitto becomes another user, who must be able to read it.
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("mode");
}

#[test]
fn both_sides_are_checked_and_each_failure_names_its_file_or_broker() {
    let directory = tempfile::tempdir().expect("directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    write(&directory.path().join("ca.pem"), &ours.pem);
    write(&directory.path().join("other-ca.pem"), &theirs.pem);
    ours.vouch("localhost", directory.path(), "broker");
    ours.vouch("anna", directory.path(), "anna");
    theirs.vouch("eve", directory.path(), "eve");
    let path = directory.path().to_owned();
    let broker = Broker::within(
        directory,
        "allow_anonymous true\ncafile DIR/ca.pem\ncertfile DIR/broker.pem\nkeyfile DIR/broker.key\n\
         require_certificate true\n",
    );
    let url = format!("mqtts://localhost:{}", broker.port);
    let fleet = TestFleet::on(broker);
    let get = |name: &str, ca: &str, identity: Option<(&str, &str)>| {
        let file = |name: &str| path.join(name).display().to_string();
        let ca = file(ca);
        let mut arguments =
            vec!["config", "set-context", name, "--broker", &url, "--fleet", "lab", "--ca", &ca];
        let identity = identity.map(|(cert, key)| (file(cert), file(key)));
        if let Some((cert, key)) = &identity {
            arguments.extend(["--cert", cert, "--key", key]);
        }
        fleet.mote(&arguments).ok();
        fleet.mote(&["get", "nodes", "--context", name, "--request-timeout", "5s"])
    };
    let anna = Some(("anna.pem", "anna.key"));
    get("good", "ca.pem", anna).ok();

    let error = get("stranger", "other-ca.pem", anna).failed();
    assert!(error.starts_with(&format!("error: TLS with the broker {url}: ")), "{error}");
    assert!(error.contains("UnknownIssuer"), "{error}");
    let error = get("nobody", "ca.pem", None).failed();
    assert!(error.starts_with(&format!("error: TLS with the broker {url}: ")), "{error}");
    let error = get("eve", "ca.pem", Some(("eve.pem", "eve.key"))).failed();
    assert!(error.starts_with(&format!("error: TLS with the broker {url}: ")), "{error}");

    let error = get("missing", "none.pem", anna).failed();
    assert!(error.starts_with("error: read ca ") && error.contains("none.pem"), "{error}");
    let error = get("swapped", "ca.pem", Some(("anna.key", "anna.key"))).failed();
    assert!(error.starts_with("error: cert ") && error.contains("holds no certificate"), "{error}");
    let error = get("mixed", "ca.pem", Some(("anna.pem", "eve.key"))).failed();
    assert!(error.starts_with("error: key ") && error.contains("eve.key"), "{error}");
}
