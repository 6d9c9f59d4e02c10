//! Facts and wishes in, steps out.
//!
//! The hosts are files below `tests/facts/`, the plans for each are snapshots, and a model of a host
//! carries plans out so that what a plan aims at can be planned again.

pub(crate) mod hosts;
mod model;
mod restoring;
mod safety;
pub(crate) mod wish;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::hooks::Hooks;
use super::{Action, BuiltHere, Change, Desired, Stage, plan, saved_first};
use crate::facts::Facts;

const STAGES: [Stage; 3] = [Stage::System, Stage::Prepare, Stage::Rollout];

/// All stages as they look from the facts, with the command lines that would be run.
fn shown(desired: &Desired, facts: &Facts) -> String {
    let mut out = String::new();
    for stage in STAGES {
        let _ = writeln!(out, "== {}", stage.name());
        match plan(stage, desired, facts) {
            Err(refusal) => {
                let _ = writeln!(out, "refused: {}\n   hint: {}", refusal.message, refusal.hint);
            }
            Ok(plan) => {
                plan.steps.iter().for_each(|step| out.push_str(&self::step(step)));
                if let Some(undo) = plan.undo {
                    let list = &plan.steps[undo.critical.clone()];
                    let titles: Vec<&str> = list.iter().map(|step| step.title.as_str()).collect();
                    let _ =
                        writeln!(out, "-- back to {} when one fails of: {}", undo.release, titles.join(", "));
                    undo.steps.iter().for_each(|step| out.push_str(&self::step(step)));
                }
            }
        }
    }
    out
}

fn step(step: &super::Step) -> String {
    let mark = match step.change {
        Change::Create => '+',
        Change::Modify => '~',
        Change::Destroy => '-',
        Change::Nothing => '.',
    };
    let mut out = format!("{mark} {}\n", step.title);
    for detail in &step.details {
        let _ = writeln!(out, "      {detail}");
    }
    match &step.action {
        Action::Run(cmd) => {
            let line = cmd.line();
            let (first, rest) = line.split_once('\n').unwrap_or((&line, ""));
            let _ = writeln!(out, "    $ {first}{}", if rest.is_empty() { "" } else { " ..." });
        }
        Action::Local(local) => {
            let _ = writeln!(out, "    here: {}", local.words.join(" "));
        }
        Action::Rsync(what) => {
            let _ = writeln!(out, "    rsync {what:?}");
        }
        Action::Ship(what) => {
            let _ = writeln!(out, "    ship {} of {}", what.lacking.join(" "), what.all.join(" "));
        }
        Action::Send(parcel, _) => {
            let _ = writeln!(out, "    send {parcel:?}");
        }
        Action::Save => {
            let _ = writeln!(out, "    save");
        }
        Action::Await(gate) => {
            let (seconds, services) = (gate.deadline.as_secs(), gate.services.len());
            let _ = writeln!(
                out,
                "    ask {services} services until {seconds} s, steady for {} s",
                gate.steady.as_secs()
            );
        }
    }
    if let Some(hint) = &step.hint {
        let _ = writeln!(out, "    hint: {hint}");
    }
    out
}

/// Every host of `tests/facts/` has its plan in a snapshot of its name.
#[test]
fn each_host_has_its_plan() {
    let desired = wish::desired();
    for name in hosts::NAMES {
        let facts = hosts::facts(name, &desired);
        insta::assert_snapshot!(*name, shown(&desired, &facts));
    }
}

#[test]
fn every_host_of_the_folder_is_planned() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/facts");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".txt", ""))
        .collect();
    files.sort();
    assert_eq!(files, hosts::NAMES);
}

#[test]
fn a_host_that_is_as_wanted_is_left_alone_whatever_the_wish_leaves_out() {
    let wishes: [fn(&mut Desired); 9] = [
        |_| {},
        |wish| wish.docker = crate::registry::DockerSource::Docker,
        |wish| wish.docker = crate::registry::DockerSource::Distribution,
        |wish| wish.tls = None,
        |wish| wish.firewall = false,
        |wish| wish.deploy_user = None,
        |wish| wish.release.database = None,
        |wish| wish.release.front = None,
        |wish| wish.swap = crate::registry::values::Swap::Off,
    ];
    for change in wishes {
        let mut desired = wish::desired();
        change(&mut desired);
        let facts = hosts::facts("current", &desired);
        for stage in STAGES {
            let steps = plan(stage, &desired, &facts).unwrap().steps;
            assert!(steps.is_empty(), "{stage:?}: {steps:?}");
        }
    }
}

#[test]
fn what_a_plan_aims_at_needs_no_further_step() {
    let desired = wish::desired();
    for name in hosts::CURABLE {
        let mut host = model::Host::new(&hosts::text(name, &desired));
        host.carry_out(&desired, usize::MAX);
        let left = shown(&desired, &host.facts());
        assert_eq!(left, "== system\n== prepare\n== rollout\n", "{name}");
    }
}

/// Interrupted after any step, the next run plans from what is there and comes to the same end.
#[test]
fn a_run_that_was_cut_anywhere_is_finished_by_the_next() {
    let desired = wish::desired();
    for name in hosts::CURABLE {
        let text = hosts::text(name, &desired);
        let all = model::Host::new(&text).carry_out(&desired, usize::MAX);
        for cut in 0..all {
            let mut host = model::Host::new(&text);
            assert_eq!(host.carry_out(&desired, cut), cut);
            host.carry_out(&desired, usize::MAX);
            let left = shown(&desired, &host.facts());
            assert_eq!(left, "== system\n== prepare\n== rollout\n", "{name} cut after {cut} steps");
        }
    }
}

/// The preview names the client's own release and nothing of another wish.
#[test]
fn only_named_services_are_started_and_the_release_is_not_taken_for_whole() {
    let mut desired = wish::desired();
    let facts = hosts::facts("older-release", &desired);
    desired.release.services = vec!["nginx".into()];
    // With a rotated password every service must start anew.
    assert!(plan(Stage::Rollout, &desired, &facts).unwrap_err().message.contains("password was rotated"));
    desired.release.password = None;
    let steps = plan(Stage::Rollout, &desired, &facts).unwrap().steps;
    let titles: Vec<&str> = steps.iter().map(|step| step.title.as_str()).collect();
    assert!(!titles.contains(&"replace api") && !titles.contains(&"start what else changed"), "{titles:?}");
    let replace = steps.iter().find(|step| step.title == "replace named services").unwrap();
    assert_eq!(replace.details, ["nginx"]);
    let commit = steps.iter().find(|step| step.title == "commit").unwrap();
    let Action::Run(cmd) = &commit.action else { panic!("{commit:?}") };
    let state: crate::facts::State = serde_json::from_slice(cmd.input().bytes()).unwrap();
    assert_ne!(state.digest, desired.release.digest);
}

#[test]
fn a_rollback_goes_to_a_release_that_is_kept_and_to_no_other() {
    let mut desired = wish::desired();
    let mut text = String::new();
    for (host, wanted) in [
        ("current", None),
        ("current", Some("33cc44dd55ee")),
        ("current", Some("9f2c41d07b3e")),
        ("current", Some("000000000000")),
        ("cut-in-prepare", None),
        ("cut-in-commit", Some("9f2c41d07b3e")),
    ] {
        desired.rollback_to = wanted.map(str::to_owned);
        let _ = writeln!(text, "# {host} to {}", wanted.unwrap_or("the one before"));
        match plan(Stage::Rollback, &desired, &hosts::facts(host, &desired)) {
            Err(refusal) => {
                let _ = writeln!(text, "refused: {}\n   hint: {}", refusal.message, refusal.hint);
            }
            Ok(plan) => plan.steps.iter().for_each(|step| text.push_str(&self::step(step))),
        }
    }
    insta::assert_snapshot!(text);
}

/// Images of the operator's machine are sent, whatever of them the host lacks, and nothing is built there.
#[test]
fn images_that_are_built_here_are_sent_and_not_built_there() {
    let mut desired = wish::desired();
    let known = BTreeMap::from([("linux/arm64".to_owned(), (7, 51_260_000))]);
    desired.release.built_here = Some(BuiltHere {
        store: "/srv/fleet/.fleet/images".into(),
        known: BTreeMap::from([("geoclic/api:0a1b2c".to_owned(), known)]),
    });
    let mut text = String::new();
    for arch in ["amd64", "arm64"] {
        let host = hosts::text("older-release", &desired).replace("arch\tamd64", &format!("arch\t{arch}"));
        let steps = plan(Stage::Prepare, &desired, &Facts::parse(host.as_bytes()).unwrap()).unwrap().steps;
        assert!(!steps.iter().any(|step| step.title.starts_with("build")), "{steps:?}");
        let ship = steps.iter().find(|step| step.title == "ship images").unwrap();
        text.push_str(&self::step(ship));
    }
    insta::assert_snapshot!(text, @r"
    + ship images
          geoclic/api:0a1b2c, linux/amd64: built on this machine first, once for all clients
        ship geoclic/api:0a1b2c of geoclic/api:0a1b2c
        hint: run the same command again: what arrived is not sent twice
    + ship images
          geoclic/api:0a1b2c, linux/arm64: 7 layers, 51.2 MB; only what the host lacks travels
        ship geoclic/api:0a1b2c of geoclic/api:0a1b2c
        hint: run the same command again: what arrived is not sent twice
    ");
    let current = hosts::facts("current", &desired);
    assert!(plan(Stage::Prepare, &desired, &current).unwrap().steps.is_empty());
}

/// A preview of one host must not depend on what a wish of another client holds.
#[test]
fn an_edited_migration_is_refused_before_anything_is_started() {
    let mut desired = wish::desired();
    let facts = hosts::facts("current", &desired);
    desired.release.migrations[0].sha256 = "0".repeat(64);
    let refusal = plan(Stage::Rollout, &desired, &facts).unwrap_err();
    insta::assert_snapshot!(format!("{}\n{}", refusal.message, refusal.hint), @r"
    migration 001_tables.sql was edited after it was applied here
    put the file back as it was and write the change as a new migration
    ");
}

#[test]
fn migrations_wait_for_a_backup_where_one_is_wanted_and_there_is_something_to_save() {
    let titles = |stage: Stage, host: &str, change: fn(&mut Desired)| -> Vec<String> {
        let mut desired = wish::desired();
        desired.backup_first = Some(Hooks::default());
        change(&mut desired);
        let facts = hosts::facts(host, &desired);
        let steps = plan(stage, &desired, &facts).unwrap().steps;
        let saves = steps.iter().any(|step| matches!(step.action, Action::Save));
        assert!(!saves || saved_first(&desired, &facts), "{host}: a run that saves has what it saves with");
        steps.into_iter().map(|step| step.title).take(3).collect()
    };
    let first = ["take a safety snapshot", "dump the database first", "migrate 002_photos.sql"];
    assert_eq!(titles(Stage::Rollout, "older-release", |_| {}), first);
    assert_eq!(titles(Stage::Migrate, "older-release", |_| {}), first);
    assert_eq!(
        titles(Stage::Rollout, "older-release", |wish| wish.backup_first = None),
        ["dump the database first", "migrate 002_photos.sql", "set the database password"]
    );
    assert_eq!(titles(Stage::Migrate, "current", |_| {}), [""; 0], "nothing is pending");
    // Nothing serves there, so `fleet backup` finds nothing to save; tables of a run that was cut are dumped.
    for host in ["bare-debian-13", "cut-in-rollout"] {
        assert!(!titles(Stage::Rollout, host, |_| {}).contains(&first[0].to_owned()), "{host}");
    }
    assert_eq!(titles(Stage::Rollout, "cut-in-rollout", |_| {})[..2], first[1..]);
    let restored: fn(&mut Desired) = |wish| wish.restore = Some(restoring::restore());
    assert_eq!(titles(Stage::Rollout, "older-release", restored)[..2], first[1..]);
}

#[test]
fn named_services_of_which_nothing_changed_are_left_alone() {
    let mut desired = wish::desired();
    desired.release.services = vec!["nginx".into()];
    let mut facts = hosts::facts("older-files", &desired);
    assert!(!plan(Stage::Prepare, &desired, &facts).unwrap().steps.is_empty(), "its nginx.conf changed");
    let same = wish::COMPOSE.replace("geoclic/api:0a1b2c", "geoclic/api:00ff00");
    let old = crate::facts::OldFile { size: same.len() as u64, content: same.into_bytes().into() };
    facts.old.insert("docker-compose.yml".into(), old);
    assert!(plan(Stage::Prepare, &desired, &facts).unwrap().steps.is_empty());
    let left = plan(Stage::Rollout, &desired, &facts).unwrap();
    assert!(
        left.steps.iter().all(|step| step.title.starts_with("migrate") || step.title.starts_with("dump"))
    );
    // By Compose's own word where it is known, and only while the container is well.
    facts.services.insert("nginx".into(), "another".into());
    assert!(!plan(Stage::Prepare, &desired, &facts).unwrap().steps.is_empty());
    facts.services.insert("nginx".into(), "h".into());
    assert!(plan(Stage::Prepare, &desired, &facts).unwrap().steps.is_empty());
    facts.containers[0].status = "exited".into();
    assert!(!plan(Stage::Prepare, &desired, &facts).unwrap().steps.is_empty());
}

#[test]
fn a_release_that_is_there_as_it_was_sealed_is_not_sent_again() {
    let desired = wish::desired();
    let titles = |more: &str| {
        let text = hosts::text("older-release", &desired).replace("end\tok\n", "");
        let mount = &desired.release.mounts[0];
        let digest = crate::stack::sha256(&mount.content);
        let file = format!("file\t{digest} 644 {}", mount.path);
        let facts = Facts::parse(format!("{text}{file}\n{more}end\tok\n").as_bytes()).unwrap();
        let plan = plan(Stage::Prepare, &desired, &facts).unwrap();
        plan.steps.into_iter().map(|step| step.title).collect::<Vec<_>>()
    };
    let sealed = format!("sealed\t{}\n", wish::RELEASE);
    let image = "image\tgeoclic/api:0a1b2c sha256:ee\n";
    assert_eq!(titles(&format!("{sealed}{image}")), ["pull images"]);
    assert!(titles(&sealed).contains(&"push source".to_owned()), "what it is built from is needed");
    assert!(titles(&format!("sealed\tanother\n{image}")).contains(&"push source".to_owned()));
}

#[test]
fn a_certificate_that_lacks_an_alias_is_asked_for_again() {
    let mut desired = wish::desired();
    let facts = hosts::facts("current", &desired);
    let titles = |desired: &Desired| -> Vec<String> {
        let stage = plan(Stage::Rollout, desired, &facts).unwrap();
        stage.steps.iter().map(|step| step.title.to_string()).collect()
    };
    assert_eq!(titles(&desired), Vec::<String>::new());
    desired.tls.as_mut().unwrap().aliases = vec!["www.ville-lyon.example.org".into()];
    assert_eq!(titles(&desired), ["obtain and serve the certificate"]);
}

#[test]
fn a_release_is_gone_back_to_by_its_own_gate() {
    let desired = wish::desired();
    let mut facts = hosts::facts("current", &desired);
    let own = crate::stack::Health::of(crate::stack::Probe::Tcp { port: 81 });
    let gate = crate::facts::GateSpec { services: vec![("old".into(), own)], front: None, url: None };
    for release in facts.releases.values_mut() {
        if let Some(state) = &mut release.state {
            state.gate = Some(gate.clone());
        }
    }
    let asked = |steps: &[super::Step]| {
        steps.iter().find_map(|step| match &step.action {
            Action::Await(gate) => Some((gate.services.clone(), gate.front.is_none())),
            _ => None,
        })
    };
    let back = plan(Stage::Rollback, &desired, &facts).unwrap();
    assert_eq!(asked(&back.steps), Some((gate.services.clone(), true)));
    // The same when a new release fails, and the state on disk keeps it.
    let mut older = hosts::facts("older-release", &desired);
    older.state.as_mut().unwrap().gate = Some(gate.clone());
    let forward = plan(Stage::Rollout, &desired, &older).unwrap();
    assert_eq!(asked(&forward.undo.unwrap().steps), Some((gate.services.clone(), true)));
    assert_eq!(asked(&forward.steps).unwrap().0.len(), 3, "the new one has its own");
    let text = serde_json::to_string(&older.state).unwrap();
    assert_eq!(serde_json::from_str::<Option<crate::facts::State>>(&text).unwrap(), older.state);
}
