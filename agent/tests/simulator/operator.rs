//! People: what they ask for, change, delete, repeat and get wrong.

use std::collections::BTreeMap;

use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::Uid;
use mote_protocol::object::{ContentHash, Intent, Meta, Object, Pod, Revision};
use mote_protocol::pod::{Container, Handler, PodSpec, Probe, RestartPolicy};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::delays::{self, put_off};
use crate::judge::Said;
use crate::marker::{Behaviour, Marker};
use crate::rollout::{IMAGES, on_trial};
use crate::scope::{Place, SCOPES};
use crate::universe::Universe;

/// The priority of pods that are never evicted.
const CRITICAL: i32 = 2_000_000_000;

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
    /// They also talk to groups and to all.
    wide: bool,
    /// The life of each name that people mean.
    last: BTreeMap<Place, Life>,
    /// The last revision of each name, in whatever scope: a life has one number.
    revisions: BTreeMap<&'static str, u64>,
    /// The last that was said of each name in each scope.
    latest: BTreeMap<Place, u64>,
    /// All that was ever said, to be said again.
    frames: Vec<(Place, Vec<u8>, usize)>,
}

impl Operator {
    pub(crate) fn new(universe: &mut Universe) -> Self {
        Self { wide: universe.chance.one_in(2), ..Self::default() }
    }

    fn place(&self, universe: &mut Universe) -> Place {
        let chance = &mut universe.chance;
        let key = *chance.pick(&KEYS).expect("not empty");
        let wide = self.wide && chance.one_in(2);
        let scope = if wide { *chance.pick(&SCOPES).expect("not empty") } else { "n" };
        Place { scope, key }
    }

    pub(crate) fn act(&mut self, universe: &mut Universe) {
        let place = self.place(universe);
        match universe.chance.below(16) {
            0..=4 => self.apply(universe, place),
            5..=6 => self.update(universe, place),
            7..=9 => self.delete(universe, place),
            10 => self.replace(universe, place),
            11 => self.say_again(universe),
            12 => self.conflict(universe, place),
            13 => Self::garbage(universe, place),
            14 => self.invalid(universe, place),
            // Clearing a topic says nothing.
            _ => universe.publish(&place.spec_topic(), Vec::new(), None),
        }
    }

    /// A new pod, or a change of one.
    pub(crate) fn apply(&mut self, universe: &mut Universe, place: Place) {
        if self.last.contains_key(&place) {
            return self.update(universe, place);
        }
        // Without a uid it means whatever life the node has of this scope: that is a new one only
        // where the node is known to have none.
        let known = self.latest.get(&place).copied().unwrap_or(0);
        let acknowledged = universe.judge.acknowledged.get(&place).copied();
        let acknowledged = acknowledged.and_then(|said| universe.judge.said.get(said));
        let none = acknowledged.is_some_and(|said| said.revision.number == known) || known == 0;
        self.begin(universe, place, !none);
    }

    fn begin(&mut self, universe: &mut Universe, place: Place, with_uid: bool) {
        let number = self.next(place);
        let mut pod = random_pod(universe, place.key, number);
        put_off(&mut pod, universe.chance.below(8));
        if universe.chance.one_in(6) {
            pod.spec.priority = Some(CRITICAL);
            universe.judge.critical.insert((place.key.to_owned(), number));
        }
        let uid = with_uid.then(|| {
            let mut bits = [0; 16];
            bits[..8].copy_from_slice(&universe.chance.bits().to_le_bytes());
            Uid::from_random(bits)
        });
        let life = Life { pod, number, uid };
        self.last.insert(place, life.clone());
        self.say(universe, place, number, &life, false);
    }

    fn next(&mut self, place: Place) -> u64 {
        let revision = self.revisions.entry(place.key).or_insert(0);
        *revision += 1;
        self.latest.insert(place, *revision);
        *revision
    }

    pub(crate) fn update(&mut self, universe: &mut Universe, place: Place) {
        let Some(mut life) = self.last.get(&place).cloned() else { return };
        let change = universe.chance.below(6);
        // Where nearer words come and go nobody can say what a change goes back to.
        let tried = usize::try_from(change).ok().and_then(|change| IMAGES.get(change));
        let tried = tried.filter(|_| !self.wide);
        let plain = format!("img:{}", change % 3);
        life.set_image(tried.map_or(plain.as_str(), |image| image));
        on_trial(&mut life.pod, tried.is_some());
        put_off(&mut life.pod, universe.chance.below(8));
        let number = self.next(place);
        self.last.insert(place, life.clone());
        self.say(universe, place, number, &life, false);
    }

    pub(crate) fn replace(&mut self, universe: &mut Universe, place: Place) {
        self.begin(universe, place, true);
    }

    pub(crate) fn delete(&mut self, universe: &mut Universe, place: Place) {
        let number = self.next(place);
        self.last.remove(&place);
        let grace_s = universe.chance.one_in(2).then(|| universe.chance.small(8));
        let object = object(number, None, Intent::Delete { grace_s });
        let revision = object.revision;
        let (at, invalid) = (Instant::now(), false);
        let said = Said { place, revision, life: None, invalid, waits: false, locked: false, at };
        self.publish(universe, &object, said);
    }

    /// Two people at the same time: one of them loses.
    fn conflict(&mut self, universe: &mut Universe, place: Place) {
        let Some(mut life) = self.last.get(&place).cloned() else { return };
        let number = self.next(place);
        on_trial(&mut life.pod, false);
        put_off(&mut life.pod, 0);
        for image in ["img:0", "img:2"] {
            life.set_image(image);
            self.say(universe, place, number, &life, false);
        }
    }

    fn say_again(&mut self, universe: &mut Universe) {
        if let Some((place, frame, said)) = universe.chance.pick(&self.frames).cloned() {
            universe.publish(&place.spec_topic(), frame, Some(said));
        }
    }

    fn garbage(universe: &mut Universe, place: Place) {
        let bytes = universe.chance.bits().to_le_bytes();
        universe.publish(&place.spec_topic(), bytes.to_vec(), None);
    }

    fn invalid(&mut self, universe: &mut Universe, place: Place) {
        let number = self.next(place);
        let mut pod = random_pod(universe, place.key, number);
        let twin = pod.spec.containers[0].clone();
        pod.spec.containers.push(twin);
        self.say(universe, place, number, &Life { pod, number, uid: None }, true);
    }

    fn say(
        &mut self,
        universe: &mut Universe,
        place: Place,
        number: u64,
        life: &Life,
        invalid: bool,
    ) {
        let object = object(number, life.uid, life.pod.to_intent().expect("encodes"));
        let image = life.pod.spec.containers[0].image.clone();
        let said = Said {
            place,
            revision: object.revision,
            life: Some((life.number, image)),
            invalid,
            waits: delays::waits(&life.pod),
            locked: delays::is_locked(&life.pod),
            at: Instant::now(),
        };
        self.publish(universe, &object, said);
    }

    fn publish(&mut self, universe: &mut Universe, object: &Object, word: Said) {
        let frame = frame::encode(object).expect("encodes");
        let said = universe.judge.said.len();
        universe.note(|| {
            let Said { place, revision, life, invalid, waits, .. } = &word;
            format!("operator: said {said} is {place:?} {revision:?} {life:?} {invalid} {waits}")
        });
        let place = word.place;
        universe.judge.said.push(word);
        self.frames.push((place, frame.clone(), said));
        universe.publish(&place.spec_topic(), frame, Some(said));
    }
}

impl Life {
    fn set_image(&mut self, image: &str) {
        for container in &mut self.pod.spec.containers {
            container.image = image.into();
        }
    }
}

/// A pod that runs for ever, as it is published.
pub(crate) fn forever(key: &str, number: u64, uid: Option<Uid>) -> Vec<u8> {
    let policy = RestartPolicy::Always;
    let marker = Marker { key: key.into(), life: number, policy, behaviour: Behaviour::Forever };
    let (name, image) = ("main".into(), "img:0".into());
    let container = Container { name, image, command: marker.args(), ..Container::default() };
    let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    let pod = Pod { meta: Meta::default(), spec, extensions: Extensions::default() };
    let intent = pod.to_intent().expect("encodes");
    frame::encode(&object(number, uid, intent)).expect("encodes")
}

/// The end of whatever was before, as it is published.
pub(crate) fn tombstone(number: u64) -> Vec<u8> {
    frame::encode(&object(number, None, Intent::Delete { grace_s: None })).expect("encodes")
}

pub(crate) fn object(number: u64, uid: Option<Uid>, intent: Intent) -> Object {
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
