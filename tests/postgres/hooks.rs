//! The stack's commands around a backup: on the host, in the database's container and here.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::town::Town;

/// One line for each time that the host's own command behind a backup ran.
const TOLD: &str = r#"{ command = ["sh", "-c", "echo \"$FLEET_OUTCOME/$FLEET_STEP/$FLEET_SNAPSHOT/$PWD\" >>/opt/town/told"] }"#;

/// A command in the database's container.
fn psql(town: &Town, sql: &str) -> String {
    format!(
        r#"{{ command = ["psql", "-qXU", "geoclic", "-d", "{}", "-c", "{sql}"], on = "service:database" }}"#,
        town.server.name
    )
}

fn last_told(town: &Town) -> String {
    town.hosts[0].read("told").lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_backup_runs_between_the_stacks_commands() {
    let town = Town::new(&["ville-lyon"], "");
    let freeze = psql(&town, "create table frozen as select 1 as x");
    let thaw = psql(&town, "drop table frozen");
    let here = |file: &str| {
        format!(r#"{{ command = ["sh", "-c", "env | grep ^FLEET_ | sort >{file}"], on = "local" }}"#)
    };
    let (before, after) = (here("before"), here("after"));
    town.hooks(&format!(
        "pre_backup = [{freeze}, {before}]\npost_backup = [{thaw}, {after}, {TOLD}]\npre_update = [{{ command = [\"false\"] }}]\n"
    ));
    let shown = town.fleet.say("backup ville-lyon --dry-run").ok();
    assert!(shown.out.contains("  pre_backup in database: psql -qXU geoclic"), "{}", shown.out);
    assert!(shown.out.contains("  post_backup on the host: sh -c "), "{}", shown.out);
    assert!(!shown.out.contains("pre_update") && !town.fleet.path("before").exists(), "{}", shown.out);

    let done = town.fleet.say("backup ville-lyon --json").ok();
    let steps: Vec<String> = done
        .json()
        .iter()
        .filter(|event| event["type"] == "step-started")
        .map(|event| format!("{} {}/{}", event["step"].as_str().unwrap(), event["index"], event["total"]))
        .collect();
    assert_eq!(
        steps,
        [
            "look at the host 1/8",
            "pre_backup hook psql 2/8",
            "pre_backup hook sh 3/8",
            "pull database and files 4/8",
            "post_backup hook psql 5/8",
            "post_backup hook sh 6/8",
            "post_backup hook sh 7/8",
            "forget old snapshots 8/8",
        ]
    );
    // What the first command made is in the dump, and was taken away behind it.
    let shown = town.fleet.say("backups show ville-lyon latest --json").ok().json().remove(0);
    let rows = shown["manifest"]["database"]["rows"].as_array().unwrap();
    assert!(rows.iter().any(|rows| rows["table"] == "frozen" && rows["rows"] == 1), "{rows:?}");
    assert_eq!(town.server.ask("select to_regclass('frozen') is null"), "t");
    let [id] = &town.snapshots("ville-lyon")[..] else { panic!("one snapshot") };
    assert_eq!(last_told(&town), format!("changed//{id}//opt/town/current"));
    let before = town.fleet.read("before");
    for line in [
        "FLEET_CLIENT=ville-lyon",
        "FLEET_DOMAIN=ville-lyon.example.fr",
        "FLEET_HOOK=pre_backup",
        "FLEET_PREVIOUS_RELEASE=",
        "FLEET_RELEASE=r1",
        "FLEET_STACK=town",
        "FLEET_VERSION=v2.4.1",
    ] {
        assert!(before.lines().any(|known| known == line), "{line}: {before}");
    }
    assert!(!before.contains("FLEET_OUTCOME"), "{before}");
    let after = town.fleet.read("after");
    assert!(after.contains(&format!("FLEET_SNAPSHOT={id}\n")), "{after}");
}

#[test]
fn a_command_before_that_fails_leaves_no_backup_and_what_is_behind_runs_all_the_same() {
    let town = Town::new(&["ville-lyon"], "");
    town.hooks(&format!(
        r#"pre_backup = [
    {{ command = ["sh", "-c", "echo the queue does not stop >&2; exit 3"] }},
    {{ command = ["touch", "second"], on = "local" }},
]
post_backup = [{TOLD}]
"#
    ));
    let done = town.fleet.say("backup ville-lyon");
    assert_eq!(done.code, 1, "{}", done.all());
    for words in ["pre_backup hook sh", "exit code 3", "the queue does not stop", "there is no backup of it"]
    {
        assert!(done.all().contains(words), "{words}: {}", done.all());
    }
    assert_eq!(town.snapshots("ville-lyon"), Vec::<String>::new());
    assert!(!town.fleet.path("second").exists(), "the first that fails ends its point");
    assert_eq!(last_told(&town), "failed/pre_backup hook sh///opt/town/current");
    let failure = town.state("ville-lyon").failure.expect("it is remembered");
    assert_eq!(failure.message, "pre_backup hook sh: exit code 3");
    // Cron tries it again like any backup that failed, and not before its half hour.
    assert_eq!(town.fleet.say("backup --due --quiet").all(), "exit 0\n");
    let due = town.fleet.say("backup --due --dry-run --json").ok().json().remove(0);
    assert_eq!((due["due"].as_bool(), due["last"].is_null()), (Some(false), true), "{due}");
}

#[test]
fn a_command_behind_that_fails_is_told_and_the_snapshot_stays() {
    let town = Town::new(&["ville-lyon"], "");
    town.hooks("post_backup = [{ command = [\"sh\", \"-c\", \"exit 4\"] }]\n");
    let done = town.fleet.say("backup ville-lyon");
    assert_eq!(done.code, 1, "{}", done.all());
    for words in ["post_backup hook sh", "exit code 4", "was made and is whole"] {
        assert!(done.all().contains(words), "{words}: {}", done.all());
    }
    let snapshots = town.snapshots("ville-lyon");
    let state = town.state("ville-lyon");
    assert_eq!(state.last.map(|last| vec![last.snapshot]), Some(snapshots));
    assert_eq!(state.failure.expect("told").message, "post_backup hook sh: exit code 4");
    // There is a backup, so none is due; what is wrong stays told until one goes well.
    let due = town.fleet.say("backup --due --dry-run --json").ok().json().remove(0);
    assert_eq!(due["due"].as_bool(), Some(false), "{due}");
    town.hooks("post_backup = [{ command = [\"true\"] }]\n");
    town.fleet.say("backup ville-lyon").ok();
    assert_eq!(town.state("ville-lyon").failure, None);
}

/// Holds a table that every dump waits for.
struct Blocker(Child);

impl Blocker {
    fn start(town: &Town) -> Blocker {
        let mut psql = Command::new("psql");
        for pair in town.server.environment().split(' ') {
            let (name, value) = pair.split_once('=').unwrap();
            psql.env(name, value);
        }
        psql.args(["-XqU", "geoclic", "-d", &town.server.name]);
        for part in ["begin", "lock table petite in access exclusive mode", "select pg_sleep(120)"] {
            psql.args(["-c", part]);
        }
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let blocker = Blocker(psql.spawn().unwrap());
        until(
            town,
            "select count(*) > 0 from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = 'petite'::regclass",
        );
        blocker
    }

    /// Ends every connection to the database, this one's with them.
    fn release(mut self, town: &Town) {
        town.server.disconnect();
        self.0.wait().unwrap();
    }
}

fn until(town: &Town, sql: &str) {
    let started = Instant::now();
    while town.server.ask(sql) != "t" {
        assert!(started.elapsed() < Duration::from_secs(30), "{sql}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A backup that has begun and waits for the table.
fn waiting(town: &Town) -> Child {
    let mut command = town.fleet.command(["backup", "ville-lyon"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until(town, "select count(*) > 0 from pg_locks where not granted and relation = 'petite'::regclass");
    child
}

#[test]
fn behind_a_link_that_was_cut_the_hosts_command_runs_over_another_connection() {
    let town = Town::new(&["ville-lyon"], "");
    town.hooks(&format!("post_backup = [{TOLD}]\n"));
    let blocker = Blocker::start(&town);
    let child = waiting(&town);
    let connections = town.hosts[0].sshd.connections();
    town.hosts[0].sshd.cut();
    blocker.release(&town);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(last_told(&town).starts_with("failed/pull database and files/"), "{}: {said}", last_told(&town));
    assert_eq!(town.hosts[0].sshd.connections(), connections + 1);
    assert_eq!(town.snapshots("ville-lyon"), Vec::<String>::new());
    town.fleet.say("backup ville-lyon").ok();
    assert!(last_told(&town).starts_with("changed//"), "{}", last_told(&town));
}

#[test]
fn of_two_backups_of_a_client_at_once_the_second_is_told_and_runs_no_command() {
    let town = Town::new(&["ville-lyon"], "");
    town.hooks(&format!("pre_backup = [{TOLD}]\npost_backup = [{TOLD}]\n"));
    let blocker = Blocker::start(&town);
    let mut first = waiting(&town);
    let second = town.fleet.say("backup ville-lyon");
    assert_eq!(second.code, 6, "{}", second.all());
    assert_eq!(town.hosts[0].read("told").lines().count(), 1, "those of the first alone");
    assert_eq!(town.state("ville-lyon").failure, None, "it is no backup that failed");
    // Killed, the first one leaves nothing that the next would have to break.
    first.kill().unwrap();
    first.wait().unwrap();
    blocker.release(&town);
    town.fleet.say("backup ville-lyon").ok();
    assert_eq!(town.snapshots("ville-lyon").len(), 1);
}
