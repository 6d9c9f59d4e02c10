//! The only spawner: connects to hosts, executes plans, emits events.
//!
//! It decides nothing about what to do on a host: that is in the plan. It decides when: how many
//! at once, how long, and what a fault on one host means for that host. Each host that enters ends
//! in exactly one outcome, also when its task dies.

mod cancel;
mod emit;
mod host;
pub mod journal;
mod lease;
mod send;
mod step;
pub mod tail;
mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use cancel::{Cancel, Level};
pub use emit::Emitter;
pub use send::Stock;
pub use work::{Work, Worked};

use crate::event::{EventKind, Fault, Outcome};
use crate::facts::Facts;
use crate::plan::changes::Changes;
use crate::plan::{Desired, Stage, StagePlan};
use crate::secret::Redactor;
use crate::shell::Cmd;
use crate::ssh::{Output, Session, Sink, Stream, Target};

/// Makes sessions; the one place where the engine meets a transport.
#[async_trait]
pub trait Connector: Send + Sync {
    /// # Errors
    /// What is wrong with the connection and how to mend it.
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, Fault>;
}

/// One client to be worked on.
#[derive(Clone)]
pub struct Job {
    /// What the operator asked for, named in the lease.
    pub verb: &'static str,
    pub target: Target,
    pub desired: Arc<Desired>,
    pub stages: Vec<Stage>,
    /// Runs that are known to have ended: a lease of theirs is nobody's.
    pub dead: Arc<Vec<String>>,
    /// Masks this client's secrets in whatever its host prints.
    pub redactor: Arc<Redactor>,
    /// Refuse hosts that were never provisioned.
    pub needs_provision: bool,
    /// What a restore brings back, and where the client is saved first.
    pub stock: Option<Arc<dyn Stock>>,
    /// The client's secrets were made in this run: a host that serves already has others.
    pub first_secrets: bool,
}

/// A host that was looked at: its plan is made and nothing was touched.
pub struct Surveyed {
    pub job: Job,
    pub session: Arc<dyn Session>,
    pub facts: Facts,
    /// The first stage exactly, the later ones as they look from here.
    pub plans: Vec<StagePlan>,
    /// What a new release changes there, for whoever reads the plan.
    pub changes: Changes,
    started: Instant,
}

impl Surveyed {
    #[must_use]
    pub fn pending(&self) -> bool {
        self.plans.iter().any(|plan| !plan.steps.is_empty())
    }
}

/// Limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Hosts worked on at once.
    pub parallel: usize,
    /// Longest time of one host in one run, survey and execution each.
    pub host: Option<Duration>,
}

/// What one host said to [`Engine::ask`].
pub struct Answer {
    pub client: String,
    pub result: Result<Output, Outcome>,
    /// From the first packet to the whole answer.
    pub seconds: f64,
    /// When it was there, in seconds since the epoch.
    pub ended: i64,
}

/// Hears what hosts print: the place of the question, the stream, a piece that is no line.
pub type Hear = Arc<dyn Fn(usize, Stream, &[u8]) + Send + Sync>;

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What the survey of all hosts came to.
pub struct Survey {
    pub hosts: Vec<Surveyed>,
    /// Clients that have their outcome already.
    pub ended: usize,
}

/// Where each client stands in the order asked.
fn places(order: &[String]) -> HashMap<&str, usize> {
    order.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect()
}

#[derive(Clone)]
pub struct Engine {
    pub connector: Arc<dyn Connector>,
    pub emitter: Emitter,
    pub cancel: Cancel,
    pub limits: Limits,
}

impl Engine {
    /// Connects to every host and plans it. A host that cannot be reached or planned gets its
    /// outcome here and does not hold up the others.
    pub async fn survey(&self, jobs: Vec<Job>) -> Survey {
        let order: Vec<String> = jobs.iter().map(|job| job.target.name.clone()).collect();
        let jobs = jobs.into_iter().map(|job| (job.target.name.clone(), job)).collect();
        let found = self
            .each(jobs, |engine, job| async move {
                let name = job.target.name.clone();
                let started = Instant::now();
                match engine.limited(host::survey(&engine, job, started)).await {
                    Ok(surveyed) => Some(surveyed),
                    Err(outcome) => {
                        engine.finish(&name, outcome, started);
                        None
                    }
                }
            })
            .await;
        let total = order.len();
        let mut hosts: Vec<Surveyed> = found.into_iter().filter_map(Result::ok).flatten().collect();
        let place = places(&order);
        hosts.sort_by_key(|host| place.get(host.job.target.name.as_str()));
        Survey { ended: total - hosts.len(), hosts }
    }

    /// Executes the plans of surveyed hosts. With `recheck`, time passed since the survey (an
    /// operator read the plan): a host that changed meanwhile is refused.
    pub async fn execute(&self, hosts: Vec<Surveyed>, recheck: bool) {
        let hosts = hosts.into_iter().map(|host| (host.job.target.name.clone(), host)).collect();
        self.each(hosts, move |engine, host| async move {
            // What a wave waited for the ones before it is not its own time.
            let started = if host.pending() { Instant::now() } else { host.started };
            let name = host.job.target.name.clone();
            let session = Arc::clone(&host.session);
            let outcome = match engine.limited(host::execute(&engine, host, recheck)).await {
                Ok(outcome) | Err(outcome) => outcome,
            };
            session.close().await;
            engine.finish(&name, outcome, started);
        })
        .await;
    }

    /// Says one thing to each host and brings the answers back, in the order asked. Nothing is
    /// planned, no lease is taken: for commands that only look.
    pub async fn ask(&self, questions: Vec<(Target, Cmd)>) -> Vec<Answer> {
        self.ask_heard(questions, None).await
    }

    /// The same; what they print is heard as it comes, too.
    pub async fn ask_heard<Q: Into<Cmd> + Send + 'static>(
        &self,
        questions: Vec<(Target, Q)>,
        hear: Option<Hear>,
    ) -> Vec<Answer> {
        let order: Vec<String> = questions.iter().map(|(target, _)| target.name.clone()).collect();
        let numbered = questions.into_iter().enumerate();
        let questions =
            numbered.map(|(place, (target, question))| (target.name.clone(), (place, target, question)));
        let found = self
            .each(questions.collect(), move |engine, (place, target, question): (_, Target, Q)| {
                let hear = hear.clone();
                async move {
                    let started = Instant::now();
                    let mut sink =
                        hear.map(|hear| move |stream: Stream, chunk: &[u8]| hear(place, stream, chunk));
                    let sink = sink.as_mut().map(|sink| sink as Sink<'_>);
                    let result =
                        engine.limited(host::ask(&engine, &target, question.into(), sink, started)).await;
                    engine.answered(target, result, started)
                }
            })
            .await;
        // Whoever asked gets one answer a question, whatever happened.
        let none = |Died { client, seconds }| Answer { client, result: Err(died()), seconds, ended: now() };
        let mut answers: Vec<Answer> = found.into_iter().map(|answer| answer.unwrap_or_else(none)).collect();
        let place = places(&order);
        answers.sort_by_key(|answer| place.get(answer.client.as_str()));
        answers
    }

    /// The same with one host, whose output is seen as it comes.
    pub async fn listen(&self, target: Target, cmd: Cmd, sink: Sink<'_>) -> Answer {
        let started = Instant::now();
        let result = self.limited(host::ask(self, &target, cmd, Some(sink), started)).await;
        self.answered(target, result, started)
    }

    fn answered(&self, target: Target, result: Result<Output, Outcome>, started: Instant) -> Answer {
        let outcome = match &result {
            Ok(_) => Outcome::Unchanged,
            Err(outcome) => outcome.clone(),
        };
        self.finish(&target.name, outcome, started);
        Answer { client: target.name, result, seconds: started.elapsed().as_secs_f64(), ended: now() }
    }

    /// Gives hosts that will not be worked on their outcome and closes their connections.
    pub async fn dismiss(&self, hosts: Vec<Surveyed>, outcome: impl Fn(&Surveyed) -> Outcome) {
        for host in hosts {
            let outcome = outcome(&host);
            host.session.close().await;
            self.finish(&host.job.target.name, outcome, host.started);
        }
    }

    fn finish(&self, client: &str, outcome: Outcome, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        self.emitter.emit(Some(client), EventKind::HostFinished { outcome, seconds });
    }

    /// Applies the limit of a host; what runs out of time is unknown, not failed.
    async fn limited<T>(&self, work: impl Future<Output = Result<T, Outcome>>) -> Result<T, Outcome> {
        let Some(limit) = self.limits.host else { return work.await };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(Outcome::Unknown {
                fault: Fault {
                    step: "time limit".into(),
                    message: format!("not finished within {} s (--timeout)", limit.as_secs()),
                    lines: Vec::new(),
                    hint: Some("run the same command again: it finds out what is and goes on".into()),
                },
            })
        })
    }

    /// One task an item, at most `parallel` at once. A task that dies is its host's affair alone:
    /// that host gets an outcome here, since nobody else can give it one, and its name comes back.
    async fn each<I, T, F, Fut>(&self, items: Vec<(String, I)>, work: F) -> Vec<Result<T, Died>>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Fn(Engine, I) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let gate = Arc::new(Semaphore::new(self.limits.parallel.max(1)));
        let (mut tasks, mut names, started) = (JoinSet::new(), HashMap::new(), Instant::now());
        for (name, item) in items {
            let (gate, work, engine) = (Arc::clone(&gate), work.clone(), self.clone());
            let task = tasks.spawn(async move {
                let _permit = gate.acquire_owned().await;
                // Made when its turn comes: a thousand that wait hold no room for it.
                Box::pin(work(engine, item)).await
            });
            names.insert(task.id(), name);
        }
        let mut results = Vec::new();
        while let Some(result) = tasks.join_next_with_id().await {
            results.push(match result {
                Ok((_, value)) => Ok(value),
                Err(error) => {
                    let client = names.remove(&error.id()).unwrap_or_default();
                    self.finish(&client, died(), started);
                    Err(Died { client, seconds: started.elapsed().as_secs_f64() })
                }
            });
        }
        results
    }
}

/// A host whose task ended in a fault of ours.
struct Died {
    client: String,
    seconds: f64,
}

fn died() -> Outcome {
    Outcome::Unknown {
        fault: Fault {
            step: "fleet".into(),
            message: "the work on this host ended by a fault of fleet itself".into(),
            lines: Vec::new(),
            hint: Some("run the same command again: it finds out what is and goes on; and report it".into()),
        },
    }
}

#[cfg(test)]
pub(crate) mod tests;
