//! The io_uring itself: set-up, submission, waiting, completions.
#![expect(
    unsafe_code,
    reason = "submission entries name memory and descriptors that the kernel uses later"
)]

#[cfg(test)]
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
#[cfg(test)]
use std::rc::Rc;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode};
use socket2::{SockAddr, SockRef};

use super::Settings;
use super::buffers::{Buffers, Kind};
use super::error::EngineError;
#[cfg(test)]
use super::simulation::kernel::Kernel;
use super::tag::{Key, Op, encode};

/// How long [`Ring::cancel_all`] waits for the kernel to let go of our memory.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// The ring, and the entries that did not fit into it.
pub(super) struct Ring {
    io: IoUring,
    /// How it is entered.
    entering: EnterFlags,
    /// Entries that wait for room in the submission queue. Nearly always empty.
    backlog: VecDeque<Entry>,
    /// What takes the real kernel's place.
    #[cfg(test)]
    simulated: Option<Rc<RefCell<Kernel>>>,
}

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Waits for room in the socket.
    Wait,
    /// Fails with `EAGAIN` where there is no room.
    Try,
    /// Like `Try`, while it is being submitted, and completes only if it did not send everything. See
    /// [`Ring::is_settled`].
    Quiet,
}

/// What the kernel says about an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    /// At least 0, or a negated `errno`.
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Completion {
    /// Of a send that has sent all its bytes.
    pub(super) fn of_send(key: Key, bytes: usize) -> Self {
        Self {
            user_data: encode(Op::Send, key),
            result: i32::try_from(bytes).unwrap_or(i32::MAX),
            flags: 0,
        }
    }

    /// Whether the same operation will complete again.
    pub(super) fn more(&self) -> bool {
        io_uring::cqueue::more(self.flags)
    }

    /// The receive buffer that was used.
    pub(super) fn buffer(&self) -> Option<u16> {
        io_uring::cqueue::buffer_select(self.flags)
    }
}

impl Ring {
    pub(super) fn new(entries: u32, completions: u32) -> Result<Self, EngineError> {
        let build = |without_array: bool| {
            let mut builder = IoUring::builder();
            builder.dontfork().setup_cqsize(completions).setup_submit_all();
            builder.setup_single_issuer().setup_defer_taskrun();
            if without_array {
                builder.setup_no_sqarray();
            }
            builder.build(entries)
        };
        // The array of indices costs little; leaving it out needs Linux 6.6.
        let io = build(true).or_else(|_| build(false));
        let io = io.map_err(|error| EngineError::classify("set up an io_uring", error))?;
        let mut entering = EnterFlags::EXT_ARG | EnterFlags::GETEVENTS;
        if io.params().is_feature_no_iowait() {
            // A shard that waits for its peers is idle. As "waiting for I/O" it looks like a broken disk to
            // whoever watches the machine. Since Linux 6.15.
            entering |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self {
            io,
            entering,
            backlog: VecDeque::new(),
            #[cfg(test)]
            simulated: None,
        })
    }

    /// From now on a simulated kernel gets the entries and makes the completions.
    #[cfg(test)]
    pub(super) fn simulate(&mut self, kernel: Rc<RefCell<Kernel>>) {
        self.simulated = Some(kernel);
    }

    /// Maps receive buffers and gives them to the ring. Drop them after it.
    pub(super) fn register_buffers(&self, settings: Settings) -> Result<Buffers, EngineError> {
        Buffers::register(&self.io, settings)
            .map_err(|error| EngineError::classify("register receive buffers", error))
    }

    /// Has the kernel write to an eventfd when there is something to complete, from now on: whatever came
    /// before is seen by the next turn. Says whether it does.
    ///
    /// Only for as long as somebody sleeps there. The kernel looks for the eventfd at each completion, and a
    /// switch that tells it to leave it alone is looked at only after that.
    pub(super) fn notify(&self, eventfd: BorrowedFd<'_>) -> bool {
        let registered = self.io.submitter().register_eventfd(eventfd.as_raw_fd());
        registered.is_ok()
    }

    /// The opposite of [`notify`](Self::notify).
    pub(super) fn stop_notifying(&self) {
        // An error says that there is none.
        let _ = self.io.submitter().unregister_eventfd();
    }

    /// Whether entries wait to be submitted.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            return kernel.borrow().has_unsubmitted();
        }
        !self.backlog.is_empty() || !self.io.submission().is_empty()
    }

    /// Receives until told otherwise, into the shard's common buffers.
    pub(super) fn receive(&mut self, key: Key, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), Kind::Common.group()).build();
        self.push(entry.user_data(encode(Op::Receive, key)));
    }

    /// Receives once, into one of the shard's buffers of this kind.
    pub(super) fn receive_once(&mut self, key: Key, socket: BorrowedFd<'_>, kind: Kind) {
        let op = match kind {
            Kind::Common => Op::Receive,
            Kind::Large => Op::ReceiveBulk,
        };
        // The length is the buffer's.
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), std::ptr::null_mut(), 0)
            .buf_group(kind.group())
            .build()
            .flags(Flags::BUFFER_SELECT);
        self.push(entry.user_data(encode(op, key)));
    }

    /// Waits until there is something to receive, or the end.
    pub(super) fn await_input(&mut self, key: Key, socket: BorrowedFd<'_>) {
        self.poll(Op::Readable, key, socket, libc::POLLIN | libc::POLLRDHUP);
    }

    /// Waits until there is room to send.
    pub(super) fn await_room(&mut self, key: Key, socket: BorrowedFd<'_>) {
        self.poll(Op::Writable, key, socket, libc::POLLOUT);
    }

    fn poll(&mut self, op: Op, key: Key, socket: BorrowedFd<'_>, events: libc::c_short) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), u32::from(events.cast_unsigned())).build();
        self.push(entry.user_data(encode(op, key)));
    }

    /// Accepts until told otherwise.
    pub(super) fn accept(&mut self, key: Key, listener: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.push(entry.user_data(encode(Op::Accept, key)));
    }

    /// Sends `bytes`, or a part of them.
    ///
    /// # Safety
    ///
    /// The bytes must stay where they are and unchanged until the operation completes.
    pub(super) unsafe fn send(&mut self, key: Key, socket: BorrowedFd<'_>, bytes: &[u8], how: Sending) {
        let (message, entry) = match how {
            Sending::Wait => (0, Flags::empty()),
            Sending::Try => (libc::MSG_DONTWAIT, Flags::empty()),
            // Without MSG_WAITALL a part would be a success, of which nobody hears.
            Sending::Quiet => (libc::MSG_DONTWAIT | libc::MSG_WAITALL, Flags::SKIP_SUCCESS),
        };
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL | message)
            .build()
            .flags(entry);
        self.push(send.user_data(encode(Op::Send, key)));
    }

    /// Sends what there is room for without the ring, by a system call that does not wait. How much that was.
    pub(super) fn send_at_once(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            return kernel.borrow_mut().send_at_once(socket.as_raw_fd(), bytes);
        }
        SockRef::from(&socket).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    }

    /// Whether every entry was submitted, and `limit` completions are all there are: then a
    /// [quiet](Sending::Quiet) send that is not among them has sent everything.
    pub(super) fn is_settled(&mut self, limit: usize) -> bool {
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            return kernel.borrow_mut().is_settled();
        }
        !self.has_unsubmitted() && !self.io.submission().cq_overflow() && self.io.completion().len() <= limit
    }

    /// Connects to `to`.
    ///
    /// # Safety
    ///
    /// The address must stay where it is until the operation completes.
    pub(super) unsafe fn connect(&mut self, key: Key, socket: BorrowedFd<'_>, to: &SockAddr) {
        let entry = opcode::Connect::new(Fd(socket.as_raw_fd()), to.as_ptr().cast(), to.len()).build();
        self.push(entry.user_data(encode(Op::Connect, key)));
    }

    /// Reads what other threads have written to wake the shard.
    ///
    /// # Safety
    ///
    /// The bytes must stay where they are, and nobody may look at them, until the operation completes.
    pub(super) unsafe fn read(&mut self, key: Key, from: BorrowedFd<'_>, into: &mut [u8; 8]) {
        let entry = opcode::Read::new(Fd(from.as_raw_fd()), into.as_mut_ptr(), 8).build();
        self.push(entry.user_data(encode(Op::Wake, key)));
    }

    /// Asks for an operation's early end. It completes all the same; only this request says nothing.
    pub(super) fn cancel(&mut self, op: Op, key: Key) {
        let entry = opcode::AsyncCancel::new(encode(op, key))
            .build()
            .flags(Flags::SKIP_SUCCESS);
        self.push(entry.user_data(encode(Op::Forget, key)));
    }

    /// Closes a descriptor. Nothing is heard of it.
    pub(super) fn close(&mut self, key: Key, fd: OwnedFd) {
        let entry = opcode::Close::new(Fd(fd.into_raw_fd()))
            .build()
            .flags(Flags::SKIP_SUCCESS);
        self.push(entry.user_data(encode(Op::Forget, key)));
    }

    fn push(&mut self, entry: Entry) {
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            return kernel.borrow_mut().push(entry);
        }
        // SAFETY: the entry's descriptor is open now and stays so until its operation completes, since the
        // engine closes through this ring, in order, and only after that; memory is vouched for by the
        // callers.
        if !self.backlog.is_empty() || unsafe { self.io.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Submits what was pushed. With `wait`, waits that long for a completion, else only collects those at
    /// hand. Running into the timeout or a signal is no error.
    pub(super) fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            kernel.borrow_mut().enter();
            return Ok(());
        }
        let (want, timeout) = match wait {
            Some(timeout) if self.io.completion().is_empty() => (1, timeout),
            _ => (0, Duration::ZERO),
        };
        let timespec = Timespec::from(timeout);
        let arguments = SubmitArgs::new().timespec(&timespec);
        loop {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the queue has at most 32768 entries"
            )]
            let submit = self.io.submission().len() as u32;
            let crowded = !self.backlog.is_empty();
            let want = if crowded { 0 } else { want };
            // SAFETY: the argument outlives the call and is what the flags announce.
            let entered = unsafe {
                self.io
                    .submitter()
                    .enter(submit, want, self.entering.bits(), Some(&arguments))
            };
            if let Err(error) = entered {
                return match error.raw_os_error() {
                    Some(libc::ETIME | libc::EINTR) => Ok(()),
                    // The completion queue is full, or memory is short: process completions and come again.
                    Some(libc::EBUSY | libc::EAGAIN) => Ok(()),
                    _ => Err(error),
                };
            }
            if !crowded || !self.refill() {
                return Ok(());
            }
        }
    }

    /// Moves entries from the backlog into the submission queue; whether any fitted.
    fn refill(&mut self) -> bool {
        let waiting = self.backlog.len();
        let mut queue = self.io.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
        self.backlog.len() < waiting
    }

    /// Appends at most `limit` completions to `into`.
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>, limit: usize) {
        #[cfg(test)]
        if let Some(kernel) = &self.simulated {
            return kernel.borrow_mut().reap(into, limit);
        }
        let completions = self.io.completion().take(limit);
        into.extend(completions.map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// Tells the simulated kernel, if there is one, that the engine gets to know this now.
    #[cfg(test)]
    pub(super) fn shows(&self, completion: &Completion) {
        if let Some(kernel) = &self.simulated {
            kernel.borrow_mut().shows(completion);
        }
    }

    /// The peer of a simulated connection.
    #[cfg(test)]
    pub(super) fn peer_of(&self, socket: &OwnedFd) -> Option<std::net::SocketAddr> {
        let kernel = self.simulated.as_ref()?;
        kernel.borrow().peer_of(socket.as_raw_fd())
    }

    /// Ends every operation that was submitted and waits for that. Their completions can be reaped then.
    pub(super) fn cancel_all(&mut self) -> io::Result<()> {
        let wait = Timespec::from(CANCEL_WAIT);
        match self
            .io
            .submitter()
            .register_sync_cancel(Some(wait), CancelBuilder::any().all())
        {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}
