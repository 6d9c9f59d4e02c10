//! The built-in stack `neopro`, whose PostgreSQL and Redis are at a provider: two containers beside the lab's hosts.

use std::path::Path;

use super::kit::fleet::copy_tree;
use super::kit::{Fleet, docker, get, lab, mirror, post};

/// Holds quotes of the shell, of SQL and of URLs.
const PASSWORD: &str = "p%27o%22i%24s%3Bon";
const PLAIN: &str = "p'o\"i$s;on";

/// The provider's services, gone when this is.
struct Provider {
    /// Names of the containers.
    names: [String; 2],
    database: String,
    redis: String,
}

/// What docker says when it did as it was told.
fn done(words: &[&str]) -> String {
    let output = docker(words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {said}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Provider {
    fn start() -> Provider {
        let lab = &lab().name;
        let names = ["postgres", "redis"].map(|what| format!("{lab}-provider-{what}"));
        let label = format!("fleet-lab={lab}");
        let secret = format!("POSTGRES_PASSWORD={PLAIN}");
        let start = |name: &str, image: &str, address: &str, more: &[&str]| {
            docker(&["rm", "-fv", name]);
            let image = format!("{}/library/{image}", mirror());
            // Beside the addresses of hosts, which are fixed.
            let net = ["run", "-d", "--name", name, "--network", lab, "--ip", address, "--label", &label];
            done(&[&net[..], &["-e", &secret, &image], more].concat());
        };
        let prefix = lab_prefix();
        let [database, redis] = [format!("{prefix}.2.250"), format!("{prefix}.2.251")];
        start(&names[0], "postgres:17", &database, &[]);
        start(&names[1], "redis:8", &redis, &["redis-server", "--requirepass", "tiny"]);
        Provider {
            database: format!("postgresql://postgres:{PASSWORD}@{database}:5432/postgres"),
            redis: format!("redis://default:tiny@{redis}:6379"),
            names,
        }
    }

    fn psql(&self, database: &str, sql: &str) -> String {
        done(&["exec", "-u", "postgres", &self.names[0], "psql", "-d", database, "-AtXqc", sql])
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        docker(&["rm", "-fv", &self.names[0], &self.names[1]]);
    }
}

/// The first two numbers of every address of the lab.
fn lab_prefix() -> String {
    lab().gateway.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

#[test]
fn a_client_whose_database_is_at_a_provider_serves_migrates_and_is_saved() {
    let host = lab().host("client-12");
    let client = host.name.as_str();
    let provider = Provider::start();
    let more = "email = \"admin@neopro.test\"\nenv = { SUPABASE_URL = \"https://abcdefgh.supabase.co\" }";
    let fleet = Fleet::new("neopro", "neopro", "source = \"app\"", &Fleet::client(&host, more));
    copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/neopro"), &fleet.path("app"));

    // What only the operator can know is asked for before the host is touched.
    let refused = fleet.run(&["provision", client, "--yes"]).expect(3);
    assert!(refused.stderr.contains("DATABASE_URL"), "{}", refused.stderr);
    for (name, value) in [
        ("DATABASE_URL", provider.database.as_str()),
        ("REDIS_URL", provider.redis.as_str()),
        ("SUPABASE_SERVICE_KEY", "service-role"),
    ] {
        fleet.run_with(&["secrets", "set", client, name], value.as_bytes()).expect(0);
    }
    fleet.run(&["provision", client, "--yes", "--json"]).expect(0).outcome(client, "changed");
    fleet.run(&["provision", client, "--yes", "--json"]).expect(0).outcome(client, "unchanged");
    let health = get(&host, "/health");
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("healthy")), "{health:?}");
    assert_eq!(get(&host, "/").status, 200, "the dashboard");
    fleet.run(&["check", client]).expect(0);
    assert_eq!(provider.psql("postgres", "select count(*) from fleet_migrations"), "3");

    // The first administrator, as the guide makes one, and something to keep.
    let admin = b"admin@neopro.test\nlongue-phrase\nMarie Martin\n";
    let words = ["exec", client, "--service", "central-server", "--stdin", "--", "node", "create-admin.js"];
    fleet.run_with(&words, admin).expect(0);
    let site =
        post(&host, "/api/sites", "application/json", "{\"name\": \"Gymnase de l'Étoile\"}".as_bytes());
    assert_eq!(site.status, 201, "{site:?}");

    let saved = fleet.run(&["backup", client, "--json"]).expect(0);
    saved.outcome(client, "changed");
    let shown = fleet.run(&["backups", "show", client, "--json"]).expect(0).records().remove(0);
    let rows = shown["manifest"]["database"]["rows"].to_string();
    assert!(rows.contains("sites") && rows.contains("users"), "{rows}");

    // One more migration waits for a backup.
    fleet.write("app/migrations/004_ville.sql", "ALTER TABLE sites ADD COLUMN ville text;\n");
    let ran = fleet.run(&["update", client, "--yes", "--json"]).expect(0);
    ran.outcome(client, "changed");
    let steps = ran.steps();
    let at = |title: &str| steps.iter().position(|step| step == title);
    assert!(at("take a safety snapshot").is_some_and(|first| Some(first) < at("migrate 004_ville.sql")));
    let list = fleet.run(&["backups", "list", client, "--json"]).expect(0).records();
    assert_eq!(list.len(), 2, "{list:?}");
    assert_eq!(list[0]["migration"], "003_mfa.sql", "as it was before: {}", list[0]);

    // No restore replaces a database that is not the client's host's. Its dump goes into one beside it.
    fleet.run(&["restore", client, "--yes"]).expect(3);
    let dump = fleet.path("neopro.dump");
    let mut command = fleet.command(&["backups", "dump", client, "database/postgres.dump"]);
    command.stdout(std::fs::File::create(&dump).expect("a file"));
    assert!(command.status().expect("fleet runs").success());
    provider.psql("postgres", "create database again");
    done(&["cp", dump.to_str().expect("a path"), &format!("{}:/tmp/again.dump", provider.names[0])]);
    let words = "pg_restore --no-owner --exit-on-error --single-transaction -d again /tmp/again.dump";
    let words: Vec<&str> = words.split(' ').collect();
    done(&[&["exec", "-u", "postgres", &provider.names[0]], &words[..]].concat());
    assert_eq!(provider.psql("again", "select name from sites"), "Gymnase de l'Étoile");

    // The server burns down: another one serves the same data, which was never on it.
    lab().script(&["replace", client]);
    let words = ["restore", client, "--to-new-host", "--new-host-key", "--yes", "--json"];
    fleet.run(&words).expect(0).outcome(client, "changed");
    assert_eq!(get(&host, "/health").json()["status"], "healthy");
    assert!(get(&host, "/api/sites").body.contains("Gymnase de l'Étoile"));

    // A client who leaves: the host is cleared after a last backup, the provider's database is not.
    fleet.run(&["remove", client, "--purge", "--yes"]).expect(0);
    assert_eq!(host.sh("ls -d /opt/neopro 2>/dev/null; docker ps -aq").ok(), "");
    assert_eq!(provider.psql("postgres", "select count(*) from sites"), "1");
}
