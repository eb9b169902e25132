//! The rules of `deny.toml`, and what breaks them in a dependency tree. PURE.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::licence;

/// Where every crate comes from that is not ours.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// `deny.toml`. A rule that is unknown here would be one that nobody keeps: it is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) graph: Graph,
    /// For `cargo deny`: they change while nothing here does.
    #[serde(rename = "advisories")]
    _advisories: toml::Table,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graph {
    pub(crate) targets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    #[serde(rename = "version")]
    _version: u32,
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
    #[serde(default)]
    clarify: Vec<Clarification>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clarification {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
    /// Which text that was read in: for `cargo deny`, which compares it.
    #[serde(rename = "license-files")]
    _license_files: toml::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    #[serde(rename = "multiple-versions")]
    _multiple_versions: Level,
    wildcards: Level,
    allow_wildcard_paths: bool,
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Level,
    unknown_git: Level,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Allow,
    Warn,
    Deny,
}

/// What `cargo metadata` prints, as far as it is of interest.
#[derive(Deserialize)]
pub(crate) struct Tree {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Ours have none.
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

impl Rules {
    /// Everything in a tree that breaks a rule, in words.
    pub(crate) fn broken(&self, tree: &Tree) -> Vec<String> {
        let all: BTreeMap<_, _> = tree.packages.iter().map(|one| (one.id.as_str(), one)).collect();
        let mut found = Vec::new();
        for node in &tree.resolve.nodes {
            let Some(package) = all.get(node.id.as_str()) else { continue };
            found.extend(self.source(package).into_iter().chain(self.licence(package)));
            found.extend(self.wildcards(package));
            let used = node.dependencies.iter().filter_map(|id| all.get(id.as_str()));
            found.extend(used.filter_map(|used| self.banned(package, used)));
        }
        found
    }

    fn source(&self, package: &Package) -> Option<String> {
        let source = package.source.as_deref().filter(|source| *source != CRATES_IO)?;
        let git = source.starts_with("git+");
        let rule = if git { self.sources.unknown_git } else { self.sources.unknown_registry };
        (rule == Level::Deny).then(|| format!("{}: comes from {source}", package.title()))
    }

    fn licence(&self, package: &Package) -> Option<String> {
        let title = package.title();
        let clear = self.licenses.clarify.iter().find(|one| one.name == package.name);
        let expression = clear.map(|one| &one.expression).or(package.license.as_ref());
        let Some(expression) = expression else { return Some(format!("{title}: has no licence")) };
        let excepted = self.licenses.exceptions.iter().filter(|one| one.name == package.name);
        let extra: Vec<_> = excepted.flat_map(|one| &one.allow).collect();
        let allowed = |name: &str| {
            let is = |allowed: &String| allowed == name;
            self.licenses.allow.iter().any(is) || extra.iter().any(|allowed| is(allowed))
        };
        match licence::is_met(expression, &allowed) {
            Some(true) => None,
            Some(false) => Some(format!("{title}: licence `{expression}` is not allowed")),
            None => Some(format!("{title}: licence `{expression}` is no expression")),
        }
    }

    fn wildcards(&self, package: &Package) -> Vec<String> {
        let ours = package.source.is_none() && self.bans.wildcards == Level::Deny;
        let open = package.dependencies.iter().filter(|one| ours && one.req == "*");
        open.filter(|one| one.path.is_none() || !self.bans.allow_wildcard_paths)
            .map(|one| format!("{}: takes any version of {}", package.title(), one.name))
            .collect()
    }

    fn banned(&self, user: &Package, used: &Package) -> Option<String> {
        let ban = self.bans.deny.iter().find(|ban| ban.name == used.name)?;
        let wrapped = ban.wrappers.contains(&user.name);
        (!wrapped).then(|| format!("{}: uses {} ({})", user.title(), used.title(), ban.reason))
    }
}

impl Package {
    fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const RULES: &str = r#"
        [graph]
        targets = []
        [advisories]
        [licenses]
        version = 2
        allow = ["MIT"]
        exceptions = [{ crate = "hash", allow = ["CC0-1.0"] }]
        [[licenses.clarify]]
        crate = "silent"
        expression = "MIT"
        license-files = []
        [bans]
        multiple-versions = "warn"
        wildcards = "deny"
        allow-wildcard-paths = true
        deny = [
          { crate = "old", reason = "unmaintained" },
          { crate = "broker", reason = "for the demo", wrappers = ["demo"] },
        ]
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
    "#;

    fn package(name: &str, license: Option<&str>, source: Option<&str>, takes: &Value) -> Value {
        json!({
            "id": name, "name": name, "version": "1.0.0",
            "license": license, "source": source, "dependencies": takes,
        })
    }

    fn broken(packages: &[Value], uses: &[(&str, &str)]) -> Vec<String> {
        let node = |package: &Value| {
            let id = package["id"].as_str().expect("an id");
            let used = uses.iter().filter(|(user, _)| *user == id).map(|(_, used)| used);
            json!({ "id": id, "dependencies": used.collect::<Vec<_>>() })
        };
        let nodes: Vec<_> = packages.iter().map(node).collect();
        let tree = json!({ "packages": packages, "resolve": { "nodes": nodes } });
        let rules: Rules = toml::from_str(RULES).expect("rules");
        rules.broken(&serde_json::from_value(tree).expect("a tree"))
    }

    #[test]
    fn each_broken_rule_is_found() {
        let mit = Some("MIT");
        let from = |name, license, source| package(name, license, Some(source), &json!([]));
        let good = |name| from(name, mit, CRATES_IO);
        let open = json!([
            { "name": "any", "req": "*", "path": null },
            { "name": "ours", "req": "*", "path": "/ours" },
        ]);
        let packages = [
            package("demo", mit, None, &open),
            good("broker"),
            good("old"),
            from("silent", None, CRATES_IO),
            from("nameless", None, CRATES_IO),
            from("hash", Some("CC0-1.0"), CRATES_IO),
            from("free", Some("CC0-1.0"), CRATES_IO),
            from("forked", mit, "git+https://example.org/forked"),
        ];
        let uses = [("demo", "broker"), ("hash", "broker"), ("demo", "old")];
        let expected = [
            "demo 1.0.0: takes any version of any",
            "demo 1.0.0: uses old 1.0.0 (unmaintained)",
            "nameless 1.0.0: has no licence",
            "hash 1.0.0: uses broker 1.0.0 (for the demo)",
            "free 1.0.0: licence `CC0-1.0` is not allowed",
            "forked 1.0.0: comes from git+https://example.org/forked",
        ];
        assert_eq!(broken(&packages, &uses), expected);
    }
}
