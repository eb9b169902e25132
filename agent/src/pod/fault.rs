//! What is wrong with a specification, by field.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable word: `Invalid`, `Unsupported`, `UnknownExtension`, `NodeAffinity`, ...
    pub reason: &'static str,
    /// The field, as an operator would write it.
    pub field: String,
    /// What is wrong with it, with the rule and the bound.
    pub message: String,
}

impl Fault {
    /// A value that breaks a rule.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: "Invalid", field: field.into(), message: message.into() }
    }

    /// Something this version of the agent cannot do.
    pub fn unsupported(field: impl Into<String>) -> Self {
        let message = "this version of the agent cannot do it, and running the pod without it \
                       would change what the pod means";
        Self { reason: "Unsupported", field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why a specification cannot be accepted: everything that is wrong with it, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct SpecError {
    /// The first fault: the one that a refusal names.
    pub first: Fault,
    /// The others, in the order of the fields.
    pub others: Vec<Fault>,
}

impl SpecError {
    /// An error where there is a fault.
    pub fn from_faults(faults: Vec<Fault>) -> Result<(), Self> {
        let mut faults = faults.into_iter();
        match faults.next() {
            None => Ok(()),
            Some(first) => Err(Self { first, others: faults.collect() }),
        }
    }

    fn text(&self) -> String {
        // The first fault's field stands beside the message in a refusal.
        let mut text = self.first.message.clone();
        // The rule is told once: a refusal is short, and must have room for every field.
        let (same, others): (Vec<_>, Vec<_>) =
            self.others.iter().partition(|fault| fault.message == self.first.message);
        if !same.is_empty() {
            let fields: Vec<_> = same.iter().map(|fault| fault.field.as_str()).collect();
            text = format!("{text}; the same holds for {}", fields.join(", "));
        }
        for fault in others {
            text.push_str("; ");
            text.push_str(&fault.to_string());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_named_and_a_rule_that_several_break_is_told_once() {
        let faults = vec![
            Fault::unsupported("spec.a"),
            Fault::invalid("spec.b", "must be greater than 0"),
            Fault::unsupported("spec.c"),
            Fault::unsupported("spec.d"),
        ];
        let text = SpecError::from_faults(faults).expect_err("faults").to_string();
        let end = "; the same holds for spec.c, spec.d; spec.b: must be greater than 0";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(text.matches("cannot do it").count(), 1, "{text}");
    }
}
