//! Where a value stands in its document: `spec.containers[0].image`.

use std::fmt;

/// A chain of steps from the document's root, allocated only when it is shown.
#[derive(Clone, Copy)]
pub struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root(&'p str),
    Field(&'p str),
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    /// The document itself, or a part of it by name.
    pub const fn root(name: &'p str) -> Self {
        Self { parent: None, step: Step::Root(name) }
    }

    /// A field of an object.
    #[must_use]
    pub const fn field(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    /// A key of a map whose keys are the user's.
    #[must_use]
    pub const fn key(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Key(name) }
    }

    /// An item of a list.
    #[must_use]
    pub const fn index(&'p self, place: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(place) }
    }

    fn is_empty(&self) -> bool {
        matches!(self.step, Step::Root(""))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if matches!(self.step, Step::Field(_)) && !parent.is_empty() {
                f.write_str(".")?;
            }
        }
        match self.step {
            Step::Root(name) | Step::Field(name) => f.write_str(name),
            Step::Key(name) => write!(f, "[{name}]"),
            Step::Index(place) => write!(f, "[{place}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn a_path_reads_as_the_api_server_writes_it() {
        let root = Path::root("");
        let spec = root.field("spec");
        let containers = spec.field("containers");
        let container = containers.index(1);
        let limits = container.field("limits");
        assert_eq!(limits.key("cpu").to_string(), "spec.containers[1].limits[cpu]");
    }
}
