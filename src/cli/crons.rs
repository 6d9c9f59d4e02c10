//! Runs that Sentry's cron monitors expect: backups of each client, checks, proofs. Nothing of it fails a run.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::App;
use super::context::Fleet;
use crate::due::Slots;
use crate::registry::Client;
use crate::registry::values::Dsn;
use crate::sentry::crons::{CheckIn, Monitor};
use crate::sentry::deliver::deliver;
use crate::sentry::monitors::{Known, Monitors, Standing};
use crate::sentry::{Api, ApiError, Item, Purpose};
use crate::ui;

/// Longest time that Sentry gets for one check-in, and what each further one adds.
const LIMIT: Duration = Duration::from_secs(5);
const EACH: Duration = Duration::from_millis(30);
/// The same for all that its API is asked.
const API: Duration = Duration::from_secs(10);
/// Minutes that a backup may begin behind its place in the spread: cron's own five, and a queue.
const QUEUE: u64 = 30;
const MINUTES: u64 = 60;

/// Check-ins that have begun.
pub struct Crons<'a> {
    app: &'a App,
    dsn: Dsn,
    open: Vec<Open>,
    began: Instant,
}

struct Open {
    check_in: CheckIn,
    /// Sentry knows that it began.
    known: bool,
}

impl<'a> Crons<'a> {
    /// The backups of these clients begin.
    #[must_use]
    pub fn backups(app: &'a App, fleet: &Fleet, clients: &[&Client]) -> Option<Crons<'a>> {
        Crons::begin(app, fleet, || clients.iter().map(|client| backup(fleet, client)).collect())
    }

    /// A check begins.
    #[must_use]
    pub fn check(app: &'a App, fleet: &Fleet) -> Option<Crons<'a>> {
        let schedule = fleet.registry.fleet.sentry.check_schedule.to_string();
        Crons::begin(app, fleet, || vec![whole(fleet, "check", schedule, 10, 30)])
    }

    /// Proofs begin.
    #[must_use]
    pub fn proofs(app: &'a App, fleet: &Fleet) -> Option<Crons<'a>> {
        let schedule = fleet.registry.fleet.sentry.prove_schedule.to_string();
        Crons::begin(app, fleet, || vec![whole(fleet, "prove", schedule, 60, 24 * MINUTES)])
    }

    fn begin(app: &'a App, fleet: &Fleet, monitors: impl FnOnce() -> Vec<Monitor>) -> Option<Crons<'a>> {
        let settings = &fleet.registry.fleet.sentry;
        let reference = settings.dsn.as_ref().filter(|_| settings.crons)?;
        let dsn = fleet
            .secret(reference, "fleet.sentry.dsn")
            .and_then(|text| Dsn::parse(text.reveal()).map_err(anyhow::Error::new));
        let dsn = match dsn {
            Ok(dsn) => dsn,
            Err(error) => {
                let why = ui::flat(&format!("{error:#}"));
                app.tell(&format!("warning: Sentry's monitors are not told: {why}\n"));
                return None;
            }
        };
        let monitors = monitors();
        let names: Vec<&str> = fleet.registry.clients.iter().map(|client| client.name.as_str()).collect();
        stop_expecting(app, fleet, &dsn, |client| names.contains(&client));
        expect(app, fleet, &dsn, &monitors);
        let open: Vec<CheckIn> = monitors.into_iter().map(CheckIn::of).collect();
        let taken = post(app, &dsn, open.iter().map(CheckIn::begins).collect());
        let open = open.into_iter().enumerate();
        let open = open.map(|(place, check_in)| Open { check_in, known: taken.contains(&place) }).collect();
        Some(Crons { app, dsn, open, began: Instant::now() })
    }

    /// All are over; `well` says of each client, or of the whole, whether it went well.
    pub fn end(self, well: impl Fn(Option<&str>) -> bool) {
        let seconds = self.began.elapsed().as_secs_f64();
        let ends = |open: &Open| {
            let well = well(open.check_in.monitor.client.as_deref());
            open.check_in.ends(well, seconds, open.known)
        };
        post(self.app, &self.dsn, self.open.iter().map(ends).collect());
    }
}

fn backup(fleet: &Fleet, client: &Client) -> Monitor {
    let slots = Slots::of(&client.backup.schedule);
    let (zone, now) = (TimeZone::system(), Timestamp::now());
    // As `backup --due` does: the spread is cut to half of the time between two slots.
    let room = slots.next(now, &zone).and_then(|next| {
        let after = slots.next(next, &zone)?;
        u64::try_from((after.as_second() - next.as_second()) / 2).ok()
    });
    let spread = fleet.registry.fleet.backup.spread.as_secs().min(room.unwrap_or(u64::MAX));
    Monitor {
        slug: Monitor::slug(&fleet.registry.fleet.name, "backup", Some(&client.name)),
        client: Some(client.name.to_string()),
        schedule: client.backup.schedule.to_string(),
        timezone: timezone(),
        margin: spread.div_ceil(MINUTES) + QUEUE,
        longest: 12 * MINUTES,
    }
}

fn whole(fleet: &Fleet, topic: &str, schedule: String, margin: u64, longest: u64) -> Monitor {
    let slug = Monitor::slug(&fleet.registry.fleet.name, topic, None);
    Monitor { slug, client: None, schedule, timezone: timezone(), margin, longest }
}

/// Of this machine, whose cron starts the runs.
fn timezone() -> Option<String> {
    TimeZone::system().iana_name().map(str::to_owned)
}

/// By their place: those that were taken.
fn post(app: &App, dsn: &Dsn, items: Vec<Item<'static>>) -> Vec<usize> {
    let count = items.len();
    let limit = LIMIT + EACH * u32::try_from(count).unwrap_or(u32::MAX);
    let done = deliver(dsn, items, limit);
    if let Some(why) = &done.why {
        let lost = count - done.sent.len();
        let noun = if lost == 1 { "check-in" } else { "check-ins" };
        app.tell(&format!("warning: {lost} {noun} did not reach Sentry's monitors: {}\n", ui::flat(why)));
    }
    done.sent
}

/// Remembers what is expected from now on; a monitor that was disabled when its client went is enabled again.
fn expect(app: &App, fleet: &Fleet, dsn: &Dsn, monitors: &[Monitor]) {
    let state = fleet.state_dir();
    let known = Monitors::read(&state);
    let is_off = |slug: &str| known.all.get(slug).is_some_and(|known| known.standing == Standing::Off);
    let off: Vec<&str> =
        monitors.iter().map(|monitor| monitor.slug.as_str()).filter(|slug| is_off(slug)).collect();
    for (slug, result) in off.iter().zip(set(fleet, dsn, &off, "active")) {
        if let Err(refusal) = result {
            let why = refusal.why;
            app.tell(&format!("warning: monitor {slug} is disabled at Sentry, and was not enabled: {why}\n"));
        }
    }
    let remembered = Monitors::change(&state, |known| {
        for monitor in monitors {
            let standing = Known { client: monitor.client.clone(), standing: Standing::Expected };
            known.all.insert(monitor.slug.clone(), standing);
        }
    });
    if let Err(error) = remembered {
        app.tell(&format!("warning: Sentry's monitors are not remembered: {error}\n"));
    }
}

/// These clients were just taken out of the registry.
pub fn removed(app: &App, fleet: &Fleet, clients: &[&str]) {
    let Some(reference) = &fleet.registry.fleet.sentry.dsn else { return };
    if Monitors::read(&fleet.state_dir()).all.is_empty() {
        return;
    }
    let dsn = fleet.secret(reference, "fleet.sentry.dsn").ok();
    let Some(dsn) = dsn.and_then(|text| Dsn::parse(text.reveal()).ok()) else { return };
    stop_expecting(app, fleet, &dsn, |client| !clients.contains(&client));
}

/// Monitors of clients that are gone are disabled; where that cannot be done, it is said, once.
fn stop_expecting(app: &App, fleet: &Fleet, dsn: &Dsn, is_there: impl Fn(&str) -> bool) {
    let state = fleet.state_dir();
    let known = Monitors::read(&state);
    let left: Vec<(&str, &str)> = known.left_behind(is_there).collect();
    if left.is_empty() {
        return;
    }
    let slugs: Vec<&str> = left.iter().map(|(slug, _)| *slug).collect();
    let mut now: Vec<(&str, Option<Standing>)> = Vec::new();
    for ((slug, client), result) in left.iter().zip(set(fleet, dsn, &slugs, "disabled")) {
        match result {
            Ok(true) => now.push((slug, Some(Standing::Off))),
            Ok(false) => now.push((slug, None)),
            Err(Refusal { why, lasting }) => {
                let next = match lasting {
                    true => format!("disable or delete its monitor {slug} there by hand"),
                    false => "the next run tries again".to_owned(),
                };
                app.tell(&format!("warning: Sentry still expects backups of {client}: {why}; {next}\n"));
                if lasting {
                    now.push((slug, Some(Standing::Told)));
                }
            }
        }
    }
    let remembered = Monitors::change(&state, |known| {
        for (slug, standing) in now {
            match (standing, known.all.get_mut(slug)) {
                (Some(standing), Some(known)) => known.standing = standing,
                _ => drop(known.all.remove(slug)),
            }
        }
    });
    if let Err(error) = remembered {
        app.tell(&format!("warning: Sentry's monitors are not remembered: {error}\n"));
    }
}

struct Refusal {
    why: String,
    /// It will be the same the next time.
    lasting: bool,
}

/// Tells Sentry's API whether monitors are on, one answer for each: false where there is none of that name.
fn set(fleet: &Fleet, dsn: &Dsn, slugs: &[&str], status: &str) -> Vec<Result<bool, Refusal>> {
    if slugs.is_empty() {
        return Vec::new();
    }
    let settings = &fleet.registry.fleet.sentry;
    let opened = match (&settings.token, organisation(fleet, dsn)) {
        (None, _) => Err("[fleet.sentry] has no token".to_owned()),
        (_, None) => Err("the organisation of the fleet's own project is not known".to_owned()),
        (Some(token), Some(org)) => fleet
            .secret(token, "fleet.sentry.token")
            .map(|token| (Api::new(&settings.url, token, API, |_| {}), org))
            .map_err(|error| ui::flat(&error.to_string())),
    };
    let (api, org) = match opened {
        Ok(opened) => opened,
        Err(why) => return slugs.iter().map(|_| Err(Refusal { why: why.clone(), lasting: true })).collect(),
    };
    let one = |slug: &&str| {
        let what = format!("change monitor {slug}");
        let purpose = Purpose { what: &what, scope: "alerts:write" };
        let path = format!("/api/0/organizations/{org}/monitors/{slug}/");
        match api.put(&path, &serde_json::json!({ "status": status }), purpose) {
            Ok(_) => Ok(true),
            Err(error) if error.is_unknown() => Ok(false),
            Err(error) => {
                let lasting = matches!(error, ApiError::Token { .. } | ApiError::Scope { .. });
                Err(Refusal { why: ui::flat(&format!("{error} ({})", error.hint())), lasting })
            }
        }
    };
    slugs.iter().map(one).collect()
}

/// Hosted Sentry names it in the DSN (`o123.ingest...`); else it is that of the clients, where they have one.
fn organisation(fleet: &Fleet, dsn: &Dsn) -> Option<String> {
    let label = dsn.host().split('.').next().unwrap_or_default();
    let number = label.strip_prefix('o').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let mut orgs: Vec<&str> = fleet
        .registry
        .clients
        .iter()
        .filter_map(|client| Some(client.sentry.org.as_ref()?.as_str()))
        .collect();
    orgs.sort_unstable();
    orgs.dedup();
    match (number, orgs.as_slice()) {
        (Some(number), _) => Some(number.to_owned()),
        (None, [one]) => Some((*one).to_owned()),
        (None, _) => None,
    }
}
