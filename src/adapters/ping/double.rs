//! A server for tests: answers pings as it is told, and remembers what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use passage_proto::limits::FRAME_BYTES_MAX;
use passage_proto::packet::handshake::Handshake;
use passage_proto::packet::status::{Clientbound, Serverbound};
use passage_proto::proxy_header::{self, Addresses, Allowed};
use passage_proto::question::Target;
use passage_proto::wire;

/// What the server does with whoever connects.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Answers with this status, and pings with pongs.
    Shows(String),
    /// Sends these bytes and closes.
    Sends(Vec<u8>),
    /// Reads and says nothing.
    IsSilent,
    /// Closes at once.
    Closes,
}

/// What the server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeted {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: i32,
    pub(crate) proxied: Option<Addresses>,
}

/// A server on a port of its own.
#[derive(Clone, Debug)]
pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    greeted: Arc<Mutex<Vec<Greeted>>>,
}

impl Double {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let double = Self {
            address: listener.local_addr().unwrap(),
            manner: Arc::new(Mutex::new(manner)),
            greeted: Arc::default(),
        };
        let serving = double.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        double
    }

    /// A status with this text and these players.
    pub(crate) fn shows(text: &str, online: u32) -> Manner {
        Manner::Shows(format!(
            r#"{{"version":{{"name":"Test","protocol":775}},"players":{{"max":20,"online":{online}}},
                "description":"{text}"}}"#
        ))
    }

    /// From now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// What it was told so far.
    pub(crate) fn greeted(&self) -> Vec<Greeted> {
        self.greeted.lock().unwrap().clone()
    }

    /// The server as a target.
    pub(crate) fn target(&self, identifier: &str, priority: u32) -> Arc<Target> {
        Arc::new(Target {
            identifier: identifier.into(),
            host: self.address.ip().to_string(),
            port: self.address.port(),
            priority,
            meta: std::collections::BTreeMap::new(),
        })
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let manner = self.manner.lock().unwrap().clone();
        let status = match manner {
            Manner::Closes => return None,
            Manner::Shows(status) => Some(status),
            Manner::Sends(bytes) => {
                let _ = stream.read(&mut [0; 1024]);
                return stream.write_all(&bytes).ok();
            }
            Manner::IsSilent => None,
        };
        let mut input = Vec::new();
        let proxied = proxy_header(&mut stream, &mut input)?;
        let handshake = next(&mut stream, &mut input)?;
        let handshake = Handshake::decode(&handshake).ok()?;
        self.greeted.lock().unwrap().push(Greeted {
            host: handshake.address.into(),
            port: handshake.port,
            protocol: handshake.protocol,
            proxied,
        });
        loop {
            let packet = next(&mut stream, &mut input)?;
            let mut answer = Vec::new();
            match (Serverbound::decode(&packet).ok()?, &status) {
                (Serverbound::Request, Some(status)) => Clientbound::Response(status).encode(&mut answer),
                (Serverbound::Ping(payload), Some(_)) => Clientbound::Pong(payload).encode(&mut answer),
                (_, None) => {}
            }
            stream.write_all(&answer).ok()?;
        }
    }
}

/// Reads a header if there is one.
fn proxy_header(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<Option<Addresses>> {
    let allowed = Allowed { v1: true, v2: true };
    while input.len() < 2 {
        read(stream, input)?;
    }
    loop {
        match proxy_header::parse(input, allowed) {
            Ok(Some(header)) => {
                input.drain(..header.length);
                return Some(header.addresses);
            }
            Ok(None) => read(stream, input)?,
            Err(_) => return Some(None),
        }
    }
}

fn next(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(packet) = wire::split_frame(input, FRAME_BYTES_MAX).ok()? {
            let frame: Vec<u8> = input.drain(..packet.end).collect();
            return Some(frame.get(packet)?.to_vec());
        }
        read(stream, input)?;
    }
}

fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 1024];
    let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
    input.extend_from_slice(chunk.get(..length)?);
    Some(())
}
