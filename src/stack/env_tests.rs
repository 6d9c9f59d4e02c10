use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::registry::Registry;
use crate::stack::read::read;

const STACK: &str = r#"
name = "shop"
[[files]]
template = "c"
destination = "docker-compose.yml"
[env.PUBLIC_NAME]
required = true
help = "name of the shop"
example = "Chez Anne"
[env.JWT_SECRET_KEY]
generate = "alnum:32"
[env.API_KEY]
secret = true
required = true
help = "key of the payment service"
pattern = "sk_[a-z0-9]+"
[env.SMTP_PASSWORD]
secret = true
[env.PORT]
default = 8080
pattern = "[0-9]+"
[env.CONTACT]
from = "client.email"
default = "nobody@example.org"
[env.URL]
from = "client.url"
[env.SENTRY_DSN]
secret = true
[env.SENTRY_ENVIRONMENT]
default = "production"
[env.SENTRY_TRACES_RATE]
[sentry]
dsn = "SENTRY_DSN"
environment = "SENTRY_ENVIRONMENT"
traces_rate = "SENTRY_TRACES_RATE"
"#;

fn schema(stack: &str) -> EnvSchema {
    let contents = BTreeMap::from([("c".to_owned(), Vec::new())]);
    read(stack, "shop", contents).unwrap_or_else(|found| panic!("{found}")).env
}

fn client(keys: &str) -> Client {
    let text = format!(
        "[fleet]\nname = \"suite\"\nstack = \"shop\"\n[clients.anne]\ndomain = \"anne.example.org\"\nip = \"192.0.2.1\"\n{keys}"
    );
    Registry::parse(&text, "clients.toml").unwrap_or_else(|found| panic!("{found}")).clients.remove(0)
}

fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret<String>> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::from(*value))).collect()
}

fn resolve(
    stack: &str,
    client: &Client,
    secrets: &BTreeMap<String, Secret<String>>,
) -> Result<ResolvedEnv, String> {
    let input = EnvInput { client, fleet: "suite", registry: "clients.toml", secrets };
    schema(stack).resolve(input).map_err(|found| found.to_string())
}

const VAULT: [(&str, &str); 2] = [("JWT_SECRET_KEY", "generated-once-and-kept"), ("API_KEY", "sk_live1")];

#[test]
fn each_value_comes_from_the_first_source_that_has_one() {
    let client = client(
        "email = \"anne@example.org\"\nenv = { PUBLIC_NAME = \"Chez Anne\", PORT = 9000 }\n\
         sentry = { dsn = \"https://key@o1.ingest.sentry.io/42\", traces_rate = 0.5 }",
    );
    let resolved = resolve(STACK, &client, &secrets(&VAULT)).unwrap();
    let shown: Vec<_> = resolved
        .values
        .iter()
        .map(|(name, value)| {
            let secret = if value.secret { " secret" } else { "" };
            format!("{name} = {} ({:?}{secret})", value.value.reveal(), value.origin)
        })
        .collect();
    assert_snapshot!(shown.join("\n"), @"
    API_KEY = sk_live1 (Vault secret)
    CONTACT = anne@example.org (From)
    JWT_SECRET_KEY = generated-once-and-kept (Vault secret)
    PORT = 9000 (Client)
    PUBLIC_NAME = Chez Anne (Client)
    SENTRY_DSN = https://key@o1.ingest.sentry.io/42 (Sentry secret)
    SENTRY_ENVIRONMENT = anne (Sentry)
    SENTRY_TRACES_RATE = 0.5 (Sentry)
    URL = https://anne.example.org (From)
    ");
    assert_eq!(resolved.absent.iter().collect::<Vec<_>>(), ["SMTP_PASSWORD"]);
    assert!(!format!("{resolved:?}").contains("sk_live1"));
}

#[test]
fn everything_missing_or_malformed_is_named_at_once_with_its_help() {
    let client = client("env = { PUBLIC_NAM = \"x\", PORT = \"80a\", SMTP_PASSWORD = \"hunter2\" }");
    let found = resolve(STACK, &client, &secrets(&[("API_KEY", "pk_hunter2")])).unwrap_err();
    assert!(!found.contains("hunter2"), "{found}");
    assert_snapshot!(found, @r#"
    clients.toml: clients.anne.env.PORT: `80a` does not match `[0-9]+`

    clients.toml: clients.anne.env.PUBLIC_NAM: the stack knows no such variable
      hint: did you mean `PUBLIC_NAME`?

    clients.toml: clients.anne.env.PUBLIC_NAME: has no value; expected name of the shop, such as `Chez Anne`
      hint: add it to the client: env = { PUBLIC_NAME = "..." }, or to [defaults]

    clients.toml: clients.anne.env.SMTP_PASSWORD: is a secret and has no place in this file
      hint: remove it here and run `fleet secrets set anne SMTP_PASSWORD`; whoever could read this file knows it

    secrets/anne.age: API_KEY: its value does not match `sk_[a-z0-9]+`; expected key of the payment service
      hint: run `fleet secrets set anne API_KEY`

    secrets/anne.age: JWT_SECRET_KEY: has not been generated
      hint: `fleet provision` generates what a new client lacks; for one that is provisioned, restore this file from version control
    "#);
}

#[test]
fn an_empty_value_is_none_for_a_required_variable_and_a_line_end_is_refused() {
    let found = resolve(STACK, &client("env = { PUBLIC_NAME = \"\" }"), &secrets(&VAULT)).unwrap_err();
    assert_snapshot!(found, @"clients.toml: clients.anne.env.PUBLIC_NAME: its value is empty; expected name of the shop, such as `Chez Anne`");
    let with_line = secrets(&[VAULT[0], VAULT[1], ("SMTP_PASSWORD", "a\nb")]);
    let found = resolve(STACK, &client("env = { PUBLIC_NAME = \"x\" }"), &with_line).unwrap_err();
    assert_snapshot!(found, @"
    secrets/anne.age: SMTP_PASSWORD: its value holds a line end, which no environment file can carry
      hint: run `fleet secrets set anne SMTP_PASSWORD`
    ");
}

#[test]
fn a_pattern_is_for_the_whole_value() {
    for value in ["1\n", " 1", "1 ", "1|2", ""] {
        let pattern = crate::stack::Pattern::new("[0-9]|[0-9]+").unwrap();
        assert!(!pattern.regex.is_match(value), "{value:?}");
    }
}

#[test]
fn unknown_variables_are_taken_where_the_stack_says_so() {
    let client = client("env = { PUBLIC_NAME = \"x\", FREE = true }");
    let resolved = resolve(&format!("extra_env = true\n{STACK}"), &client, &secrets(&VAULT)).unwrap();
    assert_eq!(resolved.values["FREE"].value.reveal(), "true");
}

#[test]
fn what_docker_itself_obeys_is_no_variable_and_a_dsn_has_its_own_place() {
    let extra = format!("extra_env = true\n{STACK}");
    let dsn = "https://hunter2@o1.ingest.sentry.io/42";
    let env =
        format!("env = {{ PUBLIC_NAME = \"x\", COMPOSE_FILE = \"/etc/passwd\", SENTRY_DSN = \"{dsn}\" }}");
    let found = resolve(&extra, &client(&env), &secrets(&VAULT)).unwrap_err();
    assert!(!found.contains("hunter2"), "{found}");
    assert_snapshot!(found, @r#"
    clients.toml: clients.anne.env.COMPOSE_FILE: is a word to Docker itself
      hint: choose another name

    clients.toml: clients.anne.env.SENTRY_DSN: is a secret and has no place in this file
      hint: write it as sentry = { dsn = "..." }
    "#);
}

#[test]
fn only_what_the_vault_lacks_is_generated() {
    let schema = schema(STACK);
    let names = |had: &[&str]| {
        let missing = schema.to_generate(|name| had.contains(&name));
        missing.into_iter().map(|(name, how)| format!("{name} {how}")).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["JWT_SECRET_KEY alnum:32"]);
    assert!(names(&["JWT_SECRET_KEY"]).is_empty());
    let vault: Vec<_> = schema.vault_names().collect();
    assert_eq!(vault, ["API_KEY", "JWT_SECRET_KEY", "SENTRY_DSN", "SMTP_PASSWORD"]);
}
