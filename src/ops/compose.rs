//! Docker Compose and Docker, as words.

use std::time::Duration;

use super::Layout;
use crate::shell::{Cmd, join, quote};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A release's Compose project: its files, its environment, one project name for all releases, so
/// that volumes and networks stay.
#[derive(Clone, Debug)]
pub struct Project {
    pub layout: Layout,
    pub release: String,
    /// Compose file within the release.
    pub file: String,
    /// Environment file within the release.
    pub dotenv: Option<String>,
}

impl Project {
    fn words(&self) -> Vec<String> {
        let dir = self.layout.release(&self.release);
        // Variables of the login would win over those of the environment file.
        let mut words: Vec<String> = ["env", "-i", "HOME=/root", PATH].map(str::to_owned).into();
        words.extend([
            "docker".to_owned(),
            "compose".into(),
            // Its progress is for a terminal; what goes wrong is said all the same.
            "--progress".into(),
            "quiet".into(),
            "-p".into(),
            self.layout.stack.clone(),
            "--project-directory".into(),
            dir.clone(),
            "-f".into(),
            format!("{dir}/{}", self.file),
        ]);
        if let Some(dotenv) = &self.dotenv {
            words.extend(["--env-file".to_owned(), format!("{dir}/{dotenv}")]);
        }
        words
    }

    fn cmd(&self, rest: &[&str], limit: u64) -> Cmd {
        let mut words = self.words();
        words.extend(rest.iter().map(|word| (*word).to_owned()));
        Cmd::new(words).sudo().timeout(Duration::from_secs(limit))
    }

    /// Checks the files the way Compose reads them, before anything is started.
    #[must_use]
    pub fn check(&self) -> Cmd {
        self.cmd(&["config", "--quiet"], 60)
    }

    /// Pulls the images that are not there yet, one after the other; those of `built` are not
    /// asked for anywhere.
    #[must_use]
    pub fn pull_missing(&self, built: &[String]) -> Cmd {
        let known = built.iter().map(|tag| format!(" -e {}", quote(tag))).collect::<String>();
        Cmd::script(
            format!(
                "set -eu
list=$({} config --images)
printf '%s\\n' \"$list\" | sort -u | grep -vxF -e ''{known} | while IFS= read -r image; do
    docker image inspect \"$image\" >/dev/null 2>&1 || {{ echo \"pulling $image\"; docker pull --quiet \"$image\" >/dev/null </dev/null; }}
done",
                self.line()
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(Duration::from_secs(1800))
    }

    /// Brings every service to its description; those that are so already are left alone.
    ///
    /// Never `--no-deps`: Compose then leaves `depends_on` out of the hash that it marks containers
    /// with, and the next `up` replaces them once more.
    #[must_use]
    pub fn up(&self) -> Cmd {
        self.cmd(&["up", "--detach", "--no-build", "--quiet-pull", "--remove-orphans"], 900)
    }

    /// Makes every container, volume and network that is not there, and starts nothing.
    #[must_use]
    pub fn create(&self) -> Cmd {
        self.cmd(&["up", "--no-start", "--no-build", "--no-recreate", "--quiet-pull"], 900)
    }

    /// Starts services, and what they depend on, where they do not run; replaces nothing.
    #[must_use]
    pub fn start(&self, services: &[String]) -> Cmd {
        let mut rest = vec!["up", "--detach", "--no-build", "--quiet-pull", "--no-recreate"];
        rest.extend(services.iter().map(String::as_str));
        self.cmd(&rest, 900)
    }

    /// The command line, for scripts of ours that stay on the host.
    #[must_use]
    pub fn line(&self) -> String {
        join(&self.words())
    }
}

/// Builds one image from a folder of the pushed source. The tag says what is in it, so an image
/// that is there already is never built again.
#[must_use]
pub fn build(context: &str, tag: &str) -> Cmd {
    Cmd::script(
        format!(
            "set -eu\nexport DOCKER_BUILDKIT=1\ndocker image inspect {tag} >/dev/null 2>&1 && exit 0\n\
             exec docker build --quiet --tag {tag} {context} 2>&1",
            tag = quote(tag),
            context = quote(context),
        ),
        Vec::<String>::new(),
    )
    .sudo()
    .timeout(Duration::from_secs(1800))
}

/// What a health gate asks besides the state of the containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asks {
    /// Service, port, path and `Host` header; asked on the container's own address.
    pub http: Vec<(String, u16, String, Option<String>)>,
    pub tcp: Vec<(String, u16)>,
    /// Service and a command that must exit 0 inside its container.
    pub command: Vec<(String, Vec<String>)>,
    /// Service and a text that it must have logged since it started.
    pub log: Vec<(String, String)>,
    /// Domain and URL of the client's front door.
    pub front: Option<(String, String)>,
}

const LOOK: &str = r#"export LC_ALL=C
ids=$(docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$STACK")
[ -z "$ids" ] || docker inspect --format 'container	{{.ID}} {{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.State.StartedAt}} {{.Config.Image}} {{index .Config.Labels "com.docker.compose.config-hash"}}' $ids
newest() {
    docker ps -q --filter "label=com.docker.compose.project=$STACK" --filter "label=com.docker.compose.service=$1" | head -n 1
}
address() {
    docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$(newest "$1")" 2>/dev/null | cut -d' ' -f1
}
fetch() {
    curl -sk --max-time 5 --max-filesize 65536 -w '\n%{http_code}' "$@" 2>/dev/null
}
answer() {
    code=$(printf '%s\n' "$3" | tail -n 1)
    body=$(printf '%s\n' "$3" | sed '$d' | head -c 4096 | base64 | tr -d '\n')
    printf '%s\t%s %s %s\n' "$1" "$2" "$code" "$body"
}
http() {
    ip=$(address "$1")
    [ -n "$ip" ] || return 0
    answer http "$1" "$(fetch ${4:+-H "Host: $4"} "http://$ip:$2$3")"
}
tcp() {
    ip=$(address "$1")
    [ -n "$ip" ] || return 0
    code=0
    curl -s --max-time 2 "telnet://$ip:$2" </dev/null >/dev/null 2>&1 || code=$?
    # 7: nobody listens; anything else got as far as a connection.
    if [ "$code" -eq 7 ]; then printf 'tcp\t%s closed\n' "$1"; else printf 'tcp\t%s open\n' "$1"; fi
}
inside() {
    service=$1
    shift
    id=$(newest "$service")
    [ -n "$id" ] || return 0
    code=0
    timeout 10 docker exec "$id" "$@" >/dev/null 2>&1 </dev/null || code=$?
    printf 'command\t%s %s\n' "$service" "$code"
}
# An old log may have lost its beginning: what started long ago is asked no more.
logged() {
    id=$(newest "$1")
    [ -n "$id" ] || return 0
    since=$(docker inspect --format '{{.State.StartedAt}}' "$id")
    if [ $(($(date +%s) - $(date -d "$since" +%s))) -gt 900 ] ||
        timeout 10 docker logs --since "$since" "$id" 2>&1 | grep -Faq -e "$2"; then
        printf 'log\t%s found\n' "$1"
    else
        printf 'log\t%s missing\n' "$1"
    fi
}
front() {
    answer front front "$(fetch --resolve "$1:443:127.0.0.1" --resolve "$1:80:127.0.0.1" "$2")"
}
"#;

/// The state of a project's containers, one line each, then the answers to what was asked:
/// `http SERVICE CODE BODY`, `tcp SERVICE open|closed`, `command SERVICE CODE`, `log SERVICE found|missing`, `front - CODE BODY`,
/// with bodies in base64.
#[must_use]
pub fn look(stack: &str, asks: &Asks) -> Cmd {
    let mut script = format!("STACK={}\n{LOOK}", quote(stack));
    let mut call = |words: &[&str]| {
        script.push_str(&join(words));
        script.push('\n');
    };
    for (service, port, path, host) in &asks.http {
        call(&["http", service, &port.to_string(), path, host.as_deref().unwrap_or("")]);
    }
    for (service, port) in &asks.tcp {
        call(&["tcp", service, &port.to_string()]);
    }
    for (service, command) in &asks.command {
        let mut words = vec!["inside", service.as_str()];
        words.extend(command.iter().map(String::as_str));
        call(&words);
    }
    for (service, text) in &asks.log {
        call(&["logged", service, text]);
    }
    if let Some((domain, url)) = &asks.front {
        call(&["front", domain, url]);
    }
    script.push_str("printf 'end\\tok\\n'\n");
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(60))
}

/// Exit code of [`inside`] when the service has no running container (EX_UNAVAILABLE of sysexits.h).
pub const NOT_RUNNING: u32 = 69;

/// A command in the newest running container of a service, with its input handed through;
/// `terminal` when a person sits there. Not a script on standard input: that belongs to the command.
#[must_use]
pub fn inside(stack: &str, service: &str, words: &[String], terminal: bool) -> Cmd {
    exec(stack, service, if terminal { &["-it"] } else { &["-i"] }, words)
}

/// The same without input and with variables of its own.
#[must_use]
pub fn inside_with(stack: &str, service: &str, words: &[String], env: &[(String, String)]) -> Cmd {
    let set: Vec<String> = env.iter().map(|(name, value)| format!("--env={name}={value}")).collect();
    exec(stack, service, &set.iter().map(String::as_str).collect::<Vec<_>>(), words)
}

fn exec(stack: &str, service: &str, options: &[&str], words: &[String]) -> Cmd {
    let script = format!(
        r#"id=$(docker ps -q --filter label=com.docker.compose.project="$1" --filter label=com.docker.compose.service="$2" --filter label=com.docker.compose.oneoff=False | head -n 1)
[ -n "$id" ] || {{ echo "service $2 has no running container" >&2; exit {NOT_RUNNING}; }}
shift 2
exec docker exec {} "$id" "$@""#,
        join(options)
    );
    let fixed = ["sh", "-c", &script, "sh", stack, service].map(str::to_owned);
    Cmd::new(fixed.into_iter().chain(words.iter().cloned())).sudo()
}

/// A shell of a container: the best that its image has.
#[must_use]
pub fn shell_inside(stack: &str, service: &str) -> Cmd {
    let best = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"].map(str::to_owned);
    inside(stack, service, &best, true)
}

/// Last log lines of one service, both streams, with no colours.
#[must_use]
pub fn last_logs(stack: &str, service: &str, lines: u32) -> Cmd {
    Cmd::script(
        format!(
            "for id in $(docker ps -aq --filter label=com.docker.compose.project={} --filter label=com.docker.compose.service={}); do docker logs --tail {lines} \"$id\" 2>&1; done",
            quote(stack),
            quote(service),
        ),
        Vec::<String>::new(),
    )
    .sudo()
    .timeout(Duration::from_secs(30))
}
