//! Fields that are read and sent, and that no node acts on.
//!
//! What merely says the default, as `kubectl get -o yaml` prints it, asks for nothing and is not
//! told. What a node refuses is told, too: it is better heard before than from the node alone.

use mote_protocol::pod::PodSpec;
use mote_protocol::pod::support::{self, Finding};
use serde_json::Value;

use crate::kubernetes::findings::{Findings, Ignored, IgnoredField};
use crate::kubernetes::path::Path;

/// Keys that are dropped while reading, and what each has where nobody chose.
const DROPPED: &[(&str, &str)] =
    &[("schedulerName", "default-scheduler"), ("preemptionPolicy", "PreemptLowerPriority")];

/// The classes that mean something to a node: their pods are never evicted.
const CRITICAL: [&str; 2] = ["system-node-critical", "system-cluster-critical"];

/// Notes what `spec` asks for in vain; `value` is what it was read from.
pub(super) fn check(spec: &PodSpec, value: Option<&Value>, at: Path<'_>, findings: &mut Findings) {
    for finding in support::findings(spec) {
        let (path, why) = match finding {
            Finding::Refused(path) => {
                // Ports of the node are led to pods, except those of this protocol.
                let with = path.ends_with(".hostPort").then_some("protocol SCTP");
                (path, Ignored::Refused { with })
            }
            Finding::Ignored(path) => (path, Ignored::Unsupported),
        };
        findings.ignored.push(IgnoredField { path, why });
    }
    let mut note = |asked: bool, at: Path<'_>| {
        if asked {
            let path = at.to_string();
            findings.ignored.push(IgnoredField { path, why: Ignored::Unsupported });
        }
    };
    let account = spec.service_account_name.as_str();
    let class = spec.priority_class_name.as_str();
    note(!matches!(account, "" | "default"), at.field("serviceAccountName"));
    note(!class.is_empty() && !CRITICAL.contains(&class), at.field("priorityClassName"));
    for (key, default) in DROPPED {
        let text = value.and_then(|value| value.get(key)).and_then(Value::as_str);
        note(text.is_some_and(|text| !text.is_empty() && text != *default), at.field(key));
    }
    let token = value.and_then(|value| value.get("automountServiceAccountToken"));
    note(token.and_then(Value::as_bool) == Some(true), at.field("automountServiceAccountToken"));
}
