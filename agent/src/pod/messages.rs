//! How much of the containers' last words a status has room for.

use mote_protocol::limits::MAX_TERMINATION_MESSAGE;
use mote_protocol::status::{ContainerState, ContainerStatus};
use mote_protocol::text::Text;

/// Bytes of all termination messages of a pod, as in the kubelet.
const POD_BYTES: usize = 12 * 1024;

/// Gives each container its share and cuts what is longer, keeping its beginning.
///
/// The kubelet gives the attempt before a share of its own; here it gets what the last one leaves,
/// so that a status always fits into one message to the broker.
pub(super) fn bound(containers: &mut [ContainerStatus]) {
    let share = POD_BYTES / containers.len().max(1);
    for container in containers {
        let mut room = share;
        if let ContainerState::Terminated(ended) = &mut container.state {
            cut(&mut ended.message, room);
            room -= ended.message.len();
        }
        if let Some(ended) = &mut container.last {
            cut(&mut ended.message, room);
        }
    }
}

fn cut(message: &mut Text<MAX_TERMINATION_MESSAGE>, room: usize) {
    if message.len() > room {
        let head = message.get(..message.floor_char_boundary(room)).unwrap_or_default();
        *message = Text::new(head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::status::{ContainerRole, Terminated};
    use mote_protocol::text::Short;

    fn ended(message: &str) -> Terminated {
        Terminated {
            exit_code: 1,
            reason: Short::new("Error"),
            message: Text::new(message),
            started: 0,
            finished: 0,
        }
    }

    fn containers(count: usize, message: &str) -> Vec<ContainerStatus> {
        let container = ContainerStatus {
            name: Short::new("main"),
            flags: ContainerStatus::pack(ContainerRole::App, false, false),
            restarts: 1,
            image: None,
            state: ContainerState::Terminated(ended(message)),
            last: Some(ended(message)),
        };
        vec![container; count]
    }

    fn lengths(container: &ContainerStatus) -> (usize, usize) {
        let ContainerState::Terminated(now) = &container.state else { panic!("it ended") };
        (now.message.len(), container.last.as_ref().unwrap().message.len())
    }

    #[test]
    fn one_container_may_say_all_and_many_share() {
        let long = "x".repeat(4096);
        let mut one = containers(1, &long);
        bound(&mut one);
        assert_eq!(lengths(&one[0]), (4096, 4096));
        let mut six = containers(6, &long);
        bound(&mut six);
        assert!(six.iter().all(|container| lengths(container) == (2048, 0)));
        let mut short = containers(6, &"x".repeat(1500));
        bound(&mut short);
        assert!(short.iter().all(|container| lengths(container) == (1500, 548)));
        bound(&mut []);
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        let mut seven = containers(7, &"\u{fffd}".repeat(1000));
        bound(&mut seven);
        assert_eq!(lengths(&seven[0]).0, 1755 / 3 * 3);
    }
}
