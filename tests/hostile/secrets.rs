//! No secret of a configuration leaves the program but where it belongs: everything that it says at its most
//! talkative, while everything that it asks goes wrong, is searched for all of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use passage_proto::cookie::{AuthCookie, CookieCheck, CookieKeys};

use crate::blabbermouth::Blabbermouth;
use crate::client::TRANSFER;
use crate::grumbler::Grumbler;
use crate::process::{Process, page, wait_for};
use crate::visitor::{log_in, log_in_with, ping};

/// What every secret of these tests has in it, and nothing else that is ever said.
const MARK: &str = "s3cr3tMARK";

/// A secret with its place in it, so that a leak says whose it is.
fn secret(place: &str) -> String {
    format!("{MARK}-{place}-0123456789abcdef")
}

/// A kubeconfig with a token.
fn kubeconfig(at: SocketAddr, folder: &Path) -> PathBuf {
    let path = folder.join("kubeconfig");
    std::fs::write(
        &path,
        format!(
            r#"
apiVersion: v1
kind: Config
current-context: a
clusters: [{{ name: a, cluster: {{ server: "http://{at}" }} }}]
contexts: [{{ name: a, context: {{ cluster: a, user: a, namespace: a }} }}]
users: [{{ name: a, user: {{ token: {} }} }}]
"#,
            secret("kubeconfig")
        ),
    )
    .unwrap();
    path
}

/// A configuration with a secret in every key that takes one; `at` and `grpc` are asked.
fn configuration(at: SocketAddr, grpc: SocketAddr, folder: &Path) -> String {
    let otel = ["metrics", "traces", "logs"].map(|signal| {
        let token = secret(signal);
        format!("{signal}_endpoint = \"http://{at}/v1/{signal}\"\n{signal}_token = \"{token}\"\n")
    });
    let general = format!(
        r#"
address = "127.0.0.1:0"
auth_secret = "{auth}"
auth_secret_previous = "{previous}"
discovery = {{ targets = [{{ identifier = "hub", address = "hub.test" }}] }}
authentication = {{ type = "disabled" }}
[shards]
count = 1
pin = false
[sentry]
address = "http://{MARK}dsn0123456789abcdef@{at}/1"
debug = true
[admin]
address = "127.0.0.2:0"
[otel]
metrics_interval = 1
"#,
        auth = secret("auth"),
        previous = secret("previous"),
    );
    [general, otel.concat(), routes(at, grpc, folder)].concat()
}

/// A route for each way to ask.
fn routes(at: SocketAddr, grpc: SocketAddr, folder: &Path) -> String {
    let asking = |path: &str, place: &str| {
        let token = secret(place);
        format!("type = \"http\", address = \"http://{at}{path}\", token = \"{token}\"")
    };
    let calling = |place: &str| {
        let token = secret(place);
        format!("type = \"grpc\", address = \"http://{grpc}\", token = \"{token}\"")
    };
    format!(
        r#"
[[routes]]
hostname = "transfer.test"
[[routes]]
hostname = "http.test"
status = {{ {status} }}
discovery = {{ {targets} }}
[[routes]]
hostname = "grpc.test"
status = {{ {grpc_status} }}
authentication = {{ {authentication} }}
[[routes]]
hostname = "discovery.test"
discovery = {{ {discovery} }}
localization = {{ {localization} }}
[[routes]]
hostname = "action.test"
discovery = {{ targets = [{{ identifier = "hub", address = "hub.test" }}], actions = [{{ {action} }}] }}
[[routes]]
hostname = "strategy.test"
strategy = {{ {strategy} }}
[[routes]]
hostname = "agones.test"
discovery = {{ type = "agones", kubeconfig = "{kubeconfig}" }}
[[routes]]
hostname = "mojang.test"
authentication = {{ url = "http://{at}/sessions" }}
"#,
        status = asking("/status", "status"),
        targets = asking("/targets", "targets"),
        grpc_status = calling("Status"),
        authentication = calling("Authentication"),
        discovery = calling("Discovery"),
        localization = calling("Localization"),
        action = calling("DiscoveryAction"),
        strategy = calling("Strategy"),
        kubeconfig = kubeconfig(at, folder).display(),
    )
}

/// The hosts of all routes, and one without.
const HOSTS: [&str; 9] = [
    "transfer",
    "http",
    "grpc",
    "discovery",
    "action",
    "strategy",
    "agones",
    "mojang",
    "unknown",
];

#[track_caller]
fn assert_silent(who: &str, said: &[u8]) {
    let said = String::from_utf8_lossy(said);
    for encoded in [MARK.to_owned(), base64_of(MARK)] {
        let leak = said.find(&encoded).map(|at| {
            let start = said.floor_char_boundary(at.saturating_sub(300));
            said[start..said.floor_char_boundary(at + 100)].to_owned()
        });
        assert_eq!(leak, None, "{who} has said a secret");
    }
}

/// The Base64 form of a text whose length is a multiple of three, but for the last letters.
fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(&text.as_bytes()[..text.len() / 3 * 3])
}

/// Whatever players of all routes can make it ask; none of them is told a secret.
fn play(address: SocketAddr) {
    for host in HOSTS.map(|host| format!("{host}.test")) {
        assert_silent(&format!("a ping to {host}"), &ping(address, &host).told);
        assert_silent(&format!("a login to {host}"), &log_in(address, &host).told);
    }
}

/// The cookies of players are signed with the secret, and believed if they are signed with the one before.
fn assert_signing(address: SocketAddr) {
    let keys = |place| CookieKeys::new(secret(place).as_bytes(), None).unwrap();
    let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let check = CookieCheck {
        client: [127, 0, 0, 1].into(),
        unix_seconds,
        expiry_seconds: 3_600,
    };
    let cookie = log_in(address, "transfer.test").cookie.unwrap();
    assert!(keys("auth").verify(&cookie, &check).is_ok());
    let old = AuthCookie {
        timestamp: unix_seconds,
        client_addr: ([127, 0, 0, 1], 1).into(),
        user_name: "Alice".into(),
        user_id: uuid::Uuid::from_u128(7),
        target: None,
        profile_properties: Vec::new(),
        extra: serde_json::Map::new(),
    };
    let old = old.sign(&keys("previous")).unwrap();
    let visit = log_in_with(address, "mojang.test", TRANSFER, Some(&old));
    assert_eq!((visit.announced, visit.welcomed), (Some(false), true));
    assert_silent("a returning player", &visit.told);
}

/// Every secret goes where it belongs, or nothing would be proven by its absence elsewhere.
fn assert_told(server: &Blabbermouth, grumbler: &Grumbler) {
    for (path, place) in [
        ("/v1/metrics", "metrics"),
        ("/v1/traces", "traces"),
        ("/v1/logs", "logs"),
        ("/status", "status"),
        ("/targets", "targets"),
        ("/apis/allocation.agones.dev/", "kubeconfig"),
    ] {
        let secret = secret(place);
        wait_for(path, || server.was_told(path, &secret).then_some(()));
    }
    for service in [
        "Status",
        "Authentication",
        "Discovery",
        "DiscoveryAction",
        "Strategy",
        "Localization",
    ] {
        wait_for(service, || {
            grumbler.was_told(service, &secret(service)).then_some(())
        });
    }
    wait_for("a report", || {
        server.was_told("/api/1/envelope", MARK).then_some(())
    });
}

#[test]
fn no_secret_is_said_whatever_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (server, grumbler) = (Blabbermouth::start(), Grumbler::start());
    let file = folder.path().join("passage.toml");
    let text = configuration(server.address, grumbler.address, folder.path());
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_passage"));
    command.args(["run", "--config"]).arg(&file).env_clear();
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    let passage = Process::start(command);

    play(passage.address);
    assert_signing(passage.address);
    assert_told(&server, &grumbler);
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_silent(path, page(passage.admin, path).as_bytes());
    }
    let said = passage.end();
    assert!(
        said.output.contains("\"level\":\"TRACE\""),
        "it was not at its most talkative"
    );
    assert_silent("standard output", said.output.as_bytes());
    assert_silent("standard error", said.errors.as_bytes());
    for question in server.questions() {
        let line = question.head.lines().next().unwrap_or_default();
        assert_silent(line, &question.body);
        assert_silent("a request line", line.as_bytes());
    }
}

/// Runs a command of the program to its end.
fn run(file: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_passage"))
        .args(arguments)
        .arg("--config")
        .arg(file)
        .env_clear()
        .env("RUST_LOG", "trace")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn no_command_says_a_secret_of_a_right_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (server, grumbler) = (Blabbermouth::start(), Grumbler::start());
    let file = folder.path().join("passage.toml");
    let text = configuration(server.address, grumbler.address, folder.path());
    std::fs::write(&file, text).unwrap();
    for arguments in [
        &["check"][..],
        &["check", "--adapters"],
        &["route", "http.test"],
        &["route", "agones.test"],
    ] {
        let Output { stdout, stderr, .. } = run(&file, arguments, &[]);
        assert!(
            !stdout.is_empty(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&stderr)
        );
        assert_silent(&format!("{arguments:?}"), &[stdout, stderr].concat());
    }
}

#[test]
fn no_complaint_about_a_secret_says_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passage.toml");
    let key = folder.path().join("key.pem");
    std::fs::write(
        &key,
        format!("-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n"),
    )
    .unwrap();
    let (key, long) = (key.display(), secret("twice"));
    let service = "type = \"http\"\naddress = \"http://a.test/\"\n";
    let tls = format!(
        r#"
[discovery]
type = "grpc"
address = "https://a.test"
certificate_file = "{key}"
key_file = "{key}"
"#
    );
    let wrong = [
        format!("auth_secret = \"{MARK}\"\n"),
        format!("auth_secret = [\"{MARK}\"]\n"),
        format!("auth_secret = \"{long}\"\nauth_secret_previous = \"{long}\"\n"),
        format!("auth_secret_previous = \"{long}\"\n"),
        format!("auth_secret = \"{long}\" \"\n"),
        format!("auth_secert = \"{long}\"\n"),
        format!("[otel]\nmetrics_endpoint = \"http://a.test/\"\nmetrics_token = [\"{MARK}\"]\n"),
        format!("[otel]\nlogs_endpoint = \"http://user:{MARK}@a.test:x/\"\n"),
        format!("[sentry]\naddress = \"{MARK}\"\n"),
        format!("[sentry]\naddress = \"https://{MARK}@sentry.test\"\n"),
        format!("[discovery]\n{service}token = \"{MARK} {MARK}\"\n"),
        format!("[discovery]\n{service}token = {{ a = \"{MARK}\" }}\n"),
        format!("[discovery]\ntype = \"http\"\naddress = \"http://user:{MARK}@a.test:x/\"\n"),
        tls,
    ];
    for text in wrong {
        std::fs::write(&file, &text).unwrap();
        for command in [&["check"][..], &["run"]] {
            let Output {
                stdout,
                stderr,
                status,
            } = run(&file, command, &[]);
            let said = [stdout, stderr].concat();
            assert_eq!(
                status.code(),
                Some(78),
                "{text}: {}",
                String::from_utf8_lossy(&said)
            );
            assert_silent(&text.replace(MARK, "…"), &said);
        }
    }
}

#[test]
fn no_complaint_about_a_variable_says_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passage.toml");
    std::fs::write(&file, "").unwrap();
    let secret_file = folder.path().join("secret");
    std::fs::write(&secret_file, MARK).unwrap();
    let path = secret_file.to_str().unwrap();
    for (name, value) in [
        ("PASSAGE_AUTH_SECRET", MARK),
        ("PASSAGE_AUTH_SECRET_PREVIOUS", MARK),
        ("PASSAGE_OTEL_LOGS_TOKENS", MARK),
        ("PASSAGE_SENTRY_ADDRESS", MARK),
        ("AUTH_SECRET_FILE", path),
        ("AUTH_SECRET_PREVIOUS_FILE", path),
    ] {
        let Output {
            stdout,
            stderr,
            status,
        } = run(&file, &["check"], &[(name, value)]);
        assert_eq!(status.code(), Some(78), "{name}");
        assert_silent(name, &[stdout, stderr].concat());
    }
}
