//! Files onto a host: many in one command, each atomic, no secret in an argument list.

use std::fmt::Write as _;
use std::time::Duration;

use crate::shell::{Cmd, Stdin};

/// A file as it shall be.
#[derive(Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Absolute path; its folder is made when missing.
    pub path: String,
    /// Octal, such as `0644`.
    pub mode: String,
    pub content: Vec<u8>,
    pub secret: bool,
}

impl std::fmt::Debug for NewFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {} bytes)", self.path, self.mode, self.content.len())
    }
}

/// Reads `size mode path` lines, each followed by that many bytes. A file is complete on disk,
/// with its final mode, before it takes its name.
const PUT: &str = r#"set -eu
umask 077
tmp=
trap '[ -z "$tmp" ] || rm -f -- "$tmp"' EXIT
while IFS=' ' read -r size mode path; do
    mkdir -p -m 0755 -- "${path%/*}"
    tmp=$(mktemp -- "${path%/*}/.fleet-XXXXXXXXXX")
    chmod "$mode" "$tmp"
    head -c "$size" >"$tmp"
    [ "$(stat -c %s "$tmp")" -eq "$size" ] || { echo "input ended within $path" >&2; exit 74; }
    sync "$tmp"
    mv -fT -- "$tmp" "$path"
    tmp=
done"#;

/// Writes files as root. The last one takes its name last: put what commits at the end.
#[must_use]
pub fn put(files: &[NewFile]) -> Cmd {
    let mut input = Vec::new();
    for file in files {
        let mut header = String::new();
        let _ = writeln!(header, "{} {} {}", file.content.len(), file.mode, file.path);
        input.extend_from_slice(header.as_bytes());
        input.extend_from_slice(&file.content);
    }
    let stdin =
        if files.iter().any(|file| file.secret) { Stdin::Secret(input) } else { Stdin::Public(input) };
    Cmd::new(["sh", "-c", PUT]).stdin(stdin).sudo()
}

/// Makes folders that are missing and sets the mode of each.
#[must_use]
pub fn make_dirs(dirs: &[(String, String)]) -> Cmd {
    let mut script = String::from("set -eu\n");
    for (path, mode) in dirs {
        let quoted = crate::shell::quote(path);
        let _ = writeln!(script, "mkdir -p -- {quoted}\nchmod {mode} -- {quoted}");
    }
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn files_arrive_byte_for_byte_through_a_real_shell() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        let file = |name: &str, content: &[u8], mode: &str| NewFile {
            path: format!("{base}/{name}"),
            mode: mode.into(),
            content: content.into(),
            secret: true,
        };
        let files = [
            file("a b/env", b"PW='a$b'\n\0\xff no newline", "0600"),
            file("empty", b"", "0644"),
            file("c", b"1 2 3\n4 0644 /x\n", "0755"),
        ];
        let cmd = put(&files);
        assert!(!cmd.line().contains("PW="));
        let mut child =
            Command::new("sh").arg("-c").arg(cmd.as_root().line()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(put(&files).input().bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        for file in &files {
            assert_eq!(std::fs::read(&file.path).unwrap(), file.content);
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(format!("{mode:04o}"), file.mode);
        }
    }

    #[test]
    fn a_cut_input_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "old").unwrap();
        let new = NewFile {
            path: path.to_str().unwrap().into(),
            mode: "0600".into(),
            content: b"new content".to_vec(),
            secret: false,
        };
        let cmd = put(&[new]);
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(cmd.clone().as_root().line())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let bytes = cmd.input().bytes();
        child.stdin.take().unwrap().write_all(&bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(74));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
