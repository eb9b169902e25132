//! From a message to the container's first instruction, and from `crun create` to the same.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::Phase;

use super::Subject;
use super::crun::Crun;
use super::figures::Figures;
use crate::raw;
use crate::wait::let_pass;
use crate::world::{spec_topic, terminated};

/// Between two starts, on either side: what the one warmed is not what the next finds.
const PACE: Duration = Duration::from_millis(500);

pub(super) fn measure(subject: &Subject, starts: u32, figures: &mut Figures) -> Result<()> {
    let mut crun = Crun::new(subject.world.directory(), &subject.program)?;
    let (mut node_ms, mut crun_ms) = (Vec::new(), Vec::new());
    for number in 0..starts {
        let_pass(PACE);
        node_ms.push(start_by_message(subject, number)?);
        let_pass(PACE);
        crun_ms.push(crun.start(number)?);
    }
    figures.add("starts_measured", f64::from(starts));
    figures.add_times("start_ms", &mut node_ms)?;
    figures.add_times("crun_start_ms", &mut crun_ms)?;
    figures.add(
        "start_to_crun_ratio",
        figures.get("start_ms_median") / figures.get("crun_start_ms_median"),
    );
    Ok(())
}

/// Publishes a pod whose one container says when it runs, and removes it again.
fn start_by_message(subject: &Subject, number: u32) -> Result<f64> {
    let Subject { world, node, image, .. } = subject;
    let name = format!("s{number}");
    let mut asked = raw::pod(&["main"], image, &["/workload", "stamp"]);
    asked.spec.restart_policy = RestartPolicy::Never;
    let topic = spec_topic(node, &name);
    let message = raw::framed(&raw::object(&asked, 1)?)?;
    let published = SystemTime::now();
    world.observer.publish_retained(&topic, &message)?;
    let status = world.wait_for_phase(node, &name, Phase::Succeeded)?;
    ensure!(terminated(&status, "main")?.exit_code == 0, "the stamp failed");
    let uid = status.uid.context("an accepted pod has a uid")?;
    let printed = node.printed(&uid, "main")?;
    world.observer.publish_retained(&topic, &raw::framed(&raw::tombstone(2)?)?)?;
    world.wait_until_gone(node, &name)?;
    elapsed_ms(published, &printed)
}

/// From an instant to the one that a container printed.
pub(super) fn elapsed_ms(from: SystemTime, printed: &str) -> Result<f64> {
    let stamp: u64 = printed.trim().parse().with_context(|| format!("no stamp: {printed:?}"))?;
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(stamp);
    let time = then.duration_since(from).context("it ran before it was asked to")?;
    Ok(time.as_secs_f64() * 1000.0)
}
