//! Services over TLS, whose certificates an authority of our own has issued.

use passage_proto::question::AskError;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::*;
use crate::adapters::DiscoveryService as _;
use crate::adapters::grpc::contract::TargetsResponse;
use crate::tls::ClientIdentity;
use crate::tls::authority::Authority;

/// A service that shows a certificate for this name, and wants one from `clients`, if there are any.
fn serve(authority: &Authority, name: &str, clients: Option<&Authority>) -> Server {
    let (certificate, key) = authority.issue(name);
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if let Some(clients) = clients {
        tls = tls.client_ca_root(Certificate::from_pem(clients.pem()));
    }
    let server = Server::start_tls(tls);
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    server
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
    let server = serve(&authority, "127.0.0.1", None);
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

#[tokio::test]
async fn a_certificate_for_another_name_is_taken_if_that_name_is_expected() {
    let authority = Authority::new();
    let server = serve(&authority, "lobbies.internal", None);
    let by_address = settings(server.address());
    let by_name = |name: &str| config::Service {
        server_name: Some(name.into()),
        ..by_address.clone()
    };
    let trust = authority.trust();
    assert_eq!(ask(&by_address, &trust).await, Err(AskError::Unreachable));
    assert_eq!(ask(&by_name("lobbies.internal"), &trust).await, Ok(()));
    assert_eq!(
        ask(&by_name("other.internal"), &trust).await,
        Err(AskError::Unreachable)
    );
}

#[tokio::test]
async fn a_service_that_wants_a_certificate_gets_the_configured_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority, "127.0.0.1", Some(&clients));
    let folder = tempfile::tempdir().unwrap();
    let identity = |issuer: &Authority| {
        let (certificate, key) = issuer.issue("passage");
        let (certificate_file, key_file) = (folder.path().join("certificate"), folder.path().join("key"));
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key).unwrap();
        Some(ClientIdentity::read(&certificate_file, &key_file).unwrap())
    };
    let with = |identity| config::Service {
        identity,
        ..settings(server.address())
    };
    let trust = authority.trust();
    assert_eq!(ask(&with(identity(&clients)), &trust).await, Ok(()));
    assert_eq!(
        ask(&with(identity(&authority)), &trust).await,
        Err(AskError::Unreachable)
    );
    assert_eq!(ask(&with(None), &trust).await, Err(AskError::Unreachable));
}
