use serde_json::{Value, json};

use super::*;

/// A registry of one repository.
#[derive(Default)]
struct Shelf {
    blobs: BTreeMap<Digest, Vec<u8>>,
    top: Vec<u8>,
    /// What was asked for.
    asked: Vec<Digest>,
}

impl Documents for Shelf {
    fn top(&mut self, _: &Reference) -> Result<Fetched, SaveError> {
        let (bytes, content_type) = (self.top.clone(), String::new());
        Ok(Fetched { digest: Digest::of(&bytes), bytes, content_type })
    }

    fn manifest(&mut self, of: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, SaveError> {
        self.blob(of, descriptor)
    }

    fn blob(&mut self, of: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, SaveError> {
        self.asked.push(descriptor.digest);
        let found = self.blobs.get(&descriptor.digest).cloned();
        found.ok_or_else(|| SaveError::NotFound { reference: of.to_string() })
    }
}

impl Shelf {
    fn put(&mut self, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let descriptor = json!({"digest": Digest::of(&bytes).to_string(), "size": bytes.len()});
        self.blobs.insert(Digest::of(&bytes), bytes);
        descriptor
    }

    /// An image for a platform, with a layer that all have and one of its own.
    fn image(&mut self, platform: &str) -> Value {
        let parts: Vec<&str> = platform.split('/').collect();
        let mut config = json!({"os": parts[0], "architecture": parts[1], "config": {}});
        if let Some(variant) = parts.get(2) {
            config["variant"] = json!(variant);
        }
        let layers: Vec<_> = ["shared", platform].map(layer).into();
        config["rootfs"] =
            json!({"diff_ids": layers.iter().map(|l| &l["digest"]).collect::<Vec<_>>()});
        let config = self.put(&config);
        let mut image = self.put(&json!({"schemaVersion": 2, "config": config, "layers": layers}));
        image["platform"] = config_platform(platform);
        image
    }

    /// An index of these, with an attestation as builders add it.
    fn index(platforms: &[&str]) -> Self {
        let mut shelf = Self::default();
        let mut manifests: Vec<_> = platforms.iter().map(|one| shelf.image(one)).collect();
        let config = shelf.put(&json!({"not": "an image"}));
        let statement = json!({"config": config, "layers": [layer("statement")]});
        let mut attestation = shelf.put(&statement);
        attestation["platform"] = config_platform("unknown/unknown");
        manifests.push(attestation);
        let index = json!({"schemaVersion": 2, "mediaType": mote_registry::media_type::OCI_INDEX, "manifests": manifests});
        shelf.top = index.to_string().into_bytes();
        shelf
    }

    fn plan(&mut self, wanted: &Wanted) -> Result<Plan, SaveError> {
        let mut plan = Plan::default();
        plan.add(self, &"r.example/a:1".parse().unwrap(), wanted)?;
        Ok(plan)
    }
}

fn config_platform(platform: &str) -> Value {
    let parts: Vec<&str> = platform.split('/').collect();
    json!({"os": parts[0], "architecture": parts[1], "variant": parts.get(2).unwrap_or(&"")})
}

fn layer(content: &str) -> Value {
    json!({"digest": Digest::of(content.as_bytes()).to_string(), "size": content.len()})
}

fn these(platforms: &[&str]) -> Wanted {
    Wanted::These(platforms.iter().map(|one| one.parse().unwrap()).collect())
}

fn platforms(plan: &Plan) -> Vec<&str> {
    plan.images["r.example/a:1"].platforms.iter().map(String::as_str).collect()
}

fn has(plan: &Plan, content: &str) -> bool {
    plan.parts.contains_key(&Digest::of(content.as_bytes()))
}

const BOARDS: [&str; 3] = ["linux/amd64", "linux/arm/v6", "linux/arm64"];

#[test]
fn of_several_platforms_the_index_stays_and_those_that_are_wanted_come() {
    let mut shelf = Shelf::index(&BOARDS);
    let plan = shelf.plan(&these(&["linux/arm64"])).unwrap();
    assert_eq!(platforms(&plan), ["linux/arm64"]);
    assert_eq!(plan.images["r.example/a:1"].top.digest, Digest::of(&shelf.top));
    assert!(has(&plan, "linux/arm64") && has(&plan, "shared"));
    assert!(!has(&plan, "linux/amd64") && !has(&plan, "statement"));
    // Index, manifest, configuration, two layers.
    assert_eq!(plan.parts.len(), 5);
    // A node of the seventh runs what is made for the sixth.
    let plan = shelf.plan(&these(&["linux/arm/v7", "linux/amd64"])).unwrap();
    assert_eq!(platforms(&plan), ["linux/amd64", "linux/arm/v6"]);
}

#[test]
fn all_takes_attestations_as_well() {
    let plan = Shelf::index(&BOARDS).plan(&Wanted::All).unwrap();
    assert_eq!(platforms(&plan), BOARDS);
    assert!(BOARDS.iter().chain(&["statement"]).all(|one| has(&plan, one)));
}

#[test]
fn who_says_nothing_gets_the_only_one_or_is_told_which_there_are() {
    let plan = Shelf::index(&["linux/arm64"]).plan(&Wanted::Only).unwrap();
    assert_eq!(platforms(&plan), ["linux/arm64"]);
    assert!(!has(&plan, "statement"));
    let error = Shelf::index(&BOARDS).plan(&Wanted::Only).err().unwrap().to_string();
    assert!(error.ends_with("there is linux/amd64, linux/arm/v6, linux/arm64"), "{error}");
    let error = Shelf::index(&BOARDS).plan(&these(&["linux/s390x"])).err().unwrap().to_string();
    let told = "image r.example/a:1 is not made for linux/s390x: there is linux/amd64, linux/arm/v6, linux/arm64";
    assert_eq!(error, told);
}

#[test]
fn an_image_of_one_platform_is_for_that_alone() {
    let mut shelf = Shelf::default();
    let digest: Digest =
        serde_json::from_value(shelf.image("linux/arm64")["digest"].clone()).unwrap();
    shelf.top.clone_from(&shelf.blobs[&digest]);
    for wanted in [Wanted::Only, Wanted::All, these(&["linux/arm64"])] {
        let plan = shelf.plan(&wanted).unwrap();
        assert_eq!(platforms(&plan), ["linux/arm64"]);
        assert_eq!(
            plan.images["r.example/a:1"].top.media_type,
            mote_registry::media_type::OCI_MANIFEST
        );
    }
    let error = shelf.plan(&these(&["linux/amd64"])).err().unwrap().to_string();
    assert!(error.ends_with("is not made for linux/amd64: there is linux/arm64"), "{error}");
}

#[test]
fn what_two_names_share_is_fetched_once_and_all_of_it_is_counted() {
    let mut shelf = Shelf::index(&["linux/arm64"]);
    let mut plan = shelf.plan(&Wanted::Only).unwrap();
    let (parts, asked) = (plan.parts.len(), shelf.asked.len());
    plan.add(&mut shelf, &"r.example/b:2".parse().unwrap(), &Wanted::Only).unwrap();
    assert_eq!((plan.parts.len(), shelf.asked.len(), plan.images.len()), (parts, asked, 2));
    assert_eq!(plan.to_fetch(), "shared".len() as u64 + "linux/arm64".len() as u64);
    let index = plan.index().unwrap();
    let text = String::from_utf8(index.clone()).unwrap();
    for key in ["org.opencontainers.image.ref.name", "io.containerd.image.name"] {
        assert!(text.contains(&format!("\"{key}\":\"r.example/b:2\"")), "{text}");
    }
    assert_eq!(plan.length(&index) % 512, 0);
}

#[test]
fn documents_that_nobody_would_believe_are_not_fetched() {
    let mut shelf = Shelf::default();
    let mut image = shelf.image("linux/arm64");
    image["size"] = json!(10_u64.pow(12));
    shelf.top = json!({"schemaVersion": 2, "manifests": [image]}).to_string().into_bytes();
    shelf.asked.clear();
    assert!(matches!(shelf.plan(&Wanted::Only), Err(SaveError::TooLarge { .. })));
    assert!(matches!(shelf.plan(&Wanted::All), Err(SaveError::TooLarge { .. })));
    assert!(shelf.asked.is_empty());
}

#[test]
fn indexes_within_indexes_end() {
    let mut shelf = Shelf::default();
    let mut inner = shelf.image("linux/arm64");
    for _ in 0..10 {
        inner = shelf.put(&json!({"schemaVersion": 2, "manifests": [inner]}));
    }
    shelf.top = json!({"schemaVersion": 2, "manifests": [inner]}).to_string().into_bytes();
    for wanted in [Wanted::Only, Wanted::All, these(&["linux/arm64"])] {
        assert!(matches!(shelf.plan(&wanted), Err(SaveError::Nested { .. })), "{wanted:?}");
    }
}
