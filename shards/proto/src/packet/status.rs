//! The status phase: a server-list ping. Its packets have been the same since Minecraft 1.7.

use crate::fault::Fault;
use crate::limits::STATUS_UNITS_MAX;
use crate::wire::{Reader, write_frame, write_i64, write_string, write_var_int};

const REQUEST: i32 = 0x00;
const RESPONSE: i32 = 0x00;
const PING: i32 = 0x01;
const PONG: i32 = 0x01;

/// What a client sends in the status phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serverbound {
    /// Asks for the status.
    Request,
    /// Asks for the payload back. A client may do so without asking for the status.
    Ping(i64),
}

impl Serverbound {
    /// Reads a packet of the status phase.
    ///
    /// # Errors
    /// [`Fault::PacketUnexpected`] for another id, or what is wrong with a field.
    pub fn decode(packet: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        let packet = match reader.var_int()? {
            REQUEST => Self::Request,
            PING => Self::Ping(reader.i64()?),
            _ => return Err(Fault::PacketUnexpected),
        };
        reader.finish()?;
        Ok(packet)
    }

    /// Appends the packet as a frame.
    pub fn encode(self, out: &mut Vec<u8>) {
        write_frame(out, |out| match self {
            Self::Request => write_var_int(out, REQUEST),
            Self::Ping(payload) => {
                write_var_int(out, PING);
                write_i64(out, payload);
            }
        });
    }
}

/// What a server sends in the status phase. A session sends [`crate::status::StatusReply`] instead of
/// [`Self::Response`]: that one is encoded already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clientbound<'a> {
    /// The status as JSON.
    Response(&'a str),
    /// The ping's payload.
    Pong(i64),
}

impl<'a> Clientbound<'a> {
    /// Reads a packet of the status phase.
    ///
    /// # Errors
    /// [`Fault::PacketUnexpected`] for another id, or what is wrong with a field.
    pub fn decode(packet: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        let packet = match reader.var_int()? {
            RESPONSE => Self::Response(reader.string(STATUS_UNITS_MAX)?),
            PONG => Self::Pong(reader.i64()?),
            _ => return Err(Fault::PacketUnexpected),
        };
        reader.finish()?;
        Ok(packet)
    }

    /// Appends the packet as a frame.
    pub fn encode(self, out: &mut Vec<u8>) {
        write_frame(out, |out| match self {
            Self::Response(json) => {
                write_var_int(out, RESPONSE);
                write_string(out, json);
            }
            Self::Pong(payload) => {
                write_var_int(out, PONG);
                write_i64(out, payload);
            }
        });
    }
}
