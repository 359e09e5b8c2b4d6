//! Tasks beside a simulated engine: an executor that runs them in an order that a seed decides.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::choices::Choices;

/// Tasks, by number.
#[derive(Default)]
pub(super) struct Crew {
    tasks: Vec<Task>,
}

struct Task {
    /// `None` once it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    flag: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Crew {
    /// Begins a task.
    pub(super) fn spawn(&mut self, future: Pin<Box<dyn Future<Output = ()>>>) {
        self.tasks.push(Task {
            future: Some(future),
            flag: Arc::new(Flag(AtomicBool::new(true))),
        });
    }

    /// Runs every task that was woken, once; whether there was any.
    pub(super) fn run(&mut self, choices: &mut Choices) -> bool {
        let mut woken: Vec<usize> = (0..self.tasks.len())
            .filter(|number| self.tasks[*number].flag.0.swap(false, Ordering::SeqCst))
            .collect();
        let any = !woken.is_empty();
        while !woken.is_empty() {
            let next = usize::try_from(choices.below(woken.len() as u64)).unwrap();
            let task = &mut self.tasks[woken.swap_remove(next)];
            let waker = Waker::from(Arc::clone(&task.flag));
            let mut context = Context::from_waker(&waker);
            let ended = task
                .future
                .as_mut()
                .is_some_and(|it| it.as_mut().poll(&mut context).is_ready());
            if ended {
                task.future = None;
            }
        }
        any
    }

    /// Tasks that have not ended.
    pub(super) fn busy(&self) -> usize {
        self.tasks.iter().filter(|task| task.future.is_some()).count()
    }
}

/// Lets somebody else end what a task waits for.
#[derive(Default)]
pub(super) struct Nudge {
    given: bool,
    waker: Option<Waker>,
}

/// A task's part of a [`Nudge`].
pub(super) type Nudged = Rc<RefCell<Nudge>>;

impl Nudge {
    /// Ends the wait, or the next one.
    pub(super) fn give(&mut self) {
        self.given = true;
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// The future's result, or `None` if it was dropped because of a nudge.
pub(super) async fn unless_nudged<T>(nudged: &Nudged, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        let mut nudge = nudged.borrow_mut();
        if std::mem::take(&mut nudge.given) {
            return Poll::Ready(None);
        }
        nudge.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await
}
