//! Adapters against services in the same process: what they ask, and what they make of every answer.

mod answers;
mod contract;
pub(crate) mod double;
mod faults;
mod freshness;
#[rustfmt::skip]
#[path = "tests/gen.rs"]
#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "the code is generated; the `.proto` files say what it means"
)]
mod servers;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::identity::{Claim, SharedSecret};
use passage_proto::question::{
    AuthenticateQuery, ChooseQuery, ClientInfo, LocalizeQuery, Message, Player, Target,
};
use passage_shards::metrics::AdapterName;
use uuid::Uuid;

use self::double::Server;
use super::*;
use crate::config;
use crate::tls::Trust;

const PLAYER: Uuid = Uuid::from_u128(0x1111_1111_2222_4333_8444_5555_5555_5555);

/// Long enough for any machine, where a test wants an answer.
const PATIENCE: Duration = Duration::from_secs(60);

fn call() -> Call {
    call_for(PATIENCE)
}

fn call_for(patience: Duration) -> Call {
    Call {
        deadline: Instant::now() + patience,
        trace: None,
    }
}

/// One attempt, and no breaker that gets in the way.
fn policy() -> Policy {
    Policy {
        timeout: PATIENCE,
        concurrency: 64,
        retries: 0,
        breaker_failures: 0,
        breaker_pause: Duration::from_secs(1),
    }
}

/// Where a service is, without anything besides.
fn settings(address: String) -> config::Service {
    config::Service {
        address,
        token: None,
        server_name: None,
        identity: None,
        remote: config::Remote::default(),
    }
}

fn connect(settings: &config::Service) -> Arc<Connection> {
    Connections::default().to(settings, &Trust::default()).unwrap()
}

fn service(server: &Server, name: AdapterName) -> Service {
    Service::new(name, connect(&settings(server.address())), policy())
}

fn client() -> ClientInfo {
    ClientInfo {
        address: SocketAddr::from(([203, 0, 113, 7], 50_000)),
        hostname: "play.example.net".into(),
        port: 25_565,
        protocol: 774,
    }
}

fn choose() -> ChooseQuery {
    ChooseQuery {
        client: client(),
        player: Some(Player {
            name: "Alice".into(),
            id: PLAYER,
        }),
    }
}

fn authenticate() -> AuthenticateQuery {
    AuthenticateQuery {
        claim: Claim {
            name: "Alice".into(),
            id: PLAYER,
        },
        client: client(),
        shared_secret: Some(SharedSecret::new([7; 16])),
        public_key: [1, 2, 3].into(),
    }
}

fn localize(key: &'static str) -> LocalizeQuery {
    LocalizeQuery {
        locale: Some("de_DE".into()),
        message: Message {
            key: key.into(),
            params: vec![("version", "1.20.5".into())],
        },
    }
}

fn target(identifier: &str) -> Arc<Target> {
    Arc::new(Target {
        identifier: identifier.into(),
        host: "10.0.0.1".into(),
        port: 25_566,
        priority: 3,
        meta: [("players".to_owned(), "12".to_owned())].into(),
    })
}
