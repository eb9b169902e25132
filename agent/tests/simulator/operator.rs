//! People: what they ask for, change, delete, repeat and get wrong.

use std::collections::BTreeMap;

use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::object::{ContentHash, Intent, Meta, Object, Pod, Revision};
use mote_protocol::pod::{Container, Handler, PodSpec, Probe, RestartPolicy};

use crate::chance::Chance;
use crate::judge::Said;
use crate::marker::{Behaviour, Marker};
use crate::universe::Universe;

/// Names that people use; few, so that they meet.
pub(crate) const KEYS: [&str; 4] = ["pod/default/a", "pod/default/b", "pod/team/a", "pod/team/c"];

/// One life of a name, as people know it.
#[derive(Clone)]
struct Life {
    pod: Pod,
    /// The revision that began it.
    number: u64,
    /// None where the node is to give it one.
    uid: Option<Uid>,
}

/// What people know of what they said.
#[derive(Default)]
pub(crate) struct Operator {
    /// The life of each name that people mean.
    last: BTreeMap<&'static str, Life>,
    revisions: BTreeMap<&'static str, u64>,
    /// All that was ever said, to be said again.
    frames: Vec<(&'static str, Vec<u8>, usize)>,
}

pub(crate) fn spec_topic(key: &str) -> String {
    format!("mote/v1/f/n/spec/{key}")
}

pub(crate) fn status_topic(key: &str) -> String {
    format!("mote/v1/f/n/status/{key}")
}

impl Operator {
    pub(crate) fn act(&mut self, universe: &mut Universe) {
        let Some(key) = universe.chance.pick(&KEYS).copied() else { return };
        match universe.chance.below(16) {
            0..=4 => self.apply(universe, key),
            5..=6 => self.update(universe, key),
            7..=9 => self.delete(universe, key),
            10 => self.replace(universe, key),
            11 => self.say_again(universe),
            12 => self.conflict(universe, key),
            13 => Self::garbage(universe, key),
            14 => self.invalid(universe, key),
            // Clearing a topic says nothing.
            _ => universe.publish(&spec_topic(key), Vec::new(), None),
        }
    }

    /// A new pod, or a change of one.
    fn apply(&mut self, universe: &mut Universe, key: &'static str) {
        if self.last.contains_key(key) {
            return self.update(universe, key);
        }
        // Without a uid it means whatever life the node has: that is a new one only where the node
        // is known to have none.
        let known = self.revisions.get(key).copied().unwrap_or(0);
        let acknowledged = universe.judge.acknowledged.get(key).copied();
        let acknowledged = acknowledged.and_then(|said| universe.judge.said.get(said));
        let none = acknowledged.is_some_and(|said| said.revision.number == known) || known == 0;
        self.begin(universe, key, !none);
    }

    fn begin(&mut self, universe: &mut Universe, key: &'static str, with_uid: bool) {
        let number = self.next(key);
        let pod = random_pod(universe, key, number);
        let uid = with_uid.then(|| {
            let mut bits = [0; 16];
            bits[..8].copy_from_slice(&universe.chance.bits().to_le_bytes());
            Uid::from_random(bits)
        });
        let life = Life { pod, number, uid };
        self.last.insert(key, life.clone());
        self.say(universe, key, number, &life, false);
    }

    fn next(&mut self, key: &'static str) -> u64 {
        let revision = self.revisions.entry(key).or_insert(0);
        *revision += 1;
        *revision
    }

    fn update(&mut self, universe: &mut Universe, key: &'static str) {
        let Some(mut life) = self.last.get(key).cloned() else { return };
        life.set_image(&format!("img:{}", universe.chance.below(3)));
        let number = self.next(key);
        self.last.insert(key, life.clone());
        self.say(universe, key, number, &life, false);
    }

    fn replace(&mut self, universe: &mut Universe, key: &'static str) {
        self.begin(universe, key, true);
    }

    fn delete(&mut self, universe: &mut Universe, key: &'static str) {
        let number = self.next(key);
        self.last.remove(key);
        let grace_s = universe.chance.one_in(2).then(|| universe.chance.small(8));
        let object = object(number, None, Intent::Delete { grace_s });
        self.publish(universe, key, &object, None, false);
    }

    /// Two people at the same time: one of them loses.
    fn conflict(&mut self, universe: &mut Universe, key: &'static str) {
        let Some(mut life) = self.last.get(key).cloned() else { return };
        let number = self.next(key);
        for image in ["img:0", "img:2"] {
            life.set_image(image);
            self.say(universe, key, number, &life, false);
        }
    }

    fn say_again(&mut self, universe: &mut Universe) {
        if let Some((key, frame, said)) = universe.chance.pick(&self.frames).cloned() {
            universe.publish(&spec_topic(key), frame, Some(said));
        }
    }

    fn garbage(universe: &mut Universe, key: &str) {
        let bytes = universe.chance.bits().to_le_bytes();
        universe.publish(&spec_topic(key), bytes.to_vec(), None);
    }

    fn invalid(&mut self, universe: &mut Universe, key: &'static str) {
        let number = self.next(key);
        let mut pod = random_pod(universe, key, number);
        let twin = pod.spec.containers[0].clone();
        pod.spec.containers.push(twin);
        self.say(universe, key, number, &Life { pod, number, uid: None }, true);
    }

    fn say(
        &mut self,
        universe: &mut Universe,
        key: &'static str,
        number: u64,
        life: &Life,
        invalid: bool,
    ) {
        let object = object(number, life.uid, life.pod.to_intent().expect("encodes"));
        let image = life.pod.spec.containers[0].image.clone();
        self.publish(universe, key, &object, Some((life.number, image)), invalid);
    }

    fn publish(
        &mut self,
        universe: &mut Universe,
        key: &'static str,
        object: &Object,
        life: Option<(u64, String)>,
        invalid: bool,
    ) {
        let frame = frame::encode(object).expect("encodes");
        let said = universe.judge.said.len();
        let revision = object.revision;
        universe.note(|| format!("operator: said {said} is {key} {revision:?} {life:?} {invalid}"));
        universe.judge.said.push(Said { key: key.into(), revision, life, invalid });
        self.frames.push((key, frame.clone(), said));
        universe.publish(&spec_topic(key), frame, Some(said));
    }
}

impl Life {
    fn set_image(&mut self, image: &str) {
        for container in &mut self.pod.spec.containers {
            container.image = image.into();
        }
    }
}

fn object(number: u64, uid: Option<Uid>, intent: Intent) -> Object {
    let bytes = intent.to_hashed_bytes().expect("encodes");
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let mut hash = [0; 8];
    hash.copy_from_slice(&digest.as_ref()[..8]);
    let revision = Revision { number, hash: ContentHash(hash) };
    Object { revision, uid, intent, extensions: Extensions::default() }
}

/// Gives a container probes and hooks. Periods are long: what is interesting is what follows.
fn watch(container: &mut Container, chance: &mut Chance) {
    let handler = || Handler::Exec(vec!["check".into()]);
    let period_s = Some(60 + chance.small(240));
    let mut probe = || {
        chance.one_in(2).then(|| Probe {
            handler: handler(),
            initial_delay_s: None,
            timeout_s: None,
            period_s,
            success_threshold: None,
            failure_threshold: Some(2),
            termination_grace_period_s: None,
        })
    };
    container.startup_probe = probe();
    container.liveness_probe = probe();
    container.readiness_probe = probe();
    container.post_start = chance.one_in(3).then(handler);
    container.pre_stop = chance.one_in(3).then(handler);
}

fn random_pod(universe: &mut Universe, key: &str, life: u64) -> Pod {
    use RestartPolicy::{Always, Never, OnFailure};
    let chance = &mut universe.chance;
    let policy = *chance.pick(&[Always, Always, Never, OnFailure]).expect("not empty");
    let container = |name: &str, behaviour: Behaviour, restart_always: bool| Container {
        name: name.into(),
        image: "img:0".into(),
        command: Marker { key: key.into(), life, policy, behaviour }.args(),
        restart_always,
        ..Container::default()
    };
    let mut spec = PodSpec { restart_policy: policy, ..PodSpec::default() };
    for name in ["main", "side"].iter().take(1 + usize::from(chance.one_in(3))) {
        let behaviour = match chance.below(5) {
            0..=1 => Behaviour::Forever,
            2 => Behaviour::Stubborn,
            3 => Behaviour::Ends(0, chance.below(40_000)),
            _ => Behaviour::Ends(3, chance.below(20_000)),
        };
        spec.containers.push(container(name, behaviour, false));
    }
    if chance.one_in(3) {
        let code = i32::from(chance.one_in(4));
        let behaviour = Behaviour::Ends(code, chance.below(4_000));
        spec.init_containers.push(container("init", behaviour, false));
    }
    if chance.one_in(6) {
        // A sidecar runs again whatever the policy of its pod.
        let marker =
            Marker { key: key.into(), life, policy: Always, behaviour: Behaviour::Forever };
        let mut sidecar = container("sidecar", Behaviour::Forever, true);
        sidecar.command = marker.args();
        spec.init_containers.push(sidecar);
    }
    if chance.one_in(3) {
        let sidecars = spec.init_containers.iter_mut().filter(|one| one.restart_always);
        spec.containers.iter_mut().chain(sidecars).for_each(|one| watch(one, chance));
    }
    spec.termination_grace_period_s = Some(chance.small(20));
    spec.active_deadline_s = chance.one_in(12).then(|| 1 + chance.small(600));
    Pod { meta: Meta::default(), spec, extensions: Extensions::default() }
}
