//! A bare TCP relay on one io_uring: `ring LISTEN TARGET`. The yardstick for what a ring can do.
//!
//! One thread, one `io_uring_enter` a turn, no executor, no sessions, no limits, no metrics. Received buffers
//! are sent as they are, so that no byte is ever looked at. What Passage's relay costs above this is what its
//! engine and all its bookkeeping cost.
//!
//! It is no server: readers that stop reading hold receive buffers, [`relay::HIGH_WATER`] bytes each, and
//! enough of them hold all. The engine copies out of the buffers then; a yardstick need not.

mod buffers;
mod operations;
mod relay;

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};

use operations::{Completion, Operation, Operations};
use relay::Relays;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target] = arguments.as_slice() else {
        return Err("ring LISTEN TARGET, both as ADDRESS:PORT".into());
    };
    let address = |what: &str, text: &str| {
        text.parse::<SocketAddr>()
            .map_err(|error| format!("{what} {text}: {error}, expected ADDRESS:PORT"))
    };
    let (listen, target) = (address("LISTEN", listen)?, address("TARGET", target)?);
    serve(TcpListener::bind(listen)?, target)?;
    Ok(())
}

/// Relays every connection to `target`. Returns only when the ring fails.
fn serve(listener: TcpListener, target: SocketAddr) -> io::Result<()> {
    let socket = socket2::SockRef::from(&listener);
    socket.listen(BACKLOG)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    let mut operations = Operations::new(listener, target)?;
    let mut relays = Relays::default();
    let mut completions = Vec::new();
    operations.accept();
    loop {
        relays.send(&mut operations);
        operations.turn(&mut completions)?;
        for completion in completions.drain(..) {
            match completion.operation {
                Operation::Accept => accepted(completion, &mut relays, &mut operations)?,
                Operation::Cancel => {}
                _ => relays.complete(&completion, &mut operations),
            }
        }
        relays.feed(&mut operations);
    }
}

fn accepted(completion: Completion, relays: &mut Relays, operations: &mut Operations) -> io::Result<()> {
    if let Some(client) = completion.socket {
        // Without a socket for the target the client is dropped, and so closed.
        if let Ok(target) = operations.target_socket() {
            relays.open(client, target, operations);
        }
    } else if -completion.result == libc::EMFILE || -completion.result == libc::ENFILE {
        return Err(io::Error::other(format!(
            "{} relays are open, and no file descriptor is left: raise the limit of open files",
            relays.count()
        )));
    }
    if !completion.more {
        operations.accept();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
