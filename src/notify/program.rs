//! A program of this machine that reads the message on its standard input.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{LIMIT, Message};

/// Runs in the fleet directory, in a process group of its own, which is ended when it takes too long.
pub fn run(words: &[String], dir: &Path, message: &Message) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Err("names no program".to_owned()) };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("FLEET_TOPIC", message.topic.word())
        .env("FLEET_TITLE", &message.title)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let group = Pid::from_child(&child);
    // On threads of their own: a program that reads nothing, or says much, must not hold us up.
    let (text, stdin) = (message.text(), child.stdin.take());
    std::thread::spawn(move || stdin.map(|mut stdin| drop(stdin.write_all(text.as_bytes()))));
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(4096).read_to_end(&mut said);
        }
        said
    });
    let started = Instant::now();
    let mut pause = std::time::Duration::from_millis(1);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < LIMIT => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(std::time::Duration::from_millis(50));
            }
            Ok(None) => {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                return Err(format!("{program} was not done after {} s and was ended", LIMIT.as_secs()));
            }
            Err(error) => return Err(format!("{program} cannot be waited for: {error}")),
        }
    };
    if status.success() {
        return Ok(());
    }
    // What it left running may hold the stream open.
    let _ = kill_process_group(group, Signal::KILL);
    let said = said.join().unwrap_or_default();
    let said = crate::secret::clean_bytes(&said);
    let said = said.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
    Err(match status.code() {
        Some(code) => format!("{program} exits with {code}{said}"),
        None => format!("{program} was ended by a signal{said}"),
    })
}
