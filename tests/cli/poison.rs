//! Known secrets are planted; then everything that does not ask for them is searched for them.

use super::support::{Fleet, SMTP, holds};

const DB: &str = "PoisonDb7Q2xK9PoisonDb7Q2xK9Pois";
const JWT: &str = "9015090150901509015090150901509015090150901509015090150901509015";
const DSN_KEY: &str = "poisonkey7Q2x";

fn planted() -> Fleet {
    let fleet = Fleet::with_clients();
    let dotenv = format!("DB_PASSWORD={DB}\nJWT_KEY={JWT}\nSMTP_PASSWORD={SMTP}\n");
    fleet.with_input(["secrets", "recover", "brest"], dotenv.as_bytes()).ok();
    fleet
}

fn secrets(fleet: &Fleet) -> Vec<String> {
    let identity = fleet.read(".fleet/identity.txt");
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap();
    let key = fleet.read("keys/fleet_ed25519");
    let key = key.lines().nth(2).unwrap();
    [DB, JWT, SMTP, DSN_KEY, identity, key].map(str::to_owned).to_vec()
}

#[test]
fn nothing_shows_a_secret_that_was_not_asked_for() {
    let fleet = planted();
    let secrets = secrets(&fleet);
    let commands = [
        "list",
        "list --json",
        "show --all",
        "show --all --json",
        "render brest",
        "render brest .env",
        "render brest --json",
        "render brest nothing",
        "render brest --out out",
        "render ville-lyon",
        "secrets list",
        "secrets list --json",
        "secrets show brest",
        "secrets show brest --json",
        "secrets show brest SMTP_PASSWORD",
        "secrets show brest SMTP_PASSWORT",
        "secrets recipients",
        "secrets recipients --json",
        "secrets rekey",
        "secrets rotate brest SMTP_PASSWORD --yes",
        "ssh-key",
        "ssh-key --json",
        "ssh-key generate",
        "remove nobody --yes",
        "update brest --services nothing --yes",
        "logs brest --service nothing",
    ];
    for line in commands {
        let done = fleet.say(line);
        let said = format!("{}{}", done.out, done.err);
        for secret in &secrets {
            assert!(!said.contains(secret.as_str()), "{line} shows a secret:\n{said}");
        }
    }
    // The same search finds what is asked for.
    for (line, secret) in [
        ("render brest --reveal", DB),
        ("render brest .env --reveal", JWT),
        ("secrets show brest --reveal", SMTP),
        ("show brest --reveal", DSN_KEY),
    ] {
        assert!(fleet.say(line).ok().out.contains(secret), "{line}");
    }
}

#[test]
fn errors_never_quote_a_secret() {
    type Spoil = fn(&Fleet);
    let spoils: &[(&str, Spoil)] = &[
        ("render brest", |fleet| change(fleet, "[A-Za-z0-9-]{8,64}", "[0-9]{4}")),
        ("render brest", |fleet| change(fleet, "secret = true\n", "secret = true\nfoo = 1\n")),
        ("render brest", |fleet| fleet.write("stacks/tiny/docker-compose.yml.tera", format!("x: {SMTP}\n"))),
        ("render brest", |fleet| {
            fleet.write("stacks/tiny/env.tera", "{{ env.SMTP_PASSWORD | dotenv }} {{ env.NOPE }}");
        }),
        ("render brest", |fleet| fleet.write("stacks/tiny/env.tera", "{{ env.SMTP_PASSWORD | nope }}")),
        ("list", |fleet| {
            fleet.edit(
                "sentry = {",
                &format!("env = {{ SMTP_PASSWORD = \"{SMTP}\", X = 1979-05-27 }}\nsentry = {{"),
            )
        }),
        ("render brest", |fleet| {
            fleet.edit("sentry = {", &format!("env = {{ SMTP_PASSWORD = \"{SMTP}\" }}\nsentry = {{"))
        }),
        ("list", |fleet| fleet.edit("@o1.ingest.sentry.io/42", "@o1.ingest.sentry.io/x")),
        ("list", |fleet| fleet.edit("@o1.ingest.sentry.io/42\" }", "@o1.ingest.sentry.io/42 }")),
        ("list", |fleet| {
            fleet.edit("[clients.brest]", &format!("recipients = [\"{SMTP}\"\n[clients.brest]"))
        }),
    ];
    for (line, spoil) in spoils {
        let fleet = planted();
        let secrets = secrets(&fleet);
        spoil(&fleet);
        let done = fleet.say(line);
        assert_eq!(done.code, 3, "{line}: {}", done.all());
        for secret in &secrets {
            assert!(!done.err.contains(secret.as_str()), "{line} shows a secret:\n{}", done.err);
        }
    }
}

#[test]
fn on_disk_a_secret_is_only_in_its_sealed_file() {
    let fleet = planted();
    for line in
        ["render brest", "secrets rotate brest JWT_KEY --yes", "secrets rekey", "remove ville-lyon --yes"]
    {
        fleet.say(line).ok();
    }
    for secret in [DB, JWT, SMTP] {
        assert_eq!(fleet.files_with(secret), Vec::<String>::new());
    }
    fleet.say("render brest --out out --reveal").ok();
    assert_eq!(fleet.files_with(DB), ["out/.env"], "the search can find");
    assert!(!holds(fleet.read("out/docker-compose.yml").as_bytes(), DB.as_bytes()));
}

#[test]
fn a_value_given_as_an_argument_is_not_repeated() {
    let fleet = planted();
    for line in [
        format!("secrets set brest SMTP_PASSWORD={SMTP}"),
        format!("secrets set brest SMTP_PASSWORD= {SMTP}"),
    ] {
        let done = fleet.say(&line);
        assert_eq!(done.code, 2);
        assert!(!done.err.contains(SMTP), "{}", done.err);
    }
}

fn change(fleet: &Fleet, from: &str, to: &str) {
    let text = fleet.read("stacks/tiny/stack.toml");
    assert!(text.contains(from));
    fleet.write("stacks/tiny/stack.toml", text.replacen(from, to, 1));
}
