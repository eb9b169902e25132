use mote_registry::{PullSecret, PullSecrets};

use super::*;
use crate::image::pull::frame::{self, Job, Request};

const MINIMAL: &str = "fleet = \"farm\"\nbroker.url = \"mqtt://10.0.0.1\"\n";

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    Config::parse(text, "board-7", &|_| None)
}

fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).expect_err("must be refused");
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn two_keys_are_enough() {
    let config = parse(MINIMAL).expect("valid");
    assert_eq!(config.node.as_str(), "board-7");
    assert_eq!(config.fleet.as_str(), "farm");
    assert_eq!(config.broker.url.to_string(), "mqtt://10.0.0.1:1883");
    assert_eq!(config.heartbeat, Duration::from_mins(5));
    assert_eq!(config.state_dir, Path::new("/var/lib/mote"));
    assert_eq!(config.cgroup_root, "mote.slice");
    let network = config.network.expect("a range");
    assert_eq!((network.v4.to_string().as_str(), network.v6), ("10.188.0.0/20", None));
}

#[test]
fn the_documented_example_is_valid_with_every_key_in_use() {
    let text = include_str!("../../../systemd/agent.toml");
    assert!(parse(text).is_ok(), "{:?}", parse(text));
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = parse(&uncommented).expect("valid with every optional key");
    assert_eq!(config.node.as_str(), "greenhouse-3");
    assert_eq!(config.images.registries.hosts.len(), 3);
    assert_eq!(config.seccomp_profiles, parse(MINIMAL).expect("valid").seccomp_profiles);
    assert_eq!(config.allow_unenforced, [Right::AppArmorProfile, Right::HostUsers]);
    assert_eq!(config.streams, Allowed::default(), "as shown is the default");
    let shutdown = Shutdown { program: None, ..config.shutdown };
    assert_eq!(shutdown, Shutdown::default(), "as shown is the default");
    assert_eq!(config.reports, Reports::default(), "likewise");
    assert!(
        config.metrics.listen.is_some() && parse(MINIMAL).is_ok_and(|c| c.metrics.listen.is_none())
    );
    assert!(config.broker.certificate.is_some() && config.broker.login.is_some());
}

#[test]
fn operators_may_do_what_was_said_and_no_more() {
    assert_eq!(parse(MINIMAL).expect("valid").streams, Allowed::default());
    let text = format!("{MINIMAL}\n[streams]\nexec = true\n");
    let allowed = parse(&text).expect("valid").streams;
    assert_eq!(allowed, Allowed { exec: true, port_forward: false });
}

#[test]
fn the_time_of_critical_pods_is_a_part_of_that_of_all() {
    let read = |text: &str| parse(&format!("{MINIMAL}\n[shutdown]\n{text}"));
    let times = |text: &str| {
        let Shutdown { regular, critical, .. } = read(text).expect("valid").shutdown;
        (regular.as_secs(), critical.as_secs())
    };
    assert_eq!(times(""), (30, 10));
    assert_eq!(times("grace_s = 100\n"), (90, 10));
    assert_eq!(times("grace_s = 4\n"), (2, 2), "something is left for others");
    assert_eq!(times("grace_s = 60\ngrace_critical_s = 60\n"), (0, 60));
    let error = problems(&format!("{MINIMAL}\n[shutdown]\ngrace_s = 5\ngrace_critical_s = 6\n"));
    assert!(error[0].contains("must not exceed its 5"), "{error:?}");
    assert!(!read("").expect("valid").shutdown.reboot, "nobody may unless it is said");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_lines() {
    let text = r#"
node = "Green_House"
fleeet = "farm"
groups = ["a", "B", 3]
heartbeat_s = 1
run_dir = "run"

[broker]
url = "http://x"
keepalive_s = 60
cert = "/etc/c.pem"

[labels]
"-zone" = "x"
"#;
    let found = problems(text);
    let expected = [
        "line 2: `node`: node name `Green_House` must consist of lower case letters",
        "line 3: `fleeet` is not a known key, did you mean `fleet`?",
        "line 4: `groups[1]`: group name `B` must consist",
        "line 4: `groups[2]`: must be a text, not a whole number",
        "line 5: `heartbeat_s`: 1 is outside 5 to 86400",
        "line 6: `run_dir`: path `run` is not absolute",
        "line 8: `broker.key`: `cert` and `key` go together",
        "line 9: `broker.url`: url must begin with mqtt:// or mqtts://",
        "line 10: `broker.keepalive_s` is not a known key, did you mean `keep_alive_s`?",
        "line 14: `labels.-zone`: label key must be",
        "`fleet` is required",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found:?} should begin with {expected:?}");
    }
}

#[test]
fn each_rule_has_its_own_text() {
    let table = [
        ("limits = 3", "line 3: `limits`: must be a table, not a whole number"),
        ("limits.pods = 0", "line 3: `limits.pods`: 0 is outside 1 to 110"),
        ("limits.pods = -1", "line 3: `limits.pods`: -1 is outside 1 to 110"),
        ("limits.pods = 99999999999999999999", "line 3: `limits.pods`: 99999999999999999999 is"),
        ("limits.pods = \"8\"", "line 3: `limits.pods`: must be a whole number, not a text"),
        ("groups = \"a\"", "line 3: `groups`: must be a list of texts, not a text"),
        ("broker.ca = \"/ca\"", "`broker.url`: `ca`, `cert` and `key` need a url that begins"),
        ("broker.password_file = \"/p\"", "`broker.username`: `password_file` needs `username`"),
        (
            "external_ips = [\"0.0.0.0\"]",
            "line 3: `external_ips[0]`: must be an IPv4 or IPv6 address",
        ),
        ("cgroup_root = \"../x\"", "line 3: `cgroup_root`: cgroup name must be"),
        ("run_dir = \"/var/lib/mote/run\"", "`run_dir`: must not lie in `state_dir`"),
        ("images.registry = [{host = \"a/b\"}]", "line 3: `images.registry[0].host`: registry"),
        ("images.gc_high_percent = 80", "`images.gc_low_percent`: must be below `gc_high_percent`"),
        ("images.pinned = [\"A:b:c\"]", "line 3: `images.pinned[0]`: "),
        ("reports.usage = \"1s\"", "line 3: `reports.usage`: must be a duration from 10s"),
        ("reports.usage_bytes_per_day = 1", "line 3: `reports.usage_bytes_per_day`: 1 is outside"),
        ("metrics.listen = \"0.0.0.0:9100\"", "line 3: `metrics.listen`: others reach it"),
        ("metrics.listen = \"9100\"", "line 3: `metrics.listen`: must be ADDRESS:PORT or unix:"),
        (
            "network.pod_cidr = \"10.0.0.1/24\"",
            "line 3: `network.pod_cidr`: `10.0.0.1/24` has bits",
        ),
        ("network.pod_cidr = \"10.0.0.0/29\"", "`network.pod_cidr`: has 6 addresses, fewer than"),
        ("network.pod_cidr_v6 = \"fe80::/64\"", "line 3: `network.pod_cidr_v6`: `fe80::` is no"),
        (
            "network = { pod_cidr = \"none\", resolver = true }",
            "`network.resolver`: needs `pod_cidr`, which is `none`",
        ),
        ("network.cluster_domain = \"A.b\"", "line 3: `network.cluster_domain`: must be labels of"),
        ("network.resolv_conf = \"x\"", "line 3: `network.resolv_conf`: path `x` is not absolute"),
        (
            "network = { pod_cidr = \"none\", pod_cidr_v6 = \"fd00::/64\" }",
            "line 3: `network.pod_cidr_v6`: needs `pod_cidr`",
        ),
        ("images.registry = [{}]", "line 3: `images.registry[0].host` is required"),
        ("zzz = 1", "line 3: `zzz` is not a known key"),
        ("fleet = \"again\"", "line 3: duplicate key"),
        ("= 1", "line 3: "),
    ];
    for (line, expected) in table {
        let found = problems(&format!("{MINIMAL}{line}\n"));
        let hit = found.iter().any(|text| {
            let text = text.as_str();
            // A dotted key of `[broker]` has the line of its table in front.
            text.starts_with(expected)
                || text.split_once(": ").is_some_and(|(_, rest)| rest.starts_with(expected))
        });
        assert!(hit, "{line}: {found:#?}");
    }
}

#[test]
fn too_long_a_run_directory_is_refused_with_its_bound() {
    let text = format!("{MINIMAL}run_dir = \"/{}\"\n", "x".repeat(50));
    assert_eq!(
        problems(&text),
        ["`run_dir`: path has 51 characters, more than 50: sockets below it would not fit"]
    );
}

#[test]
fn the_environment_overrides_the_file_and_is_named_in_errors() {
    let environment = |variable: &str| match variable {
        "MOTE_NODE" => Some("other".to_owned()),
        "MOTE_BROKER_URL" => Some("mqtts://[::1]:1234".to_owned()),
        "MOTE_STATE_DIR" => Some("/data/mote".to_owned()),
        _ => None,
    };
    let config = Config::parse(MINIMAL, "board-7", &environment).expect("valid");
    assert_eq!(config.node.as_str(), "other");
    assert_eq!(config.broker.url.to_string(), "mqtts://[::1]:1234");
    assert_eq!(config.state_dir, Path::new("/data/mote"));

    let environment = |variable: &str| (variable == "MOTE_FLEET").then(|| "No".to_owned());
    let problems = Config::parse(MINIMAL, "board-7", &environment).expect_err("bad name");
    assert!(problems[0].to_string().starts_with("`MOTE_FLEET`: fleet name `No` must"));
}

#[test]
fn a_hostname_that_is_no_name_asks_for_one() {
    let problems = Config::parse(MINIMAL, "(none)", &|_| None).expect_err("no name");
    assert!(problems[0].to_string().starts_with("`node (the hostname)`: node name `(none)`"));
}

#[test]
fn broker_urls_are_hosts_and_ports_and_nothing_else() {
    for (text, shown) in [
        ("mqtt://h", "mqtt://h:1883"),
        ("mqtts://h.example/", "mqtts://h.example:8883"),
        ("mqtt://1.2.3.4:5", "mqtt://1.2.3.4:5"),
        ("mqtts://[fe80::1]", "mqtts://[fe80::1]:8883"),
    ] {
        assert_eq!(text.parse::<BrokerUrl>().map(|url| url.to_string()), Ok(shown.to_owned()));
    }
    for text in [
        "",
        "h",
        "tcp://h",
        "mqtt://",
        "mqtt://u:p@h",
        "mqtt://h/x",
        "mqtt://h:0",
        "mqtt://h:70000",
        "mqtt://a b",
        "mqtt://h:",
    ] {
        assert!(text.parse::<BrokerUrl>().is_err(), "{text:?}");
    }
}

/// What operators read of a node must fit one status, whatever its configuration says.
#[test]
fn the_largest_labels_and_groups_fit_a_birth() {
    let label = |number: usize| {
        let key = format!("{number:02}{}/{}", "d".repeat(251), "k".repeat(63));
        (key, "v".repeat(63))
    };
    let labels: BTreeMap<_, _> = (0..MAX_LABELS).map(label).collect();
    assert!(labels.iter().all(|(key, value)| label::check(key, value).is_ok()));
    let group = |number: usize| GroupName::new(&format!("{}{number:02}", "g".repeat(61)));
    let groups: Vec<_> = (0..MAX_GROUPS).map(|number| group(number).expect("a name")).collect();
    let mut birth = mote_protocol::node::Birth { labels, ..Default::default() };
    birth.set_groups(&groups);
    let bytes = mote_protocol::frame::encode(&birth).expect("fits");
    assert!(bytes.len() + 1024 < mote_protocol::limits::MAX_STATUS, "no room for the rest");
}

#[test]
fn an_unreadable_file_names_itself() {
    let error = Config::load(Path::new("/nonexistent/agent.toml")).expect_err("not there");
    assert_eq!(error.to_string(), "read configuration /nonexistent/agent.toml");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "([a-z_]{1,12}|\\[|\\]|=|\"|\\.|[0-9]|\n| |broker|url|#|é){0,60}") {
        let _ = parse(&text);
    }
}

#[test]
fn registries_have_mirrors_certificates_and_a_proxy() {
    let text = r#"
fleet = "farm"
broker.url = "mqtt://10.0.0.1"
[images]
proxy = "http://user:hunter2@proxy.lan:3128"
no_proxy = ["*.lan", "10.0.0.0/8"]
max_kib_per_s = 64
[[images.registry]]
host = "docker.io"
mirrors = ["mirror.lan:5000", "mirror.example"]
cert = "/etc/mote/registry.pem"
key = "/etc/mote/registry.key"
"#;
    let config = parse(text).expect("valid");
    let registries = &config.images.registries;
    assert_eq!(registries.hosts[0].mirrors, ["mirror.lan:5000", "mirror.example"]);
    assert!(registries.hosts[0].identity.is_some());
    assert_eq!(registries.bytes_per_second.map(u64::from), Some(65_536));
    assert!(
        registries.proxies.https.is_some() && registries.proxies.https == registries.proxies.http
    );
    assert_eq!(registries.proxies.except.len(), 2);
    assert!(!format!("{config:?}").contains("hunter2"));
    let found = problems(
        r#"
fleet = "farm"
broker.url = "mqtt://10.0.0.1"
[images]
proxy = "proxy:3128"
no_proxy = ["a b"]
[[images.registry]]
host = "r.example"
insecure = true
cert = "/c.pem"
mirrors = ["https://m.example"]
"#,
    );
    let expected = [
        "line 5: `images.proxy`: proxy must be http://host:port",
        "line 6: `images.no_proxy[0]`: must be `*`, a host name",
        "line 7: `images.registry[0].key`: `cert` and `key` go together",
        "line 11: `images.registry[0].mirrors[0]`: registry must be a host or host:port",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn whatever_settings_are_valid_fit_into_the_request_of_a_pull() {
    // The longest file that is read, full of what takes twice as much in JSON.
    let exceptions = vec!["a".repeat(100); mote_registry::MAX_EXCEPTIONS];
    let mut text = format!("{MINIMAL}[images]\nno_proxy = {exceptions:?}\n");
    let path = "\"".repeat(12_500);
    let registry =
        |number| format!("[[images.registry]]\nhost = 'r{number}.lan'\nca = '/{path}'\n");
    text.extend((0..16).map(registry));
    assert!(text.len() as u64 <= MAX_FILE, "{}", text.len());
    let config = parse(&text).expect("valid");
    let config_of_pod = "\"".repeat(8 * 1024);
    let secret = PullSecret { name: "registry".into(), older: false, config: config_of_pod };
    let job = Job::Pull { reference: "a".into(), secrets: PullSecrets(vec![secret]) };
    let request = Request {
        parent: 1,
        store: "/var/lib/mote/images".into(),
        cgroup: None,
        reserve: 0,
        registries: config.images.registries,
        job,
    };
    let message = frame::encode(&request).expect("it fits");
    assert!(message.len() > 400_000, "{}", message.len());
    assert_eq!(frame::read::<Request>(&mut message.as_slice()).expect("a request"), request);
}

#[test]
fn the_environment_names_a_proxy_where_the_file_does_not() {
    let variables = |name: &str| match name {
        "HTTPS_PROXY" => Some("http://secure.lan".to_owned()),
        "HTTP_PROXY" => Some(String::new()),
        "http_proxy" => Some("plain.lan".to_owned()),
        "NO_PROXY" => Some("localhost,.lan,, not one".to_owned()),
        _ => None,
    };
    let proxies = |text: &str| {
        let text = format!("{MINIMAL}[images]\n{text}");
        Config::parse(&text, "board-7", &variables).expect("valid").images.registries.proxies
    };
    let found = proxies("");
    assert_eq!(found.https.map(|proxy| proxy.to_string()).as_deref(), Some("secure.lan:80"));
    assert_eq!(found.http.map(|proxy| proxy.to_string()).as_deref(), Some("plain.lan:80"));
    assert_eq!(found.except.len(), 2);
    let found = proxies("proxy = \"http://file.lan\"\nno_proxy = []");
    assert_eq!(found.https.map(|proxy| proxy.to_string()).as_deref(), Some("file.lan:80"));
    assert!(found.except.is_empty());
}

#[test]
fn a_variable_that_means_nothing_here_stops_no_node() {
    let variables = |name: &str| (name == "HTTPS_PROXY").then(|| "socks5://lan".to_owned());
    let images = Config::parse(MINIMAL, "board-7", &variables).expect("valid").images;
    assert_eq!(images.registries.proxies.https, None);
    let told = images.passed_over.join("\n");
    assert!(told.starts_with("HTTPS_PROXY: proxy must be http://host:port"), "{told}");
}

#[test]
fn devices_are_offered_unless_the_operator_lists_them() {
    let usual = parse(MINIMAL).expect("valid").devices;
    assert_eq!(usual, crate::device::usual());
    let listed = format!(
        "{MINIMAL}[[device]]\npath = \"/dev/ttyUSB*\"\n[[device]]\npath = \"/dev/i2c-1\"\nshare = 4\n\
         [[device]]\npath = \"/dev/video0\"\nshare = 0\n"
    );
    let devices = parse(&listed).expect("valid").devices;
    let shares: Vec<_> = devices.iter().map(|pattern| pattern.share).collect();
    assert_eq!(shares, [1, 4], "what nobody may have is not offered");
    let wrong = format!(
        "{MINIMAL}[[device]]\npath = \"/dev/*\"\n[[device]]\npath = \"/dev/a*\"\n[[device]]\npath = \
         \"/dev/a*\"\nshare = 2\n[security]\nallowed_unsafe_sysctls = [\"net.x\", \"vm\"]\n\
         seccomp_profiles = \"profiles\"\nallow_unenforced = [\"appArmorProfile\", \"tty\"]\n"
    );
    let expected = [
        "line 4: `device[0].path`: must be a path below /dev, with one `*` at most, in its last part",
        "`device[2].path`: is there twice",
        "line 11: `security.allowed_unsafe_sysctls[1]`: must be the name of a sysctl",
        "line 12: `security.seccomp_profiles`: path `profiles` is not absolute",
        "line 13: `security.allow_unenforced[1]`: must be the name of a field that nodes may be \
         unable to enforce: `appArmorProfile`",
    ];
    let found = problems(&wrong);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn thresholds_are_the_kubelets_where_nobody_set_others() {
    let eviction = |text: &str| parse(&format!("{MINIMAL}[eviction]\n{text}")).map(|c| c.eviction);
    assert_eq!(parse(MINIMAL).expect("valid").eviction, Settings::default());
    let kubelet = eviction("defaults = \"kubelet\"").expect("valid");
    assert_ne!(kubelet, Settings::default());
    // Any hard threshold takes the place of all defaults, and the list without any of all.
    let own = eviction("hard = [\"pid.available<10%\"]\nmax_pod_grace_s = 7").expect("valid");
    assert_eq!((own.thresholds.len(), own.max_pod_grace_s), (1, 7));
    assert_eq!(eviction("hard = []\ntransition_s = 9").expect("valid").thresholds.len(), 0);
    let text = "soft = [\"memory.available<20%\"]\nsoft_grace = [\"memory.available=1m\"]\n\
                min_reclaim = [\"memory.available=50Mi\"]";
    let soft = eviction(text).expect("valid").thresholds.pop().expect("the last");
    assert_eq!(soft.grace, Some(Duration::from_mins(1)));
    assert_eq!(soft.reclaim.of(1), 50 << 20);
}

#[test]
fn wrong_thresholds_are_told_by_their_rule() {
    let rows = [
        ("defaults = \"mine\"", "must be `scaled` or `kubelet`"),
        ("hard = [\"memory.available>1\"]", "must be a signal, `<` and a value"),
        ("hard = [\"imagefs.available<15%\"]", "images are on the same file system here"),
        ("hard = [\"memory.available<1\", \"memory.available<2\"]", "is there twice"),
        ("soft = [\"memory.available<20%\"]", "needs a time in `soft_grace`"),
        ("soft_grace = [\"memory.available=1m\"]", "has no threshold in `soft`"),
    ];
    for (text, rule) in rows {
        let told = problems(&format!("{MINIMAL}[eviction]\n{text}"));
        assert!(told.len() == 1 && told[0].contains(rule), "{text}: {told:?}");
    }
}

#[test]
fn taints_are_written_as_for_kubectl() {
    let with = |taints: &str| format!("taints = [{taints}]\n{MINIMAL}");
    let config = parse(&with("\"dedicated=kiosk:NoExecute\", \"slow:NoSchedule\"")).expect("valid");
    let texts: Vec<_> = config.taints.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["dedicated=kiosk:NoExecute", "slow:NoSchedule"]);
    for wrong in ["\"dedicated\"", "\"a=b:Sometimes\"", "\"-a=b:NoExecute\"", "\"a=b,c:NoExecute\""]
    {
        assert_eq!(problems(&with(wrong)).len(), 1, "{wrong}");
    }
}
