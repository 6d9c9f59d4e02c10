//! Images of this machine on their way to a host.

use sha2::{Digest as _, Sha256};

use super::rig::{CLIENT, Rig, job, kind};
use super::*;
use crate::ops::Layout;
use crate::ops::ship::Ship;
use crate::plan::{Action, Change, Step};
use crate::shell::hex;
use crate::ship::Store;

const TAG: &str = "geoclic/api:0a1b2c";

/// A store with one image of one layer, as a build leaves it.
fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let (layer, config) = ("a".repeat(64), r#"{"rootfs":{}}"#);
    let id = hex(&Sha256::digest(config));
    let record =
        format!(r#"{{"tag":"{TAG}","config":"{id}","layers":[{{"digest":"sha256:{layer}","size":3}}]}}"#);
    for (name, text) in [
        (format!("blobs/{layer}.tar.gz"), "abc"),
        (format!("blobs/{id}.json"), config),
        ("linux-amd64/geoclic-api-0a1b2c.json".to_owned(), record.as_str()),
    ] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let store = Store::new(dir.path());
    (dir, store)
}

fn surveyed(rig: &Rig, store: &Store, platform: &str) -> Surveyed {
    let ship = Ship {
        layout: Layout::new("geoclic"),
        store: store.dir().to_owned(),
        platform: platform.into(),
        lacking: vec![TAG.into()],
        all: vec![TAG.into()],
    };
    let step = Step {
        title: "ship images".into(),
        change: Change::Create,
        details: Vec::new(),
        action: Action::Ship(ship),
        hint: None,
    };
    Surveyed {
        job: Job { stages: vec![Stage::Prepare], ..job(CLIENT, false, false) },
        session: rig.host(),
        facts: Facts::default(),
        changes: Default::default(),
        plans: vec![StagePlan { stage: Stage::Prepare, steps: vec![step], undo: None }],
        started: Instant::now(),
    }
}

fn rig(answer: &str) -> Rig {
    let answer = Answer::ok(answer);
    Rig::with("current", move |host| host.when(|cmd| kind(cmd) == "shelf", answer.clone(), None))
}

#[tokio::test]
async fn the_host_is_asked_sent_and_told_to_load() {
    let (_dir, store) = store();
    let mut rig = rig("store docker\nend\n");
    rig.engine.execute(vec![surveyed(&rig, &store, "linux/amd64")], false).await;
    assert!(matches!(rig.outcome(), Outcome::Changed { .. }), "{:?}", rig.outcome());
    assert_eq!(rig.ran(), ["take lease", "shelf", "load", "give lease back"]);
    let pushed = rig.host().pushed();
    assert_eq!(pushed[0].destination, "/opt/geoclic/images");
    assert!(pushed[0].source.starts_with(store.dir()));
    assert!(!pushed[0].source.exists(), "what was put together for one host goes away");
    assert_eq!(rig.output(), ["1 of 1 layers, 0 bytes sent"]);
}

#[tokio::test]
async fn nothing_is_sent_when_the_answer_is_cut_or_the_image_is_gone() {
    let (_dir, store) = store();
    for (answer, platform, said) in [
        ("store docker\n", "linux/amd64", "does not say what it has"),
        ("store docker\nend\n", "linux/arm64", "is not on this machine any more"),
    ] {
        let mut rig = rig(answer);
        rig.engine.execute(vec![surveyed(&rig, &store, platform)], false).await;
        let Outcome::Failed { fault } = rig.outcome() else { panic!("{:?}", rig.outcome()) };
        assert!(fault.message.contains(said), "{}", fault.message);
        assert!(rig.host().pushed().is_empty());
    }
}
