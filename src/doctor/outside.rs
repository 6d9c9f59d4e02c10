//! Services outside of the host that the application is given the addresses of: a database or a cache at a provider, Sentry,
//! a webhook. Whether the host gets to them is what a log of refused connections would tell later.

use std::net::Ipv4Addr;

use url::{Host, Url};

use super::{Area, Finding};
use crate::facts::Facts;
use crate::stack::ResolvedEnv;

/// An address that a client's environment names. It is asked for from the host; messages name the variable alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    pub variable: String,
    pub host: String,
    pub port: u16,
}

/// More are not asked for.
const MOST: usize = 8;

/// The addresses among a client's values; those of the client itself and of its own containers are left out.
#[must_use]
pub fn outside(env: &ResolvedEnv, domain: &str) -> Vec<Outside> {
    let mut found: Vec<Outside> = Vec::new();
    for (name, value) in &env.values {
        let Some((host, port)) = address(value.value.reveal()) else { continue };
        let own = host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if !own && found.iter().all(|known| (&known.host, known.port) != (&host, port)) {
            found.push(Outside { variable: name.clone(), host, port });
        }
    }
    found.truncate(MOST);
    found
}

/// Host and port of one URL. A name without a dot is a container of the stack.
fn address(value: &str) -> Option<(String, u16)> {
    if value.contains([',', ' ', '\n']) {
        return None;
    }
    let url = Url::parse(value).ok()?;
    let usual = match url.scheme() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "postgres" | "postgresql" => Some(5432),
        "mysql" | "mariadb" => Some(3306),
        "redis" | "rediss" => Some(6379),
        "amqp" => Some(5672),
        "amqps" => Some(5671),
        "mongodb" => Some(27017),
        "smtp" => Some(587),
        "smtps" => Some(465),
        _ => None,
    };
    let port = url.port().or(usual)?;
    let host = match url.host()? {
        Host::Ipv4(ip) => ip.to_string(),
        Host::Domain(name) if name.contains('.') => name.to_ascii_lowercase(),
        Host::Ipv6(_) | Host::Domain(_) => return None,
    };
    if host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified()) {
        return None;
    }
    // It becomes a word of a command there.
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)).then_some((host, port))
}

/// What the host says of them: `outside VARIABLE` is `open`, `refused`, `silent` or `unresolved`.
#[must_use]
pub fn unreached(client: &str, asked: &[Outside], facts: &Facts) -> Vec<Finding> {
    let finding = |one: &Outside| {
        let Outside { variable, host: _, port } = one;
        let (what, remedy) = match facts.value(&format!("outside {variable}"))? {
            "unresolved" => (
                format!("the host finds no address for the name in {variable}"),
                "is it spelled right, and does DNS work on the host (resolvectl status)?".to_owned(),
            ),
            "refused" => (
                format!("port {port} of what {variable} names refuses the host"),
                format!("is it the right port, and does that service run? It is part of the value of {variable}"),
            ),
            "silent" => (
                format!("port {port} of what {variable} names does not answer the host"),
                "let the host's address in there (allow lists of the provider), and out of the host's network".to_owned(),
            ),
            _ => return None,
        };
        let finding = Finding::warning(Area::Host, what).why("the application cannot use it").remedy(remedy);
        Some(finding.of(client))
    };
    asked.iter().filter_map(finding).collect()
}
