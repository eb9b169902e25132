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
