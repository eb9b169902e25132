//! Which attempt's log is meant.

use mote_protocol::status::{ContainerState, ContainerStatus, PodStatus};

use super::Refused;

/// One attempt of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its number.
    pub attempt: u32,
    /// It runs; else how many seconds after the pod's start it ended.
    pub ended: Option<i32>,
}

/// Chooses as the kubelet does: the one before, the one that runs, else the last that ran. The first
/// process of the newest attempt may live and the container wait all the same: until its postStart
/// hook returned.
pub fn choose(
    status: &PodStatus,
    pod: &str,
    container: &str,
    lives: bool,
    previous: bool,
) -> Result<Instance, Refused> {
    let found = status.containers.iter().find(|found| found.name == *container);
    let Some(found) = found else {
        let message = format!("container {container} is not valid for pod {pod}");
        return Err(Refused::bad_request(message));
    };
    let place = format!("container \"{container}\" in pod \"{pod}\"");
    let newest = found.restarts;
    // What a container that runs, or has ended, was before is another attempt; one that waits has
    // no attempt of its own.
    let before = match found.state {
        ContainerState::Waiting { .. } if !lives => Some(newest),
        _ => newest.checked_sub(1),
    };
    let last = found.last.as_ref().zip(before);
    let last = last.map(|(end, attempt)| Instance { attempt, ended: Some(end.finished) });
    if previous {
        let message = format!("previous terminated {place} not found");
        return last.ok_or(Refused::bad_request(message));
    }
    match &found.state {
        ContainerState::Running { .. } => Ok(Instance { attempt: newest, ended: None }),
        ContainerState::Waiting { .. } if lives => Ok(Instance { attempt: newest, ended: None }),
        ContainerState::Terminated(end) => {
            Ok(Instance { attempt: newest, ended: Some(end.finished) })
        }
        ContainerState::Waiting { .. } => last.ok_or_else(|| waiting(&place, found)),
    }
}

fn waiting(place: &str, container: &ContainerStatus) -> Refused {
    let ContainerState::Waiting { reason, .. } = &container.state else {
        return Refused::bad_request(format!("{place} is not available"));
    };
    let why = match &**reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    Refused::bad_request(format!("{place} is waiting to start: {why}"))
}

#[cfg(test)]
mod tests {
    use mote_protocol::status::Terminated;

    use super::*;

    fn waiting(reason: &str) -> ContainerState {
        ContainerState::Waiting { reason: reason.into(), message: "".into() }
    }

    #[test]
    fn the_attempt_is_chosen_as_the_kubelet_chooses() {
        let end = |finished| Terminated { finished, ..Terminated::default() };
        let running = ContainerState::Running { since: 9 };
        let over = ContainerState::Terminated(end(20));
        let pod = |restarts, state: &ContainerState, last| {
            let (state, name) = (state.clone(), "main".into());
            let container =
                ContainerStatus { name, restarts, state, last, ..ContainerStatus::default() };
            PodStatus { containers: [container].into_iter().collect(), ..PodStatus::default() }
        };
        let chosen = |status: &PodStatus, previous| {
            choose(status, "web", "main", false, previous)
                .map(|instance| (instance.attempt, instance.ended))
                .map_err(|refused| refused.message)
        };
        let no_previous =
            "previous terminated container \"main\" in pod \"web\" not found".to_owned();
        let status = pod(0, &running, None);
        assert_eq!(chosen(&status, false), Ok((0, None)));
        assert_eq!(chosen(&status, true), Err(no_previous.clone()));
        let status = pod(3, &running, Some(end(8)));
        assert_eq!(
            (chosen(&status, false), chosen(&status, true)),
            (Ok((3, None)), Ok((2, Some(8))))
        );
        let status = pod(3, &over, Some(end(8)));
        assert_eq!(chosen(&status, false), Ok((3, Some(20))));
        assert_eq!(chosen(&status, true), Ok((2, Some(8))));
        // In back-off: the last that ran, either way.
        let status = pod(3, &waiting("CrashLoopBackOff"), Some(end(20)));
        assert_eq!(chosen(&status, false), Ok((3, Some(20))));
        assert_eq!(chosen(&status, true), Ok((3, Some(20))));
        // It runs, and its postStart hook has not returned.
        let hooked = |previous| {
            let status = pod(3, &waiting("PodInitializing"), Some(end(20)));
            choose(&status, "web", "main", true, previous).map(|found| (found.attempt, found.ended))
        };
        assert_eq!((hooked(false).ok(), hooked(true).ok()), (Some((3, None)), Some((2, Some(20)))));
        for (reason, told) in [
            ("ContainerCreating", "ContainerCreating"),
            ("ErrImagePull", "image can't be pulled"),
            ("ImagePullBackOff", "trying and failing to pull image"),
        ] {
            let message = format!("container \"main\" in pod \"web\" is waiting to start: {told}");
            assert_eq!(chosen(&pod(0, &waiting(reason), None), false), Err(message));
        }
        let refused =
            choose(&pod(0, &running, None), "web", "other", false, false).expect_err("none");
        assert_eq!(refused.message, "container other is not valid for pod web");
        assert_eq!(refused.reason, "BadRequest");
    }
}
