//! Why an engine could not be made, and what the operator can do about it.

use std::fmt;
use std::io;

use crate::limits::SLOTS_MAX;

/// Why there is no engine. Displays what is missing and what to do about it.
#[derive(Debug)]
pub enum EngineError {
    /// io_uring may not be used here: seccomp or `kernel.io_uring_disabled`.
    Forbidden(io::Error),
    /// The kernel has no io_uring, or lacks a feature of it.
    KernelTooOld(io::Error),
    /// Too little memory may be locked.
    MemoryLock(io::Error),
    /// Every slot is taken: as many sockets, listeners and sleepers are open as operations can tell apart.
    Full,
    /// Something else failed, while doing this.
    Io(&'static str, io::Error),
}

impl EngineError {
    /// Sorts an error of the kernel by what the operator can do about it.
    pub(super) fn classify(doing: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden(error),
            Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => Self::KernelTooOld(error),
            Some(libc::ENOMEM) => Self::MemoryLock(error),
            _ => Self::Io(doing, error),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(error) => write!(
                f,
                "io_uring is forbidden here ({error}): set the sysctl kernel.io_uring_disabled to 0, and in \
                 a container use a seccomp profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register"
            ),
            Self::KernelTooOld(error) => write!(
                f,
                "this kernel lacks an io_uring feature that is needed ({error}): run Linux 6.1 or later; a \
                 seccomp profile that hides io_uring looks the same"
            ),
            Self::MemoryLock(error) => write!(
                f,
                "not enough memory may be locked for io_uring ({error}): raise the limit to 8 MiB or more \
                 (ulimit -l 8192, LimitMEMLOCK= in a systemd unit, --ulimit memlock= in a container)"
            ),
            Self::Full => write!(
                f,
                "the shard has no slot left for a listener: {SLOTS_MAX} sockets are open; lower \
                 limits.connections_per_shard"
            ),
            Self::Io(doing, error) => write!(f, "could not {doing}: {error}"),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Forbidden(error)
            | Self::KernelTooOld(error)
            | Self::MemoryLock(error)
            | Self::Io(_, error) => Some(error),
            Self::Full => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EngineError;
    use std::io;

    #[test]
    fn each_shortage_names_its_remedy() {
        for (errno, remedy) in [
            (libc::EPERM, "kernel.io_uring_disabled"),
            (libc::ENOSYS, "Linux 6.1"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::ENOMEM, "LimitMEMLOCK"),
            (libc::EMFILE, "set up an io_uring"),
        ] {
            let error = EngineError::classify("set up an io_uring", io::Error::from_raw_os_error(errno));
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}
