use insta::assert_snapshot;

use super::*;

fn registry() -> Registry {
    let text = r#"
        [fleet]
        name = "f"
        stack = "s"
        [clients]
        ville-lyon = { domain = "lyon.example.fr", ip = "10.0.0.1", tags = ["prod", "canary"] }
        ville-paris = { domain = "paris.example.fr", ip = "10.0.0.2", tags = ["prod"] }
        demo = { domain = "demo.example.fr", ip = "10.0.0.3", tags = ["test"] }
        ville-nice = { domain = "nice.example.fr", ip = "10.0.0.4", tags = ["prod"], disabled = true }
        old = { domain = "old.example.fr", ip = "10.0.0.5", tags = ["gone"], disabled = true }
    "#;
    Registry::parse(text, "clients.toml").unwrap()
}

/// `--all`, `--tag=x`, `--exclude=x` and names, as on a command line.
fn select(words: &str) -> Result<String, SelectError> {
    let mut selection = Selection::default();
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some(("--tag", tag)) => selection.tags.push(tag.to_owned()),
            Some(("--exclude", name)) => selection.exclude.push(name.to_owned()),
            _ if word == "--all" => selection.all = true,
            _ => selection.names.push(word.to_owned()),
        }
    }
    let registry = registry();
    let chosen = registry.select(&selection)?;
    Ok(chosen.iter().map(|client| client.name.as_str()).collect::<Vec<_>>().join(" "))
}

fn refusal(words: &str) -> String {
    let error = select(words).unwrap_err();
    format!("{error}\nhint: {}", error.hint().unwrap_or_default())
}

#[test]
fn names_and_globs_choose_in_the_order_of_the_file_each_once() {
    assert_eq!(select("demo ville-lyon").unwrap(), "ville-lyon demo");
    assert_eq!(select("ville-* ville-paris v*").unwrap(), "ville-lyon ville-paris");
    assert_eq!(select("ville-{lyon,nice} [d]emo").unwrap(), "ville-lyon demo");
    assert_eq!(select("?????????*").unwrap(), "ville-lyon ville-paris");
}

#[test]
fn tags_narrow_and_exclusion_comes_last() {
    assert_eq!(select("--tag=prod").unwrap(), "ville-lyon ville-paris");
    assert_eq!(select("--tag=canary --tag=test").unwrap(), "ville-lyon demo");
    assert_eq!(select("ville-* demo --tag=canary").unwrap(), "ville-lyon");
    assert_eq!(select("--all --tag=test").unwrap(), "demo");
    assert_eq!(select("--all --exclude=ville-*").unwrap(), "demo");
    assert_eq!(select("--tag=prod --exclude=ville-lyon").unwrap(), "ville-paris");
}

#[test]
fn a_disabled_client_is_touched_only_by_its_exact_name() {
    assert_eq!(select("--all").unwrap(), "ville-lyon ville-paris demo");
    assert_eq!(select("ville-nice").unwrap(), "ville-nice");
    assert_eq!(select("ville-nice --tag=prod").unwrap(), "ville-nice");
    assert_eq!(select("ville-nice --tag=test"), Err(SelectError::Nobody));
    assert_eq!(select("--tag=gone"), Err(SelectError::Nobody));
    assert_snapshot!(refusal("o*"), @r"
    `o*` matches only clients that are disabled: old
    hint: name a disabled client exactly to work on it
    ");
}

#[test]
fn nothing_is_guessed() {
    assert_snapshot!(refusal(""), @r"
    no client was named
    hint: name clients, or choose with --tag or --all
    ");
    assert_snapshot!(refusal("--exclude=demo"), @r"
    no client was named
    hint: name clients, or choose with --tag or --all
    ");
    assert_snapshot!(refusal("--all demo"), @r"
    --all and client names were both given
    hint: leave one of them out; --tag and --exclude narrow --all
    ");
    assert_snapshot!(refusal("ville-lion"), @r"
    no client is called `ville-lion`
    hint: did you mean `ville-lyon`?
    ");
    assert_snapshot!(refusal("marseille"), @r"
    no client is called `marseille`
    hint: clients: ville-lyon, ville-paris, demo, ville-nice, old
    ");
    assert_snapshot!(refusal("demo mairie-*"), @r"
    no client matches `mairie-*`
    hint: clients: ville-lyon, ville-paris, demo, ville-nice, old
    ");
    assert_snapshot!(refusal("--all --exclude=ville-lion"), @r"
    no client is called `ville-lion`
    hint: did you mean `ville-lyon`?
    ");
    assert_snapshot!(refusal("--tag=pord"), @r"
    no client has the tag `pord`
    hint: did you mean `prod`?
    ");
    assert_snapshot!(refusal("--tag=staging"), @r"
    no client has the tag `staging`
    hint: tags: canary, gone, prod, test
    ");
    assert_snapshot!(refusal("ville-["), @r"
    `ville-[` is no pattern: unclosed character class; missing ']'
    hint: quote patterns such as 'ville-*' and 'ville-[ab]'
    ");
    assert_snapshot!(refusal("demo --exclude=d*"), @r"
    no client is left after all the conditions
    hint: see who has what with `fleet list`
    ");
}

#[test]
fn a_long_list_is_shortened() {
    let names: Vec<_> = (1..=12).map(|n| format!("c{n}")).collect();
    assert_eq!(shorten(&names), "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 2 more");
    assert_eq!(shorten(&names[..10]), "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10");
}

#[test]
fn an_empty_registry_says_so() {
    let registry = Registry::parse("fleet = { name = 'f', stack = 's' }", "clients.toml").unwrap();
    let all = Selection { all: true, ..Selection::default() };
    assert_eq!(registry.select(&all), Err(SelectError::NoClients));
}
