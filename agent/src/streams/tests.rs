use std::future::pending;
use std::time::Duration;

use mote_protocol::limits::STREAM_WINDOW;
use mote_protocol::name::RequestId;
use mote_protocol::stream::StreamPart;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::{Granted, Outgoing, Peer, Voice, exec};
use crate::runtime::Attached;

/// The other ends of a peer.
struct Operator {
    told: mpsc::Receiver<Outgoing>,
    granted: watch::Sender<Granted>,
    said: mpsc::Sender<StreamPart>,
}

fn peer(credit: u64) -> (Peer, Operator) {
    let (parts, told) = mpsc::channel(1);
    let (granted, grants) = watch::channel(Granted { credit, ..Granted::default() });
    let (said, saying) = mpsc::channel(8);
    let id = RequestId::new("mote-1").expect("an id");
    let peer = Peer { voice: Voice::new(id, parts, grants), said: saying };
    (peer, Operator { told, granted, said })
}

impl Operator {
    async fn next(&mut self) -> StreamPart {
        self.told.recv().await.expect("a part").part
    }

    fn close(&self) {
        let end = StreamPart::End { reason: "Closed".into(), message: "".into() };
        self.granted.send_modify(|granted| granted.hear(&end));
    }
}

/// A command of which the test holds everything.
struct Command {
    input: DuplexStream,
    output: DuplexStream,
    exit: oneshot::Sender<i32>,
}

fn command() -> (Attached, Command) {
    let (input, reads) = duplex(64);
    let (prints, output) = duplex(64);
    let (exit, exited) = oneshot::channel();
    let attached = Attached {
        input: Some(Box::new(input)),
        output: Box::new(output),
        error: Some(Box::new(tokio::io::empty())),
        terminal: None,
        exit: Box::pin(async move {
            match exited.await {
                Ok(code) => Some(code),
                Err(_) => pending().await,
            }
        }),
    };
    (attached, Command { input: reads, output: prints, exit })
}

#[tokio::test(start_paused = true)]
async fn a_command_tells_what_it_prints_then_its_status_then_the_end() {
    let (attached, mut command) = command();
    let (mut peer, mut operator) = peer(STREAM_WINDOW);
    LocalSet::new()
        .run_until(async {
            let served =
                tokio::task::spawn_local(async move { exec::run(attached, &mut peer).await });
            assert_eq!(operator.next().await, StreamPart::Credit(STREAM_WINDOW));
            operator.said.send(StreamPart::Data(b"typed".to_vec())).await.expect("heard");
            operator.said.send(StreamPart::Eof).await.expect("heard");
            let mut typed = Vec::new();
            command.input.read_to_end(&mut typed).await.expect("read");
            assert_eq!(typed, b"typed");
            command.output.write_all(b"printed").await.expect("written");
            command.exit.send(7).expect("waited for");
            // Others hold its output; the last of what it printed comes first all the same.
            assert_eq!(operator.next().await, StreamPart::Data(b"printed".to_vec()));
            assert_eq!(operator.next().await, StreamPart::Exited(7));
            let end = operator.next().await;
            assert!(matches!(end, StreamPart::End { reason, .. } if reason == *"Completed"));
            served.await.expect("served");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_takes_input_and_output_and_then_the_command() {
    let (attached, mut command) = command();
    let (mut peer, mut operator) = peer(0);
    LocalSet::new()
        .run_until(async {
            let served =
                tokio::task::spawn_local(async move { exec::run(attached, &mut peer).await });
            // Without credit nothing is told, and the command waits.
            command.output.write_all(&[b'x'; 64]).await.expect("written");
            operator.close();
            assert_eq!(command.input.read(&mut [0; 8]).await.expect("its end"), 0);
            while command.output.write_all(b"x").await.is_ok() {}
            assert!(!command.exit.is_closed(), "it has time to end");
            command.exit.closed().await;
            while let Some(told) = operator.told.recv().await {
                assert!(matches!(told.part, StreamPart::Credit(_) | StreamPart::End { .. }));
            }
            served.await.expect("served");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_command_left_behind_prints_does_not_hold_up_its_end() {
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        let (attached, mut command) = command();
        let (mut peer, mut operator) = peer(u64::MAX);
        let others = async {
            while command.output.write_all(&[b'x'; 64]).await.is_ok() {
                sleep(pause).await;
            }
        };
        let hear = async {
            command.exit.send(7).expect("waited for");
            let mut printed = 0;
            loop {
                match operator.next().await {
                    StreamPart::Data(text) => printed += text.len(),
                    StreamPart::Exited(code) => break assert_eq!(code, 7),
                    _ => {}
                }
            }
            assert!((64..=(1 << 20) + 64).contains(&printed), "{printed}");
            operator.next().await;
        };
        tokio::join!(others, hear, exec::run(attached, &mut peer));
    }
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_voice_share_what_was_granted() {
    let (peer, mut operator) = peer(1000);
    let (mut one, mut other) = (peer.voice.clone(), peer.voice.clone());
    let data = |len| StreamPart::Data(vec![0; len]);
    let told = async {
        assert_eq!(operator.next().await, data(500));
        operator.granted.send_modify(|granted| granted.hear(&StreamPart::Credit(2000)));
        assert_eq!(operator.next().await, data(400));
    };
    let say = async {
        one.say(data(500)).await.expect("granted");
        other.say(data(400)).await.expect("granted later");
    };
    tokio::join!(told, say);
}
