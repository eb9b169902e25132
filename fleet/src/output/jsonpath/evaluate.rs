//! Following paths through a value.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Operand, Part, Path, Step, print};

/// What a value does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("array index out of bounds: index {index}, length {length}")]
    OutOfBounds { index: i64, length: usize },
    #[error("{0} is not array or slice")]
    NoList(String),
    #[error("can only compare one element at a time")]
    Several,
}

/// Prints parts about a value.
pub(super) fn fill(
    parts: &[Part],
    root: &Value,
    current: &Value,
    text: &mut String,
) -> Result<(), Problem> {
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Path(path) => {
                let found = follow(path, root, current)?;
                let found: Vec<_> = found.into_iter().map(print).collect();
                text.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                for value in follow(path, root, current)? {
                    fill(inner, root, value, text)?;
                }
            }
        }
    }
    Ok(())
}

/// Everything that a path leads to.
pub(super) fn follow<'v>(
    path: &Path,
    root: &'v Value,
    current: &'v Value,
) -> Result<Vec<&'v Value>, Problem> {
    let from = if path.from_root { root } else { current };
    walk(&path.steps, root, vec![from])
}

fn walk<'v>(
    steps: &[Step],
    root: &'v Value,
    from: Vec<&'v Value>,
) -> Result<Vec<&'v Value>, Problem> {
    let mut values = from;
    for step in steps {
        let mut next = Vec::new();
        for value in values {
            take(step, root, value, &mut next)?;
        }
        values = next;
    }
    Ok(values)
}

fn take<'v>(
    step: &Step,
    root: &'v Value,
    value: &'v Value,
    next: &mut Vec<&'v Value>,
) -> Result<(), Problem> {
    match step {
        Step::Field(name) => next.extend(value.get(name)),
        Step::Wildcard => children(value, next),
        Step::Descend => descend(value, next),
        Step::Index(index) => {
            let Some(items) = list(value)? else { return Ok(()) };
            let found = place(*index, items.len()).and_then(|place| items.get(place));
            let problem = Problem::OutOfBounds { index: *index, length: items.len() };
            next.push(found.ok_or(problem)?);
        }
        Step::Slice(from, to, step) => {
            let Some(items) = list(value)? else { return Ok(()) };
            let bound = |bound: Option<i64>, default: usize| {
                bound.map_or(default, |bound| place(bound, items.len()).unwrap_or(0))
            };
            let (from, to) = (bound(*from, 0), bound(*to, items.len()).min(items.len()));
            let step = usize::try_from(*step).unwrap_or(1).max(1);
            next.extend(items.get(from..to).unwrap_or_default().iter().step_by(step));
        }
        Step::Union(ways) => {
            for way in ways {
                next.extend(walk(way, root, vec![value])?);
            }
        }
        Step::Filter(left, right) => {
            for item in list(value)?.into_iter().flatten() {
                if is_wanted(left, right.as_ref(), root, item)? {
                    next.push(item);
                }
            }
        }
    }
    Ok(())
}

/// A list; nothing where there is nothing.
fn list(value: &Value) -> Result<Option<&Vec<Value>>, Problem> {
    match value {
        Value::Array(items) => Ok(Some(items)),
        Value::Null => Ok(None),
        other => Err(Problem::NoList(print(other).chars().take(64).collect())),
    }
}

/// A place counted from the start, also where it was counted from the end.
fn place(index: i64, len: usize) -> Option<usize> {
    let from_end = if index < 0 { i64::try_from(len).ok()? } else { 0 };
    usize::try_from(index.checked_add(from_end)?).ok()
}

fn children<'v>(value: &'v Value, next: &mut Vec<&'v Value>) {
    match value {
        Value::Array(items) => next.extend(items),
        Value::Object(map) => next.extend(map.values()),
        _ => {}
    }
}

/// The value and everything below it, in the order of the document.
fn descend<'v>(value: &'v Value, next: &mut Vec<&'v Value>) {
    next.push(value);
    let mut below = Vec::new();
    children(value, &mut below);
    for value in below {
        descend(value, next);
    }
}

fn is_wanted(
    left: &Operand,
    right: Option<&(Comparison, Operand)>,
    root: &Value,
    item: &Value,
) -> Result<bool, Problem> {
    let value = |operand: &Operand| -> Result<Option<Value>, Problem> {
        match operand {
            Operand::Literal(literal) => Ok(Some(literal.clone())),
            Operand::Path(path) => match follow(path, root, item)?[..] {
                [] => Ok(None),
                [one] => Ok(Some(one.clone())),
                _ => Err(Problem::Several),
            },
        }
    };
    let Some((comparison, right)) = right else {
        return Ok(match left {
            Operand::Literal(_) => true,
            Operand::Path(path) => !follow(path, root, item)?.is_empty(),
        });
    };
    let (Some(left), Some(right)) = (value(left)?, value(right)?) else { return Ok(false) };
    Ok(holds(*comparison, &left, &right))
}

fn holds(comparison: Comparison, left: &Value, right: &Value) -> bool {
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64().and_then(|left| left.partial_cmp(&right.as_f64()?)),
        },
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (left, right) if left == right => Some(Ordering::Equal),
        _ => None,
    };
    match comparison {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::NotEqual => ordering != Some(Ordering::Equal),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
    }
}
