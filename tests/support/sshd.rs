//! A real sshd for one test: its own address, host keys, authorized keys and log, in a folder of its
//! own, as the current user.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fleet::ssh::{Target, Transport};

static COUNT: AtomicU32 = AtomicU32::new(1);

pub struct Sshd {
    pub host: String,
    pub port: u16,
    pub dir: tempfile::TempDir,
    child: Child,
}

/// A loopback address that no other test of this run has: ports cannot clash.
pub fn own_address() -> String {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("127.{}.{}.{}", 1 + pid % 250, 1 + (pid / 250) % 250, count)
}

pub fn free_port(host: &str) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let done = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-C", "fleet-test", "-N", passphrase, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ssh-keygen is missing: install openssh-client");
    assert!(done.success());
}

pub fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

impl Sshd {
    pub fn start() -> Self {
        Self::with("")
    }

    /// `extra`: more lines of sshd_config.
    pub fn with(extra: &str) -> Self {
        Self::made(extra, None)
    }

    /// On a host of its own as far as files go: `prepare`, a line of shell, changes what is mounted for this
    /// server and its sessions alone. Needs root.
    pub fn inside(extra: &str, prepare: &str) -> Self {
        Self::made(extra, Some(prepare))
    }

    fn made(extra: &str, prepare: Option<&str>) -> Self {
        let program = Path::new("/usr/sbin/sshd");
        assert!(program.exists(), "{} is missing: install openssh-server", program.display());
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("host_ed25519"), "ed25519", "");
        keygen(&at("host_ecdsa"), "ecdsa", "");
        keygen(&at("key"), "ed25519", "");
        std::fs::copy(at("key.pub"), at("authorized_keys")).unwrap();
        // As root sshd insists on its empty folder; packages create it at boot.
        if user() == "root" {
            std::fs::create_dir_all("/run/sshd").unwrap();
            std::fs::set_permissions("/run/sshd", PermissionsExt::from_mode(0o755)).unwrap();
        }
        let host = own_address();
        let port = free_port(&host);
        let folder = dir.path().display();
        // Told that it is not the first shell, bash leaves the user's ~/.bashrc alone. sshd heeds only
        // the first SetEnv.
        let mut extra = extra.replace("SetEnv ", "SetEnv SHLVL=3 ");
        if !extra.contains("SetEnv") {
            extra.push_str("\nSetEnv SHLVL=3");
        }
        std::fs::write(
            at("sshd_config"),
            format!(
                "ListenAddress {host}:{port}\nHostKey {folder}/host_ed25519\nHostKey {folder}/host_ecdsa\n\
                 AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n\
                 PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 MaxStartups 200\nLogLevel VERBOSE\n{extra}\n"
            ),
        )
        .unwrap();
        let mut command = match prepare {
            None => {
                let mut command = Command::new(program);
                command.arg("-E").arg(at("log"));
                command
            }
            Some(prepare) => {
                let then = format!("{prepare}\nexec \"$@\"");
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "--", "sh", "-euc", &then, "sh"]);
                // Its log is opened here: there it may not be writable.
                command.arg(program).arg("-e").stderr(std::fs::File::create(at("log")).unwrap());
                command
            }
        };
        let child = command.args(["-D", "-f"]).arg(at("sshd_config")).spawn().unwrap();
        let sshd = Sshd { host, port, dir, child };
        let patience = Instant::now() + Duration::from_secs(20);
        while !sshd.log().contains("Server listening on") {
            assert!(Instant::now() < patience, "sshd does not start: {}", sshd.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        sshd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    /// Commands run so far, over whatever connection.
    pub fn commands(&self) -> usize {
        self.log().matches("Starting session: ").count()
    }

    pub fn target(&self) -> Target {
        Target {
            name: "test".to_owned(),
            host: self.host.clone(),
            port: self.port,
            user: user(),
            key: self.path("key"),
            known_hosts: self.path("known_hosts"),
            jump: None,
            agent: None,
            connect_timeout: Duration::from_secs(20),
            transport: Transport::Native,
        }
    }

    /// Writes a line of `known_hosts` with the public key in `file`.
    pub fn know(&self, file: &Path) {
        self.know_at(self.port, file);
    }

    /// The same for another port of the address.
    pub fn know_at(&self, port: u16, file: &Path) {
        let key = std::fs::read_to_string(file).unwrap();
        let line = format!("[{}]:{port} {key}", self.host);
        let path = self.path("known_hosts");
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }

    /// An `ssh_config` that knows nothing of the tester's own.
    pub fn ssh_config(&self) -> PathBuf {
        let path = self.path("ssh_config");
        let known = self.path("own_known_hosts");
        std::fs::write(&path, format!("UserKnownHostsFile {}\n", known.display())).unwrap();
        path
    }

    /// Kills what serves the open connections, not the listener nor the commands: the wire is cut.
    pub fn cut(&self) {
        let mut family = descendants(self.child.id());
        family.retain(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("sshd")
        });
        assert!(!family.is_empty(), "no connection to cut");
        // From the outside in, so that nobody lives to report the death of another.
        for pid in family {
            kill(pid, "KILL");
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in descendants(self.child.id()) {
            kill(pid, "KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).stderr(Stdio::null()).status();
}

/// All descendants of a process, parents first.
fn descendants(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let direct = text.split_whitespace().filter_map(|word| word.parse().ok());
    direct.flat_map(|child| [child].into_iter().chain(descendants(child))).collect()
}
