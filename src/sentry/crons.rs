//! Check-ins of Sentry's cron monitors (<https://develop.sentry.dev/sdk/telemetry/check-ins/>): what a run says when it
//! begins and when it is over, and the schedule that it is expected by.

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::ingest::Item;

/// Sentry cuts a monitor's name here.
const LONGEST: usize = 50;
/// Longest time that Sentry waits for anything, in minutes.
const MOST: u64 = 40_320;

/// What is expected, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    pub slug: String,
    /// The client that it is about; `None` for the fleet as a whole.
    pub client: Option<String>,
    /// Five fields.
    pub schedule: String,
    /// Name in the tz database.
    pub timezone: Option<String>,
    /// Minutes that it may be late.
    pub margin: u64,
    /// Minutes that it may take.
    pub longest: u64,
}

/// One run of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckIn {
    /// 32 hexadecimal digits, the same at the beginning and at the end.
    pub id: String,
    pub monitor: Monitor,
}

impl Monitor {
    /// Named after the fleet, the topic and the client; what is too long keeps its beginning and gets a mark of
    /// its own.
    #[must_use]
    pub fn slug(fleet: &str, topic: &str, client: Option<&str>) -> String {
        let whole: Vec<&str> = [fleet, topic].into_iter().chain(client).collect();
        let whole = whole.join("-");
        if whole.len() <= LONGEST {
            return whole;
        }
        let mark: String = Sha256::digest(&whole).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let kept: String = whole.chars().take(LONGEST - 1 - mark.len()).collect();
        format!("{}-{mark}", kept.trim_end_matches('-'))
    }

    /// What Sentry makes or changes the monitor by.
    fn config(&self) -> Json {
        let mut config = json!({
            "schedule": { "type": "crontab", "value": self.schedule },
            "checkin_margin": self.margin.clamp(1, MOST),
            "max_runtime": self.longest.clamp(1, MOST),
            "failure_issue_threshold": 1,
            "recovery_threshold": 1,
        });
        if let Some(zone) = &self.timezone {
            config["timezone"] = zone.as_str().into();
        }
        config
    }
}

impl CheckIn {
    #[must_use]
    pub fn of(monitor: Monitor) -> CheckIn {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid().simple().to_string();
        CheckIn { id, monitor }
    }

    /// It begins; the monitor is made, or is brought to what the registry says now.
    #[must_use]
    pub fn begins(&self) -> Item<'static> {
        let mut body = self.body("in_progress");
        body["monitor_config"] = self.monitor.config();
        Item { kind: "check_in", category: "monitor", body }
    }

    /// It is over. Where its beginning was not taken, the monitor may not be there yet.
    #[must_use]
    pub fn ends(&self, well: bool, seconds: f64, known: bool) -> Item<'static> {
        let mut body = self.body(if well { "ok" } else { "error" });
        body["duration"] = seconds.into();
        if !known {
            body["monitor_config"] = self.monitor.config();
        }
        Item { kind: "check_in", category: "monitor", body }
    }

    fn body(&self, status: &str) -> Json {
        json!({ "check_in_id": self.id, "monitor_slug": self.monitor.slug, "status": status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_short_and_no_two_clients_share_one() {
        assert_eq!(Monitor::slug("town-halls", "backup", Some("ville-lyon")), "town-halls-backup-ville-lyon");
        assert_eq!(Monitor::slug("town-halls", "check", None), "town-halls-check");
        let long = "communaute-de-communes-du-pays-de-".repeat(2);
        let of = |end: &str| Monitor::slug("town-halls", "backup", Some(&format!("{long}{end}")));
        assert!((45..=50).contains(&of("a").len()), "{}", of("a"));
        assert!(of("a").starts_with("town-halls-backup-communaute-de-"), "{}", of("a"));
        assert_ne!(of("a"), of("b"));
        assert_eq!(of("a"), of("a"));
    }

    #[test]
    fn the_end_belongs_to_its_beginning() {
        let check_in = CheckIn::of(Monitor {
            slug: "x-check".to_owned(),
            client: None,
            schedule: "*/5 * * * *".to_owned(),
            timezone: Some("Europe/Paris".to_owned()),
            margin: 5,
            longest: 100_000,
        });
        let (begins, ends) = (check_in.begins().body, check_in.ends(false, 1.5, true).body);
        assert_eq!(begins["check_in_id"], ends["check_in_id"]);
        assert_eq!(check_in.id.len(), 32);
        assert_eq!((&begins["status"], &ends["status"]), (&"in_progress".into(), &"error".into()));
        assert_eq!(begins["monitor_config"]["max_runtime"], 40_320);
        assert_eq!(begins["monitor_config"]["timezone"], "Europe/Paris");
        assert!(ends.get("monitor_config").is_none() && begins.get("duration").is_none());
        assert!(check_in.ends(true, 0.0, false).body["monitor_config"].is_object());
    }
}
