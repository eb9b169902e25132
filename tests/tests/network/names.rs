//! What containers find of names: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use anyhow::{Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::world::BUSYBOX;
use serde_json::json;

use crate::{Machine, V4};

/// Prints all files, and what the kernel says.
const LOOK: &str = "cat /etc/hosts; echo ==; cat /etc/hostname; echo ==; cat /etc/resolv.conf; \
                    echo ==; hostname; echo ==; nslookup -h >/dev/null 2>&1; ping -c1 -W1 alias 2>&1";

fn look(name: &str) -> Manifest {
    pod(name).once().container("main", BUSYBOX, &["sh", "-c", LOOK])
}

/// What a pod saw, part by part.
fn seen(machine: &Machine, node: &Node, manifest: &Manifest, name: &str) -> Result<Vec<String>> {
    machine.world.operator.apply(manifest, node)?;
    let (_, printed) = machine.world.wait_for_end(node, name)?;
    Ok(printed.split("==\n").map(str::to_owned).collect())
}

#[test]
fn a_pod_finds_names_where_they_are() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let asks = look("asks")
        .spec("hostname", json!("box"))
        .spec("subdomain", json!("sub"))
        .spec("setHostnameAsFQDN", json!(true))
        .spec("hostAliases", json!([{"ip": "127.0.0.9", "hostnames": ["alias", "other.alias"]}]))
        .spec("dnsPolicy", json!("None"))
        .spec(
            "dnsConfig",
            json!({
                "nameservers": ["192.0.2.53"],
                "searches": ["a.example"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            }),
        );
    let parts = seen(&machine, &node, &asks, "asks")?;
    let [hosts, hostname, resolver, kernel, asked] = &parts[..] else { anyhow::bail!("{parts:?}") };
    let told = machine.world.statuses(&node, "asks");
    let told = told.into_iter().find_map(|status| status.addresses.first().copied());
    let address = told.map(|address| address.to_string()).unwrap_or_default();
    let whole = "box.sub.default.svc.cluster.local";
    ensure!(
        hosts.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"),
        "{hosts}"
    );
    ensure!(hosts.contains(&format!("\n{address}\t{whole}\tbox\n")), "{address}: {hosts}");
    let aliases = "\n# Entries added by HostAliases.\n127.0.0.9\talias\tother.alias\n";
    ensure!(hosts.ends_with(aliases), "{hosts}");
    ensure!(*hostname == format!("{whole}\n") && hostname == kernel, "{hostname}{kernel}");
    let expected = "search a.example\nnameserver 192.0.2.53\noptions ndots:2 edns0\n";
    ensure!(resolver == expected, "{resolver}");
    ensure!(asked.contains("127.0.0.9"), "the alias is found: {asked}");
    Ok(())
}

#[test]
fn a_pod_in_the_hosts_network_finds_the_hosts_names() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node("pod_cidr = \"none\"")?;
    let host = look("host").spec("hostNetwork", json!(true));
    let parts = seen(&machine, &node, &host, "host")?;
    let own = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let hosts = format!("# Kubernetes-managed hosts file (host network).\n{}", own("/etc/hosts"));
    ensure!(parts[0] == hosts, "{parts:?}");
    ensure!(parts[1] == parts[3], "the node's name: {parts:?}");
    for line in own("/etc/resolv.conf").lines().filter(|line| line.starts_with("nameserver")) {
        ensure!(parts[2].contains(line), "{line}: {parts:?}");
    }
    Ok(())
}

#[test]
fn a_containers_own_file_stays_and_what_it_writes_is_bounded() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let mounted = "cat /etc/hosts; echo ==; \
                   echo '127.0.0.8 added' >> /etc/resolv.conf && tail -n 1 /etc/resolv.conf; \
                   dd if=/dev/zero of=/etc/hostname bs=1M count=8 2>&1 | grep -o 'No space left'";
    let config = mote_tests::manifest::config_map("own", json!({"hosts": "127.0.0.7 own\n"}));
    machine.world.operator.apply(&config, &node)?;
    let mount = json!({"name": "own", "mountPath": "/etc/hosts", "subPath": "hosts"});
    let mut own = pod("own").once().container("main", BUSYBOX, &["sh", "-c", mounted]);
    own = own.spec("volumes", json!([{"name": "own", "configMap": {"name": "own"}}])).mount(mount);
    let parts = seen(&machine, &node, &own, "own")?;
    ensure!(parts[0] == "127.0.0.7 own\n", "{parts:?}");
    ensure!(parts[1].starts_with("127.0.0.8 added\n"), "{parts:?}");
    ensure!(parts[1].contains("No space left"), "{parts:?}");
    // With a root of its own, and one that is read-only, they are there all the same.
    let users = look("users").spec("hostUsers", json!(false));
    let parts = seen(&machine, &node, &users, "users")?;
    ensure!(parts[0].starts_with("# Kubernetes-managed") && parts[1] == "users\n", "{parts:?}");
    let fixed = look("fixed").with("securityContext", json!({"readOnlyRootFilesystem": true}));
    let parts = seen(&machine, &node, &fixed, "fixed")?;
    ensure!(parts[1] == "fixed\n", "{parts:?}");
    let status = machine.world.wait_for_phase(&node, "own", Phase::Succeeded);
    status.map(drop)
}
