//! A folder pushed over the connection that is already open.
//!
//! rsync starts this same program as its "remote shell"; that child hands its standard input and
//! output to us over a private socket (descriptors, so nothing is copied twice) and we run rsync's
//! remote command on a channel. No second connection, no second login. Over OpenSSH the descriptors
//! go on to the master.
//!
//! Choices: what arrives belongs to root when we are root there, modes and times are kept, deletions
//! come last, devices and sockets stay behind, and so do symbolic links that point out of the tree: a
//! release must be whole within its folder and must not lead into the host's files (the number is
//! reported).

mod answer;
mod pump;
mod shell;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::answer::Reading;
use super::native::Link;
use super::openssh::Master;
use super::turns::processors;
use super::{Progress, Rsync, SessionError, Transfer};

pub use self::shell::{RSYNC_SHELL, rsync_shell_main};

/// Seconds without a byte after which rsync itself gives up.
const SILENCE: u64 = 60;

/// How long a failed rsync waits for what the host had to say.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Most of rsync's own complaints that is kept.
const COMPLAINTS: usize = 64 << 10;

/// The open connection.
#[derive(Clone, Copy)]
pub(super) enum Carrier<'a> {
    Channel(&'a Link),
    Master(&'a Master),
}

/// How rsync gets to the host: a channel that we join its streams to.
pub(super) struct Way<'a> {
    pub carrier: Carrier<'a>,
    /// Another program than this one as rsync's remote shell.
    pub helper: Option<&'a Path>,
}

impl Way<'_> {
    /// Why the connection went away, if it did.
    async fn closed(&self) -> Option<String> {
        match self.carrier {
            Carrier::Channel(link) => link.handle.is_closed().then(|| link.end()),
            Carrier::Master(master) => (!master.alive().await).then(|| master.end()),
        }
    }
}

/// Most that run at once: the only processes that a run starts per host, each of some megabytes.
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new((8 * processors()).clamp(16, 128)));

/// Makes `what.destination` equal to `what.source`.
pub(super) async fn push(
    way: Way<'_>,
    what: &Rsync,
    root: bool,
    progress: Option<Progress<'_>>,
) -> Result<Transfer, SessionError> {
    // Waiting for room does not count. The semaphore is never closed.
    let _room = ROOM.acquire().await;
    let work = run(way, what, root, progress);
    timeout(what.timeout, work).await.unwrap_or(Err(SessionError::TimedOut(what.timeout)))
}

async fn run(
    way: Way<'_>,
    what: &Rsync,
    root: bool,
    progress: Option<Progress<'_>>,
) -> Result<Transfer, SessionError> {
    if !what.source.is_dir() {
        return Err(SessionError::Refused(format!("{} is not a folder", what.source.display())));
    }
    let here = |error: std::io::Error| {
        SessionError::Refused(format!("rsync cannot be started on this machine: {error}"))
    };
    let source = std::path::absolute(&what.source).map_err(here)?;
    let room = private_folder().map_err(here)?;
    let program = match way.helper {
        Some(program) => program.to_path_buf(),
        None => std::env::current_exe().map_err(here)?,
    };
    let socket = room.path().join("s");
    let listener = UnixListener::bind(&socket).map_err(here)?;
    let shell = [program, RSYNC_SHELL.into(), socket];

    let mut child = Command::new("rsync")
        .args(arguments(what, &source, what.sudo || root, &shell))
        .env("LC_ALL", "C")
        .env_remove("RSYNC_RSH")
        .env_remove("RSYNC_OLD_ARGS")
        .env_remove("RSYNC_PROTECT_ARGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The terminal's Ctrl-C is for us to act on, not for it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SessionError::Refused(
                "rsync is not installed on this machine: install it (apt-get install rsync)".to_owned(),
            ),
            _ => here(error),
        })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());

    let mut remote = None;
    let wait = async {
        let serve = pump::serve(way.carrier, &listener);
        tokio::pin!(serve);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                end = &mut serve, if remote.is_none() => remote = Some(end),
            }
        };
        // When the host's side fails, ours may end before the reason is here.
        if remote.is_none() && !status.as_ref().is_ok_and(ExitStatus::success) {
            remote = timeout(LAST_WORDS, serve).await.ok();
        }
        status
    };
    let mut reading = Reading::new(progress);
    let (status, (), complaints) = tokio::join!(wait, reading.all(stdout), complaints(stderr));
    let status = status.map_err(here)?;
    let closed = if status.success() { None } else { way.closed().await };
    answer::verdict(status, what, remote, &complaints, closed)?;
    Ok(reading.finish())
}

/// The words after `rsync`.
fn arguments(what: &Rsync, source: &Path, root: bool, shell: &[PathBuf]) -> Vec<OsString> {
    let mut words: Vec<OsString> = [
        "--recursive",
        "--links",
        "--perms",
        "--times",
        "--omit-dir-times",
        "--safe-links",
        "--delete-delay",
        "--partial-dir=.rsync-partial",
        // Names travel inside the protocol: the host's shell never sees one.
        "--protect-args",
        // The whole list first: a true percentage.
        "--no-inc-recursive",
        // The lightest level of what both have, zstd if they can: docs/transport.md has the measurement.
        "--compress",
        "--compress-level=1",
        "--stats",
        // `name` is what makes skipped links be told.
        "--info=progress2,name1,symsafe1",
        "--no-human-readable",
        "--out-format=@%i",
    ]
    .map(OsString::from)
    .to_vec();
    if root {
        words.extend(["--owner", "--group", "--numeric-ids", "--chown=0:0"].map(OsString::from));
    }
    words.push(format!("--timeout={}", SILENCE.min(what.timeout.as_secs().max(1))).into());
    words.extend(what.exclude.iter().map(|pattern| format!("--exclude={pattern}").into()));
    words.extend(what.link_dest.iter().map(|folder| format!("--link-dest={folder}").into()));
    words.push(format!("--rsync-path={}rsync", if what.sudo { "sudo -n " } else { "" }).into());
    let mut command = OsString::from("--rsh=");
    for (index, word) in shell.iter().enumerate() {
        if index > 0 {
            command.push(" ");
        }
        command.push(rsh_word(word));
    }
    words.push(command);
    words.push("--".into());
    let mut from = source.as_os_str().to_owned();
    from.push("/");
    words.push(from);
    // The host's name is only a word for the remote shell, which ignores it.
    words.push(format!("fleet:{}/", what.destination.trim_end_matches('/')).into());
    words
}

/// One word of `--rsh`, which rsync splits at spaces; in quotes a doubled quote stands for itself.
fn rsh_word(path: &Path) -> OsString {
    let text = path.display().to_string();
    if text.contains([' ', '\'', '"']) {
        format!("'{}'", text.replace('\'', "''")).into()
    } else {
        path.as_os_str().to_owned()
    }
}

/// A folder that only we can enter, with a path short enough for a socket (108 bytes, unix(7)).
pub(super) fn private_folder() -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut builder = tempfile::Builder::new();
    builder.prefix("fleet-").permissions(std::fs::Permissions::from_mode(0o700));
    let usual = std::env::temp_dir();
    let folder = if usual.as_os_str().len() < 80 { usual } else { PathBuf::from("/tmp") };
    builder.tempdir_in(folder)
}

async fn complaints(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        // The end says why; the beginning may be thousands of equal lines.
        if kept.len() > 2 * COMPLAINTS {
            kept.drain(..kept.len() - COMPLAINTS);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_command_line() {
        let what = Rsync {
            source: "src".into(),
            destination: "/opt/geoclic/releases/7/source/".into(),
            exclude: vec!["fleet/".into(), "*.pyc".into()],
            link_dest: Some("/opt/geoclic/releases/6/source".into()),
            sudo: true,
            timeout: Duration::from_secs(600),
        };
        let words = arguments(
            &what,
            Path::new("/home/me/src"),
            true,
            &["/opt/my tools/fleet".into(), RSYNC_SHELL.into(), "/tmp/fleet-x/s".into()],
        );
        let text: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        --recursive
        --links
        --perms
        --times
        --omit-dir-times
        --safe-links
        --delete-delay
        --partial-dir=.rsync-partial
        --protect-args
        --no-inc-recursive
        --compress
        --compress-level=1
        --stats
        --info=progress2,name1,symsafe1
        --no-human-readable
        --out-format=@%i
        --owner
        --group
        --numeric-ids
        --chown=0:0
        --timeout=60
        --exclude=fleet/
        --exclude=*.pyc
        --link-dest=/opt/geoclic/releases/6/source
        --rsync-path=sudo -n rsync
        --rsh='/opt/my tools/fleet' __rsync-shell /tmp/fleet-x/s
        --
        /home/me/src/
        fleet:/opt/geoclic/releases/7/source/
        "#);
    }

    #[test]
    fn without_root_ownership_is_left_alone() {
        let what = Rsync {
            source: "src".into(),
            destination: "/srv/x".into(),
            exclude: vec![],
            link_dest: None,
            sudo: false,
            timeout: Duration::from_secs(5),
        };
        let words = arguments(&what, Path::new("/s"), false, &["/f".into()]);
        assert!(!words.iter().any(|word| word.to_string_lossy().contains("chown")));
        assert!(words.contains(&OsString::from("--timeout=5")));
        assert!(words.contains(&OsString::from("--rsync-path=rsync")));
    }
}
