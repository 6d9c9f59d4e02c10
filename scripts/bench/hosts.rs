//! What `scripts/bench.sh` measures of the library where no command does just that: one command, or one
//! tree pushed, on many hosts. Built as an example; see the script for how it is called.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fleet::ops::migration::Server;
use fleet::ops::postgres::Database;
use fleet::ops::probe::{Question, probe};
use fleet::shell::Cmd;
use fleet::ssh::{Dialer, HostKeyPolicy, RSYNC_SHELL, Rsync, Target, Transport, rsync_shell_main};
use tokio::sync::Semaphore;

const USAGE: &str =
    "bench-hosts DIR FIRST COUNT PORT native|openssh login | true | push SOURCE DESTINATION | probe";

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.nth(1).is_some_and(|word| word == RSYNC_SHELL) {
        return rsync_shell_main(words);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["probe"] => {
            let cmd = look();
            use std::io::Write as _;
            std::io::stdout().write_all(cmd.input().bytes()).map_err(anyhow::Error::from)
        }
        [dir, first, count, port, transport, work @ ..] => {
            many(dir, (first, count, port), *transport == "openssh", work)
        }
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `fleet status` asks the first client of the bench.
fn look() -> Cmd {
    let domain = "c0.example.org".to_owned();
    probe(&Question {
        stack: "geoclic".into(),
        units: vec!["docker.service".into(), "cron.service".into()],
        database: Some(Server::Inside(Database {
            stack: "geoclic".into(),
            service: "database".into(),
            user: "geoclic".into(),
            name: "geoclic".into(),
        })),
        tls: true,
        health_url: Some(format!("https://{domain}/api/health")),
        domain,
        ..Question::default()
    })
}

/// Host `i` of the bench is the `i`-th address from `first` on.
fn address(first: &str, index: u32) -> anyhow::Result<String> {
    let first: std::net::Ipv4Addr = first.parse()?;
    let address = std::net::Ipv4Addr::from(u32::from(first) + index);
    anyhow::ensure!(address.is_loopback(), "{address} is not this machine's own");
    Ok(address.to_string())
}

fn many(
    dir: &str,
    (first, count, port): (&str, &str, &str),
    openssh: bool,
    work: &[&str],
) -> anyhow::Result<()> {
    let dir = PathBuf::from(dir);
    let mut targets = Vec::new();
    for index in 0..count.parse::<u32>()? {
        targets.push(Target {
            name: format!("c{index}"),
            host: address(first, index)?,
            port: port.parse()?,
            user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
            key: dir.join("key"),
            known_hosts: dir.join("known_hosts"),
            jump: None,
            agent: None,
            connect_timeout: Duration::from_secs(30),
            transport: if openssh { Transport::OpenSsh } else { Transport::Native },
        });
    }
    let work: Vec<String> = work.iter().map(|word| (*word).to_owned()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (dialer, gate) = (Arc::new(Dialer::default()), Arc::new(Semaphore::new(256)));
        let mut tasks = tokio::task::JoinSet::new();
        for (index, target) in targets.into_iter().enumerate() {
            let (dialer, gate, work) = (Arc::clone(&dialer), Arc::clone(&gate), work.clone());
            tasks.spawn(async move {
                let _permit = gate.acquire_owned().await;
                one(&dialer, &target, index, &work).await
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    })
}

async fn one(dialer: &Dialer, target: &Target, index: usize, work: &[String]) -> anyhow::Result<()> {
    let session = dialer.connect(target, HostKeyPolicy::Strict).await?;
    match work {
        [word] if word == "login" => {}
        [word] if word == "true" => {
            let output = session.exec(&Cmd::new(["true"]), None).await?;
            anyhow::ensure!(output.exit.success(), "true was false");
        }
        [word, source, destination] if word == "push" => {
            let what = Rsync {
                source: source.into(),
                destination: format!("{destination}/{index}"),
                exclude: Vec::new(),
                link_dest: None,
                sudo: false,
                timeout: Duration::from_secs(120),
            };
            session.rsync(&what, None).await?;
        }
        _ => anyhow::bail!(USAGE),
    }
    session.close().await;
    Ok(())
}
