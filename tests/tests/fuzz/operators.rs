//! What operators feed `mote`: manifests somebody else wrote.

use mote_fleet::manifest::document::split;
use mote_fleet::manifest::read;
use mote_fleet::manifest::source::Source;
use mote_protocol::object::Pod;

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
    let target = Target {
        name: "manifests_of_operators",
        seeds: vec![yaml.into(), json.into()],
        inputs: 15_000,
        longest: 4_000,
        // A person's machine reads them, and YAML can mean more than it says (anchors).
        factor: 1024,
        free: 1024 * 1024,
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let Ok(documents) = split(&Source { name: "fuzz".into(), text }) else { return };
        for document in &documents {
            let Ok(manifest) = read(document) else { continue };
            let intent = manifest.pod.to_intent().expect("what was read can be sent");
            let mote_protocol::object::Intent::Apply { schema, body } = intent else {
                panic!("a manifest asks to be applied")
            };
            assert_eq!(Pod::decode(schema, &body), Ok(manifest.pod));
        }
    });
}
