//! Many hosts at once, some of which say nothing at all.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::sshd::{self, Sshd};
use super::support::Fleet;

/// Hosts that take a connection and are silent from then on.
struct Silence(Vec<TcpListener>);

impl Silence {
    fn of(count: usize) -> Self {
        let bind = |_| TcpListener::bind((sshd::own_address().as_str(), 0)).unwrap();
        Silence((0..count).map(bind).collect())
    }

    fn clients(&self, registry: &mut String) {
        for (index, listener) in self.0.iter().enumerate() {
            let place = listener.local_addr().unwrap();
            registry.push_str(&format!(
                "[clients.silent-{index}]\ndomain = \"silent-{index}.example.fr\"\nip = \"{}\"\nport = {}\n",
                place.ip(),
                place.port()
            ));
        }
    }

    /// How many were connected to, by and by; the connections stay.
    fn called(&self, held: &mut Vec<std::net::TcpStream>) -> usize {
        for listener in &self.0 {
            listener.set_nonblocking(true).unwrap();
            while let Ok((stream, _)) = listener.accept() {
                held.push(stream);
            }
        }
        held.len()
    }
}

fn registry(limit: &str) -> String {
    let user = sshd::user();
    format!(
        "[fleet]\nname = \"tests\"\nstack = \"tiny\"\nconnect_timeout = \"{limit}\"\n\n[defaults]\nuser = \"{user}\"\n\n"
    )
}

fn interrupt(child: &Child) {
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
}

#[test]
fn a_silent_host_costs_its_time_limit_and_delays_nobody() {
    let fleet = Fleet::with_clients();
    let (silence, host) = (Silence::of(3), Sshd::start());
    fs::copy(fleet.path("keys/fleet_ed25519.pub"), host.path("authorized_keys")).unwrap();
    let mut text = registry("3s");
    silence.clients(&mut text);
    text.push_str(&format!(
        "[clients.ville-lyon]\ndomain = \"lyon.example.fr\"\nip = \"{}\"\nport = {}\n",
        host.host, host.port
    ));
    fleet.write("clients.toml", text);
    let started = Instant::now();
    let done = fleet.run(["exec", "--all", "--json", "--", "echo", "on"]);
    let took = started.elapsed();
    assert_eq!(done.code, 1, "{}", done.all());
    let records = done.json();
    let lyon = records.iter().find(|record| record["client"] == "ville-lyon").expect("it answered");
    assert_eq!(lyon["stdout"], "on\n");
    assert!(took >= Duration::from_secs(3), "{took:?}");
    // All of them waited side by side.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(done.out.matches("did not answer within 3 s").count(), 3, "{}", done.out);
}

#[test]
fn a_hundred_silent_hosts_need_no_thread_each_and_an_interrupt_ends_it_at_once() {
    let fleet = Fleet::with_clients();
    let silence = Silence::of(100);
    let mut text = registry("5m");
    silence.clients(&mut text);
    fleet.write("clients.toml", text);
    let child = fleet
        .command(["exec", "--all", "--", "true"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut held, patience) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while silence.called(&mut held) < 100 {
        assert!(Instant::now() < patience, "{} of 100 were connected to at once", held.len());
        std::thread::sleep(Duration::from_millis(20));
    }
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
    assert!(tasks <= 8, "{tasks} threads");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    assert_eq!(children, "", "a process for a host");
    let pressed = Instant::now();
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(pressed.elapsed() < Duration::from_secs(5), "{:?}", pressed.elapsed());
}
