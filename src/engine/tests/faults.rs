//! Steps that fail, hosts that go away, and what each comes to.

use super::rig::{Act, Rig, kind};
use crate::event::{ExitKind, Outcome};
use crate::ssh::Answer;

fn failing(wanted: &'static str, answer: Answer) -> Rig {
    Rig::with("older-release", move |host| host.when(move |cmd| kind(cmd) == wanted, answer.clone(), None))
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_ends_the_host_with_its_last_lines() {
    let lines: String = (1..=40).map(|n| format!("line {n}\n")).collect();
    let mut rig = failing("pull", Answer::fail(1, lines));
    rig.update().await;
    insta::assert_debug_snapshot!(rig.outcome());
    let ran = rig.ran();
    assert!(!ran.contains(&"migrate") && !ran.contains(&"commit") && !ran.contains(&"up"), "{ran:?}");
    assert_eq!(ran.last(), Some(&"give lease back"));
    assert_eq!(rig.exit(), ExitKind::ClientFailed);
}

#[tokio::test(start_paused = true)]
async fn what_our_script_says_is_the_message() {
    let mut rig =
        failing("migrate", Answer::fail(69, "noise\nfleet: the database container is not running\n"));
    rig.update().await;
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!(fault.message, "the database container is not running");
    assert_eq!(fault.lines, ["noise"]);
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_on_the_host_is_said_as_such() {
    let mut rig = failing("build", Answer::fail(124, "still building"));
    rig.update().await;
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!(
        (fault.step.as_str(), fault.message.as_str()),
        ("build api", "not finished within 1800 s on the host")
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_or_a_silent_host_is_unknown_and_never_failed() {
    use std::time::Duration;
    for answer in [Answer::Lost("broken pipe".into()), Answer::TimedOut(Duration::from_secs(900))] {
        let mut rig = failing("up", answer);
        rig.update().await;
        let Outcome::Unknown { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
        assert!(fault.hint.unwrap().contains("run the same command again"));
        assert!(!rig.ran().contains(&"mark failed"), "nothing is undone while nobody knows what is");
        assert_eq!(rig.exit(), ExitKind::ClientFailed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_reached_or_asked_is_unreachable() {
    let mut rig = Rig::unreachable();
    rig.update().await;
    assert!(matches!(rig.outcome(), Outcome::Unreachable { .. }));
    assert_eq!(rig.exit(), ExitKind::NoneReachable);
    let mut rig = failing("probe", Answer::Lost("reset".into()));
    rig.update().await;
    assert!(matches!(rig.outcome(), Outcome::Unreachable { .. }), "{:?}", rig.outcome());
    assert_eq!(rig.ran(), ["probe"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_or_a_login_without_sudo_is_named() {
    let said = "one\ntwo\nsudo: a password is required\n";
    for (stderr, wanted) in [(said, "no sudo without a password"), ("", "cut short")] {
        let mut rig = Rig::acting(
            "current",
            |script| script,
            move |cmd| (kind(cmd) == "probe").then(|| Act::Die(stderr.into())),
        );
        rig.update().await;
        let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
        assert!(fault.message.contains(wanted), "{fault:?}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(fault.lines, lines, "in the order in which they were said");
    }
}

/// The gate waits, gives up, shows what the service said, and the release before comes back.
#[tokio::test(start_paused = true)]
async fn a_gate_that_never_opens_brings_the_release_before_back() {
    let bad = super::healthy().replace("api running healthy", "api running unhealthy");
    let mut rig = Rig::with("older-release", move |host| {
        // As often as the gate looks before its time is over; then the undo's own gate is asked.
        host.when(|cmd| kind(cmd) == "health", Answer::ok(bad.clone()), Some(92)).when(
            |cmd| kind(cmd) == "logs",
            Answer::ok("Traceback\n\u{1b}[31mKeyError: 'X'\n"),
            None,
        )
    });
    rig.update().await;
    insta::assert_debug_snapshot!(rig.outcome());
    let ran = rig.ran();
    let after: Vec<&str> = ran.iter().copied().skip_while(|kind| *kind != "mark failed").collect();
    assert_eq!(after[0], "mark failed");
    assert_eq!(after[after.len() - 2..], ["commit", "give lease back"], "{after:?}");
    assert_eq!(rig.exit(), ExitKind::ClientFailed);
}

#[tokio::test(start_paused = true)]
async fn a_restart_loop_is_not_waited_for_and_a_failing_undo_is_said() {
    let after = |restarts: u32| {
        super::healthy().replace("api running healthy 0", &format!("api restarting none {restarts}"))
    };
    // The four that were there at the first look are not held against the release.
    let (first, bad) = (after(4), after(7));
    let mut rig = Rig::with("older-release", move |host| {
        host.when(|cmd| kind(cmd) == "health", Answer::ok(first.clone()), Some(1)).when(
            |cmd| kind(cmd) == "health",
            Answer::ok(bad.clone()),
            None,
        )
    });
    rig.update().await;
    insta::assert_debug_snapshot!(rig.outcome());
}

/// What a service answers or prints may hold what it was given.
#[tokio::test(start_paused = true)]
async fn a_gates_reasons_and_logs_are_masked() {
    use base64::Engine as _;
    let secret = crate::plan::tests::wish::SECRET;
    let body = format!(r#"{{"database":{{"status":"{secret}"}}}}"#);
    let body = base64::engine::general_purpose::STANDARD.encode(body);
    let bad: String =
        super::healthy()
            .lines()
            .map(|line| {
                if line.starts_with("http\t") {
                    format!("http\tapi 200 {body}\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
    let mut rig = Rig::with("older-release", move |host| {
        let logs =
            format!("FATAL: password \u{1b}[1m{secret}\u{1b}[0m refused\np0is0n\u{1b}[m-D8-password-7Q\n");
        host.when(|cmd| kind(cmd) == "health", Answer::ok(bad.clone()), None).when(
            |cmd| kind(cmd) == "logs",
            Answer::ok(logs),
            None,
        )
    });
    rig.update().await;
    let told = rig.told();
    assert!(!told.contains(secret), "{told}");
    assert!(told.contains("[secret DB_PASSWORD]"), "{told}");
}

/// What a killed run left is told, and its lease is taken when the journal proves it dead.
#[tokio::test(start_paused = true)]
async fn what_is_taken_over_is_said_and_a_command_that_goes_on_is_in_the_way() {
    let lease = r#"{"holder":"bob@desk\u001b[2J","run":"r2","verb":"update","expires":1794000000}"#;
    let mut rig = Rig::with("older-release", move |host| {
        host.when(|cmd| kind(cmd) == "take lease", Answer::ok(lease), None)
    });
    rig.update().await;
    assert!(matches!(rig.outcome(), Outcome::Changed { .. }), "{:?}", rig.outcome());
    let told = rig.told();
    assert!(told.contains("update of bob@desk ended here without giving its lease back (run r2)"), "{told}");

    let mut rig = Rig::with("older-release", move |host| {
        let busy = Answer::Output { code: 76, stdout: lease.into(), stderr: String::new() };
        host.when(|cmd| kind(cmd) == "take lease", busy, None)
    });
    rig.update().await;
    assert_eq!(rig.ran(), ["probe", "take lease"], "nothing is given back that is not held");
    assert_eq!(rig.exit(), ExitKind::Locked);
    let Outcome::Locked { holder, .. } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!(holder, "run r2 of bob@desk, which ended while a command of it goes on here");
}

/// Whoever takes a host over must be able to wait for what runs there: each step holds a lock.
#[tokio::test(start_paused = true)]
async fn each_command_of_a_step_holds_the_lock_of_the_work() {
    let mut rig = Rig::new("older-release");
    rig.update().await;
    for cmd in rig.host().ran() {
        let holds = cmd.line().contains("flock -s /run/fleet/geoclic.work ");
        let looks = matches!(kind(&cmd), "probe" | "take lease" | "give lease back" | "health");
        assert_eq!(holds, !looks, "{}", cmd.line());
    }
    let dead = std::sync::Arc::new(vec!["20261120-101500-dead".to_owned()]);
    let job = crate::engine::Job { dead, ..rig.job() };
    let survey = rig.engine.survey(vec![job]).await;
    rig.engine.execute(survey.hosts, false).await;
    let host = rig.host();
    let take = host.ran().into_iter().rfind(|cmd| kind(cmd) == "take lease").unwrap();
    assert!(String::from_utf8_lossy(take.input().bytes()).contains("dead=20261120-101500-dead"));
}
