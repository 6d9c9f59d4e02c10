//! What rsync says: its progress, its statistics, and why it failed.

use std::process::ExitStatus;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::{Exit, Progress, Progressed, Rsync, SessionError, Transfer, clean};
use super::pump::Remote;

/// Longest line that is looked at; rsync's own are far shorter.
const LONGEST: usize = 4 << 10;

/// Takes in standard output as it comes.
pub struct Reading<'a> {
    progress: Option<Progress<'a>>,
    line: Vec<u8>,
    bytes: u64,
    transfer: Transfer,
}

impl<'a> Reading<'a> {
    pub fn new(progress: Option<Progress<'a>>) -> Self {
        Reading { progress, line: Vec::new(), bytes: 0, transfer: Transfer::default() }
    }

    /// All went well. Skipped links count in rsync's total, so its own percentage may end below 100.
    pub fn finish(mut self) -> Transfer {
        if let Some(progress) = self.progress.as_deref_mut() {
            progress(Progressed { bytes: self.bytes, percent: 100 });
        }
        self.transfer
    }

    pub async fn all(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.take(&buffer[..count]);
        }
        self.take(b"\n");
    }

    fn take(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            if byte == b'\n' || byte == b'\r' {
                let line = std::mem::take(&mut self.line);
                self.judge(String::from_utf8_lossy(&line).trim());
            } else if self.line.len() < LONGEST {
                self.line.push(byte);
            }
        }
    }

    fn judge(&mut self, line: &str) {
        if line.starts_with('@') {
            self.transfer.changed += 1;
        } else if line.starts_with("ignoring unsafe symlink") {
            self.transfer.links_skipped += 1;
        } else if let Some(count) = number(line, "Number of regular files transferred: ") {
            self.transfer.files_sent = count;
        } else if let Some(count) = number(line, "Number of deleted files: ") {
            self.transfer.files_deleted = count;
        } else if let Some(count) = number(line, "Total bytes sent: ") {
            self.transfer.bytes_sent = count;
        } else if let Some(done) = progressed(line) {
            self.bytes = done.bytes;
            if let Some(progress) = self.progress.as_deref_mut() {
                progress(done);
            }
        }
    }
}

/// `Total bytes sent: 1234`; older versions group digits whatever they are told.
fn number(line: &str, label: &str) -> Option<u64> {
    let rest = line.strip_prefix(label)?.split_whitespace().next()?;
    rest.replace([',', '.'], "").parse().ok()
}

/// `1238099  45%  146.38kB/s  0:00:08 (xfr#5, to-chk=169/396)`.
fn progressed(line: &str) -> Option<Progressed> {
    let mut words = line.split_whitespace();
    let bytes = words.next()?.replace([',', '.'], "").parse().ok()?;
    let percent = words.next()?.strip_suffix('%')?.parse().ok()?;
    Some(Progressed { bytes, percent })
}

/// Turns rsync's exit (rsync(1), EXIT VALUES) and both sides' words into our error. `closed` says why
/// the connection went away, if it did.
pub fn verdict(
    status: ExitStatus,
    what: &Rsync,
    remote: Option<Remote>,
    complaints: &[u8],
    closed: Option<String>,
) -> Result<(), SessionError> {
    if status.success() {
        return Ok(());
    }
    if let Some(reason) = closed {
        return Err(SessionError::Lost(reason));
    }
    let mut there = String::new();
    let mut code = None;
    let spoken = remote.is_some();
    if let Some(remote) = remote {
        there = clean::tail(&remote.stderr, 3);
        match remote.end {
            Ok(Exit::Code(exit)) => code = Some(exit),
            Ok(Exit::Signal(name)) => {
                return Err(SessionError::Failed(format!("the host's rsync was killed by SIG{name}")));
            }
            Err(error) => return Err(error),
        }
    }
    let here = clean::tail(complaints, 3);
    if !spoken {
        // Both sides in one stream: what the host said is among it.
        there.clone_from(&here);
        code = status.code().and_then(|code| u32::try_from(code).ok()).filter(|code| *code == 127);
    }
    // Of dash, of bash and sudo, of zsh.
    let missing = ["rsync: not found", "rsync: command not found", "command not found: rsync"];
    let missing = missing.iter().any(|words| there.contains(words));
    if !missing && there.contains("sudo:") {
        return Err(SessionError::Refused(format!("rsync may not run as root on the host: {there}")));
    }
    if missing || code == Some(127) {
        return Err(SessionError::Refused(
            "rsync is not installed on the host: install it there (apt-get install rsync)".to_owned(),
        ));
    }
    let words = if there.is_empty() || !spoken { here } else { format!("{here}; the host said: {there}") };
    if words.contains("No space left on device") {
        return Err(SessionError::Failed(format!("the disk of the host is full: {}", what.destination)));
    }
    let source = what.source.display();
    Err(match status.code() {
        Some(24) => SessionError::Failed(format!(
            "{source} changed while it was pushed; push again when nothing writes there"
        )),
        Some(23) => SessionError::Failed(format!("some files of {source} were not pushed: {words}")),
        Some(30 | 35) => SessionError::TimedOut(what.timeout),
        Some(code) => SessionError::Failed(format!("rsync ended with code {code}: {words}")),
        None => SessionError::Failed("rsync was killed on this machine".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Duration;

    use super::*;

    fn what() -> Rsync {
        Rsync {
            source: "/src".into(),
            destination: "/opt/x".into(),
            exclude: vec![],
            link_dest: None,
            sudo: false,
            timeout: Duration::from_secs(60),
        }
    }

    fn said(code: i32, remote: Option<(u32, &str)>, complaints: &str) -> String {
        let remote =
            remote.map(|(code, text)| Remote { end: Ok(Exit::Code(code)), stderr: text.as_bytes().to_vec() });
        let status = ExitStatus::from_raw(code << 8);
        verdict(status, &what(), remote, complaints.as_bytes(), None).unwrap_err().to_string()
    }

    #[test]
    fn each_failure_has_its_words() {
        let all = [
            said(12, Some((127, "sh: 1: rsync: not found\n")), "rsync: connection unexpectedly closed"),
            said(12, Some((1, "sudo: rsync: command not found\n")), ""),
            said(12, Some((127, "sh: 1: sudo: not found\n")), ""),
            said(12, Some((1, "sudo: a password is required\n")), "rsync error"),
            said(24, Some((0, "")), "file has vanished: \"/src/a\"\n"),
            said(23, Some((23, "")), "rsync: send_files failed to open \"/src/a\": Permission denied (13)\n"),
            said(11, Some((11, "rsync: write failed on \"/opt/x/a\": No space left on device (28)\n")), ""),
            said(30, None, "io timeout"),
            said(2, Some((2, "protocol version mismatch\x1b[0m")), "is your shell clean?"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        rsync is not installed on the host: install it there (apt-get install rsync)
        rsync is not installed on the host: install it there (apt-get install rsync)
        rsync may not run as root on the host: sh: 1: sudo: not found
        rsync may not run as root on the host: sudo: a password is required
        /src changed while it was pushed; push again when nothing writes there
        some files of /src were not pushed: rsync: send_files failed to open "/src/a": Permission denied (13)
        the disk of the host is full: /opt/x
        no answer within 60 s
        rsync ended with code 2: is your shell clean?; the host said: protocol version mismatch [0m
        "#);
    }

    #[test]
    fn a_broken_connection_is_lost_whatever_rsync_says() {
        let status = ExitStatus::from_raw(12 << 8);
        let error = verdict(status, &what(), None, b"", Some("the host closed the connection".to_owned()));
        assert!(matches!(error, Err(SessionError::Lost(_))));
    }

    #[test]
    fn output_in_any_pieces() {
        let text = b"@>f+++++++++\n@cd+++++++++\nignoring unsafe symlink \"x\" -> \"/etc\"\n\
            \r         512  50%    1.00MB/s    0:00:00 (xfr#1, to-chk=1/3)\r        1024 100%    1.00MB/s    \
            0:00:00 (xfr#2, to-chk=0/3)\n@*deleting  \n\nNumber of files: 3 (reg: 2, dir: 1)\nNumber of created \
            files: 2\nNumber of deleted files: 1 (reg: 1)\nNumber of regular files transferred: 2\nTotal bytes \
            sent: 1,234\nTotal bytes received: 70\n";
        for size in [1, 7, 1000] {
            let mut seen = Vec::new();
            let mut take = |done: Progressed| seen.push((done.bytes, done.percent));
            let mut reading = Reading::new(Some(&mut take));
            text.chunks(size).for_each(|chunk| reading.take(chunk));
            assert_eq!(
                reading.finish(),
                Transfer { changed: 3, files_sent: 2, files_deleted: 1, bytes_sent: 1234, links_skipped: 1 }
            );
            assert_eq!(seen, [(512, 50), (1024, 100), (1024, 100)]);
        }
    }
}
