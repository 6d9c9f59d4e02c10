//! What every verb gets: the global options, how the two streams look, and a way to ask.

use std::io::{BufRead as _, IsTerminal as _};

use super::context::Fleet;
use super::global::Limits;
use super::global::{ColorWhen, Global};
use super::running::Run;
use crate::engine::{Answer, Hear};
use crate::event::{ExitKind, Outcome};
use crate::shell::Cmd;
use crate::ssh::{Sink, Target};
use crate::ui::{self, ColorChoice, Look, Out, Table, Wanted};

pub struct App {
    pub global: Global,
    pub stdout: Look,
    pub stderr: Look,
}

/// What [`App::ask`] brings back.
pub struct Answers {
    /// In the order asked.
    pub answers: Vec<Answer>,
    pub interrupted: bool,
}

impl Answers {
    /// The exit code when `bad` of the hosts that answered are not as they should be.
    #[must_use]
    pub fn exit(&self, bad: bool) -> ExitKind {
        let reached = self.answers.iter().filter(|answer| answer.result.is_ok()).count();
        match (self.interrupted, reached, self.answers.len()) {
            (true, _, _) => ExitKind::Interrupted,
            (false, 0, 1..) => ExitKind::NoneReachable,
            (false, reached, all) if bad || reached < all => ExitKind::ClientFailed,
            (false, _, _) => ExitKind::Ok,
        }
    }
}

impl App {
    #[must_use]
    pub fn new(global: Global) -> Self {
        let color = match global.color {
            ColorWhen::Auto => ColorChoice::Auto,
            ColorWhen::Always => ColorChoice::Always,
            ColorWhen::Never => ColorChoice::Never,
        };
        let wanted = Wanted { color, plain: global.plain };
        App { global, stdout: Look::stdout(wanted), stderr: Look::stderr(wanted) }
    }

    /// One line of data. A reader that went away is a quiet end.
    ///
    /// # Errors
    /// When standard output cannot be written for any other reason.
    pub fn out(&self, line: &str) -> anyhow::Result<()> {
        Ok(Out::stdout().line(line)?)
    }

    /// # Errors
    /// As [`App::out`].
    pub fn table(&self, table: &Table) -> anyhow::Result<()> {
        let text = table.render(&self.stdout);
        if text.is_empty() { Ok(()) } else { self.out(text.trim_end_matches('\n')) }
    }

    /// Progress and remarks, on standard error.
    pub fn tell(&self, text: &str) {
        ui::tell(text);
    }

    pub fn error(&self, error: &anyhow::Error) {
        if self.global.json {
            let _ = self.out(&ui::error::to_json(error).to_string());
        }
        self.tell(&ui::error::render(error, &self.stderr));
    }

    /// Whether a person is there to answer.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Why a host has no answer, and what to do about it.
    pub fn no_answer(&self, client: &str, outcome: &Outcome) {
        match (outcome, outcome.fault()) {
            (_, Some(fault)) => {
                self.tell(&format!("{client}: {}\n", ui::flat(&fault.message)));
                if let Some(hint) = &fault.hint {
                    self.tell(&format!("  hint: {}\n", ui::flat(hint)));
                }
            }
            (Outcome::Skipped { reason, .. }, None) => {
                self.tell(&format!("{client}: {}\n", ui::flat(reason)))
            }
            (other, None) => self.tell(&format!("{client}: {}\n", other.word())),
        }
    }

    /// Asks on the terminal; only `y` or `yes` is a yes.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        self.tell(&format!("{question} [y/N] "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// The same for what cannot be undone: only this very text is a yes.
    ///
    /// # Errors
    /// When the terminal goes away.
    pub fn confirm_by(&self, question: &str, text: &str) -> anyhow::Result<bool> {
        self.tell(&format!("{question} type \"{text}\" to go on: "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(answer.trim() == text)
    }

    /// Says one thing to each host and waits for all answers, with progress shown meanwhile.
    ///
    /// # Errors
    /// When no runtime can be started.
    pub fn ask<Q: Into<Cmd> + Send + 'static>(
        &self,
        fleet: &Fleet,
        verb: &str,
        questions: Vec<(Target, Q)>,
        limits: &Limits,
    ) -> anyhow::Result<Answers> {
        self.ask_heard(fleet, verb, questions, limits, None)
    }

    /// The same; with `hear` what they print is seen as it comes, and nothing else is shown.
    ///
    /// # Errors
    /// When no runtime can be started.
    pub fn ask_heard<Q: Into<Cmd> + Send + 'static>(
        &self,
        fleet: &Fleet,
        verb: &str,
        questions: Vec<(Target, Q)>,
        limits: &Limits,
        hear: Option<Hear>,
    ) -> anyhow::Result<Answers> {
        let names = questions.iter().map(|(target, _)| target.name.clone()).collect();
        let runtime = super::running::runtime()?;
        let answers = runtime.block_on(async {
            let mut run = Run::look(self, fleet, &super::running::new_run(), verb, names, limits);
            if hear.is_some() {
                run.hush();
            }
            let answers = run.drive(async |engine| engine.ask_heard(questions, hear).await).await;
            Answers { answers, interrupted: run.end() }
        });
        super::running::shut_down(runtime);
        Ok(answers)
    }

    /// Says one thing to one host; what it prints is seen as it comes, and nothing else is shown.
    ///
    /// # Errors
    /// When no runtime can be started.
    pub fn listen(
        &self,
        fleet: &Fleet,
        verb: &str,
        (target, cmd): (Target, Cmd),
        limits: &Limits,
        sink: Sink<'_>,
    ) -> anyhow::Result<Answers> {
        let names = vec![target.name.clone()];
        let runtime = super::running::runtime()?;
        let answers = runtime.block_on(async {
            let mut run = Run::look(self, fleet, &super::running::new_run(), verb, names, limits);
            run.hush();
            let answer = run.drive(async |engine| engine.listen(target, cmd, sink).await).await;
            Answers { answers: vec![answer], interrupted: run.end() }
        });
        super::running::shut_down(runtime);
        Ok(answers)
    }

    /// Plays a made-up run, to judge the screen by eye.
    pub fn test_progress(&self) {
        let settings =
            ui::Settings { json: self.global.json, verbose: self.global.verbose, look: self.stderr };
        ui::demo(&mut *ui::renderer(&settings));
    }
}
