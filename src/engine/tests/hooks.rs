//! Commands of the stack around the work on a client: here and on the host, well and ill.

use std::time::{Duration, Instant};

use super::super::*;
use super::rig::{Rig, kind};
use crate::event::{Event, ExitKind};
use crate::plan::hooks::Hooks;
use crate::plan::tests::wish;
use crate::shell::Cmd;
use crate::ssh::Answer;
use crate::stack::{Hook, HookPlace, HookPoint};

fn hook(point: HookPoint, place: HookPlace, words: &[&str], seconds: u64) -> Hook {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    Hook { point, place, command, timeout: Duration::from_secs(seconds) }
}

fn here(point: HookPoint, script: &str) -> Hook {
    hook(point, HookPlace::Local, &["sh", "-c", script], 20)
}

fn there(point: HookPoint) -> Hook {
    hook(point, HookPlace::Host, &["bin/hook"], 20)
}

async fn update(rig: &Rig, dir: &std::path::Path, hooks: &[Hook]) {
    let mut desired = wish::desired();
    desired.hooks = Hooks::of(hooks, "update", dir.to_owned());
    let stages = vec![Stage::Before, Stage::Prepare, Stage::Rollout, Stage::After];
    let job = Job { desired: Arc::new(desired), stages, ..rig.job() };
    let survey = rig.engine.survey(vec![job]).await;
    rig.engine.execute(survey.hosts, false).await;
}

/// Hosts that fail a hook of theirs with exit code 3.
fn failing(host: &str, point: &'static str) -> Rig {
    Rig::with(host, move |script| {
        let of = move |cmd: &Cmd| cmd.line().contains(&format!("FLEET_HOOK={point}"));
        script.when(of, Answer::fail(3, "no, said the hook\n"), None)
    })
}

fn warnings(events: &[Event]) -> Vec<String> {
    let found = events.iter().filter_map(|event| match &event.kind {
        EventKind::Warning { message, .. } => Some(message.clone()),
        _ => None,
    });
    found.collect()
}

#[tokio::test]
async fn a_hook_before_that_fails_here_leaves_the_client_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new("older-release");
    let script = format!("echo before $FLEET_CLIENT {}; echo ill >&2; exit 3", wish::SECRET);
    update(&rig, dir.path(), &[here(HookPoint::PreUpdate, &script)]).await;
    assert_eq!(rig.ran(), ["probe", "take lease", "give lease back"]);
    assert!(rig.host().pushed().is_empty());
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!((fault.step.as_str(), fault.message.as_str()), ("pre_update hook sh", "exit code 3"));
    let mut lines = fault.lines.clone();
    lines.sort();
    assert_eq!(lines, ["before ville-lyon [secret DB_PASSWORD]", "ill"]);
    assert_eq!(fault.hint.as_deref(), Some("nothing was changed on the client"));
    assert_eq!(rig.exit(), ExitKind::ClientFailed);
    assert!(!rig.told().contains(wish::SECRET));
}

#[tokio::test(start_paused = true)]
async fn a_hook_before_that_fails_there_leaves_the_client_untouched() {
    let mut rig = failing("older-release", "pre_update");
    update(&rig, "/".as_ref(), &[there(HookPoint::PreUpdate), there(HookPoint::PostUpdate)]).await;
    assert_eq!(rig.ran(), ["probe", "take lease", "other", "give lease back"]);
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!(fault.message, "exit code 3");
    assert_eq!(fault.lines, ["no, said the hook"]);
}

#[tokio::test]
async fn what_a_hook_here_is_told_and_where_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new("older-release");
    let write = "env | grep ^FLEET_ | sort >\"$FLEET_HOOK\"";
    let hooks = [HookPoint::PreUpdate, HookPoint::PostUpdate, HookPoint::OnFailure].map(|it| here(it, write));
    update(&rig, dir.path(), &hooks).await;
    let told = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let own = |text: String| {
        let known = |line: &&str| !line.starts_with("FLEET_LAB") && !line.starts_with("FLEET_TEST");
        text.lines().filter(known).map(|line| format!("{line}\n")).collect::<String>()
    };
    insta::assert_snapshot!(own(told("pre_update")), @"
    FLEET_CLIENT=ville-lyon
    FLEET_DOMAIN=ville-lyon.example.org
    FLEET_HOOK=pre_update
    FLEET_PREVIOUS_RELEASE=5e6f7a8b9c0d
    FLEET_RELEASE=9f2c41d07b3e
    FLEET_RUN=20261120-101500-ab12
    FLEET_STACK=geoclic
    FLEET_VERSION=v2.4.1
    FLEET_WHO=marie@atelier
    ");
    insta::assert_snapshot!(own(told("post_update")), @"
    FLEET_CLIENT=ville-lyon
    FLEET_DOMAIN=ville-lyon.example.org
    FLEET_HOOK=post_update
    FLEET_MESSAGE=
    FLEET_OUTCOME=changed
    FLEET_PREVIOUS_RELEASE=5e6f7a8b9c0d
    FLEET_RELEASE=9f2c41d07b3e
    FLEET_RUN=20261120-101500-ab12
    FLEET_STACK=geoclic
    FLEET_STEP=
    FLEET_VERSION=v2.4.1
    FLEET_WHO=marie@atelier
    ");
    assert!(!dir.path().join("on_failure").exists(), "nothing failed");
}

#[tokio::test(start_paused = true)]
async fn a_hook_after_that_fails_is_the_clients_fault_and_the_release_stays() {
    let mut rig = failing("older-release", "post_update");
    update(&rig, "/".as_ref(), &[there(HookPoint::PostUpdate), there(HookPoint::OnFailure)]).await;
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!((fault.step.as_str(), fault.message.as_str()), ("post_update hook hook", "exit code 3"));
    assert!(fault.hint.unwrap().contains("the new release serves"));
    let ran = rig.ran();
    assert!(ran.contains(&"commit") && !ran.contains(&"mark failed"), "{ran:?}");
    assert_eq!(rig.exit(), ExitKind::ClientFailed);
    let host = rig.host();
    let last = host.ran().iter().rfind(|cmd| kind(cmd) == "other").unwrap().line();
    assert!(last.contains("FLEET_HOOK=on_failure") && last.contains("FLEET_OUTCOME=failed"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_on_failure_is_told_what_happened_and_its_own_fault_hides_nothing() {
    let mut rig = Rig::with("older-release", |script| {
        let of = |cmd: &Cmd| cmd.line().contains("FLEET_HOOK=on_failure");
        let replace = |cmd: &Cmd| kind(cmd) == "replace";
        script.when(replace, Answer::fail(1, "fleet: it's broken\n"), Some(1)).when(
            of,
            Answer::fail(3, "no"),
            None,
        )
    });
    update(&rig, "/".as_ref(), &[there(HookPoint::OnFailure)]).await;
    let Outcome::RolledBack { fault, .. } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!((fault.step.as_str(), fault.message.as_str()), ("replace api", "it's broken"));
    assert_eq!(warnings(&rig.events()), ["on_failure hook hook failed too: exit code 3"]);
    let host = rig.host();
    let line = host.ran().iter().find(|cmd| cmd.line().contains("FLEET_HOOK")).unwrap().line();
    for part in ["'FLEET_OUTCOME=rolled back'", "'FLEET_STEP=replace api'", r"'FLEET_MESSAGE=it'\''s broken'"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(rig.ran().last(), Some(&"give lease back"), "the host is ours until the hook ended");
}

#[tokio::test]
async fn a_hook_that_does_not_end_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new("older-release");
    let script = "trap '' TERM; (trap '' TERM; sleep 61) & echo $! >child; echo waiting; wait";
    let endless = hook(HookPoint::PreUpdate, HookPlace::Local, &["sh", "-c", script], 1);
    let started = Instant::now();
    update(&rig, dir.path(), &[endless]).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert_eq!(fault.message, "not finished within 1 s");
    assert_eq!(fault.lines, ["waiting"]);
    let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    let gone = || stat().is_empty() || stat().contains(") Z ");
    // A signal takes a moment on a machine that is busy.
    while !gone() && started.elapsed() < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gone(), "it lives on: {}", stat());
}

#[tokio::test]
async fn a_hook_that_cannot_be_started_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new("older-release");
    update(&rig, dir.path(), &[hook(HookPoint::PreUpdate, HookPlace::Local, &["./no/such"], 5)]).await;
    let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
    assert!(fault.message.starts_with("cannot be started: No such file"), "{}", fault.message);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_to_be_done_no_hook_runs() {
    let mut rig = Rig::new("current");
    let all = [HookPoint::PreUpdate, HookPoint::PostUpdate, HookPoint::OnFailure].map(there);
    update(&rig, "/".as_ref(), &all).await;
    assert_eq!(rig.ran(), ["probe"]);
    assert_eq!(rig.outcome(), Outcome::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_hook_in_a_service_and_its_place_are_in_the_plan() {
    let rig = Rig::new("older-release");
    let mut desired = wish::desired();
    let inside =
        hook(HookPoint::PostUpdate, HookPlace::Service("api".into()), &["python", "-m", "app.warm up"], 60);
    desired.hooks = Hooks::of(&[inside], "update", "/".into());
    let stages = vec![Stage::Before, Stage::Prepare, Stage::Rollout, Stage::After];
    let job = Job { desired: Arc::new(desired), stages, ..rig.job() };
    let found = rig.engine.survey(vec![job]).await.hosts.remove(0);
    let last = found.plans.last().unwrap();
    assert_eq!(last.stage, Stage::After);
    assert_eq!(last.steps[0].details, ["in api: python -m 'app.warm up'"]);
    let crate::plan::Action::Run(cmd) = &last.steps[0].action else { panic!("{last:?}") };
    assert!(cmd.line().contains("docker exec --env=FLEET_HOOK=post_update"), "{}", cmd.line());
    assert_eq!(cmd.limit(), Some(Duration::from_secs(60)));
}
