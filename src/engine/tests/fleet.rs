//! Many hosts at once: limits hold, one broken host is one broken host.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::*;
use super::rig::{Act, Doors, engine, job, kind, many, target};
use crate::event::{Event, ExitKind, Report};
use crate::shell::Cmd;
use tokio::sync::mpsc::UnboundedReceiver;

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("client-{n:04}"))
}

fn report(engine: &Engine, events: &mut UnboundedReceiver<Event>, clients: Vec<String>) -> (Report, usize) {
    let mut report = Report::default();
    let started = EventKind::RunStarted { verb: "update".into(), who: "a@b".into(), clients, machine: None };
    let (sender, mut first) = tokio::sync::mpsc::unbounded_channel();
    Emitter::new("run-1", sender, String::new).emit(None, started);
    report.fold(&first.try_recv().unwrap());
    let mut ends = 0;
    while let Ok(event) = events.try_recv() {
        ends += usize::from(matches!(event.kind, EventKind::HostFinished { .. }));
        report.fold(&event);
    }
    report.interrupted = engine.cancel.requested();
    (report, ends)
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_its_hosts_alone() {
    for during in ["probe", "build"] {
        let hosts = many(names(5), move |name, cmd| {
            (name == "client-0002" && kind(cmd) == during).then_some(Act::Panic)
        });
        let (engine, mut events) = engine(Arc::new(Doors { hosts, refused: Vec::new() }), 2);
        let survey = engine.survey(names(5).map(|name| job(&name, false, false)).collect()).await;
        assert_eq!(survey.hosts.len() + survey.ended, 5);
        engine.execute(survey.hosts, false).await;
        let (report, ends) = report(&engine, &mut events, names(5).collect());
        assert_eq!(ends, 5, "every host has one end, {during}");
        for host in &report.hosts {
            let broken = host.client == "client-0002";
            assert_eq!(matches!(host.outcome, Outcome::Changed { .. }), !broken, "{host:?}");
            assert_eq!(matches!(host.outcome, Outcome::Unknown { .. }), broken, "{host:?}");
        }
        assert_eq!(report.exit(), ExitKind::ClientFailed);
    }
}

/// Whoever asks many gets their answers in the order of the questions, one each.
#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_the_questions_whatever_happens() {
    let hosts = many(names(6), |name, _| match name {
        "client-0000" => Some(Act::Sleep(Duration::from_secs(5))),
        "client-0002" => Some(Act::Panic),
        _ => None,
    });
    let doors = Doors { hosts, refused: vec!["client-0004".into()] };
    let (engine, _events) = engine(Arc::new(doors), 3);
    let questions = names(6).map(|name| (target(&name), Cmd::new(["true"]))).collect();
    let answers = engine.ask(questions).await;
    let clients: Vec<&str> = answers.iter().map(|answer| answer.client.as_str()).collect();
    assert_eq!(clients, names(6).collect::<Vec<_>>());
    let well: Vec<bool> = answers.iter().map(|answer| answer.result.is_ok()).collect();
    assert_eq!(well, [true, true, false, true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_hosts_pass_through_at_most_so_many_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Counting {
        doors: Doors,
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }
    #[async_trait]
    impl Connector for Counting {
        async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, Fault> {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            self.doors.connect(target).await
        }
    }
    // One of them takes forever: it delays nobody, and is given up.
    let hosts =
        many(names(1000), |name, cmd| (name == "client-0500" && kind(cmd) == "build").then_some(Act::Never));
    let doors = Doors { hosts, refused: vec!["client-0007".into()] };
    let counting = Counting { doors, now, most: Arc::clone(&most) };
    let (mut engine, mut events) = engine(Arc::new(counting), 32);
    engine.limits.host = Some(Duration::from_secs(900));
    let jobs: Vec<Job> = names(1000).map(|name| job(&name, false, false)).collect();
    let began = tokio::time::Instant::now();
    let survey = engine.survey(jobs).await;
    assert_eq!((survey.hosts.len(), survey.ended), (999, 1));
    let order: Vec<String> = survey.hosts.iter().map(|host| host.job.target.name.clone()).collect();
    assert!(order.is_sorted(), "in the order of the registry");
    engine.execute(survey.hosts, false).await;
    assert!(began.elapsed() < Duration::from_secs(1000), "{:?}", began.elapsed());
    assert_eq!(most.load(Ordering::SeqCst), 32);
    let (report, ends) = report(&engine, &mut events, names(1000).collect());
    assert_eq!(ends, 1000);
    let changed = report.hosts.iter().filter(|host| matches!(host.outcome, Outcome::Changed { .. })).count();
    assert_eq!(changed, 998);
}
