//! No secret of a configuration leaves the program but where it belongs: everything that it says at its most
//! talkative, while everything that it asks goes wrong, is searched for all of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::client::{Client, LOGIN, MODERN, STATUS, handshake, login_start, status_request};
use crate::process::{PATIENCE, Process, page, wait_for};

/// What every secret of these tests has in it, and nothing else that is ever said.
const MARK: &str = "s3cr3tMARK";

/// A web server that is asked everything, quotes the whole question, and says that it went wrong.
struct Blabbermouth {
    address: SocketAddr,
    questions: Arc<Mutex<Vec<Question>>>,
}

#[derive(Clone)]
struct Question {
    head: String,
    body: Vec<u8>,
}

impl Blabbermouth {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let questions = Arc::<Mutex<Vec<Question>>>::default();
        let asked = Arc::clone(&questions);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                // Whoever speaks no HTTP/1 is left alone.
                thread::spawn(move || converse(stream, &asked).unwrap_or_default());
            }
        });
        Self { address, questions }
    }

    fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }

    /// Whether somebody was told this secret in the head of a question to this path.
    fn was_told(&self, path: &str, secret: &str) -> bool {
        let questions = self.questions();
        questions
            .iter()
            .any(|question| question.head.contains(path) && question.head.contains(secret))
    }
}

fn converse(stream: TcpStream, asked: &Mutex<Vec<Question>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            break;
        }
    }
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| {
        let line = lower.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let length = field("content-length:").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if field("content-encoding:").is_some_and(|coding| coding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain)?;
        body = plain;
    }
    let answer = format!("no: {}", head.replace("\r\n", " | "));
    asked.lock().unwrap().push(Question { head, body });
    let length = answer.len();
    (&stream).write_all(
        format!(
            "HTTP/1.1 400 No\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: \
             {length}\r\n\r\n{answer}"
        )
        .as_bytes(),
    )
}

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

/// A configuration with a secret in every key that takes one, most of which ask `at`.
fn configuration(at: SocketAddr, folder: &Path) -> String {
    let kubeconfig = kubeconfig(at, folder);
    format!(
        r#"
address = "127.0.0.1:0"
auth_secret = "{auth}"
auth_secret_previous = "{previous}"
[shards]
count = 1
pin = false
[otel]
metrics_endpoint = "http://{at}/v1/metrics"
metrics_token = "{metrics}"
metrics_interval = 1
traces_endpoint = "http://{at}/v1/traces"
traces_token = "{traces}"
logs_endpoint = "http://{at}/v1/logs"
logs_token = "{logs}"
[sentry]
address = "http://{MARK}dsn0123456789abcdef@{at}/1"
debug = true
[admin]
address = "127.0.0.2:0"
[[routes]]
hostname = "status.test"
status = {{ type = "http", address = "http://{at}/status", token = "{status}" }}
discovery = {{ type = "http", address = "http://{at}/targets", token = "{targets}" }}
authentication = {{ type = "disabled" }}
[[routes]]
hostname = "authentication.test"
authentication = {{ type = "grpc", address = "http://{at}", token = "{authentication}" }}
[[routes]]
hostname = "discovery.test"
authentication = {{ type = "disabled" }}
discovery = {{ type = "grpc", address = "http://{at}", token = "{discovery}" }}
localization = {{ type = "grpc", address = "http://{at}", token = "{localization}" }}
[[routes]]
hostname = "agones.test"
authentication = {{ type = "disabled" }}
discovery = {{ type = "agones", kubeconfig = "{kubeconfig}" }}
[[routes]]
hostname = "mojang.test"
authentication = {{ url = "http://{at}/sessions" }}
"#,
        auth = secret("auth"),
        previous = secret("previous"),
        metrics = secret("metrics"),
        traces = secret("traces"),
        logs = secret("logs"),
        status = secret("status"),
        targets = secret("targets"),
        authentication = secret("authentication"),
        discovery = secret("discovery"),
        localization = secret("localization"),
        kubeconfig = kubeconfig.display(),
    )
}

/// Whatever a player of this route can make it ask.
fn play(address: SocketAddr, host: &str) {
    let mut ping = Client::connect(address);
    ping.send(&[handshake(MODERN, host, STATUS), status_request()].concat());
    let mut login = Client::connect(address);
    login.send(&[handshake(MODERN, host, LOGIN), login_start("Alice")].concat());
    // What they are told is none of this test's business, as long as it is none of the secrets.
    for stream in [&ping.stream, &login.stream] {
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut told = Vec::new();
        let _ends_or_waits = (&*stream).read_to_end(&mut told);
        assert_silent("a player", &told);
    }
}

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

#[test]
fn no_secret_is_said_whatever_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let server = Blabbermouth::start();
    let file = folder.path().join("passage.toml");
    std::fs::write(&file, configuration(server.address, folder.path())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_passage"));
    command.args(["run", "--config"]).arg(&file).env_clear();
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    let passage = Process::start(command);

    for host in [
        "status",
        "authentication",
        "discovery",
        "agones",
        "mojang",
        "unknown",
    ] {
        play(passage.address, &format!("{host}.test"));
    }
    // The secrets do go where they belong, or this test would prove nothing.
    for (path, place) in [
        ("/v1/metrics", "metrics"),
        ("/v1/traces", "traces"),
        ("/v1/logs", "logs"),
        ("/status", "status"),
        ("/targets", "targets"),
    ] {
        let secret = secret(place);
        wait_for(path, || server.was_told(path, &secret).then_some(()));
    }
    wait_for("a report", || {
        server.was_told("/api/1/envelope", MARK).then_some(())
    });
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
    let server = Blabbermouth::start();
    let file = folder.path().join("passage.toml");
    std::fs::write(&file, configuration(server.address, folder.path())).unwrap();
    for arguments in [
        &["check"][..],
        &["check", "--adapters"],
        &["route", "status.test"],
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
