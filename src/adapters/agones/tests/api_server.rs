//! A Kubernetes API server that knows one thing: how a `GameServerAllocation` has to look.
//!
//! The types are those of Agones' package `allocation/v1`; a field that is not there, or of another type, is
//! answered as the real one answers it, with 422.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is said to one allocation.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// 201 with this as the object's status.
    Created(Value),
    /// A `Status` with this code, and a header line more.
    Refused(u16, &'static str),
    /// 201 with these bytes.
    Bytes(Vec<u8>),
    /// The connection ends without an answer: nobody knows what became of the allocation.
    Hangup,
    /// Nothing, for as long as anybody waits.
    Silence,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) allocation: Value,
}

/// A running server, which ends when it is dropped.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Gives one reply after the other; the last one stays.
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&replies)));
            }
        });
        Self { address, asked, task }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Asked>>>, replies: Arc<Mutex<VecDeque<Reply>>>) {
    while let Some(asked) = read(&mut stream).await {
        let problem = problem_of(&asked);
        log.lock().unwrap().push(asked.clone());
        let reply = {
            let mut replies = replies.lock().unwrap();
            let next = replies.front().unwrap().clone();
            if replies.len() > 1 {
                replies.pop_front();
            }
            next
        };
        let (status, header, body) = match (problem, reply) {
            (Some(problem), _) => (422, "", refusal(422, &problem)),
            (None, Reply::Hangup) => return,
            (None, Reply::Silence) => std::future::pending().await,
            (None, Reply::Refused(code, header)) => (code, header, refusal(code, "as the test wants it")),
            (None, Reply::Bytes(bytes)) => (201, "", bytes),
            (None, Reply::Created(status)) => {
                let mut created = asked.allocation;
                created["status"] = status;
                (201, "", created.to_string().into_bytes())
            }
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{header}\r\n");
        // Whoever has read enough may hang up.
        if stream
            .write_all(&[head.into_bytes(), body].concat())
            .await
            .is_err()
        {
            return;
        }
    }
}

fn refusal(code: u16, message: &str) -> Vec<u8> {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
        .to_string()
        .into_bytes()
}

/// One request, or `None` at the end of the connection.
async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(&bytes).unwrap() {
            let value = |name: &str| {
                let header = request
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case(name));
                header.map_or_else(String::new, |header| {
                    String::from_utf8(header.value.into()).unwrap()
                })
            };
            let length: usize = value("content-length").parse().unwrap();
            if bytes.len() >= head + length {
                return Some(Asked {
                    path: format!("{} {}", request.method.unwrap(), request.path.unwrap()),
                    authorization: value("authorization"),
                    allocation: serde_json::from_slice(&bytes[head..head + length]).unwrap(),
                });
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn problem_of(asked: &Asked) -> Option<String> {
    let schema = serde_json::from_value::<GameServerAllocation>(asked.allocation.clone());
    schema.err().map(|error| error.to_string())
}

type Object<T> = Option<BTreeMap<String, T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "only the shape counts")]
struct GameServerAllocation {
    api_version: ApiVersion,
    kind: Kind,
    metadata: Option<Value>,
    spec: Spec,
}

#[derive(Deserialize)]
enum ApiVersion {
    #[serde(rename = "allocation.agones.dev/v1")]
    V1,
}

#[derive(Deserialize)]
enum Kind {
    GameServerAllocation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts")]
struct Spec {
    selectors: Option<Vec<Selector>>,
    priorities: Option<Vec<Priority>>,
    scheduling: Scheduling,
    metadata: MetaPatch,
}

#[derive(Deserialize)]
enum Scheduling {
    Packed,
    Distributed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts")]
struct MetaPatch {
    labels: Object<LabelValue>,
    annotations: Object<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "only the shape counts")]
struct Selector {
    match_labels: Object<LabelValue>,
    match_expressions: Option<Vec<Expression>>,
    game_server_state: Option<State>,
    players: Option<BTreeMap<AvailableKey, u32>>,
    counters: Object<BTreeMap<CounterKey, i64>>,
    lists: Object<List>,
}

#[derive(Deserialize)]
enum State {
    Ready,
    Allocated,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts")]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<LabelValue>,
}

#[derive(Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
enum AvailableKey {
    MinAvailable,
    MaxAvailable,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
enum CounterKey {
    MinCount,
    MaxCount,
    MinAvailable,
    MaxAvailable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "only the shape counts")]
struct List {
    contains_value: String,
    min_available: i64,
    max_available: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape counts")]
struct Priority {
    r#type: PriorityType,
    key: String,
    order: Order,
}

#[derive(Deserialize)]
enum PriorityType {
    Counter,
    List,
}

#[derive(Deserialize)]
enum Order {
    Ascending,
    Descending,
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; or nothing.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct LabelValue;

impl TryFrom<String> for LabelValue {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pattern = regex::Regex::new("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$").unwrap();
        let fits = text.len() <= 63 && pattern.is_match(&text);
        fits.then_some(Self)
            .ok_or(format!("{text:?} is no value of a label"))
    }
}
