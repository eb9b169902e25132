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

/// What a `config.txt` has the firmware load: the kernel, and what it unpacks.
pub fn kernel(text: &str) -> Option<(&str, &str)> {
    let value = |word: &str| {
        let mut lines = text.lines().rev().filter_map(|line| line.trim().strip_prefix(word));
        lines.find_map(|rest| rest.trim_start_matches(['=', ' ']).split_whitespace().next())
    };
    Some((value("kernel")?, value("initramfs")?))
}

/// Names of the lines of `mote.txt` whose values are files beside it.
const FILES: [&str; 3] = ["ca", "cert", "key"];

/// What has a meaning on the boot partition already.
const TAKEN: [&str; 4] = ["cmdline.txt", "config.txt", "mote.txt", "mote-error.txt"];

/// The files that a `mote.txt` names. All else of it is judged by the board (`agent/src/setup/wanted.rs`,
/// by which a line is read as here).
pub fn files(text: &str) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let Some((word, value)) = line.split_once('=') else { continue };
        if !FILES.contains(&word.trim().to_lowercase().as_str()) {
            continue;
        }
        let value = value.trim();
        let inner = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
        let name = inner('"').or_else(|| inner('\'')).unwrap_or(value);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = name.bytes().all(allowed) && !name.starts_with('.');
        // Names of FAT are the same in capitals.
        let taken = TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name));
        ensure!(
            is_name && !taken,
            "`{}` is no name for a file beside mote.txt",
            name.escape_debug()
        );
        if !name.is_empty() && !found.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
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
    fn the_kernel_is_the_one_that_is_named() {
        let text = "# kernel=no\narm_64bit=1\nkernel=vmlinuz-6.1\n[all]\ninitramfs initrd.img-6.1 followkernel\n";
        assert_eq!(kernel(text), Some(("vmlinuz-6.1", "initrd.img-6.1")));
        assert_eq!(kernel("kernel=vmlinuz\n"), None);
    }

    #[test]
    fn the_files_that_a_text_names_are_found() {
        let text = "\u{feff}CA = \"ca.pem\"\r\n#cert = x\nkey=\ncert = both.pem\nkey = both.pem\nfleet = a\n";
        assert_eq!(files(text).expect("names"), ["ca.pem", "both.pem"]);
        for name in ["../ca.pem", ".ca", "Config.TXT", "::x"] {
            let error = files(&format!("ca = {name}\n")).expect_err("no name").to_string();
            assert_eq!(error, format!("`{name}` is no name for a file beside mote.txt"));
        }
    }

    #[test]
    fn the_watchdog_is_for_all_models() {
        let text = "[pi4]\narm_boost=1";
        let told = config(text);
        assert_eq!(told, "[pi4]\narm_boost=1\n\n[all]\ndtparam=watchdog=on\n");
        assert_eq!(config(&told), told);
    }
}
