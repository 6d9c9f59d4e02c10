//! fleet's own errors, told to a Sentry of the operator's choice.
//!
//! Rules of this room: off unless a DSN is given; then events are only collected while the program runs, and sent
//! at its end, all at once, within two seconds, whatever the server does. Nothing is sent from a task, so
//! that what belongs to one client is never told of another. Everything is masked on its way out.

mod event;
mod scrub;

use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::deliver::{Delivered, deliver};
use super::ingest::Item;
use crate::event::Report;
use crate::held;
use crate::registry::values::Dsn;

/// Longest time that the end of the program is held up.
const LIMIT: Duration = Duration::from_millis(1500);

/// Finds the DSN when there is something to say, and not before: it may be a secret that must be decrypted.
pub type Source = Box<dyn FnOnce() -> Result<Dsn, String> + Send>;

struct Own {
    source: Source,
    fleet: Option<String>,
    environment: Option<String>,
    /// With the time of each.
    events: Vec<(Timestamp, Json)>,
}

static OWN: Mutex<Option<Own>> = Mutex::new(None);
/// The command that runs, without its arguments: one of them may be a secret.
static VERB: OnceLock<String> = OnceLock::new();

fn own() -> MutexGuard<'static, Option<Own>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which command this is.
pub fn command(verb: &str) {
    VERB.get_or_init(|| verb.to_owned());
}

fn verb() -> &'static str {
    VERB.get().map_or("", String::as_str)
}

/// What happens from now on is reported at the end. Who was asked first stays.
pub fn begin(source: Source) {
    let mut own = own();
    if own.is_some() {
        return;
    }
    *own = Some(Own {
        source,
        fleet: None,
        environment: std::env::var("FLEET_SENTRY_ENVIRONMENT").ok().filter(|text| !text.is_empty()),
        events: Vec::new(),
    });
    held::keep();
    hear_panics();
}

#[must_use]
pub fn is_on() -> bool {
    own().is_some()
}

/// The fleet that this is about.
pub fn about(fleet: &str) {
    if let Some(own) = own().as_mut() {
        own.fleet = Some(fleet.to_owned());
    }
}

/// An error that ended the command: what happened, then its causes.
pub fn error(messages: &[String]) {
    if let Some(own) = own().as_mut() {
        own.events.push((Timestamp::now(), event::error(verb(), messages)));
    }
}

/// The clients of a run that failed.
pub fn report(report: &Report) {
    let Some(own) = &mut *own() else { return };
    let now = Timestamp::now();
    own.events.extend(event::clients(report).into_iter().map(|event| (now, event)));
}

/// Sends what was collected. `None` where there was nothing, else what became of it and of how many.
#[must_use]
pub fn end() -> Option<(usize, Delivered)> {
    let Own { source, fleet, environment, events, .. } = own().take().filter(|own| !own.events.is_empty())?;
    let count = events.len();
    let dsn = match source() {
        Ok(dsn) => dsn,
        Err(why) => return Some((count, Delivered { sent: Vec::new(), why: Some(why) })),
    };
    let (redactor, home) = (held::redactor(), std::env::var("HOME").ok());
    let item = |(at, mut body): (Timestamp, Json)| {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid().simple().to_string();
        event::complete(&mut body, &id, &at.to_string(), fleet.as_deref(), environment.as_deref());
        scrub::scrub(&mut body, &redactor, home.as_deref());
        Item { kind: "event", category: "error", body }
    };
    let items = events.into_iter().map(item).collect();
    Some((count, deliver(&dsn, items, LIMIT)))
}

/// A panic is collected where it happens, in whatever thread, and printed as ever.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            let payload = info.payload();
            let message = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "it gave no message".to_owned());
            let place = info.location().map(|place| (place.file(), place.line(), place.column()));
            // One in this very file must not wait for itself.
            if let Ok(mut own) = OWN.try_lock()
                && let Some(own) = own.as_mut()
            {
                own.events.push((Timestamp::now(), event::panic(verb(), &message, place)));
            }
        }));
    });
}
