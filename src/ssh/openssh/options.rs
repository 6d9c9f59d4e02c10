//! The words of an `ssh` command line: what of a target is told to the system's `ssh`.

use std::path::Path;
use std::time::Duration;

use super::super::error::Place;
use super::super::host_keys::{self, HostKeyPolicy};
use super::super::identity::public_path;
use super::super::{ConnectError, Target, jump};
use crate::shell;

/// How the system's `ssh` is used.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    pub policy: HostKeyPolicy,
    /// In place of the operator's `ssh_config`.
    pub config: Option<&'a Path>,
    /// A host that says nothing for this long is asked whether it is still there; whole seconds.
    pub keepalive: Duration,
}

/// Words after `ssh` that reach the target with the operator's `ssh_config` (or `config` in its
/// place), without the host itself.
pub fn words(target: &Target, manner: Manner<'_>) -> Result<Vec<String>, ConnectError> {
    let place = Place { host: target.host.clone(), port: target.port };
    let mut words = options(target, &place, manner)?;
    if let Some(jump) = &target.jump {
        let (user, place) = jump::parse(jump, &target.user)
            .ok_or_else(|| ConnectError::JumpInvalid { jump: jump.clone() })?;
        // `-J` would not hand our options on to the jump host.
        let mut hop = vec!["ssh".to_owned(), "-T".to_owned()];
        hop.extend(options(target, &place, manner)?);
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

fn options(target: &Target, place: &Place, manner: Manner<'_>) -> Result<Vec<String>, ConnectError> {
    let mut words = Vec::new();
    let first = manner.policy == HostKeyPolicy::AcceptNew
        && host_keys::algorithms(&target.known_hosts, place)?.is_empty();
    if let Some(config) = manner.config {
        words.extend(["-F".to_owned(), config.display().to_string()]);
    }
    let mut set = |option: String| words.extend(["-o".to_owned(), option]);
    // One more than those of `ssh_config` and the agent, not instead of them.
    if target.key.exists() || public_path(&target.key).exists() {
        set(format!("IdentityFile={}", file(&target.key)));
    }
    let ours = file(&target.known_hosts);
    if first {
        // ssh writes a new key into the first of these, and asks the others too.
        set(format!("UserKnownHostsFile={ours} ~/.ssh/known_hosts ~/.ssh/known_hosts2"));
        set("StrictHostKeyChecking=accept-new".to_owned());
        set("HashKnownHosts=no".to_owned());
    } else {
        // The operator's own files are asked too: UserKnownHostsFile stays as it is.
        set(format!("GlobalKnownHostsFile={ours} /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"));
        set("StrictHostKeyChecking=yes".to_owned());
    }
    set("UpdateHostKeys=no".to_owned());
    set(format!("ConnectTimeout={}", target.connect_timeout.as_secs().max(1)));
    set(format!("ServerAliveInterval={}", manner.keepalive.as_secs().max(1)));
    set("ServerAliveCountMax=3".to_owned());
    Ok(words)
}

/// A path as ssh_config(5) reads it: `%` starts a token, spaces end a name, quotes hold it together.
pub fn file(path: &Path) -> String {
    let text = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}
