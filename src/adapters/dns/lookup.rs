//! Questions to the resolver, and what their answers mean.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use passage_proto::question::AskError;

use super::records::{Found, targets};
use crate::adapters::call::Failure;
use crate::config::{self, DnsRecords};

/// Asks one name's questions.
pub(super) struct Lookups {
    settings: config::Dns,
    /// Made with the first question, and once more after one of the system's resolver has failed: perhaps
    /// the system has got another one.
    resolver: Mutex<Option<Arc<TokioResolver>>>,
}

impl Lookups {
    pub(super) fn new(settings: config::Dns) -> Self {
        Self {
            settings,
            resolver: Mutex::default(),
        }
    }

    /// The records of now, which may be none. Has to run on a tokio runtime.
    pub(super) async fn ask(&self) -> Result<Found, Failure> {
        let found = self.ask_for_all().await;
        if found.is_err() && self.settings.resolvers.is_empty() {
            *self.resolver.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        found.map_err(|error| failure(&error))
    }

    async fn ask_for_all(&self) -> Result<Found, NetError> {
        let resolver = self.resolver()?;
        let mut name = Name::from_ascii(&self.settings.domain)?;
        // In full: no search list makes another name of it.
        name.set_fqdn(true);
        let ask = async |is_wanted: bool, kind: RecordType| match is_wanted {
            true => records(&resolver, name.clone(), kind).await,
            false => Ok(Vec::new()),
        };
        let records = match self.settings.records {
            DnsRecords::Srv => ask(true, RecordType::SRV).await?,
            DnsRecords::Addresses { ipv4, ipv6, .. } => {
                let (mut first, second) =
                    tokio::try_join!(ask(ipv4, RecordType::A), ask(ipv6, RecordType::AAAA))?;
                first.extend(second);
                first
            }
        };
        Ok(targets(&self.settings, &records))
    }

    fn resolver(&self) -> Result<Arc<TokioResolver>, NetError> {
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = &*resolver {
            return Ok(Arc::clone(resolver));
        }
        let made = Arc::new(build(&self.settings)?);
        *resolver = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// The records of one type; none where the name has none or there is no such name.
async fn records(resolver: &TokioResolver, name: Name, kind: RecordType) -> Result<Vec<Record>, NetError> {
    match resolver.lookup(name, kind).await {
        Ok(lookup) => Ok(lookup.answers().to_vec()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn build(settings: &config::Dns) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = match settings.resolvers.as_slice() {
        [] => TokioResolver::builder(provider)?,
        named => TokioResolver::builder_with_config(only(named), provider),
    };
    let options = builder.options_mut();
    // Whoever asks for targets decides when to ask again, and how often after a failure.
    options.cache_size = 0;
    options.attempts = 0;
    options.timeout = settings.remote.timeout;
    options.use_hosts_file = ResolveHosts::Never;
    // A truncated answer is asked for over TCP in any case.
    options.try_tcp_on_error = true;
    builder.build()
}

fn only(resolvers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (address.port(), address.port());
        NameServerConfig::new(address.ip(), true, vec![udp, tcp])
    };
    ResolverConfig::from_parts(None, Vec::new(), resolvers.iter().map(server).collect())
}

fn failure(error: &NetError) -> Failure {
    let cause = match error {
        NetError::Timeout => AskError::TimedOut,
        NetError::Io(_) | NetError::NoConnections => AskError::Unreachable,
        _ => AskError::Failed,
    };
    Failure::passing(cause, error)
}
