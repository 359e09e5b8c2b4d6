//! The listening sockets: one for every address and shard, all bound before any thread starts.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Listeners, StartError};

/// Sockets that listen.
pub(super) struct Bound {
    /// The addresses with their real ports, in the order that was asked for.
    pub(super) addresses: Vec<SocketAddr>,
    /// Every shard's sockets, one an address.
    pub(super) listeners: Vec<Listeners>,
}

/// Listens on every address, `shards` times each.
pub(super) fn listen(addresses: &[SocketAddr], shards: usize, backlog: u32) -> Result<Bound, StartError> {
    if addresses.is_empty() {
        return Err(StartError::NoAddress);
    }
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let mut bound = Bound {
        addresses: Vec::new(),
        listeners: (0..shards).map(|_| Vec::new()).collect(),
    };
    for &address in addresses {
        let error = |source| StartError::Address { address, source };
        bound
            .addresses
            .push(listen_on(address, &mut bound.listeners, backlog).map_err(error)?);
    }
    Ok(bound)
}

/// Adds a socket on `address` to every shard's.
///
/// `SO_REUSEPORT` would also let a second Passage of the same user in, which would silently get half of the
/// players. So a socket without it is bound first: that fails where anybody listens already, and holds the
/// port (a random one for port 0) until the shards' sockets are bound beside it, which `SO_REUSEADDR` allows
/// as long as none of them listens.
fn listen_on(address: SocketAddr, shards: &mut [Listeners], backlog: i32) -> io::Result<SocketAddr> {
    let exclusive = socket(address)?;
    exclusive.bind(&address.into())?;
    let resolved = exclusive
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::InvalidData)?;
    let sockets = shards
        .iter()
        .map(|_| shared(resolved))
        .collect::<io::Result<Vec<_>>>()?;
    drop(exclusive);
    for (socket, shard) in sockets.into_iter().zip(shards) {
        socket.listen(backlog)?;
        shard.push(socket.into());
    }
    Ok(resolved)
}

fn shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Or connections of a previous run that linger in TIME_WAIT would block the restart.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` can then be configured side by side.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn all_shards_share_the_port_that_was_resolved_first() {
        let bound = listen(&[LOOPBACK, LOOPBACK], 3, 16).unwrap();
        assert_ne!(bound.addresses[0], bound.addresses[1]);
        assert_eq!(bound.listeners.len(), 3);
        for listeners in &bound.listeners {
            let addresses: Vec<_> = listeners
                .iter()
                .map(|socket| socket.local_addr().unwrap())
                .collect();
            assert_eq!(addresses, bound.addresses);
        }
        assert!(TcpStream::connect(bound.addresses[0]).is_ok());
    }

    #[test]
    fn refuses_to_share_a_port_with_another_passage() {
        let first = listen(&[LOOPBACK], 2, 16).unwrap();
        let error = listen(&first.addresses, 2, 16).err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("cannot listen on {}: ", first.addresses[0])),
            "{error}"
        );
        assert!(
            error.contains("another process, perhaps another Passage, listens there"),
            "{error}"
        );
    }

    #[test]
    fn refuses_a_port_that_somebody_holds_exclusively() {
        let holder = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let error = listen(&[holder.local_addr().unwrap()], 1, 16).err().unwrap();
        assert!(
            matches!(error, StartError::Address { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
        );
    }

    #[test]
    fn a_port_is_free_again_at_once_although_connections_linger() {
        let first = listen(&[LOOPBACK], 1, 16).unwrap();
        let client = TcpStream::connect(first.addresses[0]).unwrap();
        let (server, _) = first.listeners[0][0].accept().unwrap();
        drop(server);
        drop(client);
        let addresses = first.addresses.clone();
        drop(first);
        assert!(listen(&addresses, 1, 16).is_ok());
    }

    #[test]
    fn both_families_can_have_the_same_port() {
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let both = |_| {
            let first = listen(&[v6], 1, 16).ok()?;
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, first.addresses[0].port()));
            Some(listen(&[v4], 1, 16).is_ok())
        };
        // Somebody else may have the port that is free for one family, but not each time.
        let mut tries = (0..20).map_while(both).peekable();
        assert!(tries.peek().is_none() || tries.any(|has_both| has_both));
    }

    #[test]
    fn says_what_to_do_about_an_address_that_is_not_ours() {
        let error = listen(&[SocketAddr::from(([192, 0, 2, 1], 25565))], 1, 16)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("no interface of this machine has that address"),
            "{error}"
        );
        assert!(
            listen(&[], 1, 16)
                .err()
                .unwrap()
                .to_string()
                .contains("no address")
        );
    }
}
