//! A Minecraft client and a game server, as far as the tests need them, written out byte by byte so that they
//! share no mistake with the code they test.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use passage_proto::cipher::{Decryptor, Encryptor};
use passage_proto::identity::SharedSecret;

/// Longer than anything should take, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const STATUS: i32 = 1;
pub(crate) const LOGIN: i32 = 2;
pub(crate) const TRANSFER: i32 = 3;

/// The newest version of the tests: 1.21.4.
pub(crate) const MODERN: i32 = 769;

pub(crate) fn var_int(value: i32) -> Vec<u8> {
    let mut rest = value.cast_unsigned();
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

pub(crate) fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [var_int(i32::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

/// A frame of a packet with this id and body.
pub(crate) fn packet(id: i32, body: &[u8]) -> Vec<u8> {
    prefixed(&[var_int(id), body.to_vec()].concat())
}

pub(crate) fn handshake(protocol: i32, host: &str, intent: i32) -> Vec<u8> {
    let body = [
        var_int(protocol),
        prefixed(host.as_bytes()),
        25565_u16.to_be_bytes().to_vec(),
        var_int(intent),
    ];
    packet(0, &body.concat())
}

/// Login start of a client since 1.20.2.
pub(crate) fn login_start(name: &str) -> Vec<u8> {
    packet(0, &[prefixed(name.as_bytes()), vec![7; 16]].concat())
}

pub(crate) fn status_request() -> Vec<u8> {
    packet(0, &[])
}

pub(crate) fn ping(payload: u64) -> Vec<u8> {
    packet(1, &payload.to_be_bytes())
}

/// Reads a packet's fields.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn var_int(&mut self) -> i32 {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value.cast_signed();
            }
        }
        panic!("a VarInt of more than five bytes");
    }

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = self.var_int();
        self.take(usize::try_from(length).unwrap())
    }

    pub(crate) fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
}

/// One end of a connection that speaks frames, enciphered once there is a secret.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    cipher: Option<(Encryptor, Decryptor)>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, cipher: None }
    }

    pub(crate) fn encrypt(&mut self, secret: [u8; 16]) {
        let secret = SharedSecret::new(secret);
        self.cipher = Some((Encryptor::new(&secret), Decryptor::new(&secret)));
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let Some((encryptor, _)) = &mut self.cipher {
            encryptor.encrypt(&mut bytes);
        }
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        if let Some((_, decryptor)) = &mut self.cipher {
            decryptor.decrypt(&mut bytes);
        }
        Ok(bytes)
    }

    /// The next packet's id and body.
    pub(crate) fn packet(&mut self) -> (i32, Vec<u8>) {
        self.next_packet().unwrap()
    }

    pub(crate) fn next_packet(&mut self) -> io::Result<(i32, Vec<u8>)> {
        let mut prefix = Vec::new();
        while prefix.last().is_none_or(|byte| byte & 0x80 != 0) {
            prefix.extend(self.read(1)?);
        }
        let frame = self.read(usize::try_from(Fields(&prefix).var_int()).unwrap())?;
        let mut fields = Fields(&frame);
        Ok((fields.var_int(), fields.0.to_vec()))
    }

    /// The next packet, which has to have this id.
    pub(crate) fn expect(&mut self, id: i32) -> Vec<u8> {
        let (found, body) = self.packet();
        assert_eq!(
            found, id,
            "packet {found:#04x} with {body:02x?} in place of {id:#04x}"
        );
        body
    }

    /// Reads to the end; whether the other side closed in good order.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Waits until the other side has closed, in whatever way, and gives what it said.
    pub(crate) fn closed(&mut self) -> Vec<u8> {
        match self.rest() {
            Ok(rest) => rest,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Vec::new(),
            Err(error) => panic!("not closed: {error}"),
        }
    }

    pub(crate) fn end_writing(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// A listener for the tests' own servers.
pub(crate) struct Server(pub(crate) TcpListener);

impl Server {
    pub(crate) fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    pub(crate) fn accept(&self) -> Client {
        Client::over(self.0.accept().unwrap().0)
    }
}
