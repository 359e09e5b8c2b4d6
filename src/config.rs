//! Where the configuration comes from, and its way from text to checked values.
//!
//! Four layers, the upper wins: variables of the environment, the secret files, the configuration file,
//! defaults. [`load`] reads them all and gives either a [`Config`] without a flaw or every [`Problem`] at
//! once.

mod env;
mod error;
mod raw;
mod section;
mod typed;
mod value;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use self::env::Environment;
pub use self::error::{Place, Problem, Problems};
use self::section::Reading;
pub(crate) use self::typed::split_address;
use self::typed::{AUTH_SECRET, AUTH_SECRET_PREVIOUS, SecretFile, SecretFiles};
pub use self::typed::{
    Action, ActionKind, Admin, Agones, Authentication, Bounds, CATCH_ALL, Check, Config, Discovery,
    DiscoverySource, Dns, DnsRecords, Endpoint, Health, Http, Localization, MINECRAFT_PORT, Mojang, Otel,
    Remote, Route, SECRET_BYTES_MIN, Secret, Sentry, Service, Shards, SharedStatus, Status, StatusSource,
    Strategy, Tls, agones,
};

/// Where a configuration file is looked for if none is named, in this order.
pub const SEARCHED: [&str; 4] = [
    "config/passage.toml",
    "config/config.toml",
    "config.toml",
    "/etc/passage/passage.toml",
];

/// What runs without a file: the shipped `config/passage.toml`.
pub const BUILT_IN: &str = include_str!("../config/passage.toml");

/// Names the configuration file.
const CONFIG_FILE: &str = "CONFIG_FILE";
/// Names a file whose content is `auth_secret`.
const AUTH_SECRET_FILE: &str = "AUTH_SECRET_FILE";
/// Names a file whose content is `auth_secret_previous`.
const AUTH_SECRET_PREVIOUS_FILE: &str = "AUTH_SECRET_PREVIOUS_FILE";
/// Replaces `PASSAGE` at the start of all other variables.
const ENV_PREFIX: &str = "ENV_PREFIX";
const ENV_PREFIX_DEFAULT: &str = "PASSAGE";
/// Longest configuration file, in bytes: room for as many routes as there may be.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// Longest secret file, in bytes.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// A configuration and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The checked values.
    pub config: Config,
    /// Where they come from.
    pub source: Source,
    /// What works, but perhaps not as meant.
    pub warnings: Vec<String>,
}

/// Where the file layer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// There is no file: [`BUILT_IN`].
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn => f.write_str("built-in defaults"),
        }
    }
}

/// Loads the configuration of this process.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load(named: Option<&Path>) -> Result<Loaded, Problems> {
    load_from(named, Path::new(""), std::env::vars_os())
}

/// Loads a configuration with the given environment; relative paths are looked for below `directory`.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load_from(
    named: Option<&Path>,
    directory: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Problems> {
    let variables: HashMap<OsString, OsString> = environment.into_iter().collect();
    let variable = |name: &str| {
        variables
            .get(&OsString::from(name))
            .filter(|value| !value.is_empty())
    };
    let named = named
        .map(Path::to_owned)
        .or_else(|| variable(CONFIG_FILE).map(PathBuf::from));
    let prefix =
        variable(ENV_PREFIX).map_or_else(|| ENV_PREFIX_DEFAULT.into(), |prefix| prefix.to_string_lossy());
    let environment = || Environment::new(&prefix, variables.clone());
    let lost = |problems: Problems| {
        let (sentry, tls) = reporting_of(environment());
        problems.with_sentry(sentry, tls)
    };
    let (source, text) = read_file(named, directory).map_err(lost)?;

    let mut problems = Vec::new();
    let mut secret_file = |name: &str, key: &str| {
        let Some(path) = variable(name) else {
            return SecretFile::Unnamed;
        };
        read_secret(key, name, &directory.join(path)).map_or_else(
            |wrong| {
                problems.extend_from_slice(wrong.all());
                SecretFile::Broken
            },
            SecretFile::Read,
        )
    };
    let secrets = SecretFiles {
        current: secret_file(AUTH_SECRET_FILE, AUTH_SECRET),
        previous: secret_file(AUTH_SECRET_PREVIOUS_FILE, AUTH_SECRET_PREVIOUS),
    };
    let reading = Reading::new(environment());

    let path = source.to_string().into();
    let table = raw::parse_document(&text, &path).map_err(lost)?;
    let place = Place::File { path, line: 0 };
    let config = reading.root(&table, place, |root| typed::read(root, secrets));
    let (found, warnings) = reading.finish();
    problems.extend(found);
    match Problems::of(problems) {
        Some(problems) => Err(problems.with_sentry(config.sentry, config.tls)),
        None => Ok(Loaded {
            config,
            source,
            warnings,
        }),
    }
}

/// What the environment alone says about `[sentry]` and `[tls]`, for a file that says nothing because it
/// cannot be read.
fn reporting_of(environment: Environment) -> (Sentry, Tls) {
    let reading = Reading::new(environment);
    let nowhere = Place::Environment(ENV_PREFIX.into());
    reading.root(&raw::Table::new(), nowhere, |root| {
        root.skip_rest();
        (typed::sentry(root), typed::tls(root))
    })
}

/// The text of the named file, or of the first that there is, or the built-in one.
fn read_file(named: Option<PathBuf>, directory: &Path) -> Result<(Source, Zeroizing<String>), Problems> {
    if let Some(path) = named {
        let text = read_configuration(&directory.join(&path))?;
        return Ok((Source::File(path), text));
    }
    for candidate in SEARCHED.map(PathBuf::from) {
        let path = directory.join(&candidate);
        if path.exists() {
            let text = read_configuration(&path)?;
            return Ok((Source::File(candidate), text));
        }
    }
    Ok((Source::BuiltIn, BUILT_IN.to_owned().into()))
}

fn read_configuration(path: &Path) -> Result<Zeroizing<String>, Problems> {
    let allowed = "a configuration file that this user may read, of at most 128 MiB";
    read_text(path, "", allowed, FILE_BYTES_MAX)
}

fn read_secret(key: &str, variable: &str, path: &Path) -> Result<Secret, Problems> {
    let allowed = format!("a secret file ({variable}) that this user may read, of at most 64 KiB");
    let text = read_text(path, key, &allowed, SECRET_FILE_BYTES_MAX)?;
    typed::secret_from_file(key, &text, Place::file(path))
}

/// There may be secrets in it, so that it is wiped when dropped.
fn read_text(path: &Path, key: &str, allowed: &str, bytes_max: u64) -> Result<Zeroizing<String>, Problems> {
    let wrong = |found: String| {
        Problems::from(Problem {
            place: Place::file(path),
            key: key.into(),
            found,
            allowed: allowed.into(),
            hint: None,
        })
    };
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| {
        // At once, because a text that grows leaves copies behind that nobody wipes.
        let bytes = file.metadata()?.len().min(bytes_max) + 1;
        text.reserve_exact(usize::try_from(bytes).unwrap_or_default());
        file.take(bytes_max + 1).read_to_string(&mut text)
    });
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > bytes_max {
        return Err(wrong(format!("more than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
