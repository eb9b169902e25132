//! Tells what changed from one status of a pod to the next, as lines for a person.

use std::time::Instant;

use mote_protocol::status::{ContainerState, PodCondition, PodStatus};

/// What was told so far.
#[derive(Debug)]
pub(super) struct Story {
    told: usize,
    facts: Vec<(String, String)>,
    start: Instant,
}

impl Default for Story {
    fn default() -> Self {
        Self { told: 0, facts: Vec::new(), start: Instant::now() }
    }
}

impl Story {
    /// Tells what is new in these statuses, oldest first.
    pub(super) fn tell(&mut self, statuses: &[PodStatus]) {
        for status in statuses.iter().skip(self.told) {
            for (subject, fact) in facts(status) {
                self.tell_fact(subject, fact);
            }
        }
        self.told = statuses.len();
    }

    fn tell_fact(&mut self, subject: String, fact: String) {
        let seconds = self.start.elapsed().as_secs_f64();
        let line = format!("{seconds:>8.3} s  {subject:<36} {fact}");
        match self.facts.iter_mut().find(|(other, _)| *other == subject) {
            Some((_, old)) if *old == fact => return,
            Some((_, old)) => *old = fact,
            None => self.facts.push((subject, fact)),
        }
        println!("{line}");
    }
}

fn facts(status: &PodStatus) -> Vec<(String, String)> {
    let mut facts = vec![("phase".to_owned(), status.phase.as_str().to_owned())];
    for condition in PodCondition::ALL {
        let truth = if status.conditions.is_true(condition) { "True" } else { "False" };
        facts.push((format!("condition {}", condition.as_str()), truth.to_owned()));
    }
    for container in &status.containers {
        let state = match &container.state {
            ContainerState::Waiting { reason, .. } => format!("waiting: {reason}"),
            ContainerState::Running { .. } => "running".to_owned(),
            ContainerState::Terminated(end) => {
                format!("terminated: {}, exit code {}", end.reason, end.exit_code)
            }
        };
        facts.push((format!("container {}", container.name), state));
    }
    if status.deleting.is_some() {
        facts.push(("pod".to_owned(), "is being deleted".to_owned()));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::status::Phase;

    #[test]
    fn only_what_changed_is_told() {
        let mut story = Story::default();
        let mut statuses = vec![PodStatus::default()];
        story.tell(&statuses);
        let before = story.facts.clone();
        statuses.push(PodStatus { phase: Phase::Running, ..PodStatus::default() });
        story.tell(&statuses);
        let changed = before.iter().zip(&story.facts).filter(|(old, new)| old != new).count();
        assert_eq!((changed, story.told), (1, 2));
    }
}
