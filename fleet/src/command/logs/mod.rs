//! `mote logs`: what a container prints.
//!
//! The node reads its files and sends no more than was granted; see `mote_protocol::stream`.

pub(super) mod print;
mod reading;
pub(super) mod select;
mod stream;

use std::time::Duration;

use anyhow::{anyhow, bail};
use mote_protocol::command::{LogSelection, Since};
use mote_protocol::name::Kind;

use super::get::{Scope, several};
use super::resource::{Resource, Selection, pod_named};
use super::{Invocation, Link, Outcome, now_s};
use crate::cli::LogsArgs;
use crate::output::console::Console;
use crate::view::node::Presence;
use crate::view::pod::PodView;
use reading::{Reading, Source};

/// Lines of each log where pods are selected by their labels and nobody says how many.
const SELECTED_TAIL: u32 = 10;

/// Runs the command.
pub async fn run(
    args: &LogsArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let named = match &args.pod {
        Some(pod) => Selection::Objects(Kind::Pod, vec![pod_named(pod, "read the logs of")?]),
        None => Selection::All(Resource::Objects(Kind::Pod)),
    };
    let selection = selection(args)?;
    let context = invocation.context()?;
    let scope = Scope {
        selection: &named,
        namespace: Some(&context.namespace),
        node: args.node.as_ref(),
        selector: args.selector.as_ref(),
    };
    let mut link = invocation.connect(&context).await?;
    let filters = scope.filters(&link);
    link.list(&filters).await?;
    let (sources, mut outcome) = find(args, &scope, &link, console)?;
    if args.follow && sources.len() > args.max_log_requests {
        bail!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, \
             use --max-log-requests to increase the limit",
            sources.len(),
            args.max_log_requests
        );
    }
    let together = if args.follow { sources.len().max(1) } else { 1 };
    let mut reading = Reading::new(selection);
    let mut result = Ok(());
    for sources in sources.chunks(together) {
        result = reading.read(sources, args.prefix, &mut link).await;
        if let Err(error) = result.as_ref()
            && args.selector.is_some()
            && !args.follow
        {
            // The logs of other pods are there all the same.
            console.fail(error)?;
            (result, outcome) = (Ok(()), Outcome::Failed);
        } else if result.is_err() || reading.interrupted() {
            break;
        }
    }
    link.session.close().await;
    result.map(|()| outcome)
}

/// What of the log is wanted.
fn selection(args: &LogsArgs) -> anyhow::Result<LogSelection> {
    // Of a second that has begun, all is wanted.
    let seconds = |since: Duration| since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let ago = args.since.map(|since| Since::Seconds(seconds(since)));
    let since = match &args.since_time {
        None => ago,
        Some(text) => {
            let time: jiff::Timestamp = text.parse().map_err(|error| {
                anyhow!("--since-time must be a time as RFC 3339 writes it: {error}")
            })?;
            let nanos = time.as_nanosecond();
            let seconds = i64::try_from(nanos.div_euclid(1_000_000_000))?;
            let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000))?;
            Some(Since::Time { seconds, nanos })
        }
    };
    Ok(LogSelection {
        follow: args.follow,
        previous: args.previous,
        timestamps: args.timestamps,
        tail: match args.tail {
            None => args.selector.as_ref().map(|_| SELECTED_TAIL),
            // Negative is kubectl's word for everything.
            Some(lines) => u32::try_from(lines).ok(),
        },
        since,
        limit_bytes: args.limit_bytes,
    })
}

/// The logs that are meant; what of them cannot be read is told.
fn find(
    args: &LogsArgs,
    scope: &Scope<'_>,
    link: &Link,
    console: &mut Console,
) -> anyhow::Result<(Vec<Source>, Outcome)> {
    let pods = scope.pods(&link.fleet);
    if several(scope, &link.fleet, console)? {
        return Ok((Vec::new(), Outcome::Failed));
    }
    if let Some(error) = scope.missing(&link.fleet).into_iter().next() {
        return Err(error.into());
    }
    if pods.is_empty() {
        console.remark(scope.none_found())?;
    }
    let (mut sources, mut outcome) = (Vec::new(), Outcome::Done);
    for view in &pods {
        match of_pod(args, view, console) {
            Ok(found) => sources.extend(found),
            Err(error) if args.selector.is_some() => {
                console.fail(&error)?;
                outcome = Outcome::Failed;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sources, outcome))
}

/// Where a pod is, and which of its containers are meant.
fn of_pod(
    args: &LogsArgs,
    view: &PodView<'_>,
    console: &mut Console,
) -> anyhow::Result<Vec<Source>> {
    let (Some(node), Some(facts)) = (view.node_name(), view.node) else {
        bail!("no node is known that has pod {}", view.key.name);
    };
    let heard = (facts.presence(now_s()), facts.session());
    let (Presence::Online | Presence::Silent { .. }, Some(session)) = heard else {
        bail!("node {node} is offline: its logs can be read when it is back");
    };
    let chosen = select::choose(
        view,
        args.container.as_deref().or(args.container_name.as_deref()),
        args.all_containers,
    )?;
    if let Some(note) = &chosen.note {
        console.remark(note)?;
    }
    let names = chosen.names.into_iter();
    let source =
        |container| Source { node: node.clone(), session, key: view.key.clone(), container };
    Ok(names.map(source).collect())
}
