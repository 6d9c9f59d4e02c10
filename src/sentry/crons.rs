//! Check-ins of Sentry's cron monitors (<https://develop.sentry.dev/sdk/telemetry/check-ins/>): what a run says when it
//! begins and when it is over, and the schedule that it is expected by.

use sentry::protocol::{MonitorCheckIn, MonitorCheckInStatus, MonitorConfig, MonitorSchedule};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

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
    /// The same at the beginning and at the end.
    pub id: Uuid,
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
    fn config(&self) -> MonitorConfig {
        MonitorConfig {
            // The registry has checked it, by rules of its own.
            schedule: MonitorSchedule::Crontab { value: self.schedule.clone() },
            checkin_margin: Some(self.margin.clamp(1, MOST)),
            max_runtime: Some(self.longest.clamp(1, MOST)),
            timezone: self.timezone.clone(),
            failure_issue_threshold: Some(1),
            recovery_threshold: Some(1),
        }
    }
}

impl CheckIn {
    #[must_use]
    pub fn of(monitor: Monitor) -> CheckIn {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        CheckIn { id, monitor }
    }

    /// It begins; the monitor is made, or is brought to what the registry says now.
    #[must_use]
    pub fn begins(&self) -> MonitorCheckIn {
        let monitor_config = Some(self.monitor.config());
        MonitorCheckIn { monitor_config, ..self.bare(MonitorCheckInStatus::InProgress) }
    }

    /// It is over. Where its beginning was not taken, the monitor may not be there yet.
    #[must_use]
    pub fn ends(&self, well: bool, seconds: f64, known: bool) -> MonitorCheckIn {
        let status = if well { MonitorCheckInStatus::Ok } else { MonitorCheckInStatus::Error };
        let monitor_config = (!known).then(|| self.monitor.config());
        MonitorCheckIn { duration: Some(seconds), monitor_config, ..self.bare(status) }
    }

    fn bare(&self, status: MonitorCheckInStatus) -> MonitorCheckIn {
        MonitorCheckIn {
            check_in_id: self.id,
            monitor_slug: self.monitor.slug.clone(),
            status,
            environment: None,
            duration: None,
            monitor_config: None,
        }
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
        let json = |check_in: &MonitorCheckIn| serde_json::to_value(check_in).unwrap();
        let (begins, ends) = (json(&check_in.begins()), json(&check_in.ends(false, 1.5, true)));
        assert_eq!(begins["check_in_id"], ends["check_in_id"]);
        assert_eq!(begins["check_in_id"].as_str().unwrap().len(), 32);
        assert_eq!((&begins["status"], &ends["status"]), (&"in_progress".into(), &"error".into()));
        assert_eq!(
            begins["monitor_config"],
            serde_json::json!({
                "schedule": { "type": "crontab", "value": "*/5 * * * *" },
                "checkin_margin": 5,
                "max_runtime": 40_320,
                "timezone": "Europe/Paris",
                "failure_issue_threshold": 1,
                "recovery_threshold": 1,
            })
        );
        assert!(ends.get("monitor_config").is_none() && begins.get("duration").is_none());
        assert!(json(&check_in.ends(true, 0.0, false))["monitor_config"].is_object());
    }
}
