//! `passage check`: is the configuration right, and what does it do?

use std::fmt::Write as _;
use std::path::Path;

use crate::app::{self, Failure, Plan};
use crate::config;
use crate::tls::Trust;

/// What the configuration does.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(super) fn report(named: Option<&Path>) -> Result<String, Failure> {
    let loaded = config::load(named).map_err(Failure::Config)?;
    let config = &loaded.config;
    Plan::new(config, Trust::new(&config.tls.authorities))?;
    let mut text = format!("{}: no problems\n", loaded.source);
    for address in &config.addresses {
        let _ = writeln!(text, "Listens on {address}");
    }
    for route in &config.routes {
        let _ = writeln!(text, "{}", app::describe(route));
    }
    let _ = writeln!(text, "{}", app::protection(config));
    for warning in &loaded.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    Ok(text)
}
