//! What becomes of questions, whatever their service does.

use std::sync::atomic::AtomicU32;

use super::*;

const NAME: AdapterName = AdapterName::Discovery;

fn caller(policy: Policy) -> Caller {
    Caller::new(NAME, AdapterType::Http, "http://service.test", policy)
}

fn policy() -> Policy {
    Policy {
        timeout: Duration::from_secs(10),
        concurrency: 2,
        retries: 3,
        breaker_failures: 0,
        breaker_pause: Duration::from_secs(10),
    }
}

fn patient() -> Call {
    Call {
        deadline: Instant::now() + Duration::from_secs(60),
        trace: None,
    }
}

fn down() -> Result<u32, Failure> {
    Err(Failure::passing(AskError::Unreachable, "connection refused"))
}

/// Runs a test on a runtime like that of the control thread.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

#[test]
fn gives_the_answer() {
    let caller = caller(policy());
    assert_eq!(run(caller.call(patient(), Repeat::Never, async |_| Ok(7))), Ok(7));
}

#[test]
fn repeats_what_may_be_repeated_until_it_is_answered() {
    let caller = caller(policy());
    let tries = AtomicU32::new(0);
    let answer = run(caller.call(patient(), Repeat::Safe, async |_| {
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => down(),
            tries => Ok(tries),
        }
    }));
    assert_eq!(answer, Ok(2));
}

#[test]
fn repeats_nothing_that_may_have_been_done_nor_what_fails_for_good() {
    let caller = caller(policy());
    let tries = AtomicU32::new(0);
    let fail = |failure: Failure| {
        tries.fetch_add(1, Ordering::Relaxed);
        async { Err::<u32, _>(failure) }
    };
    let passing = Failure::passing(AskError::Unreachable, "");
    let lasting = Failure::lasting(AskError::Failed, "no JSON");
    let once = run(caller.call(patient(), Repeat::Never, |_| fail(passing.clone())));
    assert_eq!(
        (once, tries.swap(0, Ordering::Relaxed)),
        (Err(AskError::Unreachable), 1)
    );
    let once = run(caller.call(patient(), Repeat::Safe, |_| fail(lasting.clone())));
    assert_eq!(
        (once, tries.swap(0, Ordering::Relaxed)),
        (Err(AskError::Failed), 1)
    );
    let often = run(caller.call(patient(), Repeat::Safe, |_| fail(passing.clone())));
    assert_eq!(
        (often, tries.load(Ordering::Relaxed)),
        (Err(AskError::Unreachable), 4)
    );
}

#[test]
fn repeats_nothing_that_would_come_after_the_deadline() {
    let caller = caller(policy());
    let tries = AtomicU32::new(0);
    let answer = run(caller.call(patient(), Repeat::Safe, async |_| {
        tries.fetch_add(1, Ordering::Relaxed);
        Err::<u32, _>(Failure {
            retry_after: Some(Duration::from_secs(600)),
            ..Failure::passing(AskError::RateLimited, "429")
        })
    }));
    assert_eq!(
        (answer, tries.load(Ordering::Relaxed)),
        (Err(AskError::RateLimited), 1)
    );
}

#[test]
fn a_service_that_always_fails_is_asked_little_more_than_once_a_question() {
    let caller = caller(policy());
    let tries = AtomicU32::new(0);
    run(async {
        for _ in 0..100 {
            let _ = caller
                .call(patient(), Repeat::Safe, async |_| {
                    tries.fetch_add(1, Ordering::Relaxed);
                    down()
                })
                .await;
        }
    });
    let tries = tries.load(Ordering::Relaxed);
    assert!((100..=160).contains(&tries), "{tries} attempts for 100 questions");
}

#[test]
fn ends_at_the_earlier_of_both_deadlines() {
    let endless = async |_| std::future::pending::<Result<u32, Failure>>().await;
    let mut impatient = policy();
    impatient.timeout = Duration::from_millis(20);
    let caller_of = |policy| caller(policy);
    assert_eq!(
        run(caller_of(impatient).call(patient(), Repeat::Safe, endless)),
        Err(AskError::TimedOut)
    );
    let soon = Call {
        deadline: Instant::now() + Duration::from_millis(20),
        trace: None,
    };
    let caller = caller(policy());
    assert_eq!(
        run(caller.call(soon, Repeat::Safe, endless)),
        Err(AskError::TimedOut)
    );
    let begun = AtomicBool::new(false);
    let late = run(caller.call(soon, Repeat::Safe, async |_| {
        begun.store(true, Ordering::Relaxed);
        Ok(1)
    }));
    assert_eq!(
        (late, begun.load(Ordering::Relaxed)),
        (Err(AskError::TimedOut), false)
    );
}

#[test]
fn so_many_are_under_way_and_so_many_in_line() {
    let caller = Arc::new(caller(policy()));
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    run(async {
        let tasks: Vec<_> = (0..2 + LINE_MAX + 5)
            .map(|_| {
                let (caller, gate) = (Arc::clone(&caller), Arc::clone(&gate));
                let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
                tokio::spawn(async move {
                    caller
                        .call(patient(), Repeat::Safe, |_| async {
                            let now = at_once.fetch_add(1, Ordering::Relaxed) + 1;
                            most.fetch_max(now, Ordering::Relaxed);
                            let _open = gate.acquire().await;
                            at_once.fetch_sub(1, Ordering::Relaxed);
                            Ok(())
                        })
                        .await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.add_permits(Semaphore::MAX_PERMITS);
        let mut shed = 0;
        for task in tasks {
            shed += usize::from(task.await.unwrap() == Err(AskError::Overloaded));
        }
        assert_eq!(shed, 5);
    });
    assert_eq!(most.load(Ordering::Relaxed), 2);
    assert_eq!(caller.in_line.load(Ordering::Relaxed), 0);
    assert_eq!(caller.seats.available_permits(), 2);
}

#[test]
fn work_that_blocks_keeps_its_seat_until_it_ends() {
    let caller = caller(Policy {
        timeout: Duration::from_millis(50),
        concurrency: 1,
        ..policy()
    });
    let (open, gate) = crossbeam_channel::bounded::<()>(0);
    run(async {
        let blocked = caller
            .call(patient(), Repeat::Never, |attempt: Attempt| {
                let gate = gate.clone();
                async move {
                    let work = move || {
                        let _closed = gate.recv();
                        Ok(())
                    };
                    attempt.on_thread(work).await
                }
            })
            .await;
        assert_eq!(blocked, Err(AskError::TimedOut));
        let second = caller.call(patient(), Repeat::Never, async |_| Ok(())).await;
        assert_eq!(second, Err(AskError::TimedOut), "the seat is taken");
        drop(open);
        while caller.seats.available_permits() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let third = caller.call(patient(), Repeat::Never, async |_| Ok(())).await;
        assert_eq!(third, Ok(()));
    });
}

#[test]
fn a_service_that_keeps_failing_is_left_alone() {
    let caller = caller(Policy {
        breaker_failures: 3,
        breaker_pause: Duration::from_secs(3_600),
        ..policy()
    });
    let tries = AtomicU32::new(0);
    run(async {
        for _ in 0..10 {
            let ask = async |_| {
                tries.fetch_add(1, Ordering::Relaxed);
                down()
            };
            let answer = caller.call(patient(), Repeat::Never, ask).await;
            assert_eq!(answer, Err(AskError::Unreachable));
        }
    });
    assert_eq!(tries.load(Ordering::Relaxed), 3, "the others were not asked");
}

#[test]
fn a_service_that_is_back_is_found_out_by_one_question_and_trusted_again() {
    let caller = caller(Policy {
        breaker_failures: 1,
        breaker_pause: Duration::from_millis(10),
        ..policy()
    });
    run(async {
        let fails = caller.call(patient(), Repeat::Never, async |_| down()).await;
        assert_eq!(fails, Err(AskError::Unreachable));
        let tries = AtomicU32::new(0);
        let ask = async || {
            let count = async |_| Ok(tries.fetch_add(1, Ordering::Relaxed));
            caller.call(patient(), Repeat::Never, count).await
        };
        let first = loop {
            match ask().await {
                Ok(tries) => break tries,
                Err(error) => assert_eq!(error, AskError::Unreachable),
            }
            sleep(Duration::from_millis(1)).await;
        };
        assert_eq!((first, ask().await), (0, Ok(1)));
    });
}

#[test]
fn that_a_service_says_no_is_an_answer() {
    let caller = caller(Policy {
        breaker_failures: 1,
        ..policy()
    });
    run(async {
        for _ in 0..3 {
            let no = caller
                .call(patient(), Repeat::Safe, async |_| {
                    Err::<u32, _>(Failure::lasting(AskError::Denied, "banned"))
                })
                .await;
            assert_eq!(no, Err(AskError::Denied));
        }
        assert_eq!(caller.call(patient(), Repeat::Safe, async |_| Ok(1)).await, Ok(1));
    });
}

#[test]
fn questions_that_are_given_up_leave_nothing_behind() {
    let caller = caller(Policy {
        breaker_failures: 1,
        ..policy()
    });
    run(async {
        for _ in 0..10 {
            let question = caller.call(patient(), Repeat::Safe, async |_| {
                std::future::pending::<Result<u32, Failure>>().await
            });
            assert!(
                tokio::time::timeout(Duration::from_millis(1), question)
                    .await
                    .is_err()
            );
        }
        assert_eq!(caller.call(patient(), Repeat::Safe, async |_| Ok(1)).await, Ok(1));
    });
    assert_eq!(caller.seats.available_permits(), 2);
}
