//! `mote get events`: `mote events`, by the habit of who knows kubectl.

use anyhow::bail;

use super::{EventsArgs, GetArgs};

impl GetArgs {
    /// The other command, where it is events that are asked for.
    pub fn as_events(&self) -> Option<anyhow::Result<EventsArgs>> {
        let (first, names) = self.resources.split_first()?;
        let word = first.to_ascii_lowercase();
        if !matches!(word.as_str(), "ev" | "event" | "events") {
            return None;
        }
        Some(self.events(names))
    }

    fn events(&self, names: &[String]) -> anyhow::Result<EventsArgs> {
        if !names.is_empty() || self.selector.is_some() || self.watch_only || self.show_labels {
            bail!("events have no names or labels: see \"mote events --help\"");
        }
        Ok(EventsArgs {
            about: None,
            node: self.node.clone(),
            all_namespaces: self.all_namespaces,
            types: Vec::new(),
            output: self.output.clone(),
            no_headers: self.no_headers,
            watch: self.watch,
        })
    }
}
