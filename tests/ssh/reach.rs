//! Ways to reach a host and not to: each failure has its name and comes in time.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::shell::Cmd;
use fleet::ssh::{
    Agent, ConnectError, HostKeyPolicy, Session, SessionError, Stage, Target, Transport, connect,
    connect_watched,
};

use crate::proxy::Proxy;
use crate::sshd::{Sshd, keygen, own_address, user};
use crate::{open, run, sh};

const NEW: HostKeyPolicy = HostKeyPolicy::AcceptNew;
const STRICT: HostKeyPolicy = HostKeyPolicy::Strict;

async fn fault(target: &Target, policy: HostKeyPolicy) -> ConnectError {
    connect(target, policy).await.err().expect("there must be no session")
}

/// A place with no sshd, and keys as if there were one.
fn nowhere(port: u16, host: &str) -> (Target, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    keygen(&dir.path().join("key"), "ed25519", "");
    let target = Target {
        name: "nowhere".to_owned(),
        host: host.to_owned(),
        port,
        user: user(),
        key: dir.path().join("key"),
        known_hosts: dir.path().join("known_hosts"),
        jump: None,
        agent: None,
        connect_timeout: Duration::from_secs(2),
        transport: Transport::Native,
    };
    (target, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_host_is_recorded_and_then_known() {
    let sshd = Sshd::start();
    let session = open(&sshd).await;
    let (fingerprint, recorded) = session.host_key();
    assert!(fingerprint.starts_with("SHA256:") && recorded);
    let text = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    let key = std::fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap();
    let words: Vec<&str> = key.split_whitespace().take(2).collect();
    assert_eq!(text, format!("[{}]:{} {}\n", sshd.host, sshd.port, words.join(" ")));
    let again = connect(&sshd.target(), STRICT).await.unwrap();
    assert_eq!(again.host_key(), (fingerprint, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_is_refused_when_strict() {
    let sshd = Sshd::start();
    let error = fault(&sshd.target(), STRICT).await;
    assert!(matches!(error, ConnectError::HostKeyUnknown { .. }), "{error:?}");
    assert!(!sshd.path("known_hosts").exists());
    assert!(!sshd.log().contains("Accepted"), "we logged in to an unknown host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_host_key_is_refused() {
    let sshd = Sshd::start();
    sshd.know(&sshd.path("key.pub"));
    for policy in [NEW, STRICT] {
        let error = fault(&sshd.target(), policy).await;
        let ConnectError::HostKeyChanged { old, new, line, .. } = &error else { panic!("{error:?}") };
        assert!(old[0].starts_with("SHA256:") && old[0] != *new && *line == 1, "{error:?}");
        assert!(error.remedy().contains(&format!("ssh-keygen -R '[{}]:{}'", sshd.host, sshd.port)));
    }
    assert!(!sshd.log().contains("Accepted"), "we logged in to a changed host");
    // The remedy is the right one.
    let done = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ssh-keygen -R '[{}]:{}' -f {}",
            sshd.host,
            sshd.port,
            sshd.path("known_hosts").display()
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(done.success());
    connect(&sshd.target(), NEW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_type_of_key_is_asked_for() {
    let sshd = Sshd::start();
    sshd.know(&sshd.path("host_ecdsa.pub"));
    connect(&sshd.target(), STRICT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hides_its_recorded_key_is_refused() {
    let sshd = Sshd::with("HostKeyAlgorithms ecdsa-sha2-nistp256");
    sshd.know(&sshd.path("host_ed25519.pub"));
    let error = fault(&sshd.target(), NEW).await;
    assert!(matches!(error, ConnectError::HostKeyChanged { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused() {
    let sshd = Sshd::start();
    sshd.know(&sshd.path("host_ed25519.pub"));
    let key = std::fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap();
    let mut text = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    text.push_str(&format!("@revoked * {key}"));
    std::fs::write(sshd.path("known_hosts"), text).unwrap();
    let error = fault(&sshd.target(), STRICT).await;
    assert!(matches!(error, ConnectError::HostKeyRevoked { line: 2, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_host_does_not_know() {
    let sshd = Sshd::start();
    std::fs::write(sshd.path("authorized_keys"), "").unwrap();
    let error = fault(&sshd.target(), NEW).await;
    let ConnectError::AuthRefused { methods, public, .. } = &error else { panic!("{error:?}") };
    assert_eq!(methods, &["publickey"]);
    let key = std::fs::read_to_string(sshd.path("key.pub")).unwrap();
    assert_eq!(&**public, key.trim());
    // What the remedy says works.
    std::fs::write(sshd.path("authorized_keys"), format!("{public}\n")).unwrap();
    connect(&sshd.target(), STRICT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_does_not_exist() {
    let sshd = Sshd::start();
    let target = Target { user: "nobody-here".to_owned(), ..sshd.target() };
    let error = fault(&target, NEW).await;
    assert!(matches!(error, ConnectError::AuthRefused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_files_that_cannot_be_used() {
    let sshd = Sshd::start();
    let target = sshd.target();
    std::fs::set_permissions(&target.key, PermissionsExt::from_mode(0o644)).unwrap();
    let error = fault(&target, NEW).await;
    assert!(matches!(error, ConnectError::KeyPermissions { mode: 0o644, .. }), "{error:?}");
    let locked = Target { key: sshd.path("locked"), ..sshd.target() };
    keygen(&locked.key, "ed25519", "secret");
    let error = fault(&locked, NEW).await;
    assert!(matches!(error, ConnectError::KeyPassphrase { .. }), "{error:?}");
    let missing = Target { key: sshd.path("missing"), ..sshd.target() };
    let error = fault(&missing, NEW).await;
    assert!(matches!(error, ConnectError::KeyMissing { agent: Agent::Absent, .. }), "{error:?}");
    assert_eq!(sshd.connections(), 0, "a host was bothered with a key that we do not have");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rsa_key() {
    let sshd = Sshd::start();
    keygen(&sshd.path("rsa"), "rsa", "");
    std::fs::copy(sshd.path("rsa.pub"), sshd.path("authorized_keys")).unwrap();
    connect(&Target { key: sshd.path("rsa"), ..sshd.target() }, NEW).await.unwrap();
}

/// An agent of its own; ends with it.
pub struct OwnAgent(std::process::Child, pub PathBuf);

impl OwnAgent {
    pub fn with(sshd: &Sshd) -> Self {
        let socket = sshd.path("agent");
        let agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let agent = OwnAgent(agent.expect("ssh-agent is missing: install openssh-client"), socket);
        let patience = Instant::now() + Duration::from_secs(10);
        while !agent.1.exists() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        agent
    }

    pub fn add(&self, key: PathBuf) {
        let mut add = Command::new("ssh-add");
        let done = add.arg(key).env("SSH_AUTH_SOCK", &self.1).stderr(Stdio::null()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_stands_in_for_an_absent_or_locked_key() {
    let sshd = Sshd::start();
    let agent = OwnAgent::with(&sshd);
    let through = |key: &str| Target { key: sshd.path(key), agent: Some(agent.1.clone()), ..sshd.target() };
    let error = fault(&through("missing"), NEW).await;
    assert!(matches!(error, ConnectError::KeyMissing { agent: Agent::Empty, .. }), "{error:?}");
    keygen(&sshd.path("other"), "ed25519", "");
    agent.add(sshd.path("other"));
    agent.add(sshd.path("key"));
    connect(&through("missing"), NEW).await.unwrap();
    // A public half says which key is meant, and only that is offered.
    std::fs::copy(sshd.path("other.pub"), sshd.path("missing.pub")).unwrap();
    let error = fault(&through("missing"), NEW).await;
    assert!(matches!(error, ConnectError::AuthRefused { .. }), "{error:?}");
    // The agent holds the key of a file that has a passphrase.
    let mut lock = Command::new("ssh-keygen");
    lock.args(["-q", "-p", "-P", "", "-N", "secret", "-f"]).arg(sshd.path("key")).stdout(Stdio::null());
    assert!(lock.status().unwrap().success());
    connect(&through("key"), NEW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_listens() {
    let host = own_address();
    let (target, _dir) = nowhere(1, &host);
    let error = fault(&target, NEW).await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let host = own_address();
    let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
    let (target, _dir) = nowhere(listener.local_addr().unwrap().port(), &host);
    let start = Instant::now();
    let error = fault(&target, NEW).await;
    assert!(matches!(error, ConnectError::TimedOut { stage: Stage::Handshake, .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_after_its_greeting() {
    use std::io::Write as _;
    let host = own_address();
    let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
    let (target, _dir) = nowhere(listener.local_addr().unwrap().port(), &host);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        std::thread::sleep(Duration::from_secs(8));
    });
    let error = fault(&target, NEW).await;
    assert!(matches!(error, ConnectError::TimedOut { stage: Stage::Handshake, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_service_on_the_port() {
    use std::io::Write as _;
    for (greeting, said) in [
        ("HTTP/1.1 400 Bad Request\r\nServer: \x1b[31mx\r\n\r\n", "HTTP/1.1 400 Bad Request Server: [31mx"),
        ("", ""),
    ] {
        let host = own_address();
        let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
        let (target, _dir) = nowhere(listener.local_addr().unwrap().port(), &host);
        let server = std::thread::spawn(move || {
            use std::io::Read as _;
            let (mut stream, _) = listener.accept().unwrap();
            // Read first: closing with unread input would reset the connection.
            let _ = stream.read(&mut [0; 100]);
            stream.write_all(greeting.as_bytes()).unwrap();
        });
        let error = fault(&target, NEW).await;
        server.join().unwrap();
        let ConnectError::NotSsh { said: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(found, said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_too_many_logins_under_way() {
    let sshd = Sshd::with("MaxStartups 1:100:1");
    let idle = std::net::TcpStream::connect((sshd.host.as_str(), sshd.port)).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let error = fault(&sshd.target(), NEW).await;
    assert!(matches!(error, ConnectError::NotSsh { .. }), "{error:?}");
    assert!(error.remedy().contains("MaxStartups"), "{}", error.remedy());
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address() {
    let (mut target, _dir) = nowhere(22, "no-such-host.invalid");
    target.connect_timeout = Duration::from_secs(30);
    let error = fault(&target, NEW).await;
    // Where no name server answers, the lookup ends with the time limit.
    let lookup = matches!(error, ConnectError::TimedOut { stage: Stage::Lookup, .. });
    assert!(lookup || matches!(error, ConnectError::Dns { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_by_name_and_by_ipv6() {
    let (target, _dir) = nowhere(1, "localhost");
    let error = fault(&target, NEW).await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    let (target, _dir) = nowhere(1, "::1");
    let error = fault(&target, NEW).await;
    // Some machines have no IPv6 at all.
    assert!(matches!(error, ConnectError::Refused { .. } | ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_falls_silent_during_a_command_is_lost() {
    let sshd = Sshd::start();
    let proxy = Proxy::start(&sshd.host, sshd.port).await;
    let target = Target { port: proxy.port, ..sshd.target() };
    let session = connect_watched(&target, NEW, Duration::from_secs(1)).await.unwrap();
    let start = Instant::now();
    // A quiet command is not a silent host.
    let output = session.exec(&sh("sleep 6; echo done"), None).await.unwrap();
    assert_eq!(output.stdout, b"done\n");
    let mut sink = |_, _: &[u8]| proxy.fall_silent();
    let error = session.exec(&sh("echo begun; sleep 60"), Some(&mut sink)).await.unwrap_err();
    assert!(matches!(&error, SessionError::Lost(why) if why.contains("silent for 4 s")), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_jump_host() {
    let (gate, sshd) = (Sshd::start(), Sshd::start());
    let mut authorized = std::fs::read_to_string(gate.path("authorized_keys")).unwrap();
    authorized.push_str(&std::fs::read_to_string(sshd.path("key.pub")).unwrap());
    std::fs::write(gate.path("authorized_keys"), authorized).unwrap();
    let jump = format!("{}@{}:{}", user(), gate.host, gate.port);
    let target = Target { jump: Some(jump.clone()), ..sshd.target() };
    let session = connect(&target, NEW).await.unwrap();
    assert_eq!(run(&session, "echo $SSH_CONNECTION | cut -d' ' -f3,4").await.stdout, {
        format!("{} {}\n", sshd.host, sshd.port).into_bytes()
    });
    let big = Cmd::new(["cat"]).stdin(fleet::shell::Stdin::Public(vec![7; 5_000_000]));
    assert_eq!(session.exec(&big, None).await.unwrap().stdout.len(), 5_000_000);
    session.close().await;
    // Both are held to their keys.
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    assert_eq!(known.lines().count(), 2, "{known}");
    assert_eq!((gate.connections(), sshd.connections()), (1, 1));
    let swapped = known
        .replace(&format!("{}]", gate.host), "9.9.9.9]")
        .replace(&format!("[{}]", sshd.host), &format!("[{}]", gate.host));
    let swapped = swapped.replace(&format!("]:{}", sshd.port), &format!("]:{}", gate.port));
    std::fs::write(sshd.path("known_hosts"), swapped).unwrap();
    let error = fault(&target, NEW).await;
    let ConnectError::JumpFailed { cause, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**cause, ConnectError::HostKeyChanged { .. }), "{error:?}");

    std::fs::write(sshd.path("known_hosts"), known).unwrap();
    let error = fault(&Target { port: 1, ..target.clone() }, NEW).await;
    assert!(matches!(error, ConnectError::JumpRefused { .. }), "{error:?}");
    let error = fault(&Target { jump: Some("a@b:c".to_owned()), ..target.clone() }, NEW).await;
    assert!(matches!(error, ConnectError::JumpInvalid { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_s_ssh_agrees_with_us() {
    let (gate, sshd) = (Sshd::start(), Sshd::start());
    std::fs::copy(sshd.path("key.pub"), gate.path("authorized_keys")).unwrap();
    let jump = format!("{}@{}:{}", user(), gate.host, gate.port);
    for jump in [None, Some(jump)] {
        let mut target = Target { jump, ..sshd.target() };
        // A folder that every layer would like to take for something else.
        let odd = sshd.path("it's 100% %h odd");
        std::fs::create_dir_all(&odd).unwrap();
        for name in ["key", "known_hosts"] {
            let _ = std::fs::copy(sshd.path(name), odd.join(name));
        }
        (target.key, target.known_hosts) = (odd.join("key"), odd.join("known_hosts"));
        connect(&target, NEW).await.unwrap().close().await;
        let words = fleet::ssh::interactive_argv(&target, &["echo".to_owned(), "a  b".to_owned()]).unwrap();
        let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "a  b", "{complaint}\n{words:?}");
    }
}
