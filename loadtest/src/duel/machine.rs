//! What the figures were measured on.

use std::fs;

use serde_json::{Value, json};

/// Processor, cores and kernel, as far as they are known.
pub(super) fn describe() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    json!({
        "cpu": model(&cpuinfo),
        "congestion_control": congestion_control(),
        // Not how many this thread may use: it is pinned.
        "cores": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "kernel": kernel.as_deref().map(str::trim),
    })
}

/// What senders are slowed down by, where nothing else is asked for. It decides about more than the network:
/// BBR paces what it sends by a timer, which costs everybody who sends much several times as much CPU time.
pub(super) fn congestion_control() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").ok()?;
    Some(name.trim().to_owned())
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::{describe, model};

    #[test]
    fn finds_the_processor() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.00GHz\n";
        assert_eq!(model(cpuinfo), Some("Some CPU @ 2.00GHz"));
        assert_eq!(model("Processor: 1"), None);
    }

    #[test]
    fn knows_this_kernel() {
        let machine = describe();
        assert!(
            machine["kernel"]
                .as_str()
                .is_some_and(|kernel| kernel.contains('.')),
            "{machine}"
        );
        assert!(
            machine["cores"].as_u64().is_some_and(|cores| cores > 0),
            "{machine}"
        );
    }
}
