//! From facts to findings, the worst first.

use super::pulled::{self, Pulled};
use super::{Finding, Limits, State};
use crate::facts::{Container, Facts};

/// What a client is judged by.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub client: String,
    pub stack: String,
    /// Status that the front door's health answer must have.
    pub http_status: Option<u16>,
    pub tls: bool,
    /// The host dumps something every night.
    pub dumps: bool,
    /// What is remembered of the operator's own backups; none where none was ever tried.
    pub pulled: Option<Pulled>,
    /// Dotted path of Sentry's state in the health answer, where the client has a DSN.
    pub sentry_path: Option<String>,
    /// The stack's own checks: name, and the HTTP status or exit code that it must answer.
    pub own: Vec<(String, u16)>,
    pub limits: Limits,
}

/// When a host was asked, in seconds since the epoch, by this machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    pub asked: i64,
    pub answered: i64,
}

impl Clock {
    /// Seconds that the host's clock is ahead (or behind, negative), counted from the nearer end of the
    /// time in which it answered. `None` when it told no time.
    #[must_use]
    pub fn skew(self, facts: &Facts) -> Option<i64> {
        let there = i64::try_from(facts.number("clock")?).ok()?;
        Some(match there {
            late if late > self.answered => late.saturating_sub(self.answered),
            early if early < self.asked => early.saturating_sub(self.asked),
            _ => 0,
        })
    }
}

/// How long the host's own watch may be silent: it looks every 5 minutes.
const WATCH_SILENT: u64 = 16 * 60;
const DAY: i64 = 86_400;

/// The findings of a client whose host did not answer: one thing is wrong, and hides the rest.
#[must_use]
pub fn unreachable(wanted: &Wanted, error: &str, remedy: Option<&str>) -> Vec<Finding> {
    let mut list = List::new(&wanted.limits);
    let usual = format!("fleet test-ssh {}", wanted.client);
    list.bad("host", error.to_owned(), remedy.unwrap_or(&usual).to_owned());
    list.hide("host");
    list.done(wanted)
}

/// Every check of a client whose host answered. `clock` is left out where this machine's is not to be
/// compared with.
#[must_use]
pub fn judge(wanted: &Wanted, facts: &Facts, clock: Option<Clock>) -> Vec<Finding> {
    let (client, limits) = (&wanted.client, &wanted.limits);
    let mut list = List::new(limits);
    list.well("host");
    if facts.state.is_none() {
        list.bad("provision", "not provisioned".to_owned(), format!("fleet provision {client}"));
        list.hide("provision");
        return list.done(wanted);
    }
    list.well("provision");
    application(wanted, facts, &mut list);
    machine(wanted, facts, clock, &mut list);
    list.done(wanted)
}

/// What users see.
fn application(wanted: &Wanted, facts: &Facts, list: &mut List<'_>) {
    let client = &wanted.client;
    // A probe of an older form does not name the engine; a container proves one.
    if facts.value("engine").is_none()
        && facts.containers.is_empty()
        && facts.units.contains_key("docker.service")
    {
        list.bad(
            "docker",
            "docker does not answer".to_owned(),
            format!("fleet ssh {client} -- sudo systemctl restart docker"),
        );
        list.hide("docker");
    }
    list.well("docker");
    if let Some(status) = wanted.http_status {
        match facts.http() {
            Some((found, _)) if found == status => list.well("http"),
            Some((found, _)) if found > 0 => {
                list.bad(
                    "http",
                    format!("health answers HTTP {found}"),
                    format!("fleet logs {client} --since 15m"),
                );
            }
            _ => list.bad(
                "http",
                "health does not answer".to_owned(),
                format!("fleet logs {client} --since 15m"),
            ),
        }
    }
    let bad: Vec<String> =
        facts.containers.iter().filter(|container| !container.well()).map(state_of).collect();
    if !bad.is_empty() {
        let services: Vec<&str> = bad.iter().filter_map(|text| text.split(' ').next()).collect();
        let remedy = format!("fleet logs {client} --service {}", services.first().unwrap_or(&""));
        list.bad("containers", bad.join("; "), remedy);
    } else if facts.containers.is_empty() {
        list.bad("containers", "no containers".to_owned(), format!("fleet update {client}"));
    }
    list.well("containers");
    if wanted.tls {
        certificate(wanted, facts, list);
    }
    for (name, wish) in &wanted.own {
        let check = format!("stack.{name}");
        match facts.own_checks.get(name).map(String::as_str) {
            Some(found) if found == wish.to_string() => {}
            None | Some("") => list.unknown(&check),
            Some("none") => list.bad(
                &check,
                format!("check {name}: its service does not run"),
                format!("fleet status {client}"),
            ),
            Some(found) => {
                let found = crate::secret::clean(found).into_owned();
                list.bad(
                    &check,
                    format!("check {name} answers {found}, not {wish}"),
                    format!("fleet logs {client} --since 15m"),
                );
            }
        }
        list.well(&check);
    }
    if let Some(path) = &wanted.sentry_path
        && let Some((state, _)) = facts.sentry(path)
    {
        if !sentry_is_on(&state) {
            list.bad("sentry", format!("sentry is {state}"), format!("fleet sentry status {client}"));
        }
        list.well("sentry");
    }
}

/// Whether a word of a health answer says that errors are reported.
#[must_use]
pub fn sentry_is_on(state: &str) -> bool {
    matches!(state, "ok" | "enabled" | "active" | "on" | "true")
}

fn certificate(wanted: &Wanted, facts: &Facts, list: &mut List<'_>) {
    let client = &wanted.client;
    let renew = format!("fleet ssh {client} -- sudo certbot renew; fleet provision {client}");
    let provision = format!("fleet provision {client}");
    let placeholder = facts.value("disk_issuer").is_some_and(|issuer| issuer.contains("fleet placeholder"));
    let (text, remedy) = if facts.value("disk_serial").is_none() {
        ("no certificate".to_owned(), provision)
    } else if placeholder {
        ("placeholder certificate".to_owned(), provision)
    } else if facts.expired("disk") {
        ("certificate expired".to_owned(), renew)
    } else if facts.value("served_serial") != facts.value("disk_serial") {
        ("certificate on disk is not served".to_owned(), provision)
    } else {
        match facts.certificate_fraction("disk") {
            Some(left) if left < wanted.limits.certificate_fraction => {
                let days = facts.certificate_left("disk").unwrap_or(0).div_euclid(DAY);
                (
                    format!(
                        "certificate has {:.0}% of its lifetime left ({days} d): it was not renewed",
                        left * 100.0
                    ),
                    renew,
                )
            }
            _ => return list.well("certificate"),
        }
    };
    list.bad("certificate", text, remedy);
}

/// What they do not see yet.
fn machine(wanted: &Wanted, facts: &Facts, clock: Option<Clock>, list: &mut List<'_>) {
    let (client, limits) = (&wanted.client, &wanted.limits);
    if !facts.drift.is_empty() {
        let paths: Vec<_> = facts.drift.iter().map(|path| crate::secret::clean(path).into_owned()).collect();
        let text = format!("edited on the host: {}", paths.join(", "));
        list.bad("files", text, format!("fleet update {client} --overwrite-drift"));
    }
    list.well("files");
    let over =
        |found: Option<u64>, most: u8| found.filter(|found| *found >= u64::from(most) && *found <= 100);
    if let Some(percent) = over(facts.number("disk_percent"), limits.disk_percent) {
        let remedy = format!("fleet ssh {client} -- sudo docker system prune -f");
        list.bad("disk", format!("disk {percent}% full"), remedy);
    }
    list.well("disk");
    if let Some(percent) = over(facts.memory_percent(), limits.memory_percent) {
        let remedy = format!("fleet ssh {client} -- sudo docker stats --no-stream");
        list.bad("memory", format!("memory {percent}% used"), remedy);
    }
    list.well("memory");
    let load = facts.value("load").and_then(|text| text.split(' ').nth(2)?.parse::<f64>().ok());
    let processors = facts.number("cpus").filter(|count| *count > 0).unwrap_or(1);
    if let Some(load) = load.filter(|load| load / processors as f64 >= limits.load) {
        let text = format!("load {load:.1} over 15 minutes on {processors} processors");
        list.bad("load", text, format!("fleet ssh {client} -- top -bn1"));
    }
    list.well("load");
    dumps(wanted, facts, list);
    cron(wanted, facts, list);
    if let Some(skew) = clock
        .and_then(|clock| clock.skew(facts))
        .filter(|skew| skew.unsigned_abs() > limits.clock_skew.into())
    {
        let way = if skew > 0 { "ahead" } else { "behind" };
        let remedy =
            format!("fleet ssh {client} -- sudo timedatectl set-ntp true (and look at this machine's clock)");
        list.bad("clock", format!("its clock is {} s {way}", skew.unsigned_abs()), remedy);
    }
    list.well("clock");
    if facts.value("reboot_required").is_some() {
        let now = facts.number("clock").unwrap_or(0);
        let days = facts.number("reboot_since").map_or(0, |since| now.saturating_sub(since) / DAY as u64);
        if days >= u64::from(limits.reboot_days) {
            let text = if days == 0 {
                "reboot required".to_owned()
            } else {
                format!("reboot required for {days} d")
            };
            list.bad("reboot", text, format!("fleet ssh {client} -- sudo reboot"));
        }
    }
    list.well("reboot");
}

fn dumps(wanted: &Wanted, facts: &Facts, list: &mut List<'_>) {
    let remedy = format!("fleet ssh {} -- sudo /opt/{}/bin/backup", wanted.client, wanted.stack);
    if let Some(last) = facts.dump() {
        if !last.ok {
            list.bad("backup", format!("nightly dump failed: {}", last.detail), remedy);
        } else if last.age_hours > u64::from(wanted.limits.backup_age_hours) {
            list.bad("backup", format!("last dump {} h ago", last.age_hours), remedy);
        }
    } else if wanted.dumps {
        // A host that was just provisioned has not seen its first night.
        let old =
            facts.state_age_hours().is_some_and(|hours| hours > u64::from(wanted.limits.backup_age_hours));
        if old {
            list.bad("backup", "no dump yet".to_owned(), remedy);
        }
    }
    list.well("backup");
}

fn cron(wanted: &Wanted, facts: &Facts, list: &mut List<'_>) {
    let remedy = format!("fleet ssh {} -- sudo systemctl enable --now cron", wanted.client);
    let stopped = facts.units.get("cron.service").filter(|unit| unit.active != "active");
    let silent = facts.watch_silent().filter(|seconds| *seconds > WATCH_SILENT);
    if let Some(unit) = stopped {
        let state = crate::secret::clean(&unit.active).into_owned();
        let state = if state.is_empty() { "not there".to_owned() } else { state };
        list.bad("cron", format!("cron is {state}"), remedy);
    } else if let Some(seconds) = silent {
        list.bad("cron", format!("its own watch is silent for {} min", seconds / 60), remedy);
    }
    list.well("cron");
}

fn state_of(container: &Container) -> String {
    let state = if container.status == "running" { &container.health } else { &container.status };
    crate::secret::clean(&format!("{} {state}", container.service)).into_owned()
}

/// Findings as they are made; a check has one.
struct List<'l> {
    limits: &'l Limits,
    findings: Vec<Finding>,
    hidden: Option<&'static str>,
}

impl<'l> List<'l> {
    fn new(limits: &'l Limits) -> Self {
        List { limits, findings: Vec::new(), hidden: None }
    }

    fn add(&mut self, check: &str, state: State, text: String, remedy: String) {
        if !self.limits.off.contains(check) && self.findings.iter().all(|finding| finding.check != check) {
            self.findings.push(Finding { check: check.to_owned(), state, text, remedy });
        }
    }

    fn bad(&mut self, check: &str, text: String, remedy: String) {
        match self.hides(check) {
            true => self.unknown(check),
            false => self.add(check, State::Failing, text, remedy),
        }
    }

    /// Unless something was found already.
    fn well(&mut self, check: &str) {
        match self.hides(check) {
            true => self.unknown(check),
            false => self.add(check, State::Well, String::new(), String::new()),
        }
    }

    fn unknown(&mut self, check: &str) {
        self.add(check, State::Unknown, String::new(), String::new());
    }

    /// What depends on it is not judged from here on.
    fn hide(&mut self, check: &'static str) {
        self.hidden = Some(check);
    }

    fn hides(&self, check: &str) -> bool {
        let of_docker =
            matches!(check, "http" | "containers" | "certificate" | "sentry") || check.starts_with("stack.");
        match self.hidden {
            None => false,
            Some("docker") => of_docker,
            Some(other) => check != other,
        }
    }

    /// What was not reached is unknown, so that a list always has every check of its client.
    fn done(mut self, wanted: &Wanted) -> Vec<Finding> {
        const ALWAYS: &[&str] = &[
            "host",
            "provision",
            "docker",
            "containers",
            "files",
            "disk",
            "memory",
            "load",
            "backup",
            "cron",
            "clock",
            "reboot",
        ];
        let own = wanted.own.iter().map(|(name, _)| format!("stack.{name}"));
        let sometimes = [
            ("http", wanted.http_status.is_some()),
            ("certificate", wanted.tls),
            ("sentry", wanted.sentry_path.is_some()),
        ];
        let sometimes = sometimes.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
        let all: Vec<String> =
            ALWAYS.iter().map(|name| (*name).to_owned()).chain(sometimes).chain(own).collect();
        for check in all {
            self.unknown(&check);
        }
        self.findings.extend(pulled::findings(wanted));
        // Stable: within a state the order above is the order of importance.
        self.findings.sort_by_key(|finding| finding.state != State::Failing);
        self.findings
    }
}
