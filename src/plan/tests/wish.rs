//! One client as the tests want it: the shape of the first fleet's stack, small.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::ops::compose::Project;
use crate::ops::files::NewFile;
use crate::ops::migration::{Migration, Server};
use crate::ops::postgres::Database;
use crate::ops::schedule::Schedule;
use crate::ops::{Layout, certbot};
use crate::plan::hooks::Hooks;
use crate::plan::{Build, Desired, DesiredRelease, Repository, RepositoryKey, SourcePush};
use crate::registry::DockerSource;
use crate::registry::values::Swap;
use crate::shell::hex;
use crate::stack::{FrontHealth, Health, HttpProbe, Probe};

/// What is in the client's `.env` and may be nowhere else.
pub const SECRET: &str = "p0is0n-D8-password-7Q";
/// What the database's role had before it was rotated.
pub const FORMER: &str = "former-Zt7pQ2sW9xK4vB6n";
pub const RELEASE: &str = "9f2c41d07b3e";
pub const DOMAIN: &str = "ville-lyon.example.org";
pub const SERVER: &str = "https://acme.example.org/directory";

/// The Compose file of the release.
pub const COMPOSE: &str = "x-all: &all
  restart: unless-stopped
services:
  nginx:
    <<: *all
    image: nginx:1.28
    volumes:
      - /opt/geoclic/files/77aa88bb99cc/nginx.conf:/etc/nginx/conf.d/default.conf:ro
  api:
    <<: *all
    image: geoclic/api:0a1b2c
    environment:
      DB_PASSWORD: ${DB_PASSWORD:?}
      PRICE: 5$$
  database:
    <<: *all
    image: postgres:17
    environment: [\"POSTGRES_PASSWORD=${DB_PASSWORD:?}\"]
";

fn file(path: String, mode: &str, content: &str, secret: bool) -> NewFile {
    NewFile { path, mode: mode.into(), content: content.into(), secret }
}

fn migration(name: &str, sql: &str) -> Migration {
    Migration { name: name.into(), sha256: hex(&Sha256::digest(sql)), sql: sql.into(), transaction: true }
}

fn health(probe: Probe, deadline: u64) -> Health {
    Health { deadline: Duration::from_secs(deadline), ..Health::of(probe) }
}

fn database(layout: &Layout) -> Server {
    Server::Inside(Database {
        stack: layout.stack.clone(),
        service: "database".into(),
        user: "geoclic".into(),
        name: "geoclic".into(),
    })
}

fn schedule(layout: &Layout) -> Schedule {
    Schedule {
        layout: layout.clone(),
        client: "ville-lyon".into(),
        domain: DOMAIN.into(),
        backup_cron: "0 2 * * *".into(),
        keep: 7,
        database: Some(database(layout)),
        volumes: vec!["photos".into()],
        health_url: Some(format!("https://{DOMAIN}/api/health")),
        tls: true,
        compose_file: "docker-compose.yml".into(),
        dotenv: Some(".env".into()),
        disk_percent: 90,
        ping: None,
    }
}

fn tls(layout: &Layout) -> certbot::Wanted {
    certbot::Wanted {
        layout: layout.clone(),
        domain: DOMAIN.into(),
        aliases: vec![],
        email: Some("admin@example.org".into()),
        server: SERVER.into(),
        ca: Some(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
        service: "nginx".into(),
        reload: vec!["nginx".into(), "-s".into(), "reload".into()],
        certificate: "fullchain.pem".into(),
        key: "privkey.pem".into(),
    }
}

fn release(layout: &Layout) -> DesiredRelease {
    let in_release = |name: &str| format!("{}/{name}", layout.release(RELEASE));
    let dotenv = format!("DB_PASSWORD={SECRET}\nSENTRY_ENVIRONMENT=ville-lyon\n");
    let api = HttpProbe {
        port: 8000,
        path: "/api/health".into(),
        status: 200,
        json: BTreeMap::from([("database.status".to_owned(), "ok".into())]),
        host: None,
    };
    DesiredRelease {
        id: RELEASE.into(),
        digest: "9f2c41d07b3e".repeat(5),
        version: "v2.4.1".into(),
        env_digest: "e1".repeat(32),
        source: Some(SourcePush {
            path: "/srv/geoclic".into(),
            exclude: vec![".git".into(), "fleet/".into()],
        }),
        files: vec![
            file(in_release("docker-compose.yml"), "0644", COMPOSE, false),
            file(in_release(".env"), "0600", &dotenv, true),
        ],
        mounts: vec![file(layout.at("files/77aa88bb99cc/nginx.conf"), "0644", "events {}\n", false)],
        builds: vec![Build {
            service: "api".into(),
            context: "api".into(),
            tag: "geoclic/api:0a1b2c".into(),
        }],
        built_here: None,
        images: BTreeMap::from([("api".into(), "geoclic/api:0a1b2c".into())]),
        project: Project {
            layout: layout.clone(),
            release: RELEASE.into(),
            file: "docker-compose.yml".into(),
            dotenv: Some(".env".into()),
        },
        health: vec![
            ("database".into(), health(Probe::Compose, 60)),
            ("api".into(), health(Probe::Http(api), 120)),
            ("nginx".into(), health(Probe::Tcp { port: 443 }, 60)),
        ],
        start_first: vec![("api".into(), Duration::from_secs(120))],
        front: Some(FrontHealth { path: "/api/health".into(), status: 200, json: BTreeMap::new() }),
        database: Some(database(layout)),
        password: Some(SECRET.into()),
        former_passwords: vec![FORMER.into()],
        migrations: vec![
            migration("001_tables.sql", "create table demandes (id bigint primary key);\n"),
            migration("002_photos.sql", "alter table demandes add photo text;\n"),
        ],
        bake: Duration::ZERO,
        keep: 5,
        services: Vec::new(),
    }
}

pub fn desired() -> Desired {
    let layout = Layout::new("geoclic");
    Desired {
        client: "ville-lyon".into(),
        domain: DOMAIN.into(),
        docker: DockerSource::Auto,
        repository: Repository {
            url: None,
            key: RepositoryKey::Url("https://download.docker.com/linux/{os}/gpg".into()),
        },
        registry_mirrors: vec!["http://mirror.example.org:5000".into()],
        firewall: true,
        ssh_port: 22,
        swap: Swap::Auto,
        memory_mb: Some(2048),
        deploy_user: Some("fleet".into()),
        public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample fleet@geoclic".into(),
        tls: Some(tls(&layout)),
        schedule: schedule(&layout),
        release: release(&layout),
        overwrite_drift: false,
        rollback_to: None,
        restore: None,
        purge: None,
        plain: BTreeMap::from([("SENTRY_ENVIRONMENT".to_owned(), "ville-lyon".to_owned())]),
        hooks: Hooks::default(),
        backup_first: None,
        who: "marie@atelier".into(),
        run: "20261120-101500-ab12".into(),
        at: "2026-11-20T10:15:00.000Z".into(),
        layout,
    }
}
