//! The handshake, the first packet of every connection since Minecraft 1.7.

use crate::fault::Fault;
use crate::limits::ADDRESS_UNITS_MAX;
use crate::wire::{Reader, write_frame, write_string, write_u16, write_var_int};

const HANDSHAKE: i32 = 0x00;

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The client's protocol version.
    pub protocol: i32,
    /// The address that the player typed, byte for byte: Forge's `\0FML…` and proxies' `///…` suffixes
    /// included.
    pub address: &'a str,
    /// The port that the client connected to.
    pub port: u16,
    /// What the client wants.
    pub intent: Intent,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A server-list ping.
    Status,
    /// A login.
    Login,
    /// A login of a client that another server transferred to us (since 1.20.5).
    Transfer,
}

impl<'a> Handshake<'a> {
    /// Reads a handshake.
    ///
    /// # Errors
    /// [`Fault::PacketUnexpected`] for another id, [`Fault::IntentUnknown`], or what is wrong with a field.
    pub fn decode(packet: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        if reader.var_int()? != HANDSHAKE {
            return Err(Fault::PacketUnexpected);
        }
        let protocol = reader.var_int()?;
        let address = reader.string(ADDRESS_UNITS_MAX)?;
        let port = reader.u16()?;
        let intent = match reader.var_int()? {
            1 => Intent::Status,
            2 => Intent::Login,
            3 => Intent::Transfer,
            _ => return Err(Fault::IntentUnknown),
        };
        reader.finish()?;
        Ok(Self {
            protocol,
            address,
            port,
            intent,
        })
    }

    /// Appends the handshake as a frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, HANDSHAKE);
            write_var_int(out, self.protocol);
            write_string(out, self.address);
            write_u16(out, self.port);
            write_var_int(
                out,
                match self.intent {
                    Intent::Status => 1,
                    Intent::Login => 2,
                    Intent::Transfer => 3,
                },
            );
        });
    }
}
