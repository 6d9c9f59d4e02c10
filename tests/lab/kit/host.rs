//! A host as its owner sees it: root over a login of the lab's own, not through fleet.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::lab;

#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    pub address: String,
}

/// What a command on a host said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The output of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "a command on the host failed:\n{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

impl Host {
    pub fn domain(&self) -> String {
        format!("{}.fleet.test", self.name)
    }

    /// A script as root; it travels on standard input, so nothing of it is in an argument list.
    pub fn sh(&self, script: &str) -> Said {
        self.run("sudo -n sh -s", script.as_bytes())
    }

    /// A command line as the login user, with something on its standard input.
    pub fn run(&self, line: &str, input: &[u8]) -> Said {
        let mut child = self
            .ssh()
            .arg(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ssh runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // A thread of its own: a command that prints much before it reads would wait for ever.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("ssh ends");
        writer.join().expect("the writer does not panic");
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Logins that the host ever let in, this look among them, and sessions that are open.
    pub fn logins(&self) -> (usize, usize) {
        let said = self.sh(
            "journalctl --no-pager -o cat _COMM=sshd + _COMM=sshd-session 2>/dev/null | grep -c 'Accepted publickey'
             pgrep -c -f '^sshd(-session)?: debian( \\[priv\\]|@)' || true",
        );
        let count: Vec<usize> =
            said.ok().lines().map(|line| line.trim().parse().expect("a number")).collect();
        (count[0], count[1])
    }

    fn ssh(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(lab().dir.join("lab_ed25519"));
        for option in [
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=10",
            "ServerAliveInterval=15",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.args(["-F", "/dev/null"]).arg(format!("debian@{}", self.address));
        ssh
    }

    /// Id of the container of each service of a stack.
    pub fn containers(&self, stack: &str) -> BTreeMap<String, String> {
        let script = format!(
            "docker ps -a --no-trunc --filter label=com.docker.compose.project={stack} \
             --format '{{{{.Label \"com.docker.compose.service\"}}}} {{{{.ID}}}}'"
        );
        let said = self.sh(&script).ok();
        said.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect()
    }

    /// A command in the container of a service; its number in the name tells nothing.
    pub fn exec(&self, stack: &str, service: &str, command: &str) -> Said {
        self.sh(&format!(
            "docker exec -i \"$(docker ps -q --filter label=com.docker.compose.project={stack} \
             --filter label=com.docker.compose.service={service} | head -n 1)\" {command}"
        ))
    }

    /// Everything that a run which changes nothing must leave as it is, as text to compare: the
    /// machine's settings, our folder, packages, units, containers and their start times.
    pub fn state(&self) -> String {
        self.sh(
            r#"set -eu
cd /
find etc opt -xdev \( -path opt/geoclic/backups -o -name check.state \) -prune -o -printf '%y %m %u %T@ %l %p\n' | sort
find etc opt -xdev \( -path opt/geoclic/backups -o -name check.state \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
dpkg-query -W
systemctl list-unit-files --type=service,timer,socket --no-legend --no-pager
nft --stateless list ruleset
docker ps -aq --no-trunc | sort | xargs -r docker inspect --format '{{.ID}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}'
docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
docker volume ls -q | sort
getent passwd"#,
        )
        .ok()
    }

    /// Logs in as soon as the host lets one in; for after a reboot.
    pub fn wait_for_login(&self) {
        super::eventually("the host lets us in", std::time::Duration::from_secs(90), || {
            let said = self.run("true", b"");
            if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
        });
    }
}
