//! Encrypted entries: what their headers say of it, and what is said of a password that does not open them. `zip` decrypts.
//!
//! ZipCrypto is in PKWARE's APPNOTE 6.3.10, section 6.1; AES in WinZip's "AES Encryption Information". Neither proves a password
//! before the content is read: one wrong one passes ZipCrypto's check in 256, and AES's in 65,536. The dump's own first bytes do.

use std::fmt;

use super::directory::{ENCRYPTED, Entry, MASKED, STRONGLY_ENCRYPTED};
use super::extra;
use super::problem::Problem;
use crate::escape::quoted;
use crate::secret::Secret;

/// The method of an entry that says its real one in an extra field.
pub(super) const AES_METHOD: u16 = 99;
const AES_FIELD: u16 = 0x9901;

/// What ZipCrypto puts before the content.
const ZIPCRYPTO_BYTES: u64 = 12;
/// What AES puts around the content beside its salt: two bytes to check the password, ten that prove the content.
const AES_BYTES: u64 = 12;

/// WinZip's extra field: version, "AE", strength and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aes([u8; 7]);

impl Aes {
    /// Out of an entry's extra fields, where it is there and well made.
    pub(super) fn of(fields: &[u8]) -> Option<Self> {
        let field = Self(extra::field(fields, AES_FIELD)?.try_into().ok()?);
        let well_made = field.0[2..4] == *b"AE" && (1..=3).contains(&field.0[4]);
        well_made.then_some(field)
    }

    fn method(self) -> u16 {
        u16::from_le_bytes([self.0[5], self.0[6]])
    }

    /// 128, 192 or 256.
    fn bits(self) -> u64 {
        64 + 64 * u64::from(self.0[4])
    }

    fn salt_bytes(self) -> u64 {
        self.bits() / 16
    }
}

impl Entry {
    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & (ENCRYPTED | STRONGLY_ENCRYPTED | MASKED) != 0
    }

    /// How the content is packed, under the encryption.
    pub(super) fn packed_by(&self) -> u16 {
        self.aes.map_or(self.method, Aes::method)
    }

    /// The bytes of the packed content that are not the encryption's own. None: there are too few for it.
    pub(super) fn content_bytes(&self) -> Option<u64> {
        let around = match self.aes {
            Some(aes) => aes.salt_bytes() + AES_BYTES,
            None if self.is_encrypted() => ZIPCRYPTO_BYTES,
            None => 0,
        };
        self.packed.checked_sub(around)
    }

    fn encryption(&self) -> Encryption {
        Encryption(self.aes)
    }
}

struct Encryption(Option<Aes>);

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(aes) => write!(f, "AES-{}", aes.bits()),
            None => f.write_str("ZipCrypto"),
        }
    }
}

/// Whether the entry is encrypted in a way that is read, and there is a password for it.
pub(super) fn check(entry: &Entry, password: Option<&Secret>) -> Result<(), Problem> {
    if entry.flags & (STRONGLY_ENCRYPTED | MASKED) != 0 {
        return Err(strong(&format!("the entry {}", quoted(&entry.name))));
    }
    let says_aes = entry.method == AES_METHOD;
    if says_aes != entry.aes.is_some() || (says_aes && !entry.is_encrypted()) {
        return Err(Problem::damaged(format!(
            "the directory contradicts itself in how the entry {} is encrypted",
            quoted(&entry.name)
        )));
    }
    if entry.is_encrypted() && password.is_none() {
        return Err(Problem::Config {
            message: format!(
                "the entry {} is encrypted ({}), and the job has no `zip_password`",
                quoted(&entry.name),
                entry.encryption()
            ),
            hint: "name its password in the restore's section, for example `zip_password = \"env:ZIP_PASSWORD\"`"
                .into(),
        });
    }
    Ok(())
}

/// `what` is encrypted in the one way that is not read.
pub(super) fn strong(what: &str) -> Problem {
    Problem::Damaged {
        message: format!(
            "{what} is encrypted by PKWARE's strong encryption, which this version can't read"
        ),
        hint: Some("have the archive written with AES encryption, as 7-Zip and WinZip do it (`7z a -tzip -mem=AES256`)".into()),
    }
}

/// The entry's own check says that the password is another one.
pub(super) fn wrong_password(entry: &Entry) -> Problem {
    Problem::Config {
        message: format!(
            "the password that `zip_password` names is wrong for the entry {} ({})",
            quoted(&entry.name),
            entry.encryption()
        ),
        hint: "ask whoever makes the archive whether it was changed; `7z t ARCHIVE` asks for it and tries it"
            .into(),
    }
}

/// The password passed the entry's check, which is a short one, but what came out is no dump.
pub(super) fn doubtful(entry: &Entry) -> Problem {
    let chance = if entry.aes.is_some() { "65,536" } else { "256" };
    Problem::Config {
        message: format!(
            "what the entry {} decrypts to is no dump: the password that `zip_password` names is wrong, or the archive is damaged",
            quoted(&entry.name)
        ),
        hint: format!(
            "{} takes one wrong password of {chance} for right, so only the content tells: try it with `7z t ARCHIVE`",
            entry.encryption()
        ),
    }
}
