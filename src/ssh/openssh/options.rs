//! The words of an `ssh` command line: what of a target is told to the system's `ssh`.

use std::path::Path;

use super::super::identity::public_path;
use super::super::{ConnectError, Target, jump};
use crate::shell;

/// Words after `ssh` that reach the target with the operator's `ssh_config` (or `config` in its
/// place), without the host itself.
pub fn words(target: &Target, config: Option<&Path>) -> Result<Vec<String>, ConnectError> {
    let mut words = options(target, config);
    if let Some(jump) = &target.jump {
        let (user, place) = jump::parse(jump, &target.user)
            .ok_or_else(|| ConnectError::JumpInvalid { jump: jump.clone() })?;
        // `-J` would not hand our options on to the jump host.
        let mut hop = vec!["ssh".to_owned(), "-T".to_owned()];
        hop.extend(options(target, config));
        hop.extend(["-l".to_owned(), user]);
        hop.extend(port(place.port));
        hop.extend(["--".to_owned(), place.host]);
        words.extend(["-o".to_owned(), through(&hop)]);
    }
    words.extend(["-l".to_owned(), target.user.clone()]);
    words.extend(port(target.port));
    Ok(words)
}

/// `ProxyCommand` for an `ssh` to the jump host. The outer ssh fills in `%h` and `%p` and takes every
/// other doubled `%` for one.
pub fn through(hop: &[String]) -> String {
    let hop = shell::join(hop).replace('%', "%%").replacen("ssh ", "ssh -W '[%h]:%p' ", 1);
    format!("ProxyCommand={hop}")
}

/// 22 is what nobody wrote: there `ssh_config` may say otherwise.
fn port(port: u16) -> Vec<String> {
    if port == 22 { Vec::new() } else { vec!["-p".to_owned(), port.to_string()] }
}

fn options(target: &Target, config: Option<&Path>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(config) = config {
        words.extend(["-F".to_owned(), config.display().to_string()]);
    }
    let mut set = |option: String| words.extend(["-o".to_owned(), option]);
    // One more than those of `ssh_config` and the agent, not instead of them.
    if target.key.exists() || public_path(&target.key).exists() {
        set(format!("IdentityFile={}", file(&target.key)));
    }
    // The operator's own files are asked too: UserKnownHostsFile stays as it is.
    set(format!(
        "GlobalKnownHostsFile={} /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
        file(&target.known_hosts)
    ));
    set("StrictHostKeyChecking=yes".to_owned());
    set("UpdateHostKeys=no".to_owned());
    set(format!("ConnectTimeout={}", target.connect_timeout.as_secs().max(1)));
    set("ServerAliveInterval=15".to_owned());
    set("ServerAliveCountMax=3".to_owned());
    words
}

/// A path as ssh_config(5) reads it: `%` starts a token, spaces end a name, quotes hold it together.
pub fn file(path: &Path) -> String {
    let text = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}
