//! The hidden mode in which rsync starts this program as its remote shell.
//!
//! It connects to the socket of the parent, passes standard input and output over (SCM_RIGHTS,
//! unix(7)) with the words of the remote command, and ends with the exit code that comes back.

use std::ffi::OsString;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// First argument that selects this mode.
pub const RSYNC_SHELL: &str = "__rsync-shell";

/// `fleet __rsync-shell SOCKET [-l USER] HOST COMMAND...`; `args` begins after the mode's name.
pub fn rsync_shell_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match hand_over(args.into_iter().collect()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // rsync passes it on; ssh too ends with 255 when it is at fault itself.
            let _ = writeln!(io::stderr(), "fleet: {error}");
            ExitCode::from(255)
        }
    }
}

fn hand_over(args: Vec<OsString>) -> io::Result<u8> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "this mode is for rsync only");
    let mut words = args.into_iter();
    let socket = words.next().ok_or_else(wrong)?;
    let mut host = words.next().ok_or_else(wrong)?;
    if host == "-l" {
        words.next();
        host = words.next().ok_or_else(wrong)?;
    }
    let _ = host;
    // As ssh does: words with spaces between; rsync has quoted them already.
    let mut command = Vec::new();
    for word in words {
        if !command.is_empty() {
            command.push(b' ');
        }
        command.extend_from_slice(word.as_bytes());
    }
    if command.is_empty() {
        return Err(wrong());
    }

    let mut parent = UnixStream::connect(socket)?;
    pass_streams(&parent)?;
    let length = u32::try_from(command.len()).map_err(|_| wrong())?;
    parent.write_all(&length.to_be_bytes())?;
    parent.write_all(&command)?;
    let mut code = [255];
    match parent.read_exact(&mut code) {
        Ok(()) => Ok(code[0]),
        // The parent is gone or gave up; it says why itself.
        Err(_) => Ok(255),
    }
}

/// Gives both streams away and keeps none: the other end must see their end when the parent closes them.
fn pass_streams(parent: &UnixStream) -> io::Result<()> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let streams = [stdin.as_fd(), stdout.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&streams)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    sendmsg(parent, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    let nothing = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok(())
}
