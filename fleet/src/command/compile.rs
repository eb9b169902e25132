//! `mote compile`: of manifests, the files that ask a node for static pods.
//!
//! A node does not read YAML: what it would take to do so is larger than all else that it needs to be told
//! of pods. So this makes of a manifest what `mote apply` would publish, and writes it to a file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::Namespace;
use mote_protocol::object::{Object, Revision};
use mote_protocol::static_pod::file_name;

use super::apply::{deliver, plan, read};
use super::{Invocation, Outcome};
use crate::cli::CompileArgs;
use crate::content::Content;
use crate::context::DEFAULT_NAMESPACE;
use crate::manifest::Manifest;
use crate::output::console::Console;

/// Runs the command.
pub(super) fn run(
    args: &CompileArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let (manifests, mut outcome) = read(&args.manifests, console)?;
    // Nobody needs to have a broker for this, and a context with a namespace.
    let current = Namespace::new(DEFAULT_NAMESPACE)?;
    let asked = invocation.namespace();
    let mut written = BTreeSet::new();
    for manifest in &manifests {
        let Content::Pod(_) = manifest.content else {
            let kind = manifest.content.kind().kubernetes();
            console.fail(&anyhow!(
                "{}: a {kind} cannot be static: the nodes that need it are told of it with `mote apply`",
                manifest.source
            ))?;
            outcome = Outcome::Failed;
            continue;
        };
        let namespace = deliver::namespace(manifest, asked, asked.unwrap_or(&current))?;
        let path = args.output.join(file_name(namespace, &manifest.name));
        let shown = path.display().to_string();
        if !written.insert(path.clone()) {
            console.fail(&anyhow!("{}: {shown} is another pod's of this name", manifest.source))?;
            outcome = Outcome::Failed;
            continue;
        }
        write(&path, &compiled(manifest)?).with_context(|| format!("write {shown}"))?;
        console.line(format_args!("pod/{} compiled to {shown}", manifest.name))?;
    }
    if manifests.is_empty() && outcome == Outcome::Done {
        return Err(anyhow!("no objects passed to compile"));
    }
    Ok(outcome)
}

/// The frame of a pod. The same manifest always gives the same: a file that is written anew changes nothing.
fn compiled(manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
    let intent = manifest.content.to_intent()?;
    plan::check_size(manifest.content.kind(), &intent)?;
    // The node counts the changes of its files itself.
    let revision = Revision { number: 0, hash: plan::hash(&intent)? };
    let object = Object { revision, uid: None, intent, extensions: Extensions::default() };
    Ok(frame::encode(&object)?)
}

/// Puts a whole file where nothing or another one is. A node passes over names that begin with a dot.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("not a file in a directory"));
    };
    let draft = directory.join(format!(".{}", name.display()));
    let put = || {
        fs::create_dir_all(directory)?;
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(directory)?.sync_all()
    };
    put().inspect_err(|_| drop(fs::remove_file(&draft)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{self, document, source::Source};

    fn manifest(text: &str) -> Manifest {
        let source = Source { name: "web.yaml".into(), text: text.into() };
        let documents = document::split(&source).expect("documents");
        manifest::read(&documents[0]).expect("a manifest")
    }

    const WEB: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n\
                       spec: {containers: [{name: main, image: web}]}\n";

    #[test]
    fn the_same_manifest_gives_the_same_file() {
        let (first, second) = (compiled(&manifest(WEB)), compiled(&manifest(WEB)));
        let first = first.expect("compiled");
        assert_eq!(first, second.expect("compiled"));
        let object = frame::decode::<Object>(&first).expect("a frame");
        assert_eq!((object.revision.number, object.uid), (0, None));
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("default_web.pod");
        write(&path, b"one").expect("written");
        write(&path, b"two").expect("written over");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        let names = fs::read_dir(directory.path()).expect("listed").count();
        assert_eq!(names, 1, "no draft is left");
        let below = directory.path().join("pods/default_web.pod");
        write(&below, b"three").expect("its directory is made");
        assert_eq!(fs::read(&below).expect("read"), b"three");
    }
}
