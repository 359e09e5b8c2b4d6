//! Login success, the packet that changed most often.

use uuid::Uuid;

use super::SUCCESS;
use crate::fault::Fault;
use crate::identity::{Profile, Property, VerifiedProfile};
use crate::limits::{
    PLAYER_NAME_UNITS_MAX, PROFILE_PROPERTIES_MAX, PROPERTY_NAME_UNITS_MAX, PROPERTY_SIGNATURE_UNITS_MAX,
    PROPERTY_VALUE_UNITS_MAX,
};
use crate::version::LoginSuccessForm;
use crate::wire::{Reader, write_bool, write_frame, write_length, write_string, write_uuid, write_var_int};

/// What a client reads in login success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSuccessSeen {
    /// Who the server says the player is.
    pub profile: Profile,
    /// `strict_error_handling` (1.20.5 to 1.21.1).
    pub strict_error_handling: Option<bool>,
    /// The session's UUID (since 26.2).
    pub session: Option<Uuid>,
}

pub(super) fn write(profile: &VerifiedProfile, session: Uuid, form: LoginSuccessForm, out: &mut Vec<u8>) {
    let profile = profile.profile();
    write_frame(out, |out| {
        write_var_int(out, SUCCESS);
        match form {
            LoginSuccessForm::SimpleText => write_string(out, &profile.id.as_simple().to_string()),
            LoginSuccessForm::HyphenatedText => write_string(out, &profile.id.as_hyphenated().to_string()),
            _ => write_uuid(out, profile.id),
        }
        write_string(out, &profile.name);
        if form.has_properties() {
            write_length(out, profile.properties.len());
            for property in &profile.properties {
                write_property(out, property);
            }
        }
        match form {
            // Strict would have the client drop the connection over packet errors that it otherwise skips.
            LoginSuccessForm::PropertiesStrict => write_bool(out, false),
            LoginSuccessForm::PropertiesSession => write_uuid(out, session),
            _ => {}
        }
    });
}

pub(super) fn read(reader: &mut Reader<'_>, form: LoginSuccessForm) -> Result<LoginSuccessSeen, Fault> {
    let id = match form {
        LoginSuccessForm::SimpleText | LoginSuccessForm::HyphenatedText => {
            Uuid::parse_str(reader.string(36)?).unwrap_or_default()
        }
        _ => reader.uuid()?,
    };
    let name = reader.string(PLAYER_NAME_UNITS_MAX)?.to_owned();
    let mut properties = Vec::new();
    if form.has_properties() {
        for _ in 0..reader.count(PROFILE_PROPERTIES_MAX)? {
            properties.push(read_property(reader)?);
        }
    }
    let strict_error_handling = if form == LoginSuccessForm::PropertiesStrict {
        Some(reader.bool()?)
    } else {
        None
    };
    let session = if form == LoginSuccessForm::PropertiesSession {
        Some(reader.uuid()?)
    } else {
        None
    };
    Ok(LoginSuccessSeen {
        profile: Profile { id, name, properties },
        strict_error_handling,
        session,
    })
}

fn write_property(out: &mut Vec<u8>, property: &Property) {
    write_string(out, &property.name);
    write_string(out, &property.value);
    write_bool(out, property.signature.is_some());
    if let Some(signature) = &property.signature {
        write_string(out, signature);
    }
}

fn read_property(reader: &mut Reader<'_>) -> Result<Property, Fault> {
    let name = reader.string(PROPERTY_NAME_UNITS_MAX)?.to_owned();
    let value = reader.string(PROPERTY_VALUE_UNITS_MAX)?.to_owned();
    let signature = if reader.bool()? {
        Some(reader.string(PROPERTY_SIGNATURE_UNITS_MAX)?.to_owned())
    } else {
        None
    };
    Ok(Property {
        name,
        value,
        signature,
    })
}
