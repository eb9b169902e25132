//! `mote drain`: ends the pods of a node, which keeps them until it takes pods again.

use anyhow::anyhow;
use mote_protocol::command::{Answer, Request};
use mote_protocol::cordon::{DrainRequest, DrainStep, PodRef, UNSCHEDULABLE_TAINT};
use mote_protocol::name::NodeName;
use tokio::time::Instant;

use super::ask::{self, ASK_LATER, Followed, find};
use super::cordon::word;
use super::stream::asker;
use super::{Invocation, Outcome};
use crate::cli::DrainArgs;
use crate::output::console::Console;

/// Runs the command.
pub async fn run(
    args: &DrainArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    let node = &args.node;
    find(&mut link, node, ASK_LATER).await?;
    let request = Request::Drain(DrainRequest {
        grace_s: args.grace_period,
        force: args.force,
        ignore_daemon_sets: args.ignore_daemonsets,
        dry_run: args.dry_run,
        by: asker(),
    });
    let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
    let first = invocation.request_timeout();
    let mut outcome = Outcome::Done;
    let take = |answer: Answer| {
        let Answer::Drain(step) = answer else { return Ok(()) };
        outcome = outcome.and(tell(&step, args, console)?);
        Ok(())
    };
    let followed = ask::follow(&mut link, node, &request, (first, deadline), take).await?;
    link.session.close().await;
    let why = match followed {
        Followed::ToTheEnd => return Ok(outcome),
        Followed::Refused(why) => ask::explain(why),
        Followed::Silent => "it does not answer".to_owned(),
        Followed::TimedOut => {
            format!("global timeout reached: {:?}; it goes on ending its pods", args.timeout)
        }
        Followed::Lost => "the connection to it was lost; it goes on ending its pods".to_owned(),
    };
    Err(anyhow!("node {node}: {why}"))
}

/// Prints one step, in kubectl's words.
fn tell(step: &DrainStep, args: &DrainArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let node = &args.node;
    let dry = if args.dry_run { " (dry run)" } else { "" };
    let cordoned = |already: &bool| format!("node/{node} {}{dry}", word(true, *already));
    match step {
        DrainStep::Blocked { already, daemons, once } => {
            console.line(cordoned(already))?;
            console.fail(&anyhow!("{}", blocked(node, daemons, once)))?;
            return Ok(Outcome::Failed);
        }
        DrainStep::Begun { already, stay, end } => {
            console.line(cordoned(already))?;
            if !stay.is_empty() {
                let stay = list(stay);
                console.warn(format_args!(
                    "ignoring Pods that tolerate {UNSCHEDULABLE_TAINT}: {stay}"
                ))?;
            }
            for pod in end {
                console.line(format_args!("evicting pod {pod}{dry}"))?;
            }
        }
        DrainStep::Ended(pod) => console.line(format_args!("pod/{} evicted", pod.name))?,
        DrainStep::Drained => console.line(format_args!("node/{node} drained{dry}"))?,
    }
    Ok(Outcome::Done)
}

/// Why a node is not drained.
fn blocked(node: &NodeName, daemons: &[PodRef], once: &[PodRef]) -> String {
    let mut reasons = Vec::new();
    if !daemons.is_empty() {
        reasons.push(format!(
            "cannot end Pods that tolerate {UNSCHEDULABLE_TAINT} (use --ignore-daemonsets to ignore): {}",
            list(daemons)
        ));
    }
    if !once.is_empty() {
        reasons.push(format!(
            "cannot end Pods with restartPolicy Never, which would not run again (use --force to override): {}",
            list(once)
        ));
    }
    format!("unable to drain node \"{node}\": {}", reasons.join("; "))
}

fn list(pods: &[PodRef]) -> String {
    pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::{Namespace, ObjectName};

    #[test]
    fn what_is_in_the_way_is_named_with_the_flag_that_lets_it() {
        let pod = |name: &str| PodRef {
            namespace: Namespace::new("default").expect("a label"),
            name: ObjectName::new(name).expect("a name"),
        };
        let node = NodeName::new("n1").expect("a name");
        let text = blocked(&node, &[pod("log"), pod("net")], &[pod("job")]);
        assert!(
            text.contains("--ignore-daemonsets to ignore): default/log, default/net;"),
            "{text}"
        );
        assert!(text.ends_with("(use --force to override): default/job"), "{text}");
        assert!(!blocked(&node, &[], &[pod("job")]).contains("daemonsets"));
    }
}
