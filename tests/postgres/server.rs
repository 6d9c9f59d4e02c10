//! A PostgreSQL server of a test's own, over a socket in its own folder, and the `docker` that leads to it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet::ops::postgres::Migration;
use fleet::shell::{Cmd, hex};
use sha2::{Digest as _, Sha256};

/// Knows one container, `db1`, of the service `database`; what is executed in it is executed here.
const DOCKER: &str = r#"#!/bin/sh
case "$1" in
ps) case "$*" in *service=database*) echo db1 ;; esac ;;
exec)
    shift
    [ "$1" = -i ] && shift
    [ "$1" = db1 ] || exit 97
    shift
    exec "$@"
    ;;
logs) echo 'no log here' ;;
*) exit 98 ;;
esac
"#;

pub struct Server {
    dir: tempfile::TempDir,
    bin: PathBuf,
    pub user: String,
    pub name: String,
}

#[derive(Debug)]
#[expect(dead_code, reason = "stdout is for the message of a test that fails")]
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

impl Server {
    pub fn start(user: &str, name: &str) -> Server {
        let dir = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let server = Server { dir, bin: programs(), user: user.into(), name: name.into() };
        let docker = server.at("bin/docker");
        fs::create_dir(server.at("bin")).unwrap();
        fs::create_dir_all(server.at("opt")).unwrap();
        fs::write(&docker, DOCKER).unwrap();
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(server.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let (data, log) = (server.at("data"), server.at("log"));
        let initdb = server.bin.join("initdb");
        // The tests' own administrator; the role under test is made below, as the image does.
        let words =
            ["-D", path(&data), "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"];
        server.as_owner(&initdb, &words);
        let hba = "local all admin trust\nlocal all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        let options = format!(
            "-c unix_socket_directories={} -c listen_addresses= -c fsync=off -c log_statement=all",
            server.dir.path().display()
        );
        let ctl = server.bin.join("pg_ctl");
        server.as_owner(&ctl, &["-D", path(&data), "-l", path(&log), "-o", &options, "-w", "start"]);
        let quoted = |text: &str| text.replace('"', "\"\"");
        server.admin("postgres", &format!("create role \"{}\" superuser login", quoted(user)));
        server.admin("postgres", &format!("create database \"{}\" owner \"{}\"", quoted(name), quoted(user)));
        server
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

    /// One answer of the database under test.
    pub fn ask(&self, sql: &str) -> String {
        self.admin(&self.name, sql)
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
            .env("PATH", format!("{}:{}:/usr/bin:/bin", self.at("bin").display(), self.bin.display()))
            .env("PGHOST", self.dir.path())
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
        let hba = "local all admin trust\nlocal all all scram-sha-256\n";
        fs::write(self.at("data/pg_hba.conf"), hba).unwrap();
        self.admin("postgres", "select pg_reload_conf()");
        // The reload is asked for, not waited for.
        for _ in 0..50 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            if self.admin("postgres", "select count(*) from pg_hba_file_rules where auth_method = 'trust'")
                == "1"
            {
                break;
            }
        }
        let status = Command::new("psql")
            .args(["-h", path(self.dir.path()), "-U", &self.user, "-d", &self.name, "-XAtqwc", "select 1"])
            .env("PGPASSWORD", password)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        status.success()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap()
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

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.at("data");
        let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            // SIGQUIT: at once, nothing is worth keeping.
            let _ = Command::new("kill").args(["-QUIT", pid]).status();
        }
    }
}
