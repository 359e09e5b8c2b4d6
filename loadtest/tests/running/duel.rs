//! Every workload, small, in one round against the peers that are built into the program.

use serde_json::Value;

use super::{count, document, loadtest};

/// Round by round of everything that was asked for, in that order.
fn duels(workloads: &str, peers: &str, more: &[&str]) -> Vec<Value> {
    let mut arguments = vec![
        "duel",
        "--workload",
        workloads,
        "--rounds",
        "1",
        "--duration",
        "0.5",
    ];
    arguments.extend(["--json", "-"]);
    if !peers.is_empty() {
        arguments.extend(["--peer", peers]);
    }
    arguments.extend(more);
    let document = document(&arguments);
    assert!(document["machine"]["cores"].is_u64() && document["version"].is_string());
    document["duels"].as_array().expect("a list").clone()
}

/// Who did what against whom, if both did something and nothing failed.
fn outline(duel: &Value) -> (String, String) {
    let round = &duel["rounds"][0];
    for side in ["passage", "peer"].iter().filter(|side| !round[**side].is_null()) {
        assert_eq!(count(round, &format!("/{side}/failed")), 0, "{duel:#}");
        assert!(count(round, &format!("/{side}/units")) > 0, "{duel:#}");
    }
    let text = |key: &str| duel[key].as_str().unwrap_or("nobody").to_owned();
    (text("workload"), text("peer"))
}

fn outlines(duels: &[Value]) -> Vec<(String, String)> {
    duels.iter().map(outline).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(one, other)| ((*one).to_owned(), (*other).to_owned()))
        .collect()
}

#[test]
fn streams_and_messages_go_through_everybody() {
    let duels = duels("bulk-2,bulk-up-1,messages-20,players-20", "epoll,direct", &[]);
    let expected = ["bulk-2", "bulk-up-1", "messages-20", "players-20"]
        .iter()
        .flat_map(|workload| [(*workload, "epoll"), (*workload, "direct")]);
    assert_eq!(outlines(&duels), pairs(&expected.collect::<Vec<_>>()));
    for duel in &duels {
        let (round, peer) = (&duel["rounds"][0], duel["peer"].as_str());
        // Nobody is in between who could be charged.
        assert_eq!(round["cpu_ratio"].is_null(), peer == Some("direct"), "{duel:#}");
        assert_eq!(round["cpu_ratio"], duel["median"]["cpu_ratio"]);
        let is_streamed = duel["unit"] == "MiB";
        assert_eq!(round["p999_ratio"].is_null(), is_streamed, "{duel:#}");
    }
}

#[test]
fn connections_come_and_go_and_are_pinged() {
    let duels = duels("churn-8,status-8,status-open-100", "epoll,direct,baseline", &[]);
    let expected = [
        ("churn-8", "epoll"),
        ("churn-8", "direct"),
        ("churn-8", "baseline"),
        ("status-8", "epoll"),
        ("status-8", "baseline"),
        ("status-open-100", "epoll"),
        ("status-open-100", "baseline"),
    ];
    assert_eq!(outlines(&duels), pairs(&expected));
}

#[test]
fn idle_relays_are_weighed_by_their_memory() {
    let duels = duels("idle-50", "epoll", &[]);
    assert_eq!(outlines(&duels), pairs(&[("idle-50", "epoll")]));
    let passage = &duels[0]["rounds"][0]["passage"];
    assert_eq!(count(passage, "/units"), 50);
    assert!(passage["user_bytes_per_connection"].is_f64() && passage["kernel_bytes_per_connection"].is_f64());
    assert!(passage["cpu_microseconds_per_unit"].is_null(), "{passage:#}");
}

#[test]
fn logins_have_no_peer_and_messages_beside_pings_are_their_own() {
    let duels = duels("login-2,transfer-2,mixed-50", "epoll", &[]);
    let expected = [
        ("login-2", "nobody"),
        ("transfer-2", "nobody"),
        ("mixed-50", "undisturbed"),
    ];
    assert_eq!(outlines(&duels), pairs(&expected));
}

#[test]
fn two_shards_do_the_work_of_one() {
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        return;
    }
    let duels = duels("status-8,churn-8,messages-20", "baseline", &["--shards", "2"]);
    let expected = [
        ("status-8", "baseline"),
        ("churn-8", "baseline"),
        ("messages-20", "baseline"),
    ];
    assert_eq!(outlines(&duels), pairs(&expected));
}

#[test]
fn who_is_not_there_is_left_out_and_named() {
    let arguments = [
        "duel",
        "--workload",
        "churn-2",
        "--peer",
        "ring",
        "--ring",
        "/nowhere/ring",
    ];
    let output = loadtest(&[&arguments[..], &["--rounds", "1", "--duration", "0.2"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("ring is left out") && complaint.contains("--example ring"),
        "{complaint}"
    );
}

#[test]
fn unknown_workloads_are_refused_with_the_known_ones() {
    let output = loadtest(&["duel", "--workload", "bulks"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("bulk-up") && complaint.contains("players"),
        "{complaint}"
    );
}
