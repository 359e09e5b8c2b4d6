//! New connections: admitted or turned away at once, without waiting for anything.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use passage_proto::session::ProxyExpectation;

use crate::admission::{Seat, Shed};
use crate::connection;
use crate::engine::{Accept, EngineError, Listening};
use crate::limits::SOCKETS_PER_CONNECTION;
use crate::metrics::Meter;
use crate::outcome::{self, Outcome};
use crate::pool::Listeners;
use crate::shard::{Gate, Shard, Throttle};

/// Connections that are given up where an accept finds no descriptor left. After it the listener pauses for
/// 10 ms or more.
const GIVEN_UP_PER_PAUSE: usize = 64;

/// Accepts connections on every listener.
///
/// # Errors
///
/// [`EngineError::Full`] if the engine has no room for them; none of them listens then.
pub(crate) fn listen(shard: &Rc<Shard>, listeners: Listeners) -> Result<Vec<Listening>, EngineError> {
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
                if is_out_of_files(&error) {
                    self.make_room();
                }
                if let Some(withheld) = self.warnings.pass(self.shard.engine.now()) {
                    tracing::warn!(target: "passage::accept", %error, withheld, "Accepting pauses");
                }
            }
            Accept::Fatal(error) => self.shard.fail(format!("a listener failed: {error}")),
        }
    }

    /// Gives up some connections, so that there are descriptors when the listener goes on.
    fn make_room(&self) {
        let admission = &self.shard.admission;
        for _ in 0..GIVEN_UP_PER_PAUSE {
            if !self.shard.make_room(&admission.newcomers) {
                return;
            }
        }
    }
}

/// Whether the process, or the machine, has no descriptors left.
fn is_out_of_files(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn take(shard: &Rc<Shard>, socket: OwnedFd) {
    // Fails if the client has reset the connection already: then there is nothing to serve.
    let Ok(peer) = shard.engine.peer_of(&socket) else {
        return;
    };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    match admit(shard, peer) {
        Ok((seat, proxy)) => connection::spawn(shard, shard.engine.adopt(socket), peer, seat, proxy),
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
    let mut seat = shard
        .admission
        .seat()
        .or_else(|shed| {
            if shard.make_room(&shard.admission.newcomers) {
                shard.admission.seat()
            } else {
                Err(shed)
            }
        })
        .map_err(Outcome::Shed)?;
    if proxy == ProxyExpectation::Direct {
        seat.identify(peer.ip(), shard.engine.now())
            .map_err(Outcome::Shed)?;
    }
    Ok((seat, proxy))
}
