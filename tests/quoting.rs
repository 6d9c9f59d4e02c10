//! What is quoted for `.env`, YAML, Compose, nginx, shells and URLs, read back by the real readers.
//!
//! Needs Docker Compose 2.20 or newer (no engine), python3 with python-dotenv, and `sh`. Where they are not,
//! these tests fail and say so: `scripts/test.sh` installs them. `FLEET_TEST_COMPOSE` names a Compose
//! program that is not a plugin of `docker`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fleet::registry::Registry;
use fleet::secret::Secret;
use fleet::stack::{EnvInput, ReleaseContext, RenderInput, Rendered, Stack};
use fleet::stack_source::load_stack;

/// Values that each break some way of quoting.
const NASTY: &[&str] = &[
    "",
    " ",
    "plain",
    "a$b",
    "${X}",
    "$$",
    "$(id)",
    "`id`",
    "${X:-y}",
    "it's",
    "say \"hi\"",
    "both ' and \"",
    "''",
    "\"\"",
    "a #b",
    "#a",
    "a=b",
    "=a",
    "export A=b",
    " leading and trailing ",
    "tab\tinside",
    r"back\slash",
    r"C:\new\table",
    r"two\\slashes",
    r"three\\\slashes",
    r"ends in \",
    r"ends\in\",
    r"\\\",
    r"$ends in \",
    r"$two\\slashes",
    r"ends in \\",
    r"slash quote \'",
    "slash quote \\\"",
    r"\$x",
    r"\n",
    r"\\n",
    "100 %",
    "%d%s%%",
    "!history!!",
    "a;b|c&d<e>f(g)h{i}j[k]l*m?n~o",
    "L'Haÿ-les-Roses",
    "漢字 🦀 \u{301}",
    "null",
    "true",
    "~",
    "0x10",
    "1e3",
    "2026-01-01",
    "- a",
    "a: b",
    "{a: b}",
    "&a *b",
    "| >",
    "@at",
    "\u{feff}bom",
    "\u{2028}line",
    "\u{7f}del",
    "-----BEGIN KEY-----",
    "{{ client.name }}",
    "{% raw %}",
];

/// What no line of a `.env` says to python-dotenv and Compose alike: see `dotenv` in the library.
fn python_reads_otherwise(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ambiguous = (0..bytes.len())
        .any(|at| bytes[at] == b'\\' && matches!(bytes.get(at + 1), None | Some(b'\\' | b'\'' | b'"')));
    let quoted = value.contains([' ', '\'', '"', '`', '#', '$']);
    ambiguous && (value.contains('$') || value.ends_with('\\') && quoted)
}

fn compose() -> Command {
    if let Some(program) = std::env::var_os("FLEET_TEST_COMPOSE") {
        return Command::new(program);
    }
    let mut docker = Command::new("docker");
    docker.arg("compose");
    docker
}

/// Runs a command to its end; its output, or a panic that says how to get the tool.
fn run(command: &mut Command, input: &[u8], needs: &str) -> String {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; {needs}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed; {needs}\n{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

const NEEDS_COMPOSE: &str = "this test needs Docker Compose 2.20 or newer: run scripts/test.sh, or set \
                             FLEET_TEST_COMPOSE to the program `docker-compose`";
const NEEDS_DOTENV: &str = "this test needs python3 with python-dotenv: run scripts/test.sh, or install the \
                            package python3-dotenv";

/// The configuration as Compose itself understands it, with the project's files in `folder`.
fn compose_config(folder: &Path, file: &str, dotenv: &str) -> serde_json::Value {
    let mut command = compose();
    command.args(["-p", "sample", "--project-directory"]).arg(folder);
    command.arg("-f").arg(folder.join(file)).arg("--env-file").arg(folder.join(dotenv));
    command.args(["config", "--format", "json"]);
    // A variable of the shell would win over the file.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    serde_json::from_str(&run(&mut command, b"", NEEDS_COMPOSE)).expect("JSON")
}

/// The value of a variable of a service. `config` doubles `$` so that its output can be read again.
fn variable(config: &serde_json::Value, service: &str, name: &str) -> String {
    let value = &config["services"][service]["environment"][name];
    value.as_str().unwrap_or_else(|| panic!("{service} {name}: {value}")).replace("$$", "$")
}

fn python_dotenv(file: &Path, interpolate: bool) -> BTreeMap<String, String> {
    let script = "import json, sys\nfrom dotenv import dotenv_values\n\
                  print(json.dumps(dotenv_values(sys.argv[1], interpolate=sys.argv[2] == 'yes')))";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(file).arg(if interpolate { "yes" } else { "no" });
    // The names of these files stand in no variable of the shell: `${X}` has no value.
    command.env_remove("X");
    serde_json::from_str(&run(&mut command, b"", NEEDS_DOTENV)).expect("JSON")
}

fn client(text: &str) -> fleet::registry::Client {
    let registry = format!(
        "[fleet]\nname = \"suite\"\nstack = \"x\"\n[clients.anne]\ndomain = \"anne.example.org\"\nip = \"192.0.2.1\"\n{text}"
    );
    Registry::parse(&registry, "clients.toml").unwrap_or_else(|found| panic!("{found}")).clients.remove(0)
}

fn render(
    stack: &Stack,
    secrets: &BTreeMap<String, Secret<String>>,
    client: &fleet::registry::Client,
) -> Rendered {
    let input = EnvInput { client, fleet: "suite", registry: "clients.toml", secrets };
    let env = stack.env.resolve(input).unwrap_or_else(|found| panic!("{found}"));
    let release = ReleaseContext::new(&stack.name, "1", "1");
    let images: BTreeMap<_, _> = stack
        .built_services()
        .map(|(service, _)| (service.name.clone(), format!("x/{}:1", service.name)))
        .collect();
    let input = RenderInput {
        client,
        fleet: "suite",
        env: &env,
        release: &release,
        images: &images,
        source_digest: None,
    };
    stack.render(&input).unwrap_or_else(|found| panic!("{found}"))
}

fn write(rendered: &Rendered, folder: &Path) {
    for file in &rendered.files {
        let path = folder.join(&file.destination);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &*file.content).unwrap();
    }
}

/// A stack whose every variable holds one nasty value, written in every format.
fn nasty() -> (tempfile::TempDir, Rendered) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("stacks/nasty");
    std::fs::create_dir_all(&folder).unwrap();
    let mut toml = "name = \"nasty\"\n".to_owned();
    for (template, destination, mode) in [
        ("compose.tera", "docker-compose.yml", "0600"),
        ("env.tera", ".env", "0600"),
        ("shell.tera", "values.sh", "0600"),
        ("url.tera", "urls", "0600"),
    ] {
        toml += &format!(
            "[[files]]\ntemplate = \"{template}\"\ndestination = \"{destination}\"\nmode = \"{mode}\"\n"
        );
    }
    for index in 0..NASTY.len() {
        toml += &format!("[env.V{index}]\nsecret = true\n");
    }
    // Through the environment file, through the Compose file itself, and through plain YAML.
    let compose = "services:\n  dotenv:\n    image: x\n    environment:\n\
        {% for name, value in env %}      {{ name }}: ${{ '{' }}{{ name }}}\n{% endfor %}\
        \x20 compose:\n    image: x\n    environment:\n\
        {% for name, value in env %}      {{ name }}: {{ value | compose }}\n{% endfor %}";
    std::fs::write(folder.join("stack.toml"), toml).unwrap();
    std::fs::write(folder.join("compose.tera"), compose).unwrap();
    std::fs::write(
        folder.join("env.tera"),
        "# comment\n{% for name, value in env %}{{ name }}={{ value | dotenv }}\n{% endfor %}",
    )
    .unwrap();
    std::fs::write(
        folder.join("shell.tera"),
        "{% for name, value in env %}printf '%s\\0' {{ value | shell }}\n{% endfor %}",
    )
    .unwrap();
    std::fs::write(
        folder.join("url.tera"),
        "{% for name, value in env %}{{ name }} {{ value | urlencode }}\n{% endfor %}",
    )
    .unwrap();
    let stack = load_stack(home.path(), "nasty").unwrap_or_else(|error| panic!("{error:#}"));
    let secrets =
        NASTY.iter().enumerate().map(|(index, value)| (format!("V{index}"), Secret::from(*value))).collect();
    let rendered = render(&stack, &secrets, &client(""));
    write(&rendered, home.path());
    (home, rendered)
}

#[test]
fn compose_reads_every_value_back() {
    let (home, _) = nasty();
    let config = compose_config(home.path(), "docker-compose.yml", ".env");
    for (index, value) in NASTY.iter().enumerate() {
        let name = format!("V{index}");
        assert_eq!(variable(&config, "dotenv", &name), *value, "{name} by way of .env");
        assert_eq!(variable(&config, "compose", &name), *value, "{name} in the Compose file");
    }
}

#[test]
fn python_dotenv_reads_every_value_back_that_it_can() {
    let (home, _) = nasty();
    let file = home.path().join(".env");
    let plain = python_dotenv(&file, false);
    let replaced = python_dotenv(&file, true);
    for (index, value) in NASTY.iter().enumerate() {
        let name = format!("V{index}");
        assert_eq!(
            plain[&name] == *value,
            !python_reads_otherwise(value),
            "{name}: {value:?} {:?}",
            plain[&name]
        );
        let same = !python_reads_otherwise(value) && !value.contains("${");
        assert_eq!(replaced[&name] == *value, same, "{name}: {value:?} {:?}", replaced[&name]);
    }
}

#[test]
fn a_shell_and_a_url_parser_read_every_value_back() {
    let (home, rendered) = nasty();
    let script = std::fs::read(home.path().join("values.sh")).unwrap();
    let printed = run(&mut Command::new("sh"), &script, "this test needs a POSIX sh");
    let mut printed: Vec<_> = printed.split('\0').collect();
    assert_eq!(printed.pop(), Some(""));
    // The environment is in the order of its names: V0, V1, V10, V11...
    let mut names: Vec<_> = (0..NASTY.len()).map(|index| (format!("V{index}"), NASTY[index])).collect();
    names.sort();
    assert_eq!(printed, names.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    let urls = String::from_utf8(rendered.file("urls").unwrap().content.to_vec()).unwrap();
    for (line, (name, value)) in urls.lines().zip(&names) {
        let encoded = line.strip_prefix(&format!("{name} ")).unwrap();
        let url = url::Url::parse(&format!("postgresql://u:{encoded}@h/d?x={encoded}")).unwrap();
        let (_, query) = url.query_pairs().next().unwrap();
        assert_eq!(query, *value);
        assert_eq!(url.host_str(), Some("h"), "{line}");
    }
}

#[test]
fn what_env_files_cannot_carry_is_refused_before_anything_is_written() {
    let stack = load_stack(Path::new("tests"), "apps/tiny").unwrap_or_else(|error| panic!("{error:#}"));
    let secrets = BTreeMap::from([("TOKEN".to_owned(), Secret::from("line\nend"))]);
    let client = client("");
    let input = EnvInput { client: &client, fleet: "suite", registry: "clients.toml", secrets: &secrets };
    let found = stack.env.resolve(input).unwrap_err().to_string();
    assert!(found.contains("TOKEN: its value holds a line end"), "{found}");
}

/// Compose must take what the built-in stacks render, with values that are hard to carry.
#[test]
fn compose_understands_the_stacks_and_their_services_get_their_values() {
    let cases = [
        ("geoclic", 10, "env = { PUBLIC_NAME = \"L'Haÿ $1 ${X} \\\"100 %\\\" #1\" }"),
        ("assistant-auto", 3, ""),
        ("neopro", 3, "env = { SUPABASE_URL = \"https://abcdefgh.supabase.co\" }"),
        ("apps/tiny", 2, "env = { GREETING = \"it's $5 ${X}\" }"),
    ];
    for (name, services, keys) in cases {
        let stack = load_stack(Path::new("tests"), name).unwrap_or_else(|error| panic!("{error:#}"));
        let client = client(keys);
        let secret = |name: &str| {
            let hard = format!("p$w'{name}\\\\");
            let value = match name {
                "DATABASE_URL" => {
                    format!("postgresql://user:{hard}@db.example.com:6543/postgres?pgbouncer=true")
                }
                "REDIS_URL" => format!("rediss://default:{hard}@redis.example.com:6379"),
                "SENDGRID_API_KEY" => format!("SG.{hard}"),
                "SLACK_WEBHOOK_URL" => format!("https://hooks.example.com/{hard}"),
                _ => hard,
            };
            (name.to_owned(), Secret::from(value.as_str()))
        };
        let secrets = stack.env.vault_names().map(secret).collect();
        let home = tempfile::tempdir().unwrap();
        write(&render(&stack, &secrets, &client), home.path());
        let config = compose_config(home.path(), &stack.compose, ".env");
        let found = config["services"].as_object().unwrap();
        assert_eq!(found.len(), services, "{name}");
        let mut declared: Vec<_> = stack.services.iter().map(|service| service.name.as_str()).collect();
        declared.sort_unstable();
        assert_eq!(
            found
                .keys()
                .map(String::as_str)
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>(),
            declared
        );
        let published: Vec<_> = found.iter().filter(|(_, service)| service.get("ports").is_some()).collect();
        assert_eq!(published.len(), 1, "{name}: one service is published");
        for (service, definition) in found {
            assert!(definition.get("container_name").is_none(), "{name} {service}: scaling needs free names");
            let check = &definition["healthcheck"];
            assert!(check.get("start_interval").is_none(), "{name} {service}: older engines refuse it");
        }
        if name == "geoclic" {
            assert_eq!(variable(&config, "api", "PUBLIC_NAME"), client.env["PUBLIC_NAME"]);
            assert_eq!(variable(&config, "api", "DB_PASSWORD"), secrets_of("DB_PASSWORD"));
            assert_eq!(variable(&config, "database", "POSTGRES_PASSWORD"), secrets_of("DB_PASSWORD"));
            for (service, definition) in found {
                let text = definition.to_string();
                assert_eq!(text.contains("JWT_SECRET_KEY"), service == "api", "{service}");
                let networks = definition["networks"].as_object().unwrap();
                let is_front = !["database", "cache", "worker"].contains(&service.as_str());
                assert_eq!(networks.contains_key("front"), is_front, "{service}");
                for key in ["restart", "mem_limit", "healthcheck", "stop_grace_period", "logging"] {
                    assert!(definition.get(key).is_some(), "{service} has no {key}");
                }
            }
            assert_eq!(config["networks"]["back"]["internal"], true);
        } else if name == "apps/tiny" {
            assert_eq!(variable(&config, "hello", "GREETING"), client.env["GREETING"]);
        }
    }
}

fn secrets_of(name: &str) -> String {
    format!("p$w'{name}\\\\")
}
