use super::*;
use proptest::prelude::*;

fn message(text: &str) -> Message {
    Message::retained(text.as_bytes().to_vec())
}

fn online() -> Outbox {
    let mut outbox = Outbox::new();
    outbox.connected();
    outbox
}

fn sent(outbox: &mut Outbox) -> Vec<(Ticket, String)> {
    let text =
        |p: Publication| (p.ticket, format!("{}={}", p.topic, String::from_utf8_lossy(&p.payload)));
    std::iter::from_fn(|| outbox.take_next()).map(text).collect()
}

fn texts(outbox: &mut Outbox) -> Vec<String> {
    sent(outbox).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn only_the_latest_is_sent_and_nothing_while_offline() {
    let mut outbox = Outbox::new();
    outbox.owe(Class::Status, "a".into(), message("1"));
    outbox.owe(Class::Status, "b".into(), message("1"));
    outbox.owe(Class::Status, "a".into(), message("2"));
    assert_eq!(texts(&mut outbox), Vec::<String>::new());
    outbox.connected();
    assert_eq!(texts(&mut outbox), ["a=2", "b=1"]);
}

#[test]
fn what_is_withdrawn_is_not_sent_again() {
    let mut outbox = online();
    outbox.owe(Class::Presence, "birth".into(), message("1"));
    outbox.owe(Class::Status, "status".into(), message("1"));
    assert_eq!(texts(&mut outbox), ["birth=1", "status=1"]);
    outbox.lost();
    outbox.withdraw("birth");
    outbox.withdraw("unknown");
    outbox.connected();
    assert_eq!(texts(&mut outbox), ["status=1"]);
}

#[test]
fn the_urgent_comes_first_and_a_busy_topic_starves_nobody() {
    let mut outbox = online();
    outbox.queue(Class::Event, "event".into(), message("e"), None);
    outbox.owe(Class::Status, "busy".into(), message("1"));
    outbox.owe(Class::Status, "quiet".into(), message("1"));
    outbox.owe(Class::Presence, "birth".into(), message("b"));
    outbox.queue(Class::Reply, "reply".into(), message("r"), None);
    let first = sent(&mut outbox);
    let texts: Vec<_> = first.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["birth=b", "reply=r", "busy=1", "quiet=1", "event=e"]);
}

#[test]
fn a_topic_has_one_message_on_the_way() {
    let mut outbox = online();
    outbox.owe(Class::Status, "a".into(), message("1"));
    let first = sent(&mut outbox);
    outbox.owe(Class::Status, "a".into(), message("2"));
    outbox.owe(Class::Status, "a".into(), message("3"));
    assert_eq!(sent(&mut outbox), []);
    let settled = outbox.settle(first[0].0, Settlement::Delivered);
    assert_eq!(settled, Some(Settled::Delivered { topic: "a".into(), cleared: false }));
    assert_eq!(texts(&mut outbox), ["a=3"]);
}

#[test]
fn what_was_on_the_way_is_owed_again_unless_replaced() {
    let mut outbox = online();
    outbox.owe(Class::Status, "a".into(), message("1"));
    outbox.owe(Class::Status, "b".into(), message("1"));
    let first = sent(&mut outbox);
    outbox.owe(Class::Status, "b".into(), message("2"));
    outbox.lost();
    outbox.connected();
    assert_eq!(outbox.settle(first[0].0, Settlement::Delivered), None, "an answer of before");
    assert_eq!(texts(&mut outbox), ["a=1", "b=2"]);
}

#[test]
fn what_is_denied_is_told_once_per_connection() {
    let mut outbox = online();
    outbox.owe(Class::Status, "a".into(), message("1"));
    let first = sent(&mut outbox);
    let denied = outbox.settle(first[0].0, Settlement::Denied(135));
    assert_eq!(
        denied,
        Some(Settled::Denied {
            class: Class::Status,
            topic: "a".into(),
            code: 135,
            cleared: false
        })
    );
    assert_eq!(sent(&mut outbox), []);
    assert!(outbox.is_empty());
    outbox.connected();
    assert_eq!(texts(&mut outbox), ["a=1"]);
}

#[test]
fn clearing_is_told_unless_something_newer_is_owed() {
    let mut outbox = online();
    outbox.owe(Class::Status, "a".into(), message(""));
    let first = sent(&mut outbox);
    let settled = outbox.settle(first[0].0, Settlement::Delivered);
    assert_eq!(settled, Some(Settled::Delivered { topic: "a".into(), cleared: true }));
    outbox.owe(Class::Status, "a".into(), message(""));
    let second = sent(&mut outbox);
    outbox.owe(Class::Status, "a".into(), message("new"));
    let settled = outbox.settle(second[0].0, Settlement::Delivered);
    assert_eq!(settled, Some(Settled::Delivered { topic: "a".into(), cleared: false }));
    assert_eq!(texts(&mut outbox), ["a=new"]);
}

#[test]
fn queues_and_the_window_are_bounded() {
    let mut outbox = online();
    for number in 0..100_u32 {
        outbox.queue(Class::Event, "event".into(), message(&number.to_string()), Some(number));
    }
    assert_eq!(outbox.queued(Class::Event), MAX_QUEUED);
    let first = sent(&mut outbox);
    assert_eq!(first.len(), WINDOW);
    assert_eq!(first[0].1, "event=36", "the oldest were dropped");
    outbox.lost();
    outbox.connected();
    assert_eq!(sent(&mut outbox)[0].1, "event=36");
}

fn event(outbox: &mut Outbox, mark: u32) {
    outbox.queue(Class::Event, "event".into(), message(&mark.to_string()), Some(mark));
}

#[test]
fn events_that_are_denied_wait_for_another_connection_and_keep_their_order() {
    let mut outbox = online();
    (0..3).for_each(|mark| event(&mut outbox, mark));
    let first = sent(&mut outbox);
    let denied = |outbox: &mut Outbox, ticket| outbox.settle(ticket, Settlement::Denied(135));
    for (ticket, _) in &first[..2] {
        let topic = "event".into();
        let told = Some(Settled::Denied { class: Class::Event, topic, code: 135, cleared: false });
        assert_eq!(denied(&mut outbox, *ticket), told);
    }
    event(&mut outbox, 3);
    assert_eq!((texts(&mut outbox), outbox.queued(Class::Event)), (Vec::new(), 3));
    outbox.connected();
    assert_eq!(texts(&mut outbox), ["event=0", "event=1", "event=2", "event=3"]);
}

#[test]
fn an_event_that_no_broker_would_take_holds_up_no_other() {
    let mut outbox = online();
    (0..2).for_each(|mark| event(&mut outbox, mark));
    let first = sent(&mut outbox);
    let (class, topic) = (Class::Event, "event".to_owned());
    let too_large = outbox.settle(first[0].0, Settlement::Denied(0x95));
    let dropped = Settled::Dropped { class, topic: topic.clone(), code: 0x95, mark: Some(0) };
    assert_eq!(too_large, Some(dropped));
    let sent = outbox.settle(first[1].0, Settlement::Delivered);
    assert_eq!(sent, Some(Settled::Sent { topic, mark: Some(1) }));
    assert!(outbox.is_empty());
}

#[test]
fn a_heartbeat_is_not_kept() {
    let mut outbox = online();
    let heartbeat = Message { payload: vec![1], retain: true, delivery: Delivery::AtMostOnce };
    outbox.owe(Class::Presence, "heartbeat".into(), heartbeat);
    let publication = outbox.take_next().expect("owed");
    outbox.not_sent(&publication);
    assert!(outbox.is_empty() && outbox.take_next().is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Owe(u8, u8),
    Send,
    Deliver(usize),
    Deny(usize),
    Reject,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, any::<u8>()).prop_map(|(topic, value)| Step::Owe(topic, value)),
        4 => Just(Step::Send),
        4 => (0..8_usize).prop_map(Step::Deliver),
        1 => (0..8_usize).prop_map(Step::Deny),
        1 => Just(Step::Reject),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// Whatever happens on the way, the broker ends up with the last message of every topic.
    #[test]
    fn the_broker_ends_up_with_the_latest(steps in proptest::collection::vec(step(), 0..80)) {
        let mut outbox = online();
        let (mut owed, mut broker) = (BTreeMap::new(), BTreeMap::new());
        let mut flying: Vec<Publication> = Vec::new();
        let take = |flying: &mut Vec<Publication>, place: usize| {
            (!flying.is_empty()).then(|| flying.remove(place % flying.len()))
        };
        for step in steps {
            match step {
                Step::Owe(topic, value) => {
                    owed.insert(topic.to_string(), vec![value]);
                    outbox.owe(Class::Status, topic.to_string(), Message::retained(vec![value]));
                }
                Step::Send => flying.extend(outbox.take_next()),
                Step::Deliver(place) => if let Some(p) = take(&mut flying, place) {
                    broker.insert(p.topic, p.payload);
                    outbox.settle(p.ticket, Settlement::Delivered);
                },
                Step::Deny(place) => if let Some(p) = take(&mut flying, place) {
                    outbox.settle(p.ticket, Settlement::Denied(135));
                },
                Step::Reject => if let Some(p) = outbox.take_next() { outbox.not_sent(&p) },
                Step::Reconnect => {
                    flying.clear();
                    outbox.lost();
                    outbox.connected();
                }
            }
            prop_assert!(flying.len() <= WINDOW);
        }
        outbox.lost();
        outbox.connected();
        while let Some(p) = outbox.take_next() {
            broker.insert(p.topic, p.payload);
            outbox.settle(p.ticket, Settlement::Delivered);
        }
        prop_assert!(outbox.is_empty());
        prop_assert_eq!(broker, owed);
    }
}

#[test]
fn streams_leave_places_for_statuses() {
    let mut outbox = online();
    for _ in 0..WINDOW {
        outbox.queue(Class::Stream, "stream".into(), message("s"), None);
    }
    let streams = sent(&mut outbox);
    assert_eq!(streams.len(), STREAM_WINDOW);
    outbox.owe(Class::Status, "status".into(), message("1"));
    assert_eq!(texts(&mut outbox), ["status=1"]);
    let (ticket, _) = streams.first().expect("some");
    outbox.settle(*ticket, Settlement::Delivered);
    assert_eq!(texts(&mut outbox), ["stream=s"]);
}
