//! The program as its own process, with an admin listener.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything here should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A running Passage. Ended when dropped.
pub(crate) struct Process {
    /// Where players connect.
    pub(crate) address: SocketAddr,
    /// Where the admin listener is.
    pub(crate) admin: SocketAddr,
    child: Child,
    output: Ear,
    errors: Ear,
}

/// All that a process has said.
pub(crate) struct Said {
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Ear::at(child.stdout.take().unwrap());
        let errors = Ear::at(child.stderr.take().unwrap());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self {
            address: nowhere,
            admin: nowhere,
            child,
            output,
            errors,
        };
        process.address = process.address_after("Listening on ");
        process.admin = process.address_after("are at http://");
        process
    }

    fn address_after(&self, mark: &str) -> SocketAddr {
        let word = wait_for(mark, || {
            let said = self.output.heard();
            let (_, rest) = said.split_once(mark)?;
            rest.split([' ', '"', '\n', ';']).next().map(str::to_owned)
        });
        word.parse().unwrap()
    }

    /// Waits until its log says this.
    pub(crate) fn wait_to_say(&self, words: &str) {
        wait_for(words, || self.output.heard().contains(words).then_some(()));
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Tells it to end, and gives what it has said.
    pub(crate) fn end(mut self) -> Said {
        self.signal(Signal::SIGTERM);
        let status = wait_for("the end", || self.child.try_wait().unwrap());
        let (output, errors) = (self.output.finish(), self.errors.finish());
        assert!(status.success(), "{status}: {output}{errors}");
        Said { output, errors }
    }
}

/// Hears lines as they come, so that nothing that is said is ever held up.
struct Ear {
    heard: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Ear {
    fn at(mouth: impl Read + Send + 'static) -> Self {
        let heard = Arc::<Mutex<String>>::default();
        let lines = Arc::clone(&heard);
        let listen = move || {
            for line in BufReader::new(mouth).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap();
                lines.push_str(&line);
                lines.push('\n');
            }
        };
        Self {
            heard,
            listener: Some(thread::spawn(listen)),
        }
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    fn finish(&mut self) -> String {
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        self.heard()
    }
}

/// Waits until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A whole page of the admin listener, head and body.
pub(crate) fn page(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
