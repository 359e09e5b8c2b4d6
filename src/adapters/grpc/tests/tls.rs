//! Services over TLS, whose certificates an authority of our own has issued.

use passage_proto::question::AskError;
use tonic::transport::{Identity, ServerTlsConfig};

use super::*;
use crate::adapters::DiscoveryService as _;
use crate::adapters::grpc::contract::TargetsResponse;
use crate::tls::authority::Authority;

/// A service whose certificate is for this name.
fn serve(authority: &Authority, name: &str) -> (Server, ServerTlsConfig) {
    let (certificate, key) = authority.issue(name);
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let server = Server::start_tls(tls.clone());
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    (server, tls)
}

async fn ask(settings: &config::Service, trust: &Trust) -> Result<(), AskError> {
    let connection = Connections::default().to(settings, trust).unwrap();
    let service = Service::new(AdapterName::Discovery, connection, policy());
    let answer = service.discover(&choose(), call()).await;
    answer.map(drop).map_err(|refusal| refusal.cause)
}

#[tokio::test]
async fn a_service_is_trusted_if_its_authority_is() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, "127.0.0.1");
    let settings = settings(server.address());
    assert_eq!(ask(&settings, &authority.trust()).await, Ok(()));
    assert_eq!(
        ask(&settings, &Trust::default()).await,
        Err(AskError::Unreachable)
    );
    assert_eq!(
        ask(&settings, &Authority::new().trust()).await,
        Err(AskError::Unreachable)
    );
}
