//! What only a person can give: a yes, and a secret typed without an echo.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::App;
use super::exit::{refused, usage};
use crate::hint::HintExt as _;
use crate::secret::Secret;

/// Longest secret that is read, in bytes: a certificate chain fits, a wrong file does not.
const LONGEST: u64 = 256 * 1024;

/// For commands that ask before they change something.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Yes {
    /// Do not ask for confirmation (needed without a terminal)
    #[arg(short, long, env = "FLEET_YES", value_parser = clap::builder::FalseyValueParser::new())]
    pub yes: bool,
}

impl Yes {
    /// Goes on when `--yes` was given or a person says so. `what` says what the command does, for the
    /// error; `question` is put to the person.
    ///
    /// # Errors
    /// Nobody to ask (usage), or a no (refused).
    pub fn sure(&self, app: &App, what: &str, question: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !app.can_ask() {
            return Err(usage(format!("{what}, and there is no terminal to confirm it on"))
                .hint("add --yes to go on without being asked"));
        }
        if app.confirm(question)? { Ok(()) } else { Err(refused("not confirmed; nothing was changed")) }
    }
}

/// A secret from standard input: typed without an echo on a terminal, else everything up to the end,
/// without the line end that `echo` adds.
///
/// # Errors
/// Nothing, more than a secret, or something that is no text.
pub fn secret(app: &App, prompt: &str) -> anyhow::Result<Secret<String>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let mut bytes = Zeroizing::new(Vec::new());
        stdin.lock().take(LONGEST + 1).read_to_end(&mut bytes).context("standard input cannot be read")?;
        return one(&bytes, "standard input");
    }
    app.tell(&format!("{prompt} (not shown): "));
    let mut line = Zeroizing::new(String::new());
    {
        let _quiet = Quiet::start()?;
        stdin.lock().read_line(&mut line).context("the terminal cannot be read")?;
    }
    app.tell("\n");
    one(line.as_bytes(), "what was typed")
}

/// A secret from a file, with the same rules.
///
/// # Errors
/// A file that cannot be read, or what [`secret`] refuses.
pub fn secret_file(path: &std::path::Path) -> anyhow::Result<Secret<String>> {
    let shown = path.display().to_string();
    let file = std::fs::File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LONGEST + 1).read_to_end(&mut bytes).with_context(|| format!("{shown} cannot be read"))?;
    one(&bytes, &shown)
}

fn one(bytes: &[u8], from: &str) -> anyhow::Result<Secret<String>> {
    if bytes.len() as u64 > LONGEST {
        return Err(refused(format!("{from} is longer than {} KiB", LONGEST / 1024)));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| refused(format!("{from} is no text (not valid UTF-8)")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(refused(format!("{from} is empty")).hint("to take a value away, unset it"));
    }
    Ok(Secret::from(text))
}

/// The terminal without its echo, for as long as this lives.
struct Quiet(Termios);

impl Quiet {
    fn start() -> anyhow::Result<Quiet> {
        let before = tcgetattr(std::io::stdin()).context("the terminal's settings cannot be read")?;
        let mut without = before.clone();
        without.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &without)
            .context("the terminal's echo cannot be turned off")?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing better can be done than to try.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_secret() {
        for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            assert_eq!(one(text.as_bytes(), "x").unwrap(), Secret::from("s3cret"));
        }
        assert_eq!(one(b"a\nb\n\n", "x").unwrap(), Secret::from("a\nb\n"));
        assert_eq!(one(b"\n", "standard input").unwrap_err().to_string(), "standard input is empty");
        assert!(one(&[0xff, 0xfe], "x").unwrap_err().to_string().contains("is no text"));
        assert!(one(&vec![b'a'; 300 * 1024], "x").unwrap_err().to_string().contains("longer than 256 KiB"));
    }
}
