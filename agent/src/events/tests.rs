use super::*;
use proptest::prelude::*;

const BOOT: Boot = Boot { id: [1; 16], epoch_ms: 1_800_000_000_000 };
const NEXT_BOOT: Boot = Boot { id: [2; 16], epoch_ms: 1_800_000_100_000 };
const SECOND: Moment = Moment(1_000);

fn events() -> Events {
    Events::new(3, EventLog::default(), &BOOT)
}

fn report(message: &str) -> Report {
    Report::node_warning("BackOff", message.to_owned())
}

fn happens(events: &mut Events, message: &str, now: Moment) {
    events.record(report(message), &BOOT, now);
}

fn told(events: &mut Events, now: Moment) -> Vec<(u32, String)> {
    let next = || events.next_untold(&BOOT, now);
    std::iter::from_fn(next).map(|event| (event.sequence, event.message.to_string())).collect()
}

fn shown(events: &Events) -> Vec<(u32, u32, String)> {
    let all = events.about(None, &BOOT, SECOND).into_iter();
    all.map(|event| (event.start, event.sequence, event.message.to_string())).collect()
}

fn written(events: &mut Events, now: Moment) -> EventLog {
    let log = events.to_keep(&BOOT, now);
    events.kept(true, now);
    log
}

#[test]
fn the_same_report_counts_up_and_moves_to_the_end() {
    let mut events = events();
    happens(&mut events, "a", Moment(1_000));
    happens(&mut events, "b", Moment(2_000));
    happens(&mut events, "a", Moment(9_000));
    let all = events.about(None, &BOOT, Moment(9_000)).into_iter();
    let all: Vec<_> = all.map(|e| (e.first, e.last, e.count, e.message.to_string())).collect();
    assert_eq!(all, [(2, 2, 1, "b".to_owned()), (1, 9, 2, "a".to_owned())]);
}

#[test]
fn what_happens_again_leaves_no_gap() {
    let mut events = events();
    happens(&mut events, "a", SECOND);
    happens(&mut events, "b", SECOND);
    happens(&mut events, "a", SECOND);
    assert_eq!(told(&mut events, SECOND), [(0, "b".to_owned()), (1, "a".to_owned())]);
    // On the way when it happens again: it is told once more, and the answer to what was on the
    // way says nothing of that.
    happens(&mut events, "b", SECOND);
    events.settled(0, SECOND);
    assert_eq!(told(&mut events, SECOND), [(2, "b".to_owned())]);
}

#[test]
fn who_asks_sees_the_numbers_that_the_broker_is_told() {
    let mut events = events();
    for message in ["a", "b", "c"] {
        happens(&mut events, message, SECOND);
    }
    let shown = shown(&events).into_iter().map(|(_, sequence, message)| (sequence, message));
    assert_eq!(shown.collect::<Vec<_>>(), told(&mut events, SECOND));
}

#[test]
fn what_fell_out_untold_leaves_a_gap_of_its_size() {
    let mut events = events();
    for number in 0..CAPACITY + 2 {
        happens(&mut events, &number.to_string(), SECOND);
    }
    assert_eq!(shown(&events).len(), CAPACITY);
    assert_eq!(told(&mut events, SECOND)[0], (2, "2".to_owned()));
    assert_eq!(events.lost, 2, "nobody heard it yet");
    events.settled(2, SECOND);
    assert_eq!(events.lost, 0);
}

#[test]
fn the_next_start_tells_of_a_gap_that_nobody_heard_of() {
    let mut events = events();
    for number in 0..CAPACITY + 2 {
        happens(&mut events, &number.to_string(), SECOND);
    }
    let mut next = Events::new(4, written(&mut events, SECOND), &BOOT);
    assert_eq!(next.next_untold(&BOOT, SECOND).map(|e| (e.start, e.sequence)), Some((4, 2)));
    assert_eq!(next.next_write(), None);
    next.settled(2, SECOND);
    assert!(next.next_write().is_some(), "or the start after would tell of it again");
    assert_eq!(written(&mut next, SECOND).lost, 0);
}

#[test]
fn what_fell_out_on_the_way_is_lost_for_the_next_start_unless_it_arrived() {
    let mut events = events();
    happens(&mut events, "on the way", SECOND);
    assert_eq!(told(&mut events, SECOND), [(0, "on the way".to_owned())]);
    for number in 0..CAPACITY {
        happens(&mut events, &number.to_string(), SECOND);
    }
    let next = Events::new(4, written(&mut events, SECOND), &BOOT);
    assert_eq!((next.lost, shown(&next)[0].1), (1, 1), "who misses a number misses an event");
    assert_eq!(events.lost, 0, "this start sends it under its number");
    events.settled(0, SECOND);
    assert!(!events.is_kept(), "flash says that it is lost");
    assert_eq!(written(&mut events, SECOND).lost, 0);
}

#[test]
fn what_the_broker_has_falls_out_first_and_warnings_stay_longest() {
    let normal = |number: usize| Report::node_normal("Started", number.to_string());
    let mut events = events();
    happens(&mut events, "told", SECOND);
    events.next_untold(&BOOT, SECOND);
    events.settled(0, SECOND);
    happens(&mut events, "first", SECOND);
    for number in 0..CAPACITY - 1 {
        events.record(normal(number), &BOOT, SECOND);
    }
    let messages = |events: &Events| shown(events).into_iter().map(|(_, _, m)| m);
    assert_eq!(messages(&events).next().as_deref(), Some("first"));
    assert_eq!(events.lost, 0);
    for number in 0..CAPACITY {
        happens(&mut events, &format!("bad {number}"), SECOND);
    }
    // What is for the record keeps a quarter.
    let (bad, good): (Vec<_>, Vec<_>) = messages(&events).partition(|text| text.contains("bad"));
    assert_eq!((bad.len(), good.len()), (3 * CAPACITY / 4, CAPACITY / 4));
    assert_eq!(good.last().map(String::as_str), Some("254"));
}

#[test]
fn a_flood_is_told_slowly_and_kept_whole() {
    let mut events = events();
    for number in 0..200 {
        happens(&mut events, &number.to_string(), Moment(0));
    }
    assert_eq!(told(&mut events, Moment(0)).len(), usize::try_from(BURST).unwrap());
    let later = events.next_allowed().expect("more to tell");
    assert_eq!(told(&mut events, later).len(), 1);
    assert_eq!(shown(&events).len(), 200);
}

#[test]
fn a_node_that_is_heard_writes_nothing() {
    let mut events = events();
    for number in 0..100 {
        let now = Moment(number * 600_000);
        happens(&mut events, "again", now);
        happens(&mut events, &number.to_string(), now);
        for sequence in [2 * number, 2 * number + 1] {
            assert!(events.next_untold(&BOOT, now).is_some());
            assert!(events.next_write().is_some_and(|at| at > now), "it may be heard in time");
            events.settled(u32::try_from(sequence).unwrap(), now);
        }
        assert_eq!(events.next_write(), None);
    }
    assert!(!events.is_kept(), "at an orderly end it is written");
}

#[test]
fn what_nobody_heard_is_written_after_a_minute_and_what_happens_again_later() {
    let mut events = events();
    happens(&mut events, "a", Moment(0));
    happens(&mut events, "b", Moment(50_000));
    assert_eq!(events.next_write(), Some(Moment(60_000)), "together");
    events.to_keep(&BOOT, Moment(60_000));
    assert_eq!(events.next_write(), None, "it is being written");
    assert!(!events.is_kept(), "nobody knows whether it arrives");
    happens(&mut events, "a", Moment(61_000));
    events.kept(true, Moment(62_000));
    assert_eq!(events.next_write(), Some(Moment(61_000).after(CHANGED)));
    happens(&mut events, "c", Moment(90_000));
    assert_eq!(events.next_write(), Some(Moment(150_000)));
    // What flash has as untold is corrected once it is told.
    let end = written(&mut events, Moment(150_000));
    let mut next = Events::new(4, end, &BOOT);
    assert!(next.is_kept());
    next.next_untold(&BOOT, Moment(200_000));
    next.settled(0, Moment(200_000));
    assert_eq!(next.next_write(), Some(Moment(200_000).after(CHANGED)));
}

#[test]
fn a_card_that_fails_is_tried_again_later() {
    let mut events = events();
    happens(&mut events, "a", Moment(0));
    let first = events.to_keep(&BOOT, Moment(60_000));
    events.kept(false, Moment(61_000));
    assert_eq!(events.next_write(), Some(Moment(61_000).after(CHANGED)));
    assert_eq!(events.to_keep(&BOOT, Moment(961_000)), first);
}

#[test]
fn the_next_start_has_the_events_and_tells_what_was_untold() {
    let mut events = events();
    happens(&mut events, "told", SECOND);
    happens(&mut events, "on the way", SECOND);
    assert_eq!(told(&mut events, SECOND).len(), 2);
    events.settled(0, SECOND);
    let mut next = Events::new(4, written(&mut events, SECOND), &BOOT);
    let all = [(3, 0, "told".to_owned()), (4, 0, "on the way".to_owned())];
    assert_eq!(shown(&next), all);
    assert_eq!(told(&mut next, SECOND), [(0, "on the way".to_owned())]);
    happens(&mut next, "told", SECOND);
    assert_eq!(next.about(None, &BOOT, SECOND)[1].count, 2);
}

#[test]
fn events_of_an_earlier_boot_keep_their_time_of_day() {
    let mut events = events();
    happens(&mut events, "a", Moment(60_000));
    let log = written(&mut events, Moment(61_000));
    let now = Moment(30_000);
    let mut next = Events::new(4, log, &NEXT_BOOT);
    assert_eq!(next.about(None, &NEXT_BOOT, now)[0].first, -40);
    // A clock that learns the time only now puts nothing right that was kept meanwhile: it was
    // kept as it was.
    let unset = Boot { epoch_ms: 0, ..NEXT_BOOT };
    assert_eq!(next.about(None, &unset, now)[0].first, 30, "nobody knows");
    let mut third = Events::new(5, next.to_keep(&unset, now), &NEXT_BOOT);
    assert_eq!(third.about(None, &NEXT_BOOT, now)[0].first, -40);
    third.record(report("a"), &NEXT_BOOT, now);
    let again = &third.about(None, &NEXT_BOOT, now)[0];
    assert_eq!((again.first, again.last, again.count), (-40, 30, 2));
}

#[test]
fn a_week_of_crashes_without_a_network_stays_small_and_writes_little() {
    let mut events = events();
    let (mut writes, mut bytes) = (0, 0);
    let minute = |minute: i64| Moment(minute * 60_000);
    for now in 0..7 * 24 * 60 {
        if now % 5 == 0 {
            happens(&mut events, "Back-off restarting failed container web", minute(now));
        }
        if now % 60 == 0 {
            happens(&mut events, &format!("{now} {}", "x".repeat(2_000)), minute(now));
        }
        if events.next_write().is_some_and(|at| at <= minute(now)) {
            let log = written(&mut events, minute(now));
            let file = postcard::to_allocvec(&log).unwrap();
            assert!(file.len() <= MAX_BYTES, "{}", file.len());
            (writes, bytes) = (writes + 1, bytes + file.len());
        }
    }
    assert!(writes <= 7 * 24 * 5, "{writes} writes");
    assert!(bytes <= 65 << 20, "{bytes} bytes");
    let crashes = events.about(None, &BOOT, minute(7 * 24 * 60));
    let crashes = crashes.iter().find(|e| e.message.starts_with("Back-off")).expect("kept");
    assert_eq!((crashes.count, crashes.first), (7 * 24 * 12, 0));
}

#[test]
fn the_worst_week_has_a_budget() {
    let mut events = events();
    let mut writes = 0;
    for minute in 0..7 * 24 * 60 {
        let now = Moment(minute * 60_000);
        happens(&mut events, &minute.to_string(), now);
        if events.next_write().is_some_and(|at| at <= now) {
            written(&mut events, now);
            writes += 1;
        }
    }
    assert!((1000..=1018).contains(&writes), "{writes}");
}

#[derive(Clone, Debug)]
enum Step {
    Happens(u8, u16),
    Tell,
    Settle,
    Write(bool),
    Restart(bool),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), 0..700_u16).prop_map(|(what, len)| Step::Happens(what, len)),
        4 => Just(Step::Tell),
        4 => Just(Step::Settle),
        1 => any::<bool>().prop_map(Step::Write),
        1 => any::<bool>().prop_map(Step::Restart),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: what is kept is bounded in memory and on flash, and a broker that gets
    /// every publication misses exactly the numbers of those that fell out.
    #[test]
    fn everything_is_bounded_and_only_what_is_lost_is_missed(
        steps in proptest::collection::vec(step(), 0..700),
    ) {
        let (mut events, mut boot, mut now) = (events(), BOOT, SECOND);
        let (mut flash, mut start) = (EventLog::default(), 3);
        let (mut expected, mut under_way) = (0, VecDeque::new());
        for step in steps {
            match step {
                Step::Happens(what, len) => {
                    let text = format!("{what}{}", "x".repeat(len.into()));
                    let one = if what % 2 == 0 { Report::node_normal("A", text) } else { report(&text) };
                    let lost = events.lost;
                    events.record(one, &boot, now);
                    expected += events.lost - lost;
                }
                Step::Tell => if let Some(event) = events.next_untold(&boot, now) {
                    prop_assert_eq!((event.start, event.sequence), (start, expected));
                    expected += 1;
                    under_way.push_back(event.sequence);
                },
                Step::Settle => if let Some(sequence) = under_way.pop_front() {
                    events.settled(sequence, now);
                },
                Step::Write(works) => {
                    let log = events.to_keep(&boot, now);
                    events.kept(works, now);
                    if works {
                        flash = log;
                    }
                }
                Step::Restart(reboots) => {
                    start += 1;
                    if reboots {
                        boot.id[0] = boot.id[0].wrapping_add(1);
                    }
                    events = Events::new(start, flash.clone(), &boot);
                    (expected, under_way) = (flash.lost, VecDeque::new());
                }
                Step::Wait => now = now.after(Duration::from_secs(20)),
            }
            prop_assert!(events.entries.len() <= CAPACITY && events.bytes <= MAX_BYTES);
        }
        prop_assert_eq!(events.bytes, events.entries.iter().map(Entry::bytes).sum::<usize>());
        let file = EventLog::new(events.lost, events.entries.iter(), &boot);
        prop_assert!(postcard::to_allocvec(&file).unwrap().len() <= MAX_BYTES);
    }
}
