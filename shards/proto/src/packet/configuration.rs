//! The configuration phase of versions that have cookies and transfer (since 1.20.5), as far as Passage
//! speaks it.

use uuid::Uuid;

use super::{CookieRequest, CookieResponse};
use crate::fault::Fault;
use crate::limits::{COOKIE_BYTES_MAX, IDENTIFIER_UNITS_MAX, LOCALE_UNITS_MAX};
use crate::text::Text;
use crate::version::Version;
use crate::wire::{
    Reader, write_byte_array, write_frame, write_i32, write_i64, write_string, write_uuid, write_var_int,
};

const CLIENT_INFORMATION: i32 = 0x00;
const COOKIE_RESPONSE: i32 = 0x01;
const PLUGIN_MESSAGE_IN: i32 = 0x02;
const KEEP_ALIVE_IN: i32 = 0x04;
const PONG: i32 = 0x05;
const RESOURCE_PACK_RESPONSE: i32 = 0x06;

const COOKIE_REQUEST: i32 = 0x00;
const DISCONNECT: i32 = 0x02;
const KEEP_ALIVE_OUT: i32 = 0x04;

/// What a client sends in the configuration phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serverbound<'a> {
    /// The client's settings.
    ClientInformation(ClientInformation<'a>),
    /// A cookie that was asked for.
    CookieResponse(CookieResponse<'a>),
    /// A message of a plugin, such as `minecraft:brand`.
    PluginMessage {
        /// The plugin's channel.
        channel: &'a str,
        /// The message.
        data: &'a [u8],
    },
    /// The answer to a keep-alive.
    KeepAlive(i64),
    /// The answer to a ping.
    Pong(i32),
    /// What became of a resource pack.
    ResourcePackResponse {
        /// The pack.
        id: Uuid,
        /// 0 to 7, from loaded to discarded.
        result: i32,
    },
    /// A packet with an id from 0x07 (known packs) upwards: the client may send it and Passage has no use for
    /// it.
    Unread {
        /// The packet's id.
        id: i32,
    },
}

impl<'a> Serverbound<'a> {
    /// Reads a packet of the configuration phase.
    ///
    /// # Errors
    /// [`Fault::PacketUnexpected`] for a negative id or for "finish acknowledged", which answers a packet
    /// that Passage never sends, or what is wrong with a field.
    pub fn decode(packet: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        let packet = match reader.var_int()? {
            CLIENT_INFORMATION => Self::ClientInformation(ClientInformation::read(&mut reader)?),
            COOKIE_RESPONSE => Self::CookieResponse(CookieResponse::read(&mut reader)?),
            PLUGIN_MESSAGE_IN => Self::PluginMessage {
                channel: reader.string(IDENTIFIER_UNITS_MAX)?,
                data: reader.rest(),
            },
            KEEP_ALIVE_IN => Self::KeepAlive(reader.i64()?),
            PONG => Self::Pong(reader.i32()?),
            RESOURCE_PACK_RESPONSE => Self::ResourcePackResponse {
                id: reader.uuid()?,
                result: reader.var_int()?,
            },
            id if id > RESOURCE_PACK_RESPONSE => {
                reader.rest();
                Self::Unread { id }
            }
            _ => return Err(Fault::PacketUnexpected),
        };
        reader.finish()?;
        Ok(packet)
    }

    /// Appends the packet as a frame; an unread packet gets no fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Self::CookieResponse(response) = self {
            return response.write(COOKIE_RESPONSE, out);
        }
        write_frame(out, |out| match self {
            Self::ClientInformation(information) => information.write(out),
            Self::CookieResponse(_) => {}
            Self::PluginMessage { channel, data } => {
                write_var_int(out, PLUGIN_MESSAGE_IN);
                write_string(out, channel);
                out.extend_from_slice(data);
            }
            Self::KeepAlive(id) => {
                write_var_int(out, KEEP_ALIVE_IN);
                write_i64(out, *id);
            }
            Self::Pong(id) => {
                write_var_int(out, PONG);
                write_i32(out, *id);
            }
            Self::ResourcePackResponse { id, result } => {
                write_var_int(out, RESOURCE_PACK_RESPONSE);
                write_uuid(out, *id);
                write_var_int(out, *result);
            }
            Self::Unread { id } => write_var_int(out, *id),
        });
    }
}

/// The client's settings. Only the locale is read: fields were appended to the others in later versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInformation<'a> {
    /// The player's language, such as `de_de`.
    pub locale: &'a str,
    /// Every further field, unread.
    pub settings: &'a [u8],
}

impl<'a> ClientInformation<'a> {
    /// The default settings of a vanilla client of the given version.
    #[must_use]
    pub fn vanilla(locale: &'a str, version: &Version) -> Self {
        // View distance 12, full chat, chat colours, all skin parts, right hand, no text filtering, server
        // listing allowed; all particles since 1.21.2.
        const SETTINGS: &[u8] = &[12, 0, 1, 0x7F, 1, 0, 1, 0];
        let fields = if version.since >= 768 {
            SETTINGS.len()
        } else {
            SETTINGS.len() - 1
        };
        Self {
            locale,
            settings: SETTINGS.get(..fields).unwrap_or_default(),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Self {
            locale: reader.string(LOCALE_UNITS_MAX)?,
            settings: reader.rest(),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_var_int(out, CLIENT_INFORMATION);
        write_string(out, self.locale);
        out.extend_from_slice(self.settings);
    }
}

/// What a server sends in the configuration phase, for encoding.
#[derive(Clone, Copy, Debug)]
pub enum Clientbound<'a> {
    /// Asks for a cookie.
    CookieRequest(CookieRequest<'a>),
    /// Ends the connection with a message.
    Disconnect(&'a Text),
    /// Asks for a sign of life.
    KeepAlive(i64),
    /// Has the client keep a cookie until it leaves the network.
    StoreCookie(StoreCookie<'a>),
    /// Sends the client to another server.
    Transfer(Transfer<'a>),
}

impl Clientbound<'_> {
    /// Appends the packet as a frame, as the given version reads it. Store cookie and transfer have the ids
    /// of the newest version if the given one cannot be transferred at all; a session never gets there.
    pub fn encode(&self, version: &Version, out: &mut Vec<u8>) {
        let ids = version.configuration_ids();
        match self {
            Self::CookieRequest(request) => request.write(COOKIE_REQUEST, out),
            Self::Disconnect(text) => write_frame(out, |out| {
                write_var_int(out, DISCONNECT);
                text.write_nbt(out);
            }),
            Self::KeepAlive(id) => write_frame(out, |out| {
                write_var_int(out, KEEP_ALIVE_OUT);
                write_i64(out, *id);
            }),
            Self::StoreCookie(cookie) => write_frame(out, |out| {
                write_var_int(out, ids.store_cookie);
                write_string(out, cookie.key);
                write_byte_array(out, cookie.payload);
            }),
            Self::Transfer(transfer) => write_frame(out, |out| {
                write_var_int(out, ids.transfer);
                write_string(out, transfer.host);
                write_var_int(out, i32::from(transfer.port));
            }),
        }
    }
}

/// A cookie for the client to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCookie<'a> {
    /// The cookie's key.
    pub key: &'a str,
    /// At most [`COOKIE_BYTES_MAX`]; a client refuses more.
    pub payload: &'a [u8],
}

/// Where a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// Host name or IP, for the client to resolve.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
}

/// What a client reads in the configuration phase: the other side of [`Clientbound`], for load generators and
/// tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// The server wants a cookie.
    CookieRequest(CookieRequest<'a>),
    /// The connection ends with this text, in network NBT.
    Disconnect(&'a [u8]),
    /// The server wants a sign of life.
    KeepAlive(i64),
    /// The client shall keep this cookie.
    StoreCookie(StoreCookie<'a>),
    /// The client shall go elsewhere.
    Transfer(Transfer<'a>),
    /// Anything else.
    Unread {
        /// The packet's id.
        id: i32,
    },
}

impl<'a> Seen<'a> {
    /// Reads a packet as a client of the given version does.
    ///
    /// # Errors
    /// What is wrong with a field.
    pub fn decode(packet: &'a [u8], version: &Version) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        let ids = version.configuration_ids();
        let packet = match reader.var_int()? {
            COOKIE_REQUEST => Self::CookieRequest(CookieRequest::read(&mut reader)?),
            DISCONNECT => Self::Disconnect(reader.rest()),
            KEEP_ALIVE_OUT => Self::KeepAlive(reader.i64()?),
            id if id == ids.store_cookie => Self::StoreCookie(StoreCookie {
                key: reader.string(IDENTIFIER_UNITS_MAX)?,
                payload: reader.byte_array(COOKIE_BYTES_MAX)?,
            }),
            id if id == ids.transfer => Self::Transfer(Transfer {
                host: reader.string(IDENTIFIER_UNITS_MAX)?,
                port: u16::try_from(reader.var_int()?).map_err(|_| Fault::PacketUnexpected)?,
            }),
            id => {
                reader.rest();
                Self::Unread { id }
            }
        };
        reader.finish()?;
        Ok(packet)
    }
}
