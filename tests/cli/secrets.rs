//! The life of secrets, from the first to the recovery of lost ones.

use std::fs;

use super::support::{Fleet, mode};

const DOTENV: &str = "# written by fleet\nDB_PASSWORD='aaaaBBBBccccDDDDeeeeFFFFgggg1234'\nJWT_KEY=\"00ff\"\nSMTP_PASSWORD=aB3-xY9-kL2 # mail\nPUBLIC_NAME='Tiny'\n";

/// Dates and the machine's name are of the day.
fn steady(text: &str) -> String {
    let host = rustix::system::uname();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    text.replace(&format!("@{}", host.nodename().to_string_lossy()), "@HOST").replace(&today, "YYYY-MM-DD")
}

fn recovered() -> Fleet {
    let fleet = Fleet::with_clients();
    fleet.with_input(["secrets", "recover", "brest"], DOTENV.as_bytes()).ok();
    fleet
}

#[test]
fn a_secret_is_set_listed_shown_and_unset() {
    let fleet = Fleet::with_clients();
    insta::assert_snapshot!(fleet.say("secrets list").ok().all(), @"
    exit 0
    --- stdout
    client      name         kind          created  rotated  by
    ville-lyon  DB_PASSWORD  not made yet
    ville-lyon  JWT_KEY      not made yet
    brest       DB_PASSWORD  not made yet
    brest       JWT_KEY      not made yet
    ");
    let set = fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2\n").ok();
    insta::assert_snapshot!(set.all(), @"
    exit 0
    --- stderr
    set SMTP_PASSWORD; `fleet update brest` brings it to the host
    ");
    assert_eq!(mode(&fleet.path("secrets/brest.age")), 0o600);
    insta::assert_snapshot!(steady(&fleet.say("secrets list brest").ok().all()), @"
    exit 0
    --- stdout
    client  name           kind          created     rotated  by
    brest   SMTP_PASSWORD  set by hand   YYYY-MM-DD           alice@HOST
    brest   DB_PASSWORD    not made yet
    brest   JWT_KEY        not made yet
    ");
    insta::assert_snapshot!(fleet.say("secrets show brest").ok().all(), @"
    exit 0
    --- stdout
    SMTP_PASSWORD=[secret]
    ");
    assert_eq!(fleet.say("secrets show brest SMTP_PASSWORD --reveal").ok().out, "aB3-xY9-kL2\n");
    assert_eq!(
        fleet.say("secrets show brest SMTP_PASSWORD --reveal --json").ok().json()[0]["value"],
        "aB3-xY9-kL2"
    );
    let again = fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    assert_eq!(again.err, "SMTP_PASSWORD has this value already\n");
    fleet.write("new.txt", "cD4-zZ8-mN3\n");
    let record =
        fleet.say("secrets set brest SMTP_PASSWORD --from-file new.txt --json").ok().json().remove(0);
    assert_eq!((&record["generation"], &record["value"]), (&2.into(), &serde_json::Value::Null));
    assert!(fleet.say("show brest").ok().out.contains("SMTP_PASSWORD"), "names are no secret");
    fleet.say("secrets unset brest SMTP_PASSWORD --yes").ok();
    assert_eq!(fleet.say("secrets show brest SMTP_PASSWORD").code, 3);
}

#[test]
fn rotation_makes_new_values_of_generated_names() {
    let fleet = recovered();
    let value = |name: &str| fleet.run(["secrets", "show", "brest", name, "--reveal"]).ok().out;
    let before = (value("DB_PASSWORD"), value("JWT_KEY"), value("SMTP_PASSWORD"));
    assert_eq!(fleet.say("secrets rotate brest JWT_KEY").code, 2, "asks first");
    let rotated = fleet.say("secrets rotate brest JWT_KEY --yes").ok();
    insta::assert_snapshot!(rotated.all(), @"
    exit 0
    --- stderr
    rotated JWT_KEY; `fleet update brest` brings it to the host
    ");
    assert_eq!(value("DB_PASSWORD"), before.0);
    assert_ne!(value("JWT_KEY"), before.1);
    assert_eq!(value("JWT_KEY").trim().len(), 64);
    fleet.say("secrets rotate brest --all-names --yes").ok();
    assert_ne!(value("DB_PASSWORD"), before.0);
    assert_eq!(value("SMTP_PASSWORD"), before.2, "what a person chose is not generated");
}

#[test]
fn lost_secrets_come_back_from_what_the_host_has() {
    let fleet = recovered();
    let rendered = fleet.say("render brest .env --reveal").ok().out;
    fs::remove_file(fleet.path("secrets/brest.age")).unwrap();
    assert_eq!(fleet.say("render brest").code, 3, "a loss is no beginning");
    let back = fleet.with_input(["secrets", "recover", "brest"], rendered.as_bytes()).ok();
    assert_eq!(back.err, "recovered DB_PASSWORD, JWT_KEY, SMTP_PASSWORD of brest\n");
    assert_eq!(fleet.say("render brest .env --reveal").ok().out, rendered);
}

#[test]
fn awkward_values_survive_the_way_through_a_dotenv_file() {
    let fleet = recovered();
    let stack = fleet.read("stacks/tiny/stack.toml").replace("[A-Za-z0-9-]{8,64}", ".*");
    fleet.write("stacks/tiny/stack.toml", stack);
    for value in ["a'b\"c$d${E}#f g", r"back\slash\\ and \' end\", "é漢😀 =x", "  blanks  ", "$(reboot)`x`"]
    {
        fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], value.as_bytes()).ok();
        let rendered = fleet.say("render brest .env --reveal").ok().out;
        fs::remove_file(fleet.path("secrets/brest.age")).unwrap();
        fleet.with_input(["secrets", "recover", "brest"], rendered.as_bytes()).ok();
        let back = fleet.say("secrets show brest SMTP_PASSWORD --reveal").ok().out;
        assert_eq!(back, format!("{value}\n"), "{rendered}");
    }
}

#[test]
fn people_come_and_go() {
    let (fleet, bob) = (recovered(), Fleet::empty());
    bob.run(["init"]).ok();
    let list = bob.read("secrets/recipients.txt");
    let key = list.lines().find(|line| line.starts_with("age1")).unwrap();
    let identity = bob.path(".fleet/identity.txt");
    let identity = identity.to_str().unwrap();
    let as_bob = || fleet.run(["secrets", "show", "brest", "--identity", identity]);
    assert_eq!(as_bob().code, 3);
    let added = fleet.run(["secrets", "recipients", "add", key, "--comment", "Bob, desk"]).ok();
    assert!(added.err.starts_with("added Bob, desk (age1"), "{}", added.err);
    assert_eq!(as_bob().code, 3, "not before rekey");
    assert!(fleet.say("secrets recipients").ok().err.contains("fleet secrets rekey"));
    let rekeyed = fleet.say("secrets rekey").ok();
    assert!(rekeyed.err.contains("can read now: Bob, desk"), "{}", rekeyed.err);
    as_bob().ok();
    assert_eq!(fleet.say("secrets recipients --json").ok().json().len(), 2);
    fleet.run(["secrets", "recipients", "remove", "Bob, desk"]).ok();
    let rekeyed = fleet.say("secrets rekey --json").ok();
    assert_eq!(rekeyed.json()[0]["lost"][0]["comment"], "Bob, desk");
    assert!(
        rekeyed.err.contains("fleet secrets rotate brest DB_PASSWORD JWT_KEY SMTP_PASSWORD"),
        "{}",
        rekeyed.err
    );
    assert_eq!(as_bob().code, 3);
}

#[test]
fn an_ssh_key_reads_secrets_too() {
    let fleet = recovered();
    let public = fleet.read("keys/fleet_ed25519.pub");
    fleet.run(["secrets", "recipients", "add", public.trim()]).ok();
    fleet.say("secrets rekey").ok();
    let shown = fleet.say("secrets show brest SMTP_PASSWORD --reveal --identity keys/fleet_ed25519").ok();
    assert_eq!(shown.out, "aB3-xY9-kL2\n");
}
