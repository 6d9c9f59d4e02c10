//! Exit codes and what a report is folded to.

use super::*;

fn fault() -> Fault {
    Fault { step: "connect".into(), message: "refused".into(), lines: vec![], hint: None }
}

#[test]
fn the_exit_code_follows_the_outcomes() {
    let changed = Outcome::Changed { summary: String::new() };
    let gone = Outcome::Unreachable { fault: fault() };
    let locked = Outcome::Locked { holder: String::new(), expires: String::new() };
    let back = Outcome::RolledBack { fault: fault(), release: String::new() };
    let of = |list: &[&Outcome]| exit_of(list.iter().copied(), false);
    assert_eq!(of(&[&changed, &Outcome::Unchanged]), ExitKind::Ok);
    assert_eq!(of(&[&gone, &gone]), ExitKind::NoneReachable);
    assert_eq!(of(&[&gone, &changed]), ExitKind::ClientFailed);
    assert_eq!(of(&[&back, &changed]), ExitKind::ClientFailed);
    assert_eq!(of(&[&locked, &changed]), ExitKind::Locked);
    assert_eq!(of(&[&locked, &back]), ExitKind::ClientFailed);
    assert_eq!(exit_of([&changed].into_iter(), true), ExitKind::Interrupted);
}

#[test]
fn a_host_never_heard_of_again_is_not_called_well() {
    let mut report = Report::default();
    let started = EventKind::RunStarted {
        verb: "update".into(),
        who: "a@b".into(),
        clients: vec!["x".into()],
        machine: None,
    };
    report.fold(&Event {
        schema: SCHEMA.into(),
        at: String::new(),
        run: "r".into(),
        client: None,
        kind: started,
    });
    assert_eq!(report.exit(), ExitKind::ClientFailed);
}
