//! Who may read the secrets: `secrets/recipients.txt`, one public key a line, people in comments.
//!
//! The format is that of `age -R`: a `#` line names the person of the key below it; an SSH key has its own
//! comment at its end.

use std::fmt;
use std::str::FromStr;

use crate::diagnostic::{Diagnostic, Diagnostics, Fault, Snippet};

/// What sort of key a recipient has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `age1...`, made by `fleet init` or `age-keygen`.
    Age,
    /// An OpenSSH key of type ed25519.
    SshEd25519,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Age => "age",
            Kind::SshEd25519 => "ssh-ed25519",
        })
    }
}

/// Someone who may read the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The public key in its one canonical form: `age1...` or `ssh-ed25519 AAAA...`.
    pub key: String,
    /// Who it is, empty when nobody said.
    pub comment: String,
    pub kind: Kind,
}

impl Recipient {
    /// Reads one line. The error is a lowercase fragment that repeats nothing of a private key.
    pub fn parse(line: &str) -> Result<Recipient, Problem> {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if line.contains("AGE-SECRET-KEY-") || line.contains("PRIVATE KEY") {
            return Err(Problem {
                message: "a private key does not belong here",
                hint: "take it out, count it as known to everyone who saw this file, and make a new one with `fleet init`",
                private: true,
            });
        }
        let public = |message, hint| Problem { message, hint, private: false };
        match first {
            "ssh-ed25519" => {
                let key = format!("{first} {}", words.next().unwrap_or_default());
                match age::ssh::Recipient::from_str(&key) {
                    Ok(age::ssh::Recipient::SshEd25519(..)) => {}
                    _ => {
                        return Err(public(
                            "not a whole ssh-ed25519 key",
                            "copy the whole line of the .pub file",
                        ));
                    }
                }
                Ok(Recipient { key, comment: comment(words), kind: Kind::SshEd25519 })
            }
            _ if first.starts_with("ssh-") || first.starts_with("ecdsa-") || first.starts_with("sk-") => {
                Err(public(
                    "only SSH keys of type ssh-ed25519 can receive secrets",
                    "`ssh-keygen -t ed25519` makes one, or use an age key",
                ))
            }
            _ if first.starts_with("age1") => match age::x25519::Recipient::from_str(first) {
                Ok(key) => Ok(Recipient { key: key.to_string(), comment: comment(words), kind: Kind::Age }),
                // Plugins' keys look like age1yubikey1..., with a second separator.
                Err(_) if first[4..].contains('1') => Err(public(
                    "a plugin's key cannot be used here",
                    "use an age key of the plain kind (`fleet init` or `age-keygen` makes one)",
                )),
                Err(_) => {
                    Err(public("not a valid age key: a character is wrong or missing", "copy it again"))
                }
            },
            _ => Err(public("not a public key", "expected age1... or ssh-ed25519 AAAA..., one a line")),
        }
    }

    /// The person, or the key's beginning where nobody is named.
    #[must_use]
    pub fn label(&self) -> String {
        let short = match self.kind {
            Kind::Age => format!("{}...", self.key.get(..12).unwrap_or(&self.key)),
            // All such keys begin alike; the end tells them apart.
            Kind::SshEd25519 => {
                format!(
                    "ssh-ed25519 ...{}",
                    self.key.get(self.key.len().saturating_sub(8)..).unwrap_or_default()
                )
            }
        };
        if self.comment.is_empty() { short } else { format!("{} ({short})", self.comment) }
    }

    pub(super) fn to_age(&self) -> Option<Box<dyn age::Recipient + Send>> {
        match self.kind {
            Kind::Age => Some(Box::new(age::x25519::Recipient::from_str(&self.key).ok()?)),
            Kind::SshEd25519 => Some(Box::new(age::ssh::Recipient::from_str(&self.key).ok()?)),
        }
    }
}

/// Why a line names no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    pub message: &'static str,
    pub hint: &'static str,
    /// The line itself must not be shown.
    pub private: bool,
}

fn comment<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let text = words.collect::<Vec<_>>().join(" ");
    crate::secret::clean(text.trim_start_matches('#').trim()).into_owned()
}

/// All recipients of the file, each key once; or all that is wrong in it.
pub(super) fn parse_file(text: &str, file: &str) -> Result<Vec<Recipient>, Diagnostics> {
    let (mut recipients, mut problems) = (Vec::<Recipient>::new(), Vec::new());
    let mut person = String::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            person = crate::secret::clean(comment.trim()).into_owned();
            continue;
        }
        if !trimmed.is_empty() {
            match Recipient::parse(trimmed) {
                Ok(mut recipient) => {
                    if recipient.comment.is_empty() {
                        recipient.comment.clone_from(&person);
                    }
                    add(&mut recipients, recipient);
                }
                Err(problem) => problems.push(Diagnostic {
                    file: file.to_owned(),
                    position: Some((index + 1, 1)),
                    key: String::new(),
                    fault: Fault::new(problem.message).hint(problem.hint),
                    snippet: (!problem.private).then(|| Snippet {
                        text: crate::secret::clean(line).into_owned(),
                        start: 0,
                        width: trimmed.chars().count(),
                    }),
                }),
            }
        }
        // A comment belongs to the line right below it.
        person.clear();
    }
    if problems.is_empty() { Ok(recipients) } else { Err(Diagnostics(problems)) }
}

/// Keeps the first of two equal keys.
pub(super) fn add(recipients: &mut Vec<Recipient>, recipient: Recipient) {
    if recipients.iter().all(|known| known.key != recipient.key) {
        recipients.push(recipient);
    }
}

/// The file with one more recipient at its end, in the form that `age -R` reads too.
pub(super) fn with(text: &str, recipient: &Recipient) -> String {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match (recipient.kind, recipient.comment.is_empty()) {
        (_, true) => text.push_str(&format!("{}\n", recipient.key)),
        (Kind::Age, false) => text.push_str(&format!("# {}\n{}\n", recipient.comment, recipient.key)),
        (Kind::SshEd25519, false) => text.push_str(&format!("{} {}\n", recipient.key, recipient.comment)),
    }
    text
}

/// The file without one key and the comment that belongs to it.
pub(super) fn without(text: &str, key: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.lines() {
        if Recipient::parse(line.trim()).is_ok_and(|recipient| recipient.key == key) {
            if kept.last().is_some_and(|above| above.trim_start().starts_with('#')) {
                kept.pop();
            }
        } else {
            kept.push(line);
        }
    }
    kept.into_iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn people_are_named_above_or_beside_their_key() {
        let text = format!(
            "\u{feff}# Alice, laptop\r\n{AGE}\r\n\r\n# nobody\r\n\r\n{SSH} bob@desk\r\n{AGE} again\r\n"
        );
        let found = parse_file(&text, "recipients.txt").unwrap();
        assert_eq!(
            found,
            [
                Recipient { key: AGE.to_owned(), comment: "Alice, laptop".to_owned(), kind: Kind::Age },
                Recipient { key: SSH.to_owned(), comment: "bob@desk".to_owned(), kind: Kind::SshEd25519 },
            ]
        );
        assert_eq!(found[0].label(), "Alice, laptop (age1ql3z7hjy...)");
        assert_eq!(found[1].label(), "bob@desk (ssh-ed25519 ...HtZ6isGN)");
    }

    #[test]
    fn adding_and_removing_leaves_the_rest_as_it_is() {
        let (alice, bob) = (
            Recipient::parse(&format!("{AGE} Alice")).unwrap(),
            Recipient::parse(&format!("{SSH} bob")).unwrap(),
        );
        let text = with(&with("# who may read\n", &alice), &bob);
        assert_eq!(text, format!("# who may read\n# Alice\n{AGE}\n{SSH} bob\n"));
        assert_eq!(without(&text, AGE), format!("# who may read\n{SSH} bob\n"));
        assert_eq!(without(&text, SSH), format!("# who may read\n# Alice\n{AGE}\n"));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_no_private_key_is_shown() {
        let text = format!(
            "{}x\nage1yubikey1qwerty\nssh-ed25519 AAAA bob\nssh-rsa AAAA carol\nhello\n{AGE}\n\
             AGE-SECRET-KEY-1QQPQQ6Z3ALLXSUTQSQ9NYMMQXJWA2FZR6R5RZGTFV4LL\n",
            &AGE[..60]
        );
        let wrong = parse_file(&text, "secrets/recipients.txt").unwrap_err();
        insta::assert_snapshot!(wrong, @r"
        secrets/recipients.txt:1:1: not a valid age key: a character is wrong or missing
          |
        1 | age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcacx
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          hint: copy it again

        secrets/recipients.txt:2:1: a plugin's key cannot be used here
          |
        2 | age1yubikey1qwerty
          | ^^^^^^^^^^^^^^^^^^
          hint: use an age key of the plain kind (`fleet init` or `age-keygen` makes one)

        secrets/recipients.txt:3:1: not a whole ssh-ed25519 key
          |
        3 | ssh-ed25519 AAAA bob
          | ^^^^^^^^^^^^^^^^^^^^
          hint: copy the whole line of the .pub file

        secrets/recipients.txt:4:1: only SSH keys of type ssh-ed25519 can receive secrets
          |
        4 | ssh-rsa AAAA carol
          | ^^^^^^^^^^^^^^^^^^
          hint: `ssh-keygen -t ed25519` makes one, or use an age key

        secrets/recipients.txt:5:1: not a public key
          |
        5 | hello
          | ^^^^^
          hint: expected age1... or ssh-ed25519 AAAA..., one a line

        secrets/recipients.txt:7:1: a private key does not belong here
          hint: take it out, count it as known to everyone who saw this file, and make a new one with `fleet init`
        ");
    }
}
