//! fleet's own errors: what is reported, what is not, that nothing secret is in it, and that a dead server holds up
//! nobody.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::kent::{KEY, Kent};
use super::sshd::{self, Sshd};
use super::support::{Fleet, SMTP};

/// The command with a DSN in its environment.
fn with(fleet: &Fleet, dsn: &str, words: &[&str]) -> Command {
    let mut command = fleet.command(words.iter().copied());
    command.env("FLEET_SENTRY_DSN", dsn);
    command
}

/// One that fails as nobody expects: standard output is a full disk.
fn failing(fleet: &Fleet, dsn: &str) -> Command {
    let mut command = with(fleet, dsn, &["list", "--json"]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_error_that_nobody_expects_arrives_and_no_other() {
    let (kent, fleet) = (Kent::start(), Fleet::with_clients());
    let output = failing(&fleet, &kent.dsn()).env("FLEET_SENTRY_ENVIRONMENT", "ops").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(!said(&output).contains("Sentry"), "{}", said(&output));
    let events = kent.bodies("event");
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!(event["exception"]["values"][0]["type"], "fleet list", "{event}");
    assert!(event["exception"].to_string().contains("No space left on device"), "{event}");
    assert_eq!((&event["tags"]["verb"], &event["tags"]["fleet"]), (&"list".into(), &"tests".into()));
    assert_eq!((&event["environment"], &event["level"]), (&"ops".into(), &"error".into()));
    assert_eq!(event["release"], concat!("fleet@", env!("CARGO_PKG_VERSION")));
    assert!(event.get("server_name").is_none() && event.get("user").is_none(), "{event}");

    // The operator's own to mend, or nobody's fault: nothing is sent, and nobody is connected to.
    kent.forget();
    for (line, code) in [
        ("list", 0),
        ("list --nonsense", 2),
        ("nonsense", 2),
        ("show nobody", 3),
        ("list -C /nonsense", 3),
        ("render nobody", 3),
        ("update brest", 2),
        ("--version", 0),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = with(&fleet, &kent.dsn(), &words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
    }
    let mut child = with(&fleet, &kent.dsn(), &["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    assert_eq!(kent.items(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_panic_arrives_with_its_place_and_is_printed_as_ever() {
    let (kent, fleet) = (Kent::start(), Fleet::with_clients());
    let output = with(&fleet, &kent.dsn(), &["test-panic"]).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert!(said(&output).contains("asked to, by test-panic"), "{}", said(&output));
    let events = kent.bodies("event");
    assert_eq!(events.len(), 1, "{events:?}");
    let exception = &events[0]["exception"]["values"][0];
    assert_eq!((&exception["type"], &events[0]["level"]), (&"panic".into(), &"fatal".into()));
    assert_eq!(exception["value"], "asked to, by test-panic");
    assert_eq!(exception["stacktrace"]["frames"][0]["filename"], "src/cli/mod.rs");
    // Without a DSN nobody is told, and nothing else is different.
    let output = fleet.command(["test-panic"]).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert_eq!(kent.items().len(), 1);
}

/// A server that answers each request by this text, and then leaves the connection as it is.
fn server(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dsn = format!("http://{KEY}@{}/42", listener.local_addr().unwrap());
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 64 * 1024];
            if !answer.is_empty() && stream.read(&mut buffer).is_ok() {
                let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
            }
            open.push(stream);
        }
    });
    (dsn, called)
}

#[test]
fn a_dead_server_holds_up_the_end_for_less_than_two_seconds() {
    let fleet = Fleet::with_clients();
    let timed = |dsn: &str| {
        let began = Instant::now();
        let output = failing(&fleet, dsn).output().unwrap();
        (began.elapsed(), output)
    };
    let (alone, _) = timed("");
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    let cases = [
        ("takes the connection and is silent", server("").0, "no answer in time"),
        (
            "never comes to its end",
            server("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nx").0,
            "no answer in time",
        ),
        ("answers by a byte", server("H").0, "no answer in time"),
        (
            "takes no connection",
            format!("http://{KEY}@{}/42", full.local_addr().unwrap()),
            "no answer in time",
        ),
        ("is at an address that leads nowhere", format!("http://{KEY}@192.0.2.1/42"), ""),
        ("has no name", format!("http://{KEY}@no-such-host.invalid/42"), ""),
        (
            "refuses the key",
            server("HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n").0,
            "does not accept the key",
        ),
        ("is full", server("HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n").0, "takes nothing for 60 s"),
    ];
    for (what, dsn, words) in cases {
        // What hangs does so each time; a machine that is busy with other tests does not.
        let mut tries = (0..3).map(|_| timed(&dsn));
        let in_time = tries.find(|(took, _)| *took < alone + Duration::from_secs(2));
        let (_, output) = in_time.unwrap_or_else(|| panic!("a server that {what} holds it up for long"));
        assert_eq!(output.status.code(), Some(3), "{what}");
        let said = said(&output);
        assert!(said.contains("warning: Sentry was not told of 1 error of fleet: "), "{what}: {said}");
        assert!(said.contains(words) && said.contains("No space left"), "{what}: {said}");
        assert!(!said.contains(KEY), "{what}: {said}");
    }
    // A DSN that is none is told at once, and changes nothing else.
    let (_, output) = timed("https://o1.ingest.sentry.io/42");
    assert!(said(&output).contains("warning: FLEET_SENTRY_DSN: "), "{}", said(&output));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn nobody_is_connected_to_when_all_is_well() {
    let fleet = Fleet::with_clients();
    let (dsn, called) = server("");
    let output = with(&fleet, &dsn, &["list"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    assert_eq!(called.load(Ordering::SeqCst), 0);
}

/// Clients that are SSH servers here, on which nothing serves: each server at as many addresses as it takes.
fn street(fleet: &Fleet, servers: usize) -> Vec<Sshd> {
    let mut text =
        format!("[fleet]\nname = \"tests\"\nstack = \"tiny\"\n\n[defaults]\nuser = \"{}\"\n\n", sshd::user());
    let mut hosts = Vec::new();
    for server in 0..servers {
        let more: Vec<(String, u16)> = (1..AT_ONCE)
            .map(|_| {
                let host = sshd::own_address();
                let port = sshd::free_port(&host);
                (host, port)
            })
            .collect();
        let lines: String =
            more.iter().map(|(host, port)| format!("ListenAddress {host}:{port}\n")).collect();
        let host = Sshd::with(&lines);
        fs::copy(fleet.path("keys/fleet_ed25519.pub"), host.path("authorized_keys")).unwrap();
        for (n, (ip, port)) in [(host.host.clone(), host.port)].into_iter().chain(more).enumerate() {
            let name = format!("c{server}-{n}");
            text.push_str(&format!(
                "[clients.{name}]\ndomain = \"{name}.example.fr\"\nip = \"{ip}\"\nport = {port}\n"
            ));
        }
        hosts.push(host);
    }
    fleet.write("clients.toml", text);
    hosts
}

/// Addresses that one sshd listens at: it takes sixteen.
const AT_ONCE: usize = 13;

#[test]
fn each_of_many_clients_that_fail_at_once_is_told_of_with_its_own_tags() {
    let (kent, fleet) = (Kent::start(), Fleet::with_clients());
    let hosts = street(&fleet, 3);
    for n in 0..3 * AT_ONCE {
        let name = format!("c{}-{}", n / AT_ONCE, n % AT_ONCE);
        fleet.with_input(["secrets", "set", &name, "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    }
    // They must all be taken within the bound: on a machine that is busy with other tests not the first time.
    let mut events = Vec::new();
    for _ in 0..4 {
        kent.forget();
        let output = with(&fleet, &kent.dsn(), &["backup", "--all", "--parallel", "40"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        events = kent.bodies("event");
        if !said(&output).contains("warning: Sentry was not told") {
            break;
        }
    }
    let mut clients = BTreeSet::new();
    for event in &events {
        let tags = &event["tags"];
        let client = tags["client"].as_str().unwrap();
        // What fleet says to do names the client: it must be the one of the tag.
        assert_eq!(event["extra"]["hint"], format!("fleet provision {client}"), "{event}");
        assert_eq!(
            (&tags["verb"], &tags["step"], &tags["outcome"], &tags["fleet"]),
            (&"backup".into(), &"look at the host".into(), &"failed".into(), &"tests".into())
        );
        assert_eq!(event["fingerprint"], serde_json::json!(["fleet", "backup", "look at the host"]));
        clients.insert(client.to_owned());
    }
    assert_eq!((events.len(), clients.len()), (3 * AT_ONCE, 3 * AT_ONCE), "one of each");
    drop(hosts);
    let runs: BTreeSet<_> = events.iter().map(|event| event["tags"]["run"].to_string()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
}

#[test]
fn nothing_secret_is_in_what_is_sent() {
    let kent = Kent::start();
    let fleet = Fleet::with_clients();
    // In the path of what cannot be written stands what is secret in the vault, in the registry, in the environment.
    let environment = "Poison-env-7Q2xK9";
    fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], SMTP.as_bytes()).ok();
    let name = format!("marker-{SMTP}-poisonkey7Q2x-{environment}");
    let deep = fleet.path(&name);
    fs::create_dir(&deep).unwrap();
    for part in ["clients.toml", "stacks", "secrets", "keys", ".fleet", "recipients.txt"] {
        let from = fleet.path(part);
        if from.exists() {
            fs::rename(from, deep.join(part)).unwrap();
        }
    }
    fs::write(deep.join(".fleet/runs"), "in the way").unwrap();
    let mut command = with(&fleet, &kent.dsn(), &["-C", deep.to_str().unwrap(), "backup", "brest"]);
    let output = command.env("SLACK_WEBHOOK", environment).output().unwrap();
    assert!(said(&output).contains(SMTP), "the path is in the error: {}", said(&output));
    let sent = serde_json::to_string(&kent.items()).unwrap();
    assert!(sent.contains("marker-") && sent.contains("cannot be written"), "the search can find: {sent}");
    for secret in [SMTP, "poisonkey7Q2x", environment, KEY] {
        assert!(!sent.contains(secret), "{secret}: {sent}");
    }
    // Neither the machine nor who runs it is named.
    for word in ["alice", "server_name"] {
        assert!(!sent.contains(word), "{word}: {sent}");
    }
}

#[test]
fn the_registry_can_ask_for_it_and_its_dsn_is_a_secret() {
    let (kent, fleet) = (Kent::start(), Fleet::with_clients());
    let text = fleet.read("clients.toml");
    let asked = "name = \"tests\"\nsentry = { dsn = { secret = \"OPS_DSN\" }, errors = true }";
    fleet.write("clients.toml", text.replace("name = \"tests\"", asked));
    // Not set yet: that is said where it matters, and there alone.
    assert!(fleet.say("list").ok().err.is_empty());
    let output = failing(&fleet, "").output().unwrap();
    assert!(
        said(&output).contains("1 error of fleet: OPS_DSN, the DSN of [fleet.sentry], is not set"),
        "{}",
        said(&output)
    );
    fleet.with_input(["secrets", "set", "--fleet", "OPS_DSN"], kent.dsn().as_bytes()).ok();
    let output = failing(&fleet, "").output().unwrap();
    assert!(!said(&output).contains("Sentry"), "{}", said(&output));
    let events = kent.bodies("event");
    assert_eq!((events.len(), &events[0]["tags"]["fleet"]), (1, &"tests".into()));
    assert!(!serde_json::to_string(&kent.items()).unwrap().contains(KEY));
    // The variable wins, and a mistake in the registry is none of fleet's errors.
    let other = Kent::start();
    failing(&fleet, &other.dsn()).output().unwrap();
    assert_eq!((kent.items().len(), other.items().len()), (1, 1));
    fleet.edit("errors = true", "errors = false");
    failing(&fleet, "").output().unwrap();
    assert_eq!(kent.items().len(), 1);
}
