//! What becomes of players, whatever the API server says.

mod api_server;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use passage_proto::question::{ClientInfo, Player};
use passage_proto::text::keys;
use passage_shards::trace::TraceParent;
use serde_json::{Value, json};
use uuid::Uuid;

use self::api_server::{ApiServer, Reply};
use super::*;
use crate::config::agones::{Backoff, Cluster, Metadata, Scheduling, Selector, Template};

const EVENTUALLY: Duration = Duration::from_secs(60);

/// A player, from an address that is no value of a label.
pub(super) fn query() -> ChooseQuery {
    ChooseQuery {
        client: ClientInfo {
            address: "[2001:db8::7]:50000".parse().unwrap(),
            hostname: "play.example.net".into(),
            port: 25_565,
            protocol: 767,
        },
        player: Some(Player {
            name: "Notch".into(),
            id: Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        }),
    }
}

pub(super) fn settings() -> config::Agones {
    config::Agones {
        cluster: Cluster {
            kubeconfig: None,
            context: None,
            service_account: "/nonexistent".into(),
        },
        namespace: Some("games".into()),
        selectors: vec![Selector {
            match_labels: [("agones.dev/fleet".to_owned(), Template::parse("lobby").unwrap())].into(),
            ..Selector::default()
        }],
        priorities: Vec::new(),
        scheduling: Scheduling::Packed,
        metadata: Metadata {
            labels: [(
                "client".to_owned(),
                Template::parse("{{ .Client.Address }}").unwrap(),
            )]
            .into(),
            annotations: [(
                "trace".to_owned(),
                Template::parse("{{ .Request.TraceId }}").unwrap(),
            )]
            .into(),
        },
        port: None,
        backoff: Backoff {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(10),
            max_attempts: 4,
            factor: 2.0,
            jitter: Duration::ZERO,
        },
        remote: config::Remote {
            timeout: EVENTUALLY,
            breaker_failures: 0,
            ..config::Remote::default()
        },
    }
}

/// A kubeconfig with two contexts, of which the current one leads nowhere.
pub(super) fn write_kubeconfig(path: &Path, address: SocketAddr, token: &str) {
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "nowhere",
        "clusters": [
            {"name": "here", "cluster": {"server": format!("http://{address}")}},
            {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "passage", "user": {"token": token}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "here", "user": "passage", "namespace": "of-context"}},
            {"name": "nowhere", "context": {"cluster": "nowhere", "user": "passage"}},
        ],
    });
    // YAML takes JSON as it is.
    std::fs::write(path, text.to_string()).unwrap();
}

/// An adapter that asks `server`, and the folder with its kubeconfig.
fn agones(server: &ApiServer, change: impl FnOnce(&mut config::Agones)) -> (Agones, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    write_kubeconfig(&path, server.address, "t0ken");
    let mut settings = settings();
    settings.cluster.kubeconfig = Some(path);
    settings.cluster.context = Some("here".into());
    change(&mut settings);
    (Agones::new(settings), folder)
}

fn call() -> Call {
    Call {
        deadline: Instant::now() + EVENTUALLY,
        trace: TraceParent::parse("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"),
    }
}

/// Who a player is sent to, or why to nobody.
async fn discover(agones: &Agones) -> Result<Vec<String>, AskError> {
    let targets = agones.discover(&query(), call()).await;
    targets
        .map(|targets| targets.iter().map(|target| target.identifier.clone()).collect())
        .map_err(|refusal| refusal.cause)
}

fn allocated(name: &str) -> Value {
    json!({
        "state": "Allocated",
        "gameServerName": name,
        "address": "10.0.0.7",
        "ports": [{"name": "game", "port": 7_001}, {"name": "query", "port": 7_002}],
        "nodeName": "node-1",
        "source": "local",
        "metadata": {"labels": {"agones.dev/fleet": "lobby"}, "annotations": {"map": "garden"}},
        "counters": {"players": {"count": 3, "capacity": 20}},
        "lists": {"games": {"capacity": 5, "values": ["a", "b"]}},
    })
}

fn state(state: &str) -> Reply {
    Reply::Created(json!({"state": state, "gameServerName": "", "source": ""}))
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn gives_each_player_a_game_server() {
    run(async {
        let server = ApiServer::start([Reply::Created(allocated("lobby-1"))]).await;
        let (agones, _folder) = agones(&server, |_| {});
        let targets = agones.discover(&query(), call()).await.unwrap();
        let [target] = targets.as_slice() else {
            panic!("{targets:?}")
        };
        assert_eq!(
            (target.identifier.as_str(), target.host.as_str(), target.port),
            ("lobby-1", "10.0.0.7", 7_001)
        );
        let meta: Vec<_> = target
            .meta
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            meta,
            [
                "agones.dev/fleet=lobby",
                "games=a,b",
                "map=garden",
                "players=3",
                "state=Allocated"
            ]
        );
        let asked = server.asked().remove(0);
        assert_eq!(
            asked.path,
            "POST /apis/allocation.agones.dev/v1/namespaces/games/gameserverallocations"
        );
        assert_eq!(asked.authorization, "Bearer t0ken");
        let metadata = json!({
            "labels": {"client": "2001-db8--7"},
            "annotations": {"trace": "0123456789abcdef0123456789abcdef"},
        });
        assert_eq!(asked.allocation["spec"]["metadata"], metadata);
    });
}

#[test]
fn the_context_names_the_namespace_and_the_configuration_the_port() {
    run(async {
        let server = ApiServer::start([Reply::Created(allocated("lobby-1"))]).await;
        let (agones, _folder) = agones(&server, |settings| {
            settings.namespace = None;
            settings.port = Some("query".into());
        });
        let targets = agones.discover(&query(), call()).await.unwrap();
        assert_eq!(targets[0].port, 7_002);
        assert!(server.asked()[0].path.contains("/namespaces/of-context/"));
    });
}

#[test]
fn tries_again_while_no_game_server_is_free() {
    run(async {
        let replies = [
            state("UnAllocated"),
            state("Contention"),
            state("UnAllocated"),
            Reply::Created(allocated("lobby-2")),
        ];
        let server = ApiServer::start(replies).await;
        let (agones, _folder) = agones(&server, |_| {});
        assert_eq!(discover(&agones).await, Ok(vec!["lobby-2".to_owned()]));
        assert_eq!(server.asked().len(), 4);
    });
}

#[test]
fn gives_up_in_the_end_and_that_is_no_failure() {
    run(async {
        let server = ApiServer::start([state("UnAllocated")]).await;
        let (few, _folder) = agones(&server, |_| {});
        assert_eq!(discover(&few).await, Ok(Vec::new()));
        assert_eq!(server.asked().len(), 4, "as many attempts as are allowed");
        let (hasty, _folder) = agones(&server, |settings| {
            settings.remote.timeout = Duration::from_secs(10);
            settings.backoff.initial = Duration::from_secs(20);
        });
        // The pause would end after the deadline: the player is told at once.
        assert_eq!(discover(&hasty).await, Ok(Vec::new()));
        assert_eq!(server.asked().len(), 5);
    });
}

#[test]
fn repeats_what_certainly_allocated_nothing() {
    run(async {
        let busy = Reply::Refused(429, "retry-after: 0\r\n");
        let server = ApiServer::start([busy.clone(), Reply::Created(allocated("lobby-3"))]).await;
        let (agones, _folder) = agones(&server, |_| {});
        assert_eq!(discover(&agones).await, Ok(vec!["lobby-3".to_owned()]));
        assert_eq!(server.asked().len(), 2);
    });
}

#[test]
fn repeats_nothing_that_may_have_allocated_something() {
    run(async {
        for (reply, cause) in [
            (Reply::Refused(500, ""), AskError::Failed),
            (Reply::Refused(503, ""), AskError::Failed),
            (Reply::Refused(409, ""), AskError::Failed),
            (Reply::Refused(403, ""), AskError::Failed),
            (Reply::Refused(404, ""), AskError::Failed),
            (
                Reply::Refused(301, "location: http://127.0.0.1:1/\r\n"),
                AskError::Failed,
            ),
            (Reply::Hangup, AskError::Failed),
            (Reply::Bytes(b"<html>".to_vec()), AskError::Failed),
            (Reply::Bytes(b"{}".to_vec()), AskError::Failed),
            (Reply::Bytes(vec![b' '; 2 * 1024 * 1024]), AskError::Failed),
            (state("Lost"), AskError::Failed),
        ] {
            let server = ApiServer::start([reply.clone()]).await;
            let (agones, _folder) = agones(&server, |_| {});
            assert_eq!(discover(&agones).await, Err(cause), "{reply:?}");
            assert_eq!(server.asked().len(), 1, "{reply:?}");
        }
    });
}

#[test]
fn ends_at_the_deadline() {
    run(async {
        let server = ApiServer::start([Reply::Silence]).await;
        let (agones, _folder) = agones(&server, |settings| {
            settings.remote.timeout = Duration::from_millis(300);
        });
        assert_eq!(discover(&agones).await, Err(AskError::TimedOut));
    });
}

#[test]
fn nobody_listens() {
    run(async {
        let server = ApiServer::start([Reply::Silence]).await;
        let (agones, _folder) = agones(&server, |settings| {
            // The current context.
            settings.cluster.context = None;
        });
        assert_eq!(discover(&agones).await, Err(AskError::Unreachable));
        assert!(server.asked().is_empty());
    });
}

#[test]
fn reads_credentials_again_after_they_were_refused() {
    run(async {
        let server = ApiServer::start([Reply::Refused(401, ""), Reply::Created(allocated("lobby-4"))]).await;
        let (agones, folder) = agones(&server, |_| {});
        assert_eq!(discover(&agones).await, Err(AskError::Failed));
        write_kubeconfig(&folder.path().join("kubeconfig"), server.address, "renewed");
        assert_eq!(discover(&agones).await, Ok(vec!["lobby-4".to_owned()]));
        let tokens: Vec<_> = server
            .asked()
            .into_iter()
            .map(|asked| asked.authorization)
            .collect();
        assert_eq!(tokens, ["Bearer t0ken", "Bearer renewed"]);
    });
}

#[test]
fn finds_its_kubeconfig_as_soon_as_there_is_one() {
    run(async {
        let server = ApiServer::start([Reply::Created(allocated("lobby-5"))]).await;
        let (agones, folder) = agones(&server, |_| {});
        let path = folder.path().join("kubeconfig");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(discover(&agones).await, Err(AskError::Unreachable));
        std::fs::write(&path, "{ this is no kubeconfig").unwrap();
        assert_eq!(discover(&agones).await, Err(AskError::Unreachable));
        write_kubeconfig(&path, server.address, "t0ken");
        assert_eq!(discover(&agones).await, Ok(vec!["lobby-5".to_owned()]));
    });
}

#[test]
fn gives_nothing_to_a_ping() {
    run(async {
        let server = ApiServer::start([Reply::Created(allocated("lobby-6"))]).await;
        let (agones, _folder) = agones(&server, |_| {});
        let ping = ChooseQuery {
            player: None,
            ..query()
        };
        let refusal = agones.discover(&ping, call()).await.unwrap_err();
        assert_eq!(
            (refusal.cause, refusal.message.key.as_ref()),
            (AskError::Denied, keys::DISCONNECT_NO_TARGET)
        );
        assert!(server.asked().is_empty());
    });
}
