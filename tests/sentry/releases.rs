//! Releases and deploys: each once, whatever is lost or killed on the way, as the official client sees it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use fleet::secret::{Redactor, Secret};
use fleet::sentry::ledger::{Book, Deploy};
use fleet::sentry::telling::{Trees, tell};
use fleet::sentry::{Api, ApiError};

use super::stub::{Fault, ORG, Stub, TOKEN};

const VERSION: &str = "geoclic@1a2b3c4d5e6f";

fn api(stub: &Stub, limit: u64) -> Api {
    Api::new(&stub.url, Secret::from(TOKEN), Duration::from_secs(limit), |_| {})
}

/// What an update of these clients brought.
fn updated(state: &Path, version: &str, clients: &[&str]) {
    let mut book = Book::open(state).unwrap();
    for client in clients {
        let deploy = Deploy {
            org: ORG.to_owned(),
            project: "geoclic-api".to_owned(),
            version: version.to_owned(),
            environment: (*client).to_owned(),
            name: format!("20261120-141048-1ebfff {client}"),
            url: format!("https://{client}.example.fr"),
            started: "2026-11-20T14:10:48.120Z".to_owned(),
            finished: "2026-11-20T14:12:00.000Z".to_owned(),
            ..Deploy::default()
        };
        assert!(book.ledger.runs(client, true, deploy));
    }
    book.save().unwrap();
}

fn telling(stub: &Stub, state: &Path, trees: &Trees) -> anyhow::Result<()> {
    let mut book = Book::open(state).unwrap();
    let known = Secret::from("Poison-db-7Q2xK9");
    let redactor = Redactor::new([("DB_PASSWORD", &known)]);
    tell(&api(stub, 20), &mut book, trees, true, &redactor, &mut Vec::new())
}

fn waiting(state: &Path) -> usize {
    Book::open(state).unwrap().ledger.waiting().count()
}

const TOWNS: [&str; 5] = ["brest", "lyon", "nantes", "quimper", "vannes"];

#[test]
fn a_release_is_made_once_and_each_client_is_one_deploy() {
    let (stub, dir) = (Stub::start(), tempfile::tempdir().unwrap());
    updated(dir.path(), VERSION, &TOWNS);
    for _ in 0..3 {
        telling(&stub, dir.path(), &Trees::default()).unwrap();
    }
    updated(dir.path(), VERSION, &["zuydcoote"]);
    telling(&stub, dir.path(), &Trees::default()).unwrap();
    assert_eq!(stub.count("POST /api/0/organizations/acme/releases/geoclic%401a2b3c4d5e6f/deploys/"), 6);
    let state = stub.state();
    let release = &state.releases[VERSION];
    assert_eq!((release.projects.as_slice(), release.finalised), (&["geoclic-api".to_owned()][..], 1));
    let mut environments: Vec<_> =
        release.deploys.iter().map(|one| one["environment"].as_str().unwrap()).collect();
    environments.sort_unstable();
    assert_eq!(environments, ["brest", "lyon", "nantes", "quimper", "vannes", "zuydcoote"]);
    assert_eq!(release.deploys[5]["url"], "https://zuydcoote.example.fr");
    assert_eq!(
        state.requests.iter().filter(|(line, _)| line == "POST /api/0/organizations/acme/releases/").count(),
        1
    );
}

#[test]
fn an_answer_that_is_lost_makes_no_second_deploy() {
    let (stub, dir) = (Stub::start(), tempfile::tempdir().unwrap());
    updated(dir.path(), VERSION, &TOWNS);
    stub.state().fault = Fault::LostAnswer;
    telling(&stub, dir.path(), &Trees::default()).unwrap_err();
    let there = stub.state().releases[VERSION].deploys.len();
    assert!(there > 0 && waiting(dir.path()) == 5, "{there} are there, and none is known to be");
    // As after a kill between the call and its note: the server is asked, page by page.
    stub.state().fault = Fault::None;
    telling(&stub, dir.path(), &Trees::default()).unwrap();
    let state = stub.state();
    let mut names: Vec<_> =
        state.releases[VERSION].deploys.iter().map(|one| one["name"].to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), state.releases[VERSION].deploys.len()), (5, 5), "{names:?}");
    drop(state);
    assert_eq!(waiting(dir.path()), 0);
}

#[test]
fn a_release_whose_note_is_lost_is_found_and_not_finalised_again() {
    let (stub, dir) = (Stub::start(), tempfile::tempdir().unwrap());
    updated(dir.path(), VERSION, &["lyon"]);
    telling(&stub, dir.path(), &Trees::default()).unwrap();
    let spoils: [fn(&mut Book); 2] = [
        // Killed after the release was made, and after it was finalised.
        |book| book.ledger.releases.clear(),
        |book| book.ledger.releases.values_mut().for_each(|release| release.finalised = false),
    ];
    for (n, spoil) in spoils.iter().enumerate() {
        let mut book = Book::open(dir.path()).unwrap();
        spoil(&mut book);
        book.save().unwrap();
        drop(book);
        updated(dir.path(), VERSION, &[TOWNS[n * 2]]);
        telling(&stub, dir.path(), &Trees::default()).unwrap();
        let state = stub.state();
        let release = &state.releases[VERSION];
        assert_eq!((release.finalised, release.deploys.len(), state.releases.len()), (1, 2 + n, 1));
    }
}

#[test]
fn what_cannot_be_told_waits_and_says_why() {
    let (stub, dir) = (Stub::start(), tempfile::tempdir().unwrap());
    updated(dir.path(), VERSION, &TOWNS);
    for (fault, words) in [
        (Fault::Status(500), "500"),
        (Fault::Status(403), "may not"),
        (Fault::Status(401), "does not accept the token"),
    ] {
        stub.state().fault = fault;
        let error = telling(&stub, dir.path(), &Trees::default()).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{fault:?}: {error:#}");
        assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
        assert_eq!(waiting(dir.path()), 5, "{fault:?}");
    }
    let scope = ApiError::Scope {
        at: String::new(),
        what: String::new(),
        scope: "project:releases".to_owned(),
        said: String::new(),
    };
    assert!(scope.hint().contains("project:releases"));
    // A server that is silent costs the limit.
    stub.state().fault = Fault::Silent;
    let began = std::time::Instant::now();
    let mut book = Book::open(dir.path()).unwrap();
    let told =
        tell(&api(&stub, 2), &mut book, &Trees::default(), true, &Redactor::default(), &mut Vec::new());
    assert!(told.is_err() && began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(book);
    stub.state().fault = Fault::None;
    telling(&stub, dir.path(), &Trees::default()).unwrap();
    assert_eq!((waiting(dir.path()), stub.state().releases[VERSION].deploys.len()), (0, 5));
}

#[test]
fn what_is_refused_for_good_keeps_no_other_waiting() {
    let (stub, dir) = (Stub::start(), tempfile::tempdir().unwrap());
    updated(dir.path(), VERSION, &["lyon"]);
    let mut book = Book::open(dir.path()).unwrap();
    let lost = Deploy {
        org: "nobody".to_owned(),
        version: "a@1".to_owned(),
        project: "x".to_owned(),
        ..Deploy::default()
    };
    assert!(book.ledger.runs("brest", true, lost));
    let mut warnings = Vec::new();
    tell(&api(&stub, 20), &mut book, &Trees::default(), true, &Redactor::default(), &mut warnings).unwrap();
    assert_eq!(book.ledger.waiting().count(), 0);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].0.starts_with("Sentry was not told of a@1, and will not be: "), "{warnings:?}");
    assert_eq!(stub.state().releases[VERSION].deploys.len(), 1);
}

fn git(tree: &Path, words: &[&str]) {
    let own = ["-c", "user.name=Jean", "-c", "user.email=jean@example.fr", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").arg("-C").arg(tree).args(own).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_release_brings_the_commits_since_the_last_one_and_nothing_secret() {
    let (stub, dir, tree) = (Stub::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    git(tree.path(), &["init", "-q"]);
    for (version, messages) in
        [("geoclic@1", &["first"][..]), ("geoclic@2", &["second", "third: Poison-db-7Q2xK9"][..])]
    {
        for message in messages {
            std::fs::write(tree.path().join("main.py"), message).unwrap();
            git(tree.path(), &["add", "."]);
            git(tree.path(), &["commit", "-qm", message]);
        }
        let mut trees = Trees::default();
        trees.add(ORG, "geoclic", version, tree.path().to_owned());
        updated(dir.path(), version, &["lyon"]);
        telling(&stub, dir.path(), &trees).unwrap();
    }
    let state = stub.state();
    let of = |version: &str| -> Vec<&str> {
        state.releases[version].commits.iter().map(|one| one["message"].as_str().unwrap()).collect()
    };
    assert_eq!(of("geoclic@1"), ["first"]);
    assert_eq!(of("geoclic@2"), ["third: [secret DB_PASSWORD]", "second"]);
    assert!(!format!("{:?}", state.requests).contains("Poison-db"));
}

/// The official client, told nothing but where the server is.
fn sentry_cli(stub: &Stub, dir: &Path, words: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/sentry-cli/bin/sentry-cli");
    assert!(program.exists(), "{} is missing: `scripts/test.sh --fast` installs it", program.display());
    let mut command = Command::new(program);
    command.args(words).current_dir(dir).env_clear().env("HOME", dir).env("PATH", "/usr/bin:/bin");
    command.env("SENTRY_URL", &stub.url).env("SENTRY_AUTH_TOKEN", TOKEN).env("SENTRY_ORG", ORG);
    command.env("SENTRY_PROJECT", "geoclic-api");
    command.output().unwrap()
}

#[test]
fn the_official_client_makes_the_same_requests_and_reads_what_was_told() {
    let (stub, dir) = (Stub::start(), tempfile::tempdir().unwrap());
    updated(dir.path(), VERSION, &["lyon"]);
    telling(&stub, dir.path(), &Trees::default()).unwrap();
    let ours: Vec<(String, String)> = std::mem::take(&mut stub.state().requests);
    let ok = |words: &[&str]| {
        let output = sentry_cli(&stub, dir.path(), words);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {said}");
        said
    };
    // It reads what fleet wrote.
    let said = ok(&["deploys", "list", "--release", VERSION]);
    assert!(said.contains("lyon") && said.contains("20261120-141048-1ebfff lyon"), "{said}");
    ok(&["releases", "info", VERSION]);
    // It writes what fleet writes.
    stub.state().requests.clear();
    ok(&["releases", "new", "geoclic@7"]);
    ok(&["releases", "finalize", "geoclic@7"]);
    ok(&[
        "deploys",
        "new",
        "--release",
        "geoclic@7",
        "--env",
        "lyon",
        "--name",
        "x",
        "--url",
        "https://lyon.example.fr",
        "--started",
        "2026-11-20T14:10:48Z",
        "--finished",
        "2026-11-20T14:12:00Z",
    ]);
    let theirs = stub.state().requests.clone();
    let fields = |(_, body): &(String, String)| -> Vec<String> {
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        json.as_object().unwrap().keys().cloned().collect()
    };
    let made = |all: &[(String, String)], method: &str, end: &str| -> (String, Vec<String>) {
        let found = all.iter().find(|(line, _)| line.starts_with(method) && line.ends_with(end));
        let found = found.unwrap_or_else(|| panic!("{method} {end}: {all:?}"));
        (found.0.clone(), fields(found))
    };
    for (method, end) in [("POST", "/releases/"), ("PUT", "/"), ("POST", "/deploys/")] {
        let (our_line, our_fields) = made(&ours, method, end);
        let (their_line, their_fields) = made(&theirs, method, end);
        assert_eq!(
            our_line.replace("geoclic%401a2b3c4d5e6f", "V"),
            their_line.replace("geoclic%407", "V").replace("geoclic@7", "V")
        );
        let known: Vec<&String> = our_fields.iter().filter(|field| their_fields.contains(field)).collect();
        assert!(!known.is_empty(), "{method} {end}: ours {our_fields:?}, theirs {their_fields:?}");
        if end == "/deploys/" {
            assert_eq!(
                our_fields.iter().collect::<std::collections::BTreeSet<_>>(),
                their_fields.iter().collect()
            );
        }
    }
    assert!(stub.state().releases["geoclic@7"].released.is_some());
}
