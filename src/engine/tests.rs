//! Whole runs over sessions that exist here only: what is emitted, what is sent, how each ends.

mod faults;
mod fleet;
mod hooks;
mod output;
mod patience;
mod rig;
mod ship;

use self::rig::{Rig, healthy};
use super::*;
use crate::event::{ExitKind, Report};
use crate::ssh::Answer;

/// A host that was looked at and is to be changed, and the id of its run.
pub(crate) async fn surveyed() -> (Surveyed, String) {
    let mut rig = Rig::new("older-files");
    let mut survey = rig.survey().await;
    (survey.hosts.remove(0), "run-1".into())
}

/// The same with a wish of one's own, on one of the hosts of `tests/facts/`.
pub(crate) async fn surveyed_on(host: &str, alter: impl FnOnce(&mut Desired)) -> Surveyed {
    let rig = Rig::new(host);
    let mut desired = crate::plan::tests::wish::desired();
    alter(&mut desired);
    let job = Job { desired: Arc::new(desired.clone()), ..rig.job() };
    let mut found = rig.engine.survey(vec![job]).await.hosts.remove(0);
    found.job.target.name = desired.client;
    found
}

/// The happy path, event by event: prepare from the survey, rollout from a look of its own.
#[tokio::test(start_paused = true)]
async fn an_update_in_events() {
    let mut rig = Rig::new("older-release");
    rig.update().await;
    insta::assert_snapshot!(rig.told());
    assert_eq!(rig.exit(), ExitKind::Ok);
}

#[tokio::test(start_paused = true)]
async fn the_lease_comes_first_and_goes_last_and_the_session_is_closed() {
    let mut rig = Rig::new("older-release");
    rig.update().await;
    let kinds: Vec<&str> = rig.ran();
    assert_eq!(kinds[..2], ["probe", "take lease"], "nothing is done before the host is ours");
    assert_eq!(kinds.last(), Some(&"give lease back"));
    assert!(rig.host().closed());
    assert_eq!(rig.host().pushed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_as_wanted_is_not_even_leased() {
    let mut rig = Rig::new("current");
    rig.update().await;
    assert_eq!(rig.ran(), ["probe"]);
    assert_eq!(rig.outcome(), Outcome::Unchanged);
    assert!(rig.host().closed());
}

#[tokio::test(start_paused = true)]
async fn time_passed_and_the_host_changed() {
    for (later, wanted) in [("cut-in-commit", ExitKind::Refused), ("older-release", ExitKind::Ok)] {
        let mut rig = Rig::new("older-release");
        let survey = rig.survey().await;
        rig.now_the_host_is(later);
        rig.engine.execute(survey.hosts, true).await;
        assert_eq!(rig.exit(), wanted, "{later}: {:?}", rig.outcome());
        if wanted == ExitKind::Refused {
            assert_eq!(rig.ran(), ["probe", "take lease", "probe", "give lease back"]);
            insta::assert_debug_snapshot!(rig.outcome());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_lease_is_named_and_the_host_left_alone() {
    let mut rig = Rig::with("older-release", |host| {
        let lease = r#"{"holder":"bob@desk\u001b[2J","run":"r2","verb":"update","expires":1794000000}"#;
        let answer = Answer::Output { code: 75, stdout: lease.into(), stderr: String::new() };
        host.when(|cmd| rig::kind(cmd) == "take lease", answer, None)
    });
    rig.update().await;
    assert_eq!(rig.ran(), ["probe", "take lease"]);
    assert_eq!(
        rig.outcome(),
        Outcome::Locked { holder: "bob@desk".into(), expires: "2026-11-06T21:20:00Z".into() }
    );
    assert_eq!(rig.exit(), ExitKind::Locked);
}

#[tokio::test(start_paused = true)]
async fn refused_before_it_is_touched() {
    let mut bare = Rig::new("bare-debian-13");
    bare.needs_provision = true;
    bare.update().await;
    let mut strange = Rig::new("current");
    strange.first_secrets = true;
    strange.update().await;
    let mut edited = Rig::new("migration-edited");
    edited.update().await;
    for rig in [&mut bare, &mut strange, &mut edited] {
        assert_eq!(rig.ran(), ["probe"]);
        assert_eq!(rig.exit(), ExitKind::Refused);
    }
    insta::assert_debug_snapshot!([bare.outcome(), strange.outcome(), edited.outcome()]);
}

/// The report that is folded while the run goes on ends as the events say.
#[tokio::test(start_paused = true)]
async fn each_host_has_one_start_and_one_end() {
    let mut rig = Rig::new("older-release");
    rig.update().await;
    let events = rig.events();
    for wanted in ["host-started", "host-connected", "host-finished"] {
        let count = events.iter().filter(|event| rig::word(event) == wanted).count();
        assert_eq!(count, 1, "{wanted}");
    }
    let mut report = Report::default();
    events.iter().for_each(|event| report.fold(event));
    assert_eq!(report.exit(), ExitKind::Ok);
    assert!(healthy().contains("end\tok"));
}
