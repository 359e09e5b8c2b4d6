//! The same with real sockets on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use nix::sys::socket::{bind, listen, setsockopt, socket};

/// Opens so many listening sockets on one port and connections to it; the connections of the busiest divided
/// by the mean.
pub(crate) fn imbalance(sockets: usize, connections: usize) -> io::Result<f64> {
    let first = reuse_port(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let address = first.local_addr()?;
    let std::net::SocketAddr::V4(shared) = address else {
        return Err(io::Error::other("an IPv4 socket has an IPv6 address"));
    };
    let others = (1..sockets).map(|_| reuse_port(shared));
    let listeners: Vec<TcpListener> = std::iter::once(Ok(first))
        .chain(others)
        .collect::<io::Result<_>>()?;
    let mut accepted = vec![0usize; sockets];
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(TcpStream::connect(address)?);
        // A few hundred at a time, so that the usual limit of open files is enough.
        if open.len() == 200 {
            count(&listeners, &mut accepted)?;
            open.clear();
        }
    }
    count(&listeners, &mut accepted)?;
    let most = accepted.iter().copied().max().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand connections")]
    Ok((most * sockets) as f64 / accepted.iter().sum::<usize>() as f64)
}

/// Accepts what has come to each, and closes it.
fn count(listeners: &[TcpListener], accepted: &mut [usize]) -> io::Result<()> {
    for (listener, accepted) in listeners.iter().zip(accepted) {
        loop {
            match listener.accept() {
                Ok(_) => *accepted += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn reuse_port(address: SocketAddrV4) -> io::Result<TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&socket, Backlog::new(1024)?)?;
    Ok(socket.into())
}
