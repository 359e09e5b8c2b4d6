//! What is read off the attacked server: its process, its metrics, its log.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Most of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
/// A shard hands its counts over once a second, and a new series shows its value only at the second look.
const HAND_OVER: Duration = Duration::from_millis(1_200);
/// Labels whose values clients choose.
const CHOSEN: [&str; 3] = ["client_ip", "server_address", "protocol_version"];

/// The metrics of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metrics {
    /// Counters by name and labels, summed over the labels that clients choose.
    pub(super) counters: BTreeMap<String, f64>,
    /// Series in all.
    pub(super) series: usize,
}

impl Metrics {
    /// Reads what is counted up to now.
    ///
    /// # Errors
    /// If the admin listener does not answer, or with something else.
    pub(super) fn read(admin: SocketAddr) -> io::Result<Self> {
        std::thread::park_timeout(HAND_OVER);
        fetch(admin)?;
        std::thread::park_timeout(HAND_OVER);
        Self::glance(admin)
    }

    /// Reads what is shown right now: counts of the last second may be missing.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn glance(admin: SocketAddr) -> io::Result<Self> {
        Ok(Self::parse(&fetch(admin)?))
    }

    fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| line.starts_with("passage_")) {
            metrics.series += 1;
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            // The two that only grow and may not be called so.
            let unmarked = ["passage_connections_failed", "passage_connections_rate_limited"];
            if !name.ends_with("_total") && !unmarked.contains(&name) {
                continue;
            }
            let labels = labels.trim_end_matches('}').split(',');
            let kept: Vec<&str> = labels
                .filter(|label| label.split_once('=').is_some_and(|(key, _)| is_told(key)))
                .collect();
            let key = if kept.is_empty() {
                name.to_owned()
            } else {
                format!("{name}{{{}}}", kept.join(","))
            };
            *metrics.counters.entry(key).or_default() += value.parse::<f64>().unwrap_or(0.0);
        }
        metrics
    }

    /// How much each counter has grown since an earlier reading.
    pub(super) fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let counters = self.counters.iter();
        counters
            .map(|(key, value)| {
                let earlier = before.counters.get(key).copied().unwrap_or(0.0);
                (key.clone(), value - earlier)
            })
            .collect()
    }
}

/// Whether a label says something of the server's own choice.
fn is_told(key: &str) -> bool {
    !CHOSEN.contains(&key) && key != "otel_metric_overflow" && key != "shard"
}

/// `GET /metrics`.
fn fetch(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    match answer.lines().next() {
        Some(line) if line.contains(" 200 ") => Ok(answer),
        other => Err(io::Error::other(format!(
            "the admin listener at {admin} says {:?}",
            other.unwrap_or_default()
        ))),
    }
}

/// How much was logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Logged {
    /// In bytes.
    pub(super) bytes: u64,
    /// Lines about players who got in or were turned away: one each, as documented.
    pub(super) players: u64,
    /// All other lines.
    pub(super) others: u64,
}

impl Logged {
    /// Counts a log from its beginning.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(log: &Path) -> io::Result<Self> {
        let mut logged = Self::default();
        let mut reader = BufReader::new(std::fs::File::open(log)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            logged.bytes += line.len() as u64;
            let is_player = String::from_utf8_lossy(&line).contains("\"message\":\"Player ");
            *(if is_player {
                &mut logged.players
            } else {
                &mut logged.others
            }) += 1;
            line.clear();
        }
        Ok(logged)
    }

    /// What was added since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            players: self.players - before.players,
            others: self.others - before.others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Logged, Metrics};

    const TEXT: &str = "# TYPE passage_connections_total counter\n\
        passage_connections_total{client_ip=\"127.66.0.1\",server_address=\"other\"} 3\n\
        passage_connections_total{otel_metric_overflow=\"true\"} 4\n\
        passage_shard_shed_total{shard=\"0\",bound=\"logins\"} 5\n\
        passage_connections_failed{client_ip=\"127.66.0.1\"} 6\n\
        passage_connections_active 7\n";

    #[test]
    fn sums_over_what_clients_choose_and_keeps_what_the_server_says() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.series, 5);
        let counters: Vec<_> = metrics
            .counters
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        let expected = [
            ("passage_connections_failed", 6.0),
            ("passage_connections_total", 7.0),
            ("passage_shard_shed_total{bound=\"logins\"}", 5.0),
        ];
        assert_eq!(counters, expected);
        let grown = metrics.since(&Metrics::parse("passage_connections_total 2\n"));
        assert_eq!(grown.get("passage_connections_total"), Some(&5.0));
    }

    #[test]
    fn tells_players_from_everything_else() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "{\"message\":\"Player relayed\"}\n{\"message\":\"Accepting pauses\"}\n";
        std::fs::write(file.path(), text).expect("written");
        let logged = Logged::read(file.path()).expect("read");
        assert_eq!(
            (logged.players, logged.others, logged.bytes),
            (1, 1, text.len() as u64)
        );
    }
}
