//! What operators feed `mote`: manifests somebody else wrote.

use std::fmt::Write as _;

use mote_fleet::content::Content;
use mote_fleet::manifest::document::split;
use mote_fleet::manifest::read;
use mote_fleet::manifest::source::Source;

use crate::drive::Target;

#[test]
fn manifests_of_operators() {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels: {app: web}\nspec:\n  \
        restartPolicy: OnFailure\n  initContainers: [{name: a, image: b, command: [sh, -c, x]}]\n  \
        containers:\n  - name: web\n    image: r.example/web:1\n    resources:\n      limits: \
        {memory: 64Mi, cpu: 500m}\n    env: [{name: A, value: \"1\"}]\n    livenessProbe: \
        {httpGet: {path: /, port: http}}\n    securityContext: {runAsUser: 7}\n---\nkind: List\n\
        apiVersion: v1\nitems: []\n";
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}],"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Gi"}}]}}"#;
    let data = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a.conf: \"x=1\"}\n\
        binaryData: {logo: AAH/}\nimmutable: true\n---\napiVersion: v1\nkind: Secret\nmetadata: \
        {name: s}\ntype: kubernetes.io/tls\ndata: {tls.crt: YQ==}\nstringData: {tls.key: b}\n";
    let target = Target {
        name: "manifests_of_operators",
        made: vec![
            ("yaml", yaml.into()),
            ("json", json.into()),
            ("data", data.into()),
            ("anchors", b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n".to_vec()),
            ("deep", "[".repeat(1000).into()),
        ],
        large: vec![("anchors", anchors().into()), ("deep", "{a: ".repeat(50_000).into())],
        inputs: 8_000,
        longest: 4_000,
        // A person's machine reads them, and YAML can mean more than it says (anchors).
        factor: 512,
        free: 6 * 1024 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let Ok(documents) = split(&Source { name: "fuzz".into(), text }) else { return false };
        let mut any = false;
        for document in &documents {
            let Ok(manifest) = read(document) else { continue };
            let intent = manifest.content.to_intent().expect("what was read can be sent");
            let read_back = Content::of(manifest.content.kind(), &intent);
            assert_eq!(read_back, Some(Ok(manifest.content)));
            any = true;
        }
        any
    });
}

/// Few lines that mean a billion.
fn anchors() -> String {
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..10 {
        let names = format!("*a{},", level - 1).repeat(10);
        let _ = writeln!(text, "a{level}: &a{level} [{names}]");
    }
    text
}
