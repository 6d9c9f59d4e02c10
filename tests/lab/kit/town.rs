//! Two town halls, provisioned once and shared: most scenarios are about a client that serves. There are
//! two such pairs, alike, so that two scenarios can go on at once.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

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

/// Of each pair the first host runs Debian 13, the second 12.
const PAIRS: [[&str; 2]; 2] = [["client-1", "client-2"], ["client-11", "client-10"]];

static TOWNS: [OnceLock<Result<Mutex<Town>, String>>; PAIRS.len()] = [const { OnceLock::new() }; PAIRS.len()];
/// Pairs that no scenario has.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static GIVEN_BACK: Condvar = Condvar::new();

/// A pair, to oneself until dropped.
pub struct TownGuard {
    // Let go first: who waits for the turn must find it free.
    town: MutexGuard<'static, Town>,
    _turn: Turn,
}

struct Turn(usize);

impl Turn {
    fn wait() -> Turn {
        static ALL: OnceLock<()> = OnceLock::new();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        ALL.get_or_init(|| free.extend((0..PAIRS.len()).rev()));
        loop {
            match free.pop() {
                Some(pair) => return Turn(pair),
                None => free = GIVEN_BACK.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
        GIVEN_BACK.notify_one();
    }
}

/// Both clients of a pair. Who is the first to have it waits until they are provisioned; when that fails,
/// every scenario that is given them says so.
pub fn town() -> TownGuard {
    let turn = Turn::wait();
    let town = TOWNS[turn.0].get_or_init(|| {
        std::panic::catch_unwind(|| build(turn.0)).map(Mutex::new).map_err(|cause| {
            cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned())
        })
    });
    match town {
        Ok(town) => TownGuard { town: town.lock().unwrap_or_else(PoisonError::into_inner), _turn: turn },
        Err(error) => panic!("the two clients could not be provisioned: {error}"),
    }
}

impl Deref for TownGuard {
    type Target = Town;
    fn deref(&self) -> &Town {
        &self.town
    }
}

impl DerefMut for TownGuard {
    fn deref_mut(&mut self) -> &mut Town {
        &mut self.town
    }
}

fn build(pair: usize) -> Town {
    let [one, two] = PAIRS[pair].map(|name| lab().host(name));
    let name = format!("town-{}", pair + 1);
    // While a scenario is being written: the hosts of the last run, instead of minutes of provisioning.
    if std::env::var_os("FLEET_TEST_REUSE").is_some()
        && let Some(fleet) = Fleet::left(&name)
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
    let fleet = Fleet::new(&name, "geoclic", "source = \"app\"", &clients);
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
