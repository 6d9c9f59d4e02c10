//! Journals of a few runs, and what they say to the next.

use super::super::Journal;
use super::*;
use crate::event::{Fault, SCHEMA};

struct Runs(tempfile::TempDir);

fn fault(step: &str) -> Fault {
    Fault { step: step.into(), message: "exit code 1".into(), lines: vec![], hint: None }
}

fn failed(step: &str) -> Outcome {
    Outcome::Failed { fault: fault(step) }
}

impl Runs {
    fn new() -> Runs {
        Runs(tempfile::tempdir().unwrap())
    }

    /// A run of `lyon` and `brest`; what each came to, and with which release.
    fn run(&self, id: &str, verb: &str, ends: &[(&str, &str, Outcome)]) {
        self.begin(id, verb, machine(), |say| {
            for (client, release, outcome) in ends {
                let release = Some((*release).to_owned());
                say(Some(client), EventKind::StagePlanned { stage: "rollout".into(), steps: 1, release });
                let outcome = outcome.clone();
                say(Some(client), EventKind::HostFinished { outcome, seconds: 1.0 });
            }
            say(None, EventKind::RunFinished { exit: 1, seconds: 1.0 });
        });
    }

    fn begin(
        &self,
        id: &str,
        verb: &str,
        machine: Option<String>,
        tell: impl Fn(&mut dyn FnMut(Option<&str>, EventKind)),
    ) -> Journal {
        let mut journal = Journal::create(self.0.path(), id).unwrap();
        let mut say = |client: Option<&str>, kind| {
            let client = client.map(str::to_owned);
            let at = "2026-11-20T10:15:00.000Z".to_owned();
            journal.append(&Event { schema: SCHEMA.into(), at, run: id.into(), client, kind }).unwrap();
        };
        let clients = vec!["lyon".to_owned(), "brest".to_owned()];
        say(None, EventKind::RunStarted { verb: verb.into(), who: "marie@atelier".into(), clients, machine });
        tell(&mut say);
        journal
    }

    fn repeated(&self) -> BTreeMap<String, Repeated> {
        repeated(self.0.path(), "update", &clients()).unwrap()
    }
}

fn clients() -> BTreeSet<String> {
    ["lyon", "brest"].map(str::to_owned).into()
}

fn step(name: &str) -> EventKind {
    EventKind::StepStarted { stage: "prepare".into(), step: name.into(), index: 1, total: 2 }
}

#[test]
fn twice_alike_is_twice_in_a_row_at_one_step_with_one_release() {
    let runs = Runs::new();
    runs.run("1", "update", &[("lyon", "r1", failed("replace api")), ("brest", "r1", failed("pull images"))]);
    assert!(runs.repeated().is_empty(), "once is not twice");
    // What never came to the client, and another verb, is passed over.
    runs.run(
        "2",
        "update",
        &[("lyon", "r1", Outcome::skipped("not begun")), ("brest", "r1", failed(PLANNING))],
    );
    runs.run("3", "provision", &[("lyon", "r1", Outcome::Unchanged)]);
    let back = Outcome::RolledBack { fault: fault("replace api"), release: "r0".into() };
    runs.run("4", "update", &[("lyon", "r1", back.clone()), ("brest", "r1", failed("replace api"))]);
    let found = runs.repeated();
    let wanted =
        Repeated { release: "r1".into(), step: "replace api".into(), runs: ["4".into(), "1".into()] };
    assert_eq!(found, [("lyon".to_owned(), wanted)].into(), "brest failed elsewhere the second time");
    // Another release begins anew, and so does one that went well.
    runs.run("5", "update", &[("lyon", "r2", back), ("brest", "r1", failed("replace api"))]);
    assert_eq!(runs.repeated().keys().collect::<Vec<_>>(), ["brest"]);
    runs.run("6", "update", &[("brest", "r3", Outcome::Unchanged)]);
    runs.run("7", "update", &[("brest", "r1", failed("replace api"))]);
    assert!(runs.repeated().is_empty());
}

#[test]
fn a_run_that_was_cut_is_told_until_another_ended_what_it_began() {
    let runs = Runs::new();
    assert_eq!(cuts(runs.0.path(), &clients()).unwrap(), []);
    let open = runs.begin("1", "update", machine(), |say| {
        say(Some("lyon"), step("push source"));
        say(Some("lyon"), step("build api"));
        say(Some("brest"), EventKind::HostStarted);
    });
    assert_eq!(cuts(runs.0.path(), &clients()).unwrap(), [], "it goes on");
    drop(open);
    let found = cuts(runs.0.path(), &clients()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].run.as_str(), found[0].who.as_str()), ("1", "marie@atelier"));
    assert_eq!(found[0].clients, [("lyon".to_owned(), "build api".to_owned())], "brest was not touched");
    assert_eq!(cuts(runs.0.path(), &["brest".to_owned()].into()).unwrap(), []);
    runs.run("2", "update", &[("lyon", "r1", Outcome::skipped("no"))]);
    assert_eq!(cuts(runs.0.path(), &clients()).unwrap().len(), 1, "nobody came to it yet");
    runs.run("3", "provision", &[("lyon", "r1", failed("x"))]);
    assert_eq!(cuts(runs.0.path(), &clients()).unwrap(), []);
}

#[test]
fn only_what_ran_here_and_holds_no_journal_is_dead() {
    let runs = Runs::new();
    let dead = || dead(runs.0.path()).unwrap();
    assert!(dead().is_empty());
    let alive = runs.begin("1", "update", machine(), |_| {});
    drop(runs.begin("2", "update", Some("another machine".into()), |_| {}));
    drop(runs.begin("3", "update", None, |_| {}));
    drop(runs.begin("4", "update", machine(), |say| say(Some("lyon"), step("x"))));
    std::fs::write(runs.0.path().join("5.ndjson"), "torn").unwrap();
    assert_eq!(dead(), ["4"]);
    drop(alive);
    assert_eq!(dead(), ["4", "1"]);
    assert!(machine().is_some_and(|id| id.len() == 16));
}
