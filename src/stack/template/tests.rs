use std::collections::BTreeMap;

use insta::assert_snapshot;
use tera::Context;

use super::*;
use crate::secret::Secret;

fn context() -> BTreeMap<String, Known> {
    let client = Known::map([
        ("name", "lyon".into()),
        ("email", Known::Absent),
        ("tags", Known::list(["prod", "canary"])),
        ("none", Known::List(Vec::new())),
    ]);
    let env = Known::map([
        ("PUBLIC_NAME", "Ville de Lyon".into()),
        ("SMTP_HOST", Known::Absent),
        ("JWT", Known::Secret(Secret::from("hunter2-hunter2"))),
    ]);
    let services = Known::List(vec![
        Known::map([("name", "api".into()), ("port", "80".into())]),
        Known::map([("name", "web".into()), ("port", Known::Absent)]),
    ]);
    let images = Known::map([("api", "x/api:1".into()), ("web", "x/web:1".into())]);
    BTreeMap::from([
        ("client".to_owned(), client),
        ("env".to_owned(), env),
        ("services".to_owned(), services),
        ("images".to_owned(), images),
    ])
}

/// The text of `main`, or what is wrong.
fn render_all(files: &[(&str, &str)], public: bool) -> Result<String, String> {
    let contents = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let shown = |list: Vec<Diagnostic>| {
        let lines = list.iter().map(|found| format!("{found}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let templates = Templates::read("s", &contents, ["main"]).map_err(shown)?;
    let context = context();
    let found = templates.check(&[("main", public)], &context);
    if !found.is_empty() {
        return Err(shown(found));
    }
    let engine = templates.engine().map_err(|found| found.to_string())?;
    let mut values = Context::new();
    for (name, value) in &context {
        values.insert_value(name.clone(), value.to_tera());
    }
    let text = engine.render("main", &values).map_err(|found| found.to_string())?;
    Ok(String::from_utf8(text.to_vec()).unwrap())
}

fn render(source: &str) -> Result<String, String> {
    render_all(&[("main", source)], false)
}

/// First line of what is wrong, without the place's file.
fn refused(source: &str) -> String {
    let found = render(source).expect_err(source);
    let first = found.lines().next().unwrap_or_default();
    let hint = found.lines().find(|line| line.contains("hint:")).map(|hint| hint.trim()).unwrap_or_default();
    format!("{}   {hint}", first.trim_start_matches("s/main:"))
}

#[test]
fn names_that_are_defined_are_rendered() {
    let cases = [
        ("{{ client.name }}/{{ env.PUBLIC_NAME | upper }}", "lyon/VILLE DE LYON"),
        ("{{ client['name'] ~ '!' }}", "lyon!"),
        ("{% for t in client.tags %}{{ loop.index }}{{ t }} {% endfor %}", "1prod 2canary "),
        ("{% for t in client.none %}{{ t.x }}{% else %}none{% endfor %}", "none"),
        ("{% for s in services %}{{ s.name }}={{ images[s.name] }} {% endfor %}", "api=x/api:1 web=x/web:1 "),
        ("{% for k, v in images %}{{ k }}:{{ v }} {% endfor %}", "api:x/api:1 web:x/web:1 "),
        ("{% set a = client.name %}{% set b %}<{{ a }}>{% endset %}{{ b }}", "<lyon>"),
        ("{% filter upper %}{{ client.name }}{% endfilter %}", "LYON"),
        ("{% if 'prod' in client.tags and client.name != 'x' %}y{% endif %}", "y"),
        ("{% if client.name %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", "1"),
        ("{% for i in range(end=3) %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% endfor %}", "01"),
        ("{{ env.JWT }}", "hunter2-hunter2"),
        ("{% raw %}{{ nothing }}{% endraw %}{# {{ nothing }} #}", "{{ nothing }}"),
    ];
    for (source, text) in cases {
        assert_eq!(render(source).as_deref(), Ok(text), "{source}");
    }
}

#[test]
fn a_name_without_a_value_may_be_asked_for() {
    let cases = [
        ("{% if env.SMTP_HOST %}{{ env.SMTP_HOST }}{% else %}no{% endif %}", "no"),
        ("{% if not env.SMTP_HOST %}no{% else %}{{ env.SMTP_HOST ~ 1 }}{% endif %}", "no"),
        ("{% if env.SMTP_HOST is defined and env.SMTP_HOST == 'x' %}{% else %}no{% endif %}", "no"),
        ("{% if env.SMTP_HOST is undefined or env.SMTP_HOST == 'x' %}no{% endif %}", "no"),
        ("{{ env.SMTP_HOST | default(value='d') | upper }}", "D"),
        ("{{ env.SMTP_HOST or client.email or 'x' }}", "x"),
        ("{{ env.SMTP_HOST if env.SMTP_HOST else 'x' }}", "x"),
        ("{% for s in services %}{% if s.port %}{{ s.port }}{% endif %}{% endfor %}", "80"),
        ("{{ nothing | default(value=1) }}{{ client.nothing is defined }}", "1false"),
    ];
    for (source, text) in cases {
        assert_eq!(render(source).as_deref(), Ok(text), "{source}");
    }
}

#[test]
fn undefined_names_are_refused_wherever_they_stand() {
    let sources = [
        "{{ nothing }}",
        "{{ client.nmae }}",
        "a\n  {% if client.tagz %}x{% endif %}",
        "{% if false %}{{ clinet.name }}{% endif %}",
        "{% if client.name == env.PUBLIC_NAM %}x{% endif %}",
        "{% for x in env.NOPE %}{{ x }}{% endfor %}",
        "{% for s in services %}{{ s.prot }}{% endfor %}",
        "{% for s in services %}{{ images[s.port] }}{% endfor %}",
        "{{ client.name | replace(from=nope, to='x') }}",
        "{{ client.name | default(value=nope) }}",
        "{{ client.name | indent(width=range(end=nope)) }}",
        "{% set x = client.nope %}",
        "{% set x = [1, nope] %}",
        "{{ client.tags[nope] }}",
        "{{ client.tags[0].x }}",
        "{{ 'a' ~ client.nope }}",
        "{% if not nope %}x{% endif %}",
        "{% if client.name and nope %}x{% endif %}",
        "{% if nope.deeper is defined %}x{% endif %}",
        "{% if client.nope.deeper is defined %}x{% endif %}",
        "{% if client.name is starting_with(pat=nope) %}x{% endif %}",
        "{{ client.name if nope else 1 }}",
        "{% if client.name %}{% set x = 1 %}{% endif %}{% if x %}y{% endif %}",
        "{% for t in client.tags %}{% set x = t %}{% endfor %}{{ x }}",
        "{% for t in client.tags %}{% set_global x = t %}{% endfor %}{{ x }}",
        "{{ loop.index }}",
        "{{ __tera_context }}",
        "{% filter replace(from=nope, to='') %}x{% endfilter %}",
        "{{ images['ap'] }}",
        "{{ env | get(key='NOPE') }}",
        "{{ mount(file=client.name) }}",
        "{{ mont(file='x') }}",
        "{{ client.name is defned }}",
        "{{ client.name | yml }}",
        "{{ client }}",
        "{{ env?.X }}",
        "{% include 'other' %}",
    ];
    let shown: Vec<_> = sources.iter().map(|source| format!("{source:?}\n    {}", refused(source))).collect();
    assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_name_without_a_value_is_refused_as_a_value() {
    let sources = [
        "{{ env.SMTP_HOST }}",
        "{{ 'x' ~ env.SMTP_HOST }}",
        "{% if env.SMTP_HOST == 'x' %}y{% endif %}",
        "{% if env.SMTP_HOST or client.name %}{{ 'x' ~ env.SMTP_HOST }}{% endif %}",
        "{% if env.SMTP_HOST %}{% else %}{{ 'x' ~ env.SMTP_HOST }}{% endif %}",
        "{% set client = env %}{% if client.SMTP_HOST %}{% set client = env %}{{ 'x' ~ client.SMTP_HOST }}{% endif %}",
        "{% for s in services %}{{ s.port }}{% endfor %}",
        "{{ env.SMTP_HOST | upper }}",
        "{% for c in client.email %}{{ c }}{% endfor %}",
    ];
    let shown: Vec<_> = sources.iter().map(|source| format!("{source:?}\n    {}", refused(source))).collect();
    assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_place_and_the_line_are_shown() {
    assert_snapshot!(render("server {\n  {% if client.tagz %}x{% endif %}\n}").unwrap_err(), @"
    s/main:2:9: `client.tagz` is not defined
      |
    2 |   {% if client.tagz %}x{% endif %}
      |         ^^^^^^^^^^^
      hint: did you mean `tags`?
    ");
}

#[test]
fn includes_see_the_names_around_them_and_are_checked() {
    let files =
        |inner| [("main", "{% for t in client.tags %}{% include 'inner' %}{% endfor %}"), ("inner", inner)];
    assert_eq!(render_all(&files("<{{ t }}>"), false).as_deref(), Ok("<prod><canary>"));
    assert_snapshot!(render_all(&files("a\n{{ u }}"), false).unwrap_err(), @"
    s/inner:2:4: `u` is not defined
      |
    2 | {{ u }}
      |    ^
      hint: known here: client, env, images, services, t
    ");
    assert_snapshot!(render_all(&files("{% include 'main' %}"), false).unwrap_err(), @"
    s/inner:1:12: `main` includes itself
      |
    1 | {% include 'main' %}
      |            ^^^^^^
    ");
}

#[test]
fn a_public_file_takes_no_secret() {
    let public = |source| render_all(&[("main", source)], true);
    assert_eq!(public("{% if env.JWT %}${JWT}{% endif %}").as_deref(), Ok("${JWT}"));
    for source in [
        "{{ env.JWT }}",
        "{{ env.JWT | default(value='') }}",
        "{{ env.JWT or 'x' }}",
        "{{ env.SMTP_HOST or env.JWT }}",
        "{{ client.name and env.JWT }}",
        "{{ env.JWT if client.name else '' }}",
        "{% set x = env.JWT %}",
        "{{ env['JWT'] | upper }}",
        "{% for k, v in env %}{{ v }}{% endfor %}",
        "{% if env.JWT == 'a' %}x{% endif %}",
    ] {
        let found = public(source).expect_err(source);
        assert!(found.contains("is a secret, and this file is not"), "{source}: {found}");
    }
    assert_snapshot!(public("{{ env.JWT }}").unwrap_err(), @"
    s/main:1:4: `env.JWT` is a secret, and this file is not
      |
    1 | {{ env.JWT }}
      |    ^^^^^^^
      hint: keep it in the environment file and name it there, such as `${NAME}` in the Compose file; or mark the file `secret = true`
    ");
}

#[test]
fn no_error_shows_a_value() {
    for source in [
        "{{ env.JWT | int }}",
        "{{ env.JWT | float }}",
        "{{ env.JWT is containing(pat=1) }}",
        "{{ env.JWT | round }}",
        "{{ env.JWT[0] }}",
        "{% if env.JWT is odd %}x{% endif %}",
        "{% for k, v in env.JWT %}x{% endfor %}",
        "{{ 1 + env.JWT }}",
        "{{ client.tags | join(sep=1) | int(base=env.JWT) }}",
    ] {
        let found = render(source).expect_err(source);
        assert!(!found.contains("hunter2"), "{source}: {found}");
    }
    assert_snapshot!(refused("{{ env.JWT | int }}"), @"1:14: this expression has no result (the reason may quote a value, so it is not shown)");
    assert_snapshot!(refused("{{ throw(message='TLS needs a domain') }}"), @"1:4: TLS needs a domain");
}

#[test]
fn what_tera_refuses_is_told_in_its_words_and_what_we_refuse_in_ours() {
    let sources = [
        "{% if client.name %}x",
        "{{ client. }}",
        "{% endif %}",
        "{% unknown %}",
        "{{ 'a }}",
        "{% block a %}{% endblock %}",
        "{{ [x for x in client.tags] }}",
        "{{ ['\\d'] }}",
    ];
    let shown: Vec<_> = sources.iter().map(|source| format!("{source:?}\n    {}", refused(source))).collect();
    assert_snapshot!(shown.join("\n"));
}
