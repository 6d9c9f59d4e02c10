//! Listening to the containers of a host for as long as it is wanted: read as fast as it is shown, gone on with after
//! a cut.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::host::{interrupted, lost};
use super::work::{Work, Worked};
use crate::event::{Fault, Outcome};
use crate::logs::Seen;
use crate::ops::logs::{self, Ask, Line, Reader, Said};
use crate::ssh::{Pulled, Session, SessionError};

/// Bytes of lines of one host that wait to be shown.
pub const ROOM: usize = 128 << 10;
/// Pieces of output on the way from the connection to the reader.
const PIECES: usize = 2;
/// A followed host gives a sign of life every two seconds.
const SILENCE: Duration = Duration::from_secs(20);
/// A host that is asked for what there is may search for long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pauses between two attempts to reach a host again; the last one for ever.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 10];

/// What a host's tail tells.
pub enum Heard {
    /// Whoever takes the line gives its weight back to the room.
    Line(Line),
    /// The connection is cut, or the host fell silent; it is tried again.
    Cut(String),
    /// Heard of again, after so many seconds.
    Again(u64),
    /// Reached for the first time, after so many seconds of trying.
    There(u64),
    End,
}

/// What a line weighs in the room of its host.
#[must_use]
pub fn weight(line: &Line) -> usize {
    (line.text.len() + 100).min(ROOM)
}

pub struct Tail {
    /// Stands for the host in what is told.
    client: usize,
    ask: Ask,
    into: UnboundedSender<(usize, Heard)>,
    room: Arc<Semaphore>,
    company: Company,
    tries: Mutex<Tries>,
}

/// All that are followed together: who is not reached is waited for while another is heard.
#[derive(Clone)]
pub struct Company(Arc<watch::Sender<Reached>>);

#[derive(Clone, Copy)]
struct Reached {
    anyone: bool,
    /// Those of whom nothing is known yet.
    open: usize,
}

/// Attempts to reach a host for the first time.
#[derive(Default)]
struct Tries {
    since: Option<Instant>,
    count: usize,
    told: String,
}

impl Company {
    #[must_use]
    pub fn of(members: usize) -> Company {
        Company(Arc::new(watch::Sender::new(Reached { anyone: false, open: members })))
    }

    fn reached(&self) {
        self.0.send_modify(|reached| reached.anyone = true);
    }

    /// One was not reached at first: whether another is, once that is known.
    async fn without_one(&self) -> bool {
        self.0.send_modify(|reached| reached.open -= 1);
        let mut news = self.0.subscribe();
        let known = news.wait_for(|reached| reached.anyone || reached.open == 0).await;
        known.is_ok_and(|reached| reached.anyone)
    }
}

/// Why a connection was listened to no longer.
enum Stop {
    /// All was said.
    Over,
    /// Nobody listens any more.
    Nobody,
    /// The host does not want to.
    Failed(String),
    Cut(SessionError),
}

#[async_trait]
impl Work for Tail {
    async fn run(&self, on: &Worked) -> Result<Outcome, Outcome> {
        self.company.reached();
        if let Some(since) = self.tries().since {
            self.tell(Heard::There(since.elapsed().as_secs()));
        }
        tokio::select! {
            result = self.tail(on) => result,
            () = on.abandoned() => Err(interrupted("its end")),
        }
    }

    async fn missed(&self, outcome: &Outcome) -> bool {
        let Outcome::Unreachable { fault } = outcome else { return false };
        let first = self.tries().since.is_none();
        if !self.ask.follow || first && !self.company.without_one().await {
            return false;
        }
        let pause = {
            let mut tries = self.tries();
            tries.since.get_or_insert_with(Instant::now);
            tries.count += 1;
            if tries.told != fault.message {
                tries.told.clone_from(&fault.message);
                self.tell(Heard::Cut(fault.message.clone()));
            }
            pause(tries.count - 1)
        };
        sleep(pause).await;
        true
    }
}

/// Also of a host that was never reached nothing more comes.
impl Drop for Tail {
    fn drop(&mut self) {
        self.tell(Heard::End);
    }
}

impl Tail {
    #[must_use]
    pub fn new(
        client: usize,
        ask: Ask,
        into: UnboundedSender<(usize, Heard)>,
        room: Arc<Semaphore>,
        company: Company,
    ) -> Tail {
        Tail { client, ask, into, room, company, tries: Mutex::default() }
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tail(&self, on: &Worked) -> Result<Outcome, Outcome> {
        let (mut seen, mut session) = (Seen::default(), Arc::clone(&on.session));
        let mut heard = false;
        loop {
            let stop = self.listen(on, &*session, &mut seen).await;
            heard |= seen.resume().began.is_some();
            session.close().await;
            let why = match stop {
                Stop::Over | Stop::Nobody => return Ok(Outcome::Unchanged),
                Stop::Failed(message) if !heard || !self.ask.follow => {
                    let hint = Some(format!("fleet status {}", on.target.name));
                    let fault = Fault { step: "logs".into(), message, lines: Vec::new(), hint };
                    return Err(Outcome::Failed { fault });
                }
                Stop::Cut(error) if !self.ask.follow => return Err(lost("logs", &error)),
                Stop::Failed(message) => message,
                Stop::Cut(error) => error.to_string(),
            };
            session = self.again(on, why).await;
        }
    }

    /// Tries until the host is there.
    async fn again(&self, on: &Worked, why: String) -> Arc<dyn Session> {
        let (since, mut tries, mut told) = (Instant::now(), 0, why.clone());
        self.tell(Heard::Cut(why));
        loop {
            sleep(pause(tries)).await;
            tries += 1;
            match on.again().await {
                Ok(session) => {
                    self.tell(Heard::Again(since.elapsed().as_secs()));
                    return session;
                }
                Err(fault) if fault.message != told => {
                    told.clone_from(&fault.message);
                    self.tell(Heard::Cut(fault.message));
                }
                Err(_) => {}
            }
        }
    }

    async fn listen(&self, on: &Worked, session: &dyn Session, seen: &mut Seen) -> Stop {
        let cmd = on.adapt(logs::logs(&self.ask, &seen.resume()));
        let (into, pieces) = channel(PIECES);
        let pull = async {
            let end = session.pull(&cmd, &into).await;
            drop(into);
            end
        };
        let mut reader = Reader::default();
        let end = {
            let read = self.read(pieces, &mut reader, seen);
            tokio::pin!(pull, read);
            tokio::select! {
                early = &mut read => match early {
                    Some(stop) => return stop,
                    None => pull.await,
                },
                // What is on the way is read to its end.
                end = &mut pull => match read.await {
                    Some(stop) => return stop,
                    None => end,
                },
            }
        };
        // The half of a line that a cut leaves is not shown: it comes again as a whole.
        if end.is_ok() {
            let mut said = Vec::new();
            reader.finish(&mut said);
            if !self.show(said, seen).await {
                return Stop::Nobody;
            }
        }
        stop_of(end)
    }

    /// Until the output ends, or a reason to stop before.
    async fn read(
        &self,
        mut pieces: Receiver<Vec<u8>>,
        reader: &mut Reader,
        seen: &mut Seen,
    ) -> Option<Stop> {
        let patience = if self.ask.follow { SILENCE } else { PATIENCE };
        loop {
            let mut said = Vec::new();
            match timeout(patience, pieces.recv()).await {
                Ok(Some(piece)) => reader.take(&piece, &mut said),
                Ok(None) => return None,
                Err(_) => {
                    let why = format!("nothing was heard for {} s", patience.as_secs());
                    return Some(Stop::Cut(SessionError::Lost(why)));
                }
            }
            if !self.show(said, seen).await {
                return Some(Stop::Nobody);
            }
        }
    }

    async fn show(&self, said: Vec<Said>, seen: &mut Seen) -> bool {
        for line in said.into_iter().filter_map(|said| seen.take(said)) {
            if !self.pass(line).await {
                return false;
            }
        }
        true
    }

    /// Waits for room: a host that says more than is shown waits itself.
    async fn pass(&self, line: Line) -> bool {
        let weight = u32::try_from(weight(&line)).unwrap_or(u32::MAX);
        match self.room.acquire_many(weight).await {
            Ok(permit) => permit.forget(),
            Err(_) => return false,
        }
        self.into.send((self.client, Heard::Line(line))).is_ok()
    }

    fn tell(&self, heard: Heard) {
        // Nobody listens any more: nothing is to be told.
        let _ = self.into.send((self.client, heard));
    }
}

/// After so many attempts in vain.
fn pause(tries: usize) -> Duration {
    Duration::from_secs(PAUSES[tries.min(PAUSES.len() - 1)])
}

fn stop_of(end: Result<Pulled, SessionError>) -> Stop {
    match end {
        Ok(pulled) if pulled.exit.success() => Stop::Over,
        Ok(pulled) => {
            let said = crate::secret::clean_bytes(&pulled.stderr);
            let lines: Vec<&str> = said.lines().rev().take(3).collect();
            let said = lines.into_iter().rev().collect::<Vec<_>>().join("; ");
            Stop::Failed(if said.is_empty() { "its logs cannot be read".to_owned() } else { said })
        }
        Err(error) => Stop::Cut(error),
    }
}
