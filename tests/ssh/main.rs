//! Each transport against a real sshd: what [`fleet::ssh::Session`] promises, whatever carries it.

#[path = "../support/proxy.rs"]
mod proxy;
#[expect(dead_code, reason = "a host with files of its own is for other tests")]
#[path = "../support/sshd.rs"]
mod sshd;

/// Each of these holds for every transport.
macro_rules! conformance {
    (@$room:ident, $transport:ident, $($test:ident),*) => {
        mod $room {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(fleet::ssh::Transport::$transport).await;
                }
            )*
        }
    };
    ($($test:ident),* $(,)?) => {
        conformance!(@native, Native, $($test),*);
        conformance!(@openssh, OpenSsh, $($test),*);
    };
}

mod both;
mod push;
mod reach;
mod supply;
mod system;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet::shell::{Cmd, Stdin};
use fleet::ssh::{
    Exit, HostKeyPolicy, NativeSession, OpenSshSession, Output, Session, SessionError, Stream, Target,
    Transport, connect,
};
use sshd::Sshd;

async fn open(sshd: &Sshd) -> NativeSession {
    connect(&sshd.target(), HostKeyPolicy::AcceptNew).await.unwrap()
}

conformance!(
    output_exit_status_and_signal,
    standard_input_and_scripts,
    fifty_megabytes_both_ways_at_once_with_new_keys_on_the_way,
    a_sink_sees_output_while_the_command_runs,
    twenty_commands_at_once_on_one_connection,
    a_host_without_sessions_is_named,
    a_time_limit_is_kept_by_the_host,
    a_time_limit_that_the_host_ignores_is_kept_here,
    we_answer_the_host_s_own_keepalives,
    a_child_that_keeps_the_output_open_does_not_hold_us,
    a_cut_connection_is_lost,
);

/// The binary under test is rsync's remote shell.
fn shell() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_fleet"))
}

/// The same host by either transport.
async fn open_by(transport: Transport, sshd: &Sshd) -> Box<dyn Session> {
    reach(transport, sshd, &sshd.target()).await
}

async fn reach(transport: Transport, sshd: &Sshd, target: &Target) -> Box<dyn Session> {
    match transport {
        Transport::Native => {
            let session = connect(target, HostKeyPolicy::AcceptNew).await.unwrap();
            Box::new(session.with_rsync_shell(shell()))
        }
        Transport::OpenSsh => {
            let (policy, config) = (HostKeyPolicy::AcceptNew, sshd.ssh_config());
            let session = OpenSshSession::connect(target, policy, Some(&config)).await.unwrap();
            Box::new(session.with_rsync_shell(shell()))
        }
    }
}

fn sh(script: &str) -> Cmd {
    Cmd::new(["sh", "-c", script])
}

async fn run(session: &dyn Session, script: &str) -> Output {
    session.exec(&sh(script), None).await.unwrap()
}

async fn output_exit_status_and_signal(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let output = run(&*session, "echo out; echo err >&2; exit 7").await;
    assert_eq!(output.exit, Exit::Code(7));
    assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
    // OpenSSH's multiplexing does not tell which signal it was.
    let signal = if transport == Transport::Native { "TERM" } else { "UNKNOWN" };
    assert_eq!(run(&*session, "kill -TERM $$").await.exit, Exit::Signal(signal.to_owned()));
    assert_eq!(run(&*session, "exit 255").await.exit, Exit::Code(255));
    assert_eq!(run(&*session, "nobody-has-this").await.exit, Exit::Code(127));
    let output = session.exec(&Cmd::new(["printf", "%s|", "a b", "it's", "$HOME", ""]), None).await.unwrap();
    assert_eq!(output.stdout, b"a b|it's|$HOME||");
    assert_eq!(sshd.connections(), 1);
    session.close().await;
    let error = session.exec(&sh("true"), None).await.unwrap_err();
    assert!(matches!(error, SessionError::Lost(_)), "{error:?}");
}

async fn standard_input_and_scripts(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let cmd = Cmd::script("echo \"$1:$#\"\n", ["a 'b", "c"]);
    assert_eq!(session.exec(&cmd, None).await.unwrap().stdout, b"a 'b:2\n");
    let secret = Cmd::new(["wc", "-c"]).stdin(Stdin::Secret(vec![0; 100_000]));
    assert_eq!(session.exec(&secret, None).await.unwrap().stdout, b"100000\n");
    // A command that reads nothing ends well all the same.
    let deaf = Cmd::new(["true"]).stdin(Stdin::Public(vec![b'x'; 8 << 20]));
    assert_eq!(session.exec(&deaf, None).await.unwrap().exit, Exit::Code(0));
}

async fn fifty_megabytes_both_ways_at_once_with_new_keys_on_the_way(transport: Transport) {
    let sshd = Sshd::with("RekeyLimit 8M");
    let session = open_by(transport, &sshd).await;
    let input: Vec<u8> = (0..50_000_000_u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    let cmd = Cmd::new(["cat"]).stdin(Stdin::Public(input.clone())).timeout(Duration::from_secs(200));
    let mut seen = Vec::with_capacity(input.len());
    let mut sink = |stream, chunk: &[u8]| {
        assert_eq!(stream, Stream::Stdout);
        seen.extend_from_slice(chunk);
    };
    let output = session.exec(&cmd, Some(&mut sink)).await.unwrap();
    assert!(seen == input, "{} bytes came back of {}", seen.len(), input.len());
    assert_eq!((output.exit, output.stdout.len(), output.truncated), (Exit::Code(0), 16 << 20, true));
}

async fn a_sink_sees_output_while_the_command_runs(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let start = Instant::now();
    let mut first = None;
    let mut sink = |_, _: &[u8]| {
        first.get_or_insert_with(|| start.elapsed());
    };
    session.exec(&sh("echo now; sleep 2; echo then"), Some(&mut sink)).await.unwrap();
    assert!(first.unwrap() < Duration::from_millis(1500), "{first:?}");
}

async fn twenty_commands_at_once_on_one_connection(transport: Transport) {
    for limit in ["", "MaxSessions 2"] {
        let sshd = Sshd::with(limit);
        let session = open_by(transport, &sshd).await;
        let all = (0..20).map(|i| {
            let session = &*session;
            async move { run(session, &format!("sleep 0.1; echo {i}")).await.stdout }
        });
        let outputs = futures::future::join_all(all).await;
        for (i, output) in outputs.into_iter().enumerate() {
            assert_eq!(output, format!("{i}\n").into_bytes());
        }
        assert_eq!(sshd.connections(), 1);
    }
}

async fn a_host_without_sessions_is_named(transport: Transport) {
    let sshd = Sshd::with("MaxSessions 0");
    let session = open_by(transport, &sshd).await;
    let error = session.exec(&sh("true"), None).await.unwrap_err();
    assert!(matches!(error, SessionError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("MaxSessions"), "{error}");
}

async fn a_time_limit_is_kept_by_the_host(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let start = Instant::now();
    let cmd = Cmd::new(["sleep", "60"]).timeout(Duration::from_secs(1));
    // `timeout` of coreutils says 124.
    assert_eq!(session.exec(&cmd, None).await.unwrap().exit, Exit::Code(124));
    assert!(start.elapsed() < Duration::from_secs(10));
}

async fn a_time_limit_that_the_host_ignores_is_kept_here(transport: Transport) {
    let tools = tempfile::tempdir().unwrap();
    let sshd = Sshd::with(&format!("SetEnv PATH={}:/usr/bin:/bin", tools.path().display()));
    let fake = tools.path().join("timeout");
    std::fs::write(&fake, "#!/bin/sh\nshift 3\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let session = open_by(transport, &sshd).await;
    let cmd = sh("sleep 90").timeout(Duration::from_secs(1));
    let start = Instant::now();
    let error = session.exec(&cmd, None).await.unwrap_err();
    assert!(matches!(error, SessionError::TimedOut(limit) if limit == Duration::from_secs(1)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // The session goes on.
    assert_eq!(run(&*session, "echo on").await.stdout, b"on\n");
}

async fn we_answer_the_host_s_own_keepalives(transport: Transport) {
    let sshd = Sshd::with("ClientAliveInterval 1\nClientAliveCountMax 1");
    let session = open_by(transport, &sshd).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(run(&*session, "sleep 4; echo on").await.stdout, b"on\n");
}

async fn a_child_that_keeps_the_output_open_does_not_hold_us(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let start = Instant::now();
    let output = run(&*session, "sleep 60 & echo started; exit 3").await;
    assert_eq!((output.exit, output.stdout), (Exit::Code(3), b"started\n".to_vec()));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

async fn a_cut_connection_is_lost(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let cmd = sh("echo begun; sleep 60");
    let mut sink = |_, _: &[u8]| sshd.cut();
    let start = Instant::now();
    let error = session.exec(&cmd, Some(&mut sink)).await.unwrap_err();
    assert!(matches!(error, SessionError::Lost(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}
