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

/// Exit code of [`take`] when the lease is free but a command of the run before still runs there.
pub const BUSY: u32 = 76;
/// How long such a command is waited for.
const PATIENCE: Duration = Duration::from_secs(150);

/// Only root may write there, so nobody else can hold a host up.
const DIR: &str = "/run/fleet";

/// What all scripts begin with. Versions before this one know `/run/lock` alone, where anybody may
/// write: their lease counts when it is root's, and ours is put there for them to see.
fn head(stack: &str) -> String {
    format!(
        r#"set -eu
umask 022
dir={DIR}; file=$dir/{stack}.lease; old=/run/lock/fleet-{stack}.lease
[ -d "$dir" ] || mkdir -m 0700 "$dir" 2>/dev/null || [ -d "$dir" ]
counts() {{ [ -s "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; }}
number() {{ printf '%s' "$theirs" | sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p"; }}
now=$(date +%s)
"#
    )
}

/// The file that every command of a run holds a lock on, as long as it runs.
#[must_use]
pub fn work_lock(stack: &str) -> String {
    format!("{DIR}/{stack}.work")
}

/// Takes the lease, or renews it for the same run. One `flock` makes read and write one step.
///
/// A lease that ran out, or whose run is among the `dead`, is taken over. What that run had started
/// and what still runs is waited for first. What was taken over is on stdout.
#[must_use]
pub fn take(stack: &str, holder: &str, run: &str, verb: &str, dead: &[String]) -> Cmd {
    let text = serde_json::json!({ "holder": holder, "run": run, "verb": verb }).to_string();
    let plain = |id: &&String| id.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char));
    let dead: Vec<&str> = dead.iter().filter(plain).map(String::as_str).collect();
    let script = format!(
        r#"{head}run={run}; mine={mine}; dead={dead}
exec 9>"$file.lock"
flock -w 10 9
since=$now; took=
for held in "$file" "$old"; do
    counts "$held" || continue
    theirs=$(head -c 4096 "$held" | tr -d '\0')
    case $theirs in *"\"run\":\"$run\""*) since=$(number since); continue ;; esac
    id=$(printf '%s' "$theirs" | sed -n 's/.*"run":"\([A-Za-z0-9._-]*\)".*/\1/p')
    expires=$(number expires)
    case " $dead " in *" ${{id:--}} "*) expires=0 ;; esac
    if [ "${{expires:-0}}" -gt "$now" ]; then printf '%s\n' "$theirs"; exit {HELD}; fi
    took=$theirs
done
printf '%s,"since":%s,"expires":%s}}\n' "${{mine%?}}" "${{since:-$now}}" "$((now + {lasts}))" >"$file.new"
if seen=$(mktemp "${{old%/*}}/.fleet-XXXXXXXXXX" 2>/dev/null); then
    cat "$file.new" >"$seen"
    mv -fT "$seen" "$old"
fi
mv -f "$file.new" "$file"
exec 9>&-
[ -n "$took" ] || exit 0
printf '%s\n' "$took"
exec 8>"$dir/{stack}.work"
flock -w {patience} 8 && exit 0
rm -f "$file" "$old"
exit {BUSY}"#,
        head = head(stack),
        run = quote(run),
        mine = quote(&text),
        dead = quote(&dead.join(" ")),
        lasts = LASTS.as_secs(),
        patience = PATIENCE.as_secs(),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(PATIENCE + Duration::from_secs(30))
}

/// Gives the lease back when it is still this run's.
#[must_use]
pub fn release(stack: &str, run: &str) -> Cmd {
    let script = format!(
        r#"{head}exec 9>"$file.lock"
flock -w 10 9
for held in "$file" "$old"; do
    if counts "$held" && grep -qF {needle} "$held"; then rm -f "$held"; fi
done"#,
        head = head(stack),
        needle = quote(&format!("\"run\":\"{run}\"")),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(30))
}

/// The host's clock, then the lease that lasts longest if there is one; see [`seen`].
#[must_use]
pub fn show(stack: &str) -> Cmd {
    let script = format!(
        r#"{head}best=0; lease=
for held in "$file" "$old"; do
    counts "$held" || continue
    theirs=$(head -c 4096 "$held" | tr -d '\0')
    expires=$(number expires)
    if [ "${{expires:-0}}" -gt $best ]; then best=$expires; lease=$theirs; fi
done
printf '%s\n%s\n' "$now" "$lease""#,
        head = head(stack),
    );
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

/// The lease that an answer of [`take`] tells of: the one that is in the way, or was taken over.
#[must_use]
pub fn told(stdout: &[u8]) -> Option<Lease> {
    serde_json::from_slice(stdout).ok()
}

#[cfg(test)]
mod tests;
