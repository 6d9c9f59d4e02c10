//! What `fleet doctor` asks a host.

use std::time::Duration;

use crate::shell::{Cmd, quote};

const SCRIPT: &str = include_str!("doctor.sh");

/// One look with the login user's own rights. `acme` is the directory of the certificate authority; empty asks
/// for none. `outside` are names and the host and port that each stands for.
#[must_use]
pub fn look<'o>(domain: &str, acme: &str, outside: impl Iterator<Item = (&'o str, &'o str, u16)>) -> Cmd {
    let outside: String = outside.map(|(name, host, port)| format!("{name} {host} {port}\n")).collect();
    let text = format!(
        "DOMAIN={}\nACME={}\nOUTSIDE={}\n{SCRIPT}",
        quote(domain),
        quote(acme),
        quote(outside.trim_end())
    );
    Cmd::script(text, Vec::<String>::new()).timeout(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn the_look_runs_under_a_real_shell() {
        let outside = [("GONE", "client.example.invalid", 443), ("SHUT", "127.0.0.1", 1)];
        let cmd = look("client.example.invalid", "", outside.into_iter());
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
        assert!(facts.number("MemTotal").unwrap() > 0);
        assert_eq!(facts.value("resolves"), None);
        assert_eq!(
            (facts.value("outside GONE"), facts.value("outside SHUT")),
            (Some("unresolved"), Some("refused"))
        );
    }
}
