//! Wake-ups: from other threads into the ring, and from the ring into the executor while the pump is parked.
#![expect(unsafe_code, reason = "eventfds are made and handed over as raw descriptors")]

use std::future::Future;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use glommio::io::BufferedFile;

use super::raised::Raised;

/// Wakes a shard from any thread. Coalesced: many wakes before the shard looks cost one system call.
#[derive(Clone, Debug)]
pub struct RemoteWaker {
    signal: Arc<Signal>,
}

impl RemoteWaker {
    pub(super) fn new(signal: Arc<Signal>) -> Self {
        Self { signal }
    }

    /// Ends the engine's wait at once and runs its `on_wake` callback: after what was written before this
    /// call. Never blocks; harmless after the engine has gone.
    pub fn wake(&self) {
        self.signal.raise();
    }
}

/// What other threads raise, and the ring reads.
///
/// A pipe and not an eventfd: the kernel defers an eventfd's signal that another eventfd's write brings
/// about, by as much as a hundred milliseconds, and that is how the ring tells a parked pump.
#[derive(Debug)]
pub(super) struct Signal {
    read: PipeReader,
    write: PipeWriter,
    raised: Raised,
}

impl Signal {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        Ok(Self {
            read,
            write,
            raised: Raised::default(),
        })
    }

    /// The end that the ring reads.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    fn raise(&self) {
        if self.raised.raise() {
            // Never blocks: a pipe holds 4096 bytes at least, and this is one of two at most.
            let _ = (&self.write).write(&[1]);
        }
    }

    /// To be called before looking at what the other threads have left.
    pub(super) fn clear(&self) {
        self.raised.clear();
    }
}

/// The ring's eventfd as a file of the executor: lets the pump sleep inside the executor.
pub(super) struct Bell {
    file: std::rc::Rc<BufferedFile>,
    /// Kept from one sleep to the next: a read that nothing has answered yet stays under way.
    read: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Bell {
    /// Takes a duplicate of the ring's eventfd. To be called on the executor's thread.
    pub(super) fn new(eventfd: BorrowedFd<'_>) -> io::Result<Self> {
        let duplicate = eventfd.try_clone_to_owned()?;
        // SAFETY: the descriptor is ours alone, and from here on the file's.
        let file = unsafe { BufferedFile::from_raw_fd(duplicate.into_raw_fd()) };
        Ok(Self {
            file: std::rc::Rc::new(file),
            read: None,
        })
    }

    /// Ready once the eventfd was written to since the last time.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let file = &self.file;
        let read = self.read.get_or_insert_with(|| {
            let file = file.clone();
            Box::pin(async move {
                // An error would only make the pump look at the ring too often.
                let _ = file.read_at(0, 8).await;
            })
        });
        let rung = read.as_mut().poll(context);
        if rung.is_ready() {
            self.read = None;
        }
        rung
    }
}

/// A new eventfd whose reads wait.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
