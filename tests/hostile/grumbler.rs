//! A gRPC service that refuses everything and quotes what it is told.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// The services of the contract.
const NAMES: [&str; 6] = [
    "scrayosnet.passage.adapter.Status",
    "scrayosnet.passage.adapter.Authentication",
    "scrayosnet.passage.adapter.Discovery",
    "scrayosnet.passage.adapter.DiscoveryAction",
    "scrayosnet.passage.adapter.Strategy",
    "scrayosnet.passage.adapter.Localization",
];

/// Paths of questions, and the `authorization` that came with them.
type Told = Arc<Mutex<Vec<(String, String)>>>;

/// All six services. They end with the process of the test.
pub(crate) struct Grumbler {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    told: Told,
}

impl Grumbler {
    pub(crate) fn start() -> Self {
        let told = Told::default();
        let (ready, listening) = std::sync::mpsc::channel();
        let services = Arc::clone(&told);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                ready.send(incoming.local_addr().unwrap()).unwrap();
                serve(services, incoming).await.unwrap();
            });
        });
        Self {
            address: listening.recv().unwrap(),
            told,
        }
    }

    /// Whether a question to the service of this name came with this secret.
    pub(crate) fn was_told(&self, service: &str, secret: &str) -> bool {
        let told = self.told.lock().unwrap();
        let path = format!("/scrayosnet.passage.adapter.{service}/");
        told.iter()
            .any(|(asked, with)| asked.starts_with(&path) && with.contains(secret))
    }
}

async fn serve(told: Told, incoming: TcpIncoming) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .add_service(Service::<0>(Arc::clone(&told)))
        .add_service(Service::<1>(Arc::clone(&told)))
        .add_service(Service::<2>(Arc::clone(&told)))
        .add_service(Service::<3>(Arc::clone(&told)))
        .add_service(Service::<4>(Arc::clone(&told)))
        .add_service(Service::<5>(told))
        .serve_with_incoming(incoming)
        .await
}

/// The service at this place among [`NAMES`].
#[derive(Clone)]
struct Service<const AT: usize>(Told);

impl<const AT: usize> NamedService for Service<AT> {
    const NAME: &'static str = NAMES[AT];
}

impl<const AT: usize> tower::Service<Request<Body>> for Service<AT> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let with = request.headers().get("authorization");
        let with = with.map_or("nothing", |value| value.to_str().unwrap()).to_owned();
        let answer = Status::permission_denied(format!("no: authorization: {with}"));
        let path = request.uri().path().to_owned();
        self.0.lock().unwrap().push((path, with));
        ready(Ok(answer.into_http()))
    }
}
