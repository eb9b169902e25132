//! What files ask for, beside what is published.

use super::*;
use mote_protocol::node::Taint;
use mote_protocol::pod::TaintEffect;

/// The file of a pod with this label.
fn file(label: &str) -> Vec<u8> {
    applied(0, LIFE, label, false)
}

fn files(content: Option<&[u8]>) -> StaticPods {
    [(key(), content.map(<[u8]>::to_vec))].into()
}

/// Has the store take in what the files say; what became of each that is new.
async fn said(store: &mut Store<StillWorld>, files: StaticPods) -> Vec<Admission> {
    let mut became = Vec::new();
    for arrival in store.said_by_files(files).0 {
        assert_eq!(arrival.scope, Source::Static);
        became.push(store.admit(&arrival.scope, &arrival.key, &arrival.payload).await.unwrap());
    }
    became
}

/// What became of the one that is new, where it was accepted.
fn accepted(became: &[Admission]) -> (Change, &Life) {
    let [Admission::Accepted { change, life, .. }] = became else { panic!("{became:?}") };
    (*change, life)
}

#[tokio::test]
async fn each_change_of_a_file_is_another_life_and_a_boot_is_none() {
    let edges = edges();
    let mut store = opened(&edges).await;
    let first = said(&mut store, files(Some(&file("one")))).await;
    let (change, life) = accepted(&first);
    assert_eq!(change, Change::New);
    assert!(life.pod.is_static && life.pod.is_critical() && life.pod.stays());
    let uid = life.pod.name.uid;
    assert_eq!(said(&mut store, files(Some(&file("one")))).await, [], "nothing new");

    let opened_again = open(Rc::clone(&edges), NodePolicy::default(), b"board").await;
    let [loaded] = &opened_again.objects[..] else { panic!("one object") };
    assert!(loaded.current.pod.is_static, "also where nobody has read the file yet");
    assert_eq!(critical_pods_of(&edges), [uid]);
    let mut store = opened_again.store;
    assert_eq!(said(&mut store, files(Some(&file("one")))).await, [], "nor after a boot");

    let second = said(&mut store, files(Some(&file("two")))).await;
    let (change, life) = accepted(&second);
    assert_eq!(change, Change::Replace);
    assert_ne!(life.pod.name.uid, uid);
    let back = said(&mut store, files(Some(&file("one")))).await;
    assert_eq!(accepted(&back).1.pod.name.uid, uid, "the same file is the same pod");
}

/// What a shutdown would end last, of the files of a card.
fn critical_pods_of(edges: &SharedEdges<StillWorld>) -> Vec<Uid> {
    let base = tempfile::tempdir().unwrap();
    for (name, content) in edges.disk.files.borrow().iter() {
        let path = base.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    critical_pods(base.path()).into_iter().collect()
}

#[tokio::test]
async fn it_goes_with_its_file_and_with_nothing_else() {
    let edges = edges();
    let mut store = opened(&edges).await;
    said(&mut store, files(Some(&file("one")))).await;
    for to in ["n", "@all"] {
        for frame in [deleted(900), applied(901, OTHER, "other", false)] {
            let admitted = store.admit(&scope(to), &key(), &frame).await.unwrap();
            let Admission::Refused(refusal) = admitted else { panic!("{admitted:?}") };
            assert_eq!(refusal.reason.to_string(), "StaticPod");
        }
    }
    assert_eq!(said(&mut store, files(None)).await, [], "a file that cannot be read says nothing");
    let damaged = said(&mut store, files(Some(b"damaged"))).await;
    assert!(matches!(damaged[..], [Admission::Refused(_)]), "{damaged:?}");
    assert!(!store.entries[&key()].held.deleting);

    let gone = said(&mut store, StaticPods::new()).await;
    assert!(matches!(gone[..], [Admission::Deleting { grace_s: 30, .. }]), "{gone:?}");
    assert_eq!(said(&mut store, StaticPods::new()).await, [], "once");
    let uid = store.entries[&key()].held.uid;
    let again = said(&mut store, files(Some(&file("one")))).await;
    let (change, life) = accepted(&again);
    assert_eq!((change, life.pod.name.uid), (Change::Replace, uid), "it begins once it has ended");
}

#[tokio::test]
async fn what_was_published_gives_way_to_a_file_and_comes_back_when_it_is_said_again() {
    let edges = edges();
    let mut store = opened(&edges).await;
    accept(&mut store, "n", &applied(7, OTHER, "published", false)).await;
    let became = said(&mut store, files(Some(&file("one")))).await;
    assert_eq!(accepted(&became).0, Change::Replace);
    said(&mut store, StaticPods::new()).await;
    let uid = store.entries[&key()].held.uid;
    store.forget(&key(), uid).await.unwrap();
    let again = applied(8, OTHER, "published", false);
    assert_eq!(accept(&mut store, "n", &again).await, Change::New);
}

#[tokio::test]
async fn nothing_keeps_it_off_its_node_nor_puts_off_its_changes() {
    let edges = edges();
    let taint = Taint { key: "gpu".into(), value: String::new(), effect: TaintEffect::NoExecute };
    let policy = NodePolicy { taints: vec![taint], ..NodePolicy::default() };
    let mut store = open(edges, policy, b"board").await.store;
    let became = said(&mut store, files(Some(&file("one")))).await;
    assert_eq!(accepted(&became).0, Change::New, "taints do not");
    for frame in [applied(0, LIFE, "two", true), waiting(0, None, &["a"])] {
        let became = said(&mut store, files(Some(&frame))).await;
        let [Admission::Refused(refusal)] = &became[..] else { panic!("{became:?}") };
        assert_eq!(refusal.field.to_string(), "metadata.annotations");
    }
}

#[tokio::test]
async fn who_knows_its_uid_cannot_keep_it_off_its_node() {
    let edges = edges();
    let mut store = opened(&edges).await;
    let first = said(&mut store, files(Some(&file("one")))).await;
    let uid = accepted(&first).1.pod.name.uid;
    for taken in [key(), ObjectKey { name: ObjectName::new("evil").unwrap(), ..key() }] {
        let edges = crate::world::still::edges();
        let mut store = opened(&edges).await;
        let evil = applied(7, uid, "published", false);
        let admitted = store.admit(&scope("n"), &taken, &evil).await.unwrap();
        assert!(matches!(admitted, Admission::Accepted { .. }), "{admitted:?}");
        let became = said(&mut store, files(Some(&file("one")))).await;
        let own = accepted(&became).1.pod.name.uid;
        assert_ne!(own, uid, "it is another life: {taken}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_was_compiled_asks_for_nothing() {
    let edges = edges();
    let mut store = opened(&edges).await;
    said(&mut store, files(Some(&file("one")))).await;
    let mut spoiled = file("one");
    let place = spoiled.windows(3).rposition(|bytes| bytes == b"one").expect("the label");
    spoiled[place] = b'x';
    let became = said(&mut store, files(Some(&spoiled))).await;
    let [Admission::Refused(refusal)] = &became[..] else { panic!("{became:?}") };
    assert_eq!(&*refusal.reason, "HashMismatch");
    let (said, settled) = store.said_by_files(files(Some(&file("one"))));
    assert!(said.is_empty());
    assert_eq!(settled, [key()], "it was mended");
}

#[tokio::test]
async fn one_that_was_lost_to_damage_goes_with_its_file() {
    let edges = edges();
    let mut store = opened(&edges).await;
    let first = said(&mut store, files(Some(&file("one")))).await;
    let uid = accepted(&first).1.pod.name.uid;
    let mut record =
        Machine::new(accepted(&first).1.pod.clone(), Moment(0)).record(Boot::default());
    record.name = key().name;
    store.save_record(uid, &record).await.unwrap();
    edges.disk.files.borrow_mut().insert(spec_file(&key()), b"damaged".to_vec());
    let mut store = opened(&edges).await;
    assert!(!store.entries.contains_key(&key()), "it is lost");
    let became = said(&mut store, StaticPods::new()).await;
    assert_eq!(became, [Admission::DeletedUnknown { lost: Some(uid) }]);
}
