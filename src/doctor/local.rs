//! What is found without asking a host.

use std::net::IpAddr;

use super::{Area, Finding};
use crate::registry::values::Address;
use crate::registry::{Client, Registry};
use crate::stack::Stack;

/// A file that only its owner may read, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// As the operator knows it.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// git knows it.
    pub tracked: bool,
}

/// Files that hold a key or a secret in clear.
#[must_use]
pub fn exposed(file: &Exposed) -> Vec<Finding> {
    let Exposed { path, mode, tracked } = file;
    let mut findings = Vec::new();
    if mode & 0o077 != 0 {
        findings.push(
            Finding::error(
                Area::Secrets,
                format!("{path} has mode {:04o}: others on this machine may read it", mode & 0o7777),
            )
            .why("whoever reads it can log in to every host, or read every secret")
            .remedy(format!("chmod 600 {path}")),
        );
    }
    if *tracked {
        findings.push(
            Finding::error(Area::Secrets, format!("{path} is committed to git"))
                .why("everybody with the repository has it, and its history keeps it")
                .remedy(format!(
                    "git rm --cached {path}, then replace the key: `fleet ssh-key` or `fleet secrets rekey`"
                )),
        );
    }
    findings
}

/// Settings of one client that are valid and will not do.
#[must_use]
pub fn settings(registry: &Registry, client: &Client, stack: &Stack) -> Vec<Finding> {
    let name = client.name.as_str();
    let mut findings = Vec::new();
    let mut add = |finding: Finding| findings.push(finding.of(name));
    if stack.tls.is_some() && client.email.is_none() {
        add(Finding::warning(Area::Registry, "has no e-mail address")
            .why("the certificate authority has nobody to write to")
            .remedy(format!("give [clients.{name}] or [defaults] a line email = \"...\"")));
    }
    if client.sentry.dsn.is_some() && stack.env.sentry.dsn.is_none() {
        add(Finding::warning(
            Area::Registry,
            format!("has a Sentry DSN, and stack {} has no place for one", stack.name),
        )
        .why("no error arrives")
        .remedy("name the variable under [sentry] of stack.toml"));
    }
    if !client.checks.off.iter().flatten().all(|off| known(off, stack)) {
        add(Finding::warning(
            Area::Registry,
            format!("switches off a check that stack {} does not have", stack.name),
        )
        .remedy("look at `off` in its checks, and at [checks] of stack.toml"));
    }
    if stack.source.is_some() && registry.fleet.source.is_none() {
        add(Finding::error(
            Area::Registry,
            format!("stack {} is built from source, and [fleet] names none", stack.name),
        )
        .remedy("give [fleet] a line source = \"../the-code\""));
    }
    findings
}

fn known(off: &str, stack: &Stack) -> bool {
    off.strip_prefix("stack.").is_none_or(|name| stack.checks.iter().any(|check| check.name == name))
}

/// A name of a client against what DNS says from here. `found` is `None` when it has no answer.
#[must_use]
pub fn resolved(
    client: &Client,
    domain: &str,
    found: Option<&[IpAddr]>,
    host: Option<&[IpAddr]>,
) -> Option<Finding> {
    let of = |finding: Finding| finding.of(&client.name);
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        return Some(of(Finding::error(Area::Dns, format!("{domain} is not found in DNS"))
            .why("no certificate can be issued, and nobody finds the client")
            .remedy(format!("add an A record: {domain} -> {}", client.address))));
    };
    let wanted: Vec<IpAddr> = match &client.address {
        Address::Ip(ip) => vec![*ip],
        Address::Host(_) => host.unwrap_or_default().to_vec(),
    };
    if wanted.is_empty() {
        return None;
    }
    let list =
        |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let strangers: Vec<IpAddr> = found.iter().copied().filter(|ip| !wanted.contains(ip)).collect();
    let missing = found.iter().all(|ip| !wanted.contains(ip));
    // A second address of the same machine, of the other kind, cannot be told from a stranger's: say so.
    let other_kind = strangers.iter().all(|ip| wanted.iter().all(|wanted| wanted.is_ipv4() != ip.is_ipv4()));
    if missing && !other_kind {
        return Some(of(Finding::error(
            Area::Dns,
            format!("{domain} points to {}, not to {}", list(found), list(&wanted)),
        )
        .why("the certificate authority and every visitor go elsewhere")
        .remedy(format!("change the A record to {}, or `ip` in clients.toml", list(&wanted)))));
    }
    if !strangers.is_empty() {
        return Some(of(Finding::warning(Area::Dns, format!("{domain} also points to {}", list(&strangers)))
            .why("if that is not this client's server, some visitors and the certificate authority go there (AAAA is preferred)")
            .remedy("take the record away, or make sure that the address is this server's")));
    }
    None
}

/// The host's clock against this machine's.
#[must_use]
pub fn clock(client: &str, skew: Option<i64>, most: u32) -> Option<Finding> {
    let skew = skew.filter(|skew| skew.unsigned_abs() > u64::from(most))?;
    let way = if skew > 0 { "ahead of" } else { "behind" };
    Some(
        Finding::error(Area::Host, format!("its clock is {} s {way} this machine's", skew.unsigned_abs()))
            .why("certificates are refused, and leases and logs do not agree")
            .remedy("on the host: sudo timedatectl set-ntp true (and look at this machine's clock too)")
            .of(client),
    )
}
