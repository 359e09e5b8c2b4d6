//! A DNS server of one name: says what a test tells it to, over UDP and TCP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// What is said to every question.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// The records of the type that is asked for; there may be none of it.
    Records(Vec<(u32, RData)>),
    /// The same, but over UDP nothing fits.
    Truncated(Vec<(u32, RData)>),
    /// For questions of this type an error, for all others the records.
    Partly(RecordType, ResponseCode, Vec<(u32, RData)>),
    /// An error, or no such name.
    Code(ResponseCode),
    /// Nothing at all.
    Silence,
    /// Bytes that are no message.
    Garbage,
}

/// A running server, which ends when it is dropped.
pub(super) struct Responder {
    pub(super) address: SocketAddr,
    /// Questions over UDP and over TCP.
    pub(super) questions: Arc<[AtomicUsize; 2]>,
    reply: Arc<Mutex<Reply>>,
    tasks: [JoinHandle<()>; 2],
}

impl Responder {
    pub(super) async fn start(reply: Reply) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // The same port has to be free for TCP, too.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let reply = Arc::new(Mutex::new(reply));
        let questions = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let tasks = [
            tokio::spawn(answer_datagrams(udp, Arc::clone(&reply), Arc::clone(&questions))),
            tokio::spawn(answer_streams(tcp, Arc::clone(&reply), Arc::clone(&questions))),
        ];
        Self {
            address,
            questions,
            reply,
            tasks,
        }
    }

    pub(super) fn say(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn answer_datagrams(socket: UdpSocket, reply: Arc<Mutex<Reply>>, questions: Arc<[AtomicUsize; 2]>) {
    let mut buffer = [0; 2_048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        questions[0].fetch_add(1, Ordering::Relaxed);
        let said = reply.lock().unwrap().clone();
        if let Some(answer) = answer(&buffer[..length], said, true) {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn answer_streams(listener: TcpListener, reply: Arc<Mutex<Reply>>, questions: Arc<[AtomicUsize; 2]>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (reply, questions) = (Arc::clone(&reply), Arc::clone(&questions));
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.unwrap();
                questions[1].fetch_add(1, Ordering::Relaxed);
                let said = reply.lock().unwrap().clone();
                if let Some(answer) = answer(&question, said, false) {
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
    }
}

fn answer(question: &[u8], reply: Reply, over_udp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries.first().unwrap().clone();
    let mut answer = Message::new(
        question.metadata.id,
        MessageType::Response,
        question.metadata.op_code,
    );
    answer.metadata.recursion_available = true;
    let records = match reply {
        Reply::Silence => return None,
        Reply::Garbage => return Some(vec![0xFF; 40]),
        Reply::Code(code) => {
            answer.metadata.response_code = code;
            Vec::new()
        }
        Reply::Partly(kind, code, _) if query.query_type() == kind => {
            answer.metadata.response_code = code;
            Vec::new()
        }
        Reply::Truncated(_) if over_udp => {
            answer.metadata.truncation = true;
            Vec::new()
        }
        Reply::Records(records) | Reply::Truncated(records) | Reply::Partly(_, _, records) => records,
    };
    let of_type = records
        .into_iter()
        .filter(|(_, data)| data.record_type() == query.query_type());
    let name: Name = query.name().clone();
    answer.add_answers(of_type.map(|(ttl, data)| Record::from_rdata(name.clone(), ttl, data)));
    answer.add_query(query);
    Some(answer.to_vec().unwrap())
}
