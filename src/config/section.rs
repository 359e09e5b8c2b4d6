//! Reads tables key by key, and remembers which keys there are.
//!
//! The code that reads a table *is* the list of its keys: every key that is asked for is known, its variable
//! is looked up first, and what is left in the table afterwards is reported as unknown, with the nearest
//! known key.

use std::cell::RefCell;

use super::env::Environment;
use super::error::{Place, Problem, nearest, plain};
use super::raw::{Node, Table, Value};
use super::value::{Mismatch, Parsed};

/// What one reading of a configuration collects.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) environment: Environment,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Reading {
    pub(super) fn new(environment: Environment) -> Self {
        Self {
            environment,
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// Reads the whole document.
    pub(super) fn root<T>(&self, table: &Table, place: Place, read: impl FnOnce(&Section<'_>) -> T) -> T {
        let variable = Some(self.environment.prefix().to_owned());
        Section::new(self, String::new(), variable, Some(table), place).read(read)
    }

    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(plain(&warning).into_owned());
    }

    /// All problems, with those of variables that nobody asked for, and all warnings.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        let mut problems = self.problems.into_inner();
        problems.extend(self.environment.unknown());
        (problems, self.warnings.into_inner())
    }
}

/// One table that is being read; perhaps it is not there at all, and its keys come from the environment.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading,
    path: String,
    /// The name that this table's variables start with; `None` within lists, which no variable reaches.
    variable: Option<String>,
    table: Option<&'a Table>,
    place: Place,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(
        reading: &'a Reading,
        path: String,
        variable: Option<String>,
        table: Option<&'a Table>,
        place: Place,
    ) -> Self {
        Self {
            reading,
            path,
            variable,
            table,
            place,
            known: RefCell::default(),
        }
    }

    fn read<T>(self, read: impl FnOnce(&Self) -> T) -> T {
        let value = read(&self);
        self.report_unknown();
        value
    }

    /// Whether the table is written, or a variable sets one of its keys.
    pub(super) fn is_written(&self) -> bool {
        let variables = || {
            self.variable
                .as_ref()
                .is_some_and(|name| self.reading.environment.has_below(name))
        };
        self.table.is_some() || variables()
    }

    /// The path of one of this table's keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key; `None` if it is neither written nor set by a variable, or if it is wrong.
    pub(super) fn value<T>(&self, key: &'static str, parse: impl Fn(&Node) -> Parsed<T>) -> Option<T> {
        self.value_of(&[key], parse)
    }

    /// The value of a key that has other names too. The first name is the one that messages use.
    pub(super) fn value_of<T>(
        &self,
        names: &[&'static str],
        parse: impl Fn(&Node) -> Parsed<T>,
    ) -> Option<T> {
        let written: Vec<_> = names
            .iter()
            .filter_map(|key| Some((*key, self.node(key)?)))
            .collect();
        if let [(first, _), (second, node), ..] = written.as_slice() {
            self.problem(
                second,
                Mismatch::new(node, format!("only one of {first} and {second}")),
            );
        }
        let (key, node) = written.into_iter().next()?;
        self.checked(key, &node, parse)
    }

    /// The value of a key that has to be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        allowed: &str,
        parse: impl Fn(&Node) -> Parsed<T>,
    ) -> Option<T> {
        if self.node(key).is_none() {
            self.blame(key, "nothing", allowed);
        }
        self.value(key, parse)
    }

    /// Reads the table under a key, whether it is written or not.
    pub(super) fn table<T>(&self, key: &'static str, read: impl FnOnce(&Section<'_>) -> T) -> T {
        self.known.borrow_mut().push(key);
        let node = self.table.and_then(|table| table.get(key));
        let table = match node.map(|node| (node, &node.value)) {
            None => None,
            Some((_, Value::Table(table))) => Some(table),
            Some((node, _)) => {
                self.problem(key, Mismatch::new(node, "a table"));
                None
            }
        };
        let place = node.map_or_else(|| self.place.clone(), |node| node.place.clone());
        let variable = self.variable.as_ref().map(|name| variable(name, key));
        Section::new(self.reading, self.path_of(key), variable, table, place).read(read)
    }

    /// Reads the list of tables under a key.
    pub(super) fn tables<T>(&self, key: &'static str, read: impl Fn(&Section<'_>) -> T) -> Vec<T> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let parsed;
        let items = match (&node.value, &node.place) {
            (Value::List(items), _) => items,
            (Value::Text(text), Place::Environment(_)) => match super::raw::parse_value(text, &node.place) {
                Some(Value::List(items)) => {
                    parsed = items;
                    &parsed
                }
                _ => return self.no_tables(key, &node),
            },
            _ => return self.no_tables(key, &node),
        };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            let place = item.place.clone();
            match &item.value {
                Value::Table(table) => {
                    values.push(Section::new(self.reading, path, None, Some(table), place).read(&read));
                }
                _ => self.problem(
                    key,
                    Mismatch {
                        below: format!("[{index}]"),
                        ..Mismatch::new(item, "a table")
                    },
                ),
            }
        }
        values
    }

    /// All entries of a table whose keys are free.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        self.table
            .into_iter()
            .flatten()
            .map(|(key, node)| (key.as_str(), node))
    }

    /// Reads every table of a table whose keys are free.
    pub(super) fn each_table<T>(&self, read: impl Fn(&str, &Section<'_>) -> T) -> Vec<T> {
        let mut values = Vec::new();
        for (key, node) in self.entries() {
            match &node.value {
                Value::Table(table) => {
                    let section = Section::new(
                        self.reading,
                        self.path_of(key),
                        None,
                        Some(table),
                        node.place.clone(),
                    );
                    values.push(section.read(|section| read(key, section)));
                    continue;
                }
                _ => self.problem(key, Mismatch::new(node, "a table")),
            }
        }
        values
    }

    /// The value of an entry of a table whose keys are free; `None` if it is wrong.
    pub(super) fn checked<T>(&self, key: &str, node: &Node, parse: impl Fn(&Node) -> Parsed<T>) -> Option<T> {
        match parse(node) {
            Ok(value) => Some(value),
            Err(mismatches) => {
                for mismatch in mismatches {
                    self.problem(key, mismatch);
                }
                None
            }
        }
    }

    /// Reads the table under a key if it is written, or else takes the default.
    pub(super) fn own_or<T: Clone>(
        &self,
        key: &'static str,
        default: &T,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> T {
        self.table(key, |table| {
            if table.is_written() {
                read(table)
            } else {
                default.clone()
            }
        })
    }

    /// Reports what is wrong with a key (or with what it is combined with) at the place where it is written,
    /// or else where its table is.
    pub(super) fn blame(&self, key: &str, found: impl Into<String>, allowed: impl Into<String>) {
        let place = self.locate(key).unwrap_or_else(|| self.place.clone());
        let mismatch = Mismatch {
            below: String::new(),
            place,
            found: found.into(),
            allowed: allowed.into(),
            hint: None,
        };
        self.problem(key, mismatch);
    }

    /// Whether a variable sets this key.
    pub(super) fn is_variable(&self, key: &str) -> bool {
        self.quiet_node(key)
            .is_some_and(|node| matches!(node.place, Place::Environment(_)))
    }

    /// Whether this key is written or set by a variable.
    pub(super) fn has(&self, key: &str) -> bool {
        self.quiet_node(key).is_some()
    }

    /// Takes every key of this table as known, because its kind is not understood anyway.
    pub(super) fn skip_rest(&self) {
        self.known.borrow_mut().push(ANY);
    }

    /// Where a key below this table, such as `targets[1].identifier`, or else the nearest table above it is.
    fn locate(&self, path: &str) -> Option<Place> {
        let mut steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
        let mut node = self.quiet_node(steps.next()?)?;
        for step in steps {
            let next = match &node.value {
                Value::Table(table) => table.get(step),
                Value::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            match next {
                Some(next) => node = next.clone(),
                None => break,
            }
        }
        Some(node.place)
    }

    fn no_tables<T>(&self, key: &str, node: &Node) -> Vec<T> {
        self.problem(key, Mismatch::new(node, "a list of tables"));
        Vec::new()
    }

    fn node(&self, key: &'static str) -> Option<Node> {
        self.known.borrow_mut().push(key);
        self.quiet_node(key)
    }

    fn quiet_node(&self, key: &str) -> Option<Node> {
        let variable = self.variable.as_ref().map(|name| variable(name, key));
        let set = variable.and_then(|name| {
            let value = Value::Text(self.reading.environment.ask(&name)?);
            Some(Node {
                value,
                place: Place::Environment(name.into()),
            })
        });
        set.or_else(|| self.table?.get(key).cloned())
    }

    fn problem(&self, key: &str, mismatch: Mismatch) {
        self.reading.report(Problem {
            place: mismatch.place,
            key: self.path_of(key) + &mismatch.below,
            found: mismatch.found,
            allowed: mismatch.allowed,
            hint: mismatch.hint,
        });
    }

    fn report_unknown(&self) {
        let known = self.known.borrow();
        if known.contains(&ANY) {
            return;
        }
        for (key, node) in self.entries().filter(|(key, _)| !known.contains(key)) {
            let mut names = known.clone();
            names.sort_unstable();
            names.dedup();
            let mismatch = Mismatch::new(node, names.join(", ")).found("an unknown key");
            let near = nearest(key, names.iter().copied());
            self.problem(
                key,
                match near {
                    Some(near) => mismatch.hint(format!("did you mean {near}?")),
                    None => mismatch,
                },
            );
        }
    }
}

/// Stands among the known keys for "all of them".
const ANY: &str = "*";

fn variable(parent: &str, key: &str) -> String {
    format!("{parent}_{}", key.to_ascii_uppercase())
}
