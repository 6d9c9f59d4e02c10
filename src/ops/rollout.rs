//! One service from an old container to a new one without a dropped request.
//!
//! The new container starts beside the old one; the proxy finds both by name. Only when the new
//! one is healthy does the old one get its SIGTERM, finish what it has, and go. When the new one
//! does not become healthy it is removed, and the old one never noticed.

use std::time::Duration;

use super::compose::Project;
use crate::shell::{Cmd, quote};

/// Seconds that a stopping container has for the requests it still works on.
const GRACE: u64 = 30;

/// Replaces a service start-first. Does nothing when it runs as wanted; a run that was cut in the
/// middle is finished by the next one.
#[must_use]
pub fn start_first(project: &Project, service: &str, deadline: Duration) -> Cmd {
    let script = format!(
        r#"set -eu
export LC_ALL=C
service={service}
compose() {{ {compose} "$@"; }}
of() {{ docker ps -aq --no-trunc --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service="$service" "$@"; }}
want=$(compose config --hash "$service" | cut -d' ' -f2)
[ -n "$want" ] || {{ echo "fleet: Compose knows no hash of $service" >&2; exit 1; }}
new=$(of --filter label=com.docker.compose.config-hash="$want")
old=$(of | while read -r id; do case "$new" in *"$id"*) ;; *) echo "$id" ;; esac; done)
if [ -z "$old" ] || ! docker inspect --format '{{{{.State.Running}}}}' $old | grep -q true; then
    compose up --detach --no-build "$service"
    new=$(of --filter label=com.docker.compose.config-hash="$want")
    old=
elif [ -z "$new" ]; then
    compose up --detach --no-build --no-recreate --scale "$service=$(($(printf '%s\n' "$old" | wc -l) + 1))" "$service"
    new=$(of --filter label=com.docker.compose.config-hash="$want")
fi
back() {{
    docker logs --tail 20 $new >&2 2>&1 || true
    # Last, so that no log pushes it out of what is kept.
    echo "fleet: $1" >&2
    if [ -n "$old" ]; then docker rm -f $new >/dev/null 2>&1 || true; fi
    exit 1
}}
[ -n "$new" ] || back 'no new container was made'
end=$(($(date +%s) + {deadline}))
quiet=0
while :; do
    state=$(docker inspect --format '{{{{.State.Status}}}} {{{{if .State.Health}}}}{{{{.State.Health.Status}}}}{{{{else}}}}none{{{{end}}}} {{{{.RestartCount}}}}' $new | tail -n 1)
    case $state in
        'running healthy '*) break ;;
        'running none 0') quiet=$((quiet + 1)); [ $quiet -lt 10 ] || break ;;
        *' '[3-9]|*' '[1-9][0-9]*) back "the new container restarts in a loop" ;;
        exited*|dead*) back "the new container ended" ;;
    esac
    [ "$(date +%s)" -lt $end ] || back "the new container is not healthy after {deadline} s ($state)"
    sleep 0.5
done
[ -n "$old" ] || exit 0
# The proxy looks names up once a second: it knows the new address before the old one goes.
sleep 1.5
# New connections to the old one are refused first, which a proxy may answer with another address even
# for a POST. Ended at once, it would reset those that its kernel had taken and it had not.
for id in $old; do
    pid=$(docker inspect --format '{{{{.State.Pid}}}}' "$id" 2>/dev/null) || continue
    [ "${{pid:-0}}" -gt 0 ] || continue
    echo 'table inet fleet_drain {{ chain in {{ type filter hook input priority 0; iifname != "lo" tcp flags & (syn | ack) == syn reject with tcp reset; }}; }}' |
        nsenter -t "$pid" -n nft -f - 2>/dev/null || true
done
sleep 1
docker stop -t {GRACE} $old >/dev/null
sleep 1.5
docker rm $old >/dev/null"#,
        service = quote(service),
        compose = project.line(),
        stack = quote(&project.layout.stack),
        deadline = deadline.as_secs(),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(deadline + Duration::from_secs(GRACE + 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Layout;

    #[test]
    fn the_script_parses() {
        let project = Project {
            layout: Layout::new("demo"),
            release: "0123456789ab".into(),
            file: "docker-compose.yml".into(),
            dotenv: Some(".env".into()),
        };
        let cmd = start_first(&project, "api", Duration::from_secs(60));
        let text = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
        let output = std::process::Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let place = |part: &str| text.find(part).unwrap();
        assert!(place("reject with tcp reset; }; }'") < place("docker stop"), "refused before it is stopped");
    }
}
