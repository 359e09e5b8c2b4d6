//! Host names of routes: exact names, globs, anchored regular expressions.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// Longest `hostname` of a route, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Memory that one compiled regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A route's `hostname`, understood. Matches normalised host names (see `passage_proto::hostname`).
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This name and no other; lower case, without a trailing dot.
    Exact(String),
    /// A name with `*` for any number of any characters. `*` alone matches everything, the empty name
    /// included.
    Glob(Glob),
    /// An anchored regular expression, written `/^…$/`.
    Regex(Regex),
}

/// The literal parts of a glob, between its asterisks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    first: String,
    inner: Vec<String>,
    last: String,
}

/// What is wrong with a route's `hostname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// There is nothing in it.
    Empty,
    /// It has more than [`PATTERN_BYTES_MAX`] bytes.
    TooLong,
    /// This character cannot be in a host name.
    Character(char),
    /// A regular expression without `^` at its beginning and `$` at its end.
    NotAnchored,
    /// The regular expression does not compile, for this reason.
    Regex(String),
}

impl Pattern {
    /// Reads a route's `hostname`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it and what is expected.
    pub fn parse(hostname: &str) -> Result<Self, PatternError> {
        if hostname.is_empty() {
            return Err(PatternError::Empty);
        }
        if hostname.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        if let Some(expression) = hostname.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            return parse_regex(expression);
        }
        let name = hostname.to_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if let Some(character) = name.chars().find(|character| !may_be_in_a_name(*character)) {
            return Err(PatternError::Character(character));
        }
        match Glob::parse(name) {
            Some(glob) => Ok(Self::Glob(glob)),
            None if name.is_empty() => Err(PatternError::Empty),
            None => Ok(Self::Exact(name.to_owned())),
        }
    }

    /// Whether a normalised host name is one of this pattern's.
    #[must_use]
    pub fn matches(&self, hostname: &str) -> bool {
        match self {
            Self::Exact(name) => name == hostname,
            Self::Glob(glob) => glob.matches(hostname),
            Self::Regex(expression) => expression.is_match(hostname),
        }
    }

    /// Whether another pattern is written the same way.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Glob(one), Self::Glob(two)) => one == two,
            (Self::Regex(one), Self::Regex(two)) => one.as_str() == two.as_str(),
            _ => false,
        }
    }
}

/// A pattern of player names: as a route's, but without regard to case, the slashes are optional, and so is
/// the last anchor behind `.*`.
pub(super) fn name(expression: &str) -> Result<Regex, PatternError> {
    if expression.is_empty() {
        return Err(PatternError::Empty);
    }
    if expression.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong);
    }
    let bare = expression
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    let bare = bare.unwrap_or(expression);
    let open_end = bare.strip_suffix(".*").is_some_and(|rest| !ends_in_escape(rest));
    let inner = if open_end {
        bare.strip_prefix('^')
    } else {
        between_anchors(bare)
    };
    compile(inner.ok_or(PatternError::NotAnchored)?, true)
}

fn parse_regex(expression: &str) -> Result<Pattern, PatternError> {
    let inner = between_anchors(expression).ok_or(PatternError::NotAnchored)?;
    compile(inner, false).map(Pattern::Regex)
}

fn between_anchors(expression: &str) -> Option<&str> {
    let inner = expression.strip_prefix('^')?.strip_suffix('$')?;
    (!ends_in_escape(inner)).then_some(inner)
}

/// Whether the next character would be escaped.
fn ends_in_escape(expression: &str) -> bool {
    let backslashes = expression.len() - expression.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

fn compile(inner: &str, ignores_case: bool) -> Result<Regex, PatternError> {
    // The group makes the anchors hold for every alternative of `^a|b$`.
    RegexBuilder::new(&format!("^(?:{inner})$"))
        .case_insensitive(ignores_case)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| PatternError::Regex(error.to_string()))
}

/// Host names, underscores (which Minecraft networks do use), and the colons of IPv6 addresses.
fn may_be_in_a_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '-' | '_' | '.' | ':' | '*')
}

impl Glob {
    fn parse(name: &str) -> Option<Self> {
        let (first, rest) = name.split_once('*')?;
        let (inner, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        Some(Self {
            first: first.to_owned(),
            inner: inner
                .split('*')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            last: last.to_owned(),
        })
    }

    /// The leftmost place for every inner part is enough, so that this takes linear time a part.
    fn matches(&self, hostname: &str) -> bool {
        let Some(rest) = hostname.strip_prefix(&*self.first) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(&*self.last) else {
            return false;
        };
        for part in &self.inner {
            let Some(at) = rest.find(&**part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the host name is empty; write a name, or \"*\" for every name"),
            Self::TooLong => write!(f, "the host name is longer than {PATTERN_BYTES_MAX} bytes"),
            Self::Character(character) => write!(
                f,
                "{character:?} cannot be in a host name; allowed are letters, digits, '-', '_', '.', ':' and \
                 '*' for any number of characters, or a regular expression written /^…$/"
            ),
            Self::NotAnchored => f.write_str(
                "the regular expression is not anchored; write /^…$/, so that it has to match the whole name",
            ),
            Self::Regex(reason) => write!(f, "the regular expression does not compile: {reason}"),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, hostname: &str) -> bool {
        Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(hostname))
    }

    #[test]
    fn exact_names_are_normalised() {
        assert!(matches("Play.Example.NET.", "play.example.net"));
        assert!(!matches("play.example.net", "lobby.play.example.net"));
        assert!(!matches("play.example.net", "play.example.network"));
    }

    #[test]
    fn globs_match_any_number_of_characters() {
        assert!(matches("*.example.net", "eu.example.net"));
        assert!(matches("*.example.net", "a.b.example.net"));
        assert!(!matches("*.example.net", "example.net"));
        assert!(!matches("*.example.net", "evil.example.net.org"));
        assert!(matches("eu*.example.*", "eu1.example.org"));
        assert!(matches("a*b*c", "aXbXbXc") && !matches("a*b*c", "acb"));
        assert!(matches("*", "") && matches("*", "anything"));
        assert!(matches("**.net", ".net"));
    }

    #[test]
    fn the_parts_of_a_glob_do_not_overlap() {
        assert!(!matches("aba*aba", "aba"));
        assert!(!matches("*ab*ba*", "aba"));
        assert!(matches("aba*aba", "abaaba"));
    }

    #[test]
    fn expressions_match_the_whole_name() {
        assert!(matches(r"/^eu[0-9]+\.example\.net$/", "eu17.example.net"));
        assert!(!matches(r"/^eu[0-9]+\.example\.net$/", "eu.example.net"));
        assert!(
            !matches(r"/^eu|us$/", "eu.evil.org"),
            "both anchors hold for both alternatives"
        );
        assert!(matches(r"/^eu|us$/", "us"));
    }

    #[test]
    fn refuses_what_cannot_match_and_says_why() {
        let error = |pattern: &str| Pattern::parse(pattern).err();
        assert_eq!(error(""), Some(PatternError::Empty));
        assert_eq!(error("."), Some(PatternError::Empty));
        assert_eq!(error("play example"), Some(PatternError::Character(' ')));
        assert_eq!(error("/example/"), Some(PatternError::NotAnchored));
        assert_eq!(error(r"/^example\$/"), Some(PatternError::NotAnchored));
        assert_eq!(error(&"a".repeat(2000)), Some(PatternError::TooLong));
        assert!(matches!(error("/^(unclosed$/"), Some(PatternError::Regex(_))));
        assert!(
            matches!(error(r"/^(\w{1000}){1000}$/"), Some(PatternError::Regex(_))),
            "too big to compile"
        );
    }
}
