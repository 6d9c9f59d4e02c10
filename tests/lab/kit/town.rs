//! Two town halls, provisioned once and shared: most scenarios are about a client that serves.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::fleet::copy_tree;
use super::{Fleet, Host, Ran, lab};

pub struct Town {
    pub fleet: Fleet,
    /// Debian 13.
    pub one: Host,
    /// Debian 12.
    pub two: Host,
    /// The run that made them.
    pub first: Ran,
}

pub type TownGuard = MutexGuard<'static, Town>;

/// Both clients, to oneself until dropped. The first caller waits until they are provisioned; when
/// that fails, every scenario says so.
pub fn town() -> TownGuard {
    static TOWN: OnceLock<Result<Mutex<Town>, String>> = OnceLock::new();
    let town = TOWN.get_or_init(|| {
        std::panic::catch_unwind(build).map(Mutex::new).map_err(|cause| {
            cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned())
        })
    });
    match town {
        Ok(town) => town.lock().unwrap_or_else(PoisonError::into_inner),
        Err(error) => panic!("the two clients could not be provisioned: {error}"),
    }
}

fn build() -> Town {
    let (one, two) = (lab().host("client-1"), lab().host("client-2"));
    // While a scenario is being written: the hosts of the last run, instead of minutes of provisioning.
    if std::env::var_os("FLEET_TEST_REUSE").is_some()
        && let Some(fleet) = Fleet::left("town")
    {
        let first = fleet.run(&["provision", "--all", "--yes", "--json"]).expect(0);
        return Town { fleet, one, two, first };
    }
    let client = |host: &Host, name: &str, more: &str| {
        // Each has a DSN of its own, so that one client's can be told from another's.
        let dsn =
            format!("http://{}@{}:8020/1", "5e17".repeat(7) + &format!("{:04}", name.len()), lab().gateway);
        Fleet::client(
            host,
            &format!(
                "email = \"admin@{}\"\nsentry = {{ dsn = \"{dsn}\" }}\nbackup = {{ keep = {{ last = 0, daily = 2 }} }}\n\
                 env = {{ PUBLIC_NAME = {name:?} }}\n{more}",
                host.domain()
            ),
        )
    };
    let alias = format!("aliases = [\"www.{}\"]", two.domain());
    let clients = client(&one, "Ville d'Un", "") + &client(&two, "L'Haÿ \"Deux\" $HOME", &alias);
    let fleet = Fleet::new("town", "geoclic", "source = \"app\"", &clients);
    copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/geoclic"), &fleet.path("app"));
    let first = fleet.run(&["provision", "--all", "--yes", "--json"]).expect(0);
    Town { fleet, one, two, first }
}

impl Town {
    pub fn hosts(&self) -> [&Host; 2] {
        [&self.one, &self.two]
    }

    /// A change of one service's own files; a number makes it a change each time.
    pub fn touch(&self, service: &str, word: &str) {
        let name = format!("app/{service}/html/index.html");
        let mut text = self.fleet.read(&name);
        text.push_str(&format!("<!-- {word} -->\n"));
        self.fleet.write(&name, &text);
    }
}
