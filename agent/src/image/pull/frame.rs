//! What agent and pull process say to each other: JSON, each message after its length.
//!
//! One request goes in, reports come out, the last of them says how it ended. Both sides bound what
//! they read: the pull process spends its life with foreign bytes, and the agent trusts it as far
//! as that.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use mote_registry::{PullSecrets, Settings};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::image::ImageId;
use crate::image::assembly::Progress;
use crate::image::error::ImageError;

/// What one side says, and how long it may be.
pub trait Message: Serialize + DeserializeOwned {
    /// Most bytes.
    const MAX: usize;
}

impl Message for Request {
    /// The file of settings has 256 KiB at most, variables of the environment half of that, and pods
    /// bring 16 KiB; in JSON all of it may take twice as much. It is more than a pipe holds.
    const MAX: usize = 1024 * 1024;
}

impl Message for Report {
    /// What meets foreign bytes has less to say.
    const MAX: usize = 32 * 1024;
}

/// What a pull process is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The process that asks. If it is gone, nobody wants the image any more.
    pub parent: u32,
    /// Where the store is.
    pub store: PathBuf,
    /// The directory of the cgroup to work in.
    pub cgroup: Option<PathBuf>,
    /// Free bytes that the store's file system must keep.
    pub reserve: u64,
    /// What is to be known about registries.
    pub registries: Settings,
    /// What to do.
    pub job: Job,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// From a registry.
    Pull {
        /// By reference.
        reference: String,
        /// What the pod brings to be let in.
        secrets: PullSecrets,
    },
    /// From a layout, an archive, or a directory with several of them.
    Import {
        /// Where it is; names of files may have any bytes.
        path: OsString,
        /// Names that are here stay what they are: what lay there long may be older.
        keeps_names: bool,
    },
    /// None: one that is here, by name or id, goes to an archive.
    Export {
        /// As people write it.
        reference: String,
        /// The archive.
        path: PathBuf,
    },
    /// None: every byte of every layer is compared with what was unpacked once.
    Verify,
}

/// What a pull process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// It is this far.
    Progress(Progress),
    /// It has one image. An import goes on.
    Image(Outcome),
    /// One archive of several cannot be imported. An import goes on.
    Skipped(ImageError),
    /// A layer is damaged, for a person. It is as good as gone. The comparison goes on.
    Damaged(String),
    /// The archive is written, and has so many bytes.
    Exported(u64),
    /// All layers were compared.
    Compared {
        /// How many.
        layers: u64,
        /// Others, of which nobody knows what they held.
        unknown: u64,
    },
    /// A mirror or a file of credentials was passed over. The pull goes on.
    PassedOver(String),
    /// It did what it could.
    Done,
    /// It failed.
    Failed(ImageError),
}

/// An image that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The image.
    pub id: ImageId,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Bytes of its packed layers and its configuration.
    pub size: u64,
    /// Bytes that came over the network.
    pub received: u64,
    /// It was here, and the registry says that it is current.
    pub unchanged: bool,
}

/// One message as it goes through the pipe.
pub fn encode<M: Message>(message: &M) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; size_of::<u32>()];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - size_of::<u32>();
    let prefix = u32::try_from(length).ok().filter(|_| length <= M::MAX);
    let prefix = prefix.ok_or_else(|| io::Error::other("message is too long"))?;
    frame.splice(..size_of::<u32>(), prefix.to_le_bytes());
    Ok(frame)
}

/// Writes one message.
pub fn write<M: Message>(output: &mut impl Write, message: &M) -> io::Result<()> {
    output.write_all(&encode(message)?)?;
    output.flush()
}

/// Reads one message.
pub fn read<M: Message>(input: &mut impl Read) -> io::Result<M> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut body = vec![0; body_length::<M>(length)?];
    input.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// The length that a message announces, if it is acceptable.
pub fn body_length<M: Message>(prefix: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if length > M::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is too long"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(reference: &str) -> Job {
        Job::Pull { reference: reference.to_owned(), secrets: PullSecrets::default() }
    }

    fn request(job: Job) -> Request {
        Request {
            parent: 1,
            store: "/var/lib/mote/images".into(),
            cgroup: None,
            reserve: 5,
            registries: Settings::default(),
            job,
        }
    }

    #[test]
    fn messages_survive_the_pipe() {
        let request = request(pull("a"));
        let mut pipe = Vec::new();
        write(&mut pipe, &request).unwrap();
        write(&mut pipe, &Report::Done).unwrap();
        let mut input = pipe.as_slice();
        assert_eq!(read::<Request>(&mut input).unwrap(), request);
        assert_eq!(read::<Report>(&mut input).unwrap(), Report::Done);
        assert!(read::<Report>(&mut input).is_err());
    }

    #[test]
    fn long_messages_are_neither_written_nor_read() {
        let long = request(pull(&"x".repeat(Request::MAX)));
        assert!(write(&mut Vec::new(), &long).is_err());
        let long = Report::PassedOver("x".repeat(Report::MAX));
        assert!(write(&mut Vec::new(), &long).is_err());
        let mut pipe = 0xffff_ffff_u32.to_le_bytes().to_vec();
        pipe.push(b'{');
        assert!(read::<Report>(&mut pipe.as_slice()).is_err());
    }
}
