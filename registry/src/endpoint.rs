//! Where the images of a repository may be found: mirrors in order, then the registry itself.

use std::collections::BTreeMap;

use super::Settings;
use super::error::RegistryError;
use super::transport::protocol;
use super::url::Origin;
use crate::reference::Reference;

/// One who may have an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Whom to ask.
    pub origin: Origin,
    /// `registry/repository`, by which credentials are looked up.
    pub name: String,
    /// The registry that a mirror stands in for (parameter `ns`, "Registry Proxying" in the OCI
    /// distribution specification).
    pub namespace: Option<String>,
}

/// The way to the repository that is asked for now, and to those that were before.
#[derive(Debug, Default)]
pub(super) struct Route {
    repository: String,
    ways: BTreeMap<String, Way>,
}

/// Those who may have the images of one repository, and how far down the list we are.
#[derive(Debug)]
struct Way {
    endpoints: Vec<Endpoint>,
    at: usize,
}

impl Route {
    /// Makes this the route to a reference. Whoever was passed over on the way to another version
    /// of the same repository stays so: a mirror that is down costs its timeout once.
    pub(super) fn lead_to(
        &mut self,
        reference: &Reference,
        settings: &Settings,
    ) -> Result<(), RegistryError> {
        let repository = reference.name();
        if !self.ways.contains_key(&repository) {
            let way = Way { endpoints: endpoints(reference, settings)?, at: 0 };
            self.ways.insert(repository.clone(), way);
        }
        self.repository = repository;
        Ok(())
    }

    /// Whom to ask now.
    pub(super) fn endpoint(&self) -> Result<&Endpoint, RegistryError> {
        let way = self.ways.get(&self.repository);
        way.and_then(|way| way.endpoints.get(way.at))
            .ok_or_else(|| protocol(&self.repository, "nobody is to be asked"))
    }

    /// Goes on to the next one and gives whom it left; `None` where that is the last.
    pub(super) fn pass_over(&mut self) -> Option<String> {
        let way = self.ways.get_mut(&self.repository)?;
        if way.at + 1 >= way.endpoints.len() {
            return None;
        }
        let left = way.endpoints.get(way.at)?.origin.to_string();
        way.at += 1;
        Some(left)
    }
}

fn endpoints(reference: &Reference, settings: &Settings) -> Result<Vec<Endpoint>, RegistryError> {
    let repository = reference.repository();
    let endpoint = |authority: &str, registry: &str, namespace| {
        let origin = Origin::parse(!settings.is_plain(authority), authority)
            .ok_or_else(|| protocol(authority, "an impossible host name"))?;
        Ok(Endpoint { origin, name: format!("{registry}/{repository}"), namespace })
    };
    let own = reference.registry();
    let is_own = |configured: &str| {
        let same = |tls| Origin::parse(tls, own).is_some_and(|origin| origin.is(configured));
        same(!settings.is_plain(own))
    };
    let special = settings.hosts.iter().find(|host| is_own(&host.host));
    let mirrors = special.into_iter().flat_map(|host| &host.mirrors);
    let mut found = mirrors
        .map(|mirror| endpoint(mirror, mirror, Some(own.to_owned())))
        .collect::<Result<Vec<_>, RegistryError>>()?;
    found.push(endpoint(reference.endpoint(), own, None)?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::Host;
    use super::*;

    #[test]
    fn mirrors_come_first_each_with_its_own_manners() {
        let settings = Settings {
            hosts: vec![
                Host {
                    host: "docker.io".into(),
                    mirrors: vec!["m.local:5000".into(), "n.example".into()],
                    ..Host::default()
                },
                Host { host: "m.local:5000".into(), plain_http: true, ..Host::default() },
            ],
            ..Settings::default()
        };
        let mut route = Route::default();
        route.lead_to(&"busybox:1".parse().unwrap(), &settings).unwrap();
        let mut seen = Vec::new();
        loop {
            let Endpoint { origin, name, namespace } = route.endpoint().unwrap();
            seen.push((origin.to_string(), origin.tls, name.clone(), namespace.clone()));
            if route.pass_over().is_none() {
                break;
            }
        }
        let hub = Some("docker.io".to_owned());
        assert_eq!(
            seen,
            [
                ("m.local:5000".into(), false, "m.local:5000/library/busybox".into(), hub.clone()),
                ("n.example".into(), true, "n.example/library/busybox".into(), hub),
                ("registry-1.docker.io".into(), true, "docker.io/library/busybox".into(), None),
            ]
        );
        // Another tag of the same repository goes on where this one ended.
        route.lead_to(&"busybox:2".parse().unwrap(), &settings).unwrap();
        assert_eq!(route.endpoint().unwrap().namespace, None);
        route.lead_to(&"r.example/a".parse().unwrap(), &settings).unwrap();
        assert_eq!(route.endpoint().unwrap().origin.to_string(), "r.example");
        assert!(route.pass_over().is_none());
        // Nor does it begin anew where there was another in between.
        route.lead_to(&"busybox:3".parse().unwrap(), &settings).unwrap();
        assert_eq!(route.endpoint().unwrap().namespace, None);
    }
}
