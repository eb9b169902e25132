//! What a pod tells of itself: its machine in the wire's words.

use std::collections::BTreeSet;

use mote_protocol::cordon::UNSCHEDULABLE;
use mote_protocol::extension::Extensions;
use mote_protocol::limits::{MAX_ADDRESSES, MAX_CONTAINERS, MAX_POD_CONDITIONS};
use mote_protocol::object::Revision;
use mote_protocol::status::{
    ConditionCause, Conditions, ContainerRole, ContainerState, ContainerStatus, IpAddress, Phase,
    PodCondition, PodStatus, Refusal, Terminated, UnhealthyDevice,
};
use mote_protocol::text::{Short, Text};

use super::Moment;
use super::machine::{
    Ended, Health, Machine, NETWORK_NOT_READY, PostStart, Run, Running, Sandbox, Slot, Stage,
    UNSCHEDULABLE_MESSAGE,
};
use super::storage::is_for_others;

/// The condition of pods that do without a right that they asked for.
const UNENFORCED: &str = "Unenforced";

/// The condition of pods with images that no registry could be asked about.
const MAY_BE_STALE: &str = "ImageMayBeStale";

/// The condition of pods that the node ended for others.
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// What a status says beside what the machine knows.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The revision that the node works on.
    pub accepted: Revision,
    /// The newest revision seen, where that is another.
    pub refusal: Option<Refusal>,
    /// The node's addresses, for a pod that has those.
    pub node_addresses: Vec<IpAddress>,
}

/// The status of one pod.
pub fn of(machine: &Machine, context: Context) -> PodStatus {
    let start = machine.accepted();
    let mut conditions = Conditions::default();
    for condition in PodCondition::ALL {
        conditions.set(condition, machine.transitions().get(condition).0);
    }
    conditions.since =
        PodCondition::ALL.map(|condition| offset(machine.transitions().get(condition).1, start));
    let cause = machine.verdict().and_then(|verdict| verdict.cause.as_ref());
    let told = machine.phase().is_terminal();
    let mut status = PodStatus {
        accepted: context.accepted,
        refusal: context.refusal,
        uid: Some(machine.pod().name.uid),
        phase: machine.phase(),
        deleting: match machine.stage() {
            Stage::Removing { grace_s, .. } => Some(grace_s),
            _ => None,
        },
        cause: cause.filter(|_| told).map(|(reason, text)| (Short::new(reason), Text::new(text))),
        started: start.seconds(),
        addresses: addresses(machine, context.node_addresses),
        causes: causes(machine, &conditions).into_iter().take(MAX_POD_CONDITIONS).collect(),
        conditions,
        containers: containers(machine).into_iter().take(MAX_CONTAINERS).collect(),
        extensions: Extensions::default(),
    };
    status.set_unhealthy_devices(unhealthy(machine));
    status
}

/// A pod in the node's network has the node's; one whose sandbox is no more has none.
fn addresses<A: FromIterator<IpAddress>>(machine: &Machine, node: Vec<IpAddress>) -> A {
    let own = machine.addresses().iter().copied();
    let node = node.into_iter().filter(|_| machine.sandbox() == Sandbox::Ready);
    own.chain(node).take(MAX_ADDRESSES).collect()
}

/// Devices that containers have and cannot use.
fn unhealthy(machine: &Machine) -> impl Iterator<Item = UnhealthyDevice> {
    machine.containers().flat_map(|(_, container, slot)| {
        let ill = slot.devices().iter().filter(|given| given.health != Health::Healthy);
        ill.map(|given| UnhealthyDevice {
            container: Short::new(&container.name),
            resource: Short::new(&given.resource),
            replaced: given.health == Health::Replaced,
        })
    })
}

/// Seconds after the pod's start, as container times are told.
fn offset(at: Moment, start: Moment) -> i32 {
    let seconds = at.seconds().saturating_sub(start.seconds());
    i32::try_from(seconds).unwrap_or(if seconds < 0 { i32::MIN } else { i32::MAX })
}

fn containers(machine: &Machine) -> Vec<ContainerStatus> {
    let has_init = machine.slots().iter().any(|slot| slot.role != ContainerRole::App);
    let mut list: Vec<_> = machine
        .containers()
        .map(|(_, container, slot)| container_status(machine, &container.name, slot, has_init))
        .collect();
    // Init containers in the order of the spec, the others by name.
    list.sort_by(|a, b| match (a.role(), b.role()) {
        (ContainerRole::App, ContainerRole::App) => a.name.cmp(&b.name),
        (ContainerRole::App, _) => std::cmp::Ordering::Greater,
        (_, ContainerRole::App) => std::cmp::Ordering::Less,
        (_, _) => std::cmp::Ordering::Equal,
    });
    super::messages::bound(&mut list);
    list
}

fn container_status(machine: &Machine, name: &str, slot: &Slot, has_init: bool) -> ContainerStatus {
    let (state, last) = state(machine, slot, has_init);
    ContainerStatus {
        name: Short::new(name),
        flags: ContainerStatus::pack(slot.role, slot.is_ready(), slot.is_started()),
        restarts: slot.newest(),
        image: slot.ran_image.map(|image| *image.as_bytes()),
        state,
        last: last.map(|ended| terminated(ended, machine.accepted())),
    }
}

/// What a container is doing, and how the attempt before ended.
fn state<'a>(
    machine: &Machine,
    slot: &'a Slot,
    has_init: bool,
) -> (ContainerState, Option<&'a Ended>) {
    let start = machine.accepted();
    let waits = machine.waits_for_node() && slot.wants_start(machine.pod().restart_policy);
    match (&slot.run, &slot.hold) {
        (run, _) if waits => {
            let last = if let Run::Ended(ended) = run { Some(ended) } else { slot.last_end() };
            (waiting(UNSCHEDULABLE, UNSCHEDULABLE_MESSAGE), last)
        }
        (Run::Running(Running { post_start: PostStart::Failed(why), .. }), _) => {
            (waiting("PostStartHookError", why), slot.last.as_ref())
        }
        (Run::Running(running), _) if running.post_start == PostStart::Done => {
            (ContainerState::Running { since: offset(running.since, start) }, slot.last.as_ref())
        }
        (Run::Ended(ended), Some(hold)) => (waiting(hold.reason, &hold.message), Some(ended)),
        (Run::Ended(ended), None) => {
            (ContainerState::Terminated(terminated(ended, start)), slot.last.as_ref())
        }
        (Run::Idle, Some(hold)) => (waiting(hold.reason, &hold.message), slot.last.as_ref()),
        (Run::Idle | Run::Starting { .. } | Run::Running(_), _) => {
            let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
            let (reason, message) = match machine.no_network() {
                Some(why) => (NETWORK_NOT_READY, why),
                None => (reason, ""),
            };
            (waiting(reason, message), slot.last_end())
        }
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState::Waiting { reason: Short::new(reason), message: Text::new(message) }
}

fn terminated(ended: &Ended, start: Moment) -> Terminated {
    Terminated {
        exit_code: ended.code,
        reason: Short::new(ended.reason_word()),
        message: Text::new(&ended.message),
        started: offset(ended.started, start),
        finished: offset(ended.finished, start),
    }
}

fn cause(condition: PodCondition, reason: &str, message: &str) -> ConditionCause {
    ConditionCause {
        condition: Short::new(condition.as_str()),
        reason: Short::new(reason),
        message: Text::new(message),
    }
}

/// Why conditions do not hold, in the kubelet's words.
fn causes(machine: &Machine, conditions: &Conditions) -> Vec<ConditionCause> {
    let mut causes = Vec::new();
    if !conditions.is_true(PodCondition::PodScheduled) {
        causes.push(cause(PodCondition::PodScheduled, UNSCHEDULABLE, UNSCHEDULABLE_MESSAGE));
    }
    let over = match machine.phase() {
        Phase::Succeeded => Some("PodCompleted"),
        Phase::Failed => Some("PodFailed"),
        _ => None,
    };
    if !conditions.is_true(PodCondition::Initialized) {
        let incomplete = names(machine, |slot| match slot.role {
            ContainerRole::Init => !slot.ended().is_some_and(Ended::succeeded),
            ContainerRole::Sidecar => !slot.is_started(),
            ContainerRole::App => false,
        });
        let message = format!("containers with incomplete status: [{incomplete}]");
        causes.push(cause(PodCondition::Initialized, "ContainersNotInitialized", &message));
    } else if over == Some("PodCompleted") {
        causes.push(cause(PodCondition::Initialized, "PodCompleted", ""));
    }
    if !conditions.is_true(PodCondition::ContainersReady) {
        let (reason, message) = over.map_or_else(|| not_ready(machine), |o| (o, String::new()));
        causes.push(cause(PodCondition::ContainersReady, reason, &message));
        causes.push(cause(PodCondition::Ready, reason, &message));
    } else if !conditions.is_true(PodCondition::Ready) {
        let gate = |gate: &String| {
            format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.")
        };
        let gates: Vec<_> = machine.pod().readiness_gates.iter().map(gate).collect();
        let message = gates.join(", ");
        causes.push(cause(PodCondition::Ready, "ReadinessGatesNotReady", &message));
    }
    causes.extend(unenforced(machine));
    causes.extend(stale(machine));
    causes.extend(disrupted(machine));
    causes
}

/// A pod that was ended for others of the node, and not for what it did itself: told once it is over.
fn disrupted(machine: &Machine) -> Option<ConditionCause> {
    let (_, why) = machine.verdict()?.cause.as_ref()?;
    is_for_others(why).then(|| ConditionCause {
        condition: Short::new(DISRUPTION_TARGET),
        reason: Short::new("TerminationByKubelet"),
        message: Text::new(why),
    })
}

/// Another of our own: what it is made from may be older than what its names mean.
fn stale(machine: &Machine) -> Option<ConditionCause> {
    let stale = machine.stale_images();
    (!stale.is_empty()).then(|| ConditionCause {
        condition: Short::new(MAY_BE_STALE),
        reason: Short::new("RegistryNotAsked"),
        message: Text::new(&stale.join("; ")),
    })
}

/// A condition of our own: the pod has more rights than it asked for.
/// Also where the node would not allow it any more: what runs goes on without them.
fn unenforced(machine: &Machine) -> Option<ConditionCause> {
    let running = machine.slots().iter().filter_map(Slot::running);
    let running = running.filter_map(|running| running.made_of.as_ref());
    let running = running.flat_map(|made_of| &made_of.unenforced);
    let fields: BTreeSet<&str> =
        machine.pod().unenforced.iter().chain(running).map(String::as_str).collect();
    (!fields.is_empty()).then(|| ConditionCause {
        condition: Short::new(UNENFORCED),
        reason: Short::new("AllowedByNode"),
        message: Text::new(&fields.into_iter().collect::<Vec<_>>().join("; ")),
    })
}

fn not_ready(machine: &Machine) -> (&'static str, String) {
    let unready = names(machine, |slot| slot.role != ContainerRole::Init && !slot.is_ready());
    ("ContainersNotReady", format!("containers with unready status: [{unready}]"))
}

fn names(machine: &Machine, wanted: impl Fn(&Slot) -> bool) -> String {
    let matching = machine.containers().filter(|(_, _, slot)| wanted(slot));
    let names: Vec<_> = matching.map(|(_, container, _)| container.name.as_str()).collect();
    names.join(" ")
}
