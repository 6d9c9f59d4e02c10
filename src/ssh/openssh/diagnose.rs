//! The sense of what `ssh` says when it gives up. Its words have not changed for many years; what is
//! not understood is shown as it is.

use std::time::Duration;

use super::super::error::{ConnectError, Place, Stage};
use super::super::identity::public_path;
use super::super::{Target, clean};
use super::said::Said;

/// Why there is no session; `late` when ssh did not end by itself in time.
pub fn fault(said: &Said, target: &Target, late: bool) -> ConnectError {
    let place = Place { host: target.host.clone(), port: target.port };
    let behind = said.proxy.is_some() && !said.greeted;
    if late {
        // Who was silent, the jump host or the host, cannot be told from here.
        return ConnectError::TimedOut { place, stage: said.stage, limit: target.connect_timeout };
    }
    if !behind {
        return judge(said, target, place);
    }
    let jump = target.jump.clone().unwrap_or_else(|| "of ssh_config".to_owned());
    // sshd at the jump host opened no way onwards.
    if let Some(cause) = said.lines.iter().find_map(|line| after(line, "open failed: ")) {
        return ConnectError::JumpRefused { jump, place, cause: clean::line(cause).to_lowercase() };
    }
    // The last words are those of the outer ssh about its proxy.
    let mut inner = said.clone();
    inner
        .lines
        .retain(|line| !line.contains("UNKNOWN port") && !line.starts_with("kex_exchange_identification"));
    if inner.lines.is_empty() {
        inner = said.clone();
    }
    let gate = super::super::jump::parse(&jump, &target.user);
    let (user, place) = gate.unwrap_or_else(|| (target.user.clone(), place));
    let target = Target { user, ..target.clone() };
    ConnectError::JumpFailed { jump, cause: Box::new(judge(&inner, &target, place)) }
}

fn judge(said: &Said, target: &Target, place: Place) -> ConnectError {
    let lines = || said.lines.iter().map(|line| line.trim());
    let find = |words: &str| lines().find_map(|line| after(line, words));
    let has = |words: &str| lines().any(|line| line.contains(words));

    if let Some(cause) = find("Could not resolve hostname ") {
        let (host, cause) = cause.split_once(": ").unwrap_or((cause, "unknown"));
        return ConnectError::Dns { host: clean::line(host), cause: clean::line(cause).to_lowercase() };
    }
    if has("REVOKED HOST KEY DETECTED") || has("is marked as revoked") {
        let (file, line) = offending(said);
        return ConnectError::HostKeyRevoked { place, fingerprint: said.host_key.clone(), file, line };
    }
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let (file, line) = offending(said);
        let old = vec!["another key".to_owned()];
        return ConnectError::HostKeyChanged { place, old, new: said.host_key.clone(), file, line };
    }
    if has("you have requested strict checking") || has("Host key verification failed") {
        let file = target.known_hosts.clone();
        let fingerprint = said.host_key.clone();
        return ConnectError::HostKeyUnknown { place, fingerprint, file, authority: false };
    }
    if let Some(methods) = lines().rev().find_map(|line| after(line, ": Permission denied (")) {
        let methods = methods.split(')').next().unwrap_or_default();
        let methods = methods.split(',').map(clean::line).collect();
        let public = std::fs::read_to_string(public_path(&target.key)).unwrap_or_default();
        let (user, public) = (target.user.clone(), clean::line(&public).into());
        return ConnectError::AuthRefused { user, place, methods, public, said: "".into() };
    }
    if has("Too many authentication failures") {
        let said = "too many authentication failures: set IdentitiesOnly for this host in ssh_config";
        let user = target.user.clone();
        return ConnectError::AuthRefused {
            user,
            place,
            methods: vec![],
            public: "".into(),
            said: said.into(),
        };
    }
    if let Some(cause) = find("Unable to negotiate with ") {
        let cause = cause.split_once(": ").map_or(cause, |(_, cause)| cause);
        return ConnectError::Handshake { place, cause: clean::line(cause).trim_end_matches('.').to_owned() };
    }
    if let Some(cause) = find("connect to host ") {
        let (named, cause) = cause.split_once(": ").unwrap_or(("", cause));
        let place = whom(named).unwrap_or(place);
        return match cause {
            "Connection refused" => ConnectError::Refused { place },
            "Connection timed out" | "Operation timed out" => timed_out(place, Stage::Connect, target),
            cause => ConnectError::Unreachable { place, cause: clean::line(cause).to_lowercase() },
        };
    }
    if has("timed out during banner exchange") {
        return timed_out(place, Stage::Handshake, target);
    }
    if has("banner line") || has("kex_exchange_identification") {
        let said = find("banner line 0: ").unwrap_or_default();
        return ConnectError::NotSsh { place, said: clean::line(said) };
    }
    if has(" timed out") {
        return timed_out(place, said.stage, target);
    }
    let cause = said.end().unwrap_or_else(|| "it ended without a word".to_owned());
    ConnectError::Program { place, cause }
}

/// `192.0.2.1 port 22`: whom ssh itself speaks of, which may be a jump host.
fn whom(text: &str) -> Option<Place> {
    let (host, port) = text.split_once(" port ")?;
    Some(Place { host: clean::line(host), port: port.parse().ok()? })
}

fn timed_out(place: Place, stage: Stage, target: &Target) -> ConnectError {
    let limit = Duration::from_secs(target.connect_timeout.as_secs().max(1));
    ConnectError::TimedOut { place, stage, limit }
}

fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    line.split_once(words).map(|(_, rest)| rest)
}

/// `Offending ED25519 key in /path/known_hosts:3`.
fn offending(said: &Said) -> (std::path::PathBuf, usize) {
    let found = said.lines.iter().rev().find_map(|line| {
        let (_, place) = line.trim().split_once(" key in ")?;
        let (file, line) = place.rsplit_once(':')?;
        line.parse().ok().map(|line| (file.into(), line))
    });
    found.unwrap_or_else(|| ("known_hosts".into(), 0))
}

#[cfg(test)]
mod tests;
