//! `fleet ssh CLIENT`: the system's own `ssh`, held to the fleet's key and host keys.
//!
//! Only words are made here; the caller replaces itself by them. The operator's `ssh_config` is
//! left out unless the client's transport is the system's `ssh`, so that what works here works in
//! every other command.

use super::identity::public_path;
use super::native::KEEPALIVE;
use super::openssh::options::{Manner, file, through};
use super::{ConnectError, HostKeyPolicy, Target, Transport, jump, openssh};
use crate::shell;

/// The words of an `ssh` command line. `command` is run in a terminal; empty: a login shell. The
/// host key must be on record: connect once before.
pub fn argv(target: &Target, command: &[String]) -> Result<Vec<String>, ConnectError> {
    if target.transport == Transport::OpenSsh {
        let mut words = vec!["ssh".to_owned(), "-t".to_owned()];
        let (policy, keepalive) = (HostKeyPolicy::Strict, KEEPALIVE);
        words.extend(openssh::options::words(target, Manner { policy, config: None, keepalive })?);
        return Ok(finish(words, target, command));
    }
    let mut words = vec!["ssh".to_owned()];
    words.extend(options(target, "-t"));
    if let Some(jump) = &target.jump {
        let (user, place) = jump::parse(jump, &target.user)
            .ok_or_else(|| ConnectError::JumpInvalid { jump: jump.clone() })?;
        // `-J` would not hand our options on to the jump host.
        let mut hop = vec!["ssh".to_owned()];
        hop.extend(options(target, "-T"));
        hop.extend(["-p".to_owned(), place.port.to_string(), "-l".to_owned(), user]);
        hop.extend(["--".to_owned(), place.host]);
        words.extend(["-o".to_owned(), through(&hop)]);
    }
    words.extend(["-p".to_owned(), target.port.to_string(), "-l".to_owned(), target.user.clone()]);
    Ok(finish(words, target, command))
}

fn finish(mut words: Vec<String>, target: &Target, command: &[String]) -> Vec<String> {
    words.extend(["--".to_owned(), target.host.clone()]);
    if !command.is_empty() {
        words.push(shell::join(command));
    }
    words
}

fn options(target: &Target, terminal: &str) -> Vec<String> {
    let seconds = target.connect_timeout.as_secs().max(1);
    let mut words = vec![terminal.to_owned(), "-F".to_owned(), "none".to_owned()];
    let mut set = |option: String| words.extend(["-o".to_owned(), option]);
    set(format!("IdentityFile={}", file(&target.key)));
    // Other keys of an agent are only for a fleet whose key is nowhere in a file.
    let filed = target.key.exists() || public_path(&target.key).exists();
    set(format!("IdentitiesOnly={}", if filed { "yes" } else { "no" }));
    if let Some(agent) = &target.agent {
        set(format!("IdentityAgent={}", file(agent)));
    }
    set(format!("UserKnownHostsFile={}", file(&target.known_hosts)));
    set("GlobalKnownHostsFile=none".to_owned());
    set("StrictHostKeyChecking=yes".to_owned());
    set("UpdateHostKeys=no".to_owned());
    set("PreferredAuthentications=publickey".to_owned());
    set(format!("ConnectTimeout={seconds}"));
    set("ServerAliveInterval=15".to_owned());
    words
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_whole_command_line() {
        let target = Target {
            name: "one".to_owned(),
            host: "one.example".to_owned(),
            port: 2222,
            user: "ubuntu".to_owned(),
            key: "/nonexistent/my fleet/100%/key".into(),
            known_hosts: "/nonexistent/known_hosts".into(),
            jump: Some("gate@192.0.2.1:99".to_owned()),
            agent: Some("/run/agent".into()),
            connect_timeout: Duration::from_secs(10),
            transport: Transport::Native,
        };
        let words = argv(&target, &["ls".to_owned(), "a b".to_owned()]).unwrap();
        insta::assert_snapshot!(words.join("\n"), @r#"
        ssh
        -t
        -F
        none
        -o
        IdentityFile="/nonexistent/my fleet/100%%/key"
        -o
        IdentitiesOnly=no
        -o
        IdentityAgent="/run/agent"
        -o
        UserKnownHostsFile="/nonexistent/known_hosts"
        -o
        GlobalKnownHostsFile=none
        -o
        StrictHostKeyChecking=yes
        -o
        UpdateHostKeys=no
        -o
        PreferredAuthentications=publickey
        -o
        ConnectTimeout=10
        -o
        ServerAliveInterval=15
        -o
        ProxyCommand=ssh -W '[%h]:%p' -T -F none -o 'IdentityFile="/nonexistent/my fleet/100%%%%/key"' -o IdentitiesOnly=no -o 'IdentityAgent="/run/agent"' -o 'UserKnownHostsFile="/nonexistent/known_hosts"' -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o PreferredAuthentications=publickey -o ConnectTimeout=10 -o ServerAliveInterval=15 -p 99 -l gate -- 192.0.2.1
        -p
        2222
        -l
        ubuntu
        --
        one.example
        ls 'a b'
        "#);
    }
}
