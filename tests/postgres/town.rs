//! Hosts for the whole program: an sshd with an `/opt` of its own in which a release serves, as far as a backup looks,
//! and a real database behind it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use fleet::backup::State;
use fleet::facts;

use crate::server::Server;
use crate::sshd::{Sshd, user};
use crate::support::Fleet;

const STACK: &str = r#"name = "town"

[[files]]
template = "compose.yml"
destination = "docker-compose.yml"

[services.database]

[database]
service = "database"
user = "geoclic"
name = "DATABASE"

[backup]
database = true
folders = ["uploads"]
"#;

pub struct Town {
    pub fleet: Fleet,
    pub server: Server,
    pub hosts: Vec<Host>,
}

/// One client's server; all of a town have the same database.
pub struct Host {
    pub sshd: Sshd,
    opt: tempfile::TempDir,
}

impl Host {
    fn new(client: &str, server: &Server, fleet: &Fleet) -> Host {
        let opt = tempfile::tempdir().unwrap();
        let prepare = format!("mount --bind '{}' /opt", opt.path().display());
        let sshd = Sshd::inside(&format!("SetEnv {}", server.environment()), &prepare);
        fs::copy(fleet.path("keys/fleet_ed25519.pub"), sshd.path("authorized_keys")).unwrap();
        let host = Host { sshd, opt };
        for folder in ["town/releases/r1", "town/uploads"] {
            fs::create_dir_all(host.opt.path().join(folder)).unwrap();
        }
        symlink("releases/r1", host.path("current")).unwrap();
        fs::write(host.path("current/.env"), format!("CLIENT={client}\n")).unwrap();
        fs::write(host.path("uploads/a.txt"), format!("of {client}\n").repeat(100)).unwrap();
        let text = |text: &str| text.to_owned();
        let state = facts::State {
            schema: text("fleet.state/1"),
            release: text("r1"),
            digest: text("d1"),
            version: text("v2.4.1"),
            client: text(client),
            domain: format!("{client}.example.fr"),
            images: Default::default(),
            env_digest: text("e1"),
            password_digest: None,
            gate: None,
            who: text("marie@atelier"),
            run: text("20261120-101500-ab12"),
            at: text("2026-11-20T10:15:00Z"),
            previous: None,
        };
        fs::write(host.path("state.json"), serde_json::to_vec(&state).unwrap()).unwrap();
        host
    }

    /// A file below `/opt/town` of the host.
    pub fn path(&self, below: &str) -> PathBuf {
        self.opt.path().join("town").join(below)
    }

    pub fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap_or_default()
    }
}

impl Town {
    /// Clients that serve; `more` goes into the registry.
    pub fn new(clients: &[&str], more: &str) -> Town {
        let server = Server::start("geoclic", "geoclic");
        server.ask("create table petite (x int); insert into petite values (1), (2), (3)");
        let fleet = Fleet::empty();
        let head = "[fleet]\nname = \"tests\"\nstack = \"town\"\nconnect_timeout = \"5s\"\n";
        fleet.write("clients.toml", head);
        fleet.run(["init"]).ok();
        fleet.write("stacks/town/stack.toml", STACK.replace("DATABASE", &server.name));
        fleet.write("stacks/town/compose.yml", "services:\n  database:\n    image: postgres:17\n");
        let hosts: Vec<Host> = clients.iter().map(|client| Host::new(client, &server, &fleet)).collect();
        let mut registry = format!("{head}\n{more}\n");
        for (client, host) in clients.iter().zip(&hosts) {
            registry.push_str(&format!(
                "[clients.{client}]\ndomain = \"{client}.example.fr\"\nip = \"{}\"\nport = {}\nuser = \"{}\"\n\n",
                host.sshd.host,
                host.sshd.port,
                user()
            ));
        }
        fleet.write("clients.toml", registry);
        Town { fleet, server, hosts }
    }

    /// Gives the stack these hooks in the place of any others.
    pub fn hooks(&self, hooks: &str) {
        let text = STACK.replace("DATABASE", &self.server.name);
        self.fleet.write("stacks/town/stack.toml", format!("{text}\n[hooks]\n{hooks}"));
    }

    pub fn state(&self, client: &str) -> State {
        State::read(&self.fleet.path(".fleet"), client)
    }

    pub fn change(&self, client: &str, change: impl FnOnce(&mut State)) {
        State::change(&self.fleet.path(".fleet"), client, change).unwrap();
    }

    /// Ids of a client's whole snapshots, the newest first.
    pub fn snapshots(&self, client: &str) -> Vec<String> {
        let done = self.fleet.run(["backups", "list", client, "--json"]);
        let records = if done.code == 3 { Vec::new() } else { done.ok().json() };
        records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
    }
}
