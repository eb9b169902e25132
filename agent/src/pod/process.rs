//! What a container's first process is started with: the spec's wishes over the image's.

use std::fmt;
use std::path::PathBuf;

use mote_registry::config::ImageConfig;

use super::contents::ContentsError;
use super::contents::environment::Variables;
use super::qos::oom_score_adj;
use super::spec::{Container, Pod};
use crate::image::{Image, ImageId};
use crate::runtime::{ContainerId, Mount, PodFile, StartRequest};

/// Where programs are looked for when neither image nor spec says so.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most bytes of a command line once its variables are filled in: with the variables beside it about
/// what the kernel takes.
const MAX_COMMAND_LINE: usize = 1024 * 1024;

/// `SIGTERM`.
pub const SIGTERM: i32 = 15;

/// Why a container cannot be started with this image. Texts are the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `runAsUser: 0` with `runAsNonRoot`.
    #[error(
        "container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})"
    )]
    RunsAsRoot {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The image runs as root, with `runAsNonRoot`.
    #[error(
        "container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})"
    )]
    ImageRunsAsRoot {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The image names its user, with `runAsNonRoot`.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    UserIsNoNumber {
        /// The image's user.
        user: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// Something that its variables or its mounts are made from.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A part of a volume that it is to have.
    #[error("failed to prepare subPath for volumeMount \"{mount}\" of container \"{container}\"")]
    SubPath {
        /// The volume's name.
        mount: String,
        /// The container.
        container: String,
    },
    /// A device that it is to have.
    #[error("device {resource} {why}")]
    Device {
        /// The name of its resource.
        resource: String,
        /// Why it cannot be had.
        why: String,
    },
    /// Neither spec nor image says what to run.
    #[error("no command specified: set `command`, or use an image with an entrypoint")]
    NoCommand,
}

/// What an attempt is put together from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Its image.
    pub image: Image,
    /// The variables that the spec gives it.
    pub variables: Variables,
    /// Its volumes.
    pub mounts: Vec<Mount>,
    /// Files of its pod.
    pub files: Vec<PodFile>,
    /// Its devices.
    pub devices: Vec<PathBuf>,
}

/// Builds the request for one attempt of one container.
pub fn start_request(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    parts: Parts,
    memory_bytes: u64,
) -> Result<StartRequest, ConfigError> {
    let Parts { image, variables, mounts, mut files, devices } = parts;
    // Who has something of its own there keeps it, as in Kubernetes.
    files.retain(|file| mounts.iter().all(|mount| mount.target != file.target));
    check_user(pod, container, &image.config.user)?;
    let tag = Tag::of(pod, container, image.id).to_string();
    let args = command_line(container, &variables, &image.config)?;
    if args.is_empty() {
        return Err(ConfigError::NoCommand);
    }
    let cwd = [container.working_dir.as_str(), image.config.working_dir.as_str(), "/"];
    let cwd = cwd.into_iter().find(|path| !path.is_empty()).unwrap_or("/").to_owned();
    Ok(StartRequest {
        id: ContainerId { pod: pod.name.uid, name: container.name.clone(), attempt },
        args,
        env: environment(pod, &variables, image.config.env),
        cwd,
        image_user: image.config.user,
        layers: image.layers,
        mounts,
        files,
        devices,
        sysctls: pod.sysctls.clone(),
        rights: container.rights.clone(),
        own_users: pod.own_users,
        limits: container.limits,
        oom_score_adj: score(pod, container, memory_bytes),
        tty: container.tty,
        termination_message: container.termination_message.clone(),
        tag,
    })
}

fn score(pod: &Pod, container: &Container, memory_bytes: u64) -> i32 {
    oom_score_adj(pod.qos, pod.node_critical, container.oom_request, memory_bytes)
}

/// What an attempt was made from, as it stands in [`StartRequest::tag`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The image.
    pub image: ImageId,
    /// As the spec wrote it.
    pub reference: String,
    /// What of its restrictions this attempt does without, as [`Pod::unenforced`] has it.
    pub unenforced: Vec<String>,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.image, self.reference)?;
        self.unenforced.iter().try_for_each(|what| write!(f, "\n{what}"))
    }
}

impl Tag {
    /// That of an attempt which is made now.
    pub fn of(pod: &Pod, container: &Container, image: ImageId) -> Self {
        let (reference, unenforced) = (container.image.clone(), pod.unenforced.clone());
        Self { image, reference, unenforced }
    }

    /// Reads a tag back; none where it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (image, reference) = lines.next()?.split_once(' ')?;
        let (image, reference) = (image.parse().ok()?, reference.to_owned());
        Some(Self { image, reference, unenforced: lines.map(str::to_owned).collect() })
    }
}

fn check_user(pod: &Pod, container: &Container, image_user: &str) -> Result<(), ConfigError> {
    if !container.run_as_non_root {
        return Ok(());
    }
    let (pod, container_name) = (pod.name.describe(), container.name.clone());
    if let Some(user) = container.rights.user {
        let error = ConfigError::RunsAsRoot { pod, container: container_name };
        return if user == 0 { Err(error) } else { Ok(()) };
    }
    let user = image_user.split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(0) => Err(ConfigError::ImageRunsAsRoot { pod, container: container_name }),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => {
            Err(ConfigError::ImageRunsAsRoot { pod, container: container_name })
        }
        Err(_) => {
            let user = user.to_owned();
            Err(ConfigError::UserIsNoNumber { user, pod, container: container_name })
        }
    }
}

fn command_line(
    container: &Container,
    variables: &Variables,
    image: &ImageConfig,
) -> Result<Vec<String>, ContentsError> {
    let (of_image, asked) = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => return Ok([image.entrypoint.as_slice(), &image.cmd].concat()),
        (true, false) => (image.entrypoint.clone(), [&[], container.args.as_slice()]),
        (false, _) => (Vec::new(), [container.command.as_slice(), &container.args]),
    };
    let (mut line, mut room) = (of_image, MAX_COMMAND_LINE);
    for text in asked.into_iter().flatten() {
        let text = expand(text, room, |name| variables.get(name));
        let text = text.map_err(|TooLong| ContentsError::TooMuch {
            what: "parts of the command line",
            max: MAX_COMMAND_LINE,
        })?;
        room = room.saturating_sub(text.len() + 1);
        line.push(text);
    }
    Ok(line)
}

/// The image's variables, those of every container, and the spec's over them.
fn environment(pod: &Pod, own: &Variables, image: Vec<String>) -> Vec<String> {
    let named = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut env: Vec<String> =
        image.into_iter().filter(|entry| own.get(&named(entry)).is_none()).collect();
    let has = |env: &[String], wanted: &str| {
        own.get(wanted).is_some() || env.iter().any(|entry| named(entry) == wanted)
    };
    if !has(&env, "PATH") {
        env.push(DEFAULT_PATH.to_owned());
    }
    if !has(&env, "HOSTNAME") && !pod.host.network {
        env.push(format!("HOSTNAME={}", pod.hostname));
    }
    env.extend(own.iter().map(|(name, value)| format!("{name}={value}")));
    env
}

/// A text became longer than it may: a short one can name a long value often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Kubernetes' `$(NAME)`: `$$` is `$`, unknown names and anything unfinished stay as they are. Fails
/// beyond `max` bytes, of which it notices after the value that leads there.
pub(crate) fn expand<'v>(
    text: &str,
    max: usize,
    value: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, TooLong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if out.len() > max {
            return Err(TooLong);
        }
        out.push_str(before);
        rest = after;
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, behind)) =
            after.strip_prefix('(').and_then(|after| after.split_once(')'))
        {
            match value(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = behind;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    if out.len() > max { Err(TooLong) } else { Ok(out) }
}

/// The signal that asks a container to end.
pub fn stop_signal(container: &Container, image: Option<&str>) -> i32 {
    let own = container.stop_signal.map(i32::from);
    own.or_else(|| image.and_then(signal_number)).unwrap_or(SIGTERM)
}

fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return offset.parse::<i32>().ok().map(|n| 34 + n).filter(|n| (34..=64).contains(n));
    }
    let known = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("WINCH", 28),
        ("PWR", 30),
    ];
    known.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}

#[cfg(test)]
mod tests;
