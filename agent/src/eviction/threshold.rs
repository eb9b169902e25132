//! Where a shortage begins and ends, and how that is written: the kubelet's syntax.

use std::str::FromStr;
use std::time::Duration;

use super::signal::Signal;

const MIB: u64 = 1024 * 1024;

/// How long a pressure is told after it was seen last (`evictionPressureTransitionPeriod`).
const TRANSITION: Duration = Duration::from_mins(5);

/// An amount of something of which there is so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// So much, in bytes or as a number.
    Units(u64),
    /// Hundredths of a percent of all that there is.
    Share(u32),
    /// That share, and no more than so much.
    Bounded {
        /// Hundredths of a percent.
        share: u32,
        /// Most that it comes to.
        units: u64,
    },
}

/// All of it, in hundredths of a percent.
const WHOLE: u32 = 10_000;

impl Quantity {
    /// How much it is of so much.
    pub fn of(self, capacity: u64) -> u64 {
        let share = |share: u32| {
            let part = u128::from(capacity) * u128::from(share) / u128::from(WHOLE);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        match self {
            Self::Units(units) => units,
            Self::Share(part) => share(part),
            Self::Bounded { share: part, units } => share(part).min(units),
        }
    }

    /// Whether it is one of the shares by which the kubelet switches a threshold off.
    const fn is_off(self) -> bool {
        matches!(self, Self::Share(0 | WHOLE))
    }
}

/// What is wrong with a text of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// No operator.
    #[error("must be a signal, `{0}` and a value, as in `memory.available{0}{1}`")]
    Form(char, &'static str),
    /// No such signal.
    #[error(
        "no signal has this name: known are memory.available, nodefs.available, nodefs.inodesFree \
         and pid.available"
    )]
    Signal,
    /// A signal that means nothing here.
    #[error("images are on the same file system here: use nodefs.available and nodefs.inodesFree")]
    OtherDisk,
    /// Not an amount.
    #[error("must be an amount, as in `100Mi`, or a percentage from 0 to 100, as in `10%`")]
    Quantity,
    /// Not a time.
    #[error("must be a time, as in `1m30s`, of at most a day")]
    Time,
}

impl FromStr for Quantity {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => hundredths(percent).filter(|share| *share <= WHOLE).map(Self::Share),
            None => units(text).map(Self::Units),
        };
        parsed.ok_or(TextError::Quantity)
    }
}

fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let tens = if part.len() == 1 { 10 } else { 1 };
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part.parse::<u32>().ok()? * tens)
}

fn units(text: &str) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let factor = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1024,
        "Mi" => MIB,
        "Gi" => 1024 * MIB,
        "Ti" => 1024 * 1024 * MIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn signal(text: &str) -> Result<Signal, TextError> {
    // What pods may have together is the hard threshold of memory, as with the kubelet.
    let configured = Signal::ALL.into_iter().filter(|s| *s != Signal::AllocatableMemoryAvailable);
    match configured.into_iter().find(|signal| signal.as_str() == text) {
        Some(signal) => Ok(signal),
        None if text.starts_with("imagefs.") || text.starts_with("containerfs.") => {
            Err(TextError::OtherDisk)
        }
        None => Err(TextError::Signal),
    }
}

/// `memory.available<100Mi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line(pub Signal, pub Quantity);

impl FromStr for Line {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (of, below) = text.split_once('<').ok_or(TextError::Form('<', "100Mi"))?;
        Ok(Self(signal(of.trim())?, below.trim().parse()?))
    }
}

/// `memory.available=50Mi`, of what is reclaimed at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reclaim(pub Signal, pub Quantity);

impl FromStr for Reclaim {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (of, least) = text.split_once('=').ok_or(TextError::Form('=', "50Mi"))?;
        Ok(Self(signal(of.trim())?, least.trim().parse()?))
    }
}

/// `memory.available=1m30s`, of how long a soft threshold is met before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace(pub Signal, pub Duration);

impl FromStr for Grace {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (of, time) = text.split_once('=').ok_or(TextError::Form('=', "1m30s"))?;
        Ok(Self(signal(of.trim())?, duration(time.trim()).ok_or(TextError::Time)?))
    }
}

/// A time as Go writes it, in hours, minutes and seconds.
fn duration(text: &str) -> Option<Duration> {
    let (mut left, mut total) = (text, 0_u64);
    while !left.is_empty() {
        let end = left.find(|character: char| !character.is_ascii_digit())?;
        let (number, rest) = left.split_at_checked(end)?;
        let (seconds, rest) = [("h", 3600), ("m", 60), ("s", 1)]
            .into_iter()
            .find_map(|(unit, seconds)| Some((seconds, rest.strip_prefix(unit)?)))?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
        left = rest;
    }
    (!text.is_empty() && total <= 86_400).then(|| Duration::from_secs(total))
}

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// It is met where less is left.
    pub below: Quantity,
    /// How long it must be met before pods are evicted for it; unset for a hard one.
    pub grace: Option<Duration>,
    /// Once met, it is until so much more is left.
    pub reclaim: Quantity,
}

/// What an operator decided about shortages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// All thresholds, hard ones first.
    pub thresholds: Vec<Threshold>,
    /// How long a pressure is told after it was seen last.
    pub transition: Duration,
    /// Most seconds that a pod gets to end where a soft threshold is acted on
    /// (`evictionMaxPodGracePeriod`).
    pub max_pod_grace_s: u32,
}

/// Where thresholds come from that nobody set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defaults {
    /// The kubelet's, bounded so that boards with little memory are not short of it all the time,
    /// and large disks not before they are nearly full.
    #[default]
    Scaled,
    /// The kubelet's own.
    Kubelet,
}

/// Bound of the room that is kept free: below what images are collected for (`image::gc`), so that
/// those go before pods do.
const DISK: u64 = 512 * MIB;

/// Bound of the inodes that are kept free, at the same ratio.
const INODES: u64 = DISK / (16 * 1024);

impl Defaults {
    /// Its hard thresholds.
    pub fn lines(self) -> Vec<Line> {
        let bounded = |percent: u32, units| Quantity::Bounded { share: percent * 100, units };
        match self {
            Self::Scaled => vec![
                Line(Signal::MemoryAvailable, bounded(10, 100 * MIB)),
                Line(Signal::NodefsAvailable, bounded(10, DISK)),
                Line(Signal::NodefsInodesFree, bounded(5, INODES)),
                // The kubelet has none. A runaway program would take all of a small board.
                Line(Signal::PidAvailable, Quantity::Share(1000)),
            ],
            // Where images are on the same file system, its threshold for those is the one that is
            // met first.
            Self::Kubelet => vec![
                Line(Signal::MemoryAvailable, Quantity::Units(100 * MIB)),
                Line(Signal::NodefsAvailable, Quantity::Share(1500)),
                Line(Signal::NodefsInodesFree, Quantity::Share(500)),
            ],
        }
    }
}

impl FromStr for Defaults {
    type Err = DefaultsError;

    fn from_str(text: &str) -> Result<Self, DefaultsError> {
        match text {
            "scaled" => Ok(Self::Scaled),
            "kubelet" => Ok(Self::Kubelet),
            _ => Err(DefaultsError),
        }
    }
}

/// Neither.
#[derive(Debug, thiserror::Error)]
#[error("must be `scaled` or `kubelet`")]
pub struct DefaultsError;

impl Default for Settings {
    fn default() -> Self {
        Self::new(&Defaults::Scaled.lines(), &[], &[])
    }
}

impl Settings {
    /// Thresholds of these, with what must be reclaimed. Shares of nothing and of everything switch
    /// a threshold off. All pods together are bounded as well: what is left for them has the hard
    /// threshold of the node's memory.
    pub fn new(hard: &[Line], soft: &[(Line, Duration)], reclaim: &[Reclaim]) -> Self {
        let least = |of: Signal| {
            let found = reclaim.iter().find(|Reclaim(signal, _)| *signal == of);
            found.map_or(Quantity::Units(0), |Reclaim(_, least)| *least)
        };
        let threshold = |Line(signal, below): Line, grace| Threshold {
            signal,
            below,
            grace,
            reclaim: least(signal),
        };
        let hard = hard.iter().filter(|line| !line.1.is_off()).map(|line| threshold(*line, None));
        let soft = soft.iter().filter(|(line, _)| !line.1.is_off());
        let soft = soft.map(|(line, grace)| threshold(*line, Some(*grace)));
        let hard: Vec<_> = hard.collect();
        let of_pods = hard.iter().filter(|threshold| threshold.signal == Signal::MemoryAvailable);
        let of_pods = of_pods
            .map(|one| Threshold { signal: Signal::AllocatableMemoryAvailable, ..*one })
            .collect::<Vec<_>>();
        let thresholds = hard.into_iter().chain(of_pods).chain(soft).collect();
        Self { thresholds, transition: TRANSITION, max_pod_grace_s: 0 }
    }

    /// What of so much is kept free by a hard threshold.
    pub fn kept_free(&self, signal: Signal, capacity: u64) -> u64 {
        let mut hard = self.thresholds.iter().filter(|threshold| threshold.grace.is_none());
        let found = hard.find(|threshold| threshold.signal == signal);
        found.map_or(0, |threshold| threshold.below.of(capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_written_as_for_a_kubelet() {
        let rows = [
            ("memory.available<100Mi", Some((Signal::MemoryAvailable, Quantity::Units(100 * MIB)))),
            (" nodefs.available < 10% ", Some((Signal::NodefsAvailable, Quantity::Share(1000)))),
            ("nodefs.inodesFree<5.5%", Some((Signal::NodefsInodesFree, Quantity::Share(550)))),
            ("pid.available<1k", Some((Signal::PidAvailable, Quantity::Units(1000)))),
            ("memory.available<0.25%", Some((Signal::MemoryAvailable, Quantity::Share(25)))),
            ("memory.available>100Mi", None),
            ("memory.available<", None),
            ("memory.available<-1", None),
            ("memory.available<101%", None),
            ("memory.available<1.234%", None),
            ("memory.available<99999999999999999999", None),
            ("allocatableMemory.available<100Mi", None),
            ("imagefs.available<15%", None),
            ("swap.available<1", None),
        ];
        for (text, expected) in rows {
            let parsed = text.parse::<Line>().ok().map(|Line(signal, below)| (signal, below));
            assert_eq!(parsed, expected, "{text}");
        }
        let error = "imagefs.available<15%".parse::<Line>().expect_err("another disk");
        assert!(error.to_string().contains("nodefs"), "{error}");
        let grace = "memory.available=1m30s".parse::<Grace>().expect("a time");
        assert_eq!(grace.1, Duration::from_secs(90));
        for wrong in ["memory.available=90", "memory.available=", "memory.available=25h"] {
            assert!(wrong.parse::<Grace>().is_err(), "{wrong}");
        }
        let reclaim = "nodefs.available=500Mi".parse::<Reclaim>().expect("an amount");
        assert_eq!(reclaim, Reclaim(Signal::NodefsAvailable, Quantity::Units(500 * MIB)));
    }

    #[test]
    fn defaults_suit_small_boards_and_large_disks() {
        let gib = 1024 * MIB;
        let scaled = Settings::default();
        let kubelet = Settings::new(&Defaults::Kubelet.lines(), &[], &[]);
        let rows = [
            (Signal::MemoryAvailable, 512 * MIB, 53_687_091, 100 * MIB),
            (Signal::MemoryAvailable, 8 * gib, 100 * MIB, 100 * MIB),
            (Signal::AllocatableMemoryAvailable, 512 * MIB, 53_687_091, 100 * MIB),
            (Signal::NodefsAvailable, 4 * gib, 429_496_729, 644_245_094),
            (Signal::NodefsAvailable, 512 * gib, 512 * MIB, 82_463_372_083),
            (Signal::NodefsInodesFree, 1000, 50, 50),
            (Signal::PidAvailable, 32_768, 3276, 0),
        ];
        for (signal, capacity, ours, theirs) in rows {
            assert_eq!(scaled.kept_free(signal, capacity), ours, "{signal:?} of {capacity}");
            assert_eq!(kubelet.kept_free(signal, capacity), theirs, "{signal:?} of {capacity}");
        }
    }

    #[test]
    fn shares_of_nothing_and_of_everything_switch_a_threshold_off() {
        let line = |share| Line(Signal::NodefsAvailable, Quantity::Share(share));
        let settings = |share| Settings::new(&[line(share)], &[], &[]).thresholds.len();
        assert_eq!([settings(0), settings(10_000), settings(1)], [0, 0, 1]);
    }
}
