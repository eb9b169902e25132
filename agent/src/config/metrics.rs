//! `[metrics]`: where what is used may be scraped.

use super::problem::Rule;
use super::section::Section;
use crate::metrics::{Listen, MetricsConfig};

pub(super) fn read(section: &mut Section<'_, '_>) -> MetricsConfig {
    let listen = section.text("listen");
    let line = listen.as_ref().and_then(|found| found.line);
    let listen = section.parse::<Listen>(listen);
    let remote = section.flag("allow_remote");
    if listen.as_ref().is_some_and(|listen| !listen.is_local() && !remote) {
        let rule = "others reach it, with no password asked: use 127.0.0.1 or unix:/PATH, or set \
                    `allow_remote = true`";
        section.report(line, "listen", Rule::Invalid(rule.to_owned()));
    }
    MetricsConfig { listen }
}
