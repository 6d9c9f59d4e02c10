//! Reaching a host by either transport: host keys, agent, jump host, limits of sshd, silence.

use std::time::{Duration, Instant};

use fleet::ops::files::{NewFile, put};
use fleet::ssh::{
    ConnectError, HostKeyPolicy, OpenSshSession, Session, SessionError, Target, Transport, connect_watched,
};

use crate::proxy::Proxy;
use crate::reach::OwnAgent;
use crate::sshd::{Sshd, user};
use crate::{open_by, reach, run, sh};

const NEW: HostKeyPolicy = HostKeyPolicy::AcceptNew;
const STRICT: HostKeyPolicy = HostKeyPolicy::Strict;

conformance!(
    a_new_host_is_recorded_and_then_known,
    a_changed_host_key_is_refused,
    an_agent_holds_the_key,
    through_a_jump_host_each_with_one_connection,
    too_many_logins_under_way,
    a_host_that_falls_silent_is_given_up,
    an_idle_connection_that_the_host_cut_is_lost,
    an_upload_arrives_whole_with_its_mode,
    a_command_waits_for_the_host_twice,
);

/// Keepalives of one second, so that silence shows in a test.
async fn attempt(
    transport: Transport,
    sshd: &Sshd,
    target: &Target,
    policy: HostKeyPolicy,
) -> Result<Box<dyn Session>, ConnectError> {
    let second = Duration::from_secs(1);
    Ok(match transport {
        Transport::Native => Box::new(connect_watched(target, policy, second).await?),
        Transport::OpenSsh => {
            let config = sshd.ssh_config();
            Box::new(OpenSshSession::connect_watched(target, policy, Some(&config), second).await?)
        }
    })
}

async fn fault(transport: Transport, sshd: &Sshd, target: &Target, policy: HostKeyPolicy) -> ConnectError {
    attempt(transport, sshd, target, policy).await.err().expect("there must be no session")
}

async fn a_new_host_is_recorded_and_then_known(transport: Transport) {
    let sshd = Sshd::start();
    let target = sshd.target();
    let error = fault(transport, &sshd, &target, STRICT).await;
    assert!(matches!(error, ConnectError::HostKeyUnknown { .. }), "{error:?}");
    assert!(!sshd.log().contains("Accepted"), "we logged in to an unknown host");

    let first = attempt(transport, &sshd, &target, NEW).await.unwrap();
    let (fingerprint, recorded) = first.host_key();
    assert!(fingerprint.starts_with("SHA256:") && recorded, "{fingerprint} {recorded}");
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    assert!(known.starts_with(&format!("[{}]:{} ssh-ed25519 ", sshd.host, sshd.port)), "{known}");
    assert_eq!(known.lines().count(), 1);
    for policy in [STRICT, NEW] {
        let again = attempt(transport, &sshd, &target, policy).await.unwrap();
        assert_eq!(again.host_key(), (fingerprint.clone(), false));
    }
    assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), known);

    // A key that cannot be written down would be a first one for ever.
    let folder = Target { known_hosts: sshd.path("no/such/folder"), ..target };
    std::fs::write(sshd.path("no"), "a file").unwrap();
    let error = fault(transport, &sshd, &folder, NEW).await;
    assert!(matches!(error, ConnectError::KnownHosts { .. }), "{error:?}");
}

async fn a_changed_host_key_is_refused(transport: Transport) {
    let sshd = Sshd::start();
    sshd.know(&sshd.path("key.pub"));
    for policy in [NEW, STRICT] {
        let error = fault(transport, &sshd, &sshd.target(), policy).await;
        let ConnectError::HostKeyChanged { file, line, .. } = &error else { panic!("{error:?}") };
        assert_eq!((file, *line), (&sshd.path("known_hosts"), 1));
        assert!(error.remedy().contains(&format!("ssh-keygen -R '[{}]:{}'", sshd.host, sshd.port)));
    }
    assert!(!sshd.log().contains("Accepted"), "we logged in to a changed host");
}

async fn an_agent_holds_the_key(transport: Transport) {
    let sshd = Sshd::start();
    let agent = OwnAgent::with(&sshd);
    let target = Target { key: sshd.path("missing"), agent: Some(agent.1.clone()), ..sshd.target() };
    assert!(attempt(transport, &sshd, &target, NEW).await.is_err(), "an empty agent");
    agent.add(sshd.path("key"));
    let session = attempt(transport, &sshd, &target, NEW).await.unwrap();
    assert_eq!(run(&*session, "echo on").await.stdout, b"on\n");
}

async fn through_a_jump_host_each_with_one_connection(transport: Transport) {
    let (gate, sshd) = (Sshd::start(), Sshd::start());
    let mut authorized = std::fs::read_to_string(gate.path("authorized_keys")).unwrap();
    authorized.push_str(&std::fs::read_to_string(sshd.path("key.pub")).unwrap());
    std::fs::write(gate.path("authorized_keys"), authorized).unwrap();
    let jump = format!("{}@{}:{}", user(), gate.host, gate.port);
    let target = Target { jump: Some(jump), ..sshd.target() };
    let session = attempt(transport, &sshd, &target, NEW).await.unwrap();
    let seen = run(&*session, "echo $SSH_CONNECTION | cut -d' ' -f3,4").await.stdout;
    assert_eq!(String::from_utf8_lossy(&seen), format!("{} {}\n", sshd.host, sshd.port));
    session.close().await;
    assert_eq!((gate.connections(), sshd.connections()), (1, 1));
    // Both are on record, and held to it.
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    assert_eq!(known.lines().count(), 2, "{known}");
    std::fs::remove_file(sshd.path("known_hosts")).unwrap();
    gate.know(&gate.path("key.pub"));
    std::fs::copy(gate.path("known_hosts"), sshd.path("known_hosts")).unwrap();
    let error = fault(transport, &sshd, &target, NEW).await;
    let ConnectError::JumpFailed { cause, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**cause, ConnectError::HostKeyChanged { .. }), "{error:?}");
}

async fn too_many_logins_under_way(transport: Transport) {
    let sshd = Sshd::with("MaxStartups 1:100:1");
    let idle = std::net::TcpStream::connect((sshd.host.as_str(), sshd.port)).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let error = fault(transport, &sshd, &sshd.target(), NEW).await;
    assert!(matches!(error, ConnectError::NotSsh { .. }), "{error:?}");
    assert!(error.remedy().contains("MaxStartups"), "{}", error.remedy());
    drop(idle);
}

async fn a_host_that_falls_silent_is_given_up(transport: Transport) {
    let sshd = Sshd::start();
    let proxy = Proxy::start(&sshd.host, sshd.port).await;
    let target = Target { port: proxy.port, ..sshd.target() };
    let session = attempt(transport, &sshd, &target, NEW).await.unwrap();
    // A quiet command is not a silent host.
    assert_eq!(run(&*session, "sleep 6; echo done").await.stdout, b"done\n");
    let start = Instant::now();
    let mut sink = |_, _: &[u8]| proxy.fall_silent();
    let error = session.exec(&sh("echo begun; sleep 60"), Some(&mut sink)).await.unwrap_err();
    assert!(matches!(&error, SessionError::Lost(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

async fn an_idle_connection_that_the_host_cut_is_lost(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    assert_eq!(run(&*session, "echo on").await.stdout, b"on\n");
    sshd.cut();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    let error = session.exec(&sh("true"), None).await.unwrap_err();
    let SessionError::Lost(why) = &error else { panic!("{error:?}") };
    let why = why.to_lowercase();
    assert!(["closed", "reset", "broken"].iter().any(|word| why.contains(word)), "{why}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    session.close().await;
}

async fn an_upload_arrives_whole_with_its_mode(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let path = sshd.path("it's a 'file'");
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i ^ (i >> 7)) as u8).collect();
    let file = NewFile {
        path: path.display().to_string(),
        mode: "0600".to_owned(),
        content: content.clone(),
        secret: true,
    };
    let cmd = put(&[file]).as_root();
    let output = session.exec(&cmd, None).await.unwrap();
    assert!(output.exit.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(&path).unwrap() == content);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o7777, 0o600);
}

/// Once for the channel, once for the answer. What follows the answer is not waited for.
async fn a_command_waits_for_the_host_twice(transport: Transport) {
    const COMMANDS: usize = 4;
    let sshd = Sshd::start();
    let proxy = Proxy::far(&sshd.host, sshd.port, Duration::from_millis(100)).await;
    let target = Target { port: proxy.port, ..sshd.target() };
    let session = reach(transport, &sshd, &target).await;
    let login = proxy.round_trips();
    for _ in 0..COMMANDS {
        assert_eq!(run(&*session, "echo on").await.stdout, b"on\n");
    }
    let spent = proxy.round_trips() - login;
    // The last channel's closing may still be on its way.
    assert!((2 * COMMANDS..=2 * COMMANDS + 1).contains(&spent), "{spent} for {COMMANDS} commands");
    assert!((5..12).contains(&login), "{login} for the login");
    assert_eq!(sshd.commands(), COMMANDS);
}
