use super::*;
use crate::pod::tests::{container, pod_from, wire_pod};
use mote_protocol::pod::DnsConfig;

fn node() -> NodeFiles {
    NodeFiles {
        hostname: "pi-7".into(),
        hosts: "127.0.0.1 localhost\n127.0.1.1 pi-7\n".into(),
        resolver: "# by hand\nnameserver 192.0.2.53\nsearch old.\nsearch lan home. .\n\
                   options ndots:2 rotate\noptions ndots:3\n"
            .into(),
        beyond: String::new(),
        cluster: None,
    }
}

fn pod(change: impl FnOnce(&mut PodNetwork)) -> Pod {
    let mut asked = wire_pod(vec![container("main")]);
    change(&mut asked.spec.network);
    pod_from(&asked)
}

fn text(pod: &Pod, addresses: &[&str], node: &NodeFiles, target: &str) -> String {
    let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let found = files(pod, &addresses, node).into_iter().find(|file| file.target == target);
    found.map(|file| file.text).unwrap_or_default()
}

const ADDRESSES: &[&str] = &["10.188.0.1", "fd00:188::1"];

#[test]
fn hosts_are_those_of_the_kubelet() {
    let head = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
                ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    let hosts = |pod: &Pod| text(pod, ADDRESSES, &node(), "/etc/hosts");
    let plain = pod(|_| {});
    assert_eq!(hosts(&plain), format!("{head}10.188.0.1\tweb\nfd00:188::1\tweb\n"));
    assert_eq!(text(&plain, ADDRESSES, &node(), "/etc/hostname"), "web\n");
    let alias = HostAlias { ip: "192.0.2.9".into(), hostnames: vec!["a".into(), "b.c".into()] };
    let more = pod(|network| {
        network.hostname = "w".into();
        network.subdomain = "s".into();
        network.hostname_as_fqdn = true;
        network.host_aliases = vec![alias.clone()];
    });
    let whole = "w.s.default.svc.cluster.local";
    assert_eq!(
        hosts(&more),
        format!(
            "{head}10.188.0.1\t{whole}\tw\nfd00:188::1\t{whole}\tw\n\n\
             # Entries added by HostAliases.\n192.0.2.9\ta\tb.c\n"
        )
    );
    assert_eq!(text(&more, ADDRESSES, &node(), "/etc/hostname"), format!("{whole}\n"));
    let host = pod(|network| {
        network.host_network = true;
        network.host_aliases = vec![alias];
    });
    assert_eq!(
        text(&host, &[], &node(), "/etc/hosts"),
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\
         127.0.1.1 pi-7\n\n# Entries added by HostAliases.\n192.0.2.9\ta\tb.c\n"
    );
    assert_eq!(text(&host, &[], &node(), "/etc/hostname"), "pi-7\n");
}

#[test]
fn who_has_nothing_but_localhost_gets_what_it_asks_for() {
    assert!(files(&pod(|_| {}), &[], &node()).is_empty());
    let alias = HostAlias { ip: "127.0.0.1".into(), hostnames: vec!["a".into()] };
    let asks = pod(|network| network.host_aliases = vec![alias]);
    let targets: Vec<_> = files(&asks, &[], &node()).iter().map(|file| file.target).collect();
    assert_eq!(targets, ["/etc/hosts"]);
}

#[test]
fn resolvers_are_asked_by_policy() {
    let resolv = |pod: &Pod, node: &NodeFiles| text(pod, ADDRESSES, node, "/etc/resolv.conf");
    let of_node = "search lan home\nnameserver 192.0.2.53\noptions rotate ndots:3\n";
    for policy in [DnsPolicy::ClusterFirst, DnsPolicy::Default] {
        assert_eq!(resolv(&pod(|network| network.dns_policy = policy), &node()), of_node);
    }
    let config = || DnsConfig {
        nameservers: vec!["9.9.9.9".into(), "192.0.2.53".into()],
        searches: vec!["lan".into(), "more.example".into()],
        options: vec![("ndots".into(), Some("1".into())), ("edns0".into(), None)],
    };
    let merged = pod(|network| network.dns_config = config());
    assert_eq!(
        resolv(&merged, &node()),
        "search lan home more.example\nnameserver 192.0.2.53\nnameserver 9.9.9.9\n\
         options rotate ndots:1 edns0\n"
    );
    let alone = pod(|network| {
        network.dns_policy = DnsPolicy::None;
        network.dns_config = config();
    });
    assert_eq!(
        resolv(&alone, &node()),
        "search lan more.example\nnameserver 9.9.9.9\nnameserver 192.0.2.53\n\
         options ndots:1 edns0\n"
    );
}

#[test]
fn a_resolver_on_the_nodes_localhost_is_none_for_pods() {
    let local = NodeFiles {
        resolver: "nameserver 127.0.0.53\noptions edns0\nsearch lan\n".into(),
        beyond: "nameserver 192.0.2.1\nsearch lan\n".into(),
        ..node()
    };
    let plain = pod(|_| {});
    let resolv = |pod: &Pod, node: &NodeFiles| text(pod, ADDRESSES, node, "/etc/resolv.conf");
    assert_eq!(resolv(&plain, &local), "search lan\nnameserver 192.0.2.1\n");
    let host = pod(|network| network.host_network = true);
    let shown = text(&host, &[], &local, "/etc/resolv.conf");
    assert!(shown.contains("nameserver 127.0.0.53"), "{shown}");
    let mixed = NodeFiles { resolver: "nameserver ::1\nnameserver 192.0.2.2\n".into(), ..local };
    assert_eq!(resolv(&plain, &mixed), "nameserver 192.0.2.2\n");
}

#[test]
fn what_is_not_read_is_cut() {
    let name = |number: u32| format!("{number:060}.example");
    let names = |numbers: std::ops::Range<u32>| numbers.map(name).collect::<Vec<_>>();
    let servers = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n\
                   nameserver 192.0.2.4\nnameserver 192.0.2.1\n";
    let resolver = format!("search {}\n{servers}", names(0..25).join(" "));
    let many = NodeFiles { resolver, ..node() };
    let long = pod(|network| network.dns_config.searches = names(20..40));
    let shown = text(&long, ADDRESSES, &many, "/etc/resolv.conf");
    assert_eq!(shown.matches("nameserver").count(), 3);
    let search = shown.lines().next().unwrap();
    assert!(search.len() <= MAX_SEARCH_CHARACTERS + "search ".len(), "{}", search.len());
    assert!(search.ends_with(&name(28)), "each once, as far as there is room: {search}");
}

#[test]
fn pods_ask_the_nodes_resolver_where_there_is_one() {
    let cluster = Cluster {
        domain: ClusterDomain::default(),
        pods: [169, 254, 1, 1].into(),
        node: [127, 254, 1, 1].into(),
    };
    let node = NodeFiles { cluster: Some(cluster), ..node() };
    let of_node = "search lan home\nnameserver 192.0.2.53\noptions rotate ndots:3\n";
    let own = |nameserver: &str| {
        format!(
            "search default.svc.cluster.local svc.cluster.local cluster.local lan home\n\
             nameserver {nameserver}\noptions ndots:5\n"
        )
    };
    let (pods, nodes) = (own("169.254.1.1"), own("127.254.1.1"));
    let table = [
        (DnsPolicy::ClusterFirst, false, pods.as_str()),
        (DnsPolicy::ClusterFirstWithHostNet, false, &pods),
        (DnsPolicy::ClusterFirstWithHostNet, true, &nodes),
        (DnsPolicy::ClusterFirst, true, of_node),
        (DnsPolicy::Default, false, of_node),
        (DnsPolicy::Default, true, of_node),
    ];
    for (policy, host, expected) in table {
        let pod = pod(|network| {
            network.dns_policy = policy;
            network.host_network = host;
        });
        let addresses = if host { &[][..] } else { ADDRESSES };
        assert_eq!(text(&pod, addresses, &node, "/etc/resolv.conf"), expected, "{policy:?} {host}");
    }
    let more = pod(|network| {
        network.dns_config.options = vec![("ndots".into(), Some("2".into()))];
    });
    let shown = text(&more, ADDRESSES, &node, "/etc/resolv.conf");
    assert!(shown.ends_with("options ndots:2\n"), "{shown}");
}

#[test]
fn a_domain_is_made_of_labels() {
    for good in ["cluster.local", "fleet", "a-b.c1.example"] {
        assert_eq!(good.parse::<ClusterDomain>().map(|domain| domain.to_string()), Ok(good.into()));
    }
    for bad in
        ["", ".", "a..b", "a.", "A.b", "-a.b", "a_b", "a b", &"a".repeat(64), &"a.".repeat(41)]
    {
        assert_eq!(bad.parse::<ClusterDomain>(), Err(ClusterDomainError), "{bad}");
    }
}
