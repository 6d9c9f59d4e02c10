//! Names and addresses of machines (RFC 1123, section 2.1; IPv4, IPv6).

use std::fmt;
use std::net::IpAddr;

use super::{User, checked_text};
use crate::diagnostic::{Fault, shown};

checked_text! {
    /// A fully qualified host name of at least two labels, in lower case.
    Domain
}

const DOMAIN: &str = "a domain name such as ville-lyon.example.fr";

impl Domain {
    /// Takes capitals and makes them small: they mean nothing in DNS.
    ///
    /// # Errors
    /// Anything that is more or less than a domain name; the hint says what it seems to be.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let lower = text.to_ascii_lowercase();
        match check_labels(&lower) {
            Ok(labels) if labels > 1 && !ends_in_number(&lower) => Ok(Domain(lower)),
            checked => Err(Domain::explain(text, checked.err())),
        }
    }

    /// What a text that is no domain seems to be instead.
    fn explain(text: &str, why: Option<&'static str>) -> Fault {
        let refuse = |why: &str| Fault::new(format!("{} {why}", shown(text))).expected(DOMAIN);
        let bare = |host: &str| format!("write only the name: \"{}\"", host.to_ascii_lowercase());
        if text.is_empty() {
            return Fault::new("is empty").expected(DOMAIN);
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
            return refuse("has a scheme").hint(bare(host));
        }
        if let Some((host, _)) = text.split_once('/') {
            return refuse("has a path").hint(bare(host));
        }
        if text.parse::<IpAddr>().is_ok() {
            return refuse("is an address").hint("an address belongs in `ip`");
        }
        if let Some((host, _)) = text.split_once(':') {
            return refuse("has a port").hint(bare(host));
        }
        if let Some(host) = text.strip_suffix('.') {
            return refuse("ends with a dot").hint(bare(host));
        }
        if !text.is_ascii() {
            let fault = refuse("has letters that DNS does not know");
            return match url::Host::parse(text) {
                Ok(url::Host::Domain(ascii)) => fault.hint(format!("write its ASCII form: \"{ascii}\"")),
                _ => fault,
            };
        }
        match why {
            Some(why) => refuse(why),
            None if ends_in_number(text) => refuse("ends in a number").hint("an address belongs in `ip`"),
            None => refuse("has no dot"),
        }
    }
}

/// Checks the labels of a name in lower case and counts them; the error follows the quoted name.
fn check_labels(name: &str) -> Result<usize, &'static str> {
    if name.len() > 253 {
        return Err("is longer than 253 characters");
    }
    let mut count = 0;
    let mut coded = false;
    for label in name.as_bytes().split(|b| *b == b'.') {
        match label {
            b"" => return Err("has an empty part between its dots"),
            b"*" => return Err("is a wildcard"),
            [b'-', ..] | [.., b'-'] => return Err("has a part that starts or ends with -"),
            _ if !label.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') => {
                return Err("holds a character that no domain has");
            }
            _ if label.len() > 63 => return Err("has a part longer than 63 characters"),
            _ => count += 1,
        }
        coded |= label.starts_with(b"xn--");
    }
    if coded && url::Host::parse(name).is_err() {
        return Err("has a part xn--... that stands for no letters");
    }
    Ok(count)
}

/// A name that ends so would be read as an IPv4 address by some programs.
fn ends_in_number(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// Where a client's server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Ip(IpAddr),
    /// A name of one label or more, which the operator's machine resolves.
    Host(String),
}

impl Address {
    /// The value of `ip`.
    ///
    /// # Errors
    /// Names, networks, and addresses that no server can have.
    pub fn parse_ip(text: &str) -> Result<Self, Fault> {
        let expected = "an address such as 51.210.42.100 or 2001:db8::1";
        let refuse = |why: &str| Fault::new(format!("{} {why}", shown(text))).expected(expected);
        let ip: IpAddr = match text.parse() {
            Ok(ip) => ip,
            Err(_) if text.contains('/') => {
                return Err(refuse("is a network").hint("leave out the / and what follows"));
            }
            Err(_) if text.parse::<std::net::SocketAddr>().is_ok() => {
                return Err(refuse("has a port").hint("the port belongs in `port`"));
            }
            Err(_) if text.starts_with('[') => return Err(refuse("has brackets").hint("leave them out")),
            Err(_) if Domain::parse(text).is_ok() => {
                return Err(refuse("is a name").hint(format!("write host = \"{text}\" instead of ip")));
            }
            Err(_) => return Err(refuse("is no address")),
        };
        match ip {
            IpAddr::V4(v4) if v4.octets()[0] == 0 => Err(refuse("means no machine")),
            IpAddr::V6(v6) if v6.is_unspecified() => Err(refuse("means no machine")),
            ip if ip.is_multicast() => Err(refuse("is a multicast address")),
            IpAddr::V4(v4) if v4.octets()[0] >= 240 => Err(refuse("is no address of a machine")),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                Err(refuse("works on one cable only").hint("write a global address, or `host`"))
            }
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => Err(refuse("is an IPv4 address in disguise").hint(format!("write \"{v4}\""))),
                None => Ok(Address::Ip(ip)),
            },
            IpAddr::V4(_) => Ok(Address::Ip(ip)),
        }
    }

    /// The value of `host`.
    ///
    /// # Errors
    /// Addresses, and anything that is no host name: a leading `-` would be an option of ssh.
    pub fn parse_host(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(format!("{} {why}", shown(text))).expected("a host name such as vps1.example.net")
        };
        let lower = text.to_ascii_lowercase();
        if text.parse::<IpAddr>().is_ok() {
            return Err(refuse("is an address").hint(format!("write ip = \"{text}\" instead of host")));
        }
        if let Some((user, host)) = text.split_once('@') {
            return Err(refuse("has a user").hint(format!("write host = \"{host}\" and user = \"{user}\"")));
        }
        if let Some((host, port)) = text.rsplit_once(':') {
            return Err(refuse("has a port").hint(format!("write host = \"{host}\" and port = {port}")));
        }
        if text.is_empty() {
            return Err(Fault::new("is empty").expected("a host name such as vps1.example.net"));
        }
        check_labels(&lower).map_err(refuse)?;
        if ends_in_number(&lower) {
            return Err(refuse("ends in a number").hint("an address belongs in `ip`"));
        }
        Ok(Address::Host(lower))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => f.pad(&ip.to_string()),
            Address::Host(host) => f.pad(host),
        }
    }
}

/// A host that the connection goes through: `[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Jump {
    pub user: Option<User>,
    pub address: Address,
    /// 22 unless written.
    pub port: u16,
}

impl Jump {
    /// # Errors
    /// More than one hop, or a part that is no user, host or port.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(format!("{} {why}", shown(text)))
                .expected("user@host:port; user and port may be left out")
        };
        if text.contains(',') {
            return Err(refuse("names more than one host"));
        }
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => {
                (Some(User::parse(user).map_err(|_| refuse("has no good user name"))?), rest)
            }
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, tail)) => {
                (host, Some(tail.strip_prefix(':').ok_or_else(|| refuse("is no jump host"))?))
            }
            None if rest.matches(':').count() > 1 => {
                return Err(refuse("has more than one colon").hint("an IPv6 address stands in brackets"));
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None => 22,
            // `parse` alone would take a sign.
            Some(port) if !port.starts_with('+') => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(refuse("has no good port")),
            },
            Some(_) => return Err(refuse("has no good port")),
        };
        let address = Address::parse_ip(host)
            .or_else(|_| Address::parse_host(host))
            .map_err(|_| refuse("has no good host"))?;
        Ok(Jump { user, address, port })
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match &self.address {
            Address::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            other => write!(f, "{other}")?,
        }
        write!(f, ":{}", self.port)
    }
}
