//! Reads one table of the file, key by key, and remembers every mistake instead of stopping at the
//! first.
//!
//! A key that was asked for is a known key: what is left over at the end is reported with the known
//! key that looks most like it. So the list of keys stands in one place, where they are read.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Rule};

/// How alike two keys must be for one to be offered in place of the other (Jaro-Winkler): below
/// this the offer confuses more than it helps.
const ALIKE: f64 = 0.75;

/// The file's text, the environment, and what is wrong with them.
pub(super) struct Source<'a> {
    text: &'a str,
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        text: &'a str,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Source<'a> {
        Source { text, environment, problems: RefCell::default() }
    }

    /// The line of a byte of the file, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.get(..offset).unwrap_or(self.text).matches('\n').count()
    }

    pub(super) fn report(&self, line: Option<usize>, key: impl Into<String>, rule: Rule) {
        self.problems.borrow_mut().push(Problem { line, key: key.into(), rule });
    }

    /// All mistakes, in the order of the file, those without a line last.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        problems
    }
}

/// A text from the file or the environment, and where it stands.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) key: String,
    pub(super) line: Option<usize>,
}

/// One table.
pub(super) struct Section<'a, 'i> {
    source: &'a Source<'a>,
    /// Its name with a dot behind it; empty for the whole file.
    prefix: String,
    line: Option<usize>,
    table: Option<&'a DeTable<'i>>,
    known: Vec<&'static str>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn root(source: &'a Source<'a>, table: &'a DeTable<'i>) -> Self {
        Self { source, prefix: String::new(), line: None, table: Some(table), known: Vec::new() }
    }

    /// The full name of a key of this table.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) fn report(&self, line: impl Into<Option<usize>>, key: &str, rule: Rule) {
        self.source.report(line.into().or(self.line), self.name(key), rule);
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    fn line_of(&self, value: &Spanned<DeValue<'_>>) -> usize {
        self.source.line(value.span().start)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &'static str) {
        let found = type_name(value.get_ref());
        self.report(self.line_of(value), key, Rule::Type { expected, found });
    }

    /// A text, where there is one.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Found> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "a text");
            return None;
        };
        Some(Found { text: text.to_owned(), key: self.name(key), line: Some(self.line_of(value)) })
    }

    /// A text that a variable of the environment overrides.
    pub(super) fn text_or(&mut self, key: &'static str, variable: &str) -> Option<Found> {
        let from_file = self.text(key);
        self.variable(variable).or(from_file)
    }

    /// A variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<Found> {
        let text = (self.source.environment)(name)?;
        Some(Found { text, key: name.to_owned(), line: None })
    }

    /// The paths `cert` and `key`, which go together.
    pub(super) fn certificate(&mut self) -> Option<(PathBuf, PathBuf)> {
        let (cert, key) = (self.text("cert"), self.text("key"));
        if cert.is_some() != key.is_some() {
            let missing = if cert.is_some() { "key" } else { "cert" };
            self.report(None, missing, Rule::Invalid("`cert` and `key` go together".into()));
        }
        let (cert, key) = (self.path(cert), self.path(key));
        Some((cert?, key?))
    }

    /// A text that parses, where there is one.
    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(&self, found: Option<Found>) -> Option<T> {
        let found = found?;
        let parsed = found.text.parse();
        let report = |error: T::Err| {
            self.source.report(found.line, found.key.clone(), Rule::Invalid(error.to_string()));
        };
        parsed.map_err(report).ok()
    }

    /// A text that parses and must be there.
    pub(super) fn required<T: FromStr<Err: fmt::Display>>(
        &self,
        key: &str,
        found: Option<Found>,
    ) -> Option<T> {
        if found.is_none() {
            self.report(None, key, Rule::Missing);
        }
        self.parse(found)
    }

    /// An absolute path, where there is one.
    pub(super) fn path(&self, found: Option<Found>) -> Option<PathBuf> {
        let found = found?;
        let path = PathBuf::from(&found.text);
        if path.is_absolute() {
            return Some(path);
        }
        let rule = Rule::Invalid(format!("path `{}` is not absolute", found.text.escape_debug()));
        self.source.report(found.line, found.key, rule);
        None
    }

    /// A number within bounds; the default where there is none or it cannot be used.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return default;
        };
        let parsed = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if let Some(number) = parsed.filter(|number| bounds.contains(number)) {
            return number;
        }
        let (min, max) = bounds.into_inner();
        let rule = Rule::Range { found: integer.to_string(), min, max };
        self.report(self.line_of(value), key, rule);
        default
    }

    /// Yes or no; no where it is not there.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.choice(key).unwrap_or_default()
    }

    /// Yes or no, where it is there.
    pub(super) fn choice(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        found
    }

    /// A list of texts that parse, at most `max`; `None` where there is none.
    pub(super) fn list_where_any<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
        max: usize,
    ) -> Option<Vec<T>> {
        let present = self.table.is_some_and(|table| table.get(key).is_some());
        let list = self.list(key, max);
        present.then_some(list)
    }

    /// A list of texts that parse, at most `max`.
    pub(super) fn list<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
        max: usize,
    ) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts");
            return Vec::new();
        };
        if entries.len() > max {
            let rule = Rule::TooMany { found: entries.len(), max };
            self.report(self.line_of(value), key, rule);
            return Vec::new();
        }
        let mut list = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let key = format!("{key}[{place}]");
            match entry.get_ref().as_str() {
                Some(text) => list.extend(self.parse::<T>(Some(Found {
                    text: text.to_owned(),
                    key: self.name(&key),
                    line: Some(self.line_of(entry)),
                }))),
                None => self.wrong_type(&key, entry, "a text"),
            }
        }
        list
    }

    /// Every key of this table with its text, for tables whose keys are data.
    pub(super) fn entries(&mut self) -> Vec<(String, Found)> {
        let mut entries = Vec::new();
        for (key, value) in self.table.iter().copied().flatten() {
            let key = key.get_ref();
            match value.get_ref().as_str() {
                Some(text) => entries.push((
                    key.to_string(),
                    Found {
                        text: text.to_owned(),
                        key: self.name(key),
                        line: Some(self.line_of(value)),
                    },
                )),
                None => self.wrong_type(key, value, "a text"),
            }
        }
        self.table = None;
        entries
    }

    /// A table in this table; an empty one where there is none.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'a, 'i> {
        let value = self.value(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.wrong_type(key, value, "a table");
        }
        Section {
            source: self.source,
            prefix: format!("{}{key}.", self.prefix),
            line: value.map(|value| self.line_of(value)),
            table,
            known: Vec::new(),
        }
    }

    /// Reads a table in this table to its end.
    pub(super) fn within<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'a, 'i>) -> T,
    ) -> T {
        let mut section = self.table(key);
        let read = read(&mut section);
        section.finish();
        read
    }

    /// A list of tables (`[[name]]`), at most `max`.
    pub(super) fn tables(&mut self, key: &'static str, max: usize) -> Vec<Section<'a, 'i>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of tables");
            return Vec::new();
        };
        if entries.len() > max {
            let rule = Rule::TooMany { found: entries.len(), max };
            self.report(self.line_of(value), key, rule);
            return Vec::new();
        }
        let mut sections = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            match entry.get_ref().as_table() {
                Some(table) => sections.push(Section {
                    source: self.source,
                    prefix: format!("{}{key}[{place}].", self.prefix),
                    line: Some(self.line_of(entry)),
                    table: Some(table),
                    known: Vec::new(),
                }),
                None => self.wrong_type(&format!("{key}[{place}]"), entry, "a table"),
            }
        }
        sections
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table.iter().copied().flatten() {
            let name = key.get_ref();
            if self.known.iter().any(|known| known == name) {
                continue;
            }
            let likeness = |known: &&'static str| strsim::jaro_winkler(name, known);
            let nearest = self
                .known
                .iter()
                .copied()
                .filter(|known| likeness(known) >= ALIKE)
                .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let line = self.source.line(key.span().start);
            let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
            self.report(line, &shown, Rule::Unknown { nearest });
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
