//! The API server: how it is found, as whom it is asked, and what its answers mean.
//!
//! The client is put together here and not by `kube`'s own builder, which would repeat requests by itself,
//! read answers of any length, and write a log line for each failure.

use std::env;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use passage_proto::question::AskError;
use tokio::sync::Mutex;
use tower::util::{MapErrLayer, MapResponseLayer, option_layer};
use tower::{BoxError, Layer as _};

use super::allocation::{self, Allocation, shown};
use super::refusal::{chain, failure, refused};
use crate::adapters::call::Failure;
use crate::config;

/// Longest answer that is read. Annotations of one object may have 256 KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";
const SERVICE_PORT: &str = "KUBERNETES_SERVICE_PORT";

/// The way to the API server, found with the first question.
pub(super) struct Access {
    cluster: config::agones::Cluster,
    namespace: Option<String>,
    port: Option<String>,
    connections: usize,
    /// `None` before the first question, and after credentials were refused: perhaps there are new ones.
    server: Mutex<Option<Arc<Server>>>,
}

/// A found API server.
struct Server {
    client: Client,
    namespace: String,
}

impl Access {
    pub(super) fn new(settings: &config::Agones) -> Self {
        Self {
            cluster: settings.cluster.clone(),
            namespace: settings.namespace.clone(),
            port: settings.port.clone(),
            connections: settings.remote.concurrency,
            server: Mutex::default(),
        }
    }

    /// Creates an allocation: one attempt. Has to run on a tokio runtime.
    ///
    /// # Errors
    ///
    /// What went wrong; as passing only what certainly allocated nothing.
    pub(super) async fn allocate(&self, request: &str) -> Result<Allocation, Failure> {
        let server = self.server().await?;
        let path = format!(
            "/apis/allocation.agones.dev/v1/namespaces/{}/gameserverallocations",
            server.namespace
        );
        let body = self.post(&server, path, request.to_owned()).await?;
        allocation::answer(&body, self.port.as_deref())
            .map_err(|problem| Failure::lasting(AskError::Failed, problem))
    }

    /// Asks whether an allocation would be allowed (`SelfSubjectAccessReview`), which allocates nothing.
    ///
    /// # Errors
    ///
    /// That it is not, or what went wrong.
    pub(super) async fn may_allocate(&self) -> Result<(), Failure> {
        let server = self.server().await?;
        let review = serde_json::json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "group": "allocation.agones.dev",
                "resource": "gameserverallocations",
                "namespace": server.namespace,
                "verb": "create",
            } },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let body = self.post(&server, path, review.to_string()).await?;
        let answer: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| Failure::lasting(AskError::Failed, error))?;
        match answer.pointer("/status/allowed") {
            Some(serde_json::Value::Bool(true)) => Ok(()),
            _ => Err(refused(
                StatusCode::FORBIDDEN,
                &HeaderMap::new(),
                &[],
                &server.namespace,
            )),
        }
    }

    /// Sends a request, and reads the answer to one that was accepted.
    async fn post(&self, server: &Arc<Server>, path: String, body: String) -> Result<Vec<u8>, Failure> {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Body::from(body.into_bytes()))
            .map_err(|error| Failure::lasting(AskError::Failed, error))?;
        let answer = server.client.send(request).await;
        let (head, body) = answer.map_err(|error| failure(&error))?.into_parts();
        let body = body.collect().await;
        let body = body
            .map_err(|error| Failure::lasting(AskError::Failed, chain(&error)))?
            .to_bytes();
        if head.status.is_success() {
            return Ok(body.to_vec());
        }
        if head.status == StatusCode::UNAUTHORIZED {
            self.forget(server).await;
        }
        Err(refused(head.status, &head.headers, &body, &server.namespace))
    }

    async fn server(&self) -> Result<Arc<Server>, Failure> {
        let mut server = self.server.lock().await;
        if let Some(server) = &*server {
            return Ok(Arc::clone(server));
        }
        let found = Arc::new(self.find().await.map_err(|error| no_way(&*error))?);
        *server = Some(Arc::clone(&found));
        Ok(found)
    }

    async fn find(&self) -> Result<Server, BoxError> {
        let config = self.configuration().await?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let connections = self.connections;
        // A kubeconfig may name files, and a program that says the credentials.
        let client = tokio::task::spawn_blocking(move || client(config, connections)).await??;
        Ok(Server { client, namespace })
    }

    /// Finds the API server and the credentials.
    async fn configuration(&self) -> Result<Config, BoxError> {
        let cluster = self.cluster.clone();
        // Files are read on a thread that is there to be blocked.
        let found = tokio::task::spawn_blocking(move || find(&cluster, |name| env::var(name).ok())).await??;
        let config = match found {
            Found::ServiceAccount(config) => *config,
            Found::Kubeconfig(file) => {
                let options = KubeConfigOptions {
                    context: self.cluster.context.clone(),
                    ..KubeConfigOptions::default()
                };
                Config::from_custom_kubeconfig(*file, &options).await?
            }
        };
        match &config.proxy_url {
            Some(_) => Err("the kubeconfig or HTTPS_PROXY names a proxy, which is not supported".into()),
            None => Ok(config),
        }
    }

    /// Has the next question look for credentials again, unless another one did already.
    async fn forget(&self, refused: &Arc<Server>) {
        let mut server = self.server.lock().await;
        if server.as_ref().is_some_and(|server| Arc::ptr_eq(server, refused)) {
            *server = None;
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("cluster", &self.cluster)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Found {
    ServiceAccount(Box<Config>),
    Kubeconfig(Box<Kubeconfig>),
}

/// A kubeconfig that is named; else the pod's service account; else the user's own kubeconfig.
fn find(
    cluster: &config::agones::Cluster,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Found, BoxError> {
    if let Some(path) = &cluster.kubeconfig {
        return Ok(Found::Kubeconfig(Box::new(Kubeconfig::read_from(path)?)));
    }
    match (variable(SERVICE_HOST), variable(SERVICE_PORT)) {
        (Some(host), Some(port)) if cluster.context.is_none() => {
            let config = service_account(&cluster.service_account, &host, &port)?;
            Ok(Found::ServiceAccount(Box::new(config)))
        }
        _ => {
            let file = Kubeconfig::read().map_err(|error| {
                format!("{error}; {SERVICE_HOST} and {SERVICE_PORT}, which every pod has, are not set either")
            })?;
            Ok(Found::Kubeconfig(Box::new(file)))
        }
    }
}

/// What Kubernetes gives to every pod. The token and the authority are read again every minute.
fn service_account(folder: &Path, host: &str, port: &str) -> Result<Config, BoxError> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let server: Uri = format!("https://{host}:{port}")
        .parse()
        .map_err(|error| format!("{SERVICE_HOST} and {SERVICE_PORT} ({host}, {port}): {error}"))?;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    read("token")?;
    read("ca.crt")?;
    let mut config = Config::new(server);
    config.auth_info.token_file = Some(folder.join("token").display().to_string());
    config.root_cert_file = Some(folder.join("ca.crt"));
    if let Ok(namespace) = read("namespace") {
        config.default_namespace = namespace.trim().to_owned();
    }
    Ok(config)
}

fn client(config: Config, connections: usize) -> Result<Client, BoxError> {
    // What `kube` builds its TLS on; if there is one already, it is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .pool_max_idle_per_host(connections)
        .build(connector);
    let service = config.extra_headers_layer()?.layer(http);
    let service = MapErrLayer::new(BoxError::from).layer(service);
    let service = option_layer(config.auth_layer()?).layer(service);
    let service = config.base_uri_layer().layer(service);
    let bounded = |response: Response<_>| response.map(|body| Limited::new(body, ANSWER_BYTES_MAX));
    let service = MapResponseLayer::new(bounded).layer(service);
    Ok(Client::new(service, config.default_namespace))
}

fn no_way(error: &(dyn std::error::Error + 'static)) -> Failure {
    let problem = format!("no way to the Kubernetes API: {}", shown(&chain(error)));
    Failure::lasting(AskError::Unreachable, problem)
}

#[cfg(test)]
mod tests;
