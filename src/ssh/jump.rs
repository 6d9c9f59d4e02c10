//! `user@host:port` of a jump host; user and port may be left out, an IPv6 address has brackets.

use super::error::Place;

/// User and place, or nothing when the text is not of that shape.
#[must_use]
pub fn parse(text: &str, default_user: &str) -> Option<(String, Place)> {
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (user, rest),
        None => (default_user, text),
    };
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            match after {
                "" => (host, "22"),
                _ => (host, after.strip_prefix(':')?),
            }
        }
        None => rest.split_once(':').unwrap_or((rest, "22")),
    };
    let word = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace);
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    (word(user) && word(host)).then(|| (user.to_owned(), Place { host: host.to_owned(), port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        parse(text, "me").map(|(user, place)| format!("{user} {place}"))
    }

    #[test]
    fn all_shapes() {
        assert_eq!(parsed("bob@gate.example:2222").as_deref(), Some("bob gate.example:2222"));
        assert_eq!(parsed("gate.example").as_deref(), Some("me gate.example:22"));
        assert_eq!(parsed("a@[2001:db8::1]:99").as_deref(), Some("a [2001:db8::1]:99"));
        assert_eq!(parsed("[2001:db8::1]").as_deref(), Some("me [2001:db8::1]:22"));
        for bad in [
            "",
            "@host",
            "u@",
            "u@h:",
            "u@h:0",
            "u@h:99999",
            "u@[::1",
            "u@[::1]x",
            "-oProxyCommand=x",
            "u v@h",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
