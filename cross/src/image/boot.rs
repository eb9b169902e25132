//! What the firmware and the kernel of a Raspberry Pi are told: two small files on the boot
//! partition, changed no more than is needed. PURE.

use anyhow::{Result, ensure};

/// Words that the kernel must hear: Raspberry Pi's firmware switches the memory controller off.
const WORDS: [&str; 2] = ["cgroup_enable=memory", "cgroup_memory=1"];

/// The word that says the opposite.
const AGAINST: &str = "cgroup_disable=memory";

/// The line that lets the board restart when nothing works any more.
const WATCHDOG: &str = "dtparam=watchdog=on";

/// `cmdline.txt` with what containers need. All of it is one line.
pub fn cmdline(text: &str) -> Result<String> {
    let line = text.trim();
    ensure!(!line.is_empty() && !line.contains('\n'), "cmdline.txt is not one line");
    let mut words: Vec<_> = line.split_whitespace().filter(|word| *word != AGAINST).collect();
    for word in WORDS {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(format!("{}\n", words.join(" ")))
}

/// `config.txt` with the watchdog switched on, for all models.
pub fn config(text: &str) -> String {
    if text.lines().any(|line| line.trim() == WATCHDOG) {
        return text.to_owned();
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}\n[all]\n{WATCHDOG}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_hears_what_it_must_once() {
        let line = "console=tty1 root=PARTUUID=1-02 rootwait cgroup_disable=memory quiet\n";
        let told = cmdline(line).expect("a line");
        let expected = "console=tty1 root=PARTUUID=1-02 rootwait quiet cgroup_enable=memory \
                        cgroup_memory=1\n";
        assert_eq!(told, expected);
        assert_eq!(cmdline(&told).expect("a line"), told);
        assert!(cmdline("a\nb\n").is_err() && cmdline("\n").is_err());
    }

    #[test]
    fn the_watchdog_is_for_all_models() {
        let text = "[pi4]\narm_boost=1";
        let told = config(text);
        assert_eq!(told, "[pi4]\narm_boost=1\n\n[all]\ndtparam=watchdog=on\n");
        assert_eq!(config(&told), told);
    }
}
