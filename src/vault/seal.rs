//! age, and what its refusals mean.

use std::io::{Read, Write};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

use super::error::VaultError;
use super::identity::Identity;
use super::recipients::Recipient;

/// Encrypts to all recipients, in armor. `path` is only for messages.
pub(super) fn seal(plain: &[u8], recipients: &[Recipient], path: &Path) -> Result<Vec<u8>, VaultError> {
    let failed = |why: String| VaultError::Seal { path: path.to_owned(), why };
    let keys: Option<Vec<_>> = recipients.iter().map(Recipient::to_age).collect();
    let keys = keys.ok_or_else(|| failed("a recipient's key is not usable".to_owned()))?;
    let encryptor = Encryptor::with_recipients(keys.iter().map(|key| &**key as &dyn age::Recipient))
        .map_err(|error| failed(error.to_string()))?;
    let write = || -> std::io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()
    };
    write().map_err(|error| failed(error.to_string()))
}

/// Decrypts. Every way to fail is told apart, because each has another remedy.
pub(super) fn unseal(
    sealed: &[u8],
    identity: &Identity,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let corrupt = |why: &str| VaultError::Corrupt { path: path.to_owned(), why: why.to_owned() };
    if sealed.iter().all(u8::is_ascii_whitespace) {
        return Err(corrupt("is empty"));
    }
    if sealed.starts_with(b"<<<<<<<") || sealed.windows(9).any(|window| window == b"\n<<<<<<< ") {
        return Err(corrupt(
            "holds an unresolved merge: choose one side, such as with `git checkout --ours`",
        ));
    }
    let damaged = "is damaged: part of it is missing or changed";
    let decryptor = match Decryptor::new_buffered(ArmoredReader::new(sealed)) {
        Ok(decryptor) => decryptor,
        // Also what it says of a version 1 header in which a character is wrong.
        Err(_) if sealed.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") => return Err(corrupt(damaged)),
        Err(_) if sealed.starts_with(b"age-encryption.org/v1\n") => return Err(corrupt(damaged)),
        Err(DecryptError::UnknownFormat) => {
            return Err(corrupt("is in a format of age that is not known here"));
        }
        Err(_) => return Err(corrupt("is not a file encrypted by age")),
    };
    if decryptor.is_scrypt() {
        return Err(corrupt("is encrypted with a passphrase, not to keys"));
    }
    let mut reader = match decryptor.decrypt(identity.keys()) {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => {
            return Err(VaultError::WrongIdentity {
                path: path.to_owned(),
                identity: identity.path.clone(),
                own: identity.own(),
            });
        }
        Err(_) => return Err(corrupt(damaged)),
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.read_to_end(&mut plain).map_err(|_| corrupt(damaged))?;
    Ok(plain)
}
