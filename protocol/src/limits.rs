//! Capacities of the wire types, each with the reason for its number. `tests/size.rs` fails when
//! a typical status outgrows what we promise for cellular links.

/// Longest payload of one object: a Kubernetes ConfigMap may hold 1 MiB, and its keys, names and
/// our header need room beside it.
pub const MAX_OBJECT: usize = 1024 * 1024 + 16 * 1024;

/// Longest payload a node ever publishes in one packet; larger answers come in parts.
pub const MAX_STATUS: usize = 16 * 1024;

/// Bytes of all values of one `ConfigMap` or Secret, as in Kubernetes.
pub const MAX_DATA: usize = 1024 * 1024;

/// Keys of one `ConfigMap` or Secret. Kubernetes knows no bound; a megabyte of empty values would
/// take twenty times its size in memory.
pub const MAX_DATA_KEYS: usize = 1024;

/// Ports of one service. Kubernetes knows no bound; each is a rule or two for packets.
pub const MAX_SERVICE_PORTS: usize = 64;

/// Endpoints of one service that are told one by one: with the longest names and all ports they fill half a
/// status.
pub const MAX_TOLD_ENDPOINTS: usize = 16;

/// Labels that a service may ask of its pods: more than anybody writes.
pub const MAX_SELECTOR: usize = 32;

/// Longest command: a name, a few options.
pub const MAX_COMMAND: usize = 8 * 1024;

/// Longest object name: a DNS subdomain (RFC 1123), as for Kubernetes pods.
pub const MAX_NAME: usize = 253;

/// Longest fleet, group, namespace, node or container name: a DNS label (RFC 1123).
pub const MAX_LABEL: usize = 63;

/// Containers of one pod, of all kinds. Kubernetes knows no bound; a status must fit one packet,
/// and no small board runs more in one pod.
pub const MAX_CONTAINERS: usize = 24;

/// Conditions of one pod: the five that a node owns, and as many of others.
pub const MAX_POD_CONDITIONS: usize = 10;

/// Conditions of one node: Kubernetes' five, the board's six, and room.
pub const MAX_NODE_CONDITIONS: usize = 16;

/// Addresses of one pod or node: one per family, per network, and two to spare.
pub const MAX_ADDRESSES: usize = 6;

/// Longest name of an image: 255 bytes of repository, 128 of tag, a digest, and the marks between.
pub const MAX_IMAGE_NAME: usize = 512;

/// Names of images in one request or answer.
pub const MAX_IMAGE_NAMES: usize = 64;

/// Longest reason: CamelCase, longest of the kubelet's is 38 characters.
pub const MAX_REASON: usize = 48;

/// Longest message in a condition, an event or a refusal: an MQTT packet over a cellular link
/// should stay one TCP segment.
pub const MAX_MESSAGE: usize = 512;

/// Longest termination message of one container (the kubelet's bound for its file).
pub const MAX_TERMINATION_MESSAGE: usize = 4096;

/// Longest path of a field in a refusal (`spec.containers[3].volumeMounts[2].mountPath`).
pub const MAX_FIELD_PATH: usize = 120;

/// Extensions of one struct: a decoder of today must bound what a sender of tomorrow adds.
pub const MAX_EXTENSIONS: usize = 32;

/// Longest name of an extension.
pub const MAX_EXTENSION_NAME: usize = 40;

/// Extended resources (devices) of one node.
pub const MAX_DEVICES: usize = 16;

/// Longest name of an extended resource: `mote.io/` and 63 characters, with room for another domain.
pub const MAX_RESOURCE: usize = 96;

/// Devices of one pod that are told not to be well: more than a board has to lose.
pub const MAX_UNHEALTHY: usize = 16;

/// Objects listed or events told in one part of an answer.
pub const MAX_REPLY_ITEMS: usize = 32;

/// Bytes of data in one frame of a stream: a node that sends eight of them at a time holds 64 KiB.
pub const MAX_STREAM_DATA: usize = 8 * 1024;

/// What a frame of a stream costs of the credit beside its bytes: a credit then also bounds how
/// many short frames a broker may have to keep for a reader that is slow.
pub const STREAM_FRAME_COST: u64 = 256;

/// Credit that a reader keeps open: eight long frames are on the way, or 250 short ones.
pub const STREAM_WINDOW: u64 = 64 * 1024;

/// Seconds without a word after which a node takes the operator of a stream for gone. Operators say
/// something at a third of it.
pub const STREAM_IDLE_S: u64 = 90;

/// Streams that one operator's session may have open on a node: a browser opens some of them for
/// one page. Whoever wants more waits until one has ended.
pub const STREAMS_PER_CLIENT: usize = 16;

/// Longest name by which somebody asks: a user and a host.
pub const MAX_ASKER: usize = 80;
