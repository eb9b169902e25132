//! How the kernel was told to start, and what it must be told for a memory controller.

use std::path::Path;

use mote_protocol::doctor::Finding;
use serde::{Deserialize, Serialize};

use super::kernel::text;

/// What a Raspberry Pi's kernel must be told: its firmware switches the controller off.
const WORDS: &str = "cgroup_enable=memory cgroup_memory=1";

/// Where the firmware of a Raspberry Pi reads it. The second is a note that leads to the first where
/// both are there.
const FILES: [&str; 2] = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];

/// What was seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Boot {
    /// `/proc/cmdline`.
    pub(super) command_line: String,
    /// The file that the next start is told from, and what is in it.
    pub(super) file: Option<(String, String)>,
}

impl Boot {
    pub(super) fn read(root: &Path) -> Self {
        let below = |path: &str| text(&root.join(path.trim_start_matches('/')));
        Self {
            command_line: below("/proc/cmdline").unwrap_or_default(),
            file: FILES.into_iter().find_map(|path| Some((path.to_owned(), below(path)?))),
        }
    }
}

/// What to say where there is no memory controller.
pub(super) fn memory_missing(boot: &Boot) -> Finding {
    let message = "the kernel has no cgroup memory controller, or it is switched off: limits of \
                   memory are not enforced";
    let remedy = match &boot.file {
        _ if switches_on(&boot.command_line) => {
            "the kernel was told to have it and does not: use one with CONFIG_MEMCG".to_owned()
        }
        Some((path, text)) if switches_on(text) => {
            format!("{path} asks for it already: reboot")
        }
        Some((path, _)) => {
            format!("append ` {WORDS}` to the one line in {path} (no new line), and reboot")
        }
        None => format!(
            "add `cgroup_enable=memory` to the kernel's command line and reboot (on a Raspberry \
             Pi `{WORDS}` in {}), or use a kernel with CONFIG_MEMCG",
            FILES[0]
        ),
    };
    Finding::problem("CgroupMemoryMissing", message, &remedy)
}

fn switches_on(line: &str) -> bool {
    // Controllers are a list: `cgroup_enable=cpuset,memory`.
    let lists =
        line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("cgroup_enable="));
    lists.flat_map(|list| list.split(',')).any(|controller| controller == "memory")
}
