//! What `fleet doctor` asks a host.

use std::time::Duration;

use crate::shell::{Cmd, quote};

const SCRIPT: &str = include_str!("doctor.sh");

/// One look with the login user's own rights. `acme` is the directory of the certificate authority; empty asks
/// for none.
#[must_use]
pub fn look(domain: &str, acme: &str) -> Cmd {
    let text = format!("DOMAIN={}\nACME={}\n{SCRIPT}", quote(domain), quote(acme));
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
        let cmd = look("client.example.invalid", "");
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
    }
}
