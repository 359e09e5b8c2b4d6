//! The key that signs authentication cookies.

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

/// Reads `auth_secret`: its variable wins over the secret file, which wins over the key in the file.
pub(super) fn read(root: &Section<'_>, from_file: Option<Secret>) -> Option<Secret> {
    let written = root.value("auth_secret", key);
    let from_variable = root.is_variable("auth_secret");
    match (written, from_file) {
        (Some(written), _) if from_variable => Some(written),
        (written, None) => written,
        (_, from_file) => from_file,
    }
}

/// Checks what a secret file contains.
pub(in crate::config) fn from_file(content: &str, place: Place) -> Result<Secret, Problems> {
    let node = Node {
        value: Value::Text(content.to_owned()),
        place,
    };
    key(&node).map_err(|mut mismatches| {
        let mismatch = mismatches.remove(0);
        Problems::from(Problem {
            place: mismatch.place,
            key: "auth_secret".into(),
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
