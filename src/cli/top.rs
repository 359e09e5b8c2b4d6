//! `passage top`: what each shard of a running Passage does, from its admin listener.

pub(crate) mod samples;
mod screen;
mod snapshot;
mod source;
mod table;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::after;

use self::screen::{Screen, Wish};
use self::snapshot::Snapshot;
use self::source::{Source, SourceError};
use super::Ending;
use crate::app::Failure;
use crate::config;

/// Rates are those of this time: shards hand over once a second, so that less of it makes them jump.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// What the command line asks for.
#[derive(Debug)]
pub(super) struct Options {
    /// Where the admin listener is; else the configuration says it.
    pub(super) address: Option<String>,
    /// Time between two looks.
    pub(super) interval: Duration,
    /// One table instead of a live one.
    pub(super) once: bool,
}

/// Shows shards until the user has seen enough, or once.
///
/// # Errors
///
/// Why there is nothing to show.
pub(super) fn run(named: Option<&Path>, options: &Options) -> Result<(), Ending> {
    let address = match &options.address {
        Some(address) => address.clone(),
        None => configured(named)?,
    };
    let source = Source::new(address);
    if options.once || !io::stdout().is_terminal() {
        return super::print(&once(&source, options.interval)?);
    }
    live(&source, options.interval)
}

/// One table, of what happens within one interval.
pub(super) fn once(source: &Source, interval: Duration) -> Result<String, Ending> {
    let first = source.look()?;
    // Nothing else happens on this thread, and nobody waits for it but the user.
    let _ = after(interval).recv();
    let second = source.look()?;
    Ok(table::render(source.address(), &first, &second))
}

fn live(source: &Source, interval: Duration) -> Result<(), Ending> {
    // What cannot be reached at all is told on the user's own screen.
    let mut history = VecDeque::from([source.look()?]);
    let mut trouble: Option<(Instant, SourceError)> = None;
    let mut screen = Screen::open().map_err(screen_failed)?;
    loop {
        let (Some(oldest), Some(newest)) = (history.front(), history.back()) else {
            return Ok(());
        };
        let mut text = table::render(source.address(), oldest, newest);
        if let Some((since, error)) = &trouble {
            text.push_str(&format!("\nFor {} s: {error}\n", since.elapsed().as_secs()));
        }
        text.push_str("\nq ends\n");
        screen.draw(&text).map_err(screen_failed)?;
        match screen.wait(Instant::now() + interval).map_err(screen_failed)? {
            Wish::End => return Ok(()),
            Wish::Redraw => continue,
            Wish::Look => {}
        }
        match source.look() {
            Ok(snapshot) => {
                trouble = None;
                remember(&mut history, snapshot, interval);
            }
            Err(error) => {
                let since = trouble.map_or_else(Instant::now, |(since, _)| since);
                trouble = Some((since, error));
            }
        }
    }
}

/// Keeps as many snapshots as rates need, none of them from before a restart.
fn remember(history: &mut VecDeque<Snapshot>, snapshot: Snapshot, interval: Duration) {
    if history.back().is_some_and(|last| snapshot.uptime < last.uptime) {
        history.clear();
    }
    history.push_back(snapshot);
    let window = RATE_WINDOW.max(interval);
    while history.len() > 2
        && let (Some(second), Some(last)) = (history.get(1), history.back())
        && last.since(second) >= window
    {
        history.pop_front();
    }
}

/// The admin listener of the configuration that the user's Passage runs on.
fn configured(named: Option<&Path>) -> Result<String, Ending> {
    let loaded = config::load(named).map_err(|problems| Ending::from(Failure::Config(problems)))?;
    let Some(address) = loaded.config.admin.address else {
        return Err(ending(&format_args!(
            "the admin listener is off in {}: write `address = \"127.0.0.1:9464\"` under [admin], or set \
             PASSAGE_ADMIN_ADDRESS=127.0.0.1:9464, and restart Passage; --address names another one",
            loaded.source
        )));
    };
    Ok(reachable(address).to_string())
}

/// Where a listener on this address is reached from its own machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn screen_failed(error: io::Error) -> Ending {
    ending(&format_args!("the terminal: {error}; --once prints one table"))
}

fn ending(failure: &dyn fmt::Display) -> Ending {
    Ending {
        code: 1,
        failure: failure.to_string(),
    }
}

impl From<SourceError> for Ending {
    fn from(error: SourceError) -> Self {
        ending(&error)
    }
}

#[cfg(test)]
mod tests;
