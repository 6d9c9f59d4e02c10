//! The one probe: a fixed script with what to look at written above it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::shell::{Cmd, quote};

const SCRIPT: &str = include_str!("probe.sh");

/// What a probe shall look at. Empty parts are passed over.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub stack: String,
    pub domain: String,
    pub packages: Vec<String>,
    pub units: Vec<String>,
    pub files: Vec<String>,
    pub dirs: Vec<String>,
    pub deploy_user: String,
    pub deploy_key: String,
    /// Service, user and name of the client's database.
    pub database: Option<(String, String, String)>,
    pub tls: bool,
    /// Release that is wanted, and the Compose command line of it.
    pub release: Option<(String, String)>,
    pub health_url: Option<String>,
    /// The stack's own checks.
    pub own: Vec<Own>,
}

/// A check that a stack names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// A page of the front door; its status is the answer.
    Page { name: String, url: String },
    /// A command in a service's container; its exit code is the answer, and `none` without a container.
    Inside { name: String, service: String, command: Vec<String> },
}

#[must_use]
pub fn probe(question: &Question) -> Cmd {
    let mut text = String::new();
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}={}", quote(value));
    };
    let (service, user, name) = question.database.clone().unwrap_or_default();
    set("STACK", &question.stack);
    set("DOMAIN", &question.domain);
    set("PACKAGES", &question.packages.join(" "));
    set("UNITS", &question.units.join(" "));
    set("FILES", &question.files.join("\n"));
    set("DIRS", &question.dirs.join("\n"));
    set("DEPLOY_USER", &question.deploy_user);
    set("DEPLOY_KEY", &question.deploy_key);
    set("DB_SERVICE", &service);
    set("DB_USER", &user);
    set("DB_NAME", &name);
    let (release, compose) = question.release.clone().unwrap_or_default();
    set("RELEASE", &release);
    set("COMPOSE", &compose);
    set("TLS", if question.tls { "yes" } else { "no" });
    set("HEALTH_URL", question.health_url.as_deref().unwrap_or(""));
    let own: String =
        question.own.iter().map(|check| own(&question.stack, &question.domain, check)).collect();
    text.push_str(&SCRIPT.replace("# @own@\n", &own));
    Cmd::script(text, Vec::<String>::new()).sudo().timeout(Duration::from_secs(120))
}

/// Shell text that looks at one check of the stack. The engine is known to answer there.
fn own(stack: &str, domain: &str, check: &Own) -> String {
    match check {
        Own::Page { name, url } => format!(
            "    say_own {} \"$(curl -sk --max-time 8 --max-filesize 1048576 -o /dev/null --resolve {domain}:443:127.0.0.1 --resolve {domain}:80:127.0.0.1 -w '%{{http_code}}' {})\"\n",
            quote(name),
            quote(url),
        ),
        Own::Inside { name, service, command } => {
            let words: Vec<_> = command.iter().map(|word| quote(word)).collect();
            format!(
                "    id=$(timeout 10 docker ps -q --filter label=com.docker.compose.project={} --filter label=com.docker.compose.service={} | head -n 1)
    if [ -n \"$id\" ]; then timeout 20 docker exec \"$id\" {} >/dev/null 2>&1 </dev/null; say_own {name} $?; else say_own {name} none; fi
",
                quote(stack),
                quote(service),
                words.join(" "),
                name = quote(name),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// The script runs under the machine's own `sh` and its answer parses: syntax errors and
    /// unset variables show here, not on a client.
    #[test]
    fn the_probe_runs_under_a_real_shell() {
        let question = Question {
            stack: "no-such-stack".into(),
            domain: "client.example.org".into(),
            files: vec!["/etc/os-release".into(), "/no/such file".into()],
            dirs: vec!["/etc".into()],
            packages: vec!["dash".into(), "no-such-package".into()],
            ..Question::default()
        };
        let cmd = probe(&question);
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(cmd.input().bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let facts = Facts::parse(&output.stdout).unwrap();
        assert!(facts.files.contains_key("/etc/os-release"));
        assert!(facts.packages.contains_key("dash"));
        assert_eq!(facts.dirs["/etc"], "755");
        assert!(facts.number("MemTotal").unwrap() > 0);
        assert!(facts.number("disk_free").unwrap() > 0);
    }
}
