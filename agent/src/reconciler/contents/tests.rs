//! What is made of data that a store of ours holds.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use mote_protocol::name::NodeName;
use mote_protocol::pod::Amounts;
use mote_registry::digest::Digest;
use tokio::sync::mpsc;

use super::*;
use crate::image::{Ensured, Image, ImageSummary, Imported, Source, Sweep, Swept, Verified};
use crate::pod::contents::names::NodeFilesReader;
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::store::Order;

/// What the store is asked for while `act` runs, and answers with these, by name.
async fn with_data<T>(objects: &[(&str, Entries)], act: impl AsyncFnOnce(DataReader) -> T) -> T {
    let (orders, mut asked) = mpsc::unbounded_channel();
    let store = async {
        while let Some(Order::ReadData { key, answer }) = asked.recv().await {
            let found = objects.iter().find(|(name, _)| *name == key.name.as_str());
            let _ = answer.send(Ok(found.map(|(_, entries)| entries.clone())));
        }
    };
    tokio::select! {
        biased;
        result = act(DataReader::new(orders)) => result,
        () = store => unreachable!("somebody may still ask"),
    }
}

fn surroundings(data: DataReader) -> Surroundings {
    Surroundings {
        node: NodeName::new("n1").unwrap(),
        memory_bytes: 1 << 30,
        allocatable: Amounts::default(),
        addresses: Vec::new,
        files: NodeFilesReader::new(Default::default),
        data,
        services: tokio::sync::watch::Sender::default().subscribe(),
        devices: Rc::from([]),
    }
}

fn of_type(secret_type: &str, data: &[(&str, &str)]) -> Entries {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
    let secret_type = secret_type.to_owned();
    Entries { data: data.iter().map(pair).collect(), secret_type, ..Entries::default() }
}

#[test]
fn of_several_failures_one_that_passes_is_told() {
    let failed = |volume: &str, passing| {
        Err(MountFailure { volume: volume.into(), cause: String::new(), passing })
    };
    let volume = |result: Result<(), MountFailure>| result.unwrap_err().volume;
    assert_eq!(volume(told(failed("stays", false), failed("passes", true))), "passes");
    assert_eq!(volume(told(failed("passes", true), failed("stays", false))), "passes");
    assert_eq!(volume(told(failed("first", false), failed("second", false))), "first");
    assert_eq!(volume(told(failed("first", true), failed("second", true))), "first");
    assert_eq!(volume(told(Ok(()), failed("only", false))), "only");
    assert_eq!(volume(told(failed("only", false), Ok(()))), "only");
    assert_eq!(told(Ok(()), Ok(())), Ok(()));
}

#[tokio::test]
async fn bytes_that_are_no_text_count_as_well() {
    let half = vec![0; projection::MAX_FILES / 2];
    let map = |data: &[u8], binary: &[u8]| {
        let one = |value: &[u8]| [("key".to_owned(), value.to_vec())].into_iter().collect();
        Entries { data: one(data), binary: one(binary), ..Entries::default() }
    };
    let pod = pod_from(&wire_pod(vec![container("a")]));
    let key = |name: &str| contents::pull_secret_key(&pod, name).unwrap();
    let sum = async |objects: &[(&str, Entries)]| {
        let keys = objects.iter().map(|(name, _)| key(name)).collect();
        with_data(objects, async |data| library(&data, keys).await).await
    };
    assert!(sum(&[("a", map(&half, b"")), ("b", map(b"", &half))]).await.is_ok());
    let error = sum(&[("a", map(&half, b"")), ("b", map(b"", &half)), ("c", map(b"", b"x"))]).await;
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "all ConfigMaps and Secrets of a pod have more than 8388608 bytes");
}

#[tokio::test]
async fn a_secret_opens_registries_by_its_type() {
    let (newer, older) = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg");
    let both = [(".dockerconfigjson", "new"), (".dockercfg", "old")];
    let objects = [
        ("newer", of_type(newer, &both)),
        ("older", of_type(older, &both)),
        ("opaque", of_type("Opaque", &both)),
        ("untyped", of_type("", &both)),
        ("other", of_type(older, &both[..1])),
        ("empty", of_type(newer, &[(".dockerconfigjson", "")])),
        // What is wrong with it is for the pull to tell.
        ("broken", of_type(newer, &[(".dockerconfigjson", "{")])),
    ];
    let mut asked = wire_pod(vec![container("a")]);
    let names = objects.iter().map(|(name, _)| (*name).to_owned());
    asked.spec.image_pull_secrets = names.chain(["absent".to_owned()]).collect();
    let pod = pod_from(&asked);
    let (secrets, missing) =
        with_data(&objects, async |data| pull_secrets(&pod, &surroundings(data)).await).await;
    let found: Vec<_> =
        secrets.0.iter().map(|one| (one.name.as_str(), one.older, one.config.as_str())).collect();
    let expected = [("newer", false, "new"), ("older", true, "old"), ("broken", false, "{")];
    assert_eq!(found, expected);
    assert_eq!(missing, ["opaque", "untyped", "other", "empty", "absent"]);
}

/// Images of which each is here as soon as it is asked for.
#[derive(Default)]
struct Asked(RefCell<Vec<ImageRequest>>);

impl Images for Asked {
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError> {
        self.0.borrow_mut().push(request.clone());
        Ok(Ensured { id: Digest::of(b"image"), source: Source::Present })
    }

    async fn resolve(&self, _: &ImageId) -> Result<Image, ImageError> {
        unreachable!()
    }

    async fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        unreachable!()
    }

    async fn import(&self, _: &Path) -> Result<Imported, ImageError> {
        unreachable!()
    }

    async fn export(&self, _: &str, _: &Path) -> Result<u64, ImageError> {
        unreachable!()
    }

    async fn verify(&self) -> Result<Verified, ImageError> {
        unreachable!()
    }

    async fn sweep(&self, _: Sweep) -> Result<Swept, ImageError> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_lost_image_of_a_volume_is_asked_for_with_what_the_pod_brings() {
    let config = (".dockerconfigjson", "{}");
    let objects = [("registry", of_type("kubernetes.io/dockerconfigjson", &[config]))];
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.image_pull_secrets = vec!["registry".into()];
    let (pod, images) = (pod_from(&asked), Asked::default());
    let find = async |policy| {
        with_data(&objects, async |data| {
            find_again(&images, (&pod, &surroundings(data)), "r.example/files:1", policy).await
        })
        .await
    };
    assert_eq!(find(Some(ImagePullPolicy::Always)).await, Ok(Digest::of(b"image")));
    assert!(find(Some(ImagePullPolicy::Never)).await.is_ok());
    let asked = images.0.borrow();
    let policies: Vec<_> = asked.iter().map(|request| request.policy).collect();
    assert_eq!(policies, [PullPolicy::IfNotPresent, PullPolicy::Never]);
    for request in asked.iter() {
        assert_eq!(request.reference, "r.example/files:1");
        let secrets: Vec<_> = request.secrets.0.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(secrets, ["registry"]);
    }
}
