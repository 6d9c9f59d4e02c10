//! Who may log in: one key more in `authorized_keys`, or one less. As the login user, without sudo.
//!
//! Rule of this file: a key goes out only while the other one is in, and only by a whole new file.

use std::time::Duration;

use crate::shell::Cmd;

const LIMIT: Duration = Duration::from_secs(30);

/// The new line gets the options that stand in front of the old key, such as `from="..."`.
const LET_IN: &str = r#"set -eu
old=$1 new=$2 line=$3
cd && umask 077
mkdir -p .ssh
file=.ssh/authorized_keys
[ -e "$file" ] || : >"$file"
if grep -qF -- "$new" "$file"; then
    echo there
    exit 0
fi
options=
held=$(grep -F -- "$old" "$file" | grep -v '^[[:space:]]*#' | head -n 1) || held=
held=${held%%"$old"*} held=${held% }
case $held in *' '*) options="${held% *} " ;; esac
[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
printf '%s%s\n' "$options" "$line" >>"$file"
sync "$file"
echo added"#;

const LET_OUT: &str = r#"set -eu
old=$1 new=$2
cd
file=.ssh/authorized_keys
[ -e "$file" ] || exit 0
grep -qF -- "$old" "$file" || exit 0
grep -qF -- "$new" "$file" || { echo 'fleet: the new key is not in authorized_keys' >&2; exit 66; }
tmp=$(mktemp .ssh/.fleet-XXXXXXXXXX)
trap 'rm -f -- "$tmp"' EXIT
cp -p -- "$file" "$tmp"
grep -vF -- "$old" "$file" >"$tmp"
sync "$tmp"
# The file itself, where a link leads to it.
mv -fT -- "$tmp" "$(readlink -f -- "$file")""#;

/// A public key: its body, and the whole line for `authorized_keys`.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    pub body: &'k str,
    pub line: &'k str,
}

impl<'k> Key<'k> {
    /// From a line such as `ssh-ed25519 AAAA... comment`.
    #[must_use]
    pub fn of(line: &'k str) -> Option<Self> {
        let body = line.split(' ').nth(1).filter(|body| body.starts_with("AAAA"))?;
        Some(Key { body, line })
    }
}

/// Lets the new key in beside the old one.
#[must_use]
pub fn let_in(old: Key<'_>, new: Key<'_>) -> Cmd {
    Cmd::script(LET_IN, [old.body, new.body, new.line]).timeout(LIMIT)
}

/// Lets the old key in no longer.
#[must_use]
pub fn let_out(old: Key<'_>, new: Key<'_>) -> Cmd {
    Cmd::script(LET_OUT, [old.body, new.body]).timeout(LIMIT)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    const OLD: &str = "ssh-ed25519 AAAAC3old/+body fleet-geoclic";
    const NEW: &str = "ssh-ed25519 AAAAC3new/+body fleet-geoclic";

    fn keys() -> (Key<'static>, Key<'static>) {
        (Key::of(OLD).unwrap(), Key::of(NEW).unwrap())
    }

    /// Runs the command as a host would, in a home of its own.
    fn at(home: &std::path::Path, cmd: &Cmd) -> (Option<i32>, String) {
        let mut child = Command::new("dash")
            .args(["-c", &cmd.line()])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(cmd.input().bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    #[test]
    fn a_key_comes_beside_the_old_one_with_its_options_and_then_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".ssh/authorized_keys");
        let (old, new) = keys();
        // Where nothing is: a key that came otherwise.
        assert_eq!(at(home.path(), &let_in(old, new)), (Some(0), "added\n".into()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{NEW}\n"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let before = format!("# {OLD}\nssh-rsa AAAAother me\nfrom=\"10.0.0.1\",no-pty {OLD}");
        std::fs::write(&file, &before).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(at(home.path(), &let_in(old, new)), (Some(0), "added\n".into()));
        assert_eq!(at(home.path(), &let_in(old, new)), (Some(0), "there\n".into()));
        let both = format!("{before}\nfrom=\"10.0.0.1\",no-pty {NEW}\n");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), both);
        assert_eq!(at(home.path(), &let_out(old, new)), (Some(0), String::new()));
        assert_eq!(at(home.path(), &let_out(old, new)), (Some(0), String::new()));
        let one = format!("ssh-rsa AAAAother me\nfrom=\"10.0.0.1\",no-pty {NEW}\n");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), one);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn the_last_key_never_goes_out() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".ssh/authorized_keys");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("{OLD}\n")).unwrap();
        let (old, new) = keys();
        let (code, said) = at(home.path(), &let_out(old, new));
        assert_eq!((code, said.as_str()), (Some(66), "fleet: the new key is not in authorized_keys\n"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{OLD}\n"));
        assert!(Key::of("no key").is_none() && Key::of("").is_none());
    }
}
