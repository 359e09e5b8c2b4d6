//! What a peer did wrong: one closed set, which is also a metric label.

use std::fmt;

/// A breach of the protocol by the client. Small, `Copy`, and free of anything that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A VarInt ran past its five bytes.
    VarIntTooLong,
}

impl Fault {
    /// The stable name of this fault in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VarIntTooLong => "var_int_too_long",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Fault {}
