//! Docker on this machine: whether it answers, and one build with it.
//!
//! Only the build context goes in: no build argument, no variable of any client. What is built for
//! all can therefore hold nothing of one.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Record, Store, StoreError};
use crate::source::Snapshot;

/// The engine answers in this time or not at all.
const ANSWER: Duration = Duration::from_secs(20);
/// Lines kept of a build that fails.
const KEPT_LINES: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("docker is not installed on this machine")]
    NoDocker,
    #[error("docker on this machine does not answer: {0}")]
    Silent(String),
    /// With the last lines that it printed.
    #[error("{command} ended with {status}")]
    Failed { command: String, status: String, lines: Vec<String> },
    #[error("{0} changed while it was read; run the same command again")]
    Changed(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Other(String),
}

/// One image to be built.
#[derive(Clone, Debug)]
pub struct Order {
    pub tag: String,
    pub platform: String,
    /// Folder of the source.
    pub context: String,
    pub source: Arc<Snapshot>,
}

/// The engine of this machine.
#[derive(Clone, Debug)]
pub struct Docker {
    /// What it builds for by itself, such as `linux/amd64`.
    native: String,
    buildkit: bool,
}

impl Docker {
    /// Asks the engine for its name.
    ///
    /// # Errors
    /// No `docker`, or no engine behind it.
    pub async fn find() -> Result<Docker, BuildError> {
        let asked = docker(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]).output();
        let output = match timeout(ANSWER, asked).await {
            Err(_) => return Err(BuildError::Silent(format!("nothing within {} s", ANSWER.as_secs()))),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BuildError::NoDocker);
            }
            Ok(Err(error)) => return Err(BuildError::Silent(error.to_string())),
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            let said = crate::secret::clean_bytes(&output.stderr);
            return Err(BuildError::Silent(said.lines().next().unwrap_or("no reason given").to_owned()));
        }
        // Newer clients have BuildKit as a plugin that may be missing; the classic builder is always there.
        let plugin = docker(["buildx", "version"]).output();
        let buildkit = timeout(ANSWER, plugin).await.is_ok_and(|run| run.is_ok_and(|it| it.status.success()));
        Ok(Docker { native: String::from_utf8_lossy(&output.stdout).trim().to_owned(), buildkit })
    }

    /// Builds an image and takes it into the store. One that is there is not built again.
    ///
    /// # Errors
    /// Whatever docker said, or a file that cannot be written.
    pub async fn build(&self, store: &Store, order: &Order) -> Result<Record, BuildError> {
        let (place, wanted) = (store.clone(), order.clone());
        // Another run on this machine may be building the same.
        let lock = blocking(move || place.lock().map_err(StoreError::from)).await??;
        if let Some(record) = store.record(&order.platform, &order.tag) {
            return Ok(record);
        }
        let room = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(store.dir())
            .map_err(|error| BuildError::Other(format!("{}: {error}", store.dir().display())))?;
        let (context, id) = (room.path().join("context"), room.path().join("id"));
        let to = context.clone();
        let copied = blocking(move || wanted.source.copy(&wanted.context, &to)).await?;
        if let Some(path) = copied.map_err(|error| BuildError::Other(format!("{error:#}")))? {
            return Err(BuildError::Changed(path));
        }
        self.run_build(order, &context, &id).await?;
        let id = std::fs::read_to_string(&id).map_err(|error| BuildError::Other(error.to_string()))?;
        let saved = room.path().join("saved");
        save(id.trim(), &saved).await?;
        let (place, wanted) = (store.clone(), order.clone());
        let record = blocking(move || place.pack(&saved, &wanted.platform, &wanted.tag)).await??;
        drop(lock);
        Ok(record)
    }

    async fn run_build(&self, order: &Order, context: &Path, id: &Path) -> Result<(), BuildError> {
        let mut words: Vec<PathBuf> = ["build", "--iidfile"].map(PathBuf::from).into();
        words.push(id.to_owned());
        // The name keeps the layers for the next build, whichever builder there is.
        words.extend([PathBuf::from("--tag"), local_tag(&order.platform, &order.tag).into()]);
        if order.platform != self.native {
            words.extend([PathBuf::from("--platform"), order.platform.clone().into()]);
        }
        if !self.buildkit {
            // The old builder leaves the container of a step that failed.
            words.push("--force-rm".into());
        }
        words.push(context.to_owned());
        let mut command = docker(words);
        if std::env::var_os("DOCKER_BUILDKIT").is_none() {
            command.env("DOCKER_BUILDKIT", if self.buildkit { "1" } else { "0" });
        }
        // Attestations would be one more manifest, with a time in it.
        command.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
        finished(command, "docker build").await
    }

    /// Lets go of images that the store has let go of; what docker makes of it is its own affair.
    pub async fn forget(tags: &[String]) {
        for tag in tags {
            let Some((image, _)) = tag.rsplit_once(':') else { continue };
            let filter = format!("reference={}", local_image(image));
            let list = docker(["image", "ls", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"]);
            let Ok(Ok(output)) = timeout(ANSWER, { list }.output()).await else { return };
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = tag.rsplit(':').next().unwrap_or_default();
            for name in names
                .lines()
                .filter(|name| name.rsplit(':').next().is_some_and(|own| own.starts_with(version)))
            {
                let _ = timeout(ANSWER, docker(["image", "rm", name]).output()).await;
            }
        }
    }
}

/// `shop/api` as this machine's engine has it: apart from what the operator builds by hand.
fn local_image(image: &str) -> String {
    format!("fleet-built/{image}")
}

fn local_tag(platform: &str, tag: &str) -> String {
    format!("{}-{}", local_image(tag), platform.replace('/', "-"))
}

fn docker<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("docker");
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    // The terminal's Ctrl-C is for us to act on, not for it.
    command.process_group(0);
    command
}

/// `docker save` into a folder.
async fn save(image: &str, to: &Path) -> Result<(), BuildError> {
    let other = |error: std::io::Error| BuildError::Other(format!("docker save: {error}"));
    std::fs::create_dir(to).map_err(other)?;
    let mut from =
        docker(["save", image]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(other)?;
    let pipe: Stdio = match from.stdout.take() {
        Some(stdout) => stdout.try_into().map_err(other)?,
        None => Stdio::null(),
    };
    let mut unpack = Command::new("tar");
    unpack.args(["-x", "-f", "-", "-C"]).arg(to).stdin(pipe).process_group(0).kill_on_drop(true);
    let (unpacked, saved) = tokio::join!(finished(unpack, "tar"), from.wait_with_output());
    let saved = saved.map_err(other)?;
    if !saved.status.success() {
        let lines = crate::secret::clean_bytes(&saved.stderr).lines().map(str::to_owned).collect();
        return Err(BuildError::Failed {
            command: "docker save".into(),
            status: saved.status.to_string(),
            lines,
        });
    }
    unpacked
}

/// Runs a command to its end; of what it prints, the last lines are for the error.
async fn finished(mut command: Command, name: &str) -> Result<(), BuildError> {
    let other = |error: std::io::Error| BuildError::Other(format!("{name}: {error}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(other)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err, status) = tokio::join!(last_lines(stdout), last_lines(stderr), child.wait());
    let status = status.map_err(other)?;
    if status.success() {
        return Ok(());
    }
    // The classic builder tells its steps on one stream and what went wrong on the other.
    let lines = out.into_iter().chain(err).collect();
    Err(BuildError::Failed { command: name.to_owned(), status: status.to_string(), lines })
}

async fn last_lines(stream: Option<impl AsyncRead + Unpin>) -> Vec<String> {
    let Some(stream) = stream else { return Vec::new() };
    let (mut reader, mut kept, mut line) = (BufReader::new(stream), VecDeque::new(), Vec::new());
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = crate::secret::clean_bytes(&line).trim_end().chars().take(2000).collect::<String>();
        line.clear();
        if text.is_empty() {
            continue;
        }
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(text);
    }
    kept.into()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BuildError::Other(error.to_string()))
}
