use mote_registry::config::ImageConfig;
use mote_registry::digest::Digest;

use super::*;
use crate::pod::contents::environment::variables;
use crate::pod::contents::{Given, Library, NodeFacts};
use crate::pod::tests::{container, literal, pod_of};

fn image(config: ImageConfig) -> Image {
    let id = Digest::of(b"image");
    Image { id, config, layers: vec!["/l/1".into()], digest_reference: String::new() }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn request(
    change: impl FnOnce(&mut Pod),
    config: ImageConfig,
) -> Result<StartRequest, ConfigError> {
    let mut pod = pod_of(vec![container("app")]);
    change(&mut pod);
    let (node, library) = (NodeFacts::default(), Library::default());
    let given = Given { pod: &pod, node: &node, library: &library };
    let variables = variables(&pod.containers[0], given).expect("nothing is missing");
    let (mounts, devices) = (Vec::new(), Vec::new());
    let parts = Parts { image: image(config), variables, mounts, files: Vec::new(), devices };
    start_request(&pod, &pod.containers[0], 3, parts, 1 << 30)
}

#[test]
fn command_and_args_replace_what_the_image_says() {
    let config = || ImageConfig {
        entrypoint: words(&["/entry"]),
        cmd: words(&["default"]),
        ..ImageConfig::default()
    };
    let args = |command: &[&str], args: &[&str]| {
        let set = |pod: &mut Pod| {
            pod.containers[0].command = words(command);
            pod.containers[0].args = words(args);
        };
        request(set, config()).unwrap().args
    };
    assert_eq!(args(&[], &[]), ["/entry", "default"]);
    assert_eq!(args(&[], &["a"]), ["/entry", "a"]);
    assert_eq!(args(&["/c"], &[]), ["/c"]);
    assert_eq!(args(&["/c"], &["a"]), ["/c", "a"]);
    let nothing = request(|pod| pod.containers[0].command.clear(), ImageConfig::default());
    assert_eq!(nothing.unwrap_err(), ConfigError::NoCommand);
}

#[test]
fn variables_expand_once_and_see_only_earlier_ones() {
    let variables =
        std::collections::BTreeMap::from([("A", "1".to_owned()), ("B", "$(A)".to_owned())]);
    for (text, expanded) in [
        ("$(A)", "1"),
        ("$(B)", "$(A)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C)", "$(C)"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("x$(A)y$(A)z", "x1y1z"),
    ] {
        assert_eq!(
            expand(text, 100, |name| variables.get(name).map(String::as_str)),
            Ok(expanded.to_owned()),
            "{text}"
        );
    }
    let set = |pod: &mut Pod| {
        let pairs = [("X", "$(Y)"), ("Y", "2"), ("Z", "$(Y)"), ("Y", "3")];
        pod.containers[0].env = pairs.map(|(name, value)| literal(name, value)).to_vec();
        pod.containers[0].args = words(&["$(Y)"]);
    };
    let config = ImageConfig { env: words(&["Y=image", "PATH=/bin"]), ..ImageConfig::default() };
    let request = request(set, config).unwrap();
    assert_eq!(request.env, ["PATH=/bin", "HOSTNAME=web", "X=$(Y)", "Z=2", "Y=3"]);
    assert_eq!(request.args.last().unwrap(), "3");
}

#[test]
fn non_root_is_enforced_with_the_kubelets_words() {
    let with = |user: Option<u32>, image_user: &str| {
        let set = |pod: &mut Pod| {
            pod.containers[0].run_as_non_root = true;
            pod.containers[0].rights.user = user;
        };
        let config = ImageConfig { user: image_user.into(), ..ImageConfig::default() };
        request(set, config).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with(Some(1), ""), Ok(()));
    assert_eq!(with(None, "1000:0"), Ok(()));
    let uid = pod_of(vec![]).name.uid;
    let place = format!("(pod: \"web_default({uid})\", container: app)");
    assert_eq!(
        with(Some(0), "1000"),
        Err(format!("container's runAsUser breaks non-root policy {place}"))
    );
    for root in ["", "0", "0:0"] {
        let text = format!("container has runAsNonRoot and image will run as root {place}");
        assert_eq!(with(None, root), Err(text));
    }
    let text = "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify \
                user is non-root";
    assert_eq!(with(None, "nobody"), Err(format!("{text} {place}")));
}

#[test]
fn a_tag_reads_back() {
    let request = request(|_| (), ImageConfig::default()).unwrap();
    let tag = Tag::parse(&request.tag).unwrap();
    assert_eq!((tag.image, tag.reference.as_str()), (Digest::of(b"image"), "busybox:1"));
    assert!(tag.unenforced.is_empty());
    let without = Tag { unenforced: vec!["spec.hostUsers: why".into(), "more".into()], ..tag };
    assert_eq!(Tag::parse(&without.to_string()), Some(without));
    assert_eq!(Tag::parse("something else"), None);
}

#[test]
fn stop_signals_are_read_as_images_write_them() {
    let mut container = pod_of(vec![container("app")]).containers.remove(0);
    assert_eq!(stop_signal(&container, None), 15);
    assert_eq!(stop_signal(&container, Some("SIGQUIT")), 3);
    assert_eq!(stop_signal(&container, Some("USR1")), 10);
    assert_eq!(stop_signal(&container, Some("SIGRTMIN+3")), 37);
    assert_eq!(stop_signal(&container, Some("99")), 15);
    container.stop_signal = Some(2);
    assert_eq!(stop_signal(&container, Some("3")), 2);
}
