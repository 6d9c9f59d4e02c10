//! The lease on a host: who changes it now, until when.
//!
//! All times are the host's own clock, so operators with wrong clocks cannot steal from each
//! other. A lease that is not renewed runs out: nobody has to break one by hand.

use std::time::Duration;

use crate::facts::Lease;
use crate::shell::{Cmd, quote};

/// How long a lease lasts without renewal.
pub const LASTS: Duration = Duration::from_secs(180);
/// How often the holder renews it.
pub const RENEWED_EVERY: Duration = Duration::from_secs(45);
/// Exit code of [`take`] and [`renew`] when somebody else holds it; the lease is then on stdout.
pub const HELD: u32 = 75;

fn path(stack: &str) -> String {
    format!("/run/lock/fleet-{stack}.lease")
}

/// Takes the lease, or renews it for the same run. One `flock` makes read and write one step.
#[must_use]
pub fn take(stack: &str, holder: &str, run: &str, verb: &str) -> Cmd {
    let text = serde_json::json!({ "holder": holder, "run": run, "verb": verb }).to_string();
    let script = format!(
        r#"set -eu
file={file}; run={run}; mine={mine}
exec 9>"$file.lock"
flock -w 10 9
now=$(date +%s)
since=$now
number() {{ printf '%s' "$theirs" | sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p"; }}
if [ -s "$file" ]; then
    theirs=$(cat "$file")
    expires=$(number expires)
    case $theirs in
        *"\"run\":\"$run\""*) since=$(number since) ;;
        *) if [ "${{expires:-0}}" -gt "$now" ]; then printf '%s\n' "$theirs"; exit {HELD}; fi ;;
    esac
fi
printf '%s,"since":%s,"expires":%s}}\n' "${{mine%?}}" "${{since:-$now}}" "$((now + {lasts}))" >"$file.new"
mv -f "$file.new" "$file""#,
        file = quote(&path(stack)),
        run = quote(run),
        mine = quote(&text),
        lasts = LASTS.as_secs(),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(30))
}

/// Gives the lease back when it is still this run's.
#[must_use]
pub fn release(stack: &str, run: &str) -> Cmd {
    let script = format!(
        r#"file={file}
exec 9>"$file.lock"
flock -w 10 9
if grep -qF {needle} "$file" 2>/dev/null; then rm -f "$file"; fi"#,
        file = quote(&path(stack)),
        needle = quote(&format!("\"run\":\"{run}\"")),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(30))
}

/// The host's clock, then the lease if there is one; see [`seen`].
#[must_use]
pub fn show(stack: &str) -> Cmd {
    let script = format!("date +%s\nhead -c 4096 {} 2>/dev/null || true", quote(&path(stack)));
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(30))
}

/// What [`show`] found. Times are of the host's own clock, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub now: u64,
    /// One that has run out, or that cannot be read, holds nobody up and is left out.
    pub lease: Option<Lease>,
}

/// The answer of [`show`]; `None` when it is none.
#[must_use]
pub fn seen(stdout: &[u8]) -> Option<Seen> {
    let text = String::from_utf8_lossy(stdout);
    let (now, rest) = text.split_once('\n')?;
    let now = now.trim().parse().ok()?;
    let lease: Option<Lease> = serde_json::from_str(rest.trim()).ok();
    Some(Seen { now, lease: lease.filter(|lease| lease.expires > now) })
}

/// The holder named by an answer of [`take`] that ended with [`HELD`].
#[must_use]
pub fn held_by(stdout: &[u8]) -> Option<Lease> {
    serde_json::from_slice(stdout).ok()
}

#[cfg(test)]
mod tests;
