//! The conversations that load is made of: one module each.

pub mod status;

/// What all flows say in their handshake.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Hello {
    /// Protocol version.
    pub protocol: i32,
    /// Host name; routes are chosen by it.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What load is made of.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
pub enum Work {
    /// Server-list pings.
    Status(Hello),
}

impl Work {
    /// One word for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
        }
    }

    /// What is counted, in the singular.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Status(_) => "connection",
        }
    }
}
