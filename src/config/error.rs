//! What is wrong with a configuration: every problem at once, each with its place, its key, and the way out.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::typed::{Sentry, Tls};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file, counted from 1.
    File {
        /// The file, as it was named.
        path: Arc<str>,
        /// The line; 0 where the file as a whole is meant.
        line: usize,
    },
    /// An environment variable.
    Environment(Arc<str>),
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::File {
            path: path.display().to_string().into(),
            line: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => f.write_str(path),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One thing that has to change before Passage can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The path of the key, such as `routes[0].status.type`; empty where no key is meant.
    pub key: String,
    /// What is written there. Never a secret.
    pub found: String,
    /// What may be written there.
    pub allowed: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", plain(&self.place.to_string()))?;
        if !self.key.is_empty() {
            write!(f, ": {}", plain(&self.key).replace('\n', "\\n"))?;
        }
        let (found, allowed) = (plain(&self.found), plain(&self.allowed));
        write!(f, "\n    found:   {found}\n    allowed: {allowed}")?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint:    {}", plain(hint)),
            None => Ok(()),
        }
    }
}

/// A text that quotes what others wrote, without what moves a terminal's cursor.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let moves = |c: char| c.is_control() && c != '\n';
    if !text.contains(moves) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if moves(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Everything that is wrong with a configuration, in the order of its places. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    all: Vec<Problem>,
    sentry: Option<Box<(Sentry, Tls)>>,
}

impl Problems {
    /// All of them, if there are any.
    #[must_use]
    pub fn of(mut found: Vec<Problem>) -> Option<Self> {
        found.sort_by(|a, b| a.place.cmp(&b.place));
        (!found.is_empty()).then_some(Self {
            all: found,
            sentry: None,
        })
    }

    /// The problems, sorted by place.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.all
    }

    /// Where they can be reported, and who is trusted there: `[sentry]` and `[tls]`, if that much of the
    /// configuration could be read.
    #[must_use]
    pub fn sentry(&self) -> Option<(&Sentry, &Tls)> {
        self.sentry.as_deref().map(|(sentry, tls)| (sentry, tls))
    }

    /// The same problems, with where to report them.
    #[must_use]
    pub(super) fn with_sentry(self, sentry: Sentry, tls: Tls) -> Self {
        Self {
            sentry: Some(Box::new((sentry, tls))),
            ..self
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self {
            all: vec![problem],
            sentry: None,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.all.len();
        writeln!(
            f,
            "{count} problem{} in the configuration",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in &self.all {
            write!(f, "\n{problem}\n")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The name out of `known` that `written` is most likely a slip of; `None` if none is near.
#[must_use]
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name_and_nothing_far_fetched() {
        let known = ["duration", "enabled", "limit"];
        assert_eq!(nearest("duraton", known), Some("duration"));
        assert_eq!(nearest("enabeld", known), Some("enabled"));
        assert_eq!(nearest("address", known), None);
    }

    #[test]
    fn what_is_quoted_moves_no_cursor() {
        let problem = Problem {
            place: Place::file(Path::new("a\u{1b}[2J.toml")),
            key: "a\nb\u{7}".into(),
            found: "\u{1b}[31m\u{9b}".into(),
            allowed: "1\r".into(),
            hint: Some("one\ntwo\u{8}".into()),
        };
        assert_eq!(
            problem.to_string(),
            "a\\u{1b}[2J.toml: a\\nb\\u{7}\n    found:   \\u{1b}[31m\\u{9b}\n    \
             allowed: 1\\r\n    hint:    one\ntwo\\u{8}"
        );
    }

    #[test]
    fn counts_and_sorts_problems() {
        let problem = |line| Problem {
            place: Place::File {
                path: "a.toml".into(),
                line,
            },
            key: format!("k{line}"),
            found: "1".into(),
            allowed: "2".into(),
            hint: None,
        };
        let problems = Problems::of(vec![problem(9), problem(3)]).unwrap();
        let text = problems.to_string();
        assert!(text.starts_with("2 problems in the configuration\n"), "{text}");
        assert!(
            text.find("a.toml:3: k3").unwrap() < text.find("a.toml:9: k9").unwrap(),
            "{text}"
        );
        assert!(Problems::of(Vec::new()).is_none());
    }
}
