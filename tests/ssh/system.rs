//! The system's `ssh` as transport: its ways to fail, the operator's own `ssh_config`, nothing left
//! behind. And the dialer, which shares what can be shared.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fleet::ssh::{ConnectError, Dialer, HostKeyPolicy, OpenSshSession, Session, Stage, Target, Transport};

use crate::sshd::{Sshd, free_port, keygen, own_address, user};
use crate::{run, sh};

const STRICT: HostKeyPolicy = HostKeyPolicy::Strict;

async fn fault(target: &Target, config: &Path) -> ConnectError {
    OpenSshSession::connect(target, STRICT, Some(config)).await.err().expect("there must be no session")
}

fn known(sshd: &Sshd) -> Target {
    sshd.know(&sshd.path("host_ed25519.pub"));
    sshd.target()
}

/// A jump host that takes the key of `sshd`, known to both.
fn gate_to(sshd: &Sshd) -> Sshd {
    let gate = Sshd::start();
    std::fs::copy(sshd.path("key.pub"), gate.path("authorized_keys")).unwrap();
    gate.know(&gate.path("host_ed25519.pub"));
    let line = std::fs::read_to_string(gate.path("known_hosts")).unwrap();
    let mut both = std::fs::read_to_string(sshd.path("known_hosts")).unwrap_or_default();
    both.push_str(&line);
    std::fs::write(sshd.path("known_hosts"), both).unwrap();
    gate
}

/// Processes that have the text among their words.
fn running(text: &str) -> String {
    let found = Command::new("pgrep").args(["-af", "--", text]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_keys_are_strict_and_both_files_count() {
    let sshd = Sshd::start();
    let config = sshd.ssh_config();
    let error = fault(&sshd.target(), &config).await;
    let ConnectError::HostKeyUnknown { fingerprint, .. } = &error else { panic!("{error:?}") };
    assert!(fingerprint.starts_with("SHA256:"), "{error:?}");
    assert!(!sshd.path("known_hosts").exists());

    // On record in the operator's own file only.
    let key = std::fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap();
    std::fs::write(sshd.path("own_known_hosts"), format!("[{}]:{} {key}", sshd.host, sshd.port)).unwrap();
    let session = OpenSshSession::connect(&sshd.target(), STRICT, Some(&config)).await.unwrap();
    assert_eq!(session.host_key(), (fingerprint.clone(), false));
    session.close().await;

    std::fs::remove_file(sshd.path("own_known_hosts")).unwrap();
    sshd.know(&sshd.path("key.pub"));
    let error = fault(&sshd.target(), &config).await;
    let ConnectError::HostKeyChanged { new, file, line, .. } = &error else { panic!("{error:?}") };
    assert_eq!((new, file, *line), (fingerprint, &sshd.path("known_hosts"), 1), "{error:?}");
    let text = format!("[{}]:{} {key}@revoked * {key}", sshd.host, sshd.port);
    std::fs::write(sshd.path("known_hosts"), text).unwrap();
    let error = fault(&sshd.target(), &config).await;
    assert!(matches!(error, ConnectError::HostKeyRevoked { .. }), "{error:?}");
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "a login without the right key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_have_the_same_names() {
    let sshd = Sshd::start();
    let (config, target) = (sshd.ssh_config(), known(&sshd));
    std::fs::write(sshd.path("authorized_keys"), "").unwrap();
    let error = fault(&target, &config).await;
    let ConnectError::AuthRefused { methods, public, .. } = &error else { panic!("{error:?}") };
    assert_eq!(methods, &["publickey"]);
    assert_eq!(&**public, std::fs::read_to_string(sshd.path("key.pub")).unwrap().trim());

    let nowhere = own_address();
    let error =
        fault(&Target { host: nowhere.clone(), port: free_port(&nowhere), ..target.clone() }, &config).await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    let quiet = std::net::TcpListener::bind((nowhere.as_str(), 0)).unwrap();
    let port = quiet.local_addr().unwrap().port();
    let limit = Duration::from_secs(2);
    let start = Instant::now();
    let silent = Target { host: nowhere.clone(), port, connect_timeout: limit, ..target.clone() };
    let error = fault(&silent, &config).await;
    assert!(matches!(error, ConnectError::TimedOut { stage: Stage::Handshake, .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(running(&format!("-p {port} -- {nowhere}")), "");
    let error = fault(&Target { host: "no-such-host.invalid".into(), ..target.clone() }, &config).await;
    let lookup = matches!(error, ConnectError::TimedOut { stage: Stage::Lookup, .. });
    assert!(lookup || matches!(error, ConnectError::Dns { .. }), "{error:?}");
    std::fs::write(&config, "Bogus yes\n").unwrap();
    let error = fault(&target, &config).await;
    let ConnectError::Program { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.contains("bad configuration"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_own_jump_host_and_alias() {
    let sshd = Sshd::start();
    let target = known(&sshd);
    let gate = gate_to(&sshd);
    let (config, folder) = (sshd.ssh_config(), sshd.dir.path().display());
    std::fs::write(
        &config,
        format!(
            "Host *\n  UserKnownHostsFile {folder}/known_hosts\n  IdentityFile {folder}/key\n\
             Host gate\n  HostName {}\n  Port {}\n  User {}\n\
             Host far\n  HostName {}\n  Port {}\n  ProxyCommand ssh -F {folder}/ssh_config -W %h:%p gate\n",
            gate.host,
            gate.port,
            user(),
            sshd.host,
            sshd.port
        ),
    )
    .unwrap();
    // An alias, its port and its jump host, all of ssh_config; no key file of the fleet.
    let far = Target { host: "far".into(), port: 22, key: sshd.path("none"), ..target.clone() };
    let session = OpenSshSession::connect(&far, STRICT, Some(&config)).await.unwrap();
    let seen = run(&session, "echo $SSH_CONNECTION | cut -d' ' -f3,4").await.stdout;
    assert_eq!(String::from_utf8_lossy(&seen), format!("{} {}\n", sshd.host, sshd.port));
    session.close().await;
    assert_eq!((gate.connections(), sshd.connections()), (1, 1));

    // The gate is at fault, and named.
    std::fs::write(gate.path("authorized_keys"), "").unwrap();
    let error = fault(&far, &config).await;
    let ConnectError::JumpFailed { cause, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**cause, ConnectError::AuthRefused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registrys_jump_host() {
    let sshd = Sshd::start();
    let target = known(&sshd);
    let gate = gate_to(&sshd);
    let jump = format!("{}@{}:{}", user(), gate.host, gate.port);
    let target = Target { jump: Some(jump), ..target };
    let config = sshd.ssh_config();
    let session = OpenSshSession::connect(&target, STRICT, Some(&config)).await.unwrap();
    assert_eq!(run(&session, "echo on").await.stdout, b"on\n");
    session.close().await;
    assert_eq!((gate.connections(), sshd.connections()), (1, 1));
    let error = fault(&Target { port: 1, ..target.clone() }, &config).await;
    assert!(matches!(error, ConnectError::JumpRefused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_master_is_left_behind() {
    let sshd = Sshd::start();
    let (config, target) = (sshd.ssh_config(), known(&sshd));
    let mark = format!("-p {} -- {}", sshd.port, sshd.host);
    let session = OpenSshSession::connect(&target, STRICT, Some(&config)).await.unwrap();
    assert!(running(&mark).contains("ssh -M"));
    session.close().await;
    assert_eq!(running(&mark), "");
    let session = OpenSshSession::connect(&target, STRICT, Some(&config)).await.unwrap();
    drop(session);
    let start = Instant::now();
    while !running(&mark).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "{}", running(&mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_to_a_jump_host_for_all_behind_it() {
    let gate = Sshd::with("MaxStartups 2:100:2");
    let hosts: Vec<Sshd> = (0..6).map(|_| Sshd::start()).collect();
    let mut keys = String::new();
    for host in &hosts {
        std::fs::copy(gate.path("key.pub"), host.path("authorized_keys")).unwrap();
        keys.push_str(&std::fs::read_to_string(host.path("key.pub")).unwrap());
    }
    let jump = Some(format!("{}@{}:{}", user(), gate.host, gate.port));
    let behind = |host: &Sshd| Target {
        jump: jump.clone(),
        host: host.host.clone(),
        port: host.port,
        ..gate.target()
    };
    let dialer = Dialer::default();
    let work = hosts.iter().map(|host| {
        let (dialer, target) = (&dialer, behind(host));
        async move {
            let session = dialer.connect(&target, HostKeyPolicy::AcceptNew).await.unwrap();
            let output = session.exec(&sh("echo on"), None).await.unwrap();
            session.close().await;
            output.stdout
        }
    });
    let all = futures::future::join_all(work).await;
    assert!(all.iter().all(|said| said == b"on\n"));
    assert_eq!(gate.connections(), 1, "{}", gate.log());
    // A connection that broke is made again.
    gate.cut();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let session = dialer.connect(&behind(&hosts[0]), HostKeyPolicy::AcceptNew).await.unwrap();
    assert_eq!(run(&*session, "echo on").await.stdout, b"on\n");
    assert_eq!(gate.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_jump_host_costs_its_time_once() {
    let host = own_address();
    let listener = std::net::TcpListener::bind((host.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    keygen(&dir.path().join("key"), "ed25519", "");
    let dialer = Dialer::default();
    let start = Instant::now();
    let work = (0..20).map(|i| {
        let target = Target {
            name: format!("c{i}"),
            host: format!("127.9.9.{i}"),
            port: 22,
            user: user(),
            key: dir.path().join("key"),
            known_hosts: dir.path().join("known_hosts"),
            jump: Some(format!("{host}:{port}")),
            agent: None,
            connect_timeout: Duration::from_secs(2),
            transport: Transport::Native,
        };
        let dialer = &dialer;
        async move { dialer.connect(&target, HostKeyPolicy::AcceptNew).await.err().expect("no session") }
    });
    let all = futures::future::join_all(work).await;
    assert!(all.iter().all(|error| matches!(error, ConnectError::JumpFailed { .. })), "{:?}", all[0]);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
