//! Signals by name, as in `lifecycle.stopSignal`.
//!
//! The numbers are those of Linux on every architecture that mote runs on.

/// Names from number 1 on.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The real-time signals that programs may use.
const REAL_TIME: std::ops::RangeInclusive<u8> = 34..=64;

/// The number of a name.
pub fn number(name: &str) -> Option<u8> {
    let place = match name {
        "SIGIOT" => return Some(6),
        "SIGPOLL" => return Some(29),
        "SIGRTMIN" => return Some(*REAL_TIME.start()),
        "SIGRTMAX" => return Some(*REAL_TIME.end()),
        _ => NAMES.iter().position(|known| *known == name),
    };
    if let Some(place) = place {
        return u8::try_from(place + 1).ok();
    }
    let number = if let Some(above) = name.strip_prefix("SIGRTMIN+") {
        REAL_TIME.start().checked_add(above.parse().ok()?)?
    } else {
        REAL_TIME.end().checked_sub(name.strip_prefix("SIGRTMAX-")?.parse().ok()?)?
    };
    REAL_TIME.contains(&number).then_some(number)
}

/// The name of a number; `None` where it has none.
pub fn name(number: u8) -> Option<String> {
    if number == *REAL_TIME.start() {
        return Some("SIGRTMIN".into());
    }
    if REAL_TIME.contains(&number) {
        return Some(format!("SIGRTMIN+{}", number - REAL_TIME.start()));
    }
    let name = NAMES.get(usize::from(number).checked_sub(1)?)?;
    Some((*name).into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_has_its_number_back() {
        for number in (1..=31).chain(34..=64) {
            let name = super::name(number).expect("a signal");
            assert_eq!(super::number(&name), Some(number), "{name}");
        }
        assert_eq!(super::number("SIGTERM"), Some(15));
        assert_eq!(super::number("SIGRTMAX-1"), Some(63));
        for text in ["", "TERM", "SIGRTMIN+99", "SIGRTMAX-40", "SIGRTMIN+", "15"] {
            assert_eq!(super::number(text), None, "{text}");
        }
    }
}
