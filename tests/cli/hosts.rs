//! `exec`, `lock` and `ssh` against real SSH servers of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::ops::lease;

use super::sshd::{self, Sshd};
use super::support::Fleet;

const CLIENTS: [&str; 3] = ["ville-lyon", "brest", "nantes"];

/// A fleet whose clients are SSH servers here; each finds `docker` and `sudo` in a folder of its own.
pub struct Town {
    pub fleet: Fleet,
    pub hosts: Vec<Sshd>,
    stack: String,
    /// What each host finds programs in before all others.
    pub tools: Vec<tempfile::TempDir>,
}

const DOCKER: &str = r#"#!/bin/sh
case $1 in
ps) case "$*" in *service=web*) echo c0ffee ;; esac ;;
exec) shift; echo "docker exec $*"; cat ;;
esac
"#;

pub fn tool(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
    fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
}

impl Town {
    pub fn new(clients: usize) -> Town {
        let fleet = Fleet::with_clients();
        let user = sshd::user();
        let (mut hosts, mut tools) = (Vec::new(), Vec::new());
        let mut registry = "[fleet]\nname = \"tests\"\nstack = \"tiny\"\n".to_owned();
        for name in &CLIENTS[..clients] {
            let dir = tempfile::tempdir().unwrap();
            tool(dir.path(), "docker", DOCKER);
            tool(dir.path(), "sudo", "#!/bin/sh\nshift\nexec \"$@\"\n");
            tool(dir.path(), "whoishere", &format!("#!/bin/sh\necho {name}\n"));
            let host = Sshd::with(&format!("SetEnv PATH={}:/usr/bin:/bin", dir.path().display()));
            fs::copy(fleet.path("keys/fleet_ed25519.pub"), host.path("authorized_keys")).unwrap();
            registry.push_str(&format!(
                "[clients.{name}]\ndomain = \"{name}.example.fr\"\nip = \"{}\"\nport = {}\nuser = \"{user}\"\n",
                host.host, host.port
            ));
            hosts.push(host);
            tools.push(dir);
        }
        fleet.write("clients.toml", registry);
        // Leases lie in a folder of this very machine: the stack's name keeps them apart.
        let stack = format!("tiny-{}", hosts[0].host.replace('.', "-"));
        let text =
            fleet.read("stacks/tiny/stack.toml").replace("name = \"tiny\"", &format!("name = \"{stack}\""));
        fleet.write("stacks/tiny/stack.toml", text);
        Town { fleet, hosts, stack, tools }
    }

    fn exec(&self, words: &[&str]) -> super::support::Done {
        self.fleet.run(["exec"].into_iter().chain(words.iter().copied()))
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        for end in ["lease", "lease.lock", "lease.new", "work"] {
            let _ = fs::remove_file(format!("/run/fleet/{}.{end}", self.stack));
        }
        let _ = fs::remove_file(format!("/run/lock/fleet-{}.lease", self.stack));
    }
}

#[test]
fn one_host_speaks_for_itself() {
    let town = Town::new(1);
    let done = town.exec(&[
        "ville-lyon",
        "--",
        "sh",
        "-c",
        "echo \"a  b\"; echo 'no \u{1b}[2J' >&2; printf end; exit 7",
    ]);
    assert_eq!((done.code, done.out.as_str()), (1, "a  b\nend"));
    assert_eq!(done.err, "no \nville-lyon: exit 7\n");
    let raw = town.exec(&["ville-lyon", "--raw", "--", "printf", r"\033[1mx"]).ok();
    assert_eq!((raw.out.as_str(), raw.err.as_str()), ("\u{1b}[1mx", ""));
    // The words stay apart, and standard input is only sent when asked for.
    assert_eq!(town.exec(&["ville-lyon", "--", "printf", "%s|", "a b", "$HOME", ""]).ok().out, "a b|$HOME||");
    let input = |words: &[&str]| town.fleet.with_input(words.iter().copied(), b"given\n").ok().out;
    assert_eq!(input(&["exec", "ville-lyon", "--", "cat"]), "");
    assert_eq!(input(&["exec", "ville-lyon", "--stdin", "--", "cat"]), "given\n");
    assert_eq!(town.exec(&["--", "true"]).code, 2, "no host is guessed");
    assert_eq!(town.exec(&["ville-lyon"]).code, 2);
}

#[test]
fn many_hosts_say_the_same_once() {
    let town = Town::new(3);
    let done = town.exec(&[
        "--all",
        "--",
        "sh",
        "-c",
        "case $(whoishere) in brest) echo other >&2; exit 3;; esac; echo same",
    ]);
    insta::assert_snapshot!(done.all(), @"
    exit 1
    --- stdout
    2 hosts: same, exit 0 (ville-lyon, nantes)
      same
    brest: exit 3
      stderr: other
    --- stderr
    3 hosts: 2 exit 0, 1 exit 3
    ");
    let records = town.exec(&["--all", "--json", "--", "whoishere"]).ok().json();
    let said: Vec<&str> = records.iter().map(|record| record["stdout"].as_str().unwrap()).collect();
    assert_eq!(said, ["ville-lyon\n", "brest\n", "nantes\n"]);
    assert_eq!((&records[0]["schema"], &records[0]["exit"]), (&"fleet.exec/1".into(), &0.into()));
    for host in &town.hosts {
        assert_eq!(host.connections(), 2, "one connection for each command");
    }
}

#[test]
fn many_hosts_are_heard_while_they_speak() {
    let town = Town::new(3);
    let script = "echo \"$(whoishere) says\"; printf 'no end'; case $(whoishere) in brest) echo; echo bad >&2; exit 3;; esac";
    let done = town.exec(&["--all", "--live", "--", "sh", "-c", script]);
    assert_eq!(done.code, 1, "{}", done.all());
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "brest      | brest says",
            "brest      | no end",
            "nantes     | nantes says",
            "nantes     | no end",
            "ville-lyon | no end",
            "ville-lyon | ville-lyon says",
        ]
    );
    assert_eq!(done.err, "brest      | bad\nbrest: exit 3\n3 hosts: 2 exit 0, 1 exit 3\n");
    let plain = town.exec(&["--all", "--live", "--plain", "--", "whoishere"]).ok().out;
    assert!(plain.contains("brest: brest\n") && !plain.contains('|'), "{plain}");
}

#[test]
fn a_host_that_is_away_is_named_and_the_others_answer() {
    let mut town = Town::new(2);
    drop(town.hosts.pop());
    let done = town.exec(&["--all", "--", "whoishere"]);
    assert_eq!(done.code, 1, "{}", done.all());
    assert!(done.out.starts_with("ville-lyon: exit 0\n  ville-lyon\n"), "{}", done.out);
    assert!(
        done.err.contains("brest: ") && done.err.ends_with("2 hosts: 1 exit 0, 1 no answer\n"),
        "{}",
        done.err
    );
    assert_eq!(town.exec(&["brest", "--", "true"]).code, 4);
}

#[test]
fn a_service_is_reached_in_its_container() {
    let town = Town::new(1);
    let done = town
        .fleet
        .with_input(["exec", "ville-lyon", "--service", "web", "--stdin", "--", "psql", "-c", "a b"], b"in")
        .ok();
    assert_eq!(done.out, "docker exec -i c0ffee psql -c a b\nin");
    let gone = town.exec(&["ville-lyon", "--service", "worker", "--", "true"]);
    assert_eq!(
        (gone.code, gone.err.as_str()),
        (1, "service worker has no running container\nville-lyon: exit 69\n")
    );
    let unknown = town.exec(&["ville-lyon", "--service", "wbe", "--", "true"]);
    assert_eq!(unknown.code, 3);
    assert!(unknown.err.contains("its services are web, worker"), "{}", unknown.err);
    let shell = town.fleet.run(["ssh", "ville-lyon", "--service", "web", "--", "psql", "a b"]).ok();
    assert!(shell.out.contains("docker exec -it c0ffee psql a b"), "{}", shell.all());
    let shell = town.fleet.run(["ssh", "ville-lyon", "--service", "web"]).ok();
    assert!(shell.out.contains("docker exec -it c0ffee sh -c command -v bash"), "{}", shell.all());
}

#[test]
fn an_interrupt_ends_it_at_once_and_says_what_is_left() {
    let town = Town::new(1);
    let mark = town.fleet.path("pid");
    let script = format!("echo $$ > '{}'; exec sleep 300", mark.display());
    let started = Instant::now();
    let child = town
        .fleet
        .command(["exec", "ville-lyon", "--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = loop {
        match fs::read_to_string(&mark) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the command does not start");
    };
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    // sshd hands no signal on to what a root login runs: that is said, and cleared up here.
    Command::new("kill").arg(&pid).stderr(Stdio::null()).status().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(60));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "interrupted (press again to end at once)\n\
         ville-lyon: interrupted; it was told to end, and may go on where the host ignores that\n"
    );
}

/// Takes a lease as another operator's run would.
fn take(town: &Town, run: &str) {
    let cmd = lease::take(&town.stack, "jean@ailleurs", run, "update", &[]);
    let mut child = Command::new("sh").arg("-s").stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), cmd.input().bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_lease_is_shown_and_broken() {
    let town = Town::new(1);
    insta::assert_snapshot!(town.fleet.run(["lock", "show", "--all"]).all(), @"
    exit 0
    --- stdout
    client      lease  verb  run  since  until
    ville-lyon  free
    ");
    assert_eq!(town.fleet.say("lock break ville-lyon").ok().err, "no lease to break\n");
    take(&town, "20261120-101500-a1b2");
    let record = || town.fleet.say("lock show --json").ok().json().remove(0);
    let held = record();
    assert_eq!((&held["schema"], &held["held"]), (&"fleet.lock/1".into(), &true.into()));
    assert_eq!(
        (&held["lease"]["holder"], &held["lease"]["verb"]),
        (&"jean@ailleurs".into(), &"update".into())
    );
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let (since, expires) = (number(&held["lease"]["since"]), number(&held["lease"]["expires"]));
    assert_eq!(expires - since, lease::LASTS.as_secs());
    assert!((since..since + 60).contains(&number(&held["now"])));
    let shown = town.fleet.say("lock show ville-lyon").ok().out;
    assert!(shown.contains("jean@ailleurs") && shown.contains(" ago"), "{shown}");
    assert!(shown.contains("in 3 min 00 s") || shown.contains("in 2 min 5"), "{shown}");
    // A renewal keeps the beginning.
    std::thread::sleep(Duration::from_millis(1100));
    take(&town, "20261120-101500-a1b2");
    let renewed = record();
    assert_eq!(number(&renewed["lease"]["since"]), since);
    assert!(number(&renewed["lease"]["expires"]) > expires);
    let unsure = town.fleet.say("lock break ville-lyon");
    assert_eq!(unsure.code, 2, "nobody can be asked");
    assert!(unsure.err.contains("runs out by itself") && unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(record()["held"], true);
    assert_eq!(town.fleet.say("lock break ville-lyon --yes").ok().out, "ville-lyon: lease broken\n");
    assert_eq!(record()["held"], false);
}

#[test]
fn a_lease_that_ran_out_holds_nobody_and_a_host_that_is_away_is_told() {
    let mut town = Town::new(1);
    take(&town, "20261120-101500-a1b2");
    for file in [format!("/run/fleet/{}.lease", town.stack), format!("/run/lock/fleet-{}.lease", town.stack)]
    {
        let text = fs::read_to_string(&file).unwrap();
        let (before, _) = text.split_once("\"expires\":").unwrap();
        fs::write(&file, format!("{before}\"expires\":1}}\n")).unwrap();
    }
    assert!(town.fleet.say("lock show").ok().out.contains("free"));
    town.hosts.clear();
    let away = town.fleet.say("lock show --json");
    assert_eq!((away.code, &away.json()[0]["held"]), (4, &serde_json::Value::Null));
    assert_eq!(town.fleet.say("lock break ville-lyon --yes").code, 4);
}

#[test]
fn every_look_costs_one_connection_and_one_command_by_either_transport() {
    // The hosts are this machine: without an engine they count as never provisioned.
    let engine = Command::new("docker").arg("version").output().is_ok_and(|output| output.status.success());
    for transport in ["native", "openssh"] {
        let town = Town::new(2);
        town.fleet.edit("stack = \"tiny\"\n", &format!("stack = \"tiny\"\ntransport = \"{transport}\"\n"));
        let mut before = 0;
        // One question, one answer: whatever is asked goes in one command.
        let mut count = |words: &str, code: i32| {
            let done = town.fleet.say(words);
            assert_eq!(done.code, code, "{transport}: {words}\n{}", done.all());
            before += 1;
            for host in &town.hosts {
                assert_eq!(host.connections(), before, "connections, {transport}: {words}");
                assert_eq!(host.commands(), before, "commands, {transport}: {words}");
            }
            done
        };
        let said = count("exec --all -- whoishere", 0);
        assert!(said.out.contains("ville-lyon: exit 0\n  ville-lyon\n"), "{}", said.out);
        // Bare hosts: what is not there is the answer.
        let said = count("status --json", 1);
        assert!(said.json().iter().all(|record| record["reachable"] == true), "{}", said.out);
        count("update --all --dry-run", if engine { 0 } else { 3 });
        count("update --all --check", if engine { 5 } else { 3 });
        count("lock show --all", 0);
        town.fleet.say("test-ssh --all").ok();
        assert!(town.hosts.iter().all(|host| host.connections() == before + 1), "{transport}: test-ssh");
        // First contact was the first command: both are on record now.
        assert_eq!(town.fleet.read("known_hosts").lines().count(), 2);
        let shell = town.fleet.run(["ssh", "ville-lyon", "--", "whoishere"]).ok();
        assert!(shell.out.contains("ville-lyon"), "{transport}: {}", shell.all());
    }
}
