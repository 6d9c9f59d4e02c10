//! Five shops, provisioned once and shared by what is about several clients: images built once here,
//! waves, load.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::fleet::copy_tree;
use super::{Fleet, Host, Ran, docker, lab};

/// Hosts of the lab from this number on.
const FIRST: usize = 5;

pub struct Street {
    pub fleet: Fleet,
    /// Odd ones run Debian 13, even ones Debian 12.
    pub shops: Vec<Host>,
    /// The run that made them.
    pub first: Ran,
}

pub type StreetGuard = MutexGuard<'static, Street>;

/// All five, to oneself until dropped.
pub fn street() -> StreetGuard {
    static STREET: OnceLock<Result<Mutex<Street>, String>> = OnceLock::new();
    let street = STREET.get_or_init(|| {
        std::panic::catch_unwind(build).map(Mutex::new).map_err(|cause| {
            cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned())
        })
    });
    match street {
        Ok(street) => street.lock().unwrap_or_else(PoisonError::into_inner),
        Err(error) => panic!("the five shops could not be provisioned: {error}"),
    }
}

/// The lab's registry mirror, as this machine's own engine reaches it: over loopback it needs no TLS.
pub fn mirror() -> String {
    let output = docker(&["port", &format!("{}-infra", lab().name), "5000/tcp"]);
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find(|line| line.starts_with("127.0.0.1:")).expect("the mirror's port").to_owned()
}

fn build() -> Street {
    let shops: Vec<Host> = (FIRST..FIRST + 5).map(|number| lab().host(&format!("client-{number}"))).collect();
    if std::env::var_os("FLEET_TEST_REUSE").is_some()
        && let Some(fleet) = Fleet::left("street")
    {
        let first = fleet.run(&["provision", "--all", "--yes", "--json"]).expect(0);
        return Street { fleet, shops, first };
    }
    let clients: String = shops.iter().map(|host| Fleet::client(host, "")).collect();
    let fleet = Fleet::new("street", "stacks/shop", "source = \"app\"", &clients);
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/shop");
    copy_tree(&shop.join("stack"), &fleet.path("stacks/shop"));
    copy_tree(&shop.join("app"), &fleet.path("app"));
    fleet.edit("app/api/Dockerfile", "FROM python", &format!("FROM {}/library/python", mirror()));
    let first = fleet.run(&["provision", "--all", "--yes", "--json"]).expect(0);
    Street { fleet, shops, first }
}

impl Street {
    /// Another release of the code: what each shop says of itself.
    pub fn release(&self, word: &str) {
        self.fleet.write("app/api/release.txt", &format!("{word}\n"));
    }

    pub fn names(&self) -> Vec<&str> {
        self.shops.iter().map(|host| host.name.as_str()).collect()
    }

    /// Nothing is pending anywhere.
    pub fn settle(&self) {
        self.fleet.run(&["update", "--all", "--batch", "100%", "--yes"]).expect(0);
    }
}
