use super::*;
use crate::registry::{Channel, ChannelKind, Registry, SecretRef};
use crate::secret::Secret;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn message(title: &str, second: i64) -> Message {
    Message {
        fleet: "geoclic".into(),
        topic: Topic::Check,
        title: title.into(),
        entries: vec![
            Entry {
                level: Level::Problem,
                client: Some("ville-lyon".into()),
                text: "disk 97% full (limit 90%)".into(),
            },
            Entry {
                level: Level::Recovered,
                client: Some("brest".into()),
                text: "http: well again after 35 min".into(),
            },
        ],
        at: at(second),
    }
}

#[test]
fn one_message_in_every_form() {
    let message = message("2 changes <b>&", 0);
    insta::assert_snapshot!(message.text(), @r"
    [geoclic] 2 changes <b>&
    PROBLEM ville-lyon: disk 97% full (limit 90%)
    RECOVERED brest: http: well again after 35 min
    ");
    insta::assert_snapshot!(message.slack(), @r#"{"text":"[geoclic] 2 changes &lt;b&gt;&amp;\nPROBLEM ville-lyon: disk 97% full (limit 90%)\nRECOVERED brest: http: well again after 35 min","mrkdwn":false}"#);
    insta::assert_snapshot!(message.json(), @r#"{"schema":"fleet.notification/1","fleet":"geoclic","topic":"check","level":"problem","title":"2 changes <b>&","at":"2026-11-18T11:06:40Z","entries":[{"level":"problem","client":"ville-lyon","text":"disk 97% full (limit 90%)"},{"level":"recovered","client":"brest","text":"http: well again after 35 min"}]}"#);
}

#[test]
fn messages_are_harmless_bounded_and_without_secrets() {
    let secret = Secret::from("https://hooks.example/T0/verysecret");
    let redactor = Redactor::new([("SLACK_URL", &secret)]);
    let mut long = message("a\u{1b}[2J\nb https://hooks.example/T0/verysecret", 0);
    long.entries = (0..100)
        .map(|n| Entry { level: Level::Problem, client: None, text: format!("{n} {}", "x".repeat(9000)) })
        .collect();
    let told = long.redacted(&redactor);
    assert_eq!(told.title, "a b [secret SLACK_URL]");
    assert_eq!(told.entries.len(), 61);
    assert_eq!(told.entries[60].text, "and 40 more");
    assert!(told.entries.iter().all(|entry| entry.text.len() < 410));
}

/// The value was computed with Python's hmac, not with this code.
#[test]
fn a_webhook_is_signed_as_the_standard_has_it() {
    let signed = webhook::sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        r#"{"test": 2432232314}"#,
    );
    assert_eq!(signed.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    assert!(webhook::sign("whsec_no base64", "a", "1", "{}").is_err());
}

/// A fleet of one channel: a program that appends what it hears to `heard`, unless `broken` is there.
struct Rig {
    dir: tempfile::TempDir,
    channel: Channel,
}

impl Rig {
    fn new(more: &str) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[fleet]\nname = \"geoclic\"\nstack = \"geoclic\"\n[notify.team]\nkind = \"command\"\n\
             command = [\"sh\", \"-c\", \"test ! -e broken && cat >> heard\"]\n{more}"
        );
        let channel = Registry::parse(&text, "clients.toml").unwrap().notify.remove(0);
        Rig { dir, channel }
    }

    fn notifier(&self, now: fn() -> Timestamp) -> Notifier {
        let opened = Opened::new(&self.channel, &Vars::new(), self.dir.path()).unwrap();
        Notifier::new(vec![opened], &self.dir.path().join(".fleet"), now)
    }

    fn heard(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("heard")).unwrap_or_default()
    }

    fn spooled(&self) -> Vec<std::path::PathBuf> {
        let folder = self.dir.path().join(".fleet/spool/team");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.sort();
        files
    }
}

#[test]
fn what_could_not_be_sent_goes_out_with_the_next_run_as_one_message() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::new("");
    let broken = rig.dir.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    let notifier = rig.notifier(|| at(0));
    for n in 0..2 {
        let done = notifier.tell(Some(&message(&format!("first {n}"), n)));
        let why = done[0].result.as_ref().unwrap_err();
        assert!(why.contains("exits with 1") && why.contains("kept for the next run"), "{why}");
    }
    assert_eq!(rig.spooled().len(), 2);
    for path in rig.spooled() {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::remove_file(broken).unwrap();
    let done = rig.notifier(|| at(60)).tell(Some(&message("second", 60)));
    assert_eq!((done[0].result.clone(), done[0].messages), (Ok(()), 3));
    assert_eq!(rig.spooled().len(), 0);
    let heard = rig.heard();
    assert!(heard.starts_with("[geoclic] 3 messages; the last: second\n"), "{heard}");
    assert_eq!(heard.matches("first 0").count(), 1, "{heard}");
    // Nothing is left, and nothing new: nothing is sent.
    assert_eq!(rig.notifier(|| at(120)).tell(None), []);
}

#[test]
fn the_spool_is_bounded_in_number_and_age() {
    let rig = Rig::new("");
    std::fs::write(rig.dir.path().join("broken"), "").unwrap();
    for n in 0..(spool::MOST as i64 + 5) {
        rig.notifier(|| at(100)).tell(Some(&message(&format!("m{n}"), n)));
    }
    assert_eq!(rig.spooled().len(), spool::MOST);
    std::fs::remove_file(rig.dir.path().join("broken")).unwrap();
    let done = rig.notifier(|| at(8 * 86_400)).tell(None);
    assert_eq!(done, [], "what is a week old is told no more");
    assert_eq!(rig.spooled().len(), 0);
}

#[test]
fn a_spoiled_file_of_the_spool_is_dropped_and_not_in_the_way() {
    let rig = Rig::new("");
    let folder = rig.dir.path().join(".fleet/spool/team");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("20260101-000000-x.json"), "{ not json").unwrap();
    let done = rig.notifier(|| at(0)).tell(Some(&message("whole", 0)));
    assert_eq!((done[0].result.clone(), done[0].messages), (Ok(()), 1));
    assert!(rig.heard().starts_with("[geoclic] whole\n"));
    assert_eq!(rig.spooled().len(), 0);
}

#[test]
fn quiet_hours_hold_messages_until_they_end() {
    // at(0) is 11:06 in UTC and 12:06 in Paris.
    let rig = Rig::new("quiet = \"12:00-14:00 Europe/Paris\"\n");
    assert_eq!(rig.notifier(|| at(0)).tell(Some(&message("in the night", 0))), []);
    assert_eq!((rig.heard(), rig.spooled().len()), (String::new(), 1));
    assert_eq!(rig.notifier(|| at(3600)).tell(None), []);
    let done = rig.notifier(|| at(2 * 3600)).tell(None);
    assert_eq!((done[0].result.clone(), done[0].messages), (Ok(()), 1));
    assert!(rig.heard().starts_with("[geoclic] in the night\n"));
}

#[test]
fn a_channel_hears_of_its_topics_alone() {
    let rig = Rig::new("on = [\"update\"]\n");
    assert_eq!(rig.notifier(|| at(0)).tell(Some(&message("a check", 0))), []);
    let update = Message { topic: Topic::Update, ..message("an update", 1) };
    assert_eq!(rig.notifier(|| at(0)).tell(Some(&update)).len(), 1);
    assert_eq!(rig.heard().lines().next(), Some("[geoclic] an update"));
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let mut rig = Rig::new("");
    let file = rig.dir.path().join("late");
    let script = format!("(sleep 8; touch {}) & wait", file.display());
    rig.channel.kind = ChannelKind::Command { command: vec!["sh".into(), "-c".into(), script] };
    let started = Instant::now();
    let done = rig.notifier(|| at(0)).tell(Some(&message("x", 0)));
    assert!(done[0].result.as_ref().unwrap_err().contains("was not done after 5 s"), "{done:?}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(!file.exists());
}

#[test]
fn a_channel_without_its_secret_says_which() {
    let mut rig = Rig::new("");
    let url = SecretRef::Vault("SLACK_URL".into());
    rig.channel.kind = ChannelKind::Slack { url: url.clone() };
    let open = |vars: &Vars| Opened::new(&rig.channel, vars, rig.dir.path()).map(drop);
    assert_eq!(open(&Vars::new()), Err(Refusal::NoSecret("SLACK_URL".into())));
    let with = |value: &str| Vars::from([(url.clone(), Secret::from(value))]);
    assert_eq!(open(&with("hooks.slack.com/x")), Err(Refusal::NoUrl("SLACK_URL".into())));
    assert_eq!(open(&with("https://hooks.slack.com/x")), Ok(()));
}
