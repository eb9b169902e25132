//! What a board has after a power cut, by its own word, before it hears from anybody.

use anyhow::{Context, Result, anyhow, bail, ensure};
use mote_protocol::name::Kind;
use mote_protocol::status::{ContainerState, Phase};

use crate::churn::{Churn, FRESH, LOGIN, ONCE, PASSING, READER, SETTINGS};
use crate::node::{BUSYBOX, CutNode, EXTRA};

/// All that is ever applied.
pub(crate) const NAMES: [(Kind, &str); 8] = [
    (Kind::ConfigMap, SETTINGS),
    (Kind::Secret, LOGIN),
    (Kind::Pod, READER),
    (Kind::Pod, FRESH),
    (Kind::Pod, ONCE),
    (Kind::Pod, PASSING[0]),
    (Kind::Pod, PASSING[1]),
    (Kind::Pod, PASSING[2]),
];

/// Reasons of events that tell of something that a power cut must not bring about.
const BAD: [&str; 5] =
    ["DamagedFile", "UnusableFile", "ForeignFile", "StorageErrors", "ImageDamaged"];

/// How often a board is asked whether its pods run, ten times a second.
const TRIES: u32 = 600;

/// Starts the agent without a network, and checks all that it had promised.
pub(crate) fn check(node: &mut CutNode, churn: &Churn) -> Result<()> {
    node.start_alone()?;
    node.wait_for_answers()?;
    let all = nothing_is_set_aside(node)
        .and_then(|()| images_are_here(node, churn))
        .and_then(|()| objects_are_here(node, churn))
        .and_then(|()| data_is_here(node))
        .and_then(|()| images_are_whole(node))
        .and_then(|()| nothing_is_set_aside(node));
    all.map_err(|error| {
        let error = error.context("after a power cut");
        node.explain(&error)
    })
}

fn nothing_is_set_aside(node: &mut CutNode) -> Result<()> {
    let find = "find /var/lib/mote/damaged /var/lib/mote/images/damaged -type f 2>/dev/null; true";
    let damaged = node.run(find)?;
    ensure!(damaged.is_empty(), "set aside: {damaged}");
    let events = node.run("mote-agent ctl events")?;
    let bad = events.lines().find(|line| BAD.iter().any(|reason| line.contains(reason)));
    ensure!(bad.is_none(), "an event tells of it: {}", bad.unwrap_or_default());
    Ok(())
}

fn images_are_here(node: &mut CutNode, churn: &Churn) -> Result<()> {
    let images = node.run("mote-agent ctl images")?;
    ensure!(images.contains(BUSYBOX), "an image that every pod needs is lost:\n{images}");
    ensure!(!churn.has_extra || images.contains(EXTRA), "{EXTRA} is lost:\n{images}");
    Ok(())
}

/// A pod as the agent describes it.
struct Found {
    revision: u64,
    word: String,
}

fn find(node: &mut CutNode, name: &str) -> Result<Option<Found>> {
    let (status, text) = node.ask(&format!("mote-agent ctl describe pod {name}"))?;
    if status != 0 {
        ensure!(text.contains("not found"), "describe {name}: {text}");
        return Ok(None);
    }
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.with_context(|| format!("no {name} in:\n{text}"))
    };
    let revision = field("Revision:")?.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(Some(Found { revision, word: field("Status:")?.trim().to_owned() }))
}

fn objects_are_here(node: &mut CutNode, churn: &Churn) -> Result<()> {
    let mut to_run = Vec::new();
    for (_, name) in NAMES.iter().filter(|(kind, _)| *kind == Kind::Pod) {
        let found = find(node, name)?;
        let promise = node.promise(Kind::Pod, name);
        promise
            .judge(found.as_ref().map(|found| found.revision))
            .map_err(|breach| anyhow!("pod {name}: {breach} ({promise:?})"))?;
        let Some(found) = found else { continue };
        let runs = *name != ONCE && (*name != FRESH || has_its_image(node, churn, found.revision)?);
        if runs {
            to_run.push(*name);
        }
    }
    to_run.into_iter().try_for_each(|name| runs(node, name))?;
    what_ended_stays_so(node)
}

/// Whether the pod with the image that changes ran with that of this revision.
fn has_its_image(node: &CutNode, churn: &Churn, revision: u64) -> Result<bool> {
    let revisions = node.revisions(Kind::Pod, FRESH);
    let version = revisions.iter().position(|one| *one == revision);
    let (_, digest) = version
        .and_then(|version| churn.images.get(version))
        .with_context(|| format!("{FRESH} has revision {revision}, said were {revisions:?}"))?;
    let ran = node.statuses(FRESH).into_iter().flat_map(|status| status.containers).any(|one| {
        let image = one.image.map(|image| {
            image.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
        });
        matches!(one.state, ContainerState::Running { .. }) && image.as_ref() == Some(digest)
    });
    Ok(ran)
}

/// Waits until a pod runs, or is gone where its end was on flash.
fn runs(node: &mut CutNode, name: &str) -> Result<()> {
    for _ in 0..TRIES {
        match find(node, name)? {
            None => return Ok(()),
            Some(found) if found.word == "Running" => return Ok(()),
            Some(_) => drop(node.run("usleep 100000")?),
        }
    }
    let description = node.run(&format!("mote-agent ctl describe pod {name}"))?;
    bail!("{name} does not run:\n{description}")
}

/// A pod that had ended by itself does not begin again.
fn what_ended_stays_so(node: &mut CutNode) -> Result<()> {
    let told = node.status(ONCE).filter(|status| status.phase == Phase::Succeeded);
    let (Some(told), Some(found)) = (told, find(node, ONCE)?) else { return Ok(()) };
    let is_same = found.revision == told.accepted.number;
    let stays = matches!(&*found.word, "Completed" | "Terminating");
    ensure!(!is_same || stays, "{ONCE} had succeeded, and is {}", found.word);
    Ok(())
}

/// The settings and the secret are what was accepted, by what a container read of them.
fn data_is_here(node: &mut CutNode) -> Result<()> {
    let log = node.run(&format!("mote-agent ctl logs {READER}"))?;
    let versions: Vec<usize> = log.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let [settings, login] = versions[..] else { bail!("{READER} printed: {log}") };
    for (kind, name, version) in
        [(Kind::ConfigMap, SETTINGS, settings), (Kind::Secret, LOGIN, login)]
    {
        let revisions = node.revisions(kind, name);
        let found = version.checked_sub(1).and_then(|place| revisions.get(place)).copied();
        ensure!(found.is_some(), "{name} is of version {version}, said were {}", revisions.len());
        let promise = node.promise(kind, name);
        promise
            .judge(found)
            .map_err(|breach| anyhow!("{kind} {name}: {breach} ({promise:?}, {versions:?})"))?;
    }
    Ok(())
}

fn images_are_whole(node: &mut CutNode) -> Result<()> {
    let (status, text) = node.ask("mote-agent ctl images verify")?;
    let whole = status == 0 && !text.contains("damaged") && !text.contains("nobody knows");
    ensure!(whole, "images verify ends with {status}: {text}");
    Ok(())
}
