//! The only place that turns words into a remote command line.
//!
//! A [`Cmd`] is a list of words, quoted here and nowhere else, with what goes to its standard
//! input beside it. A secret is never a word: it travels as standard input or as file content.

use std::borrow::Cow;
use std::time::Duration;

/// What a remote command reads on its standard input.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Stdin {
    #[default]
    None,
    /// Shown in full in a plan: a script or a public file.
    Public(Vec<u8>),
    /// Never shown, logged or kept: only its length is known.
    Secret(Vec<u8>),
}

impl Stdin {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Stdin::None => &[],
            Stdin::Public(bytes) | Stdin::Secret(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Stdin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stdin::None => f.write_str("None"),
            Stdin::Public(bytes) => write!(f, "Public({})", String::from_utf8_lossy(bytes)),
            Stdin::Secret(bytes) => write!(f, "Secret({} bytes)", bytes.len()),
        }
    }
}

/// One command for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    words: Vec<String>,
    stdin: Stdin,
    sudo: bool,
    timeout: Option<Duration>,
    /// File on the host that is locked, shared, as long as the command and what it starts run.
    held: Option<String>,
}

impl Cmd {
    pub fn new<I, S>(words: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Cmd {
            words: words.into_iter().map(Into::into).collect(),
            stdin: Stdin::None,
            sudo: false,
            timeout: None,
            held: None,
        }
    }

    /// A POSIX `sh` script, sent on standard input so that no argument list on the host shows it.
    /// `args` become `$1`, `$2`... and must not be secret.
    pub fn script<I, S>(text: impl Into<String>, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let mut words = vec!["sh".to_owned(), "-s".to_owned(), "--".to_owned()];
        words.extend(args.into_iter().map(Into::into));
        Cmd { words, stdin: Stdin::Public(text.into().into_bytes()), ..Cmd::new(Vec::<String>::new()) }
    }

    #[must_use]
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Runs as root through `sudo -n`, which fails at once instead of asking for a password.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.sudo = true;
        self
    }

    /// Longest run time, enforced on the host by `timeout -k` and, a little later, locally.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Locks a file of root's as long as it runs, so that others can wait for its end even when nobody
    /// is left to hear of it. Only for a command that runs as root.
    #[must_use]
    pub fn holding(mut self, path: &str) -> Self {
        self.held = self.sudo.then(|| path.to_owned());
        self
    }

    /// The same command without `sudo`, for a login that is root already.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.sudo = false;
        self
    }

    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.timeout
    }

    #[must_use]
    pub fn input(&self) -> &Stdin {
        &self.stdin
    }

    /// The words as written, without sudo, timeout and quoting.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The command line that the host's shell receives. It holds no secret, so it may be shown.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::new();
        if self.sudo {
            line.push_str("sudo -n ");
        }
        if let Some(path) = &self.held {
            line.push_str(&format!("flock -s {} ", quote(path)));
        }
        if let Some(limit) = self.timeout {
            line.push_str(&format!("timeout -k 10 {} ", limit.as_secs().max(1)));
        }
        line.push_str(&join(&self.words));
        line
    }
}

/// Words as one line for a POSIX shell.
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// One word for a POSIX shell: as it is when nothing in it is special, else in single quotes
/// (POSIX.1-2024, Shell Command Language, 2.2.2).
#[must_use]
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        assert_eq!(
            join(&["ls", "-l", "/opt/a b", "", "it's", "$(x)", "~"]),
            r"ls -l '/opt/a b' '' 'it'\''s' '$(x)' '~'"
        );
    }

    #[test]
    fn sudo_comes_before_the_time_limit() {
        let cmd = Cmd::new(["apt-get", "update"]).sudo().timeout(Duration::from_secs(300));
        assert_eq!(cmd.line(), "sudo -n timeout -k 10 300 apt-get update");
    }

    #[test]
    fn what_is_locked_is_so_outside_of_the_time_limit_and_by_root_alone() {
        let cmd = Cmd::new(["true"]).sudo().timeout(Duration::from_secs(5)).holding("/run/x y");
        assert_eq!(cmd.line(), "sudo -n flock -s '/run/x y' timeout -k 10 5 true");
        assert_eq!(cmd.as_root().line(), "flock -s '/run/x y' timeout -k 10 5 true");
        assert_eq!(Cmd::new(["true"]).holding("/run/x").line(), "true");
    }

    #[test]
    fn a_script_is_never_in_the_argument_list() {
        let cmd = Cmd::script("echo \"$1\"", ["a b"]);
        assert_eq!(cmd.line(), "sh -s -- 'a b'");
        assert_eq!(cmd.input().bytes(), b"echo \"$1\"");
    }

    #[test]
    fn a_secret_is_not_in_the_debug_form() {
        let cmd = Cmd::new(["cat"]).stdin(Stdin::Secret(b"hunter2".to_vec()));
        assert!(!format!("{cmd:?}").contains("hunter2"));
    }
}
