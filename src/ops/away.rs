//! How long a service that is stopped first was away: measured on the host itself, by the events of
//! its engine, while Compose replaces containers.
//!
//! From the end of the old container until the new one is healthy, or was started where nothing says
//! when it is healthy. The answer is one line a service on standard output, read by [`line`].

use std::time::Duration;

use super::compose::Project;
use crate::shell::{Cmd, quote};

/// What such a line begins with.
const MARK: &str = "fleet-away: ";
/// Longest time in which a new container is watched; the health gate waits longer.
const WATCHED: u64 = 120;
/// No measure is longer than a day: what a host prints is not believed.
const MOST: u64 = 24 * 3600 * 1000;

const BEFORE: &str = r#"seen=$(mktemp)
docker events --filter type=container --filter "label=com.docker.compose.project=$STACK" --filter event=die --filter event=start --filter event=health_status \
    --format '{{.TimeNano}} {{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}' >"$seen" 2>/dev/null </dev/null &
watcher=$!
trap 'kill "$watcher" 2>/dev/null || true; rm -f "$seen"' EXIT
sleep 0.3
"#;

const AFTER: &str = r#"plain=
end=$(($(date +%s) + WATCHED))
while :; do
    waiting= plain=
    for service in $(awk '$3 == "die" { print $2 }' "$seen" | sort -u); do
        id=$(docker ps -q --no-trunc --filter "label=com.docker.compose.project=$STACK" --filter "label=com.docker.compose.service=$service" | head -n 1)
        [ -n "$id" ] || continue
        case $(docker inspect --format '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$id" 2>/dev/null) in
        'running starting') waiting=yes ;;
        'running none') plain="$plain $service " ;;
        esac
    done
    [ -n "$waiting" ] && [ "$(date +%s)" -lt "$end" ] || break
    sleep 0.3
done
sleep 0.2
kill "$watcher" 2>/dev/null || true
awk -v plain="$plain" '
    $3=="die" && !($2 in gone) { gone[$2] = $1 }
    $3=="start" && ($2 in gone) { if (index(plain, " " $2 " ")) back[$2] = $1 }
    $3=="health_status:" && $4=="healthy" && ($2 in gone) && !($2 in back) { back[$2] = $1 }
    END { for (name in back) printf "fleet-away: %s %.0f\n", name, (back[name] - gone[name]) / 1000000 }' "$seen"
"#;

impl Project {
    /// Brings every service to its description, as [`Project::up`] does, and says how long each was away.
    #[must_use]
    pub fn up_watched(&self) -> Cmd {
        self.watched(&format!("{} up --detach --no-build --quiet-pull --remove-orphans", self.line()))
    }

    /// Replaces these services and no other, whatever else changed.
    #[must_use]
    pub fn replace(&self, services: &[String]) -> Cmd {
        let list = crate::shell::join(services);
        self.watched(&format!(
            "compose() {{ {} \"$@\"; }}\ncompose stop {list}\ncompose rm --force {list}\n\
             compose up --detach --no-build --quiet-pull --no-recreate {list}",
            self.line()
        ))
    }

    fn watched(&self, work: &str) -> Cmd {
        let stack = quote(&self.layout.stack);
        let after = AFTER.replace("WATCHED", &WATCHED.to_string());
        Cmd::script(format!("set -eu\nSTACK={stack}\n{BEFORE}{work}\n{after}"), Vec::<String>::new())
            .sudo()
            .timeout(Duration::from_secs(900 + WATCHED))
    }
}

/// Service and seconds of a line that says how long it was away.
#[must_use]
pub fn line(text: &str) -> Option<(&str, f64)> {
    let (service, milliseconds) = text.strip_prefix(MARK)?.split_once(' ')?;
    let milliseconds: u64 = milliseconds.parse().ok()?;
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    let known = !service.is_empty() && service.len() <= 64 && service.chars().all(plain);
    #[expect(clippy::cast_precision_loss, reason = "a day has few milliseconds")]
    (known && milliseconds <= MOST).then(|| (service, milliseconds as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script under this machine's own shell, with a Docker that tells a made-up story.
    #[test]
    fn the_story_that_the_engine_tells_is_measured() {
        let tools = tempfile::tempdir().unwrap();
        let docker = r#"#!/bin/sh
case "$*" in
events*) printf '%s\n' '1000000000000000000 worker die' '1000000000500000000 cache die' '1000000001000000000 worker start' \
    '1000000002000000000 cache start' '1000000002000000000 web start' '1000000004250000000 worker health_status: healthy' \
    '1000000009000000000 worker health_status: healthy' '1000000003000000000 gone die'; exec sleep 5 ;;
ps*service=cache*) echo c1 ;;
ps*service=worker*) echo w1 ;;
'inspect'*c1) echo 'running none' ;;
'inspect'*w1) echo 'running healthy' ;;
*compose*) echo "compose was run" ;;
esac
"#;
        let path = tools.path().join("docker");
        std::fs::write(&path, docker).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let project = Project {
            layout: super::super::Layout::new("demo"),
            release: "0123456789ab".into(),
            file: "docker-compose.yml".into(),
            dotenv: None,
        };
        let cmd = project.watched("docker compose up");
        let text = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
        let path = format!("{}:/usr/bin:/bin", tools.path().display());
        let output = std::process::Command::new("sh").args(["-c", &text]).env("PATH", path).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let mut away: Vec<_> = said.lines().filter_map(line).collect();
        away.sort_by(|a, b| a.0.cmp(b.0));
        assert_eq!(away, [("cache", 1.5), ("worker", 4.25)]);
        assert!(said.contains("compose was run"));
    }

    #[test]
    fn what_is_no_measure_is_only_a_line() {
        for text in [
            "worker 5",
            "fleet-away: worker",
            "fleet-away: a b 5",
            "fleet-away: $x 5",
            "fleet-away: w 99999999999",
        ] {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
