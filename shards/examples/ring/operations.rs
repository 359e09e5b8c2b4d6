//! The ring: what is asked of the kernel, and what it answers.
#![expect(
    unsafe_code,
    reason = "submission entries name memory and descriptors that the kernel uses later"
)]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::buffers::{Buffers, GROUP};

/// Entries that are submitted in a turn at most; more take a second system call.
const SUBMISSIONS: u32 = 4096;
/// Completions that the kernel holds before it has to allocate.
const COMPLETIONS: u32 = 16_384;

/// The ring and what its operations refer to.
pub(crate) struct Operations {
    ring: IoUring,
    pub(crate) buffers: Buffers,
    listener: TcpListener,
    target: SocketAddr,
    /// What `connect` reads; never moved.
    target_name: Box<SockAddr>,
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Accept,
    Connect,
    Receive,
    Send,
    Cancel,
}

/// Whose operation it is: a relay, and one of its two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) relay: u32,
    pub(crate) side: u8,
}

/// The kernel's answer.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) operation: Operation,
    pub(crate) owner: Owner,
    /// At least 0, or a negated `errno`.
    pub(crate) result: i32,
    /// The buffer that was received into.
    pub(crate) buffer: Option<u16>,
    /// The operation will complete again.
    pub(crate) more: bool,
    /// The accepted socket.
    pub(crate) socket: Option<OwnedFd>,
}

impl Operations {
    /// Sets the ring up for this thread.
    pub(crate) fn new(listener: TcpListener, target: SocketAddr) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = Buffers::register(&ring)?;
        Ok(Self {
            ring,
            buffers,
            listener,
            target,
            target_name: Box::new(target.into()),
        })
    }

    /// Submits everything, waits for at least one completion and takes all there are.
    pub(crate) fn turn(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            Err(error) => return Err(error),
        }
        completions.extend(self.ring.completion().filter_map(|entry| decode(&entry)));
        Ok(())
    }

    /// A socket to connect to the target with.
    pub(crate) fn target_socket(&self) -> io::Result<OwnedFd> {
        let socket = Socket::new(
            Domain::for_address(self.target),
            Type::STREAM.cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    /// Accepts until told otherwise.
    pub(crate) fn accept(&mut self) {
        let entry = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(entry.build(), Operation::Accept, Owner { relay: 0, side: 0 });
    }

    /// Connects a relay's socket to the target.
    pub(crate) fn connect(&mut self, owner: Owner, socket: &OwnedFd) {
        let name = &self.target_name;
        let entry = opcode::Connect::new(Fd(socket.as_raw_fd()), name.as_ptr().cast(), name.len());
        self.push(entry.build(), Operation::Connect, owner);
    }

    /// Receives until told otherwise.
    pub(crate) fn receive(&mut self, owner: Owner, socket: &OwnedFd) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP);
        self.push(entry.build(), Operation::Receive, owner);
    }

    /// Ends an owner's receive early. It completes all the same.
    pub(crate) fn cancel_receive(&mut self, owner: Owner) {
        let entry = opcode::AsyncCancel::new(encode(Operation::Receive, owner)).build();
        self.push(entry.flags(Flags::SKIP_SUCCESS), Operation::Cancel, owner);
    }

    /// Sends `bytes` from `at`, or a part of them.
    ///
    /// # Safety
    /// They must stay where they are, unchanged, until the operation completes.
    pub(crate) unsafe fn send(&mut self, owner: Owner, socket: &OwnedFd, at: *const u8, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), at, bytes).flags(libc::MSG_NOSIGNAL);
        self.push(entry.build(), Operation::Send, owner);
    }

    /// Sends what a message header points to, or a part of it.
    ///
    /// # Safety
    /// The header, its vector and all bytes must stay where they are, unchanged, until the operation
    /// completes.
    pub(crate) unsafe fn send_message(
        &mut self,
        owner: Owner,
        socket: &OwnedFd,
        header: *const libc::msghdr,
    ) {
        let entry = opcode::SendMsg::new(Fd(socket.as_raw_fd()), header);
        let entry = entry.flags(libc::MSG_NOSIGNAL.unsigned_abs());
        self.push(entry.build(), Operation::Send, owner);
    }

    /// Closes a descriptor that no operation uses any more.
    pub(crate) fn close(&mut self, owner: Owner, socket: OwnedFd) {
        let entry = opcode::Close::new(Fd(socket.into_raw_fd())).build();
        self.push(entry.flags(Flags::SKIP_SUCCESS), Operation::Cancel, owner);
    }

    fn push(&mut self, entry: Entry, operation: Operation, owner: Owner) {
        let entry = entry.user_data(encode(operation, owner));
        // SAFETY: descriptors are closed through this ring, after their last operation; the target's name
        // lives as long as the ring; for all other memory the callers vouch.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            // The queue is full. Whatever is wrong with the ring comes up again in `turn`.
            if self.ring.submit().is_err() {
                std::thread::yield_now();
            }
        }
    }
}

fn encode(operation: Operation, owner: Owner) -> u64 {
    (operation as u64) << 40 | u64::from(owner.side) << 32 | u64::from(owner.relay)
}

fn decode(entry: &cqueue::Entry) -> Option<Completion> {
    let [relay @ .., side, operation, _, _] = entry.user_data().to_le_bytes();
    let known = [
        Operation::Accept,
        Operation::Connect,
        Operation::Receive,
        Operation::Send,
        Operation::Cancel,
    ];
    let operation = known.get(usize::from(operation)).copied()?;
    let accepted = operation == Operation::Accept && entry.result() >= 0;
    Some(Completion {
        operation,
        owner: Owner {
            relay: u32::from_le_bytes(relay),
            side,
        },
        result: entry.result(),
        buffer: cqueue::buffer_select(entry.flags()),
        more: cqueue::more(entry.flags()),
        // SAFETY: a successful accept gives a new descriptor, which nobody else knows.
        socket: accepted.then(|| unsafe { OwnedFd::from_raw_fd(entry.result()) }),
    })
}
