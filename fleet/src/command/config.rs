//! `mote config`: the configuration file.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Invocation, Outcome};
use crate::cli::{ConfigCommand, SetContextArgs};
use crate::context::file::{ConfigFile, Entry};
use crate::context::{self, ContextError};
use crate::output::console::Console;
use crate::output::table::Table;

/// Runs the command.
pub fn run(
    command: ConfigCommand,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let path = invocation.config_path()?;
    let file = ConfigFile::read(&path)?;
    if let ConfigCommand::SetContext(args) = command {
        return set(*args, invocation, file.unwrap_or_default(), &path, console);
    }
    let mut file = file.ok_or_else(|| ContextError::NoFile { path: path.clone() })?;
    match command {
        ConfigCommand::CurrentContext => {
            let current = file.current_context.filter(|name| !name.is_empty());
            console.line(current.ok_or_else(|| anyhow!("current-context is not set"))?)?;
        }
        ConfigCommand::GetContexts { names, output, no_headers } => {
            return list(&file, &names, output.is_some(), no_headers, console);
        }
        ConfigCommand::UseContext { name } => {
            if file.find(&name).is_none() {
                return Err(anyhow!("no context exists with the name: \"{name}\""));
            }
            file.current_context = Some(name.clone());
            file.write(&path)?;
            console.line(format_args!("Switched to context \"{name}\"."))?;
        }
        ConfigCommand::DeleteContext { name } => {
            let before = file.contexts.len();
            file.contexts.retain(|entry| entry.name != name);
            if file.contexts.len() == before {
                let path = path.display();
                return Err(anyhow!("cannot delete context {name}, not in {path}"));
            }
            if file.current_context.as_deref() == Some(&name) {
                console.warn("this removed your active context, use \"mote config use-context\" to select a different one")?;
                file.current_context = None;
            }
            file.write(&path)?;
            console.line(format_args!("deleted context {name} from {}", path.display()))?;
        }
        // It names the files of passwords and keys, and holds none.
        ConfigCommand::View => console.text(&file.to_yaml())?,
        ConfigCommand::SetContext(_) => {}
    }
    Ok(Outcome::Done)
}

fn list(
    file: &ConfigFile,
    names: &[String],
    only_names: bool,
    no_headers: bool,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for name in names.iter().filter(|name| file.find(name).is_none()) {
        console.fail(&anyhow!("context {name} not found"))?;
        outcome = Outcome::Failed;
    }
    let wanted = |entry: &&Entry| names.is_empty() || names.contains(&entry.name);
    let headings = ["CURRENT", "NAME", "BROKER", "FLEET", "USER", "NAMESPACE"];
    let mut table = if no_headers { Table::default() } else { Table::with_headings(&headings) };
    for entry in file.contexts.iter().filter(wanted) {
        if only_names {
            console.line(&entry.name)?;
            continue;
        }
        let current = file.current_context.as_ref() == Some(&entry.name);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.push(vec![
            if current { "*".into() } else { String::new() },
            entry.name.clone(),
            text(&entry.broker),
            text(&entry.fleet),
            text(&entry.username),
            text(&entry.namespace),
        ]);
    }
    if !only_names {
        console.text(&table.format())?;
    }
    Ok(outcome)
}

fn set(
    args: SetContextArgs,
    invocation: &Invocation,
    mut file: ConfigFile,
    path: &Path,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let current = file.current_context.clone().filter(|_| args.current);
    let name = args.name.or(current).ok_or_else(|| anyhow!("no current context is set"))?;
    let place = file.contexts.iter().position(|entry| entry.name == name);
    let mut entry = place.and_then(|place| file.contexts.get(place).cloned()).unwrap_or_default();
    entry.name.clone_from(&name);
    let namespace = invocation.namespace().map(ToString::to_string);
    for (field, given) in [
        (&mut entry.broker, args.broker),
        (&mut entry.fleet, args.fleet),
        (&mut entry.namespace, namespace),
        (&mut entry.username, args.username),
    ] {
        *field = given.or(field.take());
    }
    for (field, given) in [
        (&mut entry.ca, args.ca),
        (&mut entry.cert, args.cert),
        (&mut entry.key, args.key),
        (&mut entry.password_file, args.password_file),
    ] {
        // What is given is meant from here, what is written is read from the file's folder.
        let absolute = given.map(std::path::absolute).transpose()?;
        *field = absolute.or(field.take()) as Option<PathBuf>;
    }
    context::check(&entry, place.unwrap_or(file.contexts.len()), path)?;
    let verb = if let Some(known) = place.and_then(|place| file.contexts.get_mut(place)) {
        *known = entry;
        "modified"
    } else {
        file.contexts.push(entry);
        "created"
    };
    // The first context is the one that everybody means.
    if file.current_context.is_none() {
        file.current_context = Some(name.clone());
    }
    file.write(path)?;
    console.line(format_args!("Context \"{name}\" {verb}."))?;
    Ok(Outcome::Done)
}
