//! `mote apply`: ask nodes to have pods and data, and wait until they say so.
//!
//! This module reads the manifests. [`deliver`] finds the nodes, publishes and prints what became
//! of each object on each of them; [`plan`] decides what to publish and [`progress`] whether a node
//! took it.

pub mod deliver;
pub mod plan;
pub mod progress;
mod target;

use anyhow::anyhow;
use mote_protocol::name::Kind;

use super::{Invocation, Outcome};
use crate::cli::{ApplyArgs, ManifestArgs};
use crate::manifest::{self, Manifest, document, source};
use crate::output::console::Console;
use deliver::Existing;

/// Runs the command.
pub async fn run(
    args: &ApplyArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let (mut manifests, outcome) = read(&args.manifests, console)?;
    // Pods find what they are made of when they come.
    manifests.sort_by_key(|manifest| manifest.content.kind() == Kind::Pod);
    if manifests.is_empty() && args.delivery.dry_run != "client" {
        return match outcome {
            Outcome::Failed | Outcome::Exited(_) => Ok(outcome),
            Outcome::Done => Err(anyhow!("no objects passed to apply")),
        };
    }
    let existing = if args.force { Existing::Replace } else { Existing::Change };
    let delivered = deliver::run(&args.delivery, &manifests, existing, invocation, console).await?;
    Ok(outcome.and(delivered))
}

/// Reads the manifests, tells what is wrong with them and what has no effect.
pub(super) fn read(
    args: &ManifestArgs,
    console: &mut Console,
) -> anyhow::Result<(Vec<Manifest>, Outcome)> {
    let (mut manifests, mut outcome) = (Vec::new(), Outcome::Done);
    for source in source::read(&args.filename, args.recursive)? {
        for document in document::split(&source)? {
            let manifest = match manifest::read(&document) {
                Ok(manifest) => manifest,
                Err(error) => {
                    console.fail(&error.into())?;
                    outcome = Outcome::Failed;
                    continue;
                }
            };
            if args.strict && !manifest.ignored.is_empty() {
                let fields: Vec<_> = manifest.ignored.iter().map(ToString::to_string).collect();
                let fields = fields.join(", ");
                console.fail(&anyhow!(
                    "error validating \"{}\": strict decoding error: {fields}",
                    manifest.source
                ))?;
                outcome = Outcome::Failed;
                continue;
            }
            for ignored in &manifest.ignored {
                console.warn(format_args!("{}: {ignored}", manifest.source))?;
            }
            manifests.push(manifest);
        }
    }
    Ok((manifests, outcome))
}
