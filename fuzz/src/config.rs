//! Configurations: a file and variables of the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use passage::app::Plan;
use passage::config::{Loaded, Place, Problem, Problems, load_from};
use passage::tls::Trust;
use tempfile::TempDir;

use crate::{bounds, secrets};

/// Starts a line that sets a variable; such lines stand before the file.
const VARIABLE: char = '$';
const FILE: &str = "passage.toml";

/// Where relative paths lead: there is nothing but the configuration.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "nothing can be tried without a folder")]
    tempfile::tempdir().expect("a folder for the configuration")
});

/// A file, and the variables that stand above it.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) variables: Vec<(&'a str, &'a str)>,
    pub(crate) text: &'a str,
}

impl<'a> Input<'a> {
    /// Lines such as `$PASSAGE_TIMEOUT=5` first, then the file.
    fn parse(input: &'a str) -> Self {
        let (mut variables, mut text) = (Vec::new(), input);
        while let Some(rest) = text.strip_prefix(VARIABLE) {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            variables.push(line.split_once('=').unwrap_or((line, "")));
            text = after;
        }
        // No variable of a process has a NUL.
        variables.retain(|(name, value)| !name.contains('\0') && !value.contains('\0'));
        Self { variables, text }
    }

    /// Loads it as a process with these variables alone would.
    fn load(&self) -> Result<Loaded, Problems> {
        let variables = self
            .variables
            .iter()
            // Files that other variables name are none of this target's.
            .filter(|(name, _)| !name.ends_with("_FILE") || name.starts_with("PASSAGE_"))
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        load_from(Some(Path::new(FILE)), FOLDER.path(), variables)
    }
}

/// Loads an input's configuration. Either it keeps the bounds that `docs/configuration.md` promises and
/// everything can be built out of it, or each problem says what is wrong; and nothing that is said has a
/// secret in it.
///
/// # Panics
///
/// If not.
pub fn play(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let input = Input::parse(input);
    let path: PathBuf = FOLDER.path().join(FILE);
    assert!(std::fs::write(path, input.text).is_ok(), "cannot write the file");
    let said = match input.load() {
        Ok(loaded) => {
            bounds::check(&loaded.config);
            build(&loaded);
            let warnings = loaded.warnings.join("\n");
            assert!(is_plain(&warnings), "{warnings:?} moves a terminal's cursor");
            format!("{:?}\n{warnings}", loaded.config)
        }
        Err(problems) => {
            assert!(!problems.all().is_empty(), "refused without a reason");
            for problem in problems.all() {
                check_problem(problem, &input);
            }
            format!("{problems}\n{problems:?}")
        }
    };
    assert!(
        secrets::are_hidden(&input, &said),
        "a secret is shown in:\n{said}"
    );
}

/// What `passage check` accepts, `passage run` does not refuse.
fn build(loaded: &Loaded) {
    if let Err(failure) = Plan::new(&loaded.config, Trust::default()) {
        panic!("accepted, but cannot be built: {failure}");
    }
}

/// Each problem says where it is, which key is meant, and what may be written there.
fn check_problem(problem: &Problem, input: &Input<'_>) {
    assert!(!problem.allowed.is_empty(), "{problem:?} allows nothing");
    assert!(!problem.found.is_empty(), "{problem:?} found nothing");
    match &problem.place {
        Place::File { path, line } => {
            assert_eq!(&**path, FILE, "{problem:?}");
            let lines = input.text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            assert!(*line <= lines, "{problem:?}, of {lines} lines");
            let is_syntax = problem.allowed.starts_with("TOML");
            assert!(is_syntax || !problem.key.is_empty(), "{problem:?} names no key");
        }
        Place::Environment(name) => {
            let is_set = input.variables.iter().any(|(set, _)| *set == &**name);
            assert!(is_set, "{problem:?}: nobody has set it");
        }
    }
    let printed = problem.to_string();
    assert!(is_plain(&printed), "{printed:?} moves a terminal's cursor");
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !c.is_control())
}
