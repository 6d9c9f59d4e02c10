//! What the hosts said: as it comes from one, grouped from many.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::super::App;
use crate::engine::Answer;
use crate::registry::Client;
use crate::secret::clean_bytes;
use crate::ssh::{Exit, Output, Stream};
use crate::ui::{self, Out, Role};

/// Longest beginning of a line that waits for its end.
const MOST_WAITING: usize = 64 << 10;

/// Output of one host, shown line by line so that no sequence is cut in two and slips through.
pub struct Live {
    raw: bool,
    /// In front of each line, where there are many hosts.
    prefix: String,
    out: Out,
    waiting: [Vec<u8>; 2],
    broken: Option<io::Error>,
}

impl Live {
    pub fn new(raw: bool, out: Out, prefix: String) -> Self {
        Live { raw, prefix, out, waiting: Default::default(), broken: None }
    }

    pub fn take(&mut self, stream: Stream, chunk: &[u8]) {
        if self.raw && self.prefix.is_empty() {
            return self.put(stream, chunk);
        }
        let mut waiting = std::mem::take(&mut self.waiting[stream as usize]);
        waiting.extend_from_slice(chunk);
        let whole = match waiting.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if waiting.len() > MOST_WAITING => waiting.len(),
            None => 0,
        };
        self.lines(stream, &waiting[..whole]);
        self.waiting[stream as usize] = waiting.split_off(whole);
    }

    fn lines(&mut self, stream: Stream, bytes: &[u8]) {
        let clean = if self.raw { bytes.into() } else { clean_bytes(bytes).into_bytes() };
        if self.prefix.is_empty() || clean.is_empty() {
            return self.put(stream, &clean);
        }
        let mut out = Vec::new();
        for line in clean.strip_suffix(b"\n").unwrap_or(&clean).split(|byte| *byte == b'\n') {
            out.extend_from_slice(self.prefix.as_bytes());
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        self.put(stream, &out);
    }

    fn put(&mut self, stream: Stream, bytes: &[u8]) {
        let done = match stream {
            Stream::Stdout => self.out.write_all(bytes).and_then(|()| self.out.flush()),
            Stream::Stderr => {
                ui::tell_bytes(bytes);
                Ok(())
            }
        };
        self.broken = self.broken.take().or(done.err());
    }

    /// The rest, which has no line end.
    ///
    /// # Errors
    /// When standard output could not be written.
    pub fn finish(&mut self) -> io::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.waiting[stream as usize]);
            self.lines(stream, &rest);
        }
        self.broken.take().map_or(Ok(()), Err)
    }
}

/// Output of many hosts as it comes: whole lines, each behind its client's name.
pub struct LiveMany(Mutex<Vec<Live>>);

impl LiveMany {
    pub fn new(app: &App, clients: &[&Client], raw: bool) -> Arc<LiveMany> {
        let width = clients.iter().map(|client| client.name.as_str().len()).max().unwrap_or(0);
        let prefix = |(at, client): (usize, &&Client)| {
            let name = format!("{:width$}", client.name.as_str());
            if app.stdout.plain {
                return format!("{}: ", client.name);
            }
            app.stdout.paint(Role::hue(at), &name) + " | "
        };
        let live = |prefix| Live::new(raw, Out::stdout(), prefix);
        Arc::new(LiveMany(Mutex::new(clients.iter().enumerate().map(prefix).map(live).collect())))
    }

    /// One at a time, so that lines of several hosts do not mix.
    pub fn take(&self, place: usize, stream: Stream, chunk: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = all.get_mut(place) {
            live.take(stream, chunk);
        }
    }

    /// # Errors
    /// When standard output could not be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().try_for_each(Live::finish)
    }
}

/// What is left to say of many whose output was shown: who failed, and how many ended how; true when one is bad.
pub fn summary(app: &App, answers: &[Answer]) -> bool {
    for answer in answers {
        if let Ok(output) = &answer.result
            && !output.exit.success()
        {
            app.tell(&format!("{}: {}\n", answer.client, ended(&output.exit)));
        }
    }
    let bad = endings(app, answers);
    app.tell(&format!("{}\n", counts(answers)));
    bad
}

/// All answers, equal ones once; true when one is bad.
pub fn all(app: &App, answers: &[Answer], raw: bool) -> anyhow::Result<bool> {
    let text =
        |bytes: &[u8]| if raw { String::from_utf8_lossy(bytes).into_owned() } else { clean_bytes(bytes) };
    if app.global.json {
        for answer in answers {
            app.out(&record(answer, text).to_string())?;
        }
        return Ok(answers.iter().any(bad));
    }
    for (clients, output) in groups(answers) {
        let title = match clients.as_slice() {
            [client] => format!("{client}: {}", ended(&output.exit)),
            // A list of hundreds helps nobody.
            list => format!("{} hosts: same, {} ({})", list.len(), ended(&output.exit), ui::names(list, 200)),
        };
        let role = if output.exit.success() { Role::Strong } else { Role::Bad };
        app.out(&app.stdout.paint(role, &title))?;
        let stderr = text(&output.stderr);
        let stderr = stderr.lines().map(|line| format!("{} {line}", app.stdout.paint(Role::Warn, "stderr:")));
        for line in text(&output.stdout).lines().map(str::to_owned).chain(stderr) {
            app.out(format!("  {line}").trim_end())?;
        }
        if output.truncated {
            app.out("  (it printed more than is kept)")?;
        }
    }
    let bad = endings(app, answers);
    app.tell(&format!("{}\n", counts(answers)));
    Ok(bad)
}

/// Who gave no answer, and for one host how it ended; true when something is bad.
pub fn endings(app: &App, answers: &[Answer]) -> bool {
    for answer in answers {
        match &answer.result {
            Err(outcome) => app.no_answer(&answer.client, outcome),
            Ok(output) if answers.len() == 1 && !output.exit.success() => {
                app.tell(&format!("{}: {}\n", answer.client, ended(&output.exit)));
            }
            Ok(_) => {}
        }
    }
    answers.iter().any(bad)
}

fn bad(answer: &Answer) -> bool {
    answer.result.as_ref().map_or(true, |output| !output.exit.success())
}

fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(name) => format!("killed by SIG{name}"),
    }
}

/// Clients that said the same, the largest group first; what failed comes last, next to the prompt.
fn groups(answers: &[Answer]) -> Vec<(Vec<&str>, &Output)> {
    let mut groups: Vec<(Vec<&str>, &Output)> = Vec::new();
    for answer in answers {
        let Ok(output) = &answer.result else { continue };
        match groups.iter_mut().find(|(_, same)| *same == output) {
            Some((clients, _)) => clients.push(&answer.client),
            None => groups.push((vec![&answer.client], output)),
        }
    }
    groups.sort_by_key(|(clients, output)| (!output.exit.success(), std::cmp::Reverse(clients.len())));
    groups
}

/// "5 hosts: 3 exit 0, 1 exit 2, 1 no answer".
fn counts(answers: &[Answer]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for answer in answers {
        let word =
            answer.result.as_ref().map_or_else(|_| "no answer".to_owned(), |output| ended(&output.exit));
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    counts.sort();
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    format!("{} hosts: {}", answers.len(), counts.join(", "))
}

fn record(answer: &Answer, text: impl Fn(&[u8]) -> String) -> serde_json::Value {
    let output = answer.result.as_ref().ok();
    let (code, signal) = match output.map(|output| &output.exit) {
        Some(Exit::Code(code)) => (Some(*code), None),
        Some(Exit::Signal(name)) => (None, Some(name)),
        None => (None, None),
    };
    let error = answer.result.as_ref().err().map(|outcome| {
        outcome.fault().map_or_else(|| outcome.word().to_owned(), |fault| fault.message.clone())
    });
    json!({ "schema": "fleet.exec/1", "client": answer.client, "exit": code, "signal": signal,
        "stdout": output.map(|output| text(&output.stdout)), "stderr": output.map(|output| text(&output.stderr)),
        "truncated": output.map(|output| output.truncated), "seconds": answer.seconds, "error": error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(client: &str, code: u32, stdout: &str) -> Answer {
        let output =
            Output { exit: Exit::Code(code), stdout: stdout.into(), stderr: Vec::new(), truncated: false };
        Answer { client: client.to_owned(), result: Ok(output), seconds: 0.1, ended: 0 }
    }

    #[test]
    fn equal_outputs_are_one_group_and_failures_come_last() {
        let answers =
            [said("a", 2, "no"), said("b", 0, "x"), said("c", 0, "y"), said("d", 0, "y"), said("e", 1, "y")];
        let found: Vec<Vec<&str>> = groups(&answers).into_iter().map(|(clients, _)| clients).collect();
        assert_eq!(found, [vec!["c", "d"], vec!["b"], vec!["a"], vec!["e"]]);
        assert_eq!(counts(&answers), "5 hosts: 3 exit 0, 1 exit 1, 1 exit 2");
    }

    #[test]
    fn a_line_waits_for_its_end_but_not_for_ever() {
        let mut live = Live::new(false, Out::new(Box::new(io::sink())), String::new());
        live.take(Stream::Stdout, b"a\x1b[2");
        assert_eq!(live.waiting[Stream::Stdout as usize], b"a\x1b[2");
        live.take(Stream::Stdout, &vec![b'\0'; MOST_WAITING]);
        assert!(live.waiting[Stream::Stdout as usize].is_empty(), "a line without an end fills no memory");
    }
}
