//! Work for others that may go wrong in every way.

use std::time::Instant;

use passage_proto::question::AskError;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

/// Does work on a task of its own, so that a panic in it is a failure like any other; it ends at the
/// deadline.
///
/// # Errors
///
/// Those of the work, [`AskError::Failed`] if it panics, [`AskError::TimedOut`] at the deadline.
pub(super) async fn guarded<T: Send + 'static>(
    deadline: Instant,
    work: impl Future<Output = Result<T, AskError>> + Send + 'static,
) -> Result<T, AskError> {
    // Within the task, the work is looked at before the time: what ends at its deadline by itself still
    // learns that nobody answered, which its breaker and its log have to know.
    let task = tokio::spawn(timeout_at(deadline.into(), work));
    let _end = End(task.abort_handle());
    match task.await {
        Ok(answer) => answer.unwrap_or(Err(AskError::TimedOut)),
        Err(_) => Err(AskError::Failed),
    }
}

/// Ends a task when nobody waits for it any more.
struct End(AbortHandle);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test)
    }

    #[test]
    fn whatever_goes_wrong_is_an_error() {
        let long = Instant::now() + Duration::from_secs(60);
        run(async {
            assert_eq!(guarded(long, async { Ok(7) }).await, Ok(7));
            let panics = async { panic!("as the test wants it") };
            assert_eq!(guarded::<()>(long, panics).await, Err(AskError::Failed));
        });
    }

    #[test]
    fn work_that_ends_at_the_same_deadline_ends_by_itself() {
        let told = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&told);
        let soon = Instant::now() + Duration::from_millis(10);
        let work = async move {
            let late = timeout_at(soon.into(), std::future::pending::<()>()).await;
            tells.store(late.is_err(), Ordering::Relaxed);
            Err::<(), _>(AskError::Unreachable)
        };
        assert_eq!(run(guarded(soon, work)), Err(AskError::Unreachable));
        assert!(told.load(Ordering::Relaxed));
    }

    #[test]
    fn work_that_takes_too_long_is_ended_and_leaves_nothing_behind() {
        let held = Arc::new(());
        let kept = Arc::clone(&held);
        run(async {
            let endless = async move {
                let _kept = kept;
                std::future::pending().await
            };
            let soon = Instant::now() + Duration::from_millis(10);
            assert_eq!(guarded::<()>(soon, endless).await, Err(AskError::TimedOut));
            while Arc::strong_count(&held) > 1 {
                tokio::task::yield_now().await;
            }
        });
    }
}
