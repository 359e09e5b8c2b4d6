//! The environment as a layer above the file: `PASSAGE_RATE_LIMITER_DURATION` is `rate_limiter.duration`.
//!
//! Nobody keeps a list of the names: whoever reads a key asks for its variable, and what nobody has asked for
//! in the end is unknown.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::error::{Place, Problem, nearest};

/// The variables with the prefix, and which of them have been asked for.
#[derive(Debug)]
pub(super) struct Environment {
    prefix: String,
    variables: BTreeMap<String, OsString>,
    asked: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// Keeps those of `variables` that start with `prefix` and an underscore.
    pub(super) fn new(prefix: &str, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let start = format!("{prefix}_");
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(&start) && !is_service_link(&name[start.len()..]))
            .collect();
        Self {
            prefix: prefix.to_owned(),
            variables,
            asked: RefCell::default(),
        }
    }

    /// The prefix without its underscore.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The value of the variable; a value that is no UTF-8 is shown with replacement characters and will not
    /// fit any key that cares.
    pub(super) fn ask(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.variables
            .get(name)
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// Whether any variable starts with this name and an underscore.
    pub(super) fn has_below(&self, name: &str) -> bool {
        let start = format!("{name}_");
        self.variables
            .range(start.clone()..)
            .next()
            .is_some_and(|(found, _)| found.starts_with(&start))
    }

    /// A problem for every variable that nobody has asked for.
    pub(super) fn unknown(&self) -> Vec<Problem> {
        let asked = self.asked.borrow();
        self.variables
            .keys()
            .filter(|name| !asked.contains(*name))
            .map(|name| Problem {
                place: Place::Environment(name.as_str().into()),
                key: String::new(),
                found: "a variable that stands for no key".into(),
                allowed: format!(
                    "{}_ and the path of a key, in upper case and with underscores; lists as a, b or [\"a\"]",
                    self.prefix
                ),
                hint: nearest(name, asked.iter().map(String::as_str))
                    .map(|near| format!("did you mean {near}?")),
            })
            .collect()
    }
}

/// Whether Kubernetes has set this variable (its name without the prefix) for a Service called like the
/// prefix: `SERVICE_HOST`, `PORT`, `PORT_25565_TCP_ADDR` and the like. They say nothing about the
/// configuration.
fn is_service_link(rest: &str) -> bool {
    let service = rest
        .strip_prefix("SERVICE_")
        .is_some_and(|rest| rest == "HOST" || rest == "PORT" || rest.starts_with("PORT_"));
    let port = rest == "PORT"
        || rest
            .strip_prefix("PORT_")
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    service || port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(names: &[&str]) -> Environment {
        Environment::new(
            "PASSAGE",
            names
                .iter()
                .map(|name| (OsString::from(name), OsString::from("1"))),
        )
    }

    #[test]
    fn reports_what_nobody_asked_for() {
        let environment = environment(&["PASSAGE_TIMEOUT", "PASSAGE_TIMEOUTS", "HOME"]);
        assert_eq!(environment.ask("PASSAGE_TIMEOUT").as_deref(), Some("1"));
        let unknown = environment.unknown();
        assert_eq!(unknown.len(), 1);
        assert_eq!(unknown[0].place, Place::Environment("PASSAGE_TIMEOUTS".into()));
        assert_eq!(unknown[0].hint.as_deref(), Some("did you mean PASSAGE_TIMEOUT?"));
    }

    #[test]
    fn ignores_the_service_links_of_kubernetes() {
        let environment = environment(&[
            "PASSAGE_SERVICE_HOST",
            "PASSAGE_SERVICE_PORT_MINECRAFT",
            "PASSAGE_PORT",
            "PASSAGE_PORT_25565_TCP_ADDR",
        ]);
        assert!(environment.unknown().is_empty());
    }

    #[test]
    fn knows_whether_a_table_has_variables() {
        let environment = environment(&["PASSAGE_SENTRY_ENABLED"]);
        assert!(environment.has_below("PASSAGE_SENTRY"));
        assert!(!environment.has_below("PASSAGE_OTEL"));
    }
}
