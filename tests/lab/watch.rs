//! Argument lists of both sides while a run goes on: every process that sshd or fleet starts is traced,
//! every other one is sampled.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::kit::{Fleet, Host, Ran, eventually, lab};

/// Looks at every argument list of this machine, again and again. The hosts are containers of its kernel,
/// so their processes are among them.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(Vec<String>, [bool; 2])>>,
    here: String,
    there: String,
}

impl Sampler {
    pub fn start(word: &str) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (here, there) =
            (format!("sampler-here-{}", std::process::id()), format!("sampler-there-{}", std::process::id()));
        let (over, word, known) = (Arc::clone(&stop), word.to_owned(), [here.clone(), there.clone()]);
        let thread = std::thread::spawn(move || {
            let (mut found, mut proof) = (Vec::new(), [false; 2]);
            while !over.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
                    let Ok(bytes) = std::fs::read(entry.path().join("cmdline")) else { continue };
                    let text = String::from_utf8_lossy(&bytes);
                    if text.contains(&word) {
                        found.push(text.replace('\0', " "));
                    }
                    for (proof, known) in proof.iter_mut().zip(&known) {
                        *proof |= text.contains(known.as_str());
                    }
                }
            }
            found.dedup();
            (found, proof)
        });
        Sampler { stop, thread: Some(thread), here, there }
    }

    /// What was found; after a proof that a word in an argument list is found here and on a host.
    pub fn stop(mut self, host: &Host) -> Vec<String> {
        let script = format!("sleep 0.3; : {}", self.here);
        assert!(Command::new("sh").args(["-c", &script]).status().expect("sh runs").success());
        host.run(&format!("sh -c 'sleep 0.3; : {}'", self.there), b"").ok();
        self.stop.store(true, Ordering::Relaxed);
        let (found, proof) = self.thread.take().expect("it runs").join().expect("the sampler ends");
        assert_eq!(proof, [true, true], "the sampler finds a word that is planted here, and on the host");
        found
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A run of fleet with everything it starts on this machine, argument lists and environments in full.
pub fn traced(fleet: &Fleet, words: &[&str], file: &Path) -> (Ran, String) {
    let plain = fleet.command(words);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-v", "-qq", "-e", "trace=execve", "-s", "100000", "-o"])
        .arg(file)
        .arg(plain.get_program());
    command.args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = fleet.run_command(command, words, b"").expect(0);
    (ran, std::fs::read_to_string(file).expect("the trace"))
}

pub struct Trace {
    strace: Child,
    file: PathBuf,
}

/// Traces what the sshd of a host starts from now on, whatever comes of it.
pub fn trace_sshd(host: &Host, file: &Path) -> Trace {
    let container = format!("{}-{}", lab().name, host.name);
    let output = Command::new("docker")
        .args(["inspect", "-f", "{{.State.Pid}}", &container])
        .output()
        .expect("docker runs");
    let init = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let space = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = space(&init).expect("the host's first process");
    let listener = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|pid| pid.chars().all(|c| c.is_ascii_digit()) && space(pid).as_ref() == Some(&wanted))
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("[listener]")
        })
        .expect("the host has an sshd that listens");
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=execve", "-s", "100000", "-o"])
        .arg(file)
        .args(["-p", &listener])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace runs");
    let status = format!("/proc/{listener}/status");
    eventually("strace holds the host's sshd", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        if text.contains(&format!("TracerPid:\t{}", strace.id())) { Ok(()) } else { Err(text) }
    });
    Trace { strace, file: file.to_owned() }
}

impl Trace {
    /// Lets go of sshd; what was started since.
    pub fn stop(mut self) -> String {
        self.end();
        std::fs::read_to_string(&self.file).expect("the trace")
    }

    fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.strace);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.strace.wait();
    }
}

/// A scenario that fails leaves no sshd under trace.
impl Drop for Trace {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            self.end();
        }
    }
}
