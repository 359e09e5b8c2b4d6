//! New connections: admitted or turned away at once, without waiting for anything.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use passage_proto::session::ProxyExpectation;

use crate::admission::{Seat, Shed};
use crate::connection;
use crate::engine::{Accept, Listening};
use crate::limits::SOCKETS_PER_CONNECTION;
use crate::metrics::Meter;
use crate::outcome::{self, Outcome};
use crate::pool::Listeners;
use crate::shard::{Gate, Shard, Throttle};

/// Accepts connections on every listener.
pub(crate) fn listen(shard: &Rc<Shard>, listeners: Listeners) -> Vec<Listening> {
    let listen = |listener| {
        let shard = Rc::clone(shard);
        let engine = shard.engine.clone();
        let acceptor = Acceptor {
            shard,
            warnings: Throttle::default(),
        };
        engine.listen(listener, Box::new(move |event| acceptor.accept(event)))
    };
    listeners.into_iter().map(listen).collect()
}

struct Acceptor {
    shard: Rc<Shard>,
    warnings: Throttle,
}

impl Acceptor {
    fn accept(&self, event: Accept) {
        match event {
            Accept::Socket(socket) if self.shard.gate() == Gate::Open => take(&self.shard, socket),
            // It came between the order to drain and the end of the listener.
            Accept::Socket(_) => {}
            Accept::Transient(error) => {
                self.shard.count(Meter::accept_failed);
                if let Some(withheld) = self.warnings.pass(self.shard.engine.now()) {
                    tracing::warn!(target: "passage::accept", %error, withheld, "Accepting pauses");
                }
            }
            Accept::Fatal(error) => self.shard.fail(format!("a listener failed: {error}")),
        }
    }
}

fn take(shard: &Rc<Shard>, socket: OwnedFd) {
    let stream = TcpStream::from(socket);
    // Fails if the client has reset the connection already: then there is nothing to serve.
    let Ok(peer) = stream.peer_addr() else { return };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    match admit(shard, peer) {
        Ok((seat, proxy)) => connection::spawn(shard, shard.engine.adopt(stream.into()), peer, seat, proxy),
        Err(outcome) => outcome::turn_away(shard, peer.ip(), outcome),
    }
}

fn admit(shard: &Shard, peer: SocketAddr) -> Result<(Seat, ProxyExpectation), Outcome> {
    let proxy = shard
        .terms
        .proxy_expectation(peer.ip())
        .ok_or(Outcome::Untrusted)?;
    // Those that linger after their connection has ended count too.
    if shard.engine.open_sockets()
        >= shard
            .terms
            .limits
            .connections_per_shard
            .saturating_mul(SOCKETS_PER_CONNECTION)
    {
        return Err(Outcome::Shed(Shed::ShardFull));
    }
    let mut seat = shard.admission.seat().map_err(Outcome::Shed)?;
    if proxy == ProxyExpectation::Direct {
        seat.identify(peer.ip(), shard.engine.now())
            .map_err(Outcome::Shed)?;
    }
    Ok((seat, proxy))
}
