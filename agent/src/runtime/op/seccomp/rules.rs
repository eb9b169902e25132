//! What a profile says of each call, on this node and for a container with these capabilities. PURE.
//!
//! As `runc` and libseccomp have it: the first rule without conditions decides for its calls,
//! wherever it stands, and a rule that says what happens anyway says nothing. Names that this
//! architecture does not know are passed over. Where conditions of several rules hold at once, the
//! strictest counts: libseccomp leaves that open.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::names;
use super::profile::{Action, Argument, Operator, Profile, Rule, Scope};
use crate::sys::kernel::KernelVersion;

/// What `includes` and `excludes` are compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Capabilities that the container can ever have, without `CAP_`.
    pub(super) capabilities: BTreeSet<String>,
    /// The kernel that runs.
    pub(super) kernel: KernelVersion,
}

/// This architecture, as Go and with it docker's profiles call it.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "arm"
};

/// The answer to calls of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whatever their arguments are.
    Always(u32),
    /// That of the first whose conditions all hold.
    First(Vec<Conditional>),
}

/// An answer with conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conditional {
    pub(super) conditions: Rc<[Condition]>,
    pub(super) answer: u32,
    action: Action,
}

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
    pub(super) value_two: u64,
}

impl Condition {
    fn of(argument: &Argument) -> Self {
        // The kernel shows an argument of 32 bits with zeroes above it.
        let whole = |value: u64| value & usize::MAX as u64;
        let (value, value_two) = (whole(argument.value), whole(argument.value_two));
        // As libseccomp has it: what is beside the mask is not compared.
        let masked = argument.op == Operator::MaskedEqual;
        let value_two = if masked { value_two & value } else { value_two };
        Self { argument: argument.index.0, operator: argument.op, value, value_two }
    }
}

/// Answers to all calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// To calls that no rule names.
    pub(super) default: u32,
    /// By number.
    pub(super) calls: BTreeMap<u32, Verdict>,
    /// From here on calls look as if the kernel had none.
    pub(super) unknown_from: Option<u32>,
    /// Conditional answers that were asked for, also those that another rule took the place of.
    asked: usize,
}

/// Conditional answers that a profile may ask for; the kernel takes a filter of some thousand. A file of
/// the longest could ask for a million of them, before any is found to be too many.
const MAX_CONDITIONAL: usize = 64 * 1024;

/// From here on, 32-bit ARM has calls of its own.
pub(super) const PRIVATE: u32 = 0x000f_0000;

impl Rules {
    pub(super) fn of(profile: &Profile, around: &Surroundings) -> Self {
        let default = profile.default_action.answer(profile.default_errno_ret);
        let mut rules = Self { default, calls: BTreeMap::new(), unknown_from: None, asked: 0 };
        let mut greatest = None;
        for rule in profile.rules().iter().filter(|rule| counts(rule, around)) {
            let numbers: BTreeSet<u32> = rule.names().filter_map(names::number).collect();
            greatest = numbers.iter().copied().filter(|n| *n < PRIVATE).max().max(greatest);
            rules.add(rule, &numbers);
        }
        for verdict in rules.calls.values_mut() {
            if let Verdict::First(all) = verdict {
                all.sort_by_key(|one| one.action);
            }
        }
        // Programs fall back where a call is newer than the profile, and give up where it is denied.
        rules.unknown_from =
            greatest.filter(|_| !profile.default_action.is_permissive()).map(|last| last + 1);
        rules
    }

    /// Conditional answers, where there are more than any filter has room for.
    pub(super) fn excess(&self) -> Option<usize> {
        (self.asked > MAX_CONDITIONAL).then_some(self.asked)
    }

    fn add(&mut self, rule: &Rule, numbers: &BTreeSet<u32>) {
        let answer = rule.action.answer(rule.errno_ret);
        if answer == self.default {
            return;
        }
        let alternatives = alternatives(rule.args());
        for number in numbers {
            let verdict = self.calls.entry(*number).or_insert(Verdict::First(Vec::new()));
            let Verdict::First(all) = verdict else { continue };
            if alternatives.is_empty() {
                *verdict = Verdict::Always(answer);
            } else {
                self.asked += alternatives.len();
                if self.asked > MAX_CONDITIONAL {
                    continue;
                }
                let one = |conditions: &Rc<[Condition]>| {
                    let conditions = Rc::clone(conditions);
                    Conditional { conditions, answer, action: rule.action }
                };
                all.extend(alternatives.iter().map(one));
            }
        }
    }
}

/// Conditions of which one set must hold; none where nothing is asked. `runc` takes several about
/// one argument for alternatives.
fn alternatives(arguments: &[Argument]) -> Vec<Rc<[Condition]>> {
    let conditions: Vec<_> = arguments.iter().map(Condition::of).collect();
    let asked: BTreeSet<u8> = conditions.iter().map(|one| one.argument).collect();
    if conditions.is_empty() {
        Vec::new()
    } else if asked.len() < conditions.len() {
        conditions.into_iter().map(|one| Rc::from([one])).collect()
    } else {
        vec![Rc::from(conditions)]
    }
}

/// Whether a rule is for this node and this container.
fn counts(rule: &Rule, around: &Surroundings) -> bool {
    let has = |name: &String| {
        around.capabilities.contains(name.strip_prefix("CAP_").unwrap_or(name.as_str()))
    };
    let here = |name: &String| name == ARCHITECTURE;
    let new = |scope: &Scope| scope.min_kernel.map(|least| around.kernel >= least.0);
    let excluded = rule.excludes.as_ref().is_some_and(|scope| {
        scope.arches().iter().any(here)
            || scope.caps().iter().any(has)
            || new(scope).unwrap_or(false)
    });
    let included = rule.includes.as_ref().is_none_or(|scope| {
        (scope.arches().is_empty() || scope.arches().iter().any(here))
            && scope.caps().iter().all(has)
            && new(scope).unwrap_or(true)
    });
    included && !excluded
}
