//! Commit and pruning under a real shell, with `/opt/demo` replaced by a folder of the test's own.
//!
//! `docker` fails here, so that no image of this machine is in danger: what it is asked is proved in
//! the lab.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::*;

struct Base {
    dir: tempfile::TempDir,
}

impl Base {
    fn new() -> Base {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("demo/releases")).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let docker = dir.path().join("bin/docker");
        fs::write(&docker, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Base { dir }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("demo").join(path)
    }

    fn run(&self, cmd: &Cmd) -> Output {
        let here =
            |text: &str| text.replace("/opt/demo", self.at("").to_str().unwrap().trim_end_matches('/'));
        let words: Vec<String> = cmd.words().iter().map(|word| here(word)).collect();
        let input = match words[1].as_str() {
            "-s" => here(std::str::from_utf8(cmd.input().bytes()).unwrap()).into_bytes(),
            _ => cmd.input().bytes().to_vec(),
        };
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env("PATH", format!("{}/bin:/usr/bin:/bin", self.dir.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// A release of a given age whose Compose file mounts one rendered file.
    fn release(&self, id: &str, minutes_old: u32, mount: &str) {
        let dir = self.at(&format!("releases/{id}"));
        fs::create_dir_all(dir.join("source/api")).unwrap();
        fs::write(dir.join(".complete"), "complete\n").unwrap();
        fs::write(dir.join(IMAGES_FILE), format!("demo/api:{id}\n")).unwrap();
        fs::write(dir.join("docker-compose.yml"), format!("- /opt/demo/files/{mount}/nginx.conf\n")).unwrap();
        fs::create_dir_all(self.at(&format!("files/{mount}"))).unwrap();
        fs::write(self.at(&format!("files/{mount}/nginx.conf")), mount).unwrap();
        let touched = Command::new("touch")
            .args(["-d", &format!("{minutes_old} minutes ago")])
            .arg(&dir)
            .status()
            .unwrap();
        assert!(touched.success());
    }

    fn list(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn layout() -> Layout {
    Layout::new("demo")
}

fn state(release: &str) -> State {
    State {
        schema: "fleet.state/1".into(),
        release: release.into(),
        digest: "d".into(),
        version: "it's \"v1\" $(id)".into(),
        client: "c".into(),
        domain: "c.example.org".into(),
        images: Default::default(),
        env_digest: "e".into(),
        password_digest: None,
        gate: None,
        who: "a@b".into(),
        run: "r".into(),
        at: "t".into(),
        previous: None,
    }
}

fn read(path: &Path) -> State {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_commit_moves_current_and_writes_the_state() {
    use std::os::unix::fs::PermissionsExt as _;
    let base = Base::new();
    for id in ["aaa", "bbb", "bbb"] {
        base.release(id, 1, "m");
        let output = base.run(&commit(&layout(), &state(id)));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read_link(base.at("current")).unwrap(), Path::new(&format!("releases/{id}")));
        assert_eq!(read(&base.at("state.json")), state(id));
        assert_eq!(read(&base.at(&format!("releases/{id}/.state.json"))), state(id), "for a rollback");
    }
    let mode = fs::metadata(base.at("state.json")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(base.list(""), ["current", "files", "releases", "state.json"], "nothing is left beside");
}

#[test]
fn a_commit_replaces_what_a_cut_one_left() {
    let base = Base::new();
    base.release("aaa", 1, "m");
    fs::write(base.at("state.json.new"), "{\"torn").unwrap();
    std::os::unix::fs::symlink("releases/gone", base.at("current.new")).unwrap();
    assert!(base.run(&commit(&layout(), &state("aaa"))).status.success());
    assert_eq!(fs::read_link(base.at("current")).unwrap(), Path::new("releases/aaa"));
    assert_eq!(base.list(""), ["current", "files", "releases", "state.json"]);
}

#[test]
fn open_keeps_what_an_interrupted_push_left() {
    let base = Base::new();
    base.release("aaa", 1, "m");
    fs::write(base.at("releases/aaa/source/half"), "x").unwrap();
    let output = base.run(&open(&layout(), "aaa"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(base.at("releases/aaa/source/half")).unwrap(), b"x");
}

#[test]
fn pruning_keeps_the_newest_the_current_and_the_previous() {
    let base = Base::new();
    for (id, age) in [("r1", 60), ("r2", 50), ("r3", 40), ("r4", 30), ("r5", 20), ("r6", 10), ("r7", 1)] {
        base.release(id, age, &format!("m{id}"));
    }
    // The oldest of all serves (a rollback), and the one before it is old too.
    let output = base.run(&prune(&layout(), 4, "r1", Some("r2")));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(base.list("releases"), ["r1", "r2", "r6", "r7"]);
    assert_eq!(base.list("files"), ["mr1", "mr2", "mr6", "mr7"], "rendered files go with their releases");
    assert_eq!(base.list(""), ["files", "releases"]);
}

#[test]
fn pruning_to_one_leaves_what_serves_and_what_served() {
    let base = Base::new();
    for (id, age) in [("r1", 60), ("r2", 50), ("r3", 1)] {
        base.release(id, age, "shared");
    }
    for _ in 0..2 {
        assert!(base.run(&prune(&layout(), 1, "r3", Some("r2"))).status.success());
        assert_eq!(base.list("releases"), ["r2", "r3"]);
    }
    assert!(base.run(&prune(&layout(), 0, "r3", None)).status.success());
    assert_eq!(base.list("releases"), ["r3"]);
    assert_eq!(base.list("files"), ["shared"]);
}

/// A stack may name its Compose file as it likes, and any file of a release may mount another.
#[test]
fn a_mounted_file_stays_whatever_the_file_that_mounts_it_is_called() {
    let base = Base::new();
    base.release("r1", 1, "m1");
    fs::create_dir_all(base.at("releases/r1/compose")).unwrap();
    fs::rename(base.at("releases/r1/docker-compose.yml"), base.at("releases/r1/compose/stack")).unwrap();
    base.release("r0", 9, "m0");
    assert!(base.run(&prune(&layout(), 1, "r1", None)).status.success());
    assert_eq!(base.list("files"), ["m1"]);
}

/// A name that looks like an option or holds blanks is a name.
#[test]
fn odd_names_are_pruned_as_names() {
    let base = Base::new();
    for (id, age) in [("r1", 1), ("a b", 50), ("-rf", 60)] {
        base.release(id, age, "m");
    }
    let output = base.run(&prune(&layout(), 1, "r1", None));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(base.list("releases"), ["r1"]);
}
