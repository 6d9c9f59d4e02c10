//! Stage "system": a bare Debian or Ubuntu becomes a machine that can run a stack.

use super::{Change, Desired, Refusal, RepositoryKey, Step};
use crate::facts::Facts;
use crate::ops::files::{NewFile, make_dirs, put};
use crate::ops::{apt, certbot, host};
use crate::registry::DockerSource;
use crate::registry::values::Swap;

/// Compose older than this lacks what stacks use (`--wait`, `include`, health of `depends_on`).
const MIN_COMPOSE: (u32, u32) = (2, 20);

const BASE_PACKAGES: [&str; 10] = [
    "ca-certificates",
    "cron",
    "curl",
    "gzip",
    "nftables",
    "openssl",
    "rsync",
    "tar",
    "unattended-upgrades",
    "zstd",
];
const REPOSITORY_PACKAGES: [&str; 5] =
    ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];
const REPOSITORY_KEY: &str = "/etc/apt/keyrings/docker.asc";
const DOCKER_KEY_URL: &str = "https://download.docker.com/linux";

/// Systems that provisioning is tested on, and what their own Docker packages are called.
const SYSTEMS: [(&str, &str, &[&str]); 4] = [
    // Debian 12's own Compose is 1.29: too old.
    ("debian", "12", &[]),
    ("debian", "13", &["docker.io", "docker-cli", "docker-buildx", "docker-compose"]),
    ("ubuntu", "22.04", &["docker.io", "docker-buildx", "docker-compose-v2"]),
    ("ubuntu", "24.04", &["docker.io", "docker-buildx", "docker-compose-v2"]),
];

pub(super) fn probed_packages() -> Vec<String> {
    let distribution = SYSTEMS.iter().flat_map(|(_, _, packages)| packages.iter());
    let mut all: Vec<String> = BASE_PACKAGES
        .iter()
        .chain(&REPOSITORY_PACKAGES)
        .chain(distribution)
        .chain(&["certbot"])
        .map(|name| (*name).to_owned())
        .collect();
    all.sort();
    all.dedup();
    all
}

pub(super) fn probed_units(desired: &Desired) -> Vec<String> {
    vec![
        "docker.service".into(),
        "cron.service".into(),
        "certbot.timer".into(),
        "fleet-firewall.service".into(),
        desired.schedule.unit_name(),
    ]
}

pub(super) fn dirs(desired: &Desired) -> Vec<(String, String)> {
    let mut dirs = vec![(desired.layout.base(), "0755".to_owned())];
    for (name, mode) in [
        ("releases", "0750"),
        ("files", "0755"),
        ("tls", "0700"),
        ("acme", "0755"),
        ("backups", "0700"),
        ("bin", "0755"),
    ] {
        dirs.push((desired.layout.at(name), mode.to_owned()));
    }
    dirs
}

pub(super) fn plan(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let system = supported(facts)?;
    let mut steps = Vec::new();
    if matches!(facts.value("cloud_init"), Some("running" | "not run" | "not started")) {
        steps.push(Step::run("wait for cloud-init", Change::Nothing, apt::wait_for_cloud_init()));
    }
    packages(desired, facts, &mut steps);
    docker(desired, facts, system, &mut steps)?;
    swap(desired, facts, &mut steps);
    user(desired, facts, &mut steps);
    firewall(desired, facts, &mut steps);
    folders(desired, facts, &mut steps);
    schedules(desired, facts, &mut steps);
    Ok(steps)
}

type System = (&'static str, &'static str, &'static [&'static str]);

fn supported(facts: &Facts) -> Result<System, Refusal> {
    let (id, version) = facts.os();
    SYSTEMS.into_iter().find(|(os, release, _)| (*os, *release) == (id, version)).ok_or_else(|| Refusal {
        message: format!("{} is not supported", facts.value("os_name").unwrap_or(id)),
        hint: "use Debian 12 or 13, or Ubuntu 22.04 or 24.04".into(),
    })
}

fn packages(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let mut wanted: Vec<&str> = BASE_PACKAGES.to_vec();
    if desired.tls.is_some() {
        wanted.push("certbot");
    }
    let missing = missing(&wanted, facts);
    if !missing.is_empty() {
        steps.push(
            Step::run("install packages", Change::Create, apt::install(&missing))
                .detail(missing.join(" "))
                .hint("look at the lines above; `apt-get update` on the host shows what its mirrors answer"),
        );
    }
    put_changed("enable security upgrades", vec![host::unattended_upgrades()], facts, steps);
}

fn docker(desired: &Desired, facts: &Facts, system: System, steps: &mut Vec<Step>) -> Result<(), Refusal> {
    let (id, version, own) = system;
    let present = facts.value("engine").is_some() && facts.value("compose").is_some_and(new_enough);
    if !present {
        let repository = match desired.docker {
            DockerSource::Docker => true,
            // Docker's own packages are here already: those of the distribution would remove them.
            DockerSource::Auto => own.is_empty() || facts.packages.contains_key("docker-ce"),
            DockerSource::Distribution if own.is_empty() => {
                return Err(Refusal {
                    message: format!("the Compose that {id} {version} packages is older than 2.20"),
                    hint: "set `docker = { source = \"docker\" }` under [fleet], or leave it at \"auto\""
                        .into(),
                });
            }
            DockerSource::Distribution => false,
        };
        if repository {
            add_repository(desired, facts, id, steps);
        }
        let wanted: &[&str] = if repository { &REPOSITORY_PACKAGES } else { own };
        let missing = missing(wanted, facts);
        let names =
            if missing.is_empty() { wanted.iter().map(|s| (*s).to_owned()).collect() } else { missing };
        steps.push(
            Step::run("install Docker and Compose", Change::Create, apt::install(&names))
                .detail(names.join(" ")),
        );
    }
    let settings = host::daemon_json(&desired.registry_mirrors);
    let running = facts.units.get("docker.service").is_some_and(|unit| unit.active == "active");
    if differs(&settings, facts) {
        steps.push(
            Step::run("configure Docker", Change::Modify, put(std::slice::from_ref(&settings)))
                .detail(format!("{}: rotated logs, live restore, registry mirrors", settings.path)),
        );
        steps.push(Step::run("restart Docker", Change::Modify, host::restart_docker()));
    } else if !running {
        steps.push(Step::run("start Docker", Change::Modify, host::restart_docker()));
    }
    Ok(())
}

fn add_repository(desired: &Desired, facts: &Facts, id: &str, steps: &mut Vec<Step>) {
    let url = desired.repository.url.clone().unwrap_or_else(|| format!("{DOCKER_KEY_URL}/{id}"));
    let codename = facts.value("codename").unwrap_or_default();
    let key_url = match &desired.repository.key {
        RepositoryKey::Content(content) => {
            let key = NewFile {
                path: REPOSITORY_KEY.into(),
                mode: "0644".into(),
                content: content.clone(),
                secret: false,
            };
            steps.push(Step::run("install the key of Docker's repository", Change::Create, put(&[key])));
            None
        }
        RepositoryKey::Url(url) => Some(url.replace("{os}", id)),
    };
    steps.push(
        Step::run(
            "add Docker's package repository",
            Change::Create,
            apt::add_repository(&url, codename, REPOSITORY_KEY, key_url.as_deref()),
        )
        .detail(format!("{url} {codename} stable"))
        .hint(
            "the host must reach this address; set `docker = { repository, key }` under [fleet] for a mirror",
        ),
    );
}

fn new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MIN_COMPOSE,
        _ => false,
    }
}

fn swap(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    const SMALL_KB: u64 = 2 * 1024 * 1024 + 200 * 1024;
    let none = facts.number("SwapTotal") == Some(0);
    let small = facts.number("MemTotal").is_some_and(|kb| kb < SMALL_KB);
    let megabytes = match desired.swap {
        Swap::Auto if small => 2048,
        Swap::Mebibytes(wanted) => u64::from(wanted),
        Swap::Auto | Swap::Off => return,
    };
    if none {
        steps.push(
            Step::run("add swap", Change::Create, host::make_swap(megabytes))
                .detail(format!("{megabytes} MiB in {}", host::SWAP_FILE)),
        );
    }
}

fn user(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let Some(name) = &desired.deploy_user else { return };
    if facts.value("deploy_user") != Some(name) || facts.value("deploy_key") != Some("yes") {
        steps.push(
            Step::run(
                format!("create deploy user {name}"),
                Change::Create,
                host::deploy_user(name, &desired.public_key),
            )
            .detail("the fleet's key, no password, sudo"),
        );
    }
}

fn firewall(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    if !desired.firewall {
        return;
    }
    // The ports sshd really listens on stay open too, so that no rule of ours locks anyone out.
    let mut ports = facts.ssh_ports.clone();
    ports.insert(desired.ssh_port);
    let files = host::firewall(&ports).to_vec();
    let loaded = facts.value("firewall") == Some("loaded")
        && facts.units.get("fleet-firewall.service").is_some_and(|unit| unit.enabled == "enabled");
    if !loaded || files.iter().any(|file| differs(file, facts)) {
        let open = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        put_changed("write firewall rules", files, facts, steps);
        steps.push(
            Step::run("load the firewall", Change::Modify, host::load_firewall())
                .detail(format!("open: SSH ({open}), 80, 443; published container ports are closed too")),
        );
    }
}

fn folders(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let wrong: Vec<(String, String)> = dirs(desired)
        .into_iter()
        .filter(|(path, mode)| facts.dirs.get(path).map(String::as_str) != Some(mode.trim_start_matches('0')))
        .collect();
    if !wrong.is_empty() {
        let list = wrong.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>().join(" ");
        steps.push(Step::run("make folders", Change::Create, make_dirs(&wrong)).detail(list));
    }
}

fn schedules(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) {
    let mut files = desired.schedule.files();
    if let Some(tls) = &desired.tls {
        files.extend(tls.files());
    }
    let dropin = files.iter().any(|file| file.path == certbot::RENEW_DROPIN && differs(file, facts));
    put_changed("write schedules and scripts", files, facts, steps);
    let mut units = vec![desired.schedule.unit_name(), "cron.service".into()];
    if desired.tls.is_some() {
        units.push("certbot.timer".into());
    }
    // The stack's unit starts nothing before a first release, so "enabled" is what counts there.
    let stack_unit = desired.schedule.unit_name();
    let off: Vec<String> = units
        .into_iter()
        .filter(|name| {
            let unit = facts.units.get(name).cloned().unwrap_or_default();
            unit.enabled != "enabled" || (*name != stack_unit && unit.active != "active")
        })
        .collect();
    if dropin || !off.is_empty() {
        let list = if off.is_empty() { "systemd reads its units again".to_owned() } else { off.join(" ") };
        steps.push(
            Step::run("enable start at boot, cron and renewal", Change::Modify, host::enable_units(&off))
                .detail(list),
        );
    }
}

fn missing(wanted: &[&str], facts: &Facts) -> Vec<String> {
    wanted.iter().filter(|name| !facts.packages.contains_key(**name)).map(|name| (*name).to_owned()).collect()
}

/// Whether a managed file is not on the host as it shall be.
pub(super) fn differs(file: &NewFile, facts: &Facts) -> bool {
    use sha2::{Digest as _, Sha256};
    let digest = crate::shell::hex(&Sha256::digest(&file.content));
    facts
        .files
        .get(&file.path)
        .is_none_or(|found| found.sha256 != digest || found.mode != file.mode.trim_start_matches('0'))
}

fn put_changed(title: &str, files: Vec<NewFile>, facts: &Facts, steps: &mut Vec<Step>) {
    let changed: Vec<NewFile> = files.into_iter().filter(|file| differs(file, facts)).collect();
    if changed.is_empty() {
        return;
    }
    let known = changed.iter().any(|file| facts.files.contains_key(&file.path));
    let change = if known { Change::Modify } else { Change::Create };
    let names = changed.iter().map(|file| file.path.clone());
    steps.push(Step::run(title, change, put(&changed)).details(names));
}
