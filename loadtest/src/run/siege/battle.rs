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
use super::burden::Burden;
use super::clients::{self, Seen, Stay};
use super::fortress::{Fortress, PLAY_HOST};
use super::readings::{Logged, Metrics};
use crate::progress::say;

/// From the first client to the attack: relays stand by then.
const LEAD: Duration = Duration::from_millis(200);
/// From the last client to the end of the attack: what is in flight still counts.
const TAIL: Duration = Duration::from_millis(200);
/// From the beginning of an attack to where clients count, by default.
const RAMP: Duration = Duration::from_millis(500);
/// Where no times are judged.
const SHORT_RAMP: Duration = Duration::from_millis(200);
/// What takes longer to gather.
const LONG_RAMP: Duration = Duration::from_secs(2);
/// Open files are back after this at the latest: the handshake deadline, and some.
const SETTLE_MAX: Duration = Duration::from_secs(12);
/// A server that has nothing to do gives memory back within this time.
const RELIEF: Duration = Duration::from_millis(700);
/// How often the server is looked at until it has closed everything.
const LOOK: Duration = Duration::from_millis(50);
/// And while clients are timed: what is looked at takes from their CPU.
const GLIMPSE: Duration = Duration::from_millis(500);
/// Part of the full strength where only counts are judged.
const COUNTS_STRENGTH: f64 = 0.25;

/// Bars: how many times as long a client may wait as without the attack at the same total CPU time,
const SLOWDOWN_MAX: f64 = 5.0;
/// and by how much memory may have grown when the same attack is over once more.
const GROWTH_MAX: f64 = 1.02;
/// Times that an attack is repeated until memory stays within that: tables that are bounded, of series and of
/// addresses, have to fill first. A leak grows each time.
const REPEATS_MAX: usize = 6;
/// How long each of these goes on at most.
const REPEAT: Duration = Duration::from_secs(2);
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
    /// Clients after it, while the CPUs are as busy as they were with it; likewise.
    pub(super) busy: Option<Seen>,
    pub(super) attacked: Seen,
    pub(super) toll: Toll,
    /// What was used under the attack.
    pub(super) cores: Cores,
    pub(super) before: Reading,
    /// Largest resident memory in bytes and most open files of all looks.
    pub(super) peak: (u64, usize),
    pub(super) after: Reading,
    /// After the same attack once more, and again, until it left the memory as it was.
    pub(super) again: Vec<Reading>,
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
        let (calm, calm_cores) = self.calm(&fortress)?;
        let calm_counts = counts(self)?;
        let before = self.look(&fortress)?;
        let logged = Logged::read(&fortress.log)?;

        let (attacked, (mut watched, toll)) = self.attack(kind, &fortress)?;
        let after = self.settle(kind, &mut fortress, &before)?;
        let counted = match counts(self)? {
            Some(counted) => counted,
            None => Metrics::glance(admin)?,
        };
        let busy = self.busy(&fortress, watched.cores.beyond(calm_cores))?;
        let again = self.attack_again(kind, &mut fortress, &before, &after)?;
        let dead = self.is_dead(&fortress);
        watched.peak.0 = watched.peak.0.max(after.memory.resident);
        let tells = begun
            .zip(calm_counts.clone())
            .map_or_else(BTreeMap::new, |(begun, calm)| {
                excess(&calm.since(&begun), &counted.since(&calm))
            });
        Ok(Battle {
            kind,
            calm,
            busy,
            attacked,
            toll,
            cores: watched.cores,
            before,
            peak: watched.peak,
            after,
            again,
            logged: Logged::read(&fortress.log)?.since(logged),
            series: (calm_counts.map_or(0, |counts| counts.series), counted.series),
            tells,
            dead,
        })
    }

    fn calm(&self, fortress: &Fortress) -> io::Result<(Option<Seen>, Cores)> {
        // Even where no times are judged: what a server opens for its first clients is there then.
        let stay = if self.args.counts {
            Stay {
                warmup: Duration::ZERO,
                duration: SHORT_RAMP,
            }
        } else {
            self.stay(RAMP)
        };
        let (seen, cores) = clients::visit(fortress, stay, self.args.seed, self.cpus.load, || {
            self.watch(fortress, stay).map(|watched| watched.cores)
        })?;
        Metrics::glance(fortress.admin)?;
        Ok(((!self.args.counts).then_some(seen), cores))
    }

    /// Clients while as much CPU time is spent as under the attack, but for nothing.
    fn busy(&self, fortress: &Fortress, excess: Cores) -> io::Result<Option<Seen>> {
        if self.args.counts {
            return Ok(None);
        }
        let shares = [
            (self.cpus.server.first().copied(), excess.server),
            (self.cpus.load, excess.own),
        ];
        let burden = Burden::begin(&shares)?;
        let stay = self.stay(RAMP);
        let (seen, ()) = clients::visit(fortress, stay, self.args.seed + 2, self.cpus.load, || Ok(()))?;
        burden.end()?;
        Ok(Some(seen))
    }

    /// Clients and attackers at the same time.
    fn attack(&self, kind: Kind, fortress: &Fortress) -> io::Result<(Seen, (Watched, Toll))> {
        let ramp = match kind {
            _ if self.args.counts => SHORT_RAMP,
            Kind::Silence | Kind::SilenceBeyondBound | Kind::Hoards => LONG_RAMP,
            _ => RAMP,
        };
        let stay = self.stay(LEAD + ramp);
        clients::visit(fortress, stay, self.args.seed + 1, self.cpus.load, || {
            std::thread::park_timeout(LEAD);
            let storm = self.storm(kind, fortress, 0)?;
            let watched = self.watch(fortress, self.stay(ramp))?;
            // All of it hangs up at once, which is another attack than this one.
            std::thread::park_timeout(TAIL);
            Ok((watched, storm.end()?))
        })
    }

    fn stay(&self, warmup: Duration) -> Stay {
        Stay {
            warmup,
            duration: self.args.duration,
        }
    }

    /// Looks at the server as long as clients stay.
    fn watch(&self, fortress: &Fortress, stay: Stay) -> io::Result<Watched> {
        let begun = Instant::now();
        let end = begun + stay.warmup + stay.duration;
        let own = server::read_cpu(std::process::id())?;
        let first = self.look(fortress)?;
        let mut peak = (first.memory.resident, first.fds);
        while Instant::now() < end {
            std::thread::park_timeout(GLIMPSE.min(end.saturating_duration_since(Instant::now())));
            let files = first.pids.iter().map(|pid| server::read_fds(*pid));
            let files = files.sum::<io::Result<usize>>()?;
            peak = (
                peak.0.max(server::read_memory(&first.pids)?.resident),
                peak.1.max(files),
            );
        }
        let last = self.look(fortress)?;
        let own = server::read_cpu(std::process::id())?.saturating_sub(own);
        let cores = Cores {
            server: server::usage(&first, &last, last.memory, 0).cores,
            own: own.as_secs_f64() / begun.elapsed().as_secs_f64(),
        };
        Ok(Watched { cores, peak })
    }

    fn storm(&self, kind: Kind, fortress: &Fortress, round: u64) -> io::Result<Storm> {
        let strength = if self.args.counts { COUNTS_STRENGTH } else { 1.0 };
        // What is to exhaust a bound has to reach it.
        let strength = if kind == Kind::FewFiles { 1.0 } else { strength };
        let seed = self.args.seed.wrapping_add(round << 32);
        let attack = kind.attack(&fortress.ground);
        Storm::begin(attack, fortress.ground.server, strength, seed, self.cpus.load)
    }

    /// The same attack without clients: what it left behind the time before it finds.
    fn attack_again(
        &self,
        kind: Kind,
        fortress: &mut Fortress,
        before: &Reading,
        after: &Reading,
    ) -> io::Result<Vec<Reading>> {
        let mut again = Vec::new();
        if self.args.counts || kind == Kind::DeafTargets {
            return Ok(again);
        }
        for round in 1..=REPEATS_MAX {
            let storm = self.storm(kind, fortress, round as u64)?;
            std::thread::park_timeout(RAMP + self.args.duration.min(REPEAT));
            storm.end()?;
            again.push(self.settle(kind, fortress, before)?);
            if growth(after, &again) <= GROWTH_MAX {
                break;
            }
        }
        Ok(again)
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
                break;
            }
            std::thread::park_timeout(LOOK);
        }
        std::thread::park_timeout(RELIEF);
        self.look(fortress)
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

/// CPU time over time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    pub(super) server: f64,
    /// Of this process: attackers, clients and backends.
    pub(super) own: f64,
}

impl Cores {
    /// What is more than that.
    fn beyond(self, usual: Self) -> Self {
        Self {
            server: (self.server - usual.server).max(0.0),
            own: (self.own - usual.own).max(0.0),
        }
    }
}

/// What the server was seen to use.
struct Watched {
    cores: Cores,
    /// Largest resident memory in bytes, and most open files.
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
    /// How many times as long clients of each kind waited as without the attack on a machine as busy, at the
    /// 99th percentile.
    pub(super) fn slowdowns(&self) -> Option<[(&'static str, f64); 3]> {
        let (calm, attacked) = (self.busy.as_ref()?.outcomes(), self.attacked.outcomes());
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
        for reading in [&self.after].into_iter().chain(&self.again) {
            if reading.fds > self.before.fds {
                findings.push(format!(
                    "{} open files before, {} after",
                    self.before.fds, reading.fds
                ));
            }
        }
        let growth = growth(&self.after, &self.again);
        if growth > GROWTH_MAX {
            findings.push(format!(
                "memory still grew by {:.1} % when the attack came for the {}th time",
                (growth - 1.0) * 100.0,
                self.again.len() + 1
            ));
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
            "busy": self.busy.as_ref().map(Seen::json),
            "attacked": self.attacked.json(),
            "slowdown_p99": slowdowns,
            "toll": self.toll,
            "server_cores": self.cores.server,
            "own_cores": self.cores.own,
            "before": reading(&self.before),
            "peak": { "resident": self.peak.0, "fds": self.peak.1 },
            "after": reading(&self.after),
            "again": self.again.iter().map(reading).collect::<Vec<_>>(),
            "logged": self.logged,
            "series": { "before": self.series.0, "after": self.series.1 },
            "tells": self.tells,
            "findings": self.findings(),
        })
    }
}

/// How much more memory there was after the last time than after the time before it.
fn growth(after: &Reading, again: &[Reading]) -> f64 {
    let (last, before) = match again {
        [.., before, last] => (last, before),
        [last] => (last, after),
        [] => return 1.0,
    };
    ratio(last.memory.resident, before.memory.resident)
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
