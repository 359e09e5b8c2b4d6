//! The pump: the one task that turns the ring and, when nothing happens, sleeps inside the executor.

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future::yield_now;
use glommio::timer::Timer;

use super::trim::trim;
use super::wake::Bell;
use super::{Engine, Shared};

/// How long a busy pump waits in its ring. While it does, the executor does nothing else.
const WAIT: Duration = Duration::from_millis(20);

/// Waits without any completion after which the pump parks.
const EMPTY_MAX: u32 = 3;

/// How long turns go on without the executor while all that completes belongs to relays, which no task waits
/// for: a turn of the executor costs as much as relaying a message through user space.
const ALONE_MAX: Duration = Duration::from_millis(1);

/// How long the executor may sleep by mistake, see [`Lifeline`].
const LIFELINE: Duration = Duration::from_millis(5);

/// The longest sleep inside the executor. Short, because the executor may also go to sleep by mistake right
/// after a parked pump was woken (see [`Lifeline`]): then this timer is what wakes it.
const PARK_MAX: Duration = Duration::from_millis(250);

impl Engine {
    /// Runs the engine: ends after [`stop`](Self::stop) once everything is closed. Spawn it once, in the task
    /// queue of the connections.
    ///
    /// # Panics
    ///
    /// Panics if the kernel refuses the ring's system call, which only a bug can bring about.
    pub async fn run(&self) {
        #[expect(
            clippy::expect_used,
            reason = "a shard that cannot sleep is of no use; duplicating fails at start or never"
        )]
        let mut bell = Bell::new(self.shared.rung.as_fd()).expect("an eventfd to duplicate");
        let mut lifeline = Lifeline::default();
        let (mut empty, mut yielded) = (0, self.now());
        while !self.with(|core| core.is_over()) {
            let wait = self.with(|core| (!core.has_callbacks()).then_some(WAIT));
            let completed = self.turn(wait);
            empty = if completed > 0 || wait.is_none() {
                0
            } else {
                empty + 1
            };
            let woken = self.run_callbacks();
            if !woken && completed > 0 && self.now() < yielded + ALONE_MAX {
                continue;
            }
            yielded = self.now();
            poll_fn(|context| lifeline.hold(self.now(), context)).await;
            yield_now().await;
            if woken {
                // Tasks that the woken ones have woken come before the next wait too.
                yield_now().await;
            }
            if empty >= EMPTY_MAX {
                lifeline = Lifeline::default();
                self.park(&mut bell).await;
                empty = 0;
            }
        }
        self.turn(None);
        self.run_callbacks();
    }

    /// One turn of the ring; refreshes the clock.
    fn turn(&self, wait: Option<Duration>) -> usize {
        let mut core = self.shared.core.borrow_mut();
        let turned = core.turn(wait);
        self.shared.now.set(core.now);
        match turned {
            Ok(completed) => completed,
            Err(error) => panic!("io_uring_enter failed: {error}"),
        }
    }

    /// Wakes tasks and runs callbacks, outside of the core. Whether there were any.
    pub(super) fn run_callbacks(&self) -> bool {
        if !self.with(|core| core.has_callbacks()) {
            return false;
        }
        let (mut wakes, mut calls) =
            self.with(|core| (std::mem::take(&mut core.wakes), std::mem::take(&mut core.calls)));
        while !wakes.is_empty() || !calls.is_empty() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                wakes.drain(..).for_each(std::task::Waker::wake);
                while let Some(call) = calls.pop_front() {
                    call.run(self);
                }
            }));
            if outcome.is_err() {
                self.with(|core| core.stats.panics += 1);
            }
        }
        self.with(|core| {
            if core.wakes.is_empty() {
                core.wakes = wakes;
            }
            if core.calls.is_empty() {
                core.calls = calls;
            }
        });
        true
    }

    /// Sleeps inside the executor until a completion, a timer, or an operation of a task of this shard. Does
    /// not sleep if the kernel has no memory to notify it with: then the next turn waits in the ring again.
    async fn park(&self, bell: &mut Bell) {
        if !self.with(|core| core.ring.notify(self.shared.rung.as_fd())) {
            return;
        }
        // Whatever came before is seen by this turn, whatever comes after it rings the bell.
        if self.turn(None) == 0 && !self.with(|core| core.has_work()) {
            let has_shrunk = self.with(|core| {
                core.stats.parks += 1;
                core.trim.is_due(core.slots.open(), core.tick)
            });
            if has_shrunk {
                trim();
            }
            self.sleep_in_executor(bell).await;
        }
        self.with(|core| {
            core.parked = false;
            core.ring.stop_notifying();
            core.now = Instant::now();
            self.shared.now.set(core.now);
        });
    }

    async fn sleep_in_executor(&self, bell: &mut Bell) {
        let due = self.with(|core| core.timers.next().map(|tick| core.clock.instant(tick)));
        let sleep = due.map_or(PARK_MAX, |due| {
            due.saturating_duration_since(Instant::now()).min(PARK_MAX)
        });
        let mut timer = pin!(Timer::new(sleep));
        poll_fn(|context| {
            if self.with(|core| core.has_work()) {
                return Poll::Ready(());
            }
            self.shared.parked.set(Some(context.waker().clone()));
            self.shared.core.borrow_mut().parked = true;
            match bell.poll(context) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => timer.as_mut().poll(context).map(drop),
            }
        })
        .await;
        self.shared.parked.take();
    }
}

/// A timer of the executor that is always about to fire while the pump is busy.
///
/// glommio 0.9 goes to sleep although tasks are ready if its preemption timer fires between being set and the
/// first look at the tasks, because the thread lost its CPU for that long; it then sleeps until something
/// happens in its own rings, where nothing does. (An executor whose preemption timer is long makes that rare,
/// and this bounds it.)
#[derive(Default)]
struct Lifeline {
    timer: Option<Pin<Box<Timer>>>,
    until: Option<Instant>,
}

impl Lifeline {
    /// Renews the timer when it has fired. Always ready.
    fn hold(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.until.is_none_or(|until| until <= now) {
            let timer = self.timer.insert(Box::pin(Timer::new(LIFELINE)));
            let _ = timer.as_mut().poll(context);
            self.until = Some(now + LIFELINE);
        }
        Poll::Ready(())
    }
}

impl Shared {
    /// Ends the pump's sleep, if it sleeps.
    pub(super) fn unpark(&self) {
        if let Some(waker) = self.parked.take() {
            waker.wake();
        }
    }
}
