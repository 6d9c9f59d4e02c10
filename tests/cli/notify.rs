//! `fleet notify` against receivers that are really there: mail servers with TLS and a login, HTTP
//! servers that answer well, badly, never, or not at all.

pub mod receivers;

use std::time::{Duration, Instant};

use receivers::{Answer, Mail, Recorder, certificates, unused_port};

use super::support::Fleet;

/// The fleet of the tests with these channels.
fn fleet(channels: &str) -> Fleet {
    let fleet = Fleet::with_clients();
    let text = fleet.read("clients.toml");
    fleet.write("clients.toml", format!("{text}\n{channels}"));
    fleet
}

fn set(fleet: &Fleet, name: &str, value: &str) {
    fleet.with_input(["secrets", "set", "--fleet", name], value.as_bytes()).ok();
}

const SLACK: &str = "[notify.team]\nkind = \"slack\"\nurl = { secret = \"SLACK_URL\" }\n";

#[test]
fn slack_gets_its_json_and_the_address_is_shown_nowhere() {
    let server = Recorder::start(Answer::Status(200, "ok"));
    let fleet = fleet(SLACK);
    let missing = fleet.say("notify test");
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("fleet secrets set --fleet SLACK_URL"), "{}", missing.err);
    let url = format!("{}/services/T0/B0/Poison7Q2xK9", server.url());
    set(&fleet, "SLACK_URL", &url);
    let done = fleet.say("notify test -v").ok();
    assert!(done.out.contains("team") && done.out.contains("sent"), "{}", done.all());
    let request = server.one();
    assert_eq!(request.line, "POST /services/T0/B0/Poison7Q2xK9 HTTP/1.1");
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert!(body["text"].as_str().unwrap().starts_with("[tests] test message\nsent by alice@"), "{body}");
    // Written where git sees it, or shown: never.
    for line in ["notify list", "notify list --json", "secrets list --fleet", "secrets list --fleet --json"] {
        let done = fleet.say(line).ok();
        assert!(!done.all().contains("Poison7Q2xK9"), "{line}: {}", done.all());
        assert!(done.out.contains("SLACK_URL"), "{line}: {}", done.all());
    }
    assert!(!fleet.read("clients.toml").contains("Poison7Q2xK9"));
    assert!(!fleet.read("secrets/_fleet.age").contains("Poison7Q2xK9"));
}

#[test]
fn every_way_to_fail_has_its_words_and_its_time_and_shows_no_address() {
    let broken = Recorder::start(Answer::Status(500, "no_service\u{1b}[2J"));
    let silent = Recorder::start(Answer::Never);
    let moved = Recorder::start(Answer::Redirect("http://127.0.0.1:9/elsewhere"));
    let cases = [
        (broken.url(), "answers 500 no_service"),
        (silent.url(), "no answer in time"),
        (moved.url(), "answers 302"),
        (format!("http://127.0.0.1:{}", unused_port()), "refused"),
        ("http://no-such-host.invalid".to_owned(), "not found in DNS"),
    ];
    let fleet = fleet(SLACK);
    for (base, words) in cases {
        set(&fleet, "SLACK_URL", &format!("{base}/Poison7Q2xK9"));
        let started = Instant::now();
        let done = fleet.say("notify test");
        assert_eq!(done.code, 1, "{}", done.all());
        assert!(done.out.contains(words), "{words}: {}", done.all());
        assert!(started.elapsed() < Duration::from_secs(9), "{words}: {:?}", started.elapsed());
        assert!(!done.all().contains("Poison7Q2xK9") && !done.all().contains('\u{1b}'), "{}", done.all());
    }
    assert_eq!(broken.requests().len(), 1, "one attempt, no storm");
}

#[test]
fn a_webhook_is_signed_and_the_signature_is_right() {
    let server = Recorder::start(Answer::Status(204, ""));
    let fleet = fleet(
        "[notify.hook]\nkind = \"webhook\"\nurl = { env = \"HOOK_URL\" }\nkey = { secret = \"HOOK_KEY\" }\n",
    );
    set(&fleet, "HOOK_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let mut command = fleet.command(["notify", "test"]);
    let output = command.env("HOOK_URL", server.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let request = server.one();
    let header = |name: &str| request.header(name).unwrap_or_else(|| panic!("{name}: {}", request.head));
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    assert!(id.starts_with("msg_") && at.parse::<i64>().is_ok());
    // openssl is the judge, not this program.
    let signed = receivers::hmac_by_openssl(
        "31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0",
        &format!("{id}.{at}.{}", request.body),
    );
    assert_eq!(header("webhook-signature"), format!("v1,{signed}"));
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        (body["schema"].as_str(), body["fleet"].as_str()),
        (Some("fleet.notification/1"), Some("tests"))
    );
}

#[test]
fn mail_leaves_over_tls_with_a_login_and_over_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    for mode in ["starttls", "implicit"] {
        let server = Mail::start(mode, dir.path());
        let fleet = fleet(&format!(
            "[notify.mail]\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = {}\ntls = \"{mode}\"\n\
             ca = \"keys/roots.pem\"\nuser = \"fleet\"\npassword = {{ secret = \"MAIL_PASSWORD\" }}\n\
             from = \"fleet@example.fr\"\nto = [\"ops@example.fr\", \"b@example.fr\"]\n",
            server.port
        ));
        fleet.write("keys/roots.pem", std::fs::read(dir.path().join("ca.pem")).unwrap());
        set(&fleet, "MAIL_PASSWORD", "Poison-smtp-wrong");
        let done = fleet.say("notify test");
        assert_eq!(done.code, 1, "{}", done.all());
        assert!(done.out.contains("535"), "{mode}: {}", done.all());
        assert!(!done.all().contains("Poison"), "{}", done.all());
        set(&fleet, "MAIL_PASSWORD", super::support::SMTP);
        fleet.say("notify test").ok();
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "{mode}: {mails:?}");
        let mail = &mails[0];
        assert_eq!((mail["tls"].as_bool(), mail["user"].as_str()), (Some(true), Some("fleet")), "{mail}");
        assert_eq!(mail["to"], serde_json::json!(["ops@example.fr", "b@example.fr"]));
        let content = mail["content"].as_str().unwrap();
        assert!(content.contains("Subject: [tests] test message"), "{content}");
        assert!(content.contains("Auto-Submitted: auto-generated"), "{content}");
        // Without its root the server is not believed, and gets no password.
        fleet.edit("ca = \"keys/roots.pem\"\n", "");
        let done = fleet.say("notify test");
        assert_eq!(done.code, 1, "{}", done.all());
        assert!(done.out.contains("certificate is not accepted"), "{mode}: {}", done.all());
        assert_eq!(server.mails().len(), 1);
    }
}

#[test]
fn a_mail_server_that_is_silent_is_given_up() {
    let server = Recorder::start(Answer::Never);
    let fleet = fleet(&format!(
        "[notify.mail]\nkind = \"email\"\nserver = \"localhost\"\nport = {}\ntls = \"none\"\n\
         from = \"fleet@example.fr\"\nto = [\"ops@example.fr\"]\n",
        server.port
    ));
    let started = Instant::now();
    let done = fleet.say("notify test");
    assert_eq!(done.code, 1, "{}", done.all());
    assert!(done.out.contains("does not answer in time"), "{}", done.all());
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[test]
fn a_server_without_starttls_gets_neither_mail_nor_password() {
    let server = Recorder::start(Answer::Smtp);
    let fleet = fleet(&format!(
        "[notify.mail]\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = {}\nuser = \"fleet\"\n\
         password = {{ secret = \"MAIL_PASSWORD\" }}\nfrom = \"fleet@example.fr\"\nto = [\"ops@example.fr\"]\n",
        server.port
    ));
    set(&fleet, "MAIL_PASSWORD", super::support::SMTP);
    let done = fleet.say("notify test");
    assert_eq!(done.code, 1, "{}", done.all());
    assert!(done.out.to_ascii_lowercase().contains("starttls"), "{}", done.all());
    let said: String = server.requests().iter().map(|request| request.head.clone()).collect();
    assert!(said.contains("EHLO") && !said.contains("AUTH") && !said.contains("MAIL"), "{said}");
}

#[test]
fn pings_say_how_a_run_went() {
    let server = Recorder::start(Answer::Status(200, "OK"));
    let fleet = fleet("[notify.cron]\nkind = \"ping\"\nurl = { secret = \"PING\" }\non = [\"update\"]\n");
    set(&fleet, "PING", &format!("{}/ping/Poison7Q2xK9", server.url()));
    fleet.say("notify test").ok();
    assert_eq!(server.one().line, "POST /ping/Poison7Q2xK9/0 HTTP/1.1");
    // Nobody answers at 192.0.2.1 in the second that it gets.
    fleet.edit("name = \"tests\"", "name = \"tests\"\nconnect_timeout = \"1s\"");
    let done = fleet.say("update brest --yes");
    assert_eq!(done.code, 4, "{}", done.all());
    let lines: Vec<String> = server.requests().into_iter().skip(1).map(|request| request.line).collect();
    assert_eq!(
        lines,
        ["POST /ping/Poison7Q2xK9/start HTTP/1.1", "POST /ping/Poison7Q2xK9/4 HTTP/1.1"],
        "{}",
        done.all()
    );
}

#[test]
fn an_update_that_fails_is_told_and_a_dead_channel_does_not_fail_it_twice() {
    let server = Recorder::start(Answer::Status(200, "ok"));
    let fleet = fleet(SLACK);
    fleet.edit("name = \"tests\"", "name = \"tests\"\nconnect_timeout = \"1s\"");
    set(&fleet, "SLACK_URL", &format!("http://127.0.0.1:{}/Poison7Q2xK9", unused_port()));
    let done = fleet.say("update brest --yes");
    assert_eq!(done.code, 4, "{}", done.all());
    assert!(done.err.contains("warning: channel team was not told"), "{}", done.all());
    assert!(!done.all().contains("Poison7Q2xK9"), "{}", done.all());
    set(&fleet, "SLACK_URL", &server.url());
    fleet.say("update brest --yes");
    let body = server.one().body;
    assert!(body.contains("2 messages; the last: update: 1 of 1 clients not well"), "{body}");
    assert_eq!(body.matches("brest: unreachable").count(), 2, "{body}");
    fleet.say("notify list").ok();
    assert!(std::fs::read_dir(fleet.path(".fleet/spool/team")).unwrap().next().is_none());
}
