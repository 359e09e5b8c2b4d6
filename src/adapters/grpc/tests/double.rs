//! A server with all six services, which answer what a test has told them to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::transport::ServerTlsConfig;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, async_trait};

use super::servers::authentication_server::{Authentication, AuthenticationServer};
use super::servers::discovery_action_server::{DiscoveryAction, DiscoveryActionServer};
use super::servers::discovery_server::{Discovery, DiscoveryServer};
use super::servers::localization_server::{Localization, LocalizationServer};
use super::servers::status_server::{self, StatusServer};
use super::servers::strategy_server::{Strategy, StrategyServer};
use crate::adapters::grpc::contract::*;

type Answers<Q, A> = Mutex<Box<dyn Fn(Q) -> Result<A, Status> + Send>>;

/// What the services answer, and what they have been asked.
pub(super) struct Double {
    pub(super) status: Answers<StatusRequest, StatusResponse>,
    pub(super) authentication: Answers<AuthenticationRequest, AuthenticationResponse>,
    pub(super) discovery: Answers<TargetRequest, TargetsResponse>,
    pub(super) action: Answers<ApplyRequest, ApplyResponse>,
    pub(super) strategy: Answers<SelectRequest, SelectResponse>,
    pub(super) localization: Answers<LocalizationRequest, LocalizationResponse>,
    /// How long every answer takes.
    pub(super) delay: Mutex<Duration>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    metadata: Vec<MetadataMap>,
    clients: BTreeSet<SocketAddr>,
}

impl Double {
    /// How many questions have come.
    pub(super) fn asked(&self) -> usize {
        self.seen.lock().unwrap().metadata.len()
    }

    /// What came with the last question.
    pub(super) fn metadata(&self, key: &str) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        let value = seen.metadata.last()?.get(key)?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// How many connections they came over.
    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().clients.len()
    }

    async fn answer<Q, A>(
        &self,
        request: Request<Q>,
        answers: &Answers<Q, A>,
    ) -> Result<Response<A>, Status> {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.clients.extend(request.remote_addr());
            seen.metadata.push(request.metadata().clone());
        }
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        answers.lock().unwrap()(request.into_inner()).map(Response::new)
    }
}

impl Default for Double {
    fn default() -> Self {
        fn none<Q, A>() -> Answers<Q, A> {
            Mutex::new(Box::new(|_| {
                Err(Status::unimplemented("the test expects no such question"))
            }))
        }
        Self {
            status: none(),
            authentication: none(),
            discovery: none(),
            action: none(),
            strategy: none(),
            localization: none(),
            delay: Mutex::default(),
            seen: Mutex::default(),
        }
    }
}

/// A running server, which ends with its handle, at once, with all of its connections.
pub(crate) struct Server {
    pub(super) double: Arc<Double>,
    listener: SocketAddr,
    scheme: &'static str,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::start_with(Arc::default(), SocketAddr::from(([127, 0, 0, 1], 0)), None)
    }

    pub(super) fn start_tls(tls: ServerTlsConfig) -> Self {
        Self::start_with(Arc::default(), SocketAddr::from(([127, 0, 0, 1], 0)), Some(tls))
    }

    /// A network of three lobbies, for tests of whoever asks: the action takes the first one away, the
    /// strategy chooses the last one, and every message reads "So it is: KEY".
    pub(crate) fn with_three_lobbies() -> Self {
        let server = Self::start();
        let double = &server.double;
        *double.discovery.lock().unwrap() = Box::new(|_| {
            let targets = ["lobby-1", "lobby-2", "lobby-3"].map(|name| Target {
                identifier: name.into(),
                address: Some(Address {
                    hostname: format!("{name}.example.net"),
                    port: 25_565,
                }),
                ..Target::default()
            });
            Ok(TargetsResponse {
                targets: targets.into(),
            })
        });
        *double.action.lock().unwrap() = Box::new(|mut question| {
            question.targets.remove(0);
            let targets = Targets {
                targets: question.targets,
            };
            Ok(ApplyResponse {
                reason: Some(apply_response::Reason::Targets(targets)),
            })
        });
        *double.strategy.lock().unwrap() = Box::new(|mut question| {
            Ok(SelectResponse {
                target: question.targets.pop(),
            })
        });
        *double.localization.lock().unwrap() = Box::new(|question| {
            Ok(LocalizationResponse {
                message: format!("{{\"text\":\"So it is: {}\"}}", question.key),
            })
        });
        server
    }

    /// Starts again at the same address, with the same answers.
    pub(super) fn restart(double: Arc<Double>, listener: SocketAddr) -> Self {
        Self::start_with(double, listener, None)
    }

    fn start_with(double: Arc<Double>, at: SocketAddr, tls: Option<ServerTlsConfig>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let services = Arc::clone(&double);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let incoming = TcpIncoming::bind(at).unwrap();
                ready.send(incoming.local_addr().unwrap()).unwrap();
                tokio::select! {
                    ended = serve(services, incoming, tls) => panic!("the server ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
            // The runtime takes the connections with it.
        });
        let listener = listening.recv().unwrap();
        Self {
            double,
            listener,
            scheme,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(super) fn listener(&self) -> SocketAddr {
        self.listener
    }

    pub(crate) fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.listener)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

async fn serve(
    double: Arc<Double>,
    incoming: TcpIncoming,
    tls: Option<ServerTlsConfig>,
) -> Result<(), tonic::transport::Error> {
    let mut server = tonic::transport::Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    server
        .add_service(StatusServer::from_arc(Arc::clone(&double)))
        .add_service(AuthenticationServer::from_arc(Arc::clone(&double)))
        .add_service(DiscoveryServer::from_arc(Arc::clone(&double)))
        .add_service(DiscoveryActionServer::from_arc(Arc::clone(&double)))
        .add_service(StrategyServer::from_arc(Arc::clone(&double)))
        .add_service(LocalizationServer::from_arc(double))
        .serve_with_incoming(incoming)
        .await
}

#[async_trait]
impl status_server::Status for Double {
    async fn get_status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.answer(request, &self.status).await
    }
}

#[async_trait]
impl Authentication for Double {
    async fn authenticate(
        &self,
        request: Request<AuthenticationRequest>,
    ) -> Result<Response<AuthenticationResponse>, Status> {
        self.answer(request, &self.authentication).await
    }
}

#[async_trait]
impl Discovery for Double {
    async fn get_targets(
        &self,
        request: Request<TargetRequest>,
    ) -> Result<Response<TargetsResponse>, Status> {
        self.answer(request, &self.discovery).await
    }
}

#[async_trait]
impl DiscoveryAction for Double {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        self.answer(request, &self.action).await
    }
}

#[async_trait]
impl Strategy for Double {
    async fn select_target(
        &self,
        request: Request<SelectRequest>,
    ) -> Result<Response<SelectResponse>, Status> {
        self.answer(request, &self.strategy).await
    }
}

#[async_trait]
impl Localization for Double {
    async fn localize(
        &self,
        request: Request<LocalizationRequest>,
    ) -> Result<Response<LocalizationResponse>, Status> {
        self.answer(request, &self.localization).await
    }
}
