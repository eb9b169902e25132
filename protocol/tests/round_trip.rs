//! What is written reads back as what it was, for any value of each type.

mod strategies;

use mote_protocol::frame::{self, Body, FrameError};
use mote_protocol::object::{BodyError, ConfigMap, Intent, Pod, Secret, Service};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

fn round_trip<B: Body + PartialEq + std::fmt::Debug>(body: &B) -> Result<(), TestCaseError> {
    let bytes = frame::encode(body).expect("it encodes");
    let read = frame::decode::<B>(&bytes);
    prop_assert_eq!(read.as_ref(), Ok(body));
    prop_assert_eq!(frame::kind(&bytes), Some(B::KIND as u8));

    // A buffer that is used again holds nothing of what was in it.
    let mut buffer = vec![0xff; 300];
    frame::encode_into(body, &mut buffer).expect("it encodes");
    prop_assert_eq!(&buffer, &bytes);

    // One byte less or more is never the same frame.
    let short = bytes.get(..bytes.len() - 1).expect("a frame has bytes");
    prop_assert!(frame::decode::<B>(short).is_err());
    buffer.push(0);
    prop_assert_eq!(frame::decode::<B>(&buffer), Err(FrameError::Trailing { len: 1 }));
    Ok(())
}

macro_rules! every_type_reads_back {
    ($($name:ident),* $(,)?) => {
        proptest! {
            $(
                #[test]
                fn $name(body in strategies::$name()) {
                    round_trip(&body)?;
                }
            )*
        }
    };
}

every_type_reads_back!(
    object,
    pod_status,
    object_status,
    node_status,
    birth,
    will,
    heartbeat,
    event,
    usage,
    command,
    reply,
    stream_frame,
);

/// What an intent to apply holds.
fn applied(intent: Intent) -> (u8, Vec<u8>) {
    match intent {
        Intent::Apply { schema, body } => (schema, body),
        Intent::Delete { .. } => unreachable!("an intent to apply"),
    }
}

proptest! {
    #[test]
    fn other_kinds_in_an_object(
        map in strategies::config_map(),
        secret in strategies::secret(),
        service in strategies::service(),
    ) {
        let (schema, body) = applied(map.to_intent().expect("encodes"));
        prop_assert_eq!(ConfigMap::decode(schema, &body), Ok(map));
        let (schema, body) = applied(secret.to_intent().expect("encodes"));
        prop_assert_eq!(Secret::decode(schema, &body), Ok(secret));
        let (schema, body) = applied(service.to_intent().expect("encodes"));
        prop_assert_eq!(Service::decode(schema, &body), Ok(service));
    }
}

proptest! {
    #[test]
    fn a_pod_in_an_object(pod in strategies::whole_pod()) {
        let Intent::Apply { schema, body } = pod.to_intent().expect("encodes") else {
            panic!("a pod is applied");
        };
        let read = Pod::decode(schema, &body);
        prop_assert_eq!(read.as_ref(), Ok(&pod));
        prop_assert_eq!(
            Pod::decode(schema + 1, &body),
            Err(BodyError::Schema { found: schema + 1, newest: schema })
        );
    }

    #[test]
    fn a_signature_is_split_off_whatever_it_is(
        body in strategies::heartbeat(), key in any::<[u8; 8]>(), seal in any::<[u8; 32]>(),
    ) {
        let mut bytes = frame::encode(&body).expect("encodes");
        bytes[0] |= 1;
        let signed = bytes.clone();
        bytes.extend(key);
        bytes.extend(seal);
        bytes.extend(seal);
        let (read, signature) =
            frame::decode_signed::<mote_protocol::node::Heartbeat>(&bytes).expect("decodes");
        let signature = signature.expect("it is signed");
        prop_assert_eq!(read, body);
        prop_assert_eq!(signature.key_id, &key);
        prop_assert_eq!(&signature.signature[..32], &seal);
        prop_assert_eq!(signature.signed, &signed);
    }
}
