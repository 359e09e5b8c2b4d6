//! Questions, answers, and everything that can get lost between them.

use std::cell::Cell;
use std::time::Duration;

use super::*;

struct Shard {
    desk: Rc<Desk>,
    control: Receiver<Asked>,
    wakes: Receiver<()>,
    notified: Rc<Cell<usize>>,
}

fn shard(capacity: usize) -> Shard {
    let (questions, control) = bounded(capacity);
    let (woken, wakes) = unbounded();
    let wake = Arc::new(move || woken.send(()).unwrap());
    Shard {
        desk: Rc::new(Desk::new(questions.into(), wake)),
        control,
        wakes,
        notified: Rc::default(),
    }
}

impl Shard {
    fn ask(&self) -> Result<Pending, AskError> {
        let notified = Rc::clone(&self.notified);
        let notify = Rc::new(move || notified.set(notified.get() + 1));
        let question = RemoteQuestion::Resolve {
            host: "lobby.example.net".into(),
            port: 25565,
        };
        self.desk
            .ask(question, Instant::now() + Duration::from_secs(5), None, notify)
    }
}

fn addresses() -> RemoteAnswer {
    RemoteAnswer::Addresses(Ok(vec![SocketAddr::from(([127, 0, 0, 1], 25565))]))
}

#[test]
fn an_answer_reaches_the_one_who_asked() {
    let shard = shard(8);
    let (first, second) = (shard.ask().unwrap(), shard.ask().unwrap());
    let _forgotten_first = shard.control.recv().unwrap();
    let asked = shard.control.recv().unwrap();
    std::thread::scope(|scope| scope.spawn(move || asked.reply.send(addresses())).join().unwrap());
    assert_eq!(shard.wakes.try_iter().count(), 1, "the shard is woken");
    shard.desk.deliver();
    assert_eq!(shard.notified.get(), 1);
    assert!(first.take().is_none());
    assert!(matches!(second.take(), Some(RemoteAnswer::Addresses(Ok(list))) if list.len() == 1));
    assert!(second.take().is_none(), "once");
}

#[test]
fn a_question_that_control_drops_has_failed() {
    let shard = shard(8);
    let pending = shard.ask().unwrap();
    drop(shard.control.recv().unwrap());
    shard.desk.deliver();
    assert!(matches!(
        pending.take(),
        Some(RemoteAnswer::Addresses(Err(AskError::Failed)))
    ));
}

#[test]
fn a_full_channel_sheds_and_leaves_nothing_behind() {
    let shard = shard(1);
    let first = shard.ask().unwrap();
    assert_eq!(shard.ask().err(), Some(AskError::Overloaded));
    assert_eq!(shard.desk.waiting(), 1);
    shard.desk.deliver();
    assert!(
        first.take().is_none(),
        "the shed question's own end is nobody's answer"
    );
    drop(shard.control);
    assert_eq!(
        shard
            .desk
            .ask(
                RemoteQuestion::Resolve {
                    host: String::new(),
                    port: 1
                },
                Instant::now(),
                None,
                Rc::new(|| ()),
            )
            .err(),
        Some(AskError::Failed),
        "no control thread"
    );
}

#[test]
fn whoever_stops_waiting_tells_control_and_gets_no_late_answer() {
    let shard = shard(8);
    let pending = shard.ask().unwrap();
    let asked = shard.control.recv().unwrap();
    assert!(!asked.reply.is_abandoned());
    drop(pending);
    assert!(asked.reply.is_abandoned());
    let next = shard.ask().unwrap();
    asked.reply.send(addresses());
    shard.desk.deliver();
    assert!(
        next.take().is_none(),
        "the slot's new owner does not read the old owner's answer"
    );
    assert_eq!(shard.notified.get(), 0);
}

#[test]
fn a_letter_that_is_already_in_the_box_misses_the_slots_new_owner() {
    let shard = shard(8);
    let pending = shard.ask().unwrap();
    shard.control.recv().unwrap().reply.send(addresses());
    drop(pending);
    let next = shard.ask().unwrap();
    shard.desk.deliver();
    assert!(next.take().is_none());
}

#[test]
fn a_detached_reply_ends_in_a_channel() {
    let question = RemoteQuestion::Resolve {
        host: "lobby.example.net".into(),
        port: 25565,
    };
    let (reply, answers) = ReplyTo::detached(&question);
    reply.send(addresses());
    assert!(matches!(answers.try_recv(), Ok(RemoteAnswer::Addresses(Ok(_)))));
    let (reply, answers) = ReplyTo::detached(&question);
    drop(reply);
    assert!(matches!(
        answers.try_recv(),
        Ok(RemoteAnswer::Addresses(Err(AskError::Failed)))
    ));
}
