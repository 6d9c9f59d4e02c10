//! The throwaway server: made, started, asked, ended.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ProofError;
use super::home::{Home, remove_container};
use super::machine::{Machine, confined, last_line};
use super::reins::{Reins, Shared, Watch};

/// The server's own superuser: it does nothing once the dump is in.
pub const ADMIN: &str = "fleet_admin";
/// How long it may take to start: an image's first start is slow.
const START: Duration = Duration::from_secs(120);
/// Most that is kept of what a program says.
const MOST: u64 = 4 << 20;
/// A restored database may take so many times its dump, and this beside.
const TIMES: u64 = 6;
const BESIDE: u64 = 4 << 30;
/// Where a container keeps its data: the image's own user may write there.
const INSIDE: &str = "/var/lib/postgresql/fleet-prove";

/// Nothing here outlives a crash, and nobody works in parallel.
const SETTINGS: &str = "-c listen_addresses= -c fsync=off -c full_page_writes=off -c synchronous_commit=off \
    -c autovacuum=off -c max_connections=10 -c shared_buffers=64MB -c maintenance_work_mem=128MB -c max_wal_size=1GB \
    -c wal_level=minimal -c max_wal_senders=0 -c max_parallel_workers_per_gather=0 -c max_parallel_maintenance_workers=0 \
    -c dynamic_shared_memory_type=mmap -c logging_collector=off -c log_statement=none -c jit=off";
const INITDB: &str = "-A trust -E UTF8 --locale=C.UTF-8 --no-sync";

pub struct Server {
    machine: Machine,
    run: PathBuf,
    name: String,
    reins: Arc<Reins>,
    child: Shared,
    /// A container ends when this is closed, also by a kill.
    stdin: Option<ChildStdin>,
    watch: Option<Watch>,
    // Last: what it holds is in use until all others are gone.
    _home: Home,
}

/// How a program ended.
pub struct Ended {
    pub ok: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A program of PostgreSQL that is fed.
pub struct Running {
    child: Shared,
    pub stdin: Option<ChildStdin>,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
    reins: Arc<Reins>,
}

impl Server {
    /// Starts one for a dump of so many bytes.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start(
        machine: Machine,
        dump: u64,
        state: &Path,
        reins: &Arc<Reins>,
    ) -> Result<Server, ProofError> {
        let home = Home::new(state, machine.owner())?;
        let (run, name) = (home.run(), home.name.clone());
        let mut command = match &machine {
            Machine::Local { bin, .. } => {
                let mut initdb = confined(&bin.join("initdb"));
                initdb.args(INITDB.split_whitespace()).args(["-U", ADMIN, "-D"]).arg(run.join("data"));
                let made = initdb.stdin(Stdio::null()).output();
                let made = made.map_err(|error| ProofError::Start(error.to_string()))?;
                if !made.status.success() {
                    return Err(ProofError::Start(format!("initdb: {}", last_line(&made.stderr))));
                }
                let mut postgres = confined(&bin.join("postgres"));
                postgres
                    .args(SETTINGS.split_whitespace())
                    .arg("-D")
                    .arg(run.join("data"))
                    .arg("-k")
                    .arg(&run);
                postgres.stdin(Stdio::null());
                postgres
            }
            Machine::Docker { image } => {
                let script = format!(
                    "set -eu; initdb {INITDB} -U {ADMIN} -D {INSIDE} >&2; postgres {SETTINGS} -D {INSIDE} -k /tmp >&2 & cat >/dev/null"
                );
                let mut docker = Command::new("docker");
                docker.args(["run", "--rm", "--interactive", "--network", "none", "--name", &name]);
                docker.args([
                    "--user",
                    "postgres",
                    "--cap-drop",
                    "ALL",
                    "--security-opt",
                    "no-new-privileges",
                ]);
                docker.args(["--pids-limit", "256", "--memory", "2g", "--log-driver", "none"]);
                docker.args(["--entrypoint", "sh", image, "-c", &script]).stdin(Stdio::piped());
                docker
            }
        };
        let log = home.path.join("log");
        let file = std::fs::File::create(&log).map_err(crate::fs_atomic::FsError::at("create", &log))?;
        let child = command.stdout(Stdio::null()).stderr(file).spawn();
        let mut child = child.map_err(|error| ProofError::Start(error.to_string()))?;
        let stdin = child.stdin.take();
        let child = reins.hold(child);
        let mut server =
            Server { machine, run, name, reins: Arc::clone(reins), child, stdin, watch: None, _home: home };
        server.await_answer(&log)?;
        let most = dump.saturating_mul(TIMES).saturating_add(BESIDE);
        let used = server.measure();
        server.watch = Some(reins.watch(most, used));
        Ok(server)
    }

    fn await_answer(&self, log: &Path) -> Result<(), ProofError> {
        let started = Instant::now();
        let said = || last_line(&std::fs::read(log).unwrap_or_default());
        loop {
            self.reins.verdict()?;
            if self.reins.pulled() {
                continue;
            }
            let ended = self.child.lock().map(|mut child| child.try_wait());
            if let Ok(Ok(Some(_))) = ended {
                return Err(ProofError::Start(said()));
            }
            if self.psql(ADMIN, "postgres", "select 1;\n").is_ok_and(|ended| ended.ok) {
                return Ok(());
            }
            if started.elapsed() > START {
                return Err(ProofError::Start(format!("no answer within {} s: {}", START.as_secs(), said())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn what(&self) -> String {
        match &self.machine {
            Machine::Local { version, .. } => format!("PostgreSQL {version} of this machine"),
            Machine::Docker { image } => format!("a container of {image}"),
        }
    }

    fn measure(&self) -> impl Fn() -> Option<u64> + Send + 'static {
        let (machine, run, name) = (self.machine.clone(), self.run.clone(), self.name.clone());
        move || match machine {
            Machine::Local { .. } => Some(Home::used(&run)),
            Machine::Docker { .. } => {
                let output = Command::new("docker")
                    .args(["exec", &name, "du", "-sk", INSIDE])
                    .stdin(Stdio::null())
                    .output()
                    .ok()?;
                let text = String::from_utf8(output.stdout).ok()?;
                text.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
            }
        }
    }

    /// Starts one of PostgreSQL's programs, connected to this server.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, program: &str, words: &[&str]) -> std::io::Result<Running> {
        let mut command = match &self.machine {
            Machine::Local { bin, .. } => {
                let mut command = confined(&bin.join(program));
                command.args(words).arg("-h").arg(&self.run);
                command
            }
            Machine::Docker { .. } => {
                let mut command = Command::new("docker");
                command.args(["exec", "--interactive", &self.name, program]).args(words).args(["-h", "/tmp"]);
                command
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Running {
            child: self.reins.hold(child),
            stdin,
            stdout: collect(stdout),
            stderr: collect(stderr),
            reins: Arc::clone(&self.reins),
        })
    }

    /// Says something of our own to the server.
    ///
    /// # Errors
    /// When psql cannot be started.
    pub fn psql(&self, user: &str, database: &str, script: &str) -> std::io::Result<Ended> {
        let words =
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--no-password", "-U", user, "-d", database];
        let mut running = self.run("psql", &[&words[..], &["-f", "-"]].concat())?;
        if let Some(mut stdin) = running.stdin.take() {
            // One that ended already says why.
            let _ = stdin.write_all(script.as_bytes());
        }
        running.end()
    }
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// As the system has it.
    pub fn end(mut self) -> std::io::Result<Ended> {
        drop(self.stdin.take());
        let status = self.reins.wait(&self.child)?;
        let read = |thread: JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
        Ok(Ended { ok: status.success(), stdout: read(self.stdout), stderr: read(self.stderr) })
    }
}

/// Reads to the end and keeps the last of it: who writes must never wait for a reader.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut kept, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        let Some(mut pipe) = pipe else { return kept };
        while let Ok(count @ 1..) = pipe.read(&mut piece) {
            kept.extend_from_slice(&piece[..count]);
            let over = (kept.len() as u64).saturating_sub(MOST);
            kept.drain(..usize::try_from(over).unwrap_or(0));
        }
        kept
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.take());
        drop(self.stdin.take());
        if let Machine::Docker { .. } = self.machine {
            remove_container(&self.name);
        }
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
        }
        let _ = self.reins.wait(&self.child);
    }
}
