//! A web server that quotes what it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::read::GzDecoder;

use crate::process::PATIENCE;

/// A web server that is asked everything, quotes the whole question, and says that it went wrong.
pub(crate) struct Blabbermouth {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    questions: Arc<Mutex<Vec<Question>>>,
}

/// A question as it came, its body unpacked.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Blabbermouth {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let questions = Arc::<Mutex<Vec<Question>>>::default();
        let asked = Arc::clone(&questions);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                // Whoever speaks no HTTP/1 is left alone.
                thread::spawn(move || converse(stream, &asked).unwrap_or_default());
            }
        });
        Self { address, questions }
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }

    /// Whether somebody was told this secret in the head of a question to this path.
    pub(crate) fn was_told(&self, path: &str, secret: &str) -> bool {
        let questions = self.questions();
        questions
            .iter()
            .any(|question| question.head.contains(path) && question.head.contains(secret))
    }
}

fn converse(stream: TcpStream, asked: &Mutex<Vec<Question>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            break;
        }
    }
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| {
        let line = lower.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let length = field("content-length:").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if field("content-encoding:").is_some_and(|coding| coding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain)?;
        body = plain;
    }
    let answer = format!("no: {}", head.replace("\r\n", " | "));
    asked.lock().unwrap().push(Question { head, body });
    let length = answer.len();
    (&stream).write_all(
        format!(
            "HTTP/1.1 400 No\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: \
             {length}\r\n\r\n{answer}"
        )
        .as_bytes(),
    )
}
