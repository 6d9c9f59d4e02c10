//! Time: cancellation, limits, leases that are renewed or lost.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::*;
use super::rig::{Act, Rig, kind};
use crate::event::ExitKind;
use crate::ssh::Answer;

/// Raises the level when a command of this kind comes by.
fn raising(when: &'static str, levels: usize, then: fn() -> Option<Act>) -> Rig {
    let cancel: Arc<std::sync::OnceLock<Cancel>> = Arc::default();
    let (shared, once) = (Arc::clone(&cancel), AtomicUsize::new(0));
    let mut rig = Rig::acting(
        "older-release",
        |script| script,
        move |cmd| {
            if kind(cmd) != when || once.fetch_add(1, Ordering::SeqCst) > 0 {
                return None;
            }
            for _ in 0..levels {
                shared.get().unwrap().raise();
            }
            then()
        },
    );
    cancel.set(rig.engine.cancel.clone()).ok().unwrap();
    rig.engine.limits.parallel = 1;
    rig
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_lets_the_step_end_and_starts_no_other() {
    let mut rig = raising("build", 1, || None);
    rig.update().await;
    let ran = rig.ran();
    assert_eq!(ran[ran.len() - 2..], ["build", "give lease back"]);
    let Outcome::Skipped { reason, .. } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!(reason, "interrupted before \"pull images\"; run the same command again to go on");
    assert_eq!(rig.exit(), ExitKind::Interrupted);
}

/// Between the first service and the commit point nobody stops a run on purpose.
#[tokio::test(start_paused = true)]
async fn the_first_signal_waits_for_the_commit_point() {
    let mut rig = raising("replace", 1, || None);
    rig.update().await;
    let ran = rig.ran();
    let after: Vec<&str> = ran.iter().copied().skip_while(|kind| *kind != "replace").collect();
    assert!(after.contains(&"up") && after.contains(&"commit"), "{after:?}");
    // It serves the new release, and that is what its outcome says.
    assert!(matches!(rig.outcome(), Outcome::Changed { .. }), "{:?}", rig.outcome());
}

#[tokio::test(start_paused = true)]
async fn the_second_signal_leaves_the_step_as_it_is() {
    let mut rig = raising("build", 2, || Some(Act::Never));
    rig.update().await;
    let Outcome::Unknown { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!((fault.step.as_str(), fault.message.as_str()), ("build api", "abandoned by the operator"));
    assert_eq!(rig.exit(), ExitKind::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn a_signal_before_a_host_is_begun_leaves_it_untouched() {
    let mut rig = Rig::new("older-release");
    let survey = rig.survey().await;
    rig.engine.cancel.raise();
    rig.engine.execute(survey.hosts, false).await;
    assert_eq!(rig.ran(), ["probe"]);
    assert!(matches!(rig.outcome(), Outcome::Skipped { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_takes_too_long_is_given_up_in_time() {
    for (stuck, parts) in [("build", "execute"), ("probe", "survey")] {
        let mut rig = Rig::acting(
            "older-release",
            |script| script,
            move |cmd| (kind(cmd) == stuck).then_some(Act::Never),
        );
        rig.engine.limits.host = Some(Duration::from_secs(300));
        let began = tokio::time::Instant::now();
        rig.update().await;
        let Outcome::Unknown { fault } = rig.outcome() else { panic!("{parts}: {:?}", rig.outcome()) };
        assert_eq!(fault.message, "not finished within 300 s (--timeout)");
        assert!(began.elapsed() < Duration::from_secs(302), "{parts}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_a_step_takes_its_time() {
    let mut rig = Rig::acting(
        "older-release",
        |script| script,
        |cmd| (kind(cmd) == "build").then_some(Act::Sleep(Duration::from_secs(200))),
    );
    rig.update().await;
    assert!(matches!(rig.outcome(), Outcome::Changed { .. }));
    let taken = |rig: &Rig| rig.ran().iter().filter(|kind| **kind == "take lease").count();
    // Once at the start, then every 45 s.
    assert_eq!(taken(&rig), 5);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(taken(&rig), 5, "nobody renews what was given back");
}

/// One renewal that fails is not the last one; one that finds another holder ends the run.
#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_took_over_ends_the_run() {
    let lease = r#"{"holder":"bob@desk","run":"r2","verb":"update","expires":1794000000}"#;
    let held = Answer::Output { code: 75, stdout: lease.into(), stderr: String::new() };
    let mut rig = Rig::acting(
        "older-release",
        move |script| {
            script
                .when(|cmd| kind(cmd) == "take lease", Answer::ok(""), Some(1))
                .when(|cmd| kind(cmd) == "take lease", Answer::TimedOut(Duration::from_secs(30)), Some(1))
                .when(|cmd| kind(cmd) == "take lease", Answer::fail(1, "disk full"), Some(1))
                .when(|cmd| kind(cmd) == "take lease", held.clone(), None)
        },
        |cmd| (kind(cmd) == "build").then_some(Act::Sleep(Duration::from_secs(200))),
    );
    rig.update().await;
    assert_eq!(
        rig.outcome(),
        Outcome::Locked { holder: "bob@desk".into(), expires: "2026-11-06T21:20:00Z".into() }
    );
    let ran = rig.ran();
    assert!(!ran.contains(&"pull") && !ran.contains(&"migrate"), "{ran:?}");
}

/// A gate's patience is counted in the run's own time.
#[tokio::test(start_paused = true)]
async fn a_gate_says_what_it_waits_for_once_and_not_at_every_look() {
    let bad = super::healthy().replace("tcp\tnginx open", "tcp\tnginx closed");
    let mut rig = Rig::with("older-release", move |host| {
        host.when(|cmd| kind(cmd) == "health", Answer::ok(bad.clone()), Some(20))
    });
    rig.update().await;
    assert_eq!(rig.output(), ["nginx does not listen on port 443"]);
    assert!(matches!(rig.outcome(), Outcome::Changed { .. }));
}
