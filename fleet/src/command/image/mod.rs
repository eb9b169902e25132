//! `mote image`: the images of nodes, and archives for them.

use std::time::Duration;

use anyhow::anyhow;
use mote_protocol::command::{Answer, Request};
use mote_protocol::image::{ImageInfo, ImageName, ImageRequest, size};
use mote_protocol::limits::{MAX_IMAGE_NAME, MAX_IMAGE_NAMES};
use mote_protocol::name::NodeName;

use super::ask::{Answered, ask};
use super::events::PATIENCE;
use super::{Invocation, Outcome, now_s};
use crate::cli::{ImageCommand, NodeImages, Place, Target};
use crate::output::console::Console;
use crate::output::table::Table;
use crate::view::Fleet;
use crate::view::node::Node;
use crate::view::node_filters;

mod save;

/// Runs the command.
pub async fn run(
    command: &ImageCommand,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let command = match command {
        ImageCommand::Save(args) => return save::run(args, console).await,
        ImageCommand::Nodes(command) => command,
    };
    let (request, target, patience) = asked(command)?;
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    link.list(&node_filters(&link.name, None)).await?;
    let may_be_all = matches!(command, NodeImages::Ls(_));
    let (nodes, offline) = nodes(&link.fleet, target, may_be_all)?;
    for name in &offline {
        console.warn(format_args!("node {name} is offline: it is not asked"))?;
    }
    let mut answered = ask(&mut link, &nodes, &Request::Images(request), patience).await?;
    answered.sort_by(|(a, _), (b, _)| a.cmp(b));
    let whole = match command {
        NodeImages::Ls(args) => list(&answered, !args.no_headers, console)?,
        _ => report(&answered, console)?,
    };
    link.session.close().await;
    let nobody = nodes.is_empty();
    Ok(if whole && offline.is_empty() && !nobody { Outcome::Done } else { Outcome::Failed })
}

/// What is asked, of whom, and for how long.
fn asked(command: &NodeImages) -> anyhow::Result<(ImageRequest, &Target, Duration)> {
    let (request, Place { target, timeout }) = match command {
        NodeImages::Ls(args) => return Ok((ImageRequest::List, &args.target, PATIENCE)),
        NodeImages::Pull { image, place } => (ImageRequest::Pull(name(image)?), place),
        NodeImages::Rm { images, .. } if images.len() > MAX_IMAGE_NAMES => {
            return Err(anyhow!("at most {MAX_IMAGE_NAMES} images in one command"));
        }
        NodeImages::Rm { images, place } => {
            let names = images.iter().map(|image| name(image));
            (ImageRequest::Remove(names.collect::<anyhow::Result<_>>()?), place)
        }
        NodeImages::Prune { place } => (ImageRequest::Prune, place),
        NodeImages::Verify { place } => (ImageRequest::Verify, place),
    };
    Ok((request, target, *timeout))
}

fn name(text: &str) -> anyhow::Result<ImageName> {
    if text.len() > MAX_IMAGE_NAME {
        return Err(anyhow!("an image's name has at most {MAX_IMAGE_NAME} bytes"));
    }
    Ok(ImageName::new(text))
}

/// The nodes that are meant, and those of them that cannot be asked.
fn nodes(
    fleet: &Fleet,
    target: &Target,
    may_be_all: bool,
) -> anyhow::Result<(Vec<NodeName>, Vec<NodeName>)> {
    let named = target.node.is_some() || target.selector.is_some() || target.group.is_some();
    if !named && !target.all && !may_be_all {
        return Err(anyhow!("no node: use --node, -l, --group or --all-nodes"));
    }
    if let Some(name) = target.node.as_ref().filter(|name| !fleet.nodes.contains_key(*name)) {
        return Err(anyhow!("nodes \"{name}\" not found"));
    }
    let is_meant = |name: &NodeName, node: &Node| {
        let labels = node.birth.as_ref().map(|birth| &birth.labels);
        target.node.as_ref().is_none_or(|wanted| wanted == name)
            && target.group.as_ref().is_none_or(|group| node.is_in(group) == Some(true))
            && (target.selector.as_ref())
                .is_none_or(|selector| labels.is_some_and(|labels| selector.matches(labels)))
    };
    let now = now_s();
    let meant = fleet.nodes.iter().filter(|(name, node)| is_meant(name, node));
    let (online, offline): (Vec<_>, Vec<_>) = meant.partition(|(_, node)| node.is_online(now));
    if online.is_empty() && offline.is_empty() {
        return Err(anyhow!("no node is meant by that"));
    }
    let names =
        |found: Vec<(&NodeName, &Node)>| found.into_iter().map(|(n, _)| n.clone()).collect();
    // Who lists all is told what can be told.
    let offline = if named || target.all { names(offline) } else { Vec::new() };
    Ok((names(online), offline))
}

fn list(answered: &[Answered], headings: bool, console: &mut Console) -> anyhow::Result<bool> {
    let mut table = Table::default();
    if headings {
        table = Table::with_headings(&["NODE", "IMAGE", "ID", "SIZE"]);
    }
    let mut whole = true;
    for (node, answer) in answered {
        match answer {
            Ok(parts) => {
                for part in parts {
                    if let Answer::Images(images) = part {
                        images
                            .iter()
                            .flat_map(|image| rows(node, image))
                            .for_each(|r| table.push(r));
                    }
                }
            }
            Err(why) => {
                whole = false;
                console.warn(format_args!("no images of node {node}: {why}"))?;
            }
        }
    }
    console.text(&table.format())?;
    Ok(whole)
}

/// One row for each name of an image, and one for an image without.
fn rows(node: &NodeName, image: &ImageInfo) -> Vec<Vec<String>> {
    let id: String = image.digest().chars().take(19).collect();
    let row = |name: &str| vec![node.to_string(), name.to_owned(), id.clone(), size(image.bytes)];
    if image.names.is_empty() {
        return vec![row("<none>")];
    }
    image.names.iter().map(|name| row(name)).collect()
}

/// What nodes did, each line behind the node's name.
fn report(answered: &[Answered], console: &mut Console) -> anyhow::Result<bool> {
    let mut whole = true;
    for (node, answer) in answered {
        let parts = match answer {
            Ok(parts) => parts,
            Err(why) => {
                whole = false;
                console.warn(format_args!("node {node}: {why}"))?;
                continue;
            }
        };
        for part in parts {
            let Answer::ImageWork(work) = part else { continue };
            let (news, complaints) = work.lines();
            whole &= complaints.is_empty();
            for line in complaints {
                console.warn(format_args!("node {node}: {line}"))?;
            }
            for line in news {
                console.text(&format!("{node}: {line}\n"))?;
            }
        }
    }
    Ok(whole)
}
