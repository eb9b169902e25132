//! What is told of devices that containers have.

use super::*;
use crate::device::Device;

/// A pod with a device whose container runs, and what is there.
fn with_device() -> Machine {
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.containers[0].limits.others.insert("mote.io/ttyUSB0".into(), 1);
    Machine::new(Rc::new(pod_from(&asked)), Moment(0))
}

pub(super) fn seen(number: Option<u64>) -> Event {
    let device = |number| Device { path: "/dev/ttyUSB0".into(), number, share: 1 };
    let there = number.map(|number| ("mote.io/ttyUSB0".to_owned(), device(number)));
    Event::DevicesSeen(Rc::new(there.into_iter().collect()))
}

#[test]
fn a_device_that_is_pulled_is_told_and_its_container_runs_on() {
    let mut machine = with_device();
    step(&mut machine, Event::SandboxBegun, Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    let given = vec![("mote.io/ttyUSB0".to_owned(), 7)];
    step(&mut machine, Event::Starting { place: 0, made_of: tag() }, after(1));
    step(&mut machine, Event::DevicesGiven { place: 0, devices: given.clone() }, after(1));
    step(&mut machine, Event::Started { place: 0, attempt: 0, since: after(1) }, after(1));
    let told = |machine: &mut Machine, number| {
        let mut notes = Vec::new();
        machine.step(seen(number), after(2), &mut notes);
        assert!(machine.slots[0].running().is_some_and(|running| running.stop.is_none()));
        let health = machine.slots[0].devices()[0].health;
        (notes.iter().map(|note| note.reason).collect::<Vec<_>>(), health)
    };
    assert_eq!(told(&mut machine, Some(7)), (vec![], Health::Healthy));
    assert_eq!(told(&mut machine, None), (vec!["DeviceUnplugged"], Health::Gone));
    assert_eq!(told(&mut machine, None), (vec![], Health::Gone));
    assert_eq!(told(&mut machine, Some(7)), (vec!["DevicePluggedIn"], Health::Healthy));
    assert_eq!(told(&mut machine, Some(8)), (vec!["DeviceReplaced"], Health::Replaced));
    // What has ended has no device, and the next attempt is given what is there then.
    step(&mut machine, Event::Exited { place: 0, attempt: 0, exit: exit(1, 3) }, after(3));
    assert_eq!(machine.slots[0].devices(), []);
    step(&mut machine, Event::Starting { place: 0, made_of: tag() }, after(4));
    let given = vec![("mote.io/ttyUSB0".to_owned(), 8)];
    step(&mut machine, Event::DevicesGiven { place: 0, devices: given }, after(4));
    step(&mut machine, Event::Started { place: 0, attempt: 1, since: after(4) }, after(4));
    assert_eq!(told(&mut machine, Some(8)), (vec![], Health::Healthy));
}

#[test]
fn devices_of_an_earlier_agent_are_what_is_there() {
    let adopted = || {
        let mut machine = with_device();
        let running = Running::adopted(Some(tag()), Moment(0), None);
        machine.slots[0].run = Run::Running(running);
        machine
    };
    let mut machine = adopted();
    step(&mut machine, seen(Some(7)), after(1));
    step(&mut machine, seen(Some(8)), after(1));
    assert_eq!(machine.slots[0].devices()[0].health, Health::Replaced);
    let mut machine = adopted();
    let mut notes = Vec::new();
    machine.step(seen(None), after(1), &mut notes);
    assert_eq!(notes[0].reason, "DeviceUnplugged");
    step(&mut machine, seen(Some(8)), after(1));
    assert_eq!(machine.slots[0].devices()[0].health, Health::Healthy, "nobody knows better");
    step(&mut machine, seen(Some(9)), after(1));
    assert_eq!(machine.slots[0].devices()[0].health, Health::Replaced, "but from then on");
}
