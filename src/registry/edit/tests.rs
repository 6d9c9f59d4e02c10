use insta::assert_snapshot;

use super::*;
use crate::registry::Registry;

/// A registry as a careful person keeps it, with every spelling of a client.
const KEPT: &str = r#"# The fleet of the region.

[fleet]
name = "geoclic"   # never change it
stack = "geoclic"

# --- clients ---

# Lyon: pays on the 1st.
# Contact: Ms Martin.
[clients.lyon]
domain = "lyon.example.fr"  # moved in 2025
ip = "10.0.0.1"
tags = [
    "prod",     # since 2024
    "canary",
]
sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy
# port = 2222

[clients.lyon.env]
# Shown on the home page.
PUBLIC_NAME = "Lyon"

# Paris: demo only.
[clients.paris]
domain = "paris.example.fr"
host = "vps2.example.net"
backup.keep.daily = 3
backup.schedule = "0 3 * * *"

[clients.nice.env]
A = "1"

[clients]
inline = { domain = "inline.example.fr", ip = "10.0.0.4" }   # the small one
# Two lines.
dotted.domain = "dotted.example.fr"
dotted.ip = "10.0.0.5"

# Said at the end.
[defaults]
user = "ubuntu"
"#;

/// `nice` needs a domain before the whole is a registry.
fn kept() -> String {
    KEPT.replace(
        "[clients.nice.env]",
        "[clients.nice]\ndomain = \"nice.example.fr\"\nip = \"10.0.0.3\"\n\n[clients.nice.env]",
    )
}

/// What an edit changed, as a diff of lines; the result must still be a registry.
fn change(text: &str, edit: impl Fn(&str) -> Result<String, EditError>) -> String {
    let new = edit(text).unwrap();
    if let Err(found) = Registry::parse(&new, "clients.toml") {
        panic!("no registry any more:\n{found}\n{new}");
    }
    // Windows' line ends survive, and nothing but them tells the two results apart.
    let crlf = edit(&text.replace('\n', "\r\n")).unwrap();
    assert_eq!(crlf, new.replace('\n', "\r\n"));
    let diff = similar::TextDiff::from_lines(text, &new);
    let changed = |change: similar::Change<&str>| {
        let line = change.value().trim_end_matches('\n');
        match change.tag() {
            similar::ChangeTag::Equal => None,
            similar::ChangeTag::Delete => Some(format!("-{line}")),
            similar::ChangeTag::Insert => Some(format!("+{line}")),
        }
    };
    diff.iter_all_changes().filter_map(changed).collect::<Vec<_>>().join("\n")
}

fn set(client: &str, key: &str, value: impl Into<Value>) -> String {
    let value = value.into();
    change(&kept(), |text| set_client_value(text, client, key, &value))
}

fn unset(client: &str, key: &str) -> String {
    change(&kept(), |text| unset_client_value(text, client, key))
}

fn new_client(name: &str) -> NewClient {
    NewClient {
        name: Name::parse(name).unwrap(),
        domain: Domain::parse("new.example.fr").unwrap(),
        address: Address::parse_ip("10.0.0.9").unwrap(),
        port: None,
        user: None,
        jump: None,
        email: None,
        tags: Vec::new(),
        stack: None,
    }
}

#[test]
fn a_client_is_added_behind_the_others() {
    let new = NewClient {
        port: Some(2222),
        user: Some(User::parse("debian").unwrap()),
        jump: Some(Jump::parse("bastion").unwrap()),
        email: Some(Email::parse("o'neil@example.fr").unwrap()),
        tags: vec![Tag::parse("prod").unwrap(), Tag::parse("eu").unwrap()],
        stack: Some(FilePath::parse("stacks/a \"b\"").unwrap()),
        ..new_client("new")
    };
    assert_snapshot!(change(&kept(), |text| add_client(text, &new)), @r#"
    +[clients.new]
    +domain = "new.example.fr"
    +ip = "10.0.0.9"
    +port = 2222
    +user = "debian"
    +jump = "bastion:22"
    +email = "o'neil@example.fr"
    +tags = ["prod", "eu"]
    +stack = 'stacks/a "b"'
    +
    "#);
    let added = add_client(&kept(), &new).unwrap();
    let registry = Registry::parse(&added, "clients.toml").unwrap();
    let client = registry.client("new").unwrap();
    assert_eq!(
        (client.port, client.user.as_str(), client.stack.as_deref()),
        (2222, "debian", Some("stacks/a \"b\""))
    );
    assert!(add_client(&added, &new_client("lyon")).is_err());
    assert_eq!(add_client(&added, &new), Err(EditError::Exists("new".to_owned())));
    assert_eq!(remove_client(&added, "new").unwrap(), kept(), "taking it out again leaves no trace");
}

#[test]
fn a_client_is_added_at_the_end_of_any_file() {
    let fleet = "[fleet]\nname = 'f'\nstack = 's'\n";
    let table = "[clients.new]\ndomain = \"new.example.fr\"\nip = \"10.0.0.9\"\n";
    let add = |text: &str| add_client(text, &new_client("new")).unwrap();
    assert_eq!(add(fleet), format!("{fleet}\n{table}"));
    assert_eq!(add(&format!("{fleet}\n")), format!("{fleet}\n{table}"));
    assert_eq!(add(fleet.trim_end()), format!("{fleet}\n{table}"));
    assert_eq!(add(&format!("{fleet}# the end")), format!("{fleet}# the end\n\n{table}"));
    assert_eq!(add(""), table);
    let inline = "clients = { a = { domain = 'a.example.fr', ip = '10.0.0.1' } }\n";
    assert_snapshot!(add(inline), @r#"clients = { a = { domain = 'a.example.fr', ip = '10.0.0.1' }, new = { domain = "new.example.fr", ip = "10.0.0.9" } }"#);
    assert_snapshot!(add("clients = {}\n"), @r#"clients = { new = { domain = "new.example.fr", ip = "10.0.0.9" } }"#);
    let dotted =
        "clients.a.domain = 'a.example.fr'\nclients.a.ip = '10.0.0.1'\nfleet = { name = 'f', stack = 's' }\n";
    assert_eq!(add(dotted), format!("{dotted}\n{table}"), "keys of the root stay keys of the root");
}

#[test]
fn a_client_is_removed_with_what_belongs_to_it() {
    let remove = |name: &str| change(&kept(), |text| remove_client(text, name));
    assert_snapshot!(remove("lyon"), @r#"
    -# Lyon: pays on the 1st.
    -# Contact: Ms Martin.
    -[clients.lyon]
    -domain = "lyon.example.fr"  # moved in 2025
    -ip = "10.0.0.1"
    -tags = [
    -    "prod",     # since 2024
    -    "canary",
    -]
    -sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy
    -# port = 2222
    -
    -[clients.lyon.env]
    -# Shown on the home page.
    -PUBLIC_NAME = "Lyon"
    -
    "#);
    assert_snapshot!(remove("paris"), @r#"
    -# Paris: demo only.
    -[clients.paris]
    -domain = "paris.example.fr"
    -host = "vps2.example.net"
    -backup.keep.daily = 3
    -backup.schedule = "0 3 * * *"
    -
    "#);
    assert_snapshot!(remove("nice"), @r#"
    -[clients.nice]
    -domain = "nice.example.fr"
    -ip = "10.0.0.3"
    -
    -[clients.nice.env]
    -A = "1"
    -
    "#);
    assert_snapshot!(remove("inline"), @r#"-inline = { domain = "inline.example.fr", ip = "10.0.0.4" }   # the small one"#);
    assert_snapshot!(remove("dotted"), @r#"
    -# Two lines.
    -dotted.domain = "dotted.example.fr"
    -dotted.ip = "10.0.0.5"
    "#);
}

#[test]
fn removing_looks_only_at_real_comments_and_keeps_the_blank_lines_of_others() {
    let text = "[clients.a]\nx = \"\"\"\n# no comment\"\"\"\n[clients.b]\ny = 1\n\n\n[clients.c]\nz = 1   \n\n[clients.d]\nw = 1\n";
    assert_eq!(
        remove_client(text, "b").unwrap(),
        "[clients.a]\nx = \"\"\"\n# no comment\"\"\"\n\n\n[clients.c]\nz = 1   \n\n[clients.d]\nw = 1\n"
    );
    assert_eq!(
        remove_client(text, "d").unwrap(),
        "[clients.a]\nx = \"\"\"\n# no comment\"\"\"\n[clients.b]\ny = 1\n\n\n[clients.c]\nz = 1   \n"
    );
    assert_eq!(remove_client("[clients.a]\nx = 1", "a").unwrap(), "");
    let inline = "clients = { a = { x = 1 }, b.x = 1, b.y = 2, c = {} } # all\n";
    let remove = |name| remove_client(inline, name).unwrap();
    assert_eq!(remove("a"), "clients = { b.x = 1, b.y = 2, c = {} } # all\n");
    assert_eq!(remove("b"), "clients = { a = { x = 1 }, c = {} } # all\n");
    assert_eq!(remove("c"), "clients = { a = { x = 1 }, b.x = 1, b.y = 2 } # all\n");
    assert_eq!(remove_client("clients = { a.x = 1, a.y = 2, }", "a").unwrap(), "clients = {}");
    let lines = "clients = {\n  a = {}, # A, once\n  # B's\n  b = {}, # B\n  c = {} # C\n}\n";
    let remove = |name| remove_client(lines, name).unwrap();
    assert_eq!(remove("a"), "clients = {\n  # B's\n  b = {}, # B\n  c = {} # C\n}\n");
    assert_eq!(remove("b"), "clients = {\n  a = {}, # A, once\n  # B's\n  c = {} # C\n}\n");
    assert_eq!(remove("c"), "clients = {\n  a = {}, # A, once\n  # B's\n  b = {}, # B\n}\n");
}

#[test]
fn a_written_value_is_replaced_where_it_stands() {
    assert_snapshot!(set("lyon", "domain", "ly.example.fr"), @r#"
    -domain = "lyon.example.fr"  # moved in 2025
    +domain = "ly.example.fr"  # moved in 2025
    "#);
    assert_snapshot!(set("lyon", "sentry.environment", "ain \"x\""), @r#"
    -sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy
    +sentry = { environment = 'ain "x"', traces_rate = 0.5 }  # noisy
    "#);
    assert_snapshot!(set("lyon", "tags", Value::from_iter(["test"])), @r#"
    -tags = [
    -    "prod",     # since 2024
    -    "canary",
    -]
    +tags = ["test"]
    "#);
    assert_snapshot!(set("lyon", "env.PUBLIC_NAME", 7), @r#"
    -PUBLIC_NAME = "Lyon"
    +PUBLIC_NAME = 7
    "#);
    assert_snapshot!(set("paris", "backup.keep.daily", 5), @r"
    -backup.keep.daily = 3
    +backup.keep.daily = 5
    ");
    assert_snapshot!(set("inline", "ip", "10.0.0.44"), @r#"
    -inline = { domain = "inline.example.fr", ip = "10.0.0.4" }   # the small one
    +inline = { domain = "inline.example.fr", ip = "10.0.0.44" }   # the small one
    "#);
    assert_snapshot!(set("dotted", "ip", "10.0.0.55"), @r#"
    -dotted.ip = "10.0.0.5"
    +dotted.ip = "10.0.0.55"
    "#);
}

#[test]
fn a_new_value_is_written_the_way_its_table_is_spelled() {
    assert_snapshot!(set("lyon", "email", "a@example.fr"), @r#"+email = "a@example.fr""#);
    assert_snapshot!(set("lyon", "sentry.dsn", ""), @r#"
    -sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy
    +sentry = { environment = "rhone", traces_rate = 0.5, dsn = "" }  # noisy
    "#);
    assert_snapshot!(set("lyon", "env.ZOOM", 12), @"+ZOOM = 12");
    assert_snapshot!(set("lyon", "backup.keep.daily", 5), @"+backup = { keep = { daily = 5 } }");
    assert_snapshot!(set("paris", "backup.keep.weekly", 5), @"+backup.keep.weekly = 5");
    assert_snapshot!(set("paris", "checks.disk_percent", 80), @"+checks = { disk_percent = 80 }");
    assert_snapshot!(set("inline", "disabled", true), @r#"
    -inline = { domain = "inline.example.fr", ip = "10.0.0.4" }   # the small one
    +inline = { domain = "inline.example.fr", ip = "10.0.0.4", disabled = true }   # the small one
    "#);
    assert_snapshot!(set("inline", "sentry.traces_rate", 0.25), @r#"
    -inline = { domain = "inline.example.fr", ip = "10.0.0.4" }   # the small one
    +inline = { domain = "inline.example.fr", ip = "10.0.0.4", sentry = { traces_rate = 0.25 } }   # the small one
    "#);
    assert_snapshot!(set("dotted", "port", 2222), @"+dotted.port = 2222");
    assert_snapshot!(set("dotted", "sentry.environment", "x"), @r#"+dotted.sentry.environment = "x""#);
}

#[test]
fn a_table_that_is_only_implied_gets_a_header() {
    let text = "[fleet]\nname = 'f'\nstack = 's'\n\n# Nice.\n[clients.nice.env]\nA = '1'\n";
    let set = |text: &str, key: &str, value: &str| {
        set_client_value(text, "nice", key, &Value::from(value)).unwrap()
    };
    let one = set(text, "domain", "nice.example.fr");
    assert_snapshot!(set(&one, "ip", "10.0.0.3"), @r#"
    [fleet]
    name = 'f'
    stack = 's'

    # Nice.
    [clients.nice]
    domain = "nice.example.fr"
    ip = "10.0.0.3"

    [clients.nice.env]
    A = '1'
    "#);
}

#[test]
fn a_value_is_unset_without_its_neighbours() {
    assert_snapshot!(unset("lyon", "tags"), @r#"
    -tags = [
    -    "prod",     # since 2024
    -    "canary",
    -]
    "#);
    assert_snapshot!(unset("lyon", "sentry"), @r#"-sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy"#);
    assert_snapshot!(unset("lyon", "sentry.environment"), @r#"
    -sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy
    +sentry = { traces_rate = 0.5 }  # noisy
    "#);
    assert_snapshot!(unset("lyon", "sentry.traces_rate"), @r#"
    -sentry = { environment = "rhone", traces_rate = 0.5 }  # noisy
    +sentry = { environment = "rhone" }  # noisy
    "#);
    assert_snapshot!(unset("lyon", "env"), @r#"
    -[clients.lyon.env]
    -# Shown on the home page.
    -PUBLIC_NAME = "Lyon"
    -
    "#);
    assert_snapshot!(unset("lyon", "env.PUBLIC_NAME"), @r#"-PUBLIC_NAME = "Lyon""#);
    assert_snapshot!(unset("paris", "backup"), @r#"
    -backup.keep.daily = 3
    -backup.schedule = "0 3 * * *"
    "#);
    assert_snapshot!(unset("paris", "backup.keep"), @"-backup.keep.daily = 3");
}

#[test]
fn what_is_not_there_or_cannot_be_is_an_error() {
    let set = |client, key| set_client_value(KEPT, client, key, &Value::from(1)).unwrap_err().to_string();
    let unset = |client, key| unset_client_value(KEPT, client, key).unwrap_err().to_string();
    assert_snapshot!(set("lion", "port"), @"no client is called `lion`; did you mean `lyon`?");
    assert_snapshot!(set("marseille", "port"), @"no client is called `marseille`");
    assert_snapshot!(set("lyon", "domain.x"), @"`x` would stand inside a value that is no table");
    assert_snapshot!(set("lyon", "env"), @"`env` is a table");
    assert_snapshot!(set("paris", "backup.keep"), @"`backup.keep` is a table");
    assert_snapshot!(set("lyon", "a b"), @"`a b` is no key");
    assert_snapshot!(unset("lyon", "port"), @"`clients.lyon.port` is not written there");
    assert_snapshot!(unset("lyon", "sentry.dsn"), @"`dsn` is not written there");
    assert_snapshot!(remove_client(KEPT, "lion").unwrap_err().to_string(), @"no client is called `lion`; did you mean `lyon`?");
    assert_snapshot!(remove_client("[", "lyon").unwrap_err().to_string(), @"the registry is no TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`");
}

#[test]
fn setting_and_unsetting_leaves_no_trace_in_any_spelling() {
    let values: [(&str, Value); 5] = [
        ("port", 2222.into()),
        ("email", "a@example.fr".into()),
        ("disabled", true.into()),
        ("update_window", "always".into()),
        ("aliases", Value::from_iter(["www.example.fr"])),
    ];
    let spellings = [
        kept(),
        kept().replace('\n', "\r\n"),
        "clients = { lyon = { domain = 'l.fr', ip = '10.0.0.1' }, }\nfleet = { name = 'f', stack = 's' }".to_owned(),
        "clients.lyon.domain = 'l.fr'\nclients.lyon.ip = '10.0.0.1'\nfleet = { name = 'f', stack = 's' }".to_owned(),
        "fleet = { name = 'f', stack = 's' }\n  [clients.lyon] # x\n\tdomain = 'l.fr'\n\tip = '10.0.0.1' # y\n\n".to_owned(),
    ];
    for text in spellings {
        let clients = Registry::parse(&text, "clients.toml").unwrap().clients;
        for (client, (key, value)) in
            clients.iter().flat_map(|client| values.iter().map(move |one| (client, one)))
        {
            let set = set_client_value(&text, &client.name, key, value).unwrap();
            let read = Registry::parse(&set, "clients.toml").unwrap();
            let read = read.client(&client.name).unwrap().to_json(false)[key].to_string();
            assert_eq!(read, serde_json::to_string(&read_value(value)).unwrap(), "{set}");
            assert_eq!(unset_client_value(&set, &client.name, key).unwrap(), text, "{set}");
            let longer = set_client_value(&set, &client.name, key, value).unwrap();
            assert_eq!(longer, set, "setting it again changes nothing");
        }
    }
}

fn read_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(n) => (*n.value()).into(),
        Value::Boolean(b) => (*b.value()).into(),
        Value::Array(all) => all.iter().map(read_value).collect(),
        value => value.as_str().into(),
    }
}
