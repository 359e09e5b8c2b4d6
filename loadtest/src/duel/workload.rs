//! What a duel is about: workloads by their names, and what each is made of.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use passage_loadtest::flow::idle::Stage;
use passage_loadtest::flow::{Arrival, Work};
use passage_loadtest::measure::Beside;
use passage_loadtest::schedule::{Arrivals, Pace};

use crate::contestant::config::{LOGIN_HOST, RELAY_HOST, STATUS_HOST};
use crate::contestant::peer::PeerKind;
use crate::contestant::{OTHER_FILES, hello, logins, pings};
use crate::progress::say;

/// Length of messages that go to the target and back.
const MESSAGE_BYTES: usize = 100;
/// Messages a second that each end of a player's relay sends.
const PLAYER_RATE: f64 = 20.0;
/// Messages a second, and the relays that carry them, beside which pings are answered. No more, because the
/// load has to be idle at times too: on a slow machine 20 000 and the pings fill its own core, and what is
/// measured then is how long the load takes to look at what has come.
const MIXED_RATE: f64 = 10_000.0;
const MIXED_RELAYS: usize = 2_000;

/// A workload and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    kind: Kind,
    size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bulk,
    BulkUp,
    Messages,
    Players,
    Churn,
    Idle,
    Status,
    StatusOpen,
    Login,
    Transfer,
    Mixed,
}

/// A row for each kind: its name, the size if none is given, and the largest.
const KINDS: [(Kind, &str, usize, usize); 11] = [
    (Kind::Bulk, "bulk", 1, 256),
    (Kind::BulkUp, "bulk-up", 1, 256),
    (Kind::Messages, "messages", 2_000, 100_000),
    (Kind::Players, "players", 1_000, 100_000),
    (Kind::Churn, "churn", 64, 4_096),
    (Kind::Idle, "idle", 9_000, 1_000_000),
    (Kind::Status, "status", 64, 4_096),
    (Kind::StatusOpen, "status-open", 3_000, 1_000_000),
    (Kind::Login, "login", 64, 4_096),
    (Kind::Transfer, "transfer", 64, 4_096),
    (Kind::Mixed, "mixed", 2_000, 1_000_000),
];

/// For `--help`.
pub(super) const EXPLANATION: &str = "\
Workloads, each with -N for another size:
  bulk-1        streams that the target sends as fast as it can [MiB]
  bulk-up-1     streams that the client sends as fast as it can [MiB]
  messages-2000 relays with one message of 100 B under way each, to the target and back [message]
  players-1000  relays whose both ends send 20 messages of 100 B a second unasked, one way [message]
  churn-64      relayed logins that end once they came back, so many at once [connection]
  idle-9000     relays that carry nothing: memory, which means something on a quiet machine only [connection]
  status-64     pings, so many at once [ping]
  status-open-3000  pings, so many a second [ping]
  login-64, transfer-64  logins of new and of returning players, so many at once [login]
  mixed-2000    10000 messages a second on 2000 relays beside so many pings a second, against none [message]
Peers of the relay are haproxy, haproxy-splice, haproxy-64k, nginx, nginx-64k, epoll, ring, engine and direct;
of the status epoll; of all but mixed baseline, a Passage of one shard. Whatever does not fit is left out.";

/// What is done to a server.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) work: Work,
    pub(super) pace: Pace,
    pub(super) connections: usize,
    pub(super) beside: Option<Beside>,
}

/// Where relays lead to.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    /// Sends back what it gets.
    pub(super) echo: SocketAddr,
    /// Ends in the load itself.
    pub(super) arrival: &'a Arrival,
}

impl Workload {
    /// What is counted.
    pub(super) fn unit(self) -> &'static str {
        match self.kind {
            Kind::Bulk | Kind::BulkUp => "MiB",
            Kind::Messages | Kind::Players | Kind::Mixed => "message",
            Kind::Churn | Kind::Idle => "connection",
            Kind::Status | Kind::StatusOpen => "ping",
            Kind::Login | Kind::Transfer => "login",
        }
    }

    /// Whether this peer can do it.
    pub(super) fn suits(self, peer: PeerKind) -> bool {
        match self.kind {
            Kind::Mixed => false,
            Kind::Login | Kind::Transfer => peer == PeerKind::Baseline,
            Kind::Status | Kind::StatusOpen => matches!(peer, PeerKind::Baseline | PeerKind::Epoll),
            _ => true,
        }
    }

    /// Whether it is about relays.
    pub(super) fn is_relayed(self) -> bool {
        !matches!(
            self.kind,
            Kind::Status | Kind::StatusOpen | Kind::Login | Kind::Transfer
        )
    }

    /// Whether Passage is compared with itself, without what goes on beside.
    pub(super) fn is_mixed(self) -> bool {
        self.kind == Kind::Mixed
    }

    /// Whether it is about memory and nothing else.
    pub(super) fn is_idle(self) -> bool {
        self.kind == Kind::Idle
    }

    /// How long it is measured if others are measured for this long.
    pub(super) fn duration(self, usual: Duration) -> Duration {
        match self.kind {
            // Nothing happens.
            Kind::Idle => usual.min(Duration::from_millis(500)),
            // Sent when it is due, to a server that has time for it: what counts are the latest of many.
            Kind::Players | Kind::StatusOpen => usual * 4,
            _ => usual,
        }
    }

    /// Where a relay leads to.
    pub(super) fn target(self, targets: &Targets<'_>) -> SocketAddr {
        match self.kind {
            Kind::Bulk | Kind::BulkUp | Kind::Players => targets.arrival.address(),
            _ => targets.echo,
        }
    }

    /// Connections that are kept.
    pub(super) fn connections(self) -> usize {
        match self.kind {
            Kind::Bulk | Kind::BulkUp | Kind::Messages | Kind::Players | Kind::Idle => self.size,
            Kind::Mixed => MIXED_RELAYS,
            // Of those that come and go some are still being closed.
            Kind::Churn => 2 * self.size,
            Kind::Status | Kind::StatusOpen | Kind::Login | Kind::Transfer => 0,
        }
    }

    /// The same, as far as `files` descriptors reach for both ends of each relay.
    ///
    /// # Errors
    ///
    /// If they do not suffice and another size would be another workload.
    pub(super) fn within(self, files: usize) -> io::Result<Self> {
        let most = files.saturating_sub(OTHER_FILES) / 2;
        if self.connections() <= most {
            return Ok(self);
        }
        if self.is_idle() {
            say(&format!(
                "{self}: {most} relays, because no more than {files} files may be open"
            ));
            return Ok(Self { size: most, ..self });
        }
        Err(io::Error::other(format!(
            "{self} needs {} open files in this process, which holds both ends of each relay, and in the \
             server; allowed are {files}: raise the limit (ulimit -n) or choose {most} relays or fewer",
            2 * self.connections() + OTHER_FILES
        )))
    }

    /// What it is made of, against a server at this address.
    pub(super) fn plan(self, server: SocketAddr, targets: &Targets<'_>) -> Plan {
        let size = self.size;
        let arrival = targets.arrival.clone();
        let relay = hello(RELAY_HOST, server);
        let kept = |work| (work, Pace::Closed { concurrency: size }, size);
        let at_once = |work| (work, Pace::Closed { concurrency: size }, 0);
        let (work, pace, connections) = match self.kind {
            Kind::Bulk | Kind::BulkUp => kept(Work::Bulk {
                hello: relay,
                up: self.kind == Kind::BulkUp,
                arrival,
            }),
            Kind::Messages => kept(messages(server)),
            Kind::Players => kept(Work::Players {
                hello: relay,
                rate: PLAYER_RATE,
                arrival,
            }),
            Kind::Churn => at_once(Work::Visit { hello: relay }),
            Kind::Idle => kept(Work::Idle {
                hello: relay,
                stage: Stage::Relay,
            }),
            Kind::Status => at_once(pings(STATUS_HOST, server)),
            Kind::StatusOpen => (pings(STATUS_HOST, server), rate(size), 0),
            Kind::Login => at_once(logins(LOGIN_HOST, false, server)),
            Kind::Transfer => at_once(logins(LOGIN_HOST, true, server)),
            Kind::Mixed => {
                let pace = Pace::Open {
                    rate: MIXED_RATE,
                    arrivals: Arrivals::Poisson,
                };
                (messages(server), pace, MIXED_RELAYS)
            }
        };
        let beside = self.is_mixed().then(|| Beside {
            work: pings(STATUS_HOST, server),
            pace: rate(size),
        });
        Plan {
            work,
            pace,
            connections,
            beside,
        }
    }
}

fn messages(server: SocketAddr) -> Work {
    Work::Relay {
        hello: hello(RELAY_HOST, server),
        message_bytes: MESSAGE_BYTES,
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a million")]
fn rate(a_second: usize) -> Pace {
    Pace::Open {
        rate: a_second as f64,
        arrivals: Arrivals::Poisson,
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = KINDS.iter().find(|(kind, ..)| *kind == self.kind);
        let (_, name, usual, _) = row.unwrap_or(&KINDS[0]);
        match self.kind {
            Kind::Churn | Kind::Login | Kind::Transfer | Kind::Mixed | Kind::StatusOpen | Kind::Idle
                if self.size == *usual =>
            {
                f.write_str(name)
            }
            _ => write!(f, "{name}-{}", self.size),
        }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for (kind, name, usual, most) in KINDS {
            let size = match text.strip_prefix(name) {
                Some("") => usual,
                Some(rest) => match rest.strip_prefix('-').and_then(|size| size.parse().ok()) {
                    Some(size) => size,
                    None => continue,
                },
                None => continue,
            };
            if !(1..=most).contains(&size) {
                return Err(format!("{name}-N takes sizes from 1 to {most}"));
            }
            return Ok(Self { kind, size });
        }
        let names: Vec<&str> = KINDS.iter().map(|(_, name, ..)| *name).collect();
        Err(format!(
            "no such workload; there are {}, each with -N for another size",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Workload};

    #[test]
    fn every_workload_is_called_what_it_is_asked_for_by() {
        for (kind, name, usual, most) in KINDS {
            for (text, size) in [(name.to_owned(), usual), (format!("{name}-{most}"), most)] {
                let workload: Workload = text.parse().expect("a workload");
                assert_eq!((workload.kind, workload.size), (kind, size), "{text}");
                assert_eq!(workload.to_string().parse(), Ok(workload), "{text}");
            }
        }
    }

    #[test]
    fn other_names_and_sizes_are_refused() {
        for text in [
            "",
            "bulk-",
            "bulk-0",
            "bulk-up-x",
            "messages-100001",
            "statuses",
            "status-open-",
        ] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
        let error = "bulks".parse::<Workload>().expect_err("unknown");
        assert!(error.contains("bulk-up") && error.contains("mixed"), "{error}");
    }

    #[test]
    fn too_few_files_are_said_or_lived_with() {
        let workload = |text: &str| text.parse::<Workload>().expect("a workload");
        assert!(workload("messages-100").within(456).is_ok());
        let error = workload("messages-101")
            .within(456)
            .expect_err("too few")
            .to_string();
        assert!(error.contains("458") && error.contains("ulimit"), "{error}");
        assert_eq!(workload("idle").within(456).expect("fewer"), workload("idle-100"));
    }
}
