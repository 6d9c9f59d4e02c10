//! The one probe: a fixed script with what to look at written above it.

use std::fmt::Write as _;
use std::time::Duration;

use super::migration::Server;
use crate::shell::{Cmd, Stdin, quote};

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
    /// The client's database.
    pub database: Option<Server>,
    pub tls: bool,
    /// Release that is wanted, and the Compose command line of it.
    pub release: Option<(String, String)>,
    pub health_url: Option<String>,
    /// Digest and path in the release of files whose present content is wanted where it differs.
    pub compare: Vec<(String, String)>,
    /// The stack's own checks.
    pub own: Vec<Own>,
    /// The service that reports to Sentry.
    pub reporter: Option<Reporter>,
}

/// What is asked of the service that reports: with what it runs, and what it said when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporter {
    pub service: String,
    /// Variables that carry the DSN and the release.
    pub dsn: String,
    pub release: Option<String>,
    /// Text in its log that says that it reports.
    pub log: Option<String>,
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
    let inside = question.database.as_ref().and_then(Server::inside);
    let (service, user, name) =
        inside.map_or(("", "", ""), |database| (&*database.service, &*database.user, &*database.name));
    set("STACK", &question.stack);
    set("DOMAIN", &question.domain);
    set("PACKAGES", &question.packages.join(" "));
    set("UNITS", &question.units.join(" "));
    set("FILES", &question.files.join("\n"));
    set("DIRS", &question.dirs.join("\n"));
    set("DEPLOY_USER", &question.deploy_user);
    set("DEPLOY_KEY", &question.deploy_key);
    set("DB_SERVICE", service);
    set("DB_USER", user);
    set("DB_NAME", name);
    let (release, compose) = question.release.clone().unwrap_or_default();
    set("RELEASE", &release);
    set("COMPOSE", &compose);
    set("TLS", if question.tls { "yes" } else { "no" });
    set("HEALTH_URL", question.health_url.as_deref().unwrap_or(""));
    let compare: Vec<String> =
        question.compare.iter().map(|(digest, path)| format!("{digest} {path}")).collect();
    let _ = writeln!(text, "COMPARE={}", quote(&compare.join("\n")));
    let mut own: String =
        question.own.iter().map(|check| own(&question.stack, &question.domain, check)).collect();
    own.extend(question.reporter.iter().map(|reporter| self::reporter(&question.stack, reporter)));
    let asked = match &question.database {
        Some(Server::Outside(outside)) => Some(outside.asked()),
        Some(Server::Inside(_)) | None => None,
    };
    let script = SCRIPT.replace("# @own@\n", &own);
    text.push_str(&script.replace("# @outside@\n", asked.as_deref().unwrap_or_default()));
    let cmd = Cmd::script(text.as_str(), Vec::<String>::new()).sudo().timeout(Duration::from_secs(120));
    match asked {
        // It holds the password.
        Some(_) => cmd.stdin(Stdin::Secret(text.into_bytes())),
        None => cmd,
    }
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

/// Shell text that looks at the service that reports. Its DSN stays there: what comes back is a digest.
fn reporter(stack: &str, reporter: &Reporter) -> String {
    let mut text = format!(
        "    id=$(timeout 10 docker ps -q --filter label=com.docker.compose.project={} --filter label=com.docker.compose.service={} | head -n 1)
    runs_with() {{ timeout 10 docker inspect --format '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' \"$id\" | sed -n \"s/^$1=//p\" | head -n 1; }}
    if [ -n \"$id\" ]; then
        say sentry_dsn \"$(runs_with {} | tr -d '\\n' | sha256sum | cut -c1-64)\"\n",
        quote(stack),
        quote(&reporter.service),
        quote(&reporter.dsn),
    );
    if let Some(release) = &reporter.release {
        let _ = writeln!(text, "        say sentry_release \"$(runs_with {})\"", quote(release));
    }
    if let Some(log) = &reporter.log {
        let _ = writeln!(
            text,
            "        say sentry_log \"$(timeout 20 docker logs \"$id\" 2>&1 | grep -aF -e {} | tail -n 1 | head -c 300 | base64 | tr -d '\\n')\"",
            quote(log),
        );
    }
    text.push_str("    fi\n");
    text
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

    #[test]
    fn files_that_differ_from_the_wanted_ones_come_with_the_answer() {
        use sha2::{Digest as _, Sha256};
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("releases/r1");
        std::fs::create_dir_all(release.join("a dir")).unwrap();
        std::os::unix::fs::symlink("releases/r1", dir.path().join("current")).unwrap();
        let digest = |text: &str| crate::shell::hex(&Sha256::digest(text));
        let mut written = String::new();
        for (name, text) in [("same", "1"), ("a dir/it's", "old\n\0\x1b[2J"), ("gone", "g"), ("empty", "")] {
            std::fs::write(release.join(name), text).unwrap();
            written.push_str(&format!("{}  {name}\n", digest(text)));
        }
        written.push_str(&format!("{}  /opt/x/files/1/nginx.conf\n", digest("n")));
        std::fs::write(release.join(".sha256"), written).unwrap();
        std::fs::write(release.join("large"), "x".repeat(70_000)).unwrap();
        let wanted = [("same", "1"), ("a dir/it's", "new"), ("empty", "e"), ("large", "l"), ("new", "n")];
        let compare = wanted.map(|(name, text)| (digest(text), name.to_owned())).to_vec();
        let question = Question { stack: "no-such-stack".into(), compare, ..Question::default() };
        let text = String::from_utf8(probe(&question).input().bytes().to_vec()).unwrap();
        let text = text.replace("base=/opt/$STACK", &format!("base={}", dir.path().display()));
        let output = Command::new("sh").args(["-c", &text]).output().unwrap();
        let facts = Facts::parse(&output.stdout).unwrap();
        let names: Vec<&str> = facts.old.keys().map(String::as_str).collect();
        assert_eq!(names, ["a dir/it's", "empty", "large"]);
        assert_eq!(facts.old["a dir/it's"].content.as_slice(), b"old\n\0\x1b[2J");
        assert!(facts.old["empty"].whole() && !facts.old["large"].whole());
        assert_eq!(
            facts.written.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a dir/it's", "empty", "gone", "same"]
        );
        assert!(!format!("{facts:?}").contains("2J"), "content of a file is never printed");
    }
}
