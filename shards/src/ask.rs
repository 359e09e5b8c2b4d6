//! Questions that leave a shard for the control thread, and how answers come back.
//!
//! Questions go through one bounded channel that all shards share; each shard has a mailbox for answers and a
//! waker that ends the wait of its engine. A connection that stops waiting (its deadline, its client's end)
//! drops its [`Pending`], which tells the control thread that the work can be skipped; an answer that comes
//! nevertheless is dropped.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use passage_proto::identity::Profile;
use passage_proto::question::{
    AskError, AuthenticateQuery, ChooseQuery, ClientInfo, LocalizeQuery, Message, Refusal, Target,
};
use passage_proto::status::StatusReply;
use passage_proto::text::keys;
use slab::Slab;

use crate::trace::TraceParent;

#[cfg(test)]
mod tests;

pub use crate::limits::TARGETS_MAX;

/// What only the control thread can find out, because it needs the network.
#[derive(Debug)]
pub enum RemoteQuestion {
    /// Ask an authentication adapter. Answered by [`RemoteAnswer::Profile`].
    Authenticate {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Who wants to log in.
        query: Box<AuthenticateQuery>,
    },
    /// Ask a status adapter. Answered by [`RemoteAnswer::Status`].
    Status {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Whose ping it is; a shared answer serves others as well.
        client: Box<ClientInfo>,
        /// Whether a connection waits for the answer, and so counts it. What is asked only because a copy has
        /// become stale is counted by the control thread.
        is_awaited: bool,
    },
    /// Ask a discovery adapter. Answered by [`RemoteAnswer::Targets`].
    Discover {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Who waits for a target.
        query: Box<ChooseQuery>,
    },
    /// Have a discovery action filter or change the targets. Answered by [`RemoteAnswer::Targets`].
    Act {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Who waits for a target.
        query: Box<ChooseQuery>,
        /// The targets so far.
        targets: Vec<Arc<Target>>,
    },
    /// Have a strategy choose. Answered by [`RemoteAnswer::Target`].
    Select {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Who waits for a target.
        query: Box<ChooseQuery>,
        /// The targets to choose from; never empty.
        targets: Vec<Arc<Target>>,
    },
    /// Ask a localization adapter. Answered by [`RemoteAnswer::Text`].
    Localize {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Which message, in which locale.
        query: Box<LocalizeQuery>,
    },
    /// Resolve a target's host name. Answered by [`RemoteAnswer::Addresses`].
    Resolve {
        /// Host name as configured, never an IP address.
        host: String,
        /// Port for the resulting socket addresses.
        port: u16,
    },
}

/// What the control thread answers.
#[derive(Debug)]
pub enum RemoteAnswer {
    /// The authenticated profile, or why there is none.
    Profile(Result<Profile, Refusal>),
    /// A status that can be shown to every client of the same protocol version.
    Status(Result<Arc<StatusReply>, AskError>),
    /// The targets, or why there are none. An empty list is an answer, too.
    Targets(Result<Vec<Arc<Target>>, Refusal>),
    /// The chosen target, or why there is none.
    Target(Result<Arc<Target>, Refusal>),
    /// The JSON text component to show.
    Text(Result<String, AskError>),
    /// At least one address, in the order in which they should be tried.
    Addresses(Result<Vec<SocketAddr>, AskError>),
}

/// A question under way. Dropping it unanswered answers it with [`AskError::Failed`], so that no connection
/// waits for a control thread that forgot it.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub question: RemoteQuestion,
    /// After this nobody waits any more; work that has not begun by then should not begin.
    pub deadline: Instant,
    /// The span that the work belongs to; `None` if the connection is not traced.
    pub trace: Option<TraceParent>,
    /// Where the answer goes.
    pub reply: ReplyTo,
}

/// The way of questions to the control thread.
#[derive(Clone)]
pub struct ControlLine {
    questions: Sender<Asked>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl ControlLine {
    /// `wake` makes whoever takes questions out of the other end of `questions` look there soon; it is called
    /// from any thread and never blocks.
    pub fn new(questions: Sender<Asked>, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { questions, wake }
    }

    /// Asks. The answer goes where the question says.
    ///
    /// # Errors
    ///
    /// [`AskError::Overloaded`] if too many questions wait already, [`AskError::Failed`] without a control
    /// thread.
    pub fn send(&self, asked: Asked) -> Result<(), AskError> {
        self.questions.try_send(asked).map_err(|error| match error {
            TrySendError::Full(_) => AskError::Overloaded,
            TrySendError::Disconnected(_) => AskError::Failed,
        })?;
        (self.wake)();
        Ok(())
    }
}

/// Whoever blocks on the other end needs no other wake-up.
impl From<Sender<Asked>> for ControlLine {
    fn from(questions: Sender<Asked>) -> Self {
        Self::new(questions, Arc::new(|| {}))
    }
}

/// The way back to the connection that asked.
pub struct ReplyTo {
    destination: Option<Destination>,
    kind: Kind,
}

struct Destination {
    ticket: Ticket,
    mailbox: Sender<Letter>,
    wake: Arc<dyn Fn() + Send + Sync>,
    abandoned: Arc<AtomicBool>,
}

/// Which answer a question has, for the case that there is none.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Authenticate,
    Status,
    Targets,
    Target,
    Text,
    Resolve,
}

impl ReplyTo {
    /// Hands the answer to the shard and wakes it. Never blocks. An answer that comes after the connection
    /// has ended is dropped.
    pub fn send(mut self, answer: RemoteAnswer) {
        self.deliver(answer);
    }

    /// Answers that the question could not be answered, as [`RemoteAnswer`] has it for its kind.
    pub fn fail(mut self, cause: AskError) {
        self.deliver(self.kind.failure(cause));
    }

    /// Whether the connection that asked has gone, so that the work can be skipped.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.destination
            .as_ref()
            .is_some_and(|to| to.abandoned.load(Ordering::Acquire))
    }

    /// A way back that ends in a channel instead of a shard, for tests of whoever answers `question`.
    #[must_use]
    pub fn detached(question: &RemoteQuestion) -> (Self, Receiver<RemoteAnswer>) {
        Self::detached_until(question, Arc::default())
    }

    /// The same of a question that is abandoned as soon as `abandoned` is set.
    #[must_use]
    pub fn detached_until(
        question: &RemoteQuestion,
        abandoned: Arc<AtomicBool>,
    ) -> (Self, Receiver<RemoteAnswer>) {
        let (sender, answers) = bounded(1);
        let (mailbox, letters) = unbounded::<Letter>();
        let wake = Arc::new(move || {
            for letter in letters.try_iter() {
                let _already_answered = sender.try_send(letter.answer);
            }
        });
        let destination = Destination {
            ticket: Ticket { slot: 0, serial: 0 },
            mailbox,
            wake,
            abandoned,
        };
        (
            Self {
                destination: Some(destination),
                kind: question.kind(),
            },
            answers,
        )
    }

    fn deliver(&mut self, answer: RemoteAnswer) {
        let Some(to) = self.destination.take() else { return };
        if !to.abandoned.load(Ordering::Acquire)
            && to
                .mailbox
                .send(Letter {
                    ticket: to.ticket,
                    answer,
                })
                .is_ok()
        {
            (to.wake)();
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.deliver(self.kind.failure(AskError::Failed));
    }
}

impl RemoteQuestion {
    fn kind(&self) -> Kind {
        match self {
            Self::Authenticate { .. } => Kind::Authenticate,
            Self::Status { .. } => Kind::Status,
            Self::Discover { .. } | Self::Act { .. } => Kind::Targets,
            Self::Select { .. } => Kind::Target,
            Self::Localize { .. } => Kind::Text,
            Self::Resolve { .. } => Kind::Resolve,
        }
    }
}

impl Kind {
    fn failure(self, cause: AskError) -> RemoteAnswer {
        match self {
            Self::Authenticate => RemoteAnswer::Profile(Err(authentication_refusal(cause))),
            Self::Status => RemoteAnswer::Status(Err(cause)),
            Self::Targets => RemoteAnswer::Targets(Err(choice_refusal(cause))),
            Self::Target => RemoteAnswer::Target(Err(choice_refusal(cause))),
            Self::Text => RemoteAnswer::Text(Err(cause)),
            Self::Resolve => RemoteAnswer::Addresses(Err(cause)),
        }
    }
}

/// What a player reads when an authenticator could not be asked or did not answer.
pub fn authentication_refusal(cause: AskError) -> Refusal {
    let key = match cause {
        AskError::Denied => keys::DISCONNECT_NOT_AUTHENTICATED,
        AskError::RateLimited => keys::DISCONNECT_AUTHENTICATION_BUSY,
        AskError::Failed | AskError::Unreachable => keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        AskError::TimedOut => keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        AskError::Overloaded => keys::DISCONNECT_OVERLOADED,
    };
    Refusal {
        message: Message {
            key: key.into(),
            params: Vec::new(),
        },
        cause,
    }
}

/// What a player reads when discovery, an action or the strategy gave no target.
pub fn choice_refusal(cause: AskError) -> Refusal {
    let key = match cause {
        AskError::Denied => keys::DISCONNECT_NO_TARGET,
        AskError::Overloaded => keys::DISCONNECT_OVERLOADED,
        AskError::RateLimited | AskError::Failed | AskError::Unreachable | AskError::TimedOut => {
            keys::DISCONNECT_DISCOVERY_UNAVAILABLE
        }
    };
    Refusal {
        message: Message {
            key: key.into(),
            params: Vec::new(),
        },
        cause,
    }
}

/// An answer on its way to a shard. There is at most one for each question under way, so that the mailbox is
/// bounded by the shard's connections.
struct Letter {
    ticket: Ticket,
    answer: RemoteAnswer,
}

/// Names one question of one shard, never again another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    slot: usize,
    serial: u64,
}

/// One shard's questions under way.
pub(crate) struct Desk {
    control: ControlLine,
    post: Sender<Letter>,
    mailbox: Receiver<Letter>,
    wake: Arc<dyn Fn() + Send + Sync>,
    open: RefCell<Open>,
}

#[derive(Default)]
struct Open {
    questions: Slab<Entry>,
    serial: u64,
}

struct Entry {
    serial: u64,
    answer: Option<RemoteAnswer>,
    notify: Rc<dyn Fn()>,
    abandoned: Arc<AtomicBool>,
}

impl Desk {
    /// `wake` makes the shard call [`Self::deliver`] soon, from any thread.
    pub(crate) fn new(control: ControlLine, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let (post, mailbox) = unbounded();
        Self {
            control,
            post,
            mailbox,
            wake,
            open: RefCell::default(),
        }
    }

    /// Asks the control thread; `notify` is called on this shard when the answer is there.
    ///
    /// # Errors
    ///
    /// [`AskError::Overloaded`] if too many questions wait already, [`AskError::Failed`] without a control
    /// thread.
    pub(crate) fn ask(
        self: &Rc<Self>,
        question: RemoteQuestion,
        deadline: Instant,
        trace: Option<TraceParent>,
        notify: Rc<dyn Fn()>,
    ) -> Result<Pending, AskError> {
        let kind = question.kind();
        let pending = self.open(notify);
        let destination = Destination {
            ticket: pending.ticket,
            mailbox: self.post.clone(),
            wake: Arc::clone(&self.wake),
            abandoned: pending.abandoned(),
        };
        let reply = ReplyTo {
            destination: Some(destination),
            kind,
        };
        self.control.send(Asked {
            question,
            deadline,
            trace,
            reply,
        })?;
        Ok(pending)
    }

    /// Hands the answers that have come to whoever waits for them.
    pub(crate) fn deliver(&self) {
        for letter in self.mailbox.try_iter() {
            // Called without the borrow: who is told may take the answer and ask again on the spot.
            if let Some(notify) = self.file(letter) {
                notify();
            }
        }
    }

    /// Questions that wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.open.borrow().questions.len()
    }

    /// Puts the answer where its question is, if somebody still waits for it, and says who is to be told.
    fn file(&self, letter: Letter) -> Option<Rc<dyn Fn()>> {
        let mut open = self.open.borrow_mut();
        let entry = open.questions.get_mut(letter.ticket.slot)?;
        (entry.serial == letter.ticket.serial).then(|| {
            entry.answer = Some(letter.answer);
            Rc::clone(&entry.notify)
        })
    }

    fn open(self: &Rc<Self>, notify: Rc<dyn Fn()>) -> Pending {
        let mut open = self.open.borrow_mut();
        open.serial += 1;
        let serial = open.serial;
        let entry = Entry {
            serial,
            answer: None,
            notify,
            abandoned: Arc::default(),
        };
        let slot = open.questions.insert(entry);
        Pending {
            desk: Rc::clone(self),
            ticket: Ticket { slot, serial },
        }
    }
}

/// A question that waits for its answer; dropping it abandons the question.
pub(crate) struct Pending {
    desk: Rc<Desk>,
    ticket: Ticket,
}

impl Pending {
    /// The answer, once, if it has come.
    pub(crate) fn take(&self) -> Option<RemoteAnswer> {
        self.desk
            .open
            .borrow_mut()
            .questions
            .get_mut(self.ticket.slot)?
            .answer
            .take()
    }

    fn abandoned(&self) -> Arc<AtomicBool> {
        let open = self.desk.open.borrow();
        open.questions
            .get(self.ticket.slot)
            .map(|entry| Arc::clone(&entry.abandoned))
            .unwrap_or_default()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let entry = self.desk.open.borrow_mut().questions.try_remove(self.ticket.slot);
        if let Some(entry) = entry {
            entry.abandoned.store(true, Ordering::Release);
        }
    }
}

impl fmt::Debug for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo")
            .field("kind", &self.kind)
            .field("abandoned", &self.is_abandoned())
            .finish()
    }
}
