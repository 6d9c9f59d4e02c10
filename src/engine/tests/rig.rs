//! A run over made-up hosts. What a command is for is read from its text.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::*;
use crate::event::{Event, ExitKind};
use crate::plan::tests::{hosts, wish};
use crate::secret::Secret;
use crate::ssh::{
    Answer, Exit, Progress, Pulled, Receiver, Rsync, Scripted, SessionError, Sink, Stream, Supply, Transfer,
};

pub const CLIENT: &str = "ville-lyon";

/// What a host does instead of answering from its script.
pub enum Act {
    /// These pieces of output, then this exit code.
    Say(Vec<(Stream, Vec<u8>)>, u32),
    /// Takes so long, then answers well.
    Sleep(Duration),
    /// Ends with this on standard error.
    Die(String),
    Never,
    Panic,
}

type Acts = dyn Fn(&Cmd) -> Option<Act> + Send + Sync;

/// A scripted host that can also be slow, chatty or broken.
pub struct Host {
    script: Scripted,
    acts: Box<Acts>,
    /// What it would answer a probe now.
    probe: Arc<Mutex<String>>,
}

impl std::ops::Deref for Host {
    type Target = Scripted;

    fn deref(&self) -> &Scripted {
        &self.script
    }
}

#[async_trait]
impl Session for Host {
    async fn exec(&self, cmd: &Cmd, sink: Option<Sink<'_>>) -> Result<Output, SessionError> {
        let fine = |stdout: Vec<u8>, code| {
            Ok(Output { exit: Exit::Code(code), stdout, stderr: Vec::new(), truncated: false })
        };
        match (self.acts)(cmd) {
            None if kind(cmd) == "probe" => {
                self.script.exec(cmd, None).await?;
                fine(self.probe.lock().unwrap().clone().into_bytes(), 0)
            }
            None => self.script.exec(cmd, sink).await,
            Some(Act::Say(pieces, code)) => {
                if let Some(sink) = sink {
                    pieces.iter().for_each(|(stream, bytes)| sink(*stream, bytes));
                }
                fine(Vec::new(), code)
            }
            Some(Act::Sleep(time)) => {
                tokio::time::sleep(time).await;
                fine(Vec::new(), 0)
            }
            Some(Act::Die(stderr)) => Ok(Output {
                exit: Exit::Code(1),
                stdout: Vec::new(),
                stderr: stderr.into_bytes(),
                truncated: false,
            }),
            Some(Act::Never) => std::future::pending().await,
            Some(Act::Panic) => panic!("on purpose"),
        }
    }

    async fn pull(&self, cmd: &Cmd, into: &Receiver) -> Result<Pulled, SessionError> {
        self.script.pull(cmd, into).await
    }

    async fn push(
        &self,
        cmd: &Cmd,
        from: &mut Supply,
        sink: Option<Sink<'_>>,
    ) -> Result<Output, SessionError> {
        self.script.push(cmd, from, sink).await
    }

    async fn rsync(&self, what: &Rsync, progress: Option<Progress<'_>>) -> Result<Transfer, SessionError> {
        self.script.rsync(what, progress).await
    }

    fn host_key(&self) -> (String, bool) {
        self.script.host_key()
    }

    async fn close(&self) {
        self.script.close().await;
    }
}

/// What a command is for.
pub fn kind(cmd: &Cmd) -> &'static str {
    let text = format!("{} {}", cmd.line(), String::from_utf8_lossy(cmd.input().bytes()));
    let known = [
        ("PACKAGES=", "probe"),
        ("flock -w 10 9\nsince=", "take lease"),
        ("grep -qF", "give lease back"),
        ("newest()", "health"),
        ("docker stop -t", "replace"),
        ("docker logs --tail", "logs"),
        ("RootFS.Layers", "shelf"),
        ("docker load", "load"),
        ("docker build", "build"),
        ("docker pull", "pull"),
        ("up --detach", "up"),
        ("pg_dump", "dump"),
        ("fleet_migrations", "migrate"),
        ("alter role", "password"),
        ("state.json.new", "commit"),
        (".failed", "mark failed"),
        ("config --quiet", "check"),
        ("mktemp", "put"),
    ];
    known.iter().find(|(part, _)| text.contains(part)).map_or("other", |(_, kind)| kind)
}

/// What a health gate is pleased with.
pub fn healthy() -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(r#"{"database":{"status":"ok"}}"#);
    format!(
        "container\t1 database running healthy 0 t i\ncontainer\t2 api running healthy 0 t i\n\
         container\t3 nginx running none 0 t i\nhttp\tapi 200 {body}\ntcp\tnginx open\n\
         front\tfront 200 {body}\nend\tok\n"
    )
}

/// The engine, its events, and the hosts that it meets.
pub struct Rig {
    pub engine: Engine,
    pub needs_provision: bool,
    pub first_secrets: bool,
    events: UnboundedReceiver<Event>,
    seen: Vec<Event>,
    hosts: Hosts,
    probe: Arc<Mutex<String>>,
}

type Hosts = Arc<Mutex<BTreeMap<String, Arc<Host>>>>;

/// Who answers for a target's name.
pub struct Doors {
    pub hosts: Hosts,
    pub refused: Vec<String>,
}

#[async_trait]
impl Connector for Doors {
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, Fault> {
        if self.refused.contains(&target.name) {
            return Err(Fault {
                step: "connect".into(),
                message: "connection refused".into(),
                lines: Vec::new(),
                hint: Some("is sshd running?".into()),
            });
        }
        let hosts = self.hosts.lock().unwrap();
        let host: Arc<dyn Session> = Arc::clone(&hosts[&target.name]) as _;
        Ok(host)
    }
}

pub fn target(name: &str) -> Target {
    Target {
        name: name.into(),
        host: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
        key: "/k".into(),
        known_hosts: "/h".into(),
        jump: None,
        agent: None,
        connect_timeout: Duration::from_secs(10),
        transport: Default::default(),
    }
}

impl Rig {
    /// One host whose commands all succeed.
    pub fn new(host: &str) -> Rig {
        Rig::with(host, |script| script)
    }

    /// The same after rules of the test's own.
    pub fn with(host: &str, rules: impl Fn(Scripted) -> Scripted) -> Rig {
        Rig::acting(host, rules, |_| None)
    }

    pub fn acting(
        host: &str,
        rules: impl Fn(Scripted) -> Scripted,
        acts: impl Fn(&Cmd) -> Option<Act> + Send + Sync + 'static,
    ) -> Rig {
        Rig::doors(host, rules, acts, Vec::new())
    }

    /// Refuses connections to the one host.
    pub fn unreachable() -> Rig {
        Rig::doors("current", |script| script, |_| None, vec![CLIENT.into()])
    }

    fn doors(
        host: &str,
        rules: impl Fn(Scripted) -> Scripted,
        acts: impl Fn(&Cmd) -> Option<Act> + Send + Sync + 'static,
        refused: Vec<String>,
    ) -> Rig {
        let probe = Arc::new(Mutex::new(hosts::text(host, &wish::desired())));
        let script = rules(Scripted::new().transfers(Transfer { changed: 1, ..Transfer::default() }))
            .when(|cmd| kind(cmd) == "health", Answer::ok(healthy()), None)
            .when(|_| true, Answer::ok(""), None);
        let one = Arc::new(Host { script, acts: Box::new(acts), probe: Arc::clone(&probe) });
        let hosts: Hosts = Arc::new(Mutex::new([(CLIENT.to_owned(), one)].into()));
        let (engine, events) = engine(Arc::new(Doors { hosts: Arc::clone(&hosts), refused }), 8);
        Rig { engine, needs_provision: false, first_secrets: false, events, seen: Vec::new(), hosts, probe }
    }

    pub fn host(&self) -> Arc<Host> {
        Arc::clone(&self.hosts.lock().unwrap()[CLIENT])
    }

    pub fn now_the_host_is(&mut self, host: &str) {
        *self.probe.lock().unwrap() = hosts::text(host, &wish::desired());
    }

    pub fn job(&self) -> Job {
        job(CLIENT, self.needs_provision, self.first_secrets)
    }

    pub async fn survey(&mut self) -> Survey {
        self.engine.survey(vec![self.job()]).await
    }

    pub async fn update(&mut self) {
        let survey = self.survey().await;
        self.engine.execute(survey.hosts, false).await;
    }

    pub fn events(&mut self) -> Vec<Event> {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        self.seen.clone()
    }

    /// The stream as lines, without times.
    pub fn told(&mut self) -> String {
        told(&self.events())
    }

    pub fn outcome(&mut self) -> Outcome {
        let mut found: Vec<Outcome> = self
            .events()
            .into_iter()
            .filter_map(|event| match event.kind {
                EventKind::HostFinished { outcome, .. } => Some(outcome),
                _ => None,
            })
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    pub fn exit(&mut self) -> ExitKind {
        crate::event::exit_of([self.outcome()].iter(), self.engine.cancel.requested())
    }

    pub fn output(&mut self) -> Vec<String> {
        let lines = self.events().into_iter().filter_map(|event| match event.kind {
            EventKind::Output { line, .. } => Some(line),
            _ => None,
        });
        lines.collect()
    }

    /// What each command so far was for.
    pub fn ran(&self) -> Vec<&'static str> {
        self.host().ran().iter().map(kind).collect()
    }
}

pub fn engine(connector: Arc<dyn Connector>, parallel: usize) -> (Engine, UnboundedReceiver<Event>) {
    let (sender, events) = unbounded_channel();
    let emitter = Emitter::new("run-1", sender, || "2026-11-20T10:15:00.000Z".into());
    let limits = Limits { parallel, host: None };
    (Engine { connector, emitter, cancel: Cancel::default(), limits }, events)
}

pub fn job(client: &str, needs_provision: bool, first_secrets: bool) -> Job {
    let secret = Secret::new(wish::SECRET.to_owned());
    Job {
        verb: "update",
        target: target(client),
        desired: Arc::new(wish::desired()),
        stages: vec![Stage::Prepare, Stage::Rollout],
        dead: Arc::default(),
        redactor: Arc::new(Redactor::new([("DB_PASSWORD", &secret)])),
        needs_provision,
        stock: None,
        first_secrets,
    }
}

pub fn word(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()
}

pub fn told(events: &[Event]) -> String {
    let mut out = String::new();
    for event in events {
        let mut value = serde_json::to_value(event).unwrap();
        let object = value.as_object_mut().unwrap();
        for key in ["schema", "at", "run", "seconds"] {
            object.shift_remove(key);
        }
        out.push_str(&value.to_string());
        out.push('\n');
    }
    out
}

/// A fleet of made-up hosts, all alike but for what each does.
pub fn many(
    names: impl Iterator<Item = String>,
    acts: impl Fn(&str, &Cmd) -> Option<Act> + Clone + Send + Sync + 'static,
) -> Hosts {
    let probe = Arc::new(Mutex::new(hosts::text("older-release", &wish::desired())));
    let hosts = names.map(|name| {
        let (acts, own) = (acts.clone(), name.clone());
        let script = Scripted::new()
            .transfers(Transfer::default())
            .when(|cmd| kind(cmd) == "health", Answer::ok(healthy()), None)
            .when(|_| true, Answer::ok(""), None);
        let act = Box::new(move |cmd: &Cmd| acts(&own, cmd));
        (name, Arc::new(Host { script, acts: act, probe: Arc::clone(&probe) }))
    });
    Arc::new(Mutex::new(hosts.collect()))
}
