//! The JSON of each kind of event, which programs of others read.

use super::*;

/// One event of each kind, and one end of each outcome.
pub(crate) fn one_of_each() -> Vec<Event> {
    let fault = Fault {
        step: "build api".into(),
        message: "exit code 1".into(),
        lines: vec!["error: no space left on device".into()],
        hint: Some("free some space".into()),
    };
    let bare = Fault { step: "connect".into(), message: "refused".into(), lines: vec![], hint: None };
    let done = |outcome| EventKind::HostFinished { outcome, seconds: 1.5 };
    let kinds = vec![
        EventKind::RunStarted {
            verb: "update".into(),
            who: "marie@atelier".into(),
            clients: vec!["ville-lyon".into()],
            machine: Some("5b3f0c1d2e4a6978".into()),
        },
        EventKind::HostStarted,
        EventKind::HostConnected { host_key: "SHA256:AAAA".into(), recorded: true, seconds: 0.25 },
        EventKind::StagePlanned { stage: "prepare".into(), steps: 7, release: Some("9f2c41d07b3e".into()) },
        EventKind::StepStarted { stage: "prepare".into(), step: "push source".into(), index: 2, total: 7 },
        EventKind::StepProgress { done: 1024, total: Some(4096) },
        EventKind::StepProgress { done: 1024, total: None },
        EventKind::Output { stream: OutputStream::Stderr, line: "pulling nginx:1.29".into() },
        EventKind::StepFinished { step: "push source".into(), seconds: 2.5, result: StepResult::Done },
        EventKind::ImageBuilding { image: "shop/api:0a1b2c".into(), platform: "linux/amd64".into() },
        EventKind::ImageBuilt {
            image: "shop/api:0a1b2c".into(),
            platform: "linux/amd64".into(),
            seconds: 12.5,
            layers: 7,
            bytes: 51_200_000,
        },
        EventKind::ServiceAway { service: "worker".into(), seconds: 4.25 },
        EventKind::Warning { message: "the disk is nearly full".into(), hint: Some("free some".into()) },
        done(Outcome::Unchanged),
        done(Outcome::Changed { summary: "release 9f2c41d07b3e".into() }),
        done(Outcome::Failed { fault: fault.clone() }),
        done(Outcome::RolledBack { fault, release: "5e6f7a8b9c0d".into() }),
        done(Outcome::Unreachable { fault: bare.clone() }),
        done(Outcome::Unknown { fault: bare }),
        done(Outcome::skipped("interrupted before \"commit\"")),
        done(Outcome::Locked { holder: "bob@desk".into(), expires: "1794000000".into() }),
        EventKind::RunFinished { exit: 1, seconds: 12.5 },
    ];
    kinds
        .into_iter()
        .map(|kind| {
            let whole = matches!(
                kind,
                EventKind::RunStarted { .. }
                    | EventKind::RunFinished { .. }
                    | EventKind::ImageBuilding { .. }
                    | EventKind::ImageBuilt { .. }
            );
            Event {
                schema: SCHEMA.into(),
                at: "2026-11-20T10:15:00.000Z".into(),
                run: "20261120-101500-ab12".into(),
                client: (!whole).then(|| "ville-lyon".into()),
                kind,
            }
        })
        .collect()
}

#[test]
fn each_kind_has_its_form() {
    let lines: Vec<String> =
        one_of_each().iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn each_reads_back_as_it_was() {
    for event in one_of_each() {
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
    }
}

/// A new kind or outcome does not compile here until it is among those above.
#[test]
fn none_is_forgotten() {
    let (mut kinds, mut outcomes) = ([false; 14], [false; 8]);
    for event in one_of_each() {
        let kind = match event.kind {
            EventKind::RunStarted { .. } => 0,
            EventKind::HostStarted => 1,
            EventKind::HostConnected { .. } => 2,
            EventKind::StagePlanned { .. } => 3,
            EventKind::StepStarted { .. } => 4,
            EventKind::StepProgress { .. } => 5,
            EventKind::Output { .. } => 6,
            EventKind::StepFinished { .. } => 7,
            EventKind::Warning { .. } => 8,
            EventKind::RunFinished { .. } => 9,
            EventKind::ImageBuilding { .. } => 11,
            EventKind::ImageBuilt { .. } => 12,
            EventKind::ServiceAway { .. } => 13,
            EventKind::HostFinished { outcome, .. } => {
                let outcome = match outcome {
                    Outcome::Unchanged => 0,
                    Outcome::Changed { .. } => 1,
                    Outcome::Failed { .. } => 2,
                    Outcome::RolledBack { .. } => 3,
                    Outcome::Unreachable { .. } => 4,
                    Outcome::Unknown { .. } => 5,
                    Outcome::Skipped { .. } => 6,
                    Outcome::Locked { .. } => 7,
                };
                outcomes[outcome] = true;
                10
            }
        };
        kinds[kind] = true;
    }
    assert_eq!((kinds, outcomes), ([true; 14], [true; 8]));
}
