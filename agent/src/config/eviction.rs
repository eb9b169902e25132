//! `[eviction]`: when the node is short of something.

use std::time::Duration;

use super::problem::Rule;
use super::section::Section;
use crate::eviction::threshold::{Defaults, Grace, Line, Reclaim};
use crate::eviction::{Settings, Signal};

/// Signals of one list.
const MAX_SIGNALS: usize = 8;

pub(super) fn read(section: &mut Section<'_, '_>) -> Settings {
    let defaults = section.text("defaults");
    let defaults = section.parse::<Defaults>(defaults).unwrap_or_default();
    let hard = section.list_where_any::<Line>("hard", MAX_SIGNALS);
    let hard = hard.unwrap_or_else(|| defaults.lines());
    let soft = section.list::<Line>("soft", MAX_SIGNALS);
    let grace = section.list::<Grace>("soft_grace", MAX_SIGNALS);
    let reclaim = section.list::<Reclaim>("min_reclaim", MAX_SIGNALS);
    once(section, "hard", hard.iter().map(|line| line.0));
    once(section, "soft", soft.iter().map(|line| line.0));
    once(section, "soft_grace", grace.iter().map(|grace| grace.0));
    once(section, "min_reclaim", reclaim.iter().map(|reclaim| reclaim.0));
    let soft = with_grace(section, &soft, &grace);
    let transition = section.integer("transition_s", 0..=86_400, 300);
    let max_pod_grace = section.integer("max_pod_grace_s", 0..=86_400, 0);
    Settings {
        transition: Duration::from_secs(transition),
        max_pod_grace_s: u32::try_from(max_pod_grace).unwrap_or(u32::MAX),
        ..Settings::new(&hard, &soft, &reclaim)
    }
}

fn once(section: &Section<'_, '_>, key: &str, signals: impl Iterator<Item = Signal>) {
    let mut seen = Vec::new();
    for signal in signals {
        if seen.contains(&signal) {
            let rule = format!("`{}` is there twice", signal.as_str());
            section.report(None, key, Rule::Invalid(rule));
        }
        seen.push(signal);
    }
}

/// Soft thresholds with their times: each has one, and there is no other.
fn with_grace(section: &Section<'_, '_>, soft: &[Line], grace: &[Grace]) -> Vec<(Line, Duration)> {
    for Grace(signal, _) in grace {
        if !soft.iter().any(|Line(of, _)| of == signal) {
            let rule = format!("`{}` has no threshold in `soft`", signal.as_str());
            section.report(None, "soft_grace", Rule::Invalid(rule));
        }
    }
    let mut thresholds = Vec::new();
    for line in soft {
        if let Some(Grace(_, time)) = grace.iter().find(|Grace(signal, _)| *signal == line.0) {
            thresholds.push((*line, *time));
        } else {
            let rule = format!("`{}` needs a time in `soft_grace`", line.0.as_str());
            section.report(None, "soft", Rule::Invalid(rule));
        }
    }
    thresholds
}
