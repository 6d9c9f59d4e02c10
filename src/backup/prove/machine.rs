//! What a dump can be restored into on this machine: PostgreSQL's own programs, or a container.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::ProofError;
use crate::registry::ProveWith;

/// Who runs the programs where root started this one: the user that owns nothing.
pub const NOBODY: u32 = 65_534;
/// The programs that a server and its restore need.
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "pg_restore", "psql"];
/// Most memory of one process: PostgreSQL's own take a small part of it.
const MEMORY: &str = "4294967296";
/// For a question to Docker.
const PATIENCE: Duration = Duration::from_secs(20);
/// For an image to be fetched.
const FETCH: Duration = Duration::from_secs(1800);

/// A way that was found to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    Local { bin: PathBuf, version: String },
    Docker { image: String },
}

impl Machine {
    /// The first way that works. `tell` hears of an image that is fetched.
    ///
    /// # Errors
    /// None does, with the reason of each.
    pub fn find(
        with: ProveWith,
        major: &str,
        image: &str,
        tell: &dyn Fn(&str),
    ) -> Result<Machine, ProofError> {
        let mut why = Vec::new();
        if with != ProveWith::Docker {
            match local(major) {
                Ok(found) => return Ok(found),
                Err(reason) => why.push(reason),
            }
        }
        if with != ProveWith::Local {
            match docker(major, image, tell) {
                Ok(found) => return Ok(found),
                Err(reason) => why.push(reason),
            }
        }
        Err(ProofError::NoServer { major: major.to_owned(), why: why.join("; ") })
    }

    /// Who owns what its server writes, where that is not who runs this.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        (matches!(self, Machine::Local { .. }) && is_root()).then_some(NOBODY)
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command without a network, which sees no process but its own, has no rights, is bounded in memory, and
/// ends with the thread that starts it.
#[must_use]
pub fn confined(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]);
    if !is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--net", "--pid", "--fork", "setpriv", "--pdeathsig", "KILL", "--no-new-privs"]);
    command.args(["--inh-caps=-all", "--bounding-set=-all"]);
    if is_root() {
        let id = NOBODY.to_string();
        command.args([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".to_owned()]);
    }
    command.args(["prlimit", &format!("--as={MEMORY}"), "--core=0"]).arg(program);
    // Nothing of the operator's environment: it holds secrets.
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    command
}

fn local(major: &str) -> Result<Machine, String> {
    let (mut folders, mut others) = (Vec::new(), Vec::new());
    folders.push(PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    folders.push(PathBuf::from(format!("/usr/pgsql-{major}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        // A name in PATH may lead to where the rest is.
        let real = std::fs::canonicalize(folder.join("postgres")).ok();
        folders.extend(real.and_then(|program| Some(program.parent()?.to_owned())));
    }
    for bin in folders {
        if !PROGRAMS.iter().all(|program| bin.join(program).is_file()) {
            continue;
        }
        let Some(version) = version(&bin.join("postgres")) else { continue };
        if version.split('.').next() != Some(major) {
            others.push(version);
            continue;
        }
        return match confined(Path::new("true")).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(Machine::Local { bin, version }),
            Ok(output) => Err(format!(
                "this machine does not let a program be cut off from the network ({})",
                last_line(&output.stderr)
            )),
            Err(error) => Err(format!("setpriv (of util-linux) cannot be run: {error}")),
        };
    }
    others.dedup();
    Err(match others.is_empty() {
        true => "this machine has no programs of PostgreSQL's server".to_owned(),
        false => format!("of PostgreSQL's server this machine has {}", others.join(", ")),
    })
}

/// `15.8` from `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2).map(str::to_owned)
}

fn docker(major: &str, image: &str, tell: &dyn Fn(&str)) -> Result<Machine, String> {
    // A port of a registry is no tag.
    let tagged = image.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
    let image = match tagged {
        true => image.replace("{major}", major),
        false => format!("{image}:{major}"),
    };
    let asked = bounded(&["version", "--format", "{{.Server.Os}}"], PATIENCE)?;
    if !asked.status.success() {
        return Err(format!("Docker does not answer ({})", last_line(&asked.stderr)));
    }
    let known = bounded(&["image", "inspect", "--format", "{{.Id}}", &image], PATIENCE)?;
    if !known.status.success() {
        tell(&format!("fetch the image {image}"));
        let pulled = bounded(&["pull", "--quiet", &image], FETCH)?;
        if !pulled.status.success() {
            return Err(format!("Docker cannot fetch {image} ({})", last_line(&pulled.stderr)));
        }
    }
    Ok(Machine::Docker { image })
}

/// One question to Docker, which may hang.
fn bounded(words: &[&str], limit: Duration) -> Result<Output, String> {
    let spawned = Command::new("docker")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no docker".to_owned());
        }
        Err(error) => return Err(format!("docker cannot be run: {error}")),
    };
    let started = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if started.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("Docker does not answer within {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Its answers are short: they fit into the pipe.
    child.wait_with_output().map_err(|error| error.to_string())
}

/// What a program said last, harmless.
pub fn last_line(said: &[u8]) -> String {
    let text = crate::secret::clean_bytes(said);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    line.trim().chars().take(300).collect()
}
