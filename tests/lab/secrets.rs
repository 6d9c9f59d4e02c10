//! A client's values are where they belong and nowhere else, at rest and in motion.

use std::path::Path;

use super::kit::{Fleet, Host, town};
use super::watch::{Sampler, trace_sshd, traced};

/// Everywhere that something could have been left. `merged` only shows what `diff` holds.
const PLACES: &str = "/etc /opt /var /root /home /run /srv /tmp --exclude-dir=merged";

/// Files below [`PLACES`] that hold one of the values, as seen by a user. The values travel on standard
/// input: a search that put them into an argument list would find itself.
fn holding(host: &Host, user: &str, values: &[String]) -> Vec<String> {
    let said =
        host.run(&format!("sudo -n -u {user} grep -rlaFs -f - {PLACES}"), values.join("\n").as_bytes());
    assert!(matches!(said.code, Some(0..=2)), "the search runs: {said:?}");
    let mut list: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
    list.sort();
    list
}

/// Texts of a host that are no files: every argument list, the system's journal.
fn spoken(host: &Host) -> String {
    let text = host.sh("for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <\"$file\" 2>/dev/null; echo; done; journalctl --no-pager -o cat").ok();
    assert!(
        text.contains("dockerd") && text.contains("sudo"),
        "the search sees argument lists and the journal"
    );
    text
}

/// The key of a client's backups, once there is one: the operator's alone.
const OURS: &str = "FLEET_BACKUP_KEY";

/// All secret values of a client that its host has, and its DSN.
fn values(fleet: &Fleet, client: &str) -> Vec<String> {
    let ran = fleet.run(&["secrets", "show", client, "--reveal", "--json"]).expect(0);
    let records = ran.records();
    let there = records.iter().filter(|record| record["name"] != OURS);
    let mut list: Vec<String> =
        there.map(|record| record["value"].as_str().expect("a value").to_owned()).collect();
    assert!(list.len() >= 2, "a client has secrets: {}", ran.stdout.len());
    let text = fleet.read("clients.toml");
    let (_, table) = text.split_once(&format!("[clients.{client}]")).expect("its table");
    let dsn = table.split('"').find(|word| word.starts_with("http://")).expect("its DSN");
    list.push(dsn.to_owned());
    list
}

/// Where a client's values may be on its own host: the release's `.env`, and what Docker itself keeps of
/// a container's environment. All of it is root's alone.
fn allowed(path: &str) -> bool {
    let id = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    match path.split('/').skip(1).collect::<Vec<_>>()[..] {
        ["opt", "geoclic", "releases", _, ".env"] => true,
        ["var", "lib", "docker", "containers", container, "config.v2.json"] => id(container),
        ["run", "containerd", "io.containerd.runtime.v2.task", "moby", container, "config.json"] => {
            id(container)
        }
        ["var", "lib", "containerd", "io.containerd.metadata.v1.bolt", "meta.db"] => true,
        // For the moment that a command takes to start in a container, a health check's among them.
        ["tmp", name] => name.starts_with("runc-process"),
        _ => false,
    }
}

#[test]
fn no_value_of_a_client_is_on_the_host_of_another() {
    let town = town();
    let own = town.hosts().map(|host| values(&town.fleet, &host.name));
    assert!(own[0].iter().all(|value| !own[1].contains(value)), "no two clients share a value");
    for (index, host) in town.hosts().into_iter().enumerate() {
        let (mine, mut others) = (&own[index], own[1 - index].clone());
        let key = town.fleet.run(&["secrets", "show", &host.name, OURS, "--reveal"]);
        others.extend((key.code == Some(0)).then(|| key.stdout.trim_end().to_owned()));
        for value in mine {
            let found = holding(host, "root", std::slice::from_ref(value));
            assert!(
                found.iter().any(|path| path.ends_with("/.env")),
                "the search finds a host's own: {found:?}"
            );
            let wrong: Vec<_> = found.iter().filter(|path| !allowed(path)).collect();
            assert!(wrong.is_empty(), "a value of {} outside its place: {wrong:?}", host.name);
        }
        let found = holding(host, "root", &others);
        assert!(
            found.is_empty(),
            "values of the other client, or the key of the backups, on {}: {found:?}",
            host.name
        );
        let readable = holding(host, "nobody", mine);
        assert!(readable.is_empty(), "any user of {} may read {readable:?}", host.name);
        let spoken = spoken(host);
        for value in mine.iter().chain(&others) {
            assert!(
                !spoken.contains(value.as_str()),
                "a value is in an argument list or the journal of {}",
                host.name
            );
        }
        let modes = host.sh("stat -c '%a %U' /opt/geoclic/releases/*/.env /opt/geoclic/tls/privkey.pem /opt/geoclic/state.json").ok();
        assert!(modes.lines().all(|line| line == "600 root"), "{modes}");
        let images = host.sh("docker image ls -q --filter reference='geoclic/*' | sort -u | xargs docker image inspect; docker image ls -q --filter reference='geoclic/*' | sort -u | xargs -n 1 docker history --no-trunc").ok();
        for value in mine.iter().chain(&others) {
            assert!(!images.contains(value.as_str()), "a value is in an image of {}", host.name);
        }
    }
}

#[test]
fn a_planted_secret_is_in_its_place_and_nowhere_else() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    fleet.run(&["update", client, "--yes"]).expect(0);
    // The middle of the value survives every quoting, so it is what is looked for.
    let core = format!("PlantedCore{}x{}", std::process::id(), "7Qz");
    let value = format!("it's \"$(id)\" {core} #x");
    let forms = [core.clone(), base64(&value)];
    let mut said = Vec::new();
    let set = fleet.run_with(&["secrets", "set", client, "SMTP_PASSWORD"], value.as_bytes()).expect(0);
    said.push(set);

    let sampler = Sampler::start(&core);
    let sshd = trace_sshd(host, &fleet.path("trace-host"));
    let words = ["update", client, "--yes", "--json", "--verbose"];
    let (ran, argv) = traced(fleet, &words, &fleet.path("trace-operator"));
    ran.outcome(client, "changed");
    said.push(ran);
    let remote = sshd.stop();
    let seen = sampler.stop(host);
    assert!(argv.contains("rsync"), "the trace sees what fleet starts here");
    assert!(
        remote.contains("docker") && remote.contains("rsync"),
        "the trace sees what is started on the host"
    );
    for form in &forms {
        assert!(!argv.contains(form), "in an argument list or environment on the operator's side");
        assert!(!remote.contains(form), "in an argument list on the host");
    }
    assert_eq!(seen, Vec::<String>::new(), "in argument lists while the run went on");
    for name in ["trace-host", "trace-operator"] {
        std::fs::remove_file(fleet.path(name)).expect("the trace");
    }

    let inside = host.exec("geoclic", "api", "printenv SMTP_PASSWORD").ok();
    assert_eq!(inside.trim_end_matches('\n'), value, "the service gets the value letter by letter");
    let found = holding(host, "root", &forms);
    let wrong: Vec<_> = found.iter().filter(|path| !allowed(path)).collect();
    assert!(!found.is_empty() && wrong.is_empty(), "on the host it is only in its place: {found:?}");
    assert!(holding(host, "nobody", &forms).is_empty(), "and readable by root alone");
    assert!(!spoken(host).contains(&core), "not in the journal, not in an argument list");
    assert!(holding(&town.two, "root", &forms).is_empty(), "not on the other client's host");

    for words in [
        &["secrets", "list", client][..],
        &["secrets", "show", client],
        &["show", client],
        &["show", client, "--json"],
        &["list", "--json"],
        &["render", client],
        &["status", "--json", client],
        &["provision", client, "--dry-run", "--verbose"],
        &["logs", client, "--tail", "1000"],
    ] {
        said.push(fleet.run(words).expect(0));
    }
    for ran in &said {
        for form in &forms {
            assert!(
                !ran.stdout.contains(form) && !ran.stderr.contains(form),
                "`fleet {}` shows it",
                ran.line
            );
        }
    }
    let journals = std::fs::read_dir(fleet.path(".fleet/runs")).expect("journals").count();
    assert!(journals >= 3, "runs are journaled");
    assert_eq!(
        local(&fleet.dir, &forms),
        Vec::<String>::new(),
        "nowhere in the fleet directory but encrypted"
    );
    assert_eq!(fleet.secret(client, "SMTP_PASSWORD"), value, "and there it is");

    fleet.run(&["secrets", "unset", client, "SMTP_PASSWORD", "--yes"]).expect(0);
    fleet.run(&["update", client, "--yes"]).expect(0);
}

/// Files of this machine below a folder that hold one of the values.
fn local(dir: &Path, values: &[String]) -> Vec<String> {
    let mut list = Vec::new();
    for entry in walkdir::WalkDir::new(dir).into_iter().map(|entry| entry.expect("readable")) {
        if entry.file_type().is_file() {
            let content = std::fs::read(entry.path()).expect("readable");
            let text = String::from_utf8_lossy(&content);
            if values.iter().any(|value| text.contains(value)) {
                list.push(entry.path().display().to_string());
            }
        }
    }
    list
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
