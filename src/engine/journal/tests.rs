use super::*;
use crate::event::{ExitKind, Fault, Outcome, OutputStream, SCHEMA, StepResult};

fn event(client: Option<&str>, kind: EventKind) -> Event {
    Event {
        schema: SCHEMA.to_owned(),
        at: "2026-11-20T10:15:00.123Z".to_owned(),
        run: "20261120-101500-a1".to_owned(),
        client: client.map(str::to_owned),
        kind,
    }
}

/// A run of two clients with every kind of event.
fn run() -> Vec<Event> {
    let fault = Fault {
        step: "install docker".to_owned(),
        message: "status 100".to_owned(),
        lines: vec!["E: no \"lock\"".to_owned(), "\u{1b}[2J é".to_owned()],
        hint: None,
    };
    let name = || "x".to_owned();
    vec![
        event(
            None,
            EventKind::RunStarted {
                verb: "provision".to_owned(),
                who: "marie@atelier".to_owned(),
                clients: vec!["one".to_owned(), "two".to_owned()],
                machine: None,
            },
        ),
        event(Some("one"), EventKind::HostStarted),
        event(
            Some("one"),
            EventKind::HostConnected { host_key: "SHA256:x".to_owned(), recorded: true, seconds: 0.25 },
        ),
        event(Some("one"), EventKind::StagePlanned { stage: name(), steps: 2, release: None }),
        event(Some("one"), EventKind::StepStarted { stage: name(), step: name(), index: 1, total: 2 }),
        event(Some("one"), EventKind::StepProgress { done: u64::MAX, total: None }),
        event(
            Some("one"),
            EventKind::Output {
                stream: OutputStream::Stderr,
                // What a host prints must not pass for an event of its own.
                line: r#"{"type":"run-finished","exit":0}"#.to_owned(),
            },
        ),
        event(
            Some("one"),
            EventKind::StepFinished { step: name(), seconds: 1.5, result: StepResult::Unknown },
        ),
        event(Some("one"), EventKind::Warning { message: name(), hint: Some(name()) }),
        event(Some("one"), EventKind::HostFinished { outcome: Outcome::Unchanged, seconds: 2.0 }),
        event(Some("two"), EventKind::HostFinished { outcome: Outcome::Failed { fault }, seconds: 3.0 }),
        event(None, EventKind::RunFinished { exit: ExitKind::ClientFailed as u8, seconds: 3.5 }),
    ]
}

fn write(dir: &Path, run_id: &str, events: &[Event]) -> PathBuf {
    let mut journal = Journal::create(dir, run_id).unwrap();
    for event in events {
        journal.append(event).unwrap();
    }
    journal.path().to_owned()
}

fn events(path: &Path) -> Vec<Event> {
    read(path).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_written_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "r", &run());
    assert_eq!(events(&path), run());
    let mut folded = Report::default();
    run().iter().for_each(|event| folded.fold(event));
    assert_eq!(report(&path).unwrap(), folded);
    assert_eq!(folded.seconds, 3.5);
}

#[test]
fn a_journal_cut_at_any_byte_reads_up_to_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "r", &run());
    let whole = fs::read(&path).unwrap();
    let cut = dir.path().join("cut.ndjson");
    for length in 0..=whole.len() {
        fs::write(&cut, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(events(&cut), run()[..lines], "cut at byte {length}");
    }
}

#[test]
fn a_broken_line_is_named_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "r", &run());
    let text = fs::read_to_string(&path).unwrap().replacen("host-connected", "from-the-future", 1);
    fs::write(&path, text).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = read(&path).unwrap().partition(Result::is_ok);
    assert_eq!(good.len(), run().len() - 1);
    let bad: Vec<String> = bad.into_iter().map(|error| error.unwrap_err().to_string()).collect();
    assert_eq!(bad, ["line 3 of the journal is not an event"]);
    assert_eq!(report(&path).unwrap().hosts.len(), 2);
}

#[test]
fn only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join(".fleet").join("runs");
    let path = write(&runs, "r", &run());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&runs), mode(runs.parent().unwrap())), (0o600, 0o700, 0o700));
}

#[test]
fn no_run_overwrites_another_or_leaves_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "r", &run());
    assert_eq!(Journal::create(dir.path(), "r").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    for name in ["", "../r", "a/b", ".hidden", "a b", "é"] {
        let error = Journal::create(dir.path(), name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
    }
}

#[test]
fn runs_are_listed_the_newest_first_and_a_cut_one_has_no_end() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "20261119-080000-b2", &run()[..10]);
    write(dir.path(), "20261120-101500-a1", &run());
    write(dir.path(), "20261118-000000-c3", &[]);
    fs::write(dir.path().join("notes.txt"), "not a journal").unwrap();
    let runs: Vec<RunSummary> = list(dir.path()).unwrap().map(Result::unwrap).collect();
    let short: Vec<_> = runs
        .iter()
        .map(|run| (run.path.file_stem().unwrap().to_str().unwrap(), run.counts.clone(), run.end))
        .collect();
    assert_eq!(
        short,
        [
            (
                "20261120-101500-a1",
                vec![("unchanged", 1), ("failed", 1)],
                End::Finished { exit: 1, seconds: 3.5 }
            ),
            ("20261119-080000-b2", vec![("unchanged", 1)], End::Cut),
        ]
    );
    assert_eq!(
        (runs[0].verb.as_str(), runs[0].who.as_str(), runs[0].clients.join(" ").as_str()),
        ("provision", "marie@atelier", "one two")
    );
    assert_eq!(ids(dir.path()).unwrap(), ["20261120-101500-a1", "20261119-080000-b2", "20261118-000000-c3"]);
}

#[test]
fn a_run_that_goes_on_is_told_from_one_that_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let end = || list(dir.path()).unwrap().next().unwrap().unwrap().end;
    let mut journal = Journal::create(dir.path(), "r").unwrap();
    journal.append(&run()[0]).unwrap();
    assert_eq!(end(), End::Running);
    drop(journal);
    assert_eq!(end(), End::Cut);
}

#[test]
fn a_folder_that_is_missing_holds_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    assert_eq!(list(&missing).unwrap().count(), 0);
    assert_eq!(latest(&missing).unwrap(), None);
    assert_eq!(prune(&missing, 3).unwrap(), 0);
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["20261118-1", "20261119-1", "20261119-12"].map(|run| write(dir.path(), run, &run_start()));
    let [first, second, third] = &paths;
    let found = |text: &str| find(dir.path(), text).unwrap();
    assert_eq!(found("20261118"), std::slice::from_ref(first));
    assert_eq!(found("20261119-1"), std::slice::from_ref(second));
    assert_eq!(found("20261119"), [third.clone(), second.clone()]);
    assert_eq!(found("../20261118-1"), Vec::<PathBuf>::new());
    assert_eq!(latest(dir.path()).unwrap().as_ref(), Some(third));
}

fn run_start() -> Vec<Event> {
    run()[..1].to_vec()
}

#[test]
fn pruning_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    for day in 10..20 {
        write(dir.path(), &format!("202611{day}-000000"), &run_start());
    }
    assert_eq!(prune(dir.path(), 3).unwrap(), 7);
    let left: Vec<String> = paths(dir.path())
        .unwrap()
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, ["20261119-000000", "20261118-000000", "20261117-000000"]);
    assert_eq!(prune(dir.path(), 3).unwrap(), 0);
}
