//! `passage check`: is the configuration right, and what does it do? On request also: is everybody there who
//! will be asked?

mod reach;

use std::fmt::Write as _;
use std::path::Path;

use crate::app::{self, Failure, Plan};
use crate::config;
use crate::tls::Trust;

/// What a check found out.
#[derive(Debug)]
pub(super) struct Checked {
    /// What the configuration does.
    pub(super) text: String,
    /// Services that were asked, and how many of them cannot be used as they are.
    pub(super) services: usize,
    pub(super) missing: usize,
}

/// Checks the configuration, and with `adapters` asks each service once.
///
/// # Errors
///
/// Everything that is wrong with the configuration.
pub(super) fn report(named: Option<&Path>, adapters: bool) -> Result<Checked, Failure> {
    let loaded = config::load(named).map_err(Failure::Config)?;
    let config = &loaded.config;
    let plan = Plan::new(config, Trust::new(&config.tls.authorities))?;
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
    let mut checked = Checked {
        text,
        services: plan.sites.len(),
        missing: 0,
    };
    if adapters {
        checked.missing = reach::all(&plan, &mut checked.text)?;
    }
    Ok(checked)
}
