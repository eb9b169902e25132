//! Reading templates.

use serde_json::Value;

use super::{Comparison, Operand, Part, Path, Step};

/// Deepest nesting of ranges and of filters: more than anybody writes, less than a stack.
const MAX_DEPTH: usize = 32;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("unclosed action")]
    UnclosedAction,
    #[error("unterminated quoted string")]
    UnclosedQuote,
    #[error("unterminated array")]
    UnclosedArray,
    #[error("unterminated filter")]
    UnclosedFilter,
    #[error("not in range, nothing to end")]
    NothingToEnd,
    #[error("range is not closed by {{end}}")]
    UnclosedRange,
    #[error("unexpected end")]
    End,
    #[error("unrecognized character in action: {0:?}")]
    Unexpected(char),
    #[error("invalid array index {0}")]
    Index(String),
    #[error("nested too deeply")]
    TooDeep,
}

/// Reads a template.
pub(super) fn template(text: &str) -> Result<Vec<Part>, Problem> {
    let mut open: Vec<(Path, Vec<Part>)> = Vec::new();
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (literal, action) = rest.split_at(at);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        let mut reader = Reader { rest: action.get(1..).unwrap_or_default(), depth: 0 };
        loop {
            reader.skip_spaces();
            if reader.eat("}") {
                break;
            }
            match reader.action()? {
                Action::Part(part) => parts.push(part),
                Action::Range(_) if open.len() >= MAX_DEPTH => return Err(Problem::TooDeep),
                Action::Range(path) => open.push((path, std::mem::take(&mut parts))),
                Action::End => {
                    let (path, outer) = open.pop().ok_or(Problem::NothingToEnd)?;
                    let inner = std::mem::replace(&mut parts, outer);
                    parts.push(Part::Range(path, inner));
                }
            }
        }
        rest = reader.rest;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    if open.is_empty() { Ok(parts) } else { Err(Problem::UnclosedRange) }
}

enum Action {
    Part(Part),
    Range(Path),
    End,
}

/// What is left of the text.
struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The text up to a character that is not wanted.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn action(&mut self) -> Result<Action, Problem> {
        match self.peek().ok_or(Problem::UnclosedAction)? {
            '"' | '\'' => Ok(Action::Part(Part::Text(self.quoted()?))),
            '.' | '[' | '$' | '@' => Ok(Action::Part(Part::Path(self.path()?))),
            c if c.is_ascii_alphabetic() => {
                let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                match word {
                    "range" => {
                        self.skip_spaces();
                        Ok(Action::Range(self.path()?))
                    }
                    "end" => Ok(Action::End),
                    // As in kubectl, a bare word at the start of an action is a field.
                    _ => {
                        let mut path = Path::default();
                        path.steps.push(Step::Field(word.into()));
                        self.steps(&mut path)?;
                        Ok(Action::Part(Part::Path(path)))
                    }
                }
            }
            c if c.is_ascii_digit() || c == '-' => {
                let number = self.take_while(|c| c.is_ascii_digit() || c == '-' || c == '.');
                Ok(Action::Part(Part::Text(number.into())))
            }
            other => Err(Problem::Unexpected(other)),
        }
    }

    /// A quoted text, with Go's escapes.
    fn quoted(&mut self) -> Result<String, Problem> {
        let mut characters = self.rest.char_indices();
        let (_, quote) = characters.next().ok_or(Problem::UnclosedQuote)?;
        let mut text = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                c if c == quote => {
                    self.rest = self.rest.get(at + quote.len_utf8()..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => match characters.next().ok_or(Problem::UnclosedQuote)?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'a' => text.push('\u{7}'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'v' => text.push('\u{b}'),
                    '0' => text.push('\0'),
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
        Err(Problem::UnclosedQuote)
    }

    fn path(&mut self) -> Result<Path, Problem> {
        let mut path = Path { from_root: self.eat("$"), steps: Vec::new() };
        if !path.from_root {
            self.eat("@");
        }
        if path.from_root || matches!(self.peek(), Some('.' | '[')) || self.peek() == Some('}') {
            self.steps(&mut path)?;
            return Ok(path);
        }
        // `range items[*]` and the like: a bare field.
        let name = self.name();
        if !name.is_empty() {
            path.steps.push(Step::Field(name));
        }
        self.steps(&mut path)?;
        Ok(path)
    }

    fn steps(&mut self, path: &mut Path) -> Result<(), Problem> {
        loop {
            if self.eat("..") {
                path.steps.push(Step::Descend);
                self.field(path);
            } else if self.eat(".") {
                self.field(path);
            } else if self.eat("[") {
                path.steps.push(self.array()?);
            } else {
                return Ok(());
            }
        }
    }

    fn field(&mut self, path: &mut Path) {
        if self.eat("*") {
            path.steps.push(Step::Wildcard);
            return;
        }
        let name = self.name();
        // `.` alone is the current value, `.[0]` its first item.
        if !name.is_empty() {
            path.steps.push(Step::Field(name));
        }
    }

    /// A field's name; a backslash takes what follows as it is.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let mut characters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => name.extend(characters.next().map(|(_, character)| character)),
                '.' | '[' | ']' | '}' | '{' | '(' | ')' | ' ' | '\t' | '\n' | '"' | '\'' | '='
                | '!' | '<' | '>' | ',' | '@' | '$' => {
                    end = at;
                    break;
                }
                other => name.push(other),
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        name
    }

    /// What stands in brackets, the opening one read already.
    fn array(&mut self) -> Result<Step, Problem> {
        self.skip_spaces();
        if self.eat("?") {
            return self.filter();
        }
        let mut ways: Vec<Vec<Step>> = Vec::new();
        loop {
            self.skip_spaces();
            ways.push(match self.peek().ok_or(Problem::UnclosedArray)? {
                '\'' | '"' => self.quoted_way()?,
                '*' => {
                    self.eat("*");
                    vec![Step::Wildcard]
                }
                _ => vec![self.places()?],
            });
            self.skip_spaces();
            if self.eat("]") {
                break;
            }
            if !self.eat(",") {
                return Err(self.peek().map_or(Problem::UnclosedArray, Problem::Unexpected));
            }
        }
        match (ways.len(), ways.pop()) {
            (1, Some(mut way)) if way.len() == 1 => Ok(way.remove(0)),
            (_, last) => {
                ways.extend(last);
                Ok(Step::Union(ways))
            }
        }
    }

    /// `'metadata.name'` in brackets is a way of several fields; `\.` is a dot in a name.
    fn quoted_way(&mut self) -> Result<Vec<Step>, Problem> {
        let quote = self.peek().ok_or(Problem::UnclosedQuote)?;
        let inner = self.rest.get(1..).unwrap_or_default();
        let end = inner.find(quote).ok_or(Problem::UnclosedQuote)?;
        let (text, rest) = inner.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        let mut fields = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match (character, fields.last_mut()) {
                ('\\', Some(field)) => field.extend(characters.next()),
                ('.', _) => fields.push(String::new()),
                (other, Some(field)) => field.push(other),
                (_, None) => {}
            }
        }
        Ok(fields.into_iter().map(Step::Field).collect())
    }

    /// `3`, `-1`, `1:3`, `::2`.
    fn places(&mut self) -> Result<Step, Problem> {
        let text = self.take_while(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | ':' | ' '));
        let text = text.trim();
        let wrong = || Problem::Index(text.into());
        let number = |part: &str| match part.trim() {
            "" => Ok(None),
            part => part.parse().map(Some).map_err(|_| wrong()),
        };
        let parts: Vec<_> = text.split(':').collect();
        match parts[..] {
            [one] => Ok(Step::Index(number(one)?.ok_or_else(|| match self.peek() {
                Some(other) if text.is_empty() => Problem::Unexpected(other),
                _ => wrong(),
            })?)),
            [from, to] => Ok(Step::Slice(number(from)?, number(to)?, 1)),
            [from, to, step] => {
                let step = number(step)?.unwrap_or(1);
                if step <= 0 {
                    return Err(wrong());
                }
                Ok(Step::Slice(number(from)?, number(to)?, step))
            }
            _ => Err(wrong()),
        }
    }

    /// `(@.a == "b")` and `]`, the question mark read already.
    fn filter(&mut self) -> Result<Step, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        if !self.eat("(") {
            return Err(Problem::UnclosedFilter);
        }
        let left = self.operand()?;
        self.skip_spaces();
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let comparison = comparisons.into_iter().find(|(token, _)| self.eat(token));
        let right = match comparison {
            Some((_, comparison)) => Some((comparison, self.operand()?)),
            None => None,
        };
        self.skip_spaces();
        let closed = self.eat(")");
        self.skip_spaces();
        if !closed || !self.eat("]") {
            return Err(self.peek().map_or(Problem::UnclosedFilter, Problem::Unexpected));
        }
        self.depth -= 1;
        Ok(Step::Filter(left, right))
    }

    fn operand(&mut self) -> Result<Operand, Problem> {
        self.skip_spaces();
        match self.peek().ok_or(Problem::UnclosedFilter)? {
            '"' | '\'' => Ok(Operand::Literal(self.quoted()?.into())),
            '@' | '$' | '.' => Ok(Operand::Path(self.path()?)),
            _ => {
                let word = self.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
                let literal: Option<Value> = serde_json::from_str(word).ok();
                let found = literal.filter(|value| !value.is_string()).map(Operand::Literal);
                found.ok_or_else(|| self.peek().map_or(Problem::End, Problem::Unexpected))
            }
        }
    }
}
