//! One attack from the calm before it to the calm after it.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use passage_loadtest::attack::Kind;
use passage_loadtest::attack::storm::{Storm, Toll};
use passage_loadtest::client::ping;
use passage_loadtest::flow::Hello;
use passage_loadtest::measure::Outcome;
use passage_loadtest::server::{self, Reading};
use serde_json::{Value, json};

use super::Siege;
use super::clients::{self, Seen, Stay};
use super::fortress::{Fortress, PLAY_HOST};
use super::readings::{Logged, Metrics};
use crate::progress::say;

/// From the first client to the attack: relays stand by then.
const LEAD: Duration = Duration::from_millis(200);
/// From the beginning of an attack to where clients count, by default.
const RAMP: Duration = Duration::from_millis(500);
/// Where no times are judged.
const SHORT_RAMP: Duration = Duration::from_millis(200);
/// What takes longer to gather.
const LONG_RAMP: Duration = Duration::from_secs(2);
/// Open files are back after this at the latest: the handshake deadline, and some.
const SETTLE_MAX: Duration = Duration::from_secs(12);
/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Part of the full strength where only counts are judged.
const COUNTS_STRENGTH: f64 = 0.25;

/// Bars: how many times as long a client may wait as in the calm before,
const SLOWDOWN_MAX: f64 = 5.0;
/// and by how much memory may have grown when the same attack is over a second time.
const GROWTH_MAX: f64 = 1.02;
/// Lines that an attack may add to the log, besides one for each player.
const LINES_MAX: u64 = 100;
/// Series that a server has however many clients come, and metrics with labels that clients choose.
const SERIES_FIXED_MAX: usize = 2_000;
const CHOSEN_METRICS: usize = 3;
const LABEL_LIMIT: usize = 2_000;

/// What came of one attack.
#[derive(Debug)]
pub(super) struct Battle {
    pub(super) kind: Kind,
    /// Clients before the attack; not looked at where only counts are judged.
    pub(super) calm: Option<Seen>,
    pub(super) attacked: Seen,
    pub(super) toll: Toll,
    /// Cores that the server and this process used under the attack.
    pub(super) server_cores: f64,
    pub(super) own_cores: f64,
    pub(super) before: Reading,
    /// Largest resident memory in bytes and most open files of all looks.
    pub(super) peak: (u64, usize),
    pub(super) after: Reading,
    /// After the same attack once more.
    pub(super) again: Option<Reading>,
    pub(super) logged: Logged,
    /// Series after the attack, and what grew because of it.
    pub(super) series: (usize, usize),
    pub(super) tells: BTreeMap<String, f64>,
    /// Why a ping after all that failed, if it did.
    pub(super) dead: Option<String>,
}

impl Siege<'_> {
    /// Attacks a server that was started for it.
    pub(super) fn fight(&self, kind: Kind) -> io::Result<Battle> {
        say(&kind.name());
        let mut fortress = Fortress::start(
            &self.passage,
            kind.terrain(),
            self.echo.address(),
            self.session_server.address(),
            &self.cpus,
        )?;
        let admin = fortress.admin;
        let counts = |siege: &Self| (!siege.args.counts).then(|| Metrics::read(admin)).transpose();
        let begun = counts(self)?;
        let calm = self.calm(&fortress)?;
        let calm_counts = counts(self)?;
        let before = self.look(&fortress)?;
        let logged = Logged::read(&fortress.log)?;

        let (attacked, mut under) = self.attack(kind, &fortress)?;
        let after = self.settle(kind, &mut fortress, &before)?;
        let counted = match counts(self)? {
            Some(counted) => counted,
            None => Metrics::glance(admin)?,
        };
        let again = self.attack_again(kind, &mut fortress, &before)?;
        let dead = self.is_dead(&fortress);
        under.peak.0 = under.peak.0.max(after.memory.resident);
        let tells = begun
            .zip(calm_counts.clone())
            .map_or_else(BTreeMap::new, |(begun, calm)| {
                excess(&calm.since(&begun), &counted.since(&calm))
            });
        Ok(Battle {
            kind,
            calm,
            attacked,
            toll: under.toll,
            server_cores: under.server_cores,
            own_cores: under.own_cores,
            before,
            peak: under.peak,
            after,
            again,
            logged: Logged::read(&fortress.log)?.since(logged),
            series: (calm_counts.map_or(0, |counts| counts.series), counted.series),
            tells,
            dead,
        })
    }

    fn calm(&self, fortress: &Fortress) -> io::Result<Option<Seen>> {
        // Even where no times are judged: what a server opens for its first clients is there then.
        let (warmup, duration) = if self.args.counts {
            (Duration::ZERO, SHORT_RAMP)
        } else {
            (RAMP, self.args.duration)
        };
        let stay = Stay { warmup, duration };
        let seed = self.args.seed;
        let (seen, ()) = clients::visit(fortress, stay, seed, self.cpus.load, || Ok(()))?;
        Metrics::glance(fortress.admin)?;
        Ok((!self.args.counts).then_some(seen))
    }

    /// Clients and attackers at the same time.
    fn attack(&self, kind: Kind, fortress: &Fortress) -> io::Result<(Seen, Under)> {
        let ramp = match kind {
            _ if self.args.counts => SHORT_RAMP,
            Kind::Silence | Kind::SilenceBeyondBound | Kind::Hoards => LONG_RAMP,
            _ => RAMP,
        };
        let stay = Stay {
            warmup: LEAD + ramp,
            duration: self.args.duration,
        };
        clients::visit(fortress, stay, self.args.seed + 1, self.cpus.load, || {
            std::thread::park_timeout(LEAD);
            let own = server::read_cpu(std::process::id())?;
            let first = self.look(fortress)?;
            let storm = self.storm(kind, fortress, 0)?;
            let mut peak = (first.memory.resident, first.fds);
            let end = Instant::now() + ramp + self.args.duration;
            let mut last = first.clone();
            while Instant::now() < end {
                std::thread::park_timeout(LOOK);
                last = self.look(fortress)?;
                peak = (peak.0.max(last.memory.resident), peak.1.max(last.fds));
            }
            let own = server::read_cpu(std::process::id())?.saturating_sub(own);
            let toll = storm.end()?;
            Ok(Under {
                server_cores: server::usage(&first, &last, last.memory, 0).cores,
                own_cores: own.as_secs_f64() / toll.seconds.max(1e-9),
                toll,
                peak,
            })
        })
    }

    fn storm(&self, kind: Kind, fortress: &Fortress, round: u64) -> io::Result<Storm> {
        let strength = if self.args.counts { COUNTS_STRENGTH } else { 1.0 };
        // What is to exhaust a bound has to reach it.
        let strength = if kind == Kind::FewFiles { 1.0 } else { strength };
        let seed = self.args.seed.wrapping_add(round << 32);
        let attack = kind.attack(&fortress.ground);
        Storm::begin(attack, fortress.ground.server, strength, seed, self.cpus.load)
    }

    /// The same attack without clients: what it left behind the first time it finds.
    fn attack_again(
        &self,
        kind: Kind,
        fortress: &mut Fortress,
        before: &Reading,
    ) -> io::Result<Option<Reading>> {
        if self.args.counts || kind == Kind::DeafTargets {
            return Ok(None);
        }
        let storm = self.storm(kind, fortress, 1)?;
        std::thread::park_timeout(RAMP + self.args.duration);
        storm.end()?;
        self.settle(kind, fortress, before).map(Some)
    }

    /// Waits until the server has closed what the attack had opened.
    fn settle(&self, kind: Kind, fortress: &mut Fortress, before: &Reading) -> io::Result<Reading> {
        if kind == Kind::DeafTargets {
            // What a client has sent and nobody has read hides that it is gone; the target's end shows.
            fortress.bad_targets.clear();
        }
        let until = Instant::now() + SETTLE_MAX;
        loop {
            let reading = self.look(fortress)?;
            if reading.fds <= before.fds || Instant::now() > until {
                return Ok(reading);
            }
            std::thread::park_timeout(LOOK / 4);
        }
    }

    fn look(&self, fortress: &Fortress) -> io::Result<Reading> {
        fortress.server.explain(server::read(fortress.server.pid()))
    }

    fn is_dead(&self, fortress: &Fortress) -> Option<String> {
        let hello = Hello {
            protocol: 772,
            host: PLAY_HOST.to_owned(),
            port: fortress.ground.server.port(),
        };
        let answer = ping(fortress.ground.server, &hello, SETTLE_MAX);
        answer.err().map(|failure| failure.to_string())
    }
}

/// What was measured while the attack went on.
struct Under {
    server_cores: f64,
    own_cores: f64,
    toll: Toll,
    peak: (u64, usize),
}

/// What grew under the attack and not as much in the calm.
fn excess(calm: &BTreeMap<String, f64>, attacked: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let grown = attacked.iter().filter(|(key, value)| {
        let usual = calm.get(*key).copied().unwrap_or(0.0);
        **value >= 10.0 && **value > 2.0 * usual
    });
    grown.map(|(key, value)| (key.clone(), *value)).collect()
}

impl Battle {
    /// How many times as long clients of each kind waited as before, at the 99th percentile.
    pub(super) fn slowdowns(&self) -> Option<[(&'static str, f64); 3]> {
        let (calm, attacked) = (self.calm.as_ref()?.outcomes(), self.attacked.outcomes());
        let p99 = |outcome: &Outcome| outcome.tally.quantile(0.99).as_secs_f64();
        let mut slowdowns = attacked.map(|(name, outcome)| (name, p99(outcome)));
        for ((_, slowdown), (_, calm)) in slowdowns.iter_mut().zip(calm) {
            *slowdown /= p99(calm).max(1e-9);
        }
        Some(slowdowns)
    }

    /// Everything that misses its bar.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut findings = self.client_findings();
        if let Some(why) = &self.dead {
            findings.push(format!("a ping after the attack failed: {why}"));
        }
        if self.toll.breaches > 0 {
            let first = self.toll.first_breach.as_deref().unwrap_or_default();
            findings.push(format!("{} × let through: {first}", self.toll.breaches));
        }
        if self.toll.opened == 0 {
            findings.push("no attacker got as far as to connect".to_owned());
        }
        let files = [Some(&self.after), self.again.as_ref()];
        for reading in files.into_iter().flatten() {
            if reading.fds > self.before.fds {
                findings.push(format!(
                    "{} open files before, {} after",
                    self.before.fds, reading.fds
                ));
            }
        }
        if let Some(again) = &self.again {
            let growth = ratio(again.memory.resident, self.after.memory.resident);
            if growth > GROWTH_MAX {
                findings.push(format!(
                    "memory grew by {:.1} % the second time",
                    (growth - 1.0) * 100.0
                ));
            }
        }
        let series_max = SERIES_FIXED_MAX + CHOSEN_METRICS * (LABEL_LIMIT + 1);
        if self.series.1 > series_max {
            findings.push(format!(
                "{} series, at most {series_max} are bounded",
                self.series.1
            ));
        }
        if self.logged.others > LINES_MAX {
            findings.push(format!("{} lines in the log", self.logged.others));
        }
        findings
    }

    fn client_findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for (name, outcome) in self.attacked.outcomes() {
            // Who is on a relay already needs nothing that an attack could take away.
            if outcome.tally.failed() > 0 && (name == "relays" || !self.kind.is_exhausting()) {
                findings.extend(clients::failures(name, outcome));
            }
        }
        let slowdowns = self.slowdowns().filter(|_| !self.kind.is_exhausting());
        for (name, slowdown) in slowdowns.into_iter().flatten() {
            if slowdown > SLOWDOWN_MAX {
                findings.push(format!("{name} take {slowdown:.1} times as long at p99"));
            }
        }
        findings
    }

    /// Everything that is known.
    pub(super) fn json(&self) -> Value {
        let reading = |reading: &Reading| json!({ "memory": reading.memory, "fds": reading.fds });
        let slowdowns = self.slowdowns().map(BTreeMap::from);
        json!({
            "attack": self.kind,
            "calm": self.calm.as_ref().map(Seen::json),
            "attacked": self.attacked.json(),
            "slowdown_p99": slowdowns,
            "toll": self.toll,
            "server_cores": self.server_cores,
            "own_cores": self.own_cores,
            "before": reading(&self.before),
            "peak": { "resident": self.peak.0, "fds": self.peak.1 },
            "after": reading(&self.after),
            "again": self.again.as_ref().map(reading),
            "logged": self.logged,
            "series": { "before": self.series.0, "after": self.series.1 },
            "tells": self.tells,
            "findings": self.findings(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a process has less than 2^53 bytes")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::excess;

    #[test]
    fn what_clients_cause_tells_of_no_attack() {
        let counts = |pings: f64, faults: f64| {
            BTreeMap::from([("pings".to_owned(), pings), ("faults".to_owned(), faults)])
        };
        let told = excess(&counts(300.0, 0.0), &counts(350.0, 9_000.0));
        assert_eq!(told, BTreeMap::from([("faults".to_owned(), 9_000.0)]));
        assert!(excess(&counts(300.0, 0.0), &counts(300.0, 3.0)).is_empty());
    }
}
