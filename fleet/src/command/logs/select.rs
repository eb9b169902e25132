//! Which containers are meant, as kubectl chooses.

use anyhow::anyhow;

use crate::view::pod::PodView;
use mote_protocol::status::ContainerRole;

/// The annotation with which a pod names its most interesting container.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The containers of a pod by name, and what is said of a choice that nobody made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::command) struct Chosen {
    pub(in crate::command) names: Vec<String>,
    pub(in crate::command) note: Option<String>,
}

/// The names of a pod's containers: init containers and the others, each in their order.
#[derive(Debug, Default)]
struct Names<'a> {
    init: Vec<&'a str>,
    app: Vec<&'a str>,
    preferred: Option<&'a str>,
}

/// Chooses among a pod's containers.
pub(in crate::command) fn choose(
    view: &PodView<'_>,
    asked: Option<&str>,
    all: bool,
) -> anyhow::Result<Chosen> {
    let names = names(view);
    let every = names.init.iter().chain(&names.app);
    let name = view.key.name.as_str();
    if all {
        return Ok(Chosen { names: every.map(ToString::to_string).collect(), note: None });
    }
    if let Some(asked) = asked {
        if !every.clone().any(|known| *known == asked) {
            return Err(anyhow!("container {asked} is not valid for pod {name}"));
        }
        return Ok(Chosen { names: vec![asked.to_owned()], note: None });
    }
    if let Some(preferred) = names.preferred.filter(|name| every.clone().any(|n| n == name)) {
        return Ok(Chosen { names: vec![preferred.to_owned()], note: None });
    }
    let Some(first) = names.app.first() else {
        return Err(anyhow!("nothing is known of the containers of pod {name}"));
    };
    let others = names.app.len() + names.init.len() > 1;
    let init = names.init.iter().map(|name| format!("{name} (init)"));
    let list: Vec<_> = names.app.iter().map(ToString::to_string).chain(init).collect();
    let note = || format!("Defaulted container \"{first}\" out of: {}", list.join(", "));
    Ok(Chosen { names: vec![(*first).to_owned()], note: others.then(note) })
}

fn names<'a>(view: &'a PodView<'_>) -> Names<'a> {
    if let Some(pod) = &view.pod {
        return Names {
            init: pod.spec.init_containers.iter().map(|init| init.name.as_str()).collect(),
            app: pod.spec.containers.iter().map(|app| app.name.as_str()).collect(),
            preferred: pod.meta.annotations.get(DEFAULT_CONTAINER).map(String::as_str),
        };
    }
    // Its spec is gone from the broker; the node still tells what it has.
    let mut names = Names::default();
    for container in view.status().into_iter().flat_map(|status| &status.containers) {
        match container.role() {
            ContainerRole::App => names.app.push(&container.name),
            ContainerRole::Init | ContainerRole::Sidecar => names.init.push(&container.name),
        }
    }
    names
}
