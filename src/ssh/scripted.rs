//! A session without a host, for tests of our own logic: commands are matched, answers are given.
//!
//! Rules are tried in order, and a rule with `times` is used up. A command that no rule covers is
//! refused, so that a test says what it expects.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    CUT, Exit, NOBODY, Output, Piece, Progress, Pulled, Receiver, Rsync, Session, SessionError, Sink, Stream,
    Supply, Transfer,
};
use crate::shell::Cmd;

/// Output is handed over in pieces as small as packets may be.
const PIECE: usize = 1000;

/// What a matched command gets.
#[derive(Clone, Debug)]
pub enum Answer {
    Output { code: u32, stdout: String, stderr: String },
    Lost(String),
    TimedOut(Duration),
}

impl Answer {
    /// Success with this on standard output.
    pub fn ok(stdout: impl Into<String>) -> Self {
        Answer::Output { code: 0, stdout: stdout.into(), stderr: String::new() }
    }

    /// An exit code with this on standard error.
    pub fn fail(code: u32, stderr: impl Into<String>) -> Self {
        Answer::Output { code, stdout: String::new(), stderr: stderr.into() }
    }
}

type Matcher = Box<dyn Fn(&Cmd) -> bool + Send + Sync>;

struct Rule {
    matches: Matcher,
    answer: Answer,
    left: Option<usize>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    ran: Vec<Cmd>,
    pushed: Vec<Rsync>,
    sent: Vec<Vec<u8>>,
    closed: bool,
}

/// A host that exists in a test only.
#[derive(Default)]
pub struct Scripted {
    state: Mutex<State>,
    transfer: Option<Transfer>,
}

impl Scripted {
    #[must_use]
    pub fn new() -> Self {
        Scripted::default()
    }

    /// Answers every command whose line (as [`Cmd::line`] has it) contains `part`.
    #[must_use]
    pub fn on(self, part: &str, answer: Answer) -> Self {
        let part = part.to_owned();
        self.when(move |cmd| cmd.line().contains(&part), answer, None)
    }

    /// The same, but only once.
    #[must_use]
    pub fn once(self, part: &str, answer: Answer) -> Self {
        let part = part.to_owned();
        self.when(move |cmd| cmd.line().contains(&part), answer, Some(1))
    }

    /// Answers what `matches` says, `times` times or for ever.
    #[must_use]
    pub fn when<F>(self, matches: F, answer: Answer, times: Option<usize>) -> Self
    where
        F: Fn(&Cmd) -> bool + Send + Sync + 'static,
    {
        self.state().rules.push(Rule { matches: Box::new(matches), answer, left: times });
        self
    }

    /// What every transfer reports; without it transfers are refused.
    #[must_use]
    pub fn transfers(mut self, transfer: Transfer) -> Self {
        self.transfer = Some(transfer);
        self
    }

    /// All commands so far, in order.
    #[must_use]
    pub fn ran(&self) -> Vec<Cmd> {
        self.state().ran.clone()
    }

    /// All transfers so far, in order.
    #[must_use]
    pub fn pushed(&self) -> Vec<Rsync> {
        self.state().pushed.clone()
    }

    /// The whole input of each command that was pushed to, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.state().sent.clone()
    }

    #[must_use]
    pub fn closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, cmd: &Cmd) -> Option<Answer> {
        let mut state = self.state();
        state.ran.push(cmd.clone());
        let rule = state.rules.iter_mut().find(|rule| rule.left != Some(0) && (rule.matches)(cmd))?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.answer.clone())
    }
}

#[async_trait]
impl Session for Scripted {
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
        match self.answer(cmd) {
            Some(Answer::Output { code, stdout, stderr }) => {
                if let Some(sink) = sink {
                    sink(Stream::Stdout, stdout.as_bytes());
                    sink(Stream::Stderr, stderr.as_bytes());
                }
                Ok(Output {
                    exit: Exit::Code(code),
                    stdout: stdout.into_bytes(),
                    stderr: stderr.into_bytes(),
                    truncated: false,
                })
            }
            Some(Answer::Lost(why)) => Err(SessionError::Lost(why)),
            Some(Answer::TimedOut(limit)) => Err(SessionError::TimedOut(limit)),
            None => Err(SessionError::Refused(format!("the script has no answer for: {}", cmd.line()))),
        }
    }

    async fn pull(&self, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
        let output = self.exec(cmd, None).await?;
        for piece in output.stdout.chunks(PIECE) {
            if into.send(piece.to_vec()).await.is_err() {
                return Err(SessionError::Failed(NOBODY.to_owned()));
            }
        }
        Ok(Pulled { exit: output.exit, stderr: output.stderr })
    }

    async fn push(
        &self,
        cmd: &Cmd,
        from: &mut Supply,
        sink: Option<Sink<'_>>,
    ) -> Result<Output, SessionError> {
        let mut sent = Vec::new();
        loop {
            match from.recv().await {
                Some(Piece::Data(piece)) => sent.extend_from_slice(&piece),
                Some(Piece::End) => break,
                None => return Err(SessionError::Failed(CUT.to_owned())),
            }
        }
        self.state().sent.push(sent);
        self.exec(cmd, sink).await
    }

    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError> {
        self.state().pushed.push(what.clone());
        let Some(transfer) = self.transfer else {
            return Err(SessionError::Refused("the script has no transfer".to_owned()));
        };
        if let Some(progress) = progress {
            progress(super::Progressed { bytes: transfer.bytes_sent, percent: 100 });
        }
        Ok(transfer)
    }

    fn host_key(&self) -> (String, bool) {
        ("SHA256:scripted".to_owned(), false)
    }

    async fn close(&self) {
        self.state().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rules_in_order_and_used_up() {
        let session = Scripted::new().once("df", Answer::fail(1, "no")).on("df", Answer::ok("10%"));
        let cmd = Cmd::new(["df", "-P"]);
        assert_eq!(session.exec(&cmd, None).await.unwrap().exit, Exit::Code(1));
        assert_eq!(session.exec(&cmd, None).await.unwrap().stdout, b"10%");
        let error = session.exec(&Cmd::new(["rm"]), None).await.unwrap_err();
        assert_eq!(error.to_string(), "the script has no answer for: rm");
        assert_eq!(session.ran().len(), 3);
    }
}
