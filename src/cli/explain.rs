//! Errors of the rooms below know their way out and cannot attach it themselves, since they are
//! plain values. Here it is attached, once, for whatever ended a command.

use crate::diagnostic::Diagnostics;
use crate::fs_atomic::{EditError, LockError};
use crate::hint::{HintExt as _, find};
use crate::keys::KeyError;
use crate::vault::VaultError;

/// The same error with the hint that its cause knows; findings in a file are shown as findings.
#[must_use]
pub fn explain(error: anyhow::Error) -> anyhow::Error {
    let hint = match find::<VaultError>(&error) {
        Some(VaultError::BadRecipients(found)) => {
            let found: Diagnostics = found.clone();
            return anyhow::Error::new(found);
        }
        Some(vault) => vault.hint(),
        None => match find::<KeyError>(&error) {
            Some(key) => key.hint(),
            None => is_held(&error).then(|| "wait for it, or look what that process does".to_owned()),
        },
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Whether another process of this machine kept the command from its files.
#[must_use]
pub fn is_held(error: &anyhow::Error) -> bool {
    let held = |lock: &LockError| matches!(lock, LockError::Held { .. });
    find::<LockError>(error).is_some_and(held)
        || matches!(find::<EditError>(error), Some(EditError::Lock(lock)) if held(lock))
        || matches!(find::<VaultError>(error), Some(VaultError::Lock(lock)) if held(lock))
}
