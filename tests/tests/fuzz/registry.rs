//! What registries answer, and what operators and images call them.

use mote_registry::digest::Digest;
use mote_registry::fuzz;
use mote_registry::manifest::{Configuration, Document, Index, Links, Manifest};
use mote_registry::platform::Platform;
use mote_registry::reference::Reference;
use mote_tests::image::{Builder, Image, Layer};

use crate::drive::Target;

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn references() {
    let target = Target {
        name: "references",
        made: vec![
            ("short", text("busybox")),
            ("port", text("localhost:5000/a/b:1")),
            ("digest", text(&format!("ghcr.io/a/b:1@{}", Digest::of(b"x")))),
            ("address", text("[::1]:5000/x")),
            ("leads-out", text("r.example/../../etc:1")),
            ("empty-parts", text("r.example//a/:@sha256:")),
        ],
        inputs: 100_000,
        longest: 1_000,
        ..Target::default()
    };
    target.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Ok(reference) = text.parse::<Reference>() else { return false };
        assert!(!reference.endpoint().contains('/'), "{text}");
        assert!(!reference.repository().split('/').any(|part| part == ".."), "{text}");
        assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference));
        true
    });
}

#[test]
fn digests() {
    let good = Digest::of(b"x").to_string();
    let target = Target {
        name: "digests",
        made: vec![
            ("good", text(&good)),
            ("large-letters", text(&good.to_uppercase())),
            ("two-bytes-a-letter", text(&format!("sha256:{}", "ü".repeat(32)))),
        ],
        inputs: 100_000,
        longest: 200,
        ..Target::default()
    };
    target.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Ok(digest) = text.parse::<Digest>() else { return false };
        assert_eq!(digest.to_string(), text);
        true
    });
}

fn small_image() -> Image {
    let layer = Layer::default().root().file("bin/x", 0o755, b"x");
    let builder = Builder::default().layer(layer).entrypoint(&["/bin/x"]).env("A", "b").user("1:2");
    builder.build().expect("an image")
}

#[test]
fn manifests() {
    let image = small_image();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":7,"platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}}]}}"#,
        image.manifest().digest
    );
    let config = image.blobs().last().expect("a configuration").bytes.clone();
    let with = |volumes: &str| format!(r#"{{"config":{{"Volumes":{volumes}}},"rootfs":{{}}}}"#);
    let manifest = Manifest::parse(&image.manifest().bytes).expect("a good manifest");
    let zeros = |count| format!(r#"{{"/v":[{}0]}}"#, "0,".repeat(count));
    let target = Target {
        name: "manifests",
        made: vec![
            ("manifest", image.manifest().bytes.clone()),
            ("index", index.into()),
            ("configuration", config),
            ("volumes-with-values", text(&with(&zeros(500)))),
            ("deep", text(&"[".repeat(1000))),
            ("schema-1", text(r#"{"schemaVersion":1,"fsLayers":[]}"#)),
        ],
        large: vec![
            ("volumes", text(&with(&zeros(120_000)))),
            (
                "names",
                text(&format!(
                    r#"{{"config":{{"Env":[{}""]}},"rootfs":{{}}}}"#,
                    "\"\",".repeat(100_000)
                )),
            ),
            ("deep", text(&r#"{"a":"#.repeat(60_000))),
        ],
        inputs: 40_000,
        longest: 20_000,
        // Lists of texts: three bytes are an empty one, and a list that grows holds old and new.
        factor: 24,
        free: 16 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        let parsed = Manifest::parse(bytes).is_ok();
        let configuration = Configuration::parse(bytes, &manifest);
        let _ = configuration.as_ref().map(|found| found.check(&Platform::host()));
        let links: Option<Links> = serde_json::from_slice(bytes).ok();
        let document = Document::parse(bytes, "");
        if let Ok(document) = &document {
            let _ = document.media_type(bytes, "text/plain");
        }
        if let Ok(Document::Index(index)) = &document {
            let _ = Index::select(index, &Platform::host());
            let _ = index.offers();
        }
        parsed || configuration.is_ok() || document.is_ok() && links.is_some()
    });
}

#[test]
fn challenges() {
    let target = Target {
        name: "challenges",
        made: vec![
            (
                "bearer",
                text(
                    r#"Bearer realm="https://a.example/token",service="r",scope="repository:a:pull""#,
                ),
            ),
            ("basic", text("Negotiate\nBasic realm=x")),
            ("quotes", text(r#"Bearer realm="https://a/\"\\,=",x=,,=,service=a, b"#)),
            ("not-closed", text("Bearer realm=\"https://a.example/")),
            ("keys", text(&format!("Bearer realm=https://a/{}", ",a=b".repeat(500)))),
        ],
        large: vec![
            ("keys", text(&format!("Bearer {}", ",a=b".repeat(15_000)))),
            ("quotes", text(&format!("Bearer {}", "a=\"".repeat(20_000)))),
        ],
        // A parameter of four bytes is two texts.
        factor: 48,
        ..Target::default()
    };
    target.run(|bytes| fuzz::challenge(&String::from_utf8_lossy(bytes)));
}

#[test]
fn tokens() {
    let target = Target {
        name: "tokens",
        made: vec![
            ("token", text(r#"{"token":"abc","expires_in":60}"#)),
            ("access-token", text(r#"{"access_token":"a.b.c","scope":"x"}"#)),
            ("both-null", text(r#"{"token":null,"access_token":null}"#)),
            ("escapes", text(r#"{"token":"\ud834\udd1e\u0000"}"#)),
        ],
        large: vec![("deep", text(&"[".repeat(64 * 1024)))],
        factor: 4,
        ..Target::default()
    };
    target.run(fuzz::token);
}

#[test]
fn refusals() {
    let target = Target {
        name: "refusals",
        made: vec![
            ("error", text(r#"{"errors":[{"code":"DENIED","message":"no\nhunter2"}]}"#)),
            ("page", text("<html>\x1b[31m")),
            ("no-text", vec![0xff, 0xc3, 0xed, 0xa0, 0x80]),
            ("many", text(&format!(r#"{{"errors":[{}{{}}]}}"#, "{},".repeat(500)))),
        ],
        large: vec![("many", text(&format!(r#"{{"errors":[{}{{}}]}}"#, "{},".repeat(20_000))))],
        // An error of three bytes is two texts, and then one more.
        factor: 64,
        ..Target::default()
    };
    target.run(fuzz::refusal);
}

#[test]
fn redirects() {
    let target = Target {
        name: "redirects",
        made: vec![
            ("absolute", text("https://cdn.example:8443/b?s=1")),
            ("host", text("//cdn.example/b")),
            ("path", text("/b?from=https://x")),
            ("relative", text("z?q")),
            ("address", text("http://[::1]:80/b")),
            ("login", text("https://u:p@r.example/b")),
            ("lines", text("/b\r\nHost: other")),
        ],
        inputs: 100_000,
        ..Target::default()
    };
    target.run(|bytes| fuzz::location(&String::from_utf8_lossy(bytes)));
}

#[test]
fn credentials() {
    let stars = format!(r#"{{"auths":{{"{}":{{"auth":"YTpi"}}}}}}"#, "*a".repeat(400));
    let entries = |count| {
        let entry = |n| format!(r#""{n}":{{"username":"u"}},"#);
        let all: String = (0..count).map(entry).collect();
        format!(r#"{{"auths":{{{all}"x":{{}}}}}}"#)
    };
    let target = Target {
        name: "credentials",
        made: vec![
            ("config", text(r#"{"auths":{"https://r.example/v1/":{"auth":"dXNlcjpwYXNz"}}}"#)),
            ("older", text(r#"{"r.example/team":{"username":"u","password":"p","email":"e"}}"#)),
            ("hub", text(r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}"#)),
            ("helpers", text(r#"{"credsStore":"x","auths":{"*.example":{}}}"#)),
            ("patterns", text(r#"{"auths":{"[^q]*.example:5000":{"username":"a"},"[":{}}}"#)),
            ("stars", text(&stars)),
            ("wrong-base64", text(r#"{"auths":{"r.example":{"auth":"?"}}}"#)),
        ],
        large: vec![
            ("entries", text(&entries(8_000))),
            ("stars", text(&stars.replace(&"*a".repeat(400), &"*a".repeat(120_000)))),
            ("labels", text(&stars.replace(&"*a".repeat(400), &"a.".repeat(120_000)))),
        ],
        inputs: 40_000,
        longest: 2_000,
        // A key is taken apart into its labels for the comparison; one of two bytes is a text.
        factor: 128,
        free: 16 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let image = ["r.example/team/x", "docker.io/library/busybox"][bytes.len() % 2];
        fuzz::credentials(&text, false, image) | fuzz::credentials(&text, true, image)
    });
}
