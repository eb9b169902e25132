//! `mote events`: what happened on the nodes.

use std::time::Duration;

use anyhow::anyhow;
use mote_protocol::event::Event;
use mote_protocol::frame;
use mote_protocol::name::NodeName;
use mote_protocol::topic::{Address, Scope, Topic, filter};

use super::resource::Selection;
use super::{Invocation, Link, Outcome, ask, now_s};
use crate::cli::EventsArgs;
use crate::context::Context;
use crate::kubernetes::event::Told;
use crate::kubernetes::object::list;
use crate::output::age::format_age;
use crate::output::console::Console;
use crate::output::format::OutputFormat;
use crate::output::table::Table;
use crate::view::node_filters;

mod missed;

use missed::Missed;

/// How long nodes may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What is shown.
struct Wanted<'a> {
    args: &'a EventsArgs,
    namespace: &'a str,
    about: Option<(&'static str, Vec<String>)>,
}

impl Wanted<'_> {
    fn is_met(&self, told: &Told) -> bool {
        let (kind, namespace, name, _) = told.involved();
        let args = self.args;
        let is_about = self.about.as_ref().is_none_or(|(wanted, names)| {
            kind == *wanted && names.iter().any(|wanted| wanted == name)
        });
        let type_ = told.event_type();
        let typed = args.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(type_));
        is_about
            && (args.all_namespaces || kind == "Node" || namespace == self.namespace)
            && (args.types.is_empty() || typed)
            && args.node.as_ref().is_none_or(|node| *node == told.node)
    }
}

/// Runs the command.
pub async fn run(
    args: &EventsArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let wanted = wanted(args, &context)?;
    let mut link = invocation.connect(&context).await?;
    let mut filters = node_filters(&link.name, None);
    if args.watch {
        filters.push(filter::of_nodes(&link.name, None, &Topic::Event));
    }
    link.list(&filters).await?;
    let asked = asked(&link, args.node.as_ref());
    let answers = ask::events(&mut link, &asked, None, PATIENCE).await?;
    for (node, why) in &answers.failed {
        console.warn(format_args!("no events of node {node}: {why}"))?;
    }
    let mut events: Vec<_> =
        answers.events.into_iter().filter(|told| wanted.is_met(told)).collect();
    events.sort_by_key(|told| told.last);
    show(&wanted, &events, !args.no_headers, console)?;
    if args.watch {
        watch(&wanted, &mut link, console).await?;
    }
    link.session.close().await;
    Ok(Outcome::Done)
}

fn wanted<'a>(args: &'a EventsArgs, context: &'a Context) -> anyhow::Result<Wanted<'a>> {
    let namespace = context.namespace.as_str();
    let about = match &args.about {
        None => None,
        Some(text) => Some(match Selection::parse(std::slice::from_ref(text))? {
            Selection::Objects(kind, names) => {
                (kind.kubernetes(), names.iter().map(ToString::to_string).collect())
            }
            Selection::Nodes(names) => ("Node", names.iter().map(ToString::to_string).collect()),
            Selection::All(_) => return Err(anyhow!("--for must be in resource/name form")),
        }),
    };
    Ok(Wanted { args, namespace, about })
}

/// The nodes that can be asked.
fn asked(link: &Link, only: Option<&NodeName>) -> Vec<NodeName> {
    let now = now_s();
    let online = link.fleet.nodes.iter().filter(|(_, node)| node.is_online(now));
    online
        .map(|(name, _)| name.clone())
        .filter(|name| only.is_none_or(|only| only == name))
        .collect()
}

async fn watch(wanted: &Wanted<'_>, link: &mut Link, console: &mut Console) -> anyhow::Result<()> {
    let mut missed = Missed::default();
    loop {
        let message = tokio::select! {
            message = link.session.next(None) => message?,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        let Some(message) = message else { return Ok(()) };
        let Ok(Address { scope: Scope::Node(name), topic: Topic::Event, .. }) =
            Address::parse(&message.topic)
        else {
            link.fleet.absorb(&message);
            continue;
        };
        let Ok(event) = frame::decode::<Event>(&message.payload) else { continue };
        let lost = missed.before(&name, &event);
        if lost > 0 && wanted.args.node.as_ref().is_none_or(|only| *only == name) {
            console.warn(format_args!("{lost} events of node {name} were lost"))?;
        }
        let told = Told::new(&name, link.fleet.nodes.get(&name), event);
        if wanted.is_met(&told) {
            show(wanted, &[told], false, console)?;
        }
    }
}

fn show(
    wanted: &Wanted<'_>,
    events: &[Told],
    headings: bool,
    console: &mut Console,
) -> anyhow::Result<()> {
    let args = wanted.args;
    match args.output.as_ref().unwrap_or(&OutputFormat::Table) {
        OutputFormat::Table | OutputFormat::Wide => {}
        form => {
            let items: Vec<_> = events.iter().map(Told::value).collect();
            return Ok(console.text(&form.format(&list(&items))?)?);
        }
    }
    if events.is_empty() {
        let place = if args.all_namespaces {
            String::new()
        } else {
            format!(" in {} namespace.", wanted.namespace)
        };
        return Ok(console.remark(format_args!("No events found{place}"))?);
    }
    let wide = args.output == Some(OutputFormat::Wide);
    let mut table = Table::default();
    if headings {
        let mut row = Vec::new();
        if args.all_namespaces {
            row.push("NAMESPACE");
        }
        row.extend(["LAST SEEN", "TYPE", "REASON", "OBJECT"]);
        if wide {
            row.extend(["SUBOBJECT", "SOURCE", "FIRST SEEN", "COUNT"]);
        }
        row.push("MESSAGE");
        table = Table::with_headings(&row);
    }
    for told in events {
        table.push(row(told, args.all_namespaces, wide));
    }
    Ok(console.text(&table.format())?)
}

fn row(told: &Told, namespaced: bool, wide: bool) -> Vec<String> {
    let now = now_s();
    let (kind, namespace, name, field) = told.involved();
    let (event, mut row) = (&told.event, Vec::new());
    if namespaced {
        row.push(namespace.to_owned());
    }
    row.push(last_seen(told, now));
    row.extend([told.event_type().to_owned(), event.reason.to_string()]);
    row.push(format!("{kind}/{name}"));
    if wide {
        row.extend([field.to_owned(), told.node.to_string()]);
        row.extend([format_age(told.first, now), event.count.to_string()]);
    }
    row.push(event.message.trim().to_owned());
    row
}

/// `5s`, or `5s (x4 over 3m)` of what happened several times.
pub(super) fn last_seen(told: &Told, now: i64) -> String {
    let last = format_age(told.last, now);
    match told.event.count {
        0 | 1 => last,
        count => format!("{last} (x{count} over {})", format_age(told.first, now)),
    }
}
