//! A PostgreSQL server over a socket in its own folder, and the `docker` that leads to it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fleet::ops::migration::Migration;
use fleet::shell::{Cmd, hex};
use sha2::{Digest as _, Sha256};

/// Knows one container, `db1`, of the service `database`; what is executed in it is executed here.
const DOCKER: &str = r#"#!/bin/sh
case "$1" in
ps) case "$*" in *service=database*) echo db1 ;; esac ;;
exec)
    shift
    while :; do
        case $1 in
        -i) shift ;;
        --env=*) export "${1#--env=}"; shift ;;
        *) break ;;
        esac
    done
    [ "$1" = db1 ] || exit 97
    shift
    exec "$@"
    ;;
logs) echo 'no log here' ;;
*) exit 98 ;;
esac
"#;

/// One server for all tests that run at a time: the last one stops it.
struct Cluster {
    dir: tempfile::TempDir,
    bin: PathBuf,
}

/// A role and a database of a test's own in it, and the host that they seem to be on.
pub struct Server {
    cluster: Arc<Cluster>,
    dir: tempfile::TempDir,
    pub user: String,
    pub name: String,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
static DATABASES: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    #[track_caller]
    pub fn expect_ok(&self) {
        assert_eq!(self.code, 0, "{self:?}");
    }
}

pub fn migration(name: &str, sql: &str) -> Migration {
    let sha256 = hex(&Sha256::digest(sql));
    Migration { name: name.into(), sha256, sql: sql.into(), transaction: true }
}

/// The newest version whose programs are installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|list| {
        list.filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|bin| bin.join("initdb").is_file())
            .max_by_key(|bin| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok())
    });
    versions.ok().flatten().expect("PostgreSQL's server is missing: apt-get install postgresql")
}

impl Cluster {
    fn shared() -> Arc<Cluster> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Cluster::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    fn start() -> Cluster {
        let dir = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let cluster = Cluster { dir, bin: programs() };
        fs::set_permissions(cluster.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let (data, log) = (cluster.at("data"), cluster.at("log"));
        // The tests' own administrator; the roles under test are made as the image does.
        let words =
            ["-D", path(&data), "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"];
        cluster.as_owner(&cluster.bin.join("initdb"), &words);
        // As in the image a role needs no password within the container; one database asks for it.
        let hba = "local all admin trust\nlocal secured all scram-sha-256\nlocal all all trust\n";
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        let options = format!(
            "-c unix_socket_directories={} -c listen_addresses= -c fsync=off -c log_statement=all",
            cluster.dir.path().display()
        );
        let ctl = cluster.bin.join("pg_ctl");
        cluster.as_owner(&ctl, &["-D", path(&data), "-l", path(&log), "-o", &options, "-w", "start"]);
        cluster.admin("postgres", "create database secured");
        cluster
    }

    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// PostgreSQL refuses to run as root, so root lends its programs to the user that the package made.
    fn as_owner(&self, program: &Path, words: &[&str]) {
        let root = rustix::process::geteuid().is_root();
        let mut command = if root { Command::new("setpriv") } else { Command::new(program) };
        if root {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        }
        let output = command
            .args(words)
            .current_dir("/")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            // The server keeps what it inherits: a pipe would never end.
            .stdout(fs::File::create(self.at("said")).unwrap())
            .stderr(fs::File::create(self.at("complained")).unwrap())
            .status()
            .unwrap();
        let said = fs::read_to_string(self.at("complained")).unwrap_or_default();
        assert!(output.success(), "{}: {said}", program.display());
    }

    fn admin(&self, database: &str, sql: &str) -> String {
        let output = Command::new("psql")
            .args(["-h", path(self.dir.path()), "-U", "admin", "-d", database, "-XAtqc", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Server {
    pub fn start(user: &str, name: &str) -> Server {
        let cluster = Cluster::shared();
        let name = format!("{name}{}", DATABASES.fetch_add(1, Ordering::SeqCst));
        let server = Server { cluster, dir: tempfile::tempdir().unwrap(), user: user.into(), name };
        fs::create_dir(server.at("bin")).unwrap();
        fs::create_dir_all(server.at("opt")).unwrap();
        let docker = server.at("bin/docker");
        fs::write(&docker, DOCKER).unwrap();
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let (user, name) = (quoted(user), quoted(&server.name));
        let role = format!(
            "do $do$ begin create role {user} superuser login; \
             exception when duplicate_object or unique_violation then null; end $do$"
        );
        server.cluster.admin("postgres", &role);
        server.cluster.admin("postgres", &format!("create database {name} owner {user}"));
        server
    }

    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// What an sshd must set for its commands to find this server as a host would: `SetEnv` of sshd_config.
    pub fn environment(&self) -> String {
        format!(
            "PATH={}:{}:/usr/bin:/bin PGHOST={}",
            self.at("bin").display(),
            self.cluster.bin.display(),
            self.cluster.dir.path().display()
        )
    }

    /// Ends every connection to the database under test but this one.
    pub fn disconnect(&self) {
        self.ask("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
    }

    /// One answer of the database under test.
    pub fn ask(&self, sql: &str) -> String {
        self.cluster.admin(&self.name, sql)
    }

    /// Runs a command as a host would.
    pub fn run(&self, cmd: &Cmd) -> Done {
        use std::io::Write as _;
        let here = |text: &str| text.replace("/opt/", &format!("{}/", self.at("opt").display()));
        let words: Vec<String> = cmd.words().iter().map(|word| here(word)).collect();
        let input = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
        // A script comes on standard input, anything else there is data.
        let input = if words.get(1).is_some_and(|word| word == "-s") { here(&input) } else { input };
        // `pg_isready` asks over TCP, which nobody listens on here.
        let input = input.replace("-h 127.0.0.1 ", "");
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", format!("{}:{}:/usr/bin:/bin", self.at("bin").display(), self.cluster.bin.display()))
            .env("PGHOST", self.cluster.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that fails early does not read to the end.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Whether the role under test gets in with a password.
    pub fn logs_in_with(&self, password: &str) -> bool {
        let status = Command::new("psql")
            .args(["-h", path(self.cluster.dir.path()), "-U", &self.user, "-d", "secured"])
            .args(["-XAtqwc", "select 1"])
            .env("PGPASSWORD", password)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        status.success()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.cluster.at("log")).unwrap()
    }

    pub fn backups(&self) -> Vec<String> {
        let list = fs::read_dir(self.at("opt/demo/backups")).unwrap();
        let mut names: Vec<String> =
            list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.at("data");
        let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            // SIGQUIT: at once, nothing is worth keeping.
            let _ = Command::new("kill").args(["-QUIT", pid]).status();
        }
    }
}
