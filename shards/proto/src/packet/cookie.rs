//! Cookie request and response, which the login and the configuration phase share but for their ids.

use crate::fault::Fault;
use crate::limits::{COOKIE_BYTES_MAX, IDENTIFIER_UNITS_MAX};
use crate::wire::{Reader, write_bool, write_byte_array, write_frame, write_string, write_var_int};

/// Asks the client for a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieRequest<'a> {
    /// The cookie's key, such as `passage:session`.
    pub key: &'a str,
}

/// The client's answer to a cookie request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieResponse<'a> {
    /// The key that was asked for, by the client's word.
    pub key: &'a str,
    /// The cookie, if the client has it: at most [`COOKIE_BYTES_MAX`].
    pub payload: Option<&'a [u8]>,
}

impl<'a> CookieRequest<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Self {
            key: reader.string(IDENTIFIER_UNITS_MAX)?,
        })
    }

    pub(super) fn write(&self, id: i32, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, id);
            write_string(out, self.key);
        });
    }
}

impl<'a> CookieResponse<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let key = reader.string(IDENTIFIER_UNITS_MAX)?;
        let payload = if reader.bool()? {
            Some(reader.byte_array(COOKIE_BYTES_MAX)?)
        } else {
            None
        };
        Ok(Self { key, payload })
    }

    pub(super) fn write(&self, id: i32, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            write_var_int(out, id);
            write_string(out, self.key);
            write_bool(out, self.payload.is_some());
            if let Some(payload) = self.payload {
                write_byte_array(out, payload);
            }
        });
    }
}
