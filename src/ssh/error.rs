//! Why a host could not be reached: every way has a name, and beside it what to do.
//!
//! [`ConnectError::what`] says what is wrong, [`ConnectError::remedy`] names the command or the
//! file that mends it. All text that came from a host was cleaned before it got here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use super::place::Place;
use crate::shell::quote;

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The name was being looked up.
    Lookup,
    /// TCP connection.
    Connect,
    /// The port is open, SSH was being negotiated.
    Handshake,
    /// The host's identity is proved, ours was being checked.
    Login,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Lookup => "name lookup",
            Stage::Connect => "TCP connect",
            Stage::Handshake => "SSH handshake",
            Stage::Login => "login",
        })
    }
}

/// What of the ssh-agent was tried in place of the key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// `SSH_AUTH_SOCK` is not set.
    Absent,
    /// It is set, but no agent answers there.
    Silent,
    /// It answers and holds no key that could be used here.
    Empty,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    Dns {
        host: String,
        cause: String,
    },
    Refused {
        place: Place,
    },
    TimedOut {
        place: Place,
        stage: Stage,
        limit: Duration,
    },
    Unreachable {
        place: Place,
        cause: String,
    },
    NotSsh {
        place: Place,
        said: String,
    },
    Handshake {
        place: Place,
        cause: String,
    },
    HostKeyUnknown {
        place: Place,
        fingerprint: String,
        file: PathBuf,
        authority: bool,
    },
    HostKeyChanged {
        place: Place,
        old: Vec<String>,
        new: String,
        file: PathBuf,
        line: usize,
    },
    HostKeyRevoked {
        place: Place,
        fingerprint: String,
        file: PathBuf,
        line: usize,
    },
    KnownHosts {
        file: PathBuf,
        cause: String,
    },
    KeyMissing {
        path: PathBuf,
        agent: Agent,
    },
    KeyPermissions {
        path: PathBuf,
        mode: u32,
    },
    KeyPassphrase {
        path: PathBuf,
    },
    KeyInvalid {
        path: PathBuf,
        cause: String,
    },
    AuthRefused {
        user: String,
        place: Place,
        methods: Vec<String>,
        public: Box<str>,
        said: Box<str>,
    },
    /// The system's `ssh` is missing or ended for a reason of its own.
    Program {
        place: Place,
        cause: String,
    },
    JumpInvalid {
        jump: String,
    },
    JumpFailed {
        jump: String,
        cause: Box<ConnectError>,
    },
    JumpRefused {
        jump: String,
        place: Place,
        cause: String,
    },
}

/// Cause of [`ConnectError::Program`] when there is no `ssh`.
pub(super) const NOT_INSTALLED: &str = "it is not installed";

impl ConnectError {
    /// Whether it happened on this machine, before any host was asked.
    pub(super) fn is_ours(&self) -> bool {
        use ConnectError::*;
        matches!(self, KeyMissing { .. } | KeyPermissions { .. } | KeyPassphrase { .. } | KeyInvalid { .. })
    }

    /// What is wrong: a lowercase fragment without a final stop.
    #[must_use]
    pub fn what(&self) -> String {
        use ConnectError::*;
        match self {
            Dns { host, cause } => format!("host name {host} has no address: {cause}"),
            Refused { place } => format!("{place} refuses the connection: nothing listens there"),
            TimedOut { place, stage, limit } => {
                format!("{place} did not answer within {} ({stage})", seconds(*limit))
            }
            Unreachable { place, cause } => format!("no way to {place}: {cause}"),
            NotSsh { place, said } if said.is_empty() => {
                format!("{place} closed the connection before saying anything")
            }
            NotSsh { place, said } if turned_away(said) => {
                format!("{place} turned the connection away: \"{said}\"")
            }
            NotSsh { place, said } => format!("{place} is not an SSH server; it said \"{said}\""),
            Handshake { place, cause } => format!("SSH handshake with {place} failed: {cause}"),
            HostKeyUnknown { place, fingerprint, file, authority } => format!(
                "host key of {place} is not known in {}: it shows {fingerprint}{}",
                file.display(),
                if *authority { "; the @cert-authority line for it is not supported" } else { "" }
            ),
            HostKeyChanged { place, old, new, file, line } => format!(
                "host key of {place} changed: {}:{line} has {}, the host shows {new}",
                file.display(),
                old.join(", ")
            ),
            HostKeyRevoked { place, fingerprint, file, line } => {
                format!("host key {fingerprint} of {place} is revoked in {}:{line}", file.display())
            }
            KnownHosts { file, cause } => format!("{} cannot be used: {cause}", file.display()),
            KeyMissing { path, agent } => {
                let agent = match agent {
                    Agent::Absent => "no ssh-agent is set (SSH_AUTH_SOCK)",
                    Agent::Silent => "the ssh-agent of SSH_AUTH_SOCK does not answer",
                    Agent::Empty => "the ssh-agent holds no key for it",
                };
                format!("SSH key {} does not exist and {agent}", path.display())
            }
            KeyPermissions { path, mode } => {
                format!("SSH key {} can be read by others (mode {mode:04o})", path.display())
            }
            KeyPassphrase { path } => {
                format!("SSH key {} has a passphrase and no ssh-agent holds it", path.display())
            }
            KeyInvalid { path, cause } => format!("SSH key {} cannot be read: {cause}", path.display()),
            AuthRefused { user, place, methods, said, public } => {
                let mut text = format!(
                    "{place} refuses {} for user {user}",
                    if public.is_empty() { "our keys" } else { "the fleet key" }
                );
                if !methods.is_empty() {
                    text.push_str(&format!("; it accepts {}", methods.join(", ")));
                }
                if !said.is_empty() {
                    text.push_str(&format!("; it said \"{said}\""));
                }
                text
            }
            Program { place, cause } => format!("the system's ssh did not reach {place}: {cause}"),
            JumpInvalid { jump } => format!("jump host {jump:?} is not user@host:port"),
            JumpFailed { jump, cause } => format!("jump host {jump}: {}", cause.what()),
            JumpRefused { jump, place, cause } => {
                format!("jump host {jump} opens no connection to {place}: {cause}")
            }
        }
    }

    /// What to do about it: one sentence fragment that names the command or the file.
    #[must_use]
    pub fn remedy(&self) -> String {
        use ConnectError::*;
        match self {
            Dns { host, .. } => format!(
                "check the spelling in clients.toml and what `getent hosts {}` says, or give the address as `ip`",
                quote(host)
            ),
            Refused { place } => format!(
                "is sshd running there and on port {}? look at `systemctl status ssh` in the provider's \
                 console, or set `port` for this client in clients.toml",
                place.port
            ),
            TimedOut { stage: Stage::Lookup, .. } => {
                "the name server does not answer: check /etc/resolv.conf, or give the address as `ip`"
                    .to_owned()
            }
            TimedOut { place, stage: Stage::Connect, .. } => format!(
                "is the server running, is its address right, does a firewall drop port {}? see the \
                 provider's console; a slow line needs a longer `connect_timeout` in clients.toml",
                place.port
            ),
            TimedOut { place, .. } => format!(
                "port {} is open but nothing useful answers: the server may be overloaded or out of memory, \
                 or something else listens there; try `ssh -v -p {} {}`",
                place.port,
                place.port,
                quote(&place.host)
            ),
            Unreachable { place, .. } => format!(
                "check this machine's network and the address in clients.toml: `ip route get {}`",
                quote(&place.host)
            ),
            NotSsh { place, said } if said.is_empty() => format!(
                "sshd turned it away: too many logins at once (MaxStartups in /etc/ssh/sshd_config), a ban \
                 (`fail2ban-client status sshd`) or /etc/hosts.deny on {}",
                place.host
            ),
            NotSsh { place, said } if said.contains("MaxStartups") || said.contains("Not allowed") => {
                format!(
                    "too many logins at once: wait a moment, or raise MaxStartups in /etc/ssh/sshd_config on {}",
                    place.host
                )
            }
            NotSsh { place, .. } => format!(
                "another service answers on port {}: set `port` for this client in clients.toml to sshd's \
                 (`sshd -T | grep ^port` on the host)",
                place.port
            ),
            Handshake { place, .. } => format!(
                "look at `journalctl -u ssh` on {}; `ssh -v -p {} {}` shows what both sides offer",
                place.host,
                place.port,
                quote(&place.host)
            ),
            HostKeyUnknown { place, file, .. } => format!(
                "compare it with `cat /etc/ssh/ssh_host_*_key.pub | ssh-keygen -lf -` in the provider's \
                 console, then record it: ssh-keyscan -p {} {} >> {}",
                place.port,
                quote(&place.host),
                shown(file)
            ),
            HostKeyChanged { place, file, .. } => format!(
                "if this server was reinstalled, compare the new fingerprint with `cat \
                 /etc/ssh/ssh_host_*_key.pub | ssh-keygen -lf -` in the provider's console and forget the old one: \
                 ssh-keygen -R {} -f {}; if it was not, somebody may be listening in: do not go on",
                quote(&super::known_hosts::name_of(&place.host, place.port)),
                shown(file)
            ),
            HostKeyRevoked { place, file, line, .. } => format!(
                "make new host keys on {} (rm /etc/ssh/ssh_host_*; dpkg-reconfigure openssh-server); remove \
                 line {line} of {} only if it is there by mistake",
                place.host,
                file.display()
            ),
            KnownHosts { file, .. } => {
                format!("make {} a file that you may read and write: `ls -l {}`", file.display(), shown(file))
            }
            KeyMissing { path, .. } => format!(
                "create one with `fleet ssh-key generate`, set `ssh_key` in clients.toml, or load {} into an \
                 ssh-agent with `ssh-add`",
                path.display()
            ),
            KeyPermissions { path, .. } => format!("chmod 600 {}", shown(path)),
            KeyPassphrase { path } => {
                format!("load it into an ssh-agent: eval \"$(ssh-agent)\" && ssh-add {}", shown(path))
            }
            KeyInvalid { path, .. } => format!(
                "it must be a private key in OpenSSH's format (ed25519, or RSA of 2048 bits or more): \
                 `ssh-keygen -y -f {}` must print its public half",
                shown(path)
            ),
            AuthRefused { user, place, methods, public, .. } => refused(user, place, methods, public),
            Program { cause, .. } if cause == NOT_INSTALLED => {
                "install it (package openssh-client), or leave `transport` out in clients.toml".to_owned()
            }
            Program { place, .. } => format!(
                "see what `ssh -v {}` says: this client uses the system's ssh and your ssh_config \
                 (`transport` in clients.toml)",
                quote(&place.host)
            ),
            JumpInvalid { .. } => {
                "write `jump = \"user@host:port\"` in clients.toml (user and port may be left out)".to_owned()
            }
            JumpFailed { cause, .. } => format!("on the way through the jump host: {}", cause.remedy()),
            JumpRefused { jump, place, .. } => format!(
                "check from the jump host with `nc -vz {} {}`, and that its sshd has `AllowTcpForwarding \
                 yes` for {jump}",
                quote(&place.host),
                place.port
            ),
        }
    }
}

/// What sshd says before its greeting when it has too many logins under way.
fn turned_away(said: &str) -> bool {
    said.contains("MaxStartups") || said.contains("Not allowed at this time")
}

/// What a refused login needs: which end to look at depends on what the host still accepts.
fn refused(user: &str, place: &Place, methods: &[String], public: &str) -> String {
    if !methods.is_empty() && !methods.iter().any(|method| method == "publickey") {
        return format!(
            "sshd on {} takes no public keys: set `PubkeyAuthentication yes` in /etc/ssh/sshd_config and \
             `systemctl reload ssh`",
            place.host
        );
    }
    if public.is_empty() {
        return format!(
            "`ssh -v -l {} {}` shows which keys your ssh_config and agent offer; one of them must be in \
             ~/.ssh/authorized_keys there",
            quote(user),
            quote(&place.host)
        );
    }
    let home = if user == "root" { "/root".to_owned() } else { format!("~{user}") };
    let mut text = format!("append this line to {home}/.ssh/authorized_keys on {}: {public}", place.host);
    if user == "root" {
        text.push_str(
            "; if it is there, root may be barred (`sshd -T | grep permitrootlogin`): set `user` for this client",
        );
    } else {
        text.push_str("; if it is there, check that user, and the modes of ~/.ssh (700) and the file (600)");
    }
    text
}

fn shown(path: &Path) -> String {
    quote(&path.display().to_string()).into_owned()
}

fn seconds(limit: Duration) -> String {
    if limit.subsec_millis() == 0 {
        format!("{} s", limit.as_secs())
    } else {
        format!("{:.1} s", limit.as_secs_f64())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests;
