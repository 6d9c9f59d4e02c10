use super::super::style::tests::look;
use super::*;
use crate::event::Fault;

fn fault(step: &str, message: &str, lines: &[&str], hint: Option<&str>) -> Fault {
    Fault {
        step: step.to_owned(),
        message: message.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        hint: hint.map(str::to_owned),
    }
}

fn docker(lines: &[&str]) -> Outcome {
    let hint = Some("wait for the other package manager to end, then run the same command again");
    Outcome::Failed { fault: fault("install docker", "apt-get ended with status 100", lines, hint) }
}

fn gone() -> Outcome {
    let hint = Some("is the server on, and does its firewall let you in?");
    Outcome::Unreachable { fault: fault("connect", "no answer on port 22 within 10 s", &[], hint) }
}

fn changed() -> Outcome {
    Outcome::Changed { summary: "release 20261120-101500 serves".to_owned() }
}

fn report<S: Into<String>>(hosts: impl IntoIterator<Item = (S, Outcome)>) -> Report {
    let hosts = hosts.into_iter().map(|(client, outcome)| HostReport {
        client: client.into(),
        outcome,
        seconds: 41.4,
        recorded_host_key: None,
        warnings: Vec::new(),
        away: Vec::new(),
    });
    Report {
        run: "20261120-101500-a1".to_owned(),
        verb: "update".to_owned(),
        hosts: hosts.collect(),
        seconds: 48.2,
        ..Report::default()
    }
}

fn names(range: std::ops::RangeInclusive<usize>) -> impl Iterator<Item = String> {
    range.map(|at| format!("client-{at:03}"))
}

/// Every line must fit, and a summary never outgrows its screen by more than its totals.
fn shown(report: &Report, look: &Look) -> String {
    let text = summary(report, look, false);
    for line in text.lines() {
        assert!(text::width(line) <= look.width, "{} columns: {line}", text::width(line));
        assert_eq!(line, line.trim_end());
    }
    assert!(text.lines().count() <= look.rows.max(20), "{} lines\n{text}", text.lines().count());
    text
}

#[test]
fn all_went_well() {
    let report = report([("client-1", changed()), ("client-2", changed()), ("client-3", Outcome::Unchanged)]);
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @"
    ✓ client-1  changed           41 s  release 20261120-101500 serves
    ✓ client-2  changed           41 s  release 20261120-101500 serves
    = client-3  unchanged         41 s

    3 clients: 2 changed, 1 unchanged in 48 s (fleet runs show 20261120-101500-a1)
    ");
    insta::assert_snapshot!(summary(&report, &look(80, 24), true), @"3 clients: 2 changed, 1 unchanged in 48 s (fleet runs show 20261120-101500-a1)");
}

#[test]
fn nothing_to_do_is_one_line() {
    let report = report(names(1..=37).map(|name| (name, Outcome::Unchanged)));
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @"37 clients: 37 unchanged in 48 s (fleet runs show 20261120-101500-a1)");
}

#[test]
fn one_failed() {
    let lines = ["Reading package lists...", "E: Could not get lock /var/lib/dpkg/lock-frontend"];
    let report = report([("client-1", changed()), ("client-2", docker(&lines)), ("client-3", changed())]);
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @r#"
    ✗ client-2 failed at "install docker" after 41 s
        apt-get ended with status 100
        │ Reading package lists...
        │ E: Could not get lock /var/lib/dpkg/lock-frontend
        next: wait for the other package manager to end, then run the same command
              again

    ✓ client-1  changed           41 s  release 20261120-101500 serves
    ✓ client-3  changed           41 s  release 20261120-101500 serves

    3 clients: 2 changed, 1 failed in 48 s (fleet runs show 20261120-101500-a1)
    "#);
}

#[test]
fn one_alone_has_no_table() {
    insta::assert_snapshot!(shown(&report([("client-1", docker(&["E: no"]))]), &look(80, 24)), @r#"
    ✗ client-1 failed at "install docker" after 41 s
        apt-get ended with status 100
        │ E: no
        next: wait for the other package manager to end, then run the same command
              again

    1 client: 1 failed in 48 s (fleet runs show 20261120-101500-a1)
    "#);
    insta::assert_snapshot!(shown(&report([("client-1", changed())]), &look(80, 24)), @"1 client: 1 changed in 48 s (fleet runs show 20261120-101500-a1)");
}

#[test]
fn every_outcome_has_its_words() {
    let health =
        || fault("wait until healthy", "GET /api/health answered 503", &["connection refused"], None);
    let report = report([
        ("lyon", changed()),
        ("brest", Outcome::Unchanged),
        ("nantes", docker(&[])),
        ("toulouse", Outcome::RolledBack { fault: health(), release: "20261113-0900".to_owned() }),
        ("lille", gone()),
        ("dijon", Outcome::Unknown { fault: health() }),
        ("nice", Outcome::skipped("2 clients failed (--max-failures 2)".to_owned())),
        ("rennes", Outcome::Locked { holder: "paul@desk".to_owned(), expires: "10:20:00".to_owned() }),
    ]);
    insta::assert_snapshot!(shown(&report, &look(80, 50)), @r#"
    ✗ nantes failed at "install docker" after 41 s
        apt-get ended with status 100
        next: wait for the other package manager to end, then run the same command
              again

    ↶ toulouse rolled back at "wait until healthy" after 41 s
        GET /api/health answered 503
        20261113-0900 serves again
        │ connection refused

    ? dijon unknown at "wait until healthy" after 41 s
        GET /api/health answered 503
        │ connection refused

    ✗ lille unreachable after 41 s
        no answer on port 22 within 10 s
        next: is the server on, and does its firewall let you in?

    # rennes locked after 41 s
        the lease is held by paul@desk until 10:20:00
        next: wait until then, or look at it with `fleet lock`

    - nice   skipped           41 s  2 clients failed (--max-failures 2)
    ✓ lyon   changed           41 s  release 20261120-101500 serves
    = brest  unchanged         41 s

    8 clients: 1 changed, 1 unchanged, 1 failed, 1 rolled back, 1 unknown,
      1 unreachable, 1 locked, 1 skipped in 48 s
      (fleet runs show 20261120-101500-a1)
    "#);
    // On a small screen, each fault is one line.
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @r#"
    ✗ nantes    failed            41 s  install docker: apt-get ended with status 1…
    ↶ toulouse  rolled back       41 s  to 20261113-0900 after "wait until healthy"…
    ? dijon     unknown           41 s  wait until healthy: GET /api/health answere…
    ✗ lille     unreachable       41 s  no answer on port 22 within 10 s
    # rennes    locked            41 s  by paul@desk until 10:20:00
    next: wait for the other package manager to end, then run the same command again
    next: is the server on, and does its firewall let you in?
    next: wait until then, or look at it with `fleet lock`

    - nice   skipped           41 s  2 clients failed (--max-failures 2)
    ✓ lyon   changed           41 s  release 20261120-101500 serves
    = brest  unchanged         41 s

    8 clients: 1 changed, 1 unchanged, 1 failed, 1 rolled back, 1 unknown,
      1 unreachable, 1 locked, 1 skipped in 48 s
      (fleet runs show 20261120-101500-a1)
    "#);
}

#[test]
fn forty_of_three_hundred_failed_in_the_same_way() {
    let all = names(1..=300).enumerate().map(|(at, name)| match at % 15 {
        0 => (name, docker(&["E: Could not get lock"])),
        1 => (name, gone()),
        2 => (name, Outcome::Unchanged),
        _ => (name, changed()),
    });
    insta::assert_snapshot!(shown(&report(all), &look(80, 24)), @r#"
    ✗ 20 clients failed at "install docker"
        client-001, client-016, client-031, client-046, client-061 and 15 more
        apt-get ended with status 100
        │ E: Could not get lock
        next: wait for the other package manager to end, then run the same command
              again

    ✗ 20 clients unreachable
        client-002, client-017, client-032, client-047, client-062 and 15 more
        no answer on port 22 within 10 s
        next: is the server on, and does its firewall let you in?

    ✗  20 failed       client-001, client-016, client-031, client-046 and 16 more
    ✗  20 unreachable  client-002, client-017, client-032, client-047 and 16 more
    ✓ 240 changed      release 20261120-101500 serves: client-004 and 239 more
    =  20 unchanged    client-003, client-018, client-033, client-048 and 16 more

    300 clients: 240 changed, 20 unchanged, 20 failed, 20 unreachable in 48 s
      (fleet runs show 20261120-101500-a1)
    "#);
}

#[test]
fn forty_of_three_hundred_failed_each_in_its_own_way() {
    let all = names(1..=300).enumerate().map(|(at, name)| match at {
        ..40 => {
            let message = format!("api: GET /api/health answered {} for 60 s", 500 + at);
            let hint = Some("see what it says: `fleet logs --service api --since 5m`");
            (name, Outcome::Failed { fault: fault("wait until healthy", &message, &["a", "b"], hint) })
        }
        _ => (name, changed()),
    });
    let report = report(all);
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @"
    ✗ client-001  failed  wait until healthy: api: GET /api/health answered 500 for…
    ✗ client-002  failed  wait until healthy: api: GET /api/health answered 501 for…
    ✗ client-003  failed  wait until healthy: api: GET /api/health answered 502 for…
    ✗ client-004  failed  wait until healthy: api: GET /api/health answered 503 for…
    ✗ client-005  failed  wait until healthy: api: GET /api/health answered 504 for…
    ✗ client-006  failed  wait until healthy: api: GET /api/health answered 505 for…
    ✗ client-007  failed  wait until healthy: api: GET /api/health answered 506 for…
    ✗ client-008  failed  wait until healthy: api: GET /api/health answered 507 for…
    ✗ client-009  failed  wait until healthy: api: GET /api/health answered 508 for…
    ✗ client-010  failed  wait until healthy: api: GET /api/health answered 509 for…
    ✗ client-011  failed  wait until healthy: api: GET /api/health answered 510 for…
    ✗ client-012  failed  wait until healthy: api: GET /api/health answered 511 for…
    ✗ client-013  failed  wait until healthy: api: GET /api/health answered 512 for…
    ✗ client-014  failed  wait until healthy: api: GET /api/health answered 513 for…
    ✗ client-015  failed  wait until healthy: api: GET /api/health answered 514 for…
    ✗ client-016  failed  wait until healthy: api: GET /api/health answered 515 for…
    … and 24 more, each in `fleet runs show 20261120-101500-a1`
    next: see what it says: `fleet logs --service api --since 5m`

    ✗  40 failed       client-001, client-002, client-003, client-004 and 36 more
    ✓ 260 changed      release 20261120-101500 serves: client-041 and 259 more

    300 clients: 260 changed, 40 failed in 48 s (fleet runs show 20261120-101500-a1)
    ");
    // A log has more room than a screen, but is not endless either.
    let log = Look { terminal: false, clip: false, ..look(80, 50) };
    let text = summary(&report, &log, false);
    assert!(text.lines().count() <= 50, "{text}");
    assert!(text.contains("… and 20 more, each in `fleet runs show 20261120-101500-a1`"), "{text}");
}

#[test]
fn few_faults_show_more_of_what_the_hosts_printed() {
    let lines: Vec<String> = (1..=40).map(|at| format!("line {at}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let shows = |count: usize, rows: usize| {
        let hosts = (0..count).map(|at| {
            let fault = fault("build", &format!("ended with status {at}"), &lines, None);
            (format!("client-{at}"), Outcome::Failed { fault })
        });
        summary(&report(hosts), &look(80, rows), false).matches("│ line").count() / count
    };
    assert_eq!((shows(1, 24), shows(3, 50), shows(3, 24), shows(8, 50)), (12, 12, 3, 3));
}

#[test]
fn sixty_columns_and_names_beyond_ascii() {
    let mut report = report([
        ("saint-étienne-sur-mer", changed()),
        (
            "東京都千代田区永田町一丁目",
            docker(&["E: とても長い行はここで切られます。とても長い行はここで切られます。"]),
        ),
        ("a", Outcome::Unchanged),
    ]);
    report.hosts[0].recorded_host_key = Some(format!("SHA256:{}", "vJ4w".repeat(10)));
    report.hosts[0].warnings.push((
        "the disk is 91 % full and this sentence goes on beyond the end of the line".to_owned(),
        Some("free some space".to_owned()),
    ));
    insta::assert_snapshot!(shown(&report, &look(60, 40)), @r#"
    ✗ 東京都千代田区永田町一丁目 failed at "install docker" aft…
        apt-get ended with status 100
        │ E: とても長い行はここで切られます。とても長い行はここ…
        next: wait for the other package manager to end, then
              run the same command again

    ✓ saint-étienne-sur-m…  changed           41 s  release 202…
    = a                     unchanged         41 s

    1 new host key recorded in known_hosts:
      saint-étienne-sur-m…  SHA256:vJ4wvJ4wvJ4wvJ4wvJ4wvJ4wvJ4w…

    ! saint-étienne-sur-mer: the disk is 91 % full and this
      sentence goes on beyond the end of the line
      next: free some space

    3 clients: 1 changed, 1 unchanged, 1 failed in 48 s
      (fleet runs show 20261120-101500-a1)
    "#);
}

#[test]
fn ascii_and_plain_forms_keep_every_word() {
    let report = report([("client-1", changed()), ("client-2", docker(&["E: no"])), ("client-3", gone())]);
    let ascii = Look { unicode: false, ..look(80, 40) };
    insta::assert_snapshot!(shown(&report, &ascii), @r#"
    x client-2 failed at "install docker" after 41 s
        apt-get ended with status 100
        | E: no
        next: wait for the other package manager to end, then run the same command
              again

    x client-3 unreachable after 41 s
        no answer on port 22 within 10 s
        next: is the server on, and does its firewall let you in?

    + client-1  changed           41 s  release 20261120-101500 serves

    3 clients: 1 changed, 1 failed, 1 unreachable in 48 s
      (fleet runs show 20261120-101500-a1)
    "#);
    let plain = Look { plain: true, ..ascii };
    insta::assert_snapshot!(shown(&report, &plain), @r#"
    client-2 failed at "install docker" after 41 s
        apt-get ended with status 100
        | E: no
        next: wait for the other package manager to end, then run the same command
              again

    client-3 unreachable after 41 s
        no answer on port 22 within 10 s
        next: is the server on, and does its firewall let you in?

    client-1  changed           41 s  release 20261120-101500 serves

    3 clients: 1 changed, 1 failed, 1 unreachable in 48 s
      (fleet runs show 20261120-101500-a1)
    "#);
}

#[test]
fn warnings_and_host_keys_are_said_once_and_folded() {
    let mut report = report(names(1..=30).map(|name| (name, Outcome::Unchanged)));
    for (at, host) in report.hosts.iter_mut().enumerate() {
        host.recorded_host_key = Some(format!("SHA256:{at:043}"));
        host.warnings.push(("the clock is 4 s behind".to_owned(), Some("is chrony running?".to_owned())));
    }
    report.warnings.push(("the journal cannot be written: the disk is full".to_owned(), None));
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @"
    30 new host keys recorded in known_hosts:
      client-001  SHA256:0000000000000000000000000000000000000000000
      client-002  SHA256:0000000000000000000000000000000000000000001
      client-003  SHA256:0000000000000000000000000000000000000000002
      client-004  SHA256:0000000000000000000000000000000000000000003
      … and 26 more

    ! the journal cannot be written: the disk is full
    ! client-001, client-002 and 28 more: the clock is 4 s behind
      next: is chrony running?

    30 clients: 30 unchanged in 48 s (fleet runs show 20261120-101500-a1)
    ");
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let mut report =
        report([("client-1", changed()), ("client-2", Outcome::skipped("interrupted".to_owned()))]);
    report.interrupted = true;
    insta::assert_snapshot!(shown(&report, &look(80, 24)), @"
    - client-2  skipped           41 s  interrupted
    ✓ client-1  changed           41 s  release 20261120-101500 serves

    2 clients: 1 changed, 1 skipped in 48 s, interrupted
      (fleet runs show 20261120-101500-a1)
    next: run the same command again; it goes on where it was
    ");
}

#[test]
fn a_thousand_faults_fit_the_screen_too() {
    let hosts = (0..1000).map(|at| {
        let fault = fault("build", &format!("status {at}"), &["x"], None);
        (format!("client-{at}"), Outcome::Failed { fault })
    });
    shown(&report(hosts), &look(80, 24));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let report = report([("client-1", changed()), ("client-2", docker(&["E: no"])), ("client-3", gone())]);
    let colored = summary(&report, &Look { color: true, ..look(80, 24) }, false);
    assert!(colored.contains("\u{1b}[32m") && colored.contains("\u{1b}[31m"));
    let bare: String = colored.lines().map(|line| text::flat(line) + "\n").collect();
    assert_eq!(bare, summary(&report, &look(80, 24), false));
}
