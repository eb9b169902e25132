//! What a container finds of names and addresses: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`,
//! as a kubelet and its runtime make them.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;

use mote_protocol::name::ContainerName;
use mote_protocol::pod::{DnsPolicy, HostAlias, PodNetwork};

use crate::pod::Pod;
use crate::runtime::PodFile;

/// What whole names of services and pods end in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDomain(String);

/// Why a text is no domain for services and pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be labels of lower-case letters, digits and `-`, with dots between, of {MAX_CLUSTER_DOMAIN} \
     characters at most"
)]
pub struct ClusterDomainError;

/// With a service's name, a port's and a namespace before it, a name still has fewer than 254.
const MAX_CLUSTER_DOMAIN: usize = 80;

impl Default for ClusterDomain {
    fn default() -> Self {
        Self("cluster.local".to_owned())
    }
}

impl std::str::FromStr for ClusterDomain {
    type Err = ClusterDomainError;

    fn from_str(text: &str) -> Result<Self, ClusterDomainError> {
        // Each is a label, as a container's name is.
        let label = |label: &str| ContainerName::new(label).is_ok();
        let fits = text.len() <= MAX_CLUSTER_DOMAIN && text.split('.').all(label);
        if fits { Ok(Self(text.to_owned())) } else { Err(ClusterDomainError) }
    }
}

impl std::fmt::Display for ClusterDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Nameservers of a `resolv.conf` that C libraries ask, as the API server and the kubelet bound them.
pub const MAX_NAMESERVERS: usize = 3;

/// Its search paths, likewise.
pub const MAX_SEARCHES: usize = 32;

/// The characters of these, with a space between any two, likewise.
pub const MAX_SEARCH_CHARACTERS: usize = 2048;

/// Longest name that the kernel takes for a host.
pub const MAX_NODENAME: usize = 64;

/// How a pod wants to be called, and to find others, where it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `hostAliases`.
    pub aliases: Vec<HostAlias>,
    /// `dnsPolicy`.
    pub policy: DnsPolicy,
    /// `dnsConfig`.
    pub dns: Resolver,
    /// What follows its hostname in its whole name; empty where it has none.
    pub domain: String,
}

impl Names {
    /// Those of a pod in this namespace; none where it asks for nothing.
    pub fn of(network: &PodNetwork, namespace: &str, domain: &ClusterDomain) -> Option<Box<Self>> {
        let dns = &network.dns_config;
        let names = Self {
            aliases: network.host_aliases.clone(),
            policy: network.dns_policy,
            dns: Resolver {
                nameservers: dns.nameservers.clone(),
                searches: dns.searches.clone(),
                options: dns.options.clone(),
            },
            domain: self::domain(network, namespace, domain),
        };
        (names != Self::default()).then(|| Box::new(names))
    }
}

/// `SUBDOMAIN.NAMESPACE.svc.DOMAIN`; empty for a pod without a subdomain.
pub fn domain(network: &PodNetwork, namespace: &str, domain: &ClusterDomain) -> String {
    match network.subdomain.as_str() {
        "" => String::new(),
        subdomain => format!("{subdomain}.{namespace}.svc.{domain}"),
    }
}

/// What a `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `nameserver`, each.
    pub nameservers: Vec<String>,
    /// `search`.
    pub searches: Vec<String>,
    /// `options`: name, and value behind a colon.
    pub options: Vec<(String, Option<String>)>,
}

/// Files of the node that pods are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFiles {
    /// The node's name, as its kernel has it.
    pub hostname: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/resolv.conf`.
    pub resolver: String,
    /// The same as its own local resolver has it, where it has one.
    pub beyond: String,
    /// Who answers for services and pods, where somebody does.
    pub cluster: Option<Cluster>,
}

/// Who answers for services and pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What their names end in.
    pub domain: ClusterDomain,
    /// Whom pods ask.
    pub pods: IpAddr,
    /// Whom pods in the node's network ask.
    pub node: IpAddr,
}

/// Reads the node's files about names, which change.
#[derive(Clone)]
pub struct NodeFilesReader(Rc<dyn Fn() -> NodeFiles>);

impl NodeFilesReader {
    /// One that does this each time.
    pub fn new(read: impl Fn() -> NodeFiles + 'static) -> Self {
        Self(Rc::new(read))
    }

    /// As they are now.
    pub fn read(&self) -> NodeFiles {
        (self.0)()
    }
}

impl std::fmt::Debug for NodeFilesReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeFilesReader")
    }
}

/// The files of a pod with these addresses. One that has nothing but localhost gets only what it asks
/// for: its images' files tell as much.
pub fn files(pod: &Pod, addresses: &[IpAddr], node: &NodeFiles) -> Vec<PodFile> {
    let none = Names::default();
    let names = pod.names.as_deref().unwrap_or(&none);
    let reached = pod.host.network || !addresses.is_empty();
    let asks_dns = names.policy == DnsPolicy::None || names.dns != Resolver::default();
    let mut files = Vec::new();
    if reached || !names.aliases.is_empty() {
        let text = hosts(pod, names, addresses, node);
        files.push(PodFile { name: "hosts", target: "/etc/hosts", text });
    }
    if reached {
        let name = if pod.host.network { &node.hostname } else { &pod.hostname };
        let text = format!("{name}\n");
        files.push(PodFile { name: "hostname", target: "/etc/hostname", text });
    }
    if reached || asks_dns {
        let text = resolver(pod, names, node).to_string();
        files.push(PodFile { name: "resolv.conf", target: "/etc/resolv.conf", text });
    }
    files
}

fn hosts(pod: &Pod, names: &Names, addresses: &[IpAddr], node: &NodeFiles) -> String {
    let mut text = if pod.host.network {
        format!("# Kubernetes-managed hosts file (host network).\n{}", node.hosts)
    } else {
        own_hosts(pod, &names.domain, addresses)
    };
    if !names.aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for HostAlias { ip, hostnames } in &names.aliases {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{ip}\t{}", hostnames.join("\t"));
        }
    }
    text
}

fn own_hosts(pod: &Pod, domain: &str, addresses: &[IpAddr]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let whole = format!(".{domain}");
    let short = pod.hostname.strip_suffix(&whole).unwrap_or(&pod.hostname);
    for address in addresses {
        let _ = match domain {
            "" => writeln!(text, "{address}\t{short}"),
            domain => writeln!(text, "{address}\t{short}.{domain}\t{short}"),
        };
    }
    text
}

/// By `dnsPolicy`, with `dnsConfig` over it. Without a resolver of the node's, `ClusterFirst` is what the
/// node has, as for a kubelet that knows none.
fn resolver(pod: &Pod, names: &Names, node: &NodeFiles) -> Resolver {
    let host_network = pod.host.network;
    let cluster = node.cluster.as_ref().filter(|_| match names.policy {
        DnsPolicy::ClusterFirst => !host_network,
        DnsPolicy::ClusterFirstWithHostNet => true,
        DnsPolicy::Default | DnsPolicy::None => false,
    });
    let mut resolver = match (names.policy, cluster) {
        (DnsPolicy::None, _) => Resolver::default(),
        (_, Some(cluster)) => cluster.resolver(pod, node),
        _ if host_network => Resolver::parse(&node.resolver),
        _ => for_pods(node),
    };
    let own = &names.dns;
    resolver.nameservers.extend(own.nameservers.iter().cloned());
    resolver.searches.extend(own.searches.iter().cloned());
    for (name, value) in &own.options {
        resolver.options.retain(|(other, _)| other != name);
        resolver.options.push((name.clone(), value.clone()));
    }
    resolver.bounded()
}

/// What the node asks, without who listens on its own localhost: that is another one in a pod.
fn for_pods(node: &NodeFiles) -> Resolver {
    let local = |text: &String| {
        text.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    };
    let mut resolver = Resolver::parse(&node.resolver);
    if resolver.nameservers.iter().all(local) && !node.beyond.is_empty() {
        resolver = Resolver::parse(&node.beyond);
    }
    resolver.nameservers.retain(|nameserver| !local(nameserver));
    resolver
}

impl Cluster {
    fn resolver(&self, pod: &Pod, node: &NodeFiles) -> Resolver {
        let (domain, namespace) = (&self.domain, pod.name.namespace.as_str());
        let nameserver = if pod.host.network { self.node } else { self.pods };
        let searches = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}")];
        let of_node = Resolver::parse(&node.resolver).searches;
        let searches = searches.into_iter().chain([domain.to_string()]).chain(of_node);
        Resolver {
            nameservers: vec![nameserver.to_string()],
            searches: searches.collect(),
            options: vec![("ndots".to_owned(), Some("5".to_owned()))],
        }
    }
}

impl Resolver {
    /// What a text says, as the kubelet reads it: of several lines `search` the last counts, options
    /// come together.
    pub(crate) fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
                Some("search") => {
                    let names = words.map(|name| name.strip_suffix('.').unwrap_or(name));
                    let named = names.filter(|name| !name.is_empty());
                    resolver.searches = named.map(str::to_owned).collect();
                }
                Some("options") => {
                    for word in words {
                        let (name, value) = match word.split_once(':') {
                            Some((name, value)) => (name, Some(value.to_owned())),
                            None => (word, None),
                        };
                        resolver.options.retain(|(other, _)| other != name);
                        resolver.options.push((name.to_owned(), value));
                    }
                }
                _ => {}
            }
        }
        resolver
    }

    /// Each once, and no more than are read.
    fn bounded(mut self) -> Self {
        once(&mut self.nameservers);
        once(&mut self.searches);
        self.nameservers.truncate(MAX_NAMESERVERS);
        self.searches.truncate(MAX_SEARCHES);
        while self.searches.join(" ").len() > MAX_SEARCH_CHARACTERS {
            self.searches.pop();
        }
        self
    }
}

fn once(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|text| seen.insert(text.clone()));
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for nameserver in &self.nameservers {
            writeln!(f, "nameserver {nameserver}")?;
        }
        let option = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        };
        let options: Vec<_> = self.options.iter().map(option).collect();
        if options.is_empty() { Ok(()) } else { writeln!(f, "options {}", options.join(" ")) }
    }
}

#[cfg(test)]
mod tests;
