//! `fleet ssh CLIENT`: the system's own `ssh`, held to the fleet's key and host keys.
//!
//! Only words are made here; the caller replaces itself by them. The operator's `ssh_config` is
//! left out, so that what works here works in every other command.

use std::path::Path;

use super::{ConnectError, Target, jump};
use crate::shell;

/// The words of an `ssh` command line. `command` is run in a terminal; empty: a login shell. The
/// host key must be on record: connect once before.
pub fn argv(target: &Target, command: &[String]) -> Result<Vec<String>, ConnectError> {
    let mut words = vec!["ssh".to_owned()];
    words.extend(options(target, "-t"));
    if let Some(jump) = &target.jump {
        let (user, place) = jump::parse(jump, &target.user)
            .ok_or_else(|| ConnectError::JumpInvalid { jump: jump.clone() })?;
        // `-J` would not hand our options on to the jump host.
        let mut hop = vec!["ssh".to_owned()];
        hop.extend(options(target, "-T"));
        hop.extend(["-p".to_owned(), place.port.to_string(), "-l".to_owned(), user]);
        hop.extend(["-W".to_owned(), "[%h]:%p".to_owned(), "--".to_owned(), place.host]);
        words.extend(["-o".to_owned(), format!("ProxyCommand={}", shell::join(&hop))]);
    }
    words.extend(["-p".to_owned(), target.port.to_string(), "-l".to_owned(), target.user.clone()]);
    words.extend(["--".to_owned(), target.host.clone()]);
    if !command.is_empty() {
        words.push(shell::join(command));
    }
    Ok(words)
}

fn options(target: &Target, terminal: &str) -> Vec<String> {
    let seconds = target.connect_timeout.as_secs().max(1);
    let mut words = vec![terminal.to_owned(), "-F".to_owned(), "none".to_owned()];
    let mut set = |option: String| words.extend(["-o".to_owned(), option]);
    set(format!("IdentityFile={}", file(&target.key)));
    // Other keys of an agent are only for a fleet whose key is nowhere in a file.
    let filed = target.key.exists() || target.key.with_added_extension("pub").exists();
    set(format!("IdentitiesOnly={}", if filed { "yes" } else { "no" }));
    if let Some(agent) = &target.agent {
        set(format!("IdentityAgent={}", file(agent)));
    }
    set(format!("UserKnownHostsFile={}", file(&target.known_hosts)));
    set("GlobalKnownHostsFile=none".to_owned());
    set("StrictHostKeyChecking=yes".to_owned());
    set("UpdateHostKeys=no".to_owned());
    set("PasswordAuthentication=no".to_owned());
    set(format!("ConnectTimeout={seconds}"));
    set("ServerAliveInterval=15".to_owned());
    words
}

/// A path as ssh_config(5) reads it: `%` starts a token, spaces end a name, quotes hold it together.
fn file(path: &Path) -> String {
    let text = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}
