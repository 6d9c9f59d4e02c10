//! Everything that can be wrong with the vault: what, where, and the way out.

use std::path::PathBuf;

use crate::diagnostic::Diagnostics;
use crate::fs_atomic::{EditError, FsError, LockError};

/// A lowercase fragment by its `Display`; what to do next by [`VaultError::hint`]. Holds no value.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("`{0}` is no client name; expected a DNS label such as ville-lyon")]
    BadClient(String),
    #[error("`{0}` is no name for a secret; expected letters, digits and `_`, not beginning with a digit")]
    BadName(String),
    #[error("the value of {name} {why}")]
    BadValue { name: String, why: &'static str },
    #[error("{client} has no secrets yet: {} does not exist", path.display())]
    NoSecrets { client: String, path: PathBuf },
    #[error(
        "the secrets of {client} are gone: {} does not exist, but this client was provisioned with secrets of its own",
        path.display()
    )]
    MissingForProvisioned { client: String, path: PathBuf, removed: Option<PathBuf> },
    #[error("{} no longer holds {}, which {client} had before", path.display(), names.join(", "))]
    LostNames { client: String, path: PathBuf, names: Vec<String> },
    #[error("{client} has no secret named {name}")]
    NoSuchSecret { client: String, name: String, similar: Option<String> },
    #[error("{client} has a secret named {name} already")]
    NameTaken { client: String, name: String },
    #[error("{name} of {client} has no previous value")]
    NoPrevious { client: String, name: String },
    #[error("{} exists already", path.display())]
    ClientTaken { path: PathBuf },
    #[error("no identity to read secrets with: {} does not exist", path.display())]
    NoIdentity { path: PathBuf },
    #[error("identity {} may be read by others (mode {mode:04o})", path.display())]
    IdentityTooOpen { path: PathBuf, mode: u32 },
    #[error("identity {} is protected by a passphrase, which no cron job can type", path.display())]
    IdentityEncrypted { path: PathBuf },
    #[error("identity {}: {why}", path.display())]
    BadIdentity { path: PathBuf, why: String },
    #[error("{0}")]
    BadRecipients(Diagnostics),
    #[error("nobody could read what would be written: {} names no recipient", path.display())]
    NoRecipients { path: PathBuf },
    #[error("your own key {own} is not among the recipients: you could not read what you write")]
    WouldLockOut { own: String, path: PathBuf },
    #[error("{} is not encrypted to identity {} ({own})", path.display(), identity.display())]
    WrongIdentity { path: PathBuf, identity: PathBuf, own: String },
    #[error("{} {why}", path.display())]
    Corrupt { path: PathBuf, why: String },
    #[error("{} holds the secrets of {found}, not of {client}", path.display())]
    WrongClient { path: PathBuf, found: String, client: String },
    #[error("{} was written by a newer fleet (schema {schema})", path.display())]
    NewerSchema { path: PathBuf, schema: i64 },
    #[error("{} cannot be encrypted: {why}", path.display())]
    Seal { path: PathBuf, why: String },
    #[error("{count} of the files cannot be read, so none was re-encrypted: {}", errors(.failed))]
    RekeyRefused { count: usize, failed: Vec<VaultError> },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    File(#[from] FsError),
}

fn errors(failed: &[VaultError]) -> String {
    failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<EditError> for VaultError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Lock(error) => error.into(),
            EditError::File(error) => error.into(),
        }
    }
}

impl VaultError {
    /// What the operator can do about it, as a fragment; nothing was changed in any of these cases.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            VaultError::NoSecrets { client, .. } => {
                format!("`fleet provision {client}` makes them, or `fleet secrets set` the first one")
            }
            VaultError::MissingForProvisioned { client, path, removed } => {
                let mut ways = format!("bring the file back with `git checkout -- {}`", path.display());
                match removed {
                    Some(removed) => ways.push_str(&format!(", or from {}", removed.display())),
                    None => ways.push_str(", or from a backup of this folder"),
                }
                format!(
                    "{ways}; if it is lost for good, take the values from the host's own .env with \
                     `fleet secrets recover {client}`. New ones are not made: the database would refuse them"
                )
            }
            VaultError::LostNames { client, path, names } => format!(
                "an older file was put back or a merge dropped them: look at `git log -p -- {}`, restore the newer \
                 one, or accept the loss with `fleet secrets unset {client} {}`",
                path.display(),
                names.join(" ")
            ),
            VaultError::NoSuchSecret { client, similar, .. } => match similar {
                Some(similar) => format!("did you mean {similar}?"),
                None => format!("`fleet secrets list {client}` shows the names"),
            },
            VaultError::NameTaken { .. } => "unset it first, or choose another name".to_owned(),
            VaultError::ClientTaken { path } => {
                format!("look which one is right and move the other away from {}", path.display())
            }
            VaultError::NoIdentity { .. } => {
                "`fleet init` makes one here; a key from elsewhere is named with \
                 --identity or FLEET_IDENTITY"
                    .to_owned()
            }
            VaultError::IdentityTooOpen { path, .. } => format!("chmod 600 {}", path.display()),
            VaultError::IdentityEncrypted { .. } => {
                "use an age identity of its own (`fleet init` makes one) or an \
                 ed25519 key without a passphrase, kept readable by you alone"
                    .to_owned()
            }
            VaultError::BadIdentity { .. } => {
                "expected an age identity file (AGE-SECRET-KEY-1...) or an OpenSSH ed25519 private key"
                    .to_owned()
            }
            VaultError::NoRecipients { path } => {
                format!(
                    "put public keys (age1... or ssh-ed25519 ...) into {}, one a line; `fleet init` adds yours",
                    path.display()
                )
            }
            VaultError::WouldLockOut { own, path } => format!(
                "add the line `{own}` to {}, then have someone who can read the secrets run `fleet secrets rekey`",
                path.display()
            ),
            VaultError::WrongIdentity { own, .. } => format!(
                "name the right key with --identity, or have someone who can read it add `{own}` to \
                 secrets/recipients.txt and run `fleet secrets rekey`"
            ),
            VaultError::Corrupt { path, .. } | VaultError::WrongClient { path, .. } => {
                format!(
                    "it is left as it is; bring the right one back, such as by `git checkout -- {}`",
                    path.display()
                )
            }
            VaultError::NewerSchema { .. } => "update fleet on this machine".to_owned(),
            VaultError::RekeyRefused { failed, .. } => failed.first()?.hint()?,
            VaultError::Lock(LockError::Held { .. }) => {
                "wait for it, or look what that process does".to_owned()
            }
            VaultError::BadClient(_)
            | VaultError::BadName(_)
            | VaultError::BadValue { .. }
            | VaultError::NoPrevious { .. }
            | VaultError::BadRecipients(_)
            | VaultError::Seal { .. }
            | VaultError::Lock(LockError::File(_))
            | VaultError::File(_) => return None,
        })
    }
}
