//! Docker Compose and Docker, as words.

use std::time::Duration;

use super::Layout;
use crate::shell::{Cmd, quote};

/// A release's Compose project: its files, its environment, one project name for all releases, so
/// that volumes and networks stay.
#[derive(Clone, Debug)]
pub struct Project {
    pub layout: Layout,
    pub release: String,
    /// Compose file within the release.
    pub file: String,
    /// Environment file within the release.
    pub dotenv: String,
}

impl Project {
    fn words(&self) -> Vec<String> {
        let dir = self.layout.release(&self.release);
        vec![
            "docker".into(),
            "compose".into(),
            "-p".into(),
            self.layout.stack.clone(),
            "--project-directory".into(),
            dir.clone(),
            "-f".into(),
            format!("{dir}/{}", self.file),
            "--env-file".into(),
            format!("{dir}/{}", self.dotenv),
        ]
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

    #[must_use]
    pub fn pull(&self, services: &[String]) -> Cmd {
        let mut rest = vec!["pull", "--quiet"];
        rest.extend(services.iter().map(String::as_str));
        self.cmd(&rest, 1800)
    }

    /// Starts services that are not running as described; leaves the others alone.
    #[must_use]
    pub fn up(&self, services: &[String]) -> Cmd {
        let mut rest = vec!["up", "--detach", "--no-build", "--quiet-pull"];
        if services.is_empty() {
            rest.push("--remove-orphans");
        } else {
            rest.push("--no-deps");
        }
        rest.extend(services.iter().map(String::as_str));
        self.cmd(&rest, 900)
    }

    /// The command line, for scripts of ours that stay on the host.
    #[must_use]
    pub fn line(&self) -> String {
        crate::shell::join(&self.words())
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

/// The state of a project's containers, one line each, for a health gate.
///
/// With `http`, each `service port path` is asked inside the container's own network, and the
/// answer follows its line: `http <service> <code> <base64 of the body>`.
#[must_use]
pub fn look(stack: &str, http: &[(String, u16, String)], tcp: &[(String, u16)]) -> Cmd {
    let mut script = format!(
        r#"export LC_ALL=C
ids=$(docker ps -aq --no-trunc --filter label=com.docker.compose.project={stack})
[ -n "$ids" ] || exit 0
docker inspect --format 'container	{{{{.Id}}}} {{{{index .Config.Labels "com.docker.compose.service"}}}} {{{{.State.Status}}}} {{{{if .State.Health}}}}{{{{.State.Health.Status}}}}{{{{else}}}}none{{{{end}}}} {{{{.RestartCount}}}} {{{{.State.StartedAt}}}} {{{{.Config.Image}}}}' $ids
address() {{
    docker inspect --format '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}} {{{{end}}}}' "$(docker ps -q --latest --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service="$1")" 2>/dev/null | cut -d' ' -f1
}}
http() {{
    ip=$(address "$1")
    [ -n "$ip" ] || return 0
    answer=$(curl -s --max-time 5 --max-filesize 65536 -w '\n%{{http_code}}' "http://$ip:$2$3" 2>/dev/null)
    printf 'http\t%s %s %s\n' "$1" "$(printf '%s\n' "$answer" | tail -n 1)" "$(printf '%s\n' "$answer" | sed '$d' | head -c 4096 | base64 | tr -d '\n')"
}}
tcp() {{
    ip=$(address "$1")
    [ -n "$ip" ] || return 0
    if curl -s --max-time 3 "telnet://$ip:$2" </dev/null >/dev/null 2>&1; then code=0; else code=$?; fi
    # 7: nobody listens; anything else got as far as a connection.
    [ "$code" -eq 7 ] && printf 'tcp\t%s closed\n' "$1" || printf 'tcp\t%s open\n' "$1"
}}
"#,
        stack = quote(stack),
    );
    for (service, port, path) in http {
        script.push_str(&format!("http {} {port} {}\n", quote(service), quote(path)));
    }
    for (service, port) in tcp {
        script.push_str(&format!("tcp {} {port}\n", quote(service)));
    }
    script.push_str("printf 'end\\tok\\n'");
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(60))
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
