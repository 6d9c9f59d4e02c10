//! A dump on its way back to a real PostgreSQL over a real sshd, and a link that breaks in its middle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet::backup::{Opened, Repository, Shelf, Written};
use fleet::engine::Stock as _;
use fleet::ops::backup::restore::{Names, Parcel, count, load, make_database};
use fleet::shell::Cmd;
use fleet::ssh::{HostKeyPolicy, Output, Session, SessionError, connect};

use crate::rig::Rig;

/// Sends the dump of the newest snapshot; `watch` hears how many bytes were given so far.
async fn send(
    rig: &Rig,
    names: &Names,
    mut watch: impl FnMut(u64) + Send + 'static,
) -> Result<Output, SessionError> {
    let repository = Repository::open(&rig.place()).unwrap();
    let snapshot = repository.find("latest").unwrap();
    let browser = repository.browse().unwrap();
    let manifest = browser.manifest(&snapshot).unwrap();
    let path = manifest.database.as_ref().unwrap().path.clone();
    let opened = Opened { browser, snapshot, manifest, client: "ville-lyon".into() };
    let shelf = Shelf { opened: Some(opened), save: None };
    let session = connect(&rig.sshd.target(), HostKeyPolicy::AcceptNew).await.unwrap();
    let (sender, mut pieces) = tokio::sync::mpsc::channel(16);
    let giving = tokio::task::spawn_blocking(move || {
        shelf.give(&Parcel::Dump { path }, &sender, &mut |done, _| watch(done)).is_ok()
    });
    let sent = session.push(&load(&rig.database, names, true).as_root(), &mut pieces, None).await;
    drop(pieces);
    assert!(giving.await.unwrap() || sent.is_err(), "the snapshot is whole");
    sent
}

async fn exec(rig: &Rig, cmd: Cmd) -> Output {
    let session = connect(&rig.sshd.target(), HostKeyPolicy::AcceptNew).await.unwrap();
    let output = session.exec(&cmd.as_root(), None).await.unwrap();
    session.close().await;
    output
}

#[test]
fn a_link_that_breaks_while_a_dump_is_sent_leaves_nothing_of_it_and_the_next_one_finishes() {
    let rig = Arc::new(Rig::new(300_000));
    let (written, _) = rig.backup().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(cut_and_finished(&rig, written));
}

async fn cut_and_finished(rig: &Arc<Rig>, written: Written) {
    let rows = written.manifest.database.unwrap().rows;
    rig.server.ask("insert into demandes (text) values ('newer')");
    let names = Names::of(&rig.database.name, "20261120-101500-ab12");
    let filled =
        || rig.server.ask(&format!("select count(*) from pg_database where datname = '{}'", names.filling));
    assert!(exec(rig, make_database(&rig.database, &names, &[])).await.exit.success());
    assert_eq!(filled(), "1");
    let (cutter, mut cut) = (Arc::clone(rig), false);
    let sent = send(rig, &names, move |done| {
        if done > 4_000_000 && !cut {
            cut = true;
            cutter.sshd.cut();
        }
    });
    let error = sent.await.unwrap_err();
    assert!(matches!(error, SessionError::Lost(_)), "{error:?}");
    // What serves has what came since; of the other nothing is there, or it is still being given up.
    assert_eq!(rig.server.ask("select count(*) from demandes"), "300001");
    let busy = format!("select count(*) from pg_stat_activity where datname = '{}'", names.filling);
    let started = Instant::now();
    while rig.server.ask(&busy) != "0" {
        assert!(started.elapsed() < Duration::from_secs(60), "pg_restore hears of the cut");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let nothing = exec(rig, count(&rig.database, &names, &rows)).await;
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(!nothing.exit.success() && said.contains("\"demandes\" does not exist"), "{said}");

    // The next one begins anew, and is whole.
    assert!(exec(rig, make_database(&rig.database, &names, &[])).await.exit.success());
    let output = send(rig, &names, |_| {}).await.unwrap();
    assert!(output.exit.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted = exec(rig, count(&rig.database, &names, &rows)).await;
    assert!(counted.exit.success(), "{}", String::from_utf8_lossy(&counted.stderr));
    assert_eq!(rig.server.ask("select count(*) from demandes"), "300001");
    assert_eq!(filled(), "1");
}
