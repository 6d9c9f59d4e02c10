//! What the containers of a stack say: asked for, and read as it comes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use crate::secret::clean_bytes;
use crate::shell::{Cmd, quote};

const SCRIPT: &str = include_str!("logs.sh");
/// Bytes after which the script breaks a line that is followed.
const FOLD: usize = 3900;
/// Longest line that is kept whole.
const LONGEST: usize = 64 << 10;
/// Docker keeps longer lines in parts of this size, and writes the time in front of each.
const PART: usize = 16 << 10;
const CUT: &[u8] = b" [the rest of this line is left out]";

/// A moment, as the operator gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before now, by the host's own clock.
    Ago(Duration),
    At(Timestamp),
}

impl When {
    fn word(self) -> String {
        match self {
            When::Ago(age) => format!("{}s", age.as_secs()),
            When::At(at) => at.to_string(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    pub stack: String,
    /// All when empty.
    pub services: Vec<String>,
    /// Newest lines of each container; all without.
    pub tail: Option<u32>,
    pub since: Option<When>,
    pub until: Option<When>,
    pub follow: bool,
}

/// Where a reader that was cut off goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Moments from which containers that are known are asked again.
    pub containers: Vec<(String, Timestamp)>,
    /// When the first one was attached to: what is not known was made since.
    pub began: Option<Timestamp>,
}

/// Without `follow` all lines in the order of time, else as they are written, without end.
#[must_use]
pub fn logs(ask: &Ask, resume: &Resume) -> Cmd {
    let mut first = ask.tail.map(|tail| format!("--tail {tail} ")).unwrap_or_default();
    for (option, when) in [("--since", ask.since), ("--until", ask.until)] {
        if let Some(when) = when {
            let _ = write!(first, "{option} {} ", when.word());
        }
    }
    if let Some(began) = resume.began {
        first = format!("--since {began}");
    }
    let wanted: String = ask.services.iter().map(|name| format!(" {name}")).collect();
    let mut text = String::new();
    let _ = writeln!(text, "STACK={} WANTED={}", quote(&ask.stack), quote(&format!("{wanted} ")));
    let _ = writeln!(text, "FOLLOW={}\nfirst() {{\n    case $1 in", if ask.follow { "yes" } else { "no" });
    for (container, at) in &resume.containers {
        let _ = writeln!(text, "    {}) echo --since {at} ;;", quote(container));
    }
    let _ = writeln!(text, "    *) echo {} ;;\n    esac\n}}", first.trim_end());
    text.push_str(SCRIPT);
    Cmd::script(text, Vec::<String>::new()).sudo()
}

/// One line of a container, harmless to a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub container: String,
    pub service: String,
    /// When it was written, by the host's clock.
    pub at: Timestamp,
    pub text: String,
}

/// What comes from the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What follows of this container begins anew, and may repeat what was said.
    Attached {
        container: String,
        at: Timestamp,
    },
    Line(Line),
    /// Nothing new, and the script still runs.
    Alive,
}

/// Makes lines of pieces.
#[derive(Default)]
pub struct Reader {
    rest: Vec<u8>,
    /// The line in `rest` is longer than is kept.
    skipping: bool,
    /// Lines that the script may have broken, by their container.
    open: BTreeMap<String, Open>,
    last: Timestamp,
}

struct Open {
    service: String,
    at: Timestamp,
    text: Vec<u8>,
    /// Signs of life since its last piece.
    age: u8,
}

impl Reader {
    pub fn take(&mut self, mut piece: &[u8], said: &mut Vec<Said>) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.gather(&piece[..end]);
            piece = &piece[end + 1..];
            let line = std::mem::take(&mut self.rest);
            self.skipping = false;
            self.line(&line, said);
        }
        self.gather(piece);
    }

    fn gather(&mut self, piece: &[u8]) {
        let room = LONGEST.saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room && !self.skipping {
            self.skipping = true;
            self.rest.extend_from_slice(CUT);
        }
    }

    /// What no more comes behind.
    pub fn finish(&mut self, said: &mut Vec<Said>) {
        let line = std::mem::take(&mut self.rest);
        self.line(&line, said);
        for (container, open) in std::mem::take(&mut self.open) {
            said.push(open.close(container));
        }
    }

    fn line(&mut self, line: &[u8], said: &mut Vec<Said>) {
        let Some((kind, rest)) = line.split_first() else { return };
        let mut words = rest.splitn(3, |byte| *byte == b' ');
        let word = |word: Option<&[u8]>| word.map(clean_bytes).unwrap_or_default();
        match kind {
            b'=' => {
                let (container, service) = (word(words.next()), word(words.next()));
                self.text(container, service, words.next().unwrap_or_default(), said);
            }
            b'+' => {
                let container = word(words.next());
                let at =
                    word(words.nth(1)).trim().parse().ok().and_then(|at| Timestamp::from_second(at).ok());
                said.extend(self.open.remove(&container).map(|open| open.close(container.clone())));
                said.push(Said::Attached { container, at: at.unwrap_or_default() });
            }
            b'.' => {
                self.open.values_mut().for_each(|open| open.age += 1);
                // Another's sign of life may come between two pieces of a line.
                for (container, open) in self.open.extract_if(.., |_, open| open.age > 1) {
                    said.push(open.close(container));
                }
                said.push(Said::Alive);
            }
            _ => {}
        }
    }

    fn text(&mut self, container: String, service: String, text: &[u8], said: &mut Vec<Said>) {
        let broken = text.len() == FOLD;
        let at = moment(text);
        let Some((at, text)) = at else {
            match self.open.remove(&container) {
                Some(open) => self.keep(container, open.with(text), broken, said),
                // Docker's own words have no time.
                None => {
                    let open = Open { service, at: self.last, text: text.to_vec(), age: 0 };
                    self.keep(container, open, broken, said);
                }
            }
            return;
        };
        said.extend(self.open.remove(&container).map(|open| open.close(container.clone())));
        self.last = at;
        self.keep(container, Open { service, at, text: text.to_vec(), age: 0 }, broken, said);
    }

    fn keep(&mut self, container: String, open: Open, broken: bool, said: &mut Vec<Said>) {
        if broken {
            self.open.insert(container, open);
        } else {
            said.push(open.close(container));
        }
    }
}

impl Open {
    fn with(mut self, more: &[u8]) -> Open {
        let room = LONGEST.saturating_sub(self.text.len());
        if more.len() > room && room > 0 {
            self.text.extend_from_slice(&more[..room]);
            self.text.extend_from_slice(CUT);
        } else if room > 0 {
            self.text.extend_from_slice(more);
        }
        self.age = 0;
        self
    }

    fn close(self, container: String) -> Said {
        let text = joined(&self.text);
        let text = clean_bytes(text.strip_suffix(b"\r").unwrap_or(&text)).replace('\n', " ");
        Said::Line(Line { container, service: self.service, at: self.at, text })
    }
}

/// A line without the times in front of its later parts.
fn joined(text: &[u8]) -> Cow<'_, [u8]> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((part, behind)) = rest.split_at_checked(PART)
        && let Some((_, next)) = moment(behind)
    {
        parts.push(part);
        rest = next;
    }
    if parts.is_empty() {
        return Cow::Borrowed(text);
    }
    parts.push(rest);
    Cow::Owned(parts.concat())
}

/// The time that Docker writes in front of a line, and what is behind it.
fn moment(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let end = text.iter().take(40).position(|byte| *byte == b' ').unwrap_or(text.len().min(40));
    let at = std::str::from_utf8(&text[..end]).ok().filter(|word| word.len() > 19)?.parse().ok()?;
    Some((at, text.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
