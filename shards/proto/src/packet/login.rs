//! The login phase. What differs between versions is in [`crate::version`].

use uuid::Uuid;

use super::{CookieRequest, CookieResponse};
use crate::fault::Fault;
use crate::identity::VerifiedProfile;
use crate::limits::{
    IDENTIFIER_UNITS_MAX, LOGIN_DISCONNECT_UNITS_MAX, PLAYER_NAME_UNITS_MAX, PUBLIC_KEY_BYTES_MAX,
    RSA_BYTES_MAX,
};
use crate::text::Text;
use crate::version::{EncryptionForm, LoginStartForm, Version};
use crate::wire::{
    Reader, write_bool, write_byte_array, write_frame, write_i64, write_length, write_string, write_u16,
    write_uuid, write_var_int,
};

pub use success::LoginSuccessSeen;

mod success;

const START: i32 = 0x00;
const ENCRYPTION_RESPONSE: i32 = 0x01;
const PLUGIN_RESPONSE: i32 = 0x02;
const ACKNOWLEDGED: i32 = 0x03;
const COOKIE_RESPONSE: i32 = 0x04;

const DISCONNECT: i32 = 0x00;
const ENCRYPTION_REQUEST: i32 = 0x01;
const SUCCESS: i32 = 0x02;
const SET_COMPRESSION: i32 = 0x03;
const PLUGIN_REQUEST: i32 = 0x04;
const COOKIE_REQUEST: i32 = 0x05;

/// What a client sends in the login phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serverbound<'a> {
    /// Who the client says it is.
    Start(LoginStart<'a>),
    /// The connection's secret, encrypted with our public key.
    EncryptionResponse(EncryptionResponse<'a>),
    /// The answer to a plugin request. Passage sends none on this side.
    PluginResponse(PluginResponse<'a>),
    /// Login is over, the configuration phase begins.
    Acknowledged,
    /// A cookie that was asked for.
    CookieResponse(CookieResponse<'a>),
}

impl<'a> Serverbound<'a> {
    /// Reads a packet of the login phase as the given version writes it.
    ///
    /// # Errors
    /// [`Fault::PacketUnexpected`] for an id that the version does not have, or what is wrong with a field.
    pub fn decode(packet: &'a [u8], version: &Version) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        let packet = match reader.var_int()? {
            START => Self::Start(LoginStart::read(&mut reader, version)?),
            ENCRYPTION_RESPONSE => Self::EncryptionResponse(EncryptionResponse::read(&mut reader, version)?),
            PLUGIN_RESPONSE => Self::PluginResponse(PluginResponse::read(&mut reader)?),
            ACKNOWLEDGED if version.has_configuration() => Self::Acknowledged,
            COOKIE_RESPONSE if version.can_transfer() => {
                Self::CookieResponse(CookieResponse::read(&mut reader)?)
            }
            _ => return Err(Fault::PacketUnexpected),
        };
        reader.finish()?;
        Ok(packet)
    }

    /// Appends the packet as a frame, as the given version writes it.
    pub fn encode(&self, version: &Version, out: &mut Vec<u8>) {
        match self {
            Self::Start(start) => start.write(version, out),
            Self::EncryptionResponse(response) => response.write(version, out),
            Self::PluginResponse(response) => response.write(out),
            Self::Acknowledged => write_frame(out, |out| write_var_int(out, ACKNOWLEDGED)),
            Self::CookieResponse(response) => response.write(COOKIE_RESPONSE, out),
        }
    }
}

/// Who the client says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginStart<'a> {
    /// The claimed name: 1 to 16 UTF-16 code units, of any characters.
    pub name: &'a str,
    /// The key that signs the player's chat, in the versions that have one here.
    pub chat_key: Option<ChatKey<'a>>,
    /// The claimed UUID, if the version sends one.
    pub id: Option<Uuid>,
}

/// A player's chat key, as Minecraft 1.19 to 1.19.2 sent it in login start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatKey<'a> {
    /// When the key expires, in milliseconds since the Unix epoch.
    pub expires: i64,
    /// The DER-encoded public key.
    pub public_key: &'a [u8],
    /// Mojang's signature.
    pub signature: &'a [u8],
}

impl<'a> LoginStart<'a> {
    fn read(reader: &mut Reader<'a>, version: &Version) -> Result<Self, Fault> {
        let name = reader.string(PLAYER_NAME_UNITS_MAX)?;
        if name.is_empty() {
            return Err(Fault::NameEmpty);
        }
        let form = version.login_start;
        let has_key =
            matches!(form, LoginStartForm::NameKey | LoginStartForm::NameKeyUuid) && reader.bool()?;
        let chat_key = if has_key {
            Some(ChatKey::read(reader)?)
        } else {
            None
        };
        let has_id = match form {
            LoginStartForm::Name | LoginStartForm::NameKey => false,
            LoginStartForm::NameKeyUuid | LoginStartForm::NameOptionalUuid => reader.bool()?,
            LoginStartForm::NameUuid => true,
        };
        let id = if has_id { Some(reader.uuid()?) } else { None };
        Ok(Self { name, chat_key, id })
    }

    fn write(&self, version: &Version, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, START);
            write_string(out, self.name);
            let form = version.login_start;
            if matches!(form, LoginStartForm::NameKey | LoginStartForm::NameKeyUuid) {
                write_bool(out, self.chat_key.is_some());
                if let Some(key) = &self.chat_key {
                    key.write(out);
                }
            }
            match form {
                LoginStartForm::Name | LoginStartForm::NameKey => {}
                LoginStartForm::NameKeyUuid | LoginStartForm::NameOptionalUuid => {
                    write_bool(out, self.id.is_some());
                    if let Some(id) = self.id {
                        write_uuid(out, id);
                    }
                }
                LoginStartForm::NameUuid => write_uuid(out, self.id.unwrap_or_default()),
            }
        });
    }
}

impl<'a> ChatKey<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let expires = reader.i64()?;
        let public_key = reader.byte_array(PUBLIC_KEY_BYTES_MAX)?;
        let signature = reader.byte_array(RSA_BYTES_MAX)?;
        Ok(Self {
            expires,
            public_key,
            signature,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_i64(out, self.expires);
        write_byte_array(out, self.public_key);
        write_byte_array(out, self.signature);
    }
}

/// The connection's secret, encrypted with our public key, and the proof that it is for this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptionResponse<'a> {
    /// RSA PKCS #1 v1.5 ciphertext of the 16-byte shared secret.
    pub shared_secret: &'a [u8],
    /// The verify token, or what Minecraft 1.19 could send in its place.
    pub proof: TokenProof<'a>,
}

/// How a client shows that it saw the verify token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProof<'a> {
    /// RSA PKCS #1 v1.5 ciphertext of the token.
    Encrypted(&'a [u8]),
    /// A signature over token and salt by the chat key (1.19 to 1.19.2).
    Signed {
        /// A random number that is signed with the token.
        salt: i64,
        /// The signature.
        signature: &'a [u8],
    },
}

impl<'a> EncryptionResponse<'a> {
    fn read(reader: &mut Reader<'a>, version: &Version) -> Result<Self, Fault> {
        let form = version.encryption;
        if form == EncryptionForm::ShortArrays {
            let shared_secret = reader.short_byte_array(RSA_BYTES_MAX)?;
            let token = reader.short_byte_array(RSA_BYTES_MAX)?;
            return Ok(Self {
                shared_secret,
                proof: TokenProof::Encrypted(token),
            });
        }
        let shared_secret = reader.byte_array(RSA_BYTES_MAX)?;
        let encrypted = form != EncryptionForm::TokenOrSignature || reader.bool()?;
        let proof = if encrypted {
            TokenProof::Encrypted(reader.byte_array(RSA_BYTES_MAX)?)
        } else {
            TokenProof::Signed {
                salt: reader.i64()?,
                signature: reader.byte_array(RSA_BYTES_MAX)?,
            }
        };
        Ok(Self { shared_secret, proof })
    }

    fn write(&self, version: &Version, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, ENCRYPTION_RESPONSE);
            write_array(out, self.shared_secret, version.encryption);
            if version.encryption == EncryptionForm::TokenOrSignature {
                write_bool(out, matches!(self.proof, TokenProof::Encrypted(_)));
            }
            match self.proof {
                TokenProof::Encrypted(token) => write_array(out, token, version.encryption),
                TokenProof::Signed { salt, signature } => {
                    write_i64(out, salt);
                    write_byte_array(out, signature);
                }
            }
        });
    }
}

/// The answer to a plugin request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginResponse<'a> {
    /// The request's number.
    pub message_id: i32,
    /// The answer, or `None` if the peer does not know the channel.
    pub data: Option<&'a [u8]>,
}

impl<'a> PluginResponse<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let message_id = reader.var_int()?;
        let data = if reader.bool()? { Some(reader.rest()) } else { None };
        Ok(Self { message_id, data })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, PLUGIN_RESPONSE);
            write_var_int(out, self.message_id);
            write_bool(out, self.data.is_some());
            out.extend_from_slice(self.data.unwrap_or_default());
        });
    }
}

/// What a server sends in the login phase, for encoding.
#[derive(Clone, Copy, Debug)]
pub enum Clientbound<'a> {
    /// Ends the connection with a message. Every version reads it, before and after encryption.
    Disconnect(&'a Text),
    /// Asks for an encrypted connection.
    EncryptionRequest(EncryptionRequest<'a>),
    /// Ends the login; only a verified profile can be in it.
    Success {
        /// The player.
        profile: &'a VerifiedProfile,
        /// The session's UUID, sent since 26.2.
        session: Uuid,
    },
    /// Asks for a cookie (since 1.20.5).
    CookieRequest(CookieRequest<'a>),
}

impl Clientbound<'_> {
    /// Appends the packet as a frame, as the given version reads it.
    pub fn encode(&self, version: &Version, out: &mut Vec<u8>) {
        match self {
            Self::Disconnect(text) => write_frame(out, |out| {
                write_var_int(out, DISCONNECT);
                write_string(out, &text.to_json());
            }),
            Self::EncryptionRequest(request) => request.write(version, out),
            Self::Success { profile, session } => {
                success::write(profile, *session, version.login_success, out)
            }
            Self::CookieRequest(request) => request.write(COOKIE_REQUEST, out),
        }
    }
}

/// Asks for an encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptionRequest<'a> {
    /// Empty since 1.7; part of the session server's digest.
    pub server_id: &'a str,
    /// The DER-encoded public key (SubjectPublicKeyInfo).
    pub public_key: &'a [u8],
    /// What the client has to send back encrypted.
    pub verify_token: &'a [u8],
    /// Whether the client shall announce the login at its session server; versions before 1.20.5 always do.
    pub should_authenticate: bool,
}

impl<'a> EncryptionRequest<'a> {
    fn read(reader: &mut Reader<'a>, version: &Version) -> Result<Self, Fault> {
        let server_id = reader.string(20)?;
        let (public_key, verify_token) = if version.encryption == EncryptionForm::ShortArrays {
            (
                reader.short_byte_array(PUBLIC_KEY_BYTES_MAX)?,
                reader.short_byte_array(RSA_BYTES_MAX)?,
            )
        } else {
            (
                reader.byte_array(PUBLIC_KEY_BYTES_MAX)?,
                reader.byte_array(RSA_BYTES_MAX)?,
            )
        };
        let should_authenticate =
            version.encryption != EncryptionForm::ShouldAuthenticate || reader.bool()?;
        Ok(Self {
            server_id,
            public_key,
            verify_token,
            should_authenticate,
        })
    }

    fn write(&self, version: &Version, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, ENCRYPTION_REQUEST);
            write_string(out, self.server_id);
            write_array(out, self.public_key, version.encryption);
            write_array(out, self.verify_token, version.encryption);
            if version.encryption == EncryptionForm::ShouldAuthenticate {
                write_bool(out, self.should_authenticate);
            }
        });
    }
}

/// What a client reads in the login phase: the other side of [`Clientbound`], for load generators, tests and
/// logins at targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// The connection ends with this JSON text.
    Disconnect(&'a str),
    /// The server wants an encrypted connection.
    EncryptionRequest(EncryptionRequest<'a>),
    /// The login is over.
    Success(LoginSuccessSeen),
    /// From here on, packets of at least this many bytes are compressed.
    SetCompression(i32),
    /// The server asks a plugin something.
    PluginRequest {
        /// The request's number.
        message_id: i32,
        /// The plugin's channel.
        channel: &'a str,
        /// The request.
        data: &'a [u8],
    },
    /// The server wants a cookie.
    CookieRequest(CookieRequest<'a>),
}

impl<'a> Seen<'a> {
    /// Reads a packet as a client of the given version does.
    ///
    /// # Errors
    /// [`Fault::PacketUnexpected`] for an id that the version does not have, or what is wrong with a field.
    pub fn decode(packet: &'a [u8], version: &Version) -> Result<Self, Fault> {
        let mut reader = Reader::new(packet);
        let packet = match reader.var_int()? {
            DISCONNECT => Self::Disconnect(reader.string(LOGIN_DISCONNECT_UNITS_MAX)?),
            ENCRYPTION_REQUEST => Self::EncryptionRequest(EncryptionRequest::read(&mut reader, version)?),
            SUCCESS => Self::Success(success::read(&mut reader, version.login_success)?),
            SET_COMPRESSION => Self::SetCompression(reader.var_int()?),
            PLUGIN_REQUEST => Self::PluginRequest {
                message_id: reader.var_int()?,
                channel: reader.string(IDENTIFIER_UNITS_MAX)?,
                data: reader.rest(),
            },
            COOKIE_REQUEST if version.can_transfer() => {
                Self::CookieRequest(CookieRequest::read(&mut reader)?)
            }
            _ => return Err(Fault::PacketUnexpected),
        };
        reader.finish()?;
        Ok(packet)
    }
}

fn write_array(out: &mut Vec<u8>, bytes: &[u8], form: EncryptionForm) {
    if form == EncryptionForm::ShortArrays {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        write_u16(out, length);
    } else {
        write_length(out, bytes.len());
    }
    out.extend_from_slice(bytes);
}
