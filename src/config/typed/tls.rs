//! `[tls]`: the file of authorities is read here, so that what is wrong with it is told with all the rest.

use std::path::Path;

use crate::config::raw::Node;
use crate::config::section::Section;
use crate::config::value::{Mismatch, Parsed, word};
use crate::tls::OwnAuthorities;

/// `[tls]`: whom outgoing connections trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who is trusted besides Mozilla's authorities and the system's (`ca_file`).
    pub authorities: OwnAuthorities,
}

pub(super) fn read(table: &Section<'_>) -> Tls {
    Tls {
        authorities: table.value("ca_file", authorities).unwrap_or_default(),
    }
}

fn authorities(node: &Node) -> Parsed<OwnAuthorities> {
    let path = word(node)?;
    OwnAuthorities::read(Path::new(&path)).or_else(|error| {
        Mismatch::new(node, "a file of certificates in PEM form that this user may read")
            .found(error.to_string())
            .fail()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, load_from};
    use crate::tls::authority::Authority;

    fn load(file: &Path) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().unwrap();
        let variables = [("PASSAGE_TLS_CA_FILE".into(), file.as_os_str().to_owned())];
        load_from(None, folder.path(), variables).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_one_that_can_is_read() {
        let missing = load(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert!(missing.contains("/nowhere/ca.pem: No such file"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = load(file.path()).unwrap_err();
        let named = format!("{}: has no certificate", file.path().display());
        assert!(empty.contains(&named), "{empty}");
        std::fs::write(file.path(), Authority::new().pem()).unwrap();
        let tls = load(file.path()).unwrap().config.tls;
        assert_eq!(format!("{:?}", tls.authorities), "OwnAuthorities(1 certificates)");
    }
}
