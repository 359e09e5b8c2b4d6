//! The keys of authentication cookies: the one that signs, and the one before it.

use std::fmt;
use std::hash::{Hash, Hasher};

use zeroize::Zeroizing;

use crate::config::error::{Place, Problem, Problems};
use crate::config::raw::{Node, Value};
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed};

/// Shortest secret, in bytes, that is accepted as a key.
pub const SECRET_BYTES_MIN: usize = 16;

/// Text that is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as it is.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// A secret value that may be any text, such as a token.
pub(super) fn token(node: &Node) -> Parsed<Secret> {
    match &node.value {
        Value::Text(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim().to_owned())),
        _ => Mismatch::new(node, "a token in quotes, not empty")
            .found("something else (not shown)")
            .fail(),
    }
}

/// The secret that signs cookies.
pub(in crate::config) const CURRENT: &str = "auth_secret";
/// The secret that it replaced, whose cookies are still believed.
pub(in crate::config) const PREVIOUS: &str = "auth_secret_previous";

/// What the files of secrets contain.
#[derive(Debug, Default)]
pub(in crate::config) struct SecretFiles {
    /// `AUTH_SECRET_FILE`.
    pub(in crate::config) current: SecretFile,
    /// `AUTH_SECRET_PREVIOUS_FILE`.
    pub(in crate::config) previous: SecretFile,
}

/// What one of these files contains.
#[derive(Debug, Default)]
pub(in crate::config) enum SecretFile {
    /// No variable names such a file.
    #[default]
    Unnamed,
    /// It has no secret; that is reported already.
    Broken,
    /// It has this one.
    Read(Secret),
}

/// The secrets of cookies.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    pub(super) current: Option<Secret>,
    pub(super) previous: Option<Secret>,
}

/// Reads both secrets, and reports what does not go together.
pub(super) fn read(root: &Section<'_>, files: SecretFiles) -> Secrets {
    let is_signing = root.has(CURRENT) || !matches!(files.current, SecretFile::Unnamed);
    let secrets = Secrets {
        current: read_one(root, CURRENT, files.current),
        previous: read_one(root, PREVIOUS, files.previous),
    };
    if secrets.previous.is_some() && !is_signing {
        root.blame(
            PREVIOUS,
            "no auth_secret beside it",
            "auth_secret, which signs new cookies, as well; without both there are no cookies",
        );
    }
    if secrets.previous.is_some() && secrets.previous == secrets.current {
        root.blame(
            PREVIOUS,
            "the same text as auth_secret (not shown)",
            "the secret that auth_secret replaced, for as long as cookies of it may come back \
             (auth_cookie_expiry); otherwise leave it out",
        );
    }
    secrets
}

/// Its variable wins over the secret file, which wins over the key in the file.
fn read_one(root: &Section<'_>, name: &'static str, file: SecretFile) -> Option<Secret> {
    let written = root.value(name, key);
    match (written, file) {
        (Some(written), _) if root.is_variable(name) => Some(written),
        (_, SecretFile::Read(secret)) => Some(secret),
        (written, SecretFile::Unnamed | SecretFile::Broken) => written,
    }
}

/// Checks what the file of the secret called `name` contains.
pub(in crate::config) fn from_file(name: &str, content: &str, place: Place) -> Result<Secret, Problems> {
    let node = Node {
        value: Value::Text(content.to_owned()),
        place,
    };
    key(&node).map_err(|mut mismatches| {
        let mismatch = mismatches.remove(0);
        Problems::from(Problem {
            place: mismatch.place,
            key: name.into(),
            found: mismatch.found,
            allowed: mismatch.allowed,
            hint: mismatch.hint,
        })
    })
}

/// A secret that is long enough to be a key.
fn key(node: &Node) -> Parsed<Secret> {
    let allowed = format!("at least {SECRET_BYTES_MIN} bytes of text");
    let Value::Text(text) = &node.value else {
        return Mismatch::new(node, allowed).found("no text (not shown)").fail();
    };
    let secret = text.trim();
    if secret.len() < SECRET_BYTES_MIN {
        return Mismatch::new(node, allowed)
            .found(format!("{} bytes (not shown)", secret.len()))
            .hint("make one with: openssl rand -base64 32")
            .fail();
    }
    Ok(Secret::new(secret.to_owned()))
}
